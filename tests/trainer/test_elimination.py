"""Elimination with gradients: masks are real removal, scores, profile, tuning; and the rules and costs of many inputs at once."""

import numpy as np
import pytest
import torch

from beex_train.adaptive import by_exit, compare_rules
from beex_train.cost import Cost
from beex_train.elimination import attention_scores, depth_work, gamma_for, measure_profile, needed_share, token_counts
from beex_train.exits import Costs, Exits, decide_all
from beex_train.export import export
from beex_train.golden import TEXTS
from beex_train.inputs import Inputs
from beex_train.model import attention_mass, most_attended
from beex_train.pack import ExitRule, PackFile, Policy
from beex_train.passes import run
from beex_train.restore import restore
from beex_train.simulate import Simulator, decide
from beex_train.speed import Measured, choose
from beex_train.tokenizer import Encoder, train_vocabulary
from test_model import prepared, small


def encoded(**changes):
    """A network with a profile (and gates), its encoder, and TEXTS as its inputs."""
    encoder = Encoder(train_vocabulary(TEXTS * 2, 90))
    model = prepared(small(vocabulary_size=len(encoder.vocabulary), ngram_buckets=256, **changes), seed=3)
    model.profile = [0.8, 0.5]
    return model, encoder, Inputs.encode(encoder, TEXTS, None, 32)


def simulated(model, encoder) -> Simulator:
    return Simulator(PackFile(export(model, encoder, ["a", "b", "c"], {})))


@pytest.mark.parametrize("pooling,inputs", [("mean", 1), ("cls", 1), ("mean", 2)])
@pytest.mark.parametrize("skip", [1.0, 0.5])
def test_masks_are_real_removal_and_costs_the_engines(pooling, inputs, skip):
    model, encoder, rows = encoded(pooling=pooling, inputs=inputs, skip_width=6)
    if inputs == 2:
        rows = Inputs.encode(encoder, TEXTS, TEXTS[::-1], 32)
    with torch.no_grad():
        for i, gate in enumerate(model.gates):  # so that they disagree
            gate.output.weight.mul_(20)
            gate.output.bias.fill_(0.0)
    simulator = simulated(model, encoder)
    for gamma in (0.0, 1.0, 2.5):
        logits, costs = run(model, rows, gamma, skip)
        for i, ids in enumerate(rows.ids):
            segments = rows.segments[i] or None
            readings = list(simulator.walk(ids, segments, policy=Policy(gamma=gamma, skip=skip), every_exit=True))
            assert [r.exit for r in readings] == np.flatnonzero(costs.read[:, i]).tolist()
            for r in readings:
                assert np.abs(r.logits - logits[r.exit, i]).max() < 1e-3
                if r is not readings[-1]:
                    assert r.work == pytest.approx(costs.work[r.exit, i])
            assert readings[-1].work == pytest.approx(costs.work[-1, i])
            *_, end = simulator.walk(ids, segments, policy=Policy(gamma=gamma, skip=skip))
            assert end.work == pytest.approx(costs.whole_work[i])


@pytest.mark.parametrize("changes", [
    {"slfn_form": "open", "activation_bits": 2, "skip_width": 5},
    {"slfn_form": "rectified", "task": "multi", "pooling": "cls", "ngram_bits": 2},
    {"slfn_form": "bounded", "exit_bits": 8, "inputs": 2, "embedding_bits": 2},
])  # fmt: skip
def test_a_restored_pack_is_the_network_that_was_exported(changes):
    model, encoder, _ = encoded(**changes)
    inputs = Inputs.encode(encoder, TEXTS, TEXTS[::-1] if "inputs" in changes else None, 32)
    thresholds = [0.5] * 3 if "task" in changes else None
    again = restore(PackFile(export(model, encoder, ["a", "b", "c"], {}, thresholds=thresholds)))
    for gamma, skip in ((0.0, 1.0), (1.0, 0.3)):
        (logits, costs), (others, other_costs) = run(model, inputs, gamma, skip), run(again, inputs, gamma, skip)
        # A value that lies on a quantizer's edge may round the other way; it is rare.
        assert (np.abs(logits - others).max((0, 2)) < 1e-3).sum() >= len(inputs) - 1
        assert np.array_equal(costs.work, other_costs.work)


