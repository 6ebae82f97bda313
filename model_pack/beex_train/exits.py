"""What happens at the exits of a trained network: calibration, exit rules and how deep texts go.

Logits come as (exits, rows, classes); exit 0 is before the first block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Sequence

import numpy as np

from .pack import ExitRule
from .simulate import decide


def log_softmax(z: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def entropy(p: np.ndarray) -> np.ndarray:
    """Entropy over the last axis as a share of ln(classes)."""
    return np.maximum(0.0, -(p * np.log(np.maximum(p, 1e-30))).sum(-1) / math.log(p.shape[-1]))


def fit_temperatures(logits: np.ndarray, target: Sequence[int]) -> list[float]:
    """One temperature per exit, of least negative log likelihood on held-out rows (temperature scaling, Guo et al. 2017)."""
    rows = np.arange(logits.shape[1])
    grid = np.exp(np.linspace(math.log(0.25), math.log(8.0), 281))
    return [float(grid[np.argmin([-log_softmax(z / t)[rows, target].mean() for t in grid])]) for z in logits]


def calibration_error(probabilities: np.ndarray, target: Sequence[int], bins: int = 15) -> float:
    """Expected calibration error of the winning label, equal-width bins."""
    confidence, right = probabilities.max(-1), probabilities.argmax(-1) == np.asarray(target)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(sum(abs(right[place == b].sum() - confidence[place == b].sum()) for b in range(bins)) / len(confidence))


@dataclass
class Routing:
    """What a rule did on a set of rows."""

    accuracy: float
    depth: float  # mean share of the blocks that ran
    exits: list[int]  # rows that stopped at exit 0, 1, …


def route(logits: np.ndarray, temperatures: Sequence[float], rule: ExitRule, target: Sequence[int]) -> Routing:
    """Apply `rule` to every row."""
    probabilities = np.exp(log_softmax(logits / np.asarray(temperatures)[:, None, None]))
    entropies = entropy(probabilities)
    last = len(logits) - 1
    stops, right = [0] * (last + 1), 0
    for row, label in enumerate(target):
        seen: dict = {}
        for i in range(last + 1):
            reason = decide(rule, i, last, entropies[i, row], probabilities[i, row], seen)
            if reason:
                answer = i - 1 if reason == "rising" else i
                right += int(probabilities[answer, row].argmax() == label)
                stops[i] += 1
                break
    rows = len(target)
    return Routing(right / rows, sum(i * n for i, n in enumerate(stops)) / (rows * last), stops)


def choose_rule(logits: np.ndarray, temperatures: Sequence[float], target: Sequence[int], allowed_loss: float = 0.0) -> ExitRule:
    """The fractional rule that runs least at no more than `allowed_loss` below full depth, on held-out rows."""
    full = route(logits, temperatures, ExitRule(), target).accuracy
    best, best_key = ExitRule(), (1.0, 0.0)
    for threshold, certain, uncertain in product((-1.0, 0.0, 0.05, 0.1, 0.2), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (0.5, 0.7, 0.9)):
        rule = ExitRule("fractional", threshold, certain, uncertain)
        result = route(logits, temperatures, rule, target)
        key = (result.depth, -result.accuracy)
        if result.accuracy >= full - allowed_loss and key < best_key:
            best, best_key = rule, key
    return best
