"""Temperatures: shared ones, one per class where that is better on other rows, and what they leave of the calibration error."""

import numpy as np
import pytest

from beex_train.exits import Exits, choose_temperatures, claimed_error, cross_entropy, fit_class_temperatures, fit_temperatures, fit_thresholds, probabilities
from beex_train.fit import useful_blocks


def drawn(scale, rows: int, multi: bool = False, seed: int = 3):
    """Logits whose true temperatures are `scale` (classes,), with targets drawn from what they say."""
    random = np.random.default_rng(seed)
    y = random.normal(0, 2, (rows, len(scale)))
    p = probabilities(y, multi)
    if multi:
        targets = (random.uniform(size=p.shape) < p).astype(float)
    else:
        targets = np.eye(len(scale))[(p.cumsum(-1) < random.uniform(size=(rows, 1))).sum(-1)]
    return y * np.asarray(scale), targets


@pytest.mark.parametrize("multi", [False, True])
def test_temperatures_of_classes_are_found_and_chosen(multi):
    scale = np.array([0.6, 1.0, 2.4])
    z, targets = drawn(scale, 4000, multi)
    shared = fit_temperatures(z[None], targets, multi)[0]
    found = fit_class_temperatures(z, targets, shared, multi)
    assert found == pytest.approx(scale, rel=0.2)
    assert cross_entropy(z / found, targets, multi) < cross_entropy(z / shared, targets, multi)
    others, other_targets = drawn(scale, 2000, multi, seed=4)
    errors = [claimed_error(probabilities(others / t, multi), other_targets, multi) for t in (found, shared)]
    assert errors[0] < errors[1]
    assert choose_temperatures(np.stack([z, z]), targets, multi).shape == (2, 3)


def test_one_temperature_stays_where_classes_do_not_differ():
    z, targets = drawn(np.full(20, 1.7), 500)
    chosen = choose_temperatures(z[None], targets, False)
    assert chosen.shape == (1,) and chosen[0] == pytest.approx(1.7, rel=0.15)


def test_rare_classes_keep_the_shared_temperature():
    z, targets = drawn(np.array([1.0, 1.0, 1.0, 3.0]), 2000)
    without = targets[:, 3] == 0
    z[without, 3] = -30.0  # all but unheard of
    found = fit_class_temperatures(z[without][:30], targets[without][:30], 1.0, False)
    assert found[3] == pytest.approx(1.0, abs=0.1)


def test_exits_know_their_calibration_error():
    z, targets = drawn(np.array([3.0, 3.0]), 3000)
    raw, tempered = (Exits(z[None], t, targets, None).calibration_errors()[0] for t in ([1.0], [3.0]))
    assert tempered < 0.03 < raw


def test_a_wrong_answer_costs_one_more_than_its_cross_entropy():
    exits = Exits(np.log([[[0.8, 0.2], [0.8, 0.2]]]), [1.0], np.eye(2)[[0, 1]], None)
    assert exits.losses(exits.probabilities[0]) == pytest.approx([-np.log(0.8), 1 - np.log(0.2)])


def test_a_block_that_is_better_and_too_sure_is_kept():
    random = np.random.default_rng(3)
    truth = random.integers(0, 2, 400)
    targets = np.eye(2)[truth]
    right = lambda share: np.where(random.random(400) < share, truth, 1 - truth)
    first, second = np.eye(2)[right(0.8)] * 1.4, np.eye(2)[right(0.9)] * 12.0
    assert useful_blocks(np.stack([first, first, second]), targets, False, within=0.25) == 2
    assert useful_blocks(np.stack([first, second, first]), targets, False, within=0.25) == 1
    assert useful_blocks(np.stack([first, first, second]), targets, False, within=1000) == 1


def test_thresholds_are_chosen_together_for_micro_f1():
    draw = np.random.default_rng(5)
    targets = (draw.random((300, 5)) < [0.5, 0.3, 0.1, 0.03, 0.0]).astype(np.float32)
    p = np.clip(0.5 * targets + draw.random((300, 5)) * 0.6, 0, 1)
    chosen = fit_thresholds(p, targets)

    def micro_f1(thresholds):
        decided = p > np.array(thresholds)
        return 2 * (decided * targets).sum() / (decided.sum() + targets.sum())

    assert chosen[4] == 0.5, "no row has the label"
    best = micro_f1(chosen[:4] + [1.0])
    for label in range(4):
        for other in np.linspace(0.05, 0.9, 86):
            assert micro_f1(chosen[:label] + [other] + chosen[label + 1 : 4] + [1.0]) <= best + 1e-9
