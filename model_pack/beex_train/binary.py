"""Binarized weights and few-bit activations, with the gradients that train them.

Every operation is written `surrogate + (exact - surrogate).detach()`: the forward pass computes the exact quantized value that
the engine computes (FORMAT.md, "The arithmetic"), the backward pass differentiates the surrogate. These forms are reconstructions from
the papers' descriptions, not their exact formulas.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# Step over standard deviation that loses least for a normal distribution (Max 1960), by bits; 8 bits covers 4 deviations.
NORMAL_STEP = {1: 1.596, 2: 0.996, 4: 0.335, 8: 0.031}


def sign(x: Tensor) -> Tensor:
    """sign(x) with sign(0) = +1, as one bit has no zero."""
    return torch.where(x >= 0, 1.0, -1.0)


def second_order_sign(x: Tensor) -> Tensor:
    """sign(x) forward; backward max(0, 2 - 2|x|), the derivative of the piecewise quadratic x(2 - |x|) on [-1, 1]
    (the "second-order approximation" of BEExformer and Bi-Real Net's ApproxSign)."""
    clipped = x.clamp(-1, 1)
    surrogate = clipped * (2 - clipped.abs())
    return surrogate + (sign(x) - surrogate).detach()


def clipped_sign(x: Tensor) -> Tensor:
    """sign(x) forward; backward 1 on [-1, 1] (straight-through estimator), for comparison."""
    surrogate = x.clamp(-1, 1)
    return surrogate + (sign(x) - surrogate).detach()


SURROGATES = {"second-order": second_order_sign, "straight-through": clipped_sign}


class Quantizer(nn.Module):
    """Few-bit activations with a learned step and, for signed inputs, a learned threshold per channel.

    Signed: x becomes u * step / 2 with u = 2q - M odd, M = 2^bits - 1; at one bit that is +-step/2. Non-negative inputs (the second set of
    the two-set scheme): q * step. The gradient reaches the input and the threshold inside the range, and the step as in LSQ.
    """

    def __init__(self, bits: int, channels: int | None, signed: bool = True):
        super().__init__()
        self.bits, self.signed = bits, signed
        self.threshold = nn.Parameter(torch.zeros(channels)) if channels and signed else None
        # Non-negative inputs are sigmoids: their levels start as 0 ... 1. Signed steps are set at the first batch.
        self.step = nn.Parameter(torch.tensor(1.0 / (2**bits - 1)))
        self.register_buffer("ready", torch.tensor(not signed or bits >= 32))

    def initialise(self, x: Tensor) -> None:
        """Set the step from the spread of the first batch."""
        with torch.no_grad():
            self.step.fill_(NORMAL_STEP[self.bits] * x.std().clamp_min(1e-3).item())
            self.ready.fill_(True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """Integers u (or q) and the factor that makes them activations.

        They stay apart so that a product with +-1 weights is exact in training as it is in the engine.
        """
        if self.threshold is not None:
            x = x - self.threshold
        if self.bits >= 32:
            return x, 1.0
        step = self.step.abs().clamp_min(1e-4)
        v = x * (1 / step)
        if not self.signed:
            clipped = v.clamp(0, 2**self.bits - 1)
            return clipped + ((clipped + 0.5).floor() - clipped).detach(), step
        half = 2 ** (self.bits - 1)
        clipped = v.clamp(-half, half)
        level = (v.floor() + 0.5).clamp(0.5 - half, half - 0.5)
        return 2 * (clipped + (level - clipped).detach()), step / 2


class BinaryLinear(nn.Module):
    """y = scale * (sign(W) @ quantize(x)) + bias, with one learned scale per row.

    dL/dW = scale * dL/dWb * S(W) with S the surrogate's derivative: with the second-order surrogate the gradient depends on the size of
    the latent weight, not only on its sign ("magnitude-aware"). Latent weights start uniform in [-0.5, 0.5], where the parabola
    bends, and `clamp_latent` keeps them in [-1, 1].
    """

    def __init__(self, inputs: int, outputs: int, bits: int, signed: bool = True, surrogate: str = "second-order", binary: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-0.5, 0.5))
        self.scale = nn.Parameter(torch.full((outputs,), 1 / math.sqrt(inputs)))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.quantize = Quantizer(bits, inputs, signed)
        self.surrogate = SURROGATES[surrogate]
        self.binary = binary
        if not binary:  # the float twin: the same spread of outputs at the start
            nn.init.normal_(self.weight, std=1.0)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.surrogate(self.weight) if self.binary else self.weight
        u, factor = self.quantize(x)
        return torch.nn.functional.linear(u, weight) * (self.scale * factor) + self.bias

    @torch.no_grad()
    def clamp_latent(self) -> None:
        """Keep latent weights where the surrogate has a gradient."""
        if self.binary:
            self.weight.clamp_(-1, 1)


def few_bit_scale(rows: Tensor, bits: int) -> Tensor:
    """Scale of each row (…, 1) so that scale * (2q - M) covers it with least loss; half the quantizer's step."""
    return 0.5 * NORMAL_STEP[bits] * rows.pow(2).mean(-1, keepdim=True).sqrt().clamp_min(1e-6)


def few_bit_indices(rows: Tensor, scale: Tensor, bits: int) -> Tensor:
    """q = clamp(floor(row / (2 scale)) + 2^(bits-1), 0, M)."""
    half = 2 ** (bits - 1)
    return ((rows / (2 * scale)).floor() + half).clamp(0, 2 * half - 1)


def few_bit_rows(rows: Tensor, bits: int) -> Tensor:
    """Rows (…, d) as the pack stores them, scale * (2q - M); backward passes straight through."""
    if bits >= 32:
        return rows
    with torch.no_grad():
        scale = few_bit_scale(rows, bits)
        stored = scale * (2 * few_bit_indices(rows, scale, bits) - (2**bits - 1))
    return rows + (stored - rows).detach()
