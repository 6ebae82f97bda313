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


def tanh_sign(x: Tensor) -> Tensor:
    """sign(x) forward; backward the derivative of tanh(2x), for comparison: as steep at 0 as the second-order surrogate."""
    surrogate = (2 * x).tanh()
    return surrogate + (sign(x) - surrogate).detach()


SURROGATES = {"second-order": second_order_sign, "straight-through": clipped_sign, "tanh": tanh_sign}


class Quantizer(nn.Module):
    """Few-bit activations with a learned step and, for signed inputs, a learned threshold per channel.

    Signed: x becomes u * step / 2 with u = 2q - M odd, M = 2^bits - 1; at one bit that is +-step/2. Non-negative inputs (the second set of
    the two-set scheme): q * step. The gradient reaches the input and the threshold inside the range, and the step as in LSQ.
    """

    def __init__(self, bits: int, channels: int | None, signed: bool = True):
        super().__init__()
        self.bits, self.signed = bits, signed
        self.threshold = nn.Parameter(torch.zeros(channels)) if channels and signed else None
        self.step = nn.Parameter(torch.tensor(1.0 / (2**bits - 1)))
        self.register_buffer("ready", torch.tensor(bits >= 32))

    def initialise(self, x: Tensor) -> None:
        """Set the step from the spread of the first batch; non-negative levels reach the largest value, or three times the root mean
        square of what is above zero if that is less."""
        with torch.no_grad():
            if self.signed:
                step = NORMAL_STEP[self.bits] * x.std()
            else:
                step = torch.minimum(3 * x[x > 0].pow(2).mean().sqrt().nan_to_num(0.0), x.max()) / (2**self.bits - 1)
            self.step.fill_(step.clamp_min(1e-3).item())
            self.ready.fill_(True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """Integers u (or q) and the factor that makes them activations.

        They stay apart so that a product with +-1 weights is exact in training as it is in the engine.
        """
        if self.threshold is not None:
            x = x - self.threshold
        if self.bits >= 32:
            return x if self.signed else x.relu(), 1.0
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
    bends, and `clamp_latent` keeps them in [-1, 1]. Without `magnitude_aware` the scale is left out of that gradient, for comparison.
    """

    def __init__(
        self, inputs: int, outputs: int, bits: int, signed: bool = True, surrogate: str = "second-order", magnitude_aware: bool = True,
        binary: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-0.5, 0.5))
        self.scale = nn.Parameter(torch.full((outputs,), 1 / math.sqrt(inputs)))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.quantize = Quantizer(bits, inputs, signed)
        self.surrogate, self.magnitude_aware = SURROGATES[surrogate], magnitude_aware
        self.binary = binary
        if not binary:  # the float twin: the same spread of outputs at the start
            nn.init.normal_(self.weight, std=1.0)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.surrogate(self.weight) if self.binary else self.weight
        u, factor = self.quantize(x)
        if self.binary and not self.magnitude_aware and weight.requires_grad:
            size = (self.scale * factor).detach().abs().clamp_min(1e-6)[:, None]
            weight.register_hook(lambda gradient: gradient / size)
        return torch.nn.functional.linear(u, weight) * (self.scale * factor) + self.bias

    @torch.no_grad()
    def start_from(self, weight: Tensor, bias: Tensor) -> None:
        """Start from the rows of a trained float layer: signs around each row's mean, scale = mean |w| (BiBERT's form)."""
        centred = weight - weight.mean(1, keepdim=True)
        self.bias.copy_(bias)
        if self.binary:
            self.weight.copy_((0.4 * centred / centred.std(1, keepdim=True)).clamp(-1, 1))
            self.scale.copy_(centred.abs().mean(1))
        else:
            self.weight.copy_(weight)
            self.scale.fill_(1.0)

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


def few_bit_column_scale(rows: Tensor, bits: int) -> Tensor:
    """Scale of each column (columns) for the levels -2^(bits-1) ... 2^(bits-1) - 1: of several, the one that loses least.

    A few n-grams weigh far more than the others; covering them makes the levels coarse, not covering them cuts them.
    """
    largest = rows.abs().amax(0).clamp_min(1e-6) / (2 ** (bits - 1) - 1)
    candidates = torch.stack([largest * share for share in (1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.12)])
    half = 2 ** (bits - 1)
    losses = [(scale * (few_bit_column_indices(rows, scale, bits) - half) - rows).pow(2).sum(0) for scale in candidates]
    return candidates.gather(0, torch.stack(losses).argmin(0, keepdim=True))[0]


def few_bit_column_indices(rows: Tensor, scale: Tensor, bits: int) -> Tensor:
    """q of the levels scale * (q - 2^(bits-1)), which have a zero: most n-grams say nothing."""
    half = 2 ** (bits - 1)
    return (rows / scale).round().clamp(-half, half - 1) + half


def few_bit_columns(rows: Tensor, bits: int) -> Tensor:
    """Rows (…, columns) as the pack stores n-gram rows; backward passes straight through."""
    if bits >= 32:
        return rows
    with torch.no_grad():
        scale = few_bit_column_scale(rows, bits)
        stored = scale * (few_bit_column_indices(rows, scale, bits) - 2 ** (bits - 1))
    return rows + (stored - rows).detach()
