"""What happens at the exits of a trained network: calibration, thresholds, exit rules and how deep texts go.

Logits come as (exits, rows, classes); exit 0 is before the first block. Targets are 0 and 1, (rows, classes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Sequence

import numpy as np

from .pack import ExitRule
from .report import decide as decide_labels
from .report import right_rows
from .simulate import decide


def log_softmax(z: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def probabilities(z: np.ndarray, multi: bool) -> np.ndarray:
    """Softmax over the last axis, or the sigmoid of each logit."""
    return 1 / (1 + np.exp(-np.clip(z, -60, 60))) if multi else np.exp(log_softmax(z))


def entropy(p: np.ndarray, multi: bool) -> np.ndarray:
    """Entropy over the last axis as a share of ln(classes); of several labels the mean of each one's entropy as a share of ln 2."""
    plogp = lambda p: -p * np.log(np.maximum(p, 1e-30))
    if multi:
        return (plogp(p) + plogp(1 - p)).mean(-1) / math.log(2)
    return np.maximum(0.0, plogp(p).sum(-1) / math.log(p.shape[-1]))


def fit_temperatures(logits: np.ndarray, targets: np.ndarray, multi: bool) -> list[float]:
    """One temperature per exit, of least negative log likelihood on held-out rows (temperature scaling, Guo et al. 2017)."""
    grid = np.exp(np.linspace(math.log(0.25), math.log(8.0), 141))

    def loss(z: np.ndarray) -> float:
        if multi:
            return float((np.logaddexp(0, z) - targets * z).mean())
        return float(-(targets * log_softmax(z)).sum(-1).mean())

    return [float(grid[np.argmin([loss(z / t) for t in grid])]) for z in logits]


def fit_thresholds(p: np.ndarray, targets: np.ndarray) -> list[float]:
    """The threshold of each label of a multi-label task that has the largest F1 on held-out rows; p is (rows, classes)."""
    grid = np.linspace(0.05, 0.9, 86)
    out = []
    for c in range(p.shape[1]):
        decided = p[:, c, None] > grid
        hits = (decided & (targets[:, c, None] > 0)).sum(0)
        f1 = 2 * hits / np.maximum(1, decided.sum(0) + targets[:, c].sum())
        # The middle of the best ones: the edge of a plateau belongs to chance.
        best = np.flatnonzero(f1 >= f1.max() - 1e-9)
        out.append(float(grid[best[len(best) // 2]]) if f1.max() > 0 else 0.5)
    return out


@dataclass
class Routing:
    """What a rule did on a set of rows."""

    right: np.ndarray  # boolean, (rows,)
    exit: np.ndarray  # where each row stopped, (rows,)
    answers: np.ndarray  # probabilities given, (rows, classes)

    @property
    def accuracy(self) -> float:
        """Share of rows that are right."""
        return float(self.right.mean())

    def depth(self, blocks: int) -> float:
        """Mean share of the blocks that ran."""
        return float(self.exit.mean() / blocks)


class Exits:
    """Calibrated exits on a set of rows, ready for rules to be tried on them."""

    def __init__(self, logits: np.ndarray, temperatures: Sequence[float], targets: np.ndarray, thresholds: Sequence[float] | None):
        self.probabilities = probabilities(logits / np.asarray(temperatures)[:, None, None], thresholds is not None)
        self.entropies = entropy(self.probabilities, thresholds is not None)
        self.right = np.stack([right_rows(decide_labels(p, thresholds), targets) for p in self.probabilities])
        self.targets, self.thresholds = targets, thresholds

    @property
    def last(self) -> int:
        """The last exit, which is also the number of blocks."""
        return len(self.right) - 1

    def route(self, rule: ExitRule) -> Routing:
        """Apply `rule` to every row."""
        rows = self.right.shape[1]
        stopped, answered = np.full(rows, self.last), np.full(rows, self.last)
        multi = self.thresholds is not None
        for row in range(rows):
            seen: dict = {}
            for i in range(self.last + 1):
                if reason := decide(rule, i, self.last, self.entropies[i, row], self.probabilities[i, row], seen, multi):
                    stopped[row], answered[row] = i, i - (reason == "rising")
                    break
        every = np.arange(rows)
        return Routing(self.right[answered, every], stopped, self.probabilities[answered, every])

    def choose_rule(self, most_work: float) -> ExitRule:
        """The fractional rule that answers best while it runs at most `most_work` of the blocks; without one, every block runs.

        Best is the least cross-entropy of the answers given: on a thousand rows the accuracies of a hundred rules differ by chance, and the
        cheapest of the accurate ones would be the luckiest.
        """
        best, best_loss = ExitRule(), math.inf
        for threshold, certain, uncertain in product((-1.0, 0.0, 0.05, 0.1, 0.2), (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (0.5, 0.7, 0.9)):
            rule = ExitRule("fractional", threshold, certain, uncertain)
            routed = self.route(rule)
            if routed.depth(self.last) <= most_work and (loss := self._loss(routed.answers)) < best_loss:
                best, best_loss = rule, loss
        return best

    def _loss(self, answers: np.ndarray) -> float:
        """Mean cross-entropy of probabilities (rows, classes)."""
        loss = -self.targets * np.log(np.maximum(answers, 1e-9))
        if self.thresholds is not None:
            loss = loss - (1 - self.targets) * np.log(np.maximum(1 - answers, 1e-9))
        return float(loss.sum(-1).mean())
