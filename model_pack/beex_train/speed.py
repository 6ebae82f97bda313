"""The speed curve of a pack: which settings of exits, elimination and gates are worth choosing, measured on held-out rows.

The network runs once for each gamma and skip threshold of a small grid; every exit rule is tried on the logits that it left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Sequence

import numpy as np

from .exits import Exits, Routing, fractional_rules
from .inputs import Inputs
from .model import Classifier
from .pack import CurvePoint, ExitRule, Policy
from .passes import run
from .report import decide, scores

GAMMAS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
SKIPS = (1.0, 0.7, 0.5, 0.3)
MOST_TOKENS, FEWEST_ROWS = 30_000, 250  # that the curve is measured on; of long texts, more tokens than that
MOST_POINTS = 24
# What a name allows to lose against the whole network, in accuracy.
NAMES = {"fast": 0.02, "balanced": 0.005, "accurate": 0.0}


@dataclass
class Measured:
    """A setting on some rows."""

    policy: Policy
    work: float  # share of the dense cost
    accuracy: float  # micro-F1 of a multi-label task
    losses: np.ndarray  # of each row's answer, (rows,): Exits.losses

    @property
    def loss(self) -> float:
        """The mean."""
        return float(self.losses.mean())

    def as_sure_as(self, other: "Measured") -> bool:
        """Whether the loss is no more than a standard error of the difference above that of `other`, on the same rows."""
        difference = self.losses - other.losses
        return float(difference.mean()) <= float(difference.std()) / len(difference) ** 0.5


def quality(routing: Routing, targets: np.ndarray, thresholds: Sequence[float] | None) -> float:
    """Accuracy, or micro-F1 of a multi-label task."""
    if thresholds is None:
        return routing.accuracy
    return scores(decide(routing.answers, thresholds), targets, True)["micro_f1"]


def measure(
    model: Classifier, inputs: Inputs, targets: np.ndarray, temperatures: Sequence[float] | np.ndarray, thresholds: Sequence[float] | None,
    policies: Sequence[Policy],
) -> list[Measured]:  # fmt: skip
    """Work and accuracy of every setting on rows; the network runs once for each gamma and skip threshold among them."""
    grid: dict[tuple[float, float], list[int]] = {}
    for i, policy in enumerate(policies):
        grid.setdefault((policy.gamma, policy.skip), []).append(i)
    found: dict[int, Measured] = {}
    for (gamma, skip), places in grid.items():
        logits, costs = run(model, inputs, gamma, skip)
        exits = Exits(logits, temperatures, targets, thresholds, inputs, costs)
        for i in places:
            routing = exits.route(policies[i].rule)
            found[i] = Measured(policies[i], routing.work, quality(routing, targets, thresholds), exits.losses(routing.answers))
    return [found[i] for i in range(len(policies))]


def settings(model: Classifier) -> list[Policy]:
    """Those to choose from: every rule at every gamma and skip threshold that means something to this network."""
    gammas = GAMMAS if model.profile is not None else GAMMAS[:1]
    skips = SKIPS if len(model.gates) else SKIPS[:1]
    return [Policy(rule, *knobs) for knobs in product(gammas, skips) for rule in [ExitRule(), *fractional_rules()]]


def choose(measured: Sequence[Measured]) -> list[CurvePoint]:
    """The curve of some measured settings, the first of which is the whole network.

    Of all settings those stay that no cheaper one beats in loss: on a thousand rows the accuracies of hundreds of settings differ by
    chance, and a front of the luckiest would promise too much. Of these, and the whole network, the front in accuracy is the curve.
    """
    whole = measured[0]
    kept, least = [], math.inf
    for point in sorted(measured, key=lambda m: (m.work, m.loss)):
        if point.loss < least or point is whole:
            kept.append(point)
            least = min(least, point.loss)
    # Of equal accuracy, as a pack holds it, the cheapest, which comes first.
    front: list[Measured] = []
    for point in kept:
        if not front or all(np.float32(a) > np.float32(b) for a, b in ((point.work, front[-1].work), (point.accuracy, front[-1].accuracy))):
            front.append(point)
    named = _names(front, whole)
    while len(front) > MOST_POINTS:  # the one that lies closest to its neighbours
        gaps = {i: front[i + 1].work - front[i - 1].work for i in range(1, len(front) - 1) if id(front[i]) not in named}
        del front[min(gaps, key=gaps.__getitem__)]
    return [CurvePoint(point.work, point.accuracy, point.policy, named.get(id(point), "")) for point in front]


def _names(front: Sequence[Measured], whole: Measured) -> dict[int, str]:
    """Names by the id of their point: each is the cheapest that loses no more than the name allows and lies above the name before.

    A front of one or two points has no room for all of them. *accurate* is as sure as the whole network too, if there is such a point.
    """

    def good(point: Measured, name: str) -> bool:
        sure = name != "accurate" or point is front[-1] or point.as_sure_as(whole)
        return sure and point.accuracy >= whole.accuracy - NAMES[name] - 1e-9

    for names in (list(NAMES), ["fast", "accurate"], ["accurate"]):
        places, place = [], -1
        for name in names:
            place = next((i for i in range(place + 1, len(front)) if good(front[i], name)), len(front))
            places.append(place)
        if place < len(front):
            break
    return {id(front[place]): name for name, place in zip(names, places)}


def curve(
    model: Classifier, inputs: Inputs, targets: np.ndarray, temperatures: Sequence[float] | np.ndarray, thresholds: Sequence[float] | None
) -> list[CurvePoint]:
    """The speed curve on held-out rows; [] when there are none."""
    if not len(targets):
        return []
    some, rows = inputs.some_rows(MOST_TOKENS, FEWEST_ROWS)
    return choose(measure(model, some, targets[rows], temperatures, thresholds, settings(model)))
