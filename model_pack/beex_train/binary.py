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

    Signed: levels (step / 2) * (2q - M), M = 2^bits - 1, which at one bit is +-step/2. Non-negative inputs (the second set of the two-set
    scheme): levels step * q. The gradient reaches the input and the threshold inside the range, and the step as in LSQ.
    """

    def __init__(self, bits: int, channels: int | None, signed: bool = True):
        super().__init__()
        self.bits, self.signed = bits, signed
        self.threshold = nn.Parameter(torch.zeros(channels)) if channels and signed else None
        # Non-negative inputs are sigmoids: their levels start as 0 ... 1. Signed steps are set at the first batch.
        self.step = nn.Parameter(torch.tensor(1.0 / (2**bits - 1)))
        self.register_buffer("ready", torch.tensor(not signed))

    def initialise(self, x: Tensor) -> None:
        """Set the step from the spread of the first batch."""
        with torch.no_grad():
            self.step.fill_(NORMAL_STEP[self.bits] * x.std().clamp_min(1e-3).item())
            self.ready.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        if self.bits >= 32:
            return x if self.threshold is None else x - self.threshold
        step = self.step.abs().clamp_min(1e-4)
        if not self.signed:
            v = (x / step).clamp(0, 2**self.bits - 1)
            return step * (v + ((v + 0.5).floor() - v).detach())
        v = (x if self.threshold is None else x - self.threshold) / step
        half = 2 ** (self.bits - 1)
        clipped = v.clamp(-half, half)
        level = (v.floor() + 0.5).clamp(0.5 - half, half - 0.5)
        return step * (clipped + (level - clipped).detach())


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
        return torch.nn.functional.linear(self.quantize(x), weight * self.scale.unsqueeze(1), self.bias)

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