def test_a_profile_that_keeps_all_changes_nothing():
    model, _, inputs = encoded()
    dense, _ = run(model, inputs)
    fewer, _ = run(model, inputs, 1.0)
    model.profile = [1.0, 1.0]
    assert np.array_equal(run(model, inputs, 2.0)[0], dense)
    assert not np.allclose(fewer[1:], dense[1:], atol=1e-3)


def test_gradients_pass_eliminated_tokens_by():
    model, _, inputs = encoded()
    ids, mask, _ = inputs.tensors([4], False, torch.device("cpu"))
    kept = torch.from_numpy(token_counts(model.profile, 1.0, mask.sum(1).numpy()))
    model(ids, mask, kept=kept).sum().backward()
    assert all(block.slfn.content.weight.grad.abs().sum() > 0 for block in model.blocks)


def test_scores_add_up_to_one_and_padding_changes_nothing():
    weights = torch.rand(2, 3, 6, 6).softmax(-1)
    weights[1, :, :, 4:] = 0
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    scores = attention_scores(weights, mask)
    assert torch.allclose(scores.sum(-1), torch.ones(2))
    assert torch.allclose(scores[1, :4], attention_scores(weights[1:, :, :4, :4], mask[1:, :4])[0])


def test_needed_share_is_that_of_the_fewest_tokens():
    scores = torch.tensor([[0.1, 0.5, 0.05, 0.35], [0.6, 0.4, 0.0, 0.0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    assert needed_share(scores, mask, 0.8).tolist() == [0.5, 1.0]


def test_most_attended_keeps_the_first_and_the_earlier_of_equals():
    mass = torch.tensor([[0.0, 3.0, 1.0, 2.0, 2.0, 2.0], [9.0, 1.0, 2.0, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    alive = most_attended(mass, mask, torch.tensor([4, 2]))
    assert [row.nonzero().ravel().tolist() for row in alive] == [[0, 1, 3, 4], [0, 2]]
    assert attention_mass(torch.ones(1, 2, 3, 3), torch.tensor([[True, True, False]]))[0, 0] == 4  # two heads, two real rows


def test_measured_profile_never_rises():
    model, _, inputs = encoded()
    profile = measure_profile(model, inputs)
    assert len(profile) == 2 and 1 >= profile[0] >= profile[1] > 0
    assert measure_profile(model, inputs, tau=0.5)[0] < profile[0]


@pytest.mark.parametrize("speedup", [1.25, 1.5, 2.0])
def test_gamma_for_a_speedup_costs_what_was_asked(speedup):
    cost = Cost.of_model(small(hidden_size=256, slfn_size=512, heads=4))
    tokens = np.array([120, 90, 128, 70])
    gamma = gamma_for(cost, [0.7, 0.4], tokens, speedup)
    assert depth_work(cost, [0.7, 0.4], gamma, tokens) == pytest.approx(1 / speedup, abs=0.02)
    assert depth_work(cost, [0.7, 0.4], 0.0, tokens) == pytest.approx(1)
    assert gamma_for(cost, [0.7, 0.4], tokens, 1000) == 16


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("rule", [
    ExitRule(), ExitRule("fractional", 0.1, 0.2, 0.8), ExitRule("fractional", 0.3, 0.0, 2.0, 1, True), ExitRule("entropy", 0.4, first_exit=1),
    ExitRule("patience", 2), ExitRule("probability", 0.6, 0.1),
])  # fmt: skip
def test_rules_on_many_inputs_are_those_on_one(rule, multi):
    random = np.random.default_rng(2)
    p = random.dirichlet(np.ones(3), (5, 300)).astype(np.float32)
    entropies = random.uniform(0, 1, (5, 300)).astype(np.float32)
    read = random.uniform(size=(5, 300)) < 0.7
    read[0] = True
    stopped, answered, through = decide_all(rule, entropies, p, read, multi)
    for i in range(300):
        seen: dict = {}
        exits = np.flatnonzero(read[:, i])
        expected = (exits[-1], exits[-1], True)
        for before, exit in zip([-1, *exits], exits):
            if reason := decide(rule, exit, 4, entropies[exit, i], p[exit, i], seen, multi):
                expected = (exit, before if reason == "rising" else exit, False)
                break
        assert (stopped[i], answered[i], through[i]) == expected


def test_windows_of_a_row_answer_together():
    logits = np.log(np.array([[[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]] * 2))
    exits = Exits(logits, [1.0, 1.0], np.eye(2)[[0, 1]], None, Inputs([[0] * 9, [0] * 3, [0] * 5], row=[0, 0, 1]))
    routing = exits.route(ExitRule())
    odds = 9 ** 0.75 * 0.25 ** 0.25  # of the first row: 9 of its 12 tokens say 9 to 1, the others 1 to 4
    assert np.allclose(routing.answers, [[odds / (1 + odds), 1 / (1 + odds)], [0.3, 0.7]]) and routing.accuracy == 1
    assert routing.exit.tolist() == [1, 1, 1] and routing.deepest.tolist() == [1, 1]


def point(work, accuracy, loss):
    return Measured(Policy(gamma=work), work, accuracy, loss + np.zeros(50))


def test_curve_is_a_front_and_names_keep_their_promise():
    whole = point(1.0, 0.90, 0.30)
    lucky = point(0.2, 0.95, 0.60)  # accurate by chance: a cheaper one has the smaller loss
    curve = choose([whole, lucky, point(0.1, 0.86, 0.5), point(0.3, 0.885, 0.40), point(0.5, 0.897, 0.33), point(0.7, 0.901, 0.31), point(0.9, 0.91, 0.29)])
    assert [(round(p.work, 1), p.name) for p in curve] == [(0.1, ""), (0.3, "fast"), (0.5, "balanced"), (0.7, ""), (0.9, "accurate")]
    # 0.7 is as accurate as the whole network, but less sure of it.
    assert [p.name for p in choose([whole, point(0.1, 0.89, 0.4)])] == ["fast", "accurate"]
    assert [(p.work, p.name) for p in choose([whole, point(0.1, 0.91, 0.2)])] == [(0.1, "accurate")]


def test_rules_are_compared_on_rows_that_did_not_choose_them():
    random = np.random.default_rng(4)
    targets = np.eye(2)[random.integers(0, 2, 400)]
    noise = random.normal(size=(4, 400, 2)) * np.array([2.0, 1.5, 1.0, 0.7])[:, None, None]
    costs = Costs(np.ones((4, 400), bool), np.arange(1.0, 5)[:, None].repeat(400, 1), np.full(400, 4.0), np.full(400, 4.0))
    exits = Exits(2 * targets + noise, [1.0] * 4, targets, None, costs=costs)
    found = compare_rules(exits)
    assert set(found) == {"fractional, plain", "entropy", "patience", "probability", "fractional, guarded"}
    for points in found.values():
        for point in points:
            assert np.isnan(point["accuracy"]) or 0.6 < point["accuracy"] < 1
    entropy = {point["most_work"]: point for point in found["entropy"]}
    assert entropy[0.75]["accuracy"] >= entropy[0.5]["accuracy"] > 0.6 and entropy[0.5]["work"] < 0.55
    depth = by_exit(exits)
    assert depth["best_exit_of_each_row"] >= max(depth["accuracy"])
    assert depth["overthinking"] == pytest.approx((exits.right[:3].any(0) & ~exits.right[3]).mean())
