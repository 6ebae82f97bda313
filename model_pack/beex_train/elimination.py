"""Word-vector elimination: how many tokens go on, how that is learnt, and how it is tuned without training.

A reconstruction of the latency-adjustable transformer's idea. The attention context contribution (ACC) of a block is the share of the
tokens that receive most of its attention; the profile holds it for every block, never rising. One knob is left open: the share that goes on
after block i is profile_i ** gamma (FORMAT.md, "Elimination").
"""

from __future__ import annotations

from typing import Sequence

import numpy as np
import torch

from .cost import Cost
from .inputs import Inputs
from .model import Classifier, attention_mass
from .simulate import kept_tokens

ATTENTION_KEPT = 0.9  # share of a block's attention that the profile's tokens receive (tau)
MOST_GAMMA = 16.0  # the format's largest
PROFILE_INPUTS = 256  # on which the profile is measured


def token_counts(profile: Sequence[float], gamma: float, tokens: np.ndarray) -> np.ndarray:
    """Tokens that leave each block of inputs of so many tokens, (blocks, inputs)."""
    return np.stack([np.broadcast_to(kept_tokens(share, gamma, tokens, tokens), np.shape(tokens)) for share in profile])


@torch.no_grad()
def measure_profile(model: Classifier, inputs: Inputs, tau: float = ATTENTION_KEPT) -> list[float]:
    """The profile: for each block the mean share of an input's tokens that together receive `tau` of the attention, made monotone.

    It is measured on all tokens, on at most PROFILE_INPUTS inputs at equal distances. Leaves the model in evaluation mode.
    """
    model.eval()
    paired, device = model.config.inputs == 2, model.embeddings.token.device
    some = np.linspace(0, len(inputs) - 1, min(PROFILE_INPUTS, len(inputs))).astype(int)
    some = sorted(some.tolist(), key=lambda i: len(inputs.ids[i]))
    shares: list[list[np.ndarray]] = [[] for _ in model.blocks]
    for start in range(0, len(some), 16):
        ids, mask, segments = inputs.tensors(some[start : start + 16], paired, device)
        h = model.embeddings(ids, segments)
        for i, block in enumerate(model.blocks):
            a, weights = block.attend(h, mask, segments)
            shares[i].append(needed_share(attention_scores(weights, mask), mask, tau).cpu().numpy())
            h = block.learn(a)
    means = [float(np.concatenate(each).mean()) for each in shares]
    return np.minimum.accumulate(means).tolist()


def attention_scores(weights: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Share of the attention that every token receives, (batch, tokens), from weights (batch, heads, tokens, tokens); 1 over an input's tokens."""
    mass = attention_mass(weights, mask)
    return mass / mass.sum(-1, keepdim=True)


def needed_share(scores: torch.Tensor, mask: torch.Tensor, tau: float) -> torch.Tensor:
    """Share of an input's tokens, (batch,), that the fewest ones whose scores add up to `tau` are."""
    total = scores.sort(-1, descending=True).values.cumsum(-1)
    return (1 + (total < tau - 1e-6).sum(-1)) / mask.sum(-1)


def depth_work(cost: Cost, profile: Sequence[float], gamma: float, tokens: np.ndarray) -> float:
    """Expected work of all blocks, the first exit and the last on inputs of so many tokens, as a share of the dense cost."""
    kept = token_counts(profile, gamma, tokens)
    entering = [tokens, *kept[:-1]]
    blocks = sum(cost.block(n, m) for n, m in zip(entering, kept))
    total = cost.embedding(tokens) + cost.pooling(tokens) + blocks + cost.pooling(kept[-1]) + 2 * cost.exit
    return float(total.sum() / cost.dense(tokens).sum())


def gamma_for(cost: Cost, profile: Sequence[float], tokens: np.ndarray, speedup: float) -> float:
    """The gamma whose analytic cost on inputs of so many tokens is 1 / `speedup` of the dense one; by bisection, no training.

    MOST_GAMMA where even that is slower: a few tokens always stay.
    """
    low, high = 0.0, MOST_GAMMA
    if depth_work(cost, profile, high, tokens) > 1 / speedup:
        return MOST_GAMMA
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if depth_work(cost, profile, middle, tokens) > 1 / speedup else (low, middle)
    return high
