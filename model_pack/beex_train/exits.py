"""What happens at the exits of a trained network: calibration, thresholds, exit rules and how deep texts go.

Logits come as (exits, rows, classes); exit 0 is before the first block. Targets are 0 and 1, (rows, classes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Sequence

import numpy as np
from scipy.optimize import minimize

from .inputs import Inputs
from .pack import ExitRule
from .report import calibration_error, right_rows
from .report import decide as decide_labels

THRESHOLD_ROUNDS = 4  # over the labels
CLASS_SPREAD = 0.2  # of the logarithms of the classes' temperatures, a priori


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


def row_losses(z: np.ndarray, targets: np.ndarray, multi: bool) -> np.ndarray:
    """Cross-entropy of every row, (…, rows), from logits (…, rows, classes); in a multi-label task the sum over the labels."""
    if multi:
        return (np.logaddexp(0, z) - targets * z).sum(-1)
    return -(targets * log_softmax(z)).sum(-1)


def cross_entropy(z: np.ndarray, targets: np.ndarray, multi: bool) -> float:
    """Mean over the rows, from logits (rows, classes); over the labels too in a multi-label task."""
    return float(row_losses(z, targets, multi).mean()) / (z.shape[-1] if multi else 1)


def fit_temperatures(logits: np.ndarray, targets: np.ndarray, multi: bool) -> list[float]:
    """One temperature per exit, of least negative log likelihood on held-out rows (temperature scaling, Guo et al. 2017)."""
    grid = np.exp(np.linspace(math.log(0.25), math.log(8.0), 141))
    return [float(grid[np.argmin([cross_entropy(z / t, targets, multi) for t in grid])]) for z in logits]


def calibrated_losses(logits: np.ndarray, targets: np.ndarray, multi: bool) -> np.ndarray:
    """Cross-entropy of every row at every exit, (exits, rows), at the exit's best temperature: packs are calibrated, so being too sure is
    no fault of an exit."""
    return row_losses(logits / np.array(fit_temperatures(logits, targets, multi))[:, None, None], targets, multi)


def fit_class_temperatures(z: np.ndarray, targets: np.ndarray, shared: float, multi: bool) -> np.ndarray:
    """A temperature per class, (classes,), for the logits (rows, classes) of one exit: of least cross-entropy, with a penalty that pulls
    their logarithms to the shared one's as a normal prior of deviation CLASS_SPREAD does, so that rare classes keep it."""
    scale = z.shape[1] if multi else 1

    def objective(u: np.ndarray) -> tuple[float, np.ndarray]:
        y = z / (shared * np.exp(u))
        slope = -((probabilities(y, multi) - targets) * y).sum(0) / (len(z) * scale)
        prior = len(z) * scale * CLASS_SPREAD**2
        return cross_entropy(y, targets, multi) + (u @ u) / (2 * prior), slope + u / prior

    found = minimize(objective, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B", bounds=[(-1.5, 1.5)] * z.shape[1])
    return shared * np.exp(found.x)


def choose_temperatures(logits: np.ndarray, targets: np.ndarray, multi: bool) -> np.ndarray:
    """Temperatures of every exit, (exits,), or (exits, classes) where those of the classes are better on rows that they were not fitted on:
    in cross-entropy and in calibration error, at every exit."""
    shared = fit_temperatures(logits, targets, multi)
    fold = np.arange(len(targets)) % 2
    better = True
    for z in logits:
        ours, theirs = np.zeros_like(z, np.float64), np.zeros_like(z, np.float64)
        for k in (0, 1):
            fitted, left = fold != k, fold == k
            t = fit_temperatures(z[None, fitted], targets[fitted], multi)[0]
            ours[left] = z[left] / fit_class_temperatures(z[fitted], targets[fitted], t, multi)
            theirs[left] = z[left] / t
        measures = [(cross_entropy(y, targets, multi), claimed_error(probabilities(y, multi), targets, multi)) for y in (ours, theirs)]
        better = better and measures[0][0] < measures[1][0] and measures[0][1] < measures[1][1]
    if not better:
        return np.array(shared)
    return np.stack([fit_class_temperatures(z, targets, t, multi) for z, t in zip(logits, shared)])


def claimed_error(p: np.ndarray, targets: np.ndarray, multi: bool) -> float:
    """Expected calibration error of probabilities (rows, classes): of the winning label, or of all labels of a multi-label task."""
    if multi:
        return calibration_error(p.ravel(), (targets > 0).ravel())
    return calibration_error(p.max(-1), right_rows(decide_labels(p), targets))


def fit_thresholds(p: np.ndarray, targets: np.ndarray) -> list[float]:
    """Thresholds of a multi-label task's labels, (classes,), whose micro-F1 on held-out rows no change of a single one raises; p and targets are (rows, classes).

    The search starts at the thresholds with the largest F1 of each label alone and changes one at a time. Those alone follow chance more: a rare label has
    few rows to choose on. A label that no row has gets 0.5.
    """
    grid = np.linspace(0.05, 0.9, 86)
    decided = p[:, :, None] > grid
    hits, decided = (decided & (targets[:, :, None] > 0)).sum(0), decided.sum(0)
    wanted = targets.sum(0)

    def best(f1: np.ndarray) -> int:
        """The middle of the best ones: the edge of a plateau belongs to chance."""
        places = np.flatnonzero(f1 >= f1.max() - 1e-9)
        return int(places[len(places) // 2])

    labels = np.flatnonzero(wanted > 0)
    chosen = {c: best(2 * hits[c] / np.maximum(1, decided[c] + wanted[c])) for c in labels}
    for _ in range(THRESHOLD_ROUNDS):
        for c in labels:
            others = [i for i in labels if i != c]
            of_others = lambda counts: sum(counts[i, chosen[i]] for i in others)
            chosen[c] = best(2 * (of_others(hits) + hits[c]) / np.maximum(1, of_others(decided) + decided[c] + wanted.sum()))
    return [float(grid[chosen[c]]) if c in chosen else 0.5 for c in range(p.shape[1])]


def decide_all(rule: ExitRule, entropies: np.ndarray, p: np.ndarray, seen: np.ndarray, multi: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exits where inputs stop, exits that answer, and which inputs the rule never stopped, (inputs,): `simulate.decide` for many inputs,
    from entropies (exits, inputs), probabilities (exits, inputs, classes) and which exits the rule sees at all, boolean (exits, inputs)."""
    last, count = len(seen) - 1, seen.shape[1]
    threshold, certain, uncertain = (np.float32(value) for value in (rule.threshold, rule.certain, rule.uncertain))
    stopped, answered, before = np.full(count, -1), np.zeros(count, int), np.zeros(count, int)
    previous, label, agreeing = np.full(count, np.nan), np.full(count, -1), np.zeros(count, int)
    for i in range(last + 1):
        open_ = seen[i] & (stopped < 0)
        h, own = entropies[i], p[i].argmax(-1)
        agreeing = np.where(open_, np.where(own == label, agreeing + 1, 1), agreeing)
        stop, rising = np.zeros(count, bool), np.zeros(count, bool)
        if i == last:
            stop = open_
        elif rule.kind != "off" and i >= rule.first_exit:
            stop = h < certain
            if rule.kind == "fractional":
                with np.errstate(invalid="ignore", divide="ignore"):
                    reduction = np.where(previous != 0, (previous - h) / previous, 0.0)
                falls = ~stop & (reduction < threshold) & (h < uncertain)  # never without a predecessor: it is not a number
                rising = falls & rule.keep_lower_entropy & (h > previous)
                stop = stop | falls
            elif rule.kind == "entropy":
                stop = stop | (h < threshold)
            elif rule.kind == "patience":
                stop = stop | (agreeing >= threshold)
            else:
                stop = stop | ((np.maximum(p[i], 1 - p[i]).min(-1) if multi else p[i].max(-1)) > threshold)
            stop = stop & open_
        stopped[stop] = i
        answered[stop] = np.where(rising, before, i)[stop]
        before, previous, label = np.where(open_, i, before), np.where(open_, h, previous), np.where(open_, own, label)
    through = stopped < 0  # as the last blocks were skipped
    return np.where(through, before, stopped), np.where(through, before, answered), through


@dataclass
class Costs:
    """Which exits of inputs are read under a setting, and the work up to them (passes.py)."""

    read: np.ndarray  # boolean (exits, inputs): the first exit, and those after blocks that were not skipped
    work: np.ndarray  # (exits, inputs): up to each exit, all exits before it read; the last row is what running to the end costs
    whole_work: np.ndarray  # (inputs,): to the end, with only the first and the last exit read
    dense_work: np.ndarray  # (inputs,)
    doubtful: np.ndarray | None = None  # boolean (inputs,): the rule sees nothing of exit 0; None: it sees all


@dataclass
class Routing:
    """What a rule did on a set of rows. A row is one input, or the windows of a long text."""

    right: np.ndarray  # boolean, (rows,)
    exit: np.ndarray  # where each input stopped, (inputs,)
    answers: np.ndarray  # probabilities given, (rows, classes)
    blocks: np.ndarray  # that ran, (inputs,)
    spent: np.ndarray | None  # work of each input; None where costs are not known
    work: float  # share of the dense cost, of all rows together; nan where costs are not known
    deepest: np.ndarray  # exit of each row's deepest input, (rows,)

    @property
    def accuracy(self) -> float:
        """Share of rows that are right."""
        return float(self.right.mean())

    def depth(self, blocks: int) -> float:
        """Mean share of the blocks that ran."""
        return float(self.blocks.mean() / blocks)


class Exits:
    """Calibrated exits on a set of rows, ready for rules to be tried on them.

    `logits` are (exits, inputs, classes), `temperatures` (exits,) or (exits, classes). Without `inputs` each of them is a row.
    """

    def __init__(
        self, logits: np.ndarray, temperatures: Sequence[float] | np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None,
        inputs: Inputs | None = None, costs: Costs | None = None,
    ):  # fmt: skip
        scale = np.asarray(temperatures).reshape(len(logits), 1, -1)
        self.calibrated = logits / scale
        self.probabilities = probabilities(self.calibrated, thresholds is not None)
        self.entropies = entropy(self.probabilities, thresholds is not None)
        self.targets, self.thresholds, self.costs = targets, thresholds, costs
        self.inputs, self.row = inputs, np.arange(logits.shape[1]) if inputs is None else np.array(inputs.row)
        self.read = np.ones(logits.shape[:2], bool) if costs is None else costs.read
        self.seen = self.read  # by the rule
        if costs is not None and costs.doubtful is not None:
            self.seen = np.concatenate([self.read[:1] & ~costs.doubtful, self.read[1:]])
        self.right = np.stack([right_rows(decide_labels(self.merge(z), thresholds), targets) for z in self.calibrated])

    @property
    def last(self) -> int:
        """The last exit, which is also the number of blocks."""
        return len(self.right) - 1

    def merge(self, calibrated: np.ndarray) -> np.ndarray:
        """Probabilities of rows from calibrated logits of inputs."""
        return probabilities(calibrated if self.inputs is None else self.inputs.merge(calibrated), self.thresholds is not None)

    def calibration_errors(self) -> list[float]:
        """Expected calibration error of every exit."""
        return [claimed_error(self.merge(z), self.targets, self.thresholds is not None) for z in self.calibrated]

    def route(self, rule: ExitRule) -> Routing:
        """Apply `rule` to every row."""
        stopped, answered, through = decide_all(rule, self.entropies, self.probabilities, self.seen, self.thresholds is not None)
        every = np.arange(len(stopped))
        answers = self.merge(self.calibrated[answered, every])
        ran = np.cumsum(self.read, 0)[stopped, every] - 1
        spent, work = None, math.nan
        if self.costs is not None:
            # Whoever is never stopped has paid for the gates of the last blocks too.
            spent = self.costs.whole_work if rule.kind == "off" else self.costs.work[np.where(through, self.last, stopped), every]
            work = float(spent.sum() / self.costs.dense_work.sum())
        deepest = np.zeros(len(self.targets), int)
        np.maximum.at(deepest, self.row, stopped)
        right = right_rows(decide_labels(answers, self.thresholds), self.targets)
        return Routing(right, stopped, answers, ran, spent, work, deepest)

    def choose_rule(self, most_work: float) -> ExitRule:
        """The fractional rule that answers best while it runs at most `most_work` of the blocks; without one, every block runs.

        Best is the least loss of the answers given (`losses`): on a thousand rows the accuracies of a hundred rules differ by chance, and the
        cheapest of the accurate ones would be the luckiest.
        """
        best, best_loss = ExitRule(), math.inf
        for rule in fractional_rules():
            routed = self.route(rule)
            if routed.depth(self.last) <= most_work and (loss := self.loss(routed.answers)) < best_loss:
                best, best_loss = rule, loss
        return best

    def loss(self, answers: np.ndarray) -> float:
        """Mean of `losses`."""
        return float(self.losses(answers).mean())

    def losses(self, answers: np.ndarray) -> np.ndarray:
        """How bad each row's answer is, (rows,), from probabilities (rows, classes): its cross-entropy, plus 1 when it is wrong.

        Cross-entropy alone would have hard texts stop early, where answers are as wrong as later but less sure of it.
        """
        loss = -self.targets * np.log(np.maximum(answers, 1e-9))
        if self.thresholds is not None:
            loss = loss - (1 - self.targets) * np.log(np.maximum(1 - answers, 1e-9))
        return loss.sum(-1) + ~right_rows(decide_labels(answers, self.thresholds), self.targets)

    def row_work(self, routing: Routing) -> np.ndarray:
        """Each row's work over the mean row's dense cost, (rows,), so that the mean is `work`."""
        spent = np.bincount(self.row, routing.spent, len(self.targets))
        return spent * len(self.targets) / self.costs.dense_work.sum()


def fractional_rules() -> list[ExitRule]:
    """Those to choose from. With the threshold -1 only certain inputs stop early.

    Where entropy rises the answer is that of the exit itself: the one before was better by a point on one data set (TREC-6) and worse by
    one on another (Banking77); `beex-train adaptive` prints both.
    """
    thresholds, certain, uncertain = (-1.0, 0.0, 0.05, 0.1, 0.2), (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (0.5, 0.7, 0.9)
    return [ExitRule("fractional", *values) for values in product(thresholds, certain, uncertain)]
