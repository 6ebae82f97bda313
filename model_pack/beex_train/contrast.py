"""Cross-layer contrastive learning (SmartBERT): what a token, or a text, is after one block should be told from the others' after the next.

Only training sees it: the projection is no part of the network.
"""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 64  # of the projection
TEMPERATURE = 0.5


def info_nce(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real items of -log softmax over s of a_t . b_s / TEMPERATURE at s = t, with rows of unit length.

    a and b are (batch, items, width), mask (batch, items): the other real items of the same row of the batch are the negatives.
    """
    similarity = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).transpose(-1, -2) / TEMPERATURE
    similarity = similarity.masked_fill(~mask[:, None, :], -1e9)
    own = similarity.log_softmax(-1).diagonal(dim1=-2, dim2=-1)
    return -(own * mask).sum() / mask.sum()


class Contrast(nn.Module):
    """Token-wise, between the states before and after each block; one projection for all of them."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.project = nn.Sequential(nn.Linear(hidden_size, WIDTH), nn.LayerNorm(WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH))

    def forward(self, states: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Mean loss over the blocks, from states (batch, tokens, d)."""
        projected = [self.project(state) for state in states]
        return torch.stack([info_nce(a, b, mask) for a, b in zip(projected, projected[1:])]).mean()


def exit_contrast(logits: Tensor) -> Tensor:
    """The same between neighbouring exits, from logits (exits, batch, classes): the exits are linear, so their logits are their features,
    and the other texts of the batch are the negatives."""
    everything = torch.ones(1, logits.shape[1], dtype=torch.bool, device=logits.device)
    return torch.stack([info_nce(a[None], b[None], everything) for a, b in zip(logits, logits[1:])]).mean()
