"""Elimination, skip gates and speed settings in the reference arithmetic."""

import numpy as np
import pytest

from beex_train.cost import Cost
from beex_train.golden import TEXTS, adaptive_packs, write_settings
from beex_train.pack import CurvePoint, ExitRule, PackError, PackFile, Policy, curve_section, with_sections
from beex_train.simulate import Simulator, attention_mass, choose_kept, kept_tokens
from conftest import ROOT

f32 = np.float32
GOLDEN = ROOT / "model_pack" / "golden"


def golden(name: str = "tiny_adaptive", **changes: np.ndarray) -> Simulator:
    """A tiny pack with other floats in some sections ("." of a name as "__")."""
    data = (GOLDEN / f"{name}.beex").read_bytes()
    sections = {key.replace("__", "."): np.asarray(value, f32).tobytes() for key, value in changes.items()}
    return Simulator(PackFile(with_sections(data, sections)))


def first_window(simulator: Simulator, text: str = TEXTS[4]) -> list[int]:
    return simulator.encoder.windows(simulator.encoder.tokens([text])[0], 16)[0]


def bits(simulator: Simulator, policy: Policy) -> list[bytes]:
    return [r.logits.tobytes() for r in simulator.walk(first_window(simulator), policy=policy, every_exit=True)]


@pytest.mark.parametrize("name", ["tiny_adaptive", "tiny_adaptive_multilabel"])
def test_committed_settings_are_those_of_the_simulation(name, tmp_path):
    pack, policies = adaptive_packs()[name]
    assert pack == (GOLDEN / f"{name}.beex").read_bytes()
    write_settings(pack, TEXTS, policies, tmp_path / "again.settings")
    assert (tmp_path / "again.settings").read_bytes() == (GOLDEN / f"{name}.settings").read_bytes()


def test_keeping_all_tokens_is_the_dense_network_bit_for_bit():
    dense = bits(golden(), Policy())
    assert bits(golden(elimination__profile=np.ones(3)), Policy(gamma=2.0)) == dense
    assert bits(golden(), Policy(gamma=1.0)) != dense


def test_attention_mass_of_all_tokens_adds_up_to_heads_times_rows():
    weights = np.random.default_rng(1).uniform(0, 1, (4, 9, 9)).astype(f32)
    weights /= weights.sum(-1, keepdims=True)
    assert attention_mass(weights).sum() == pytest.approx(4 * 9, rel=1e-5)


def test_kept_tokens_follow_the_profile_and_never_fall_below_four():
    assert kept_tokens(f32(0.5), 0.0, 40, 40) == 40
    assert kept_tokens(f32(0.5), 1.0, 40, 40) == 20
    assert kept_tokens(f32(0.5), 2.0, 40, 40) == 10
    assert kept_tokens(f32(0.5), 2.0, 8, 40) == 8  # no more than there are
    assert kept_tokens(f32(0.5), 9.0, 40, 40) == 4 and kept_tokens(f32(0.5), 9.0, 3, 3) == 3


def test_the_first_token_stays_and_of_equal_ones_the_earlier():
    assert choose_kept(np.array([0, 3, 1, 2, 2, 2], f32), 4).tolist() == [0, 1, 3, 4]


def test_eliminated_tokens_stay_in_the_mean():
    seen: dict = {}
    simulator = golden()
    ids = first_window(simulator)
    list(simulator.walk(ids, policy=Policy(gamma=2.0), every_exit=True, tap=lambda name, i, values: seen.__setitem__((name, i), values)))
    assert len(seen["kept", 0]) < len(ids)
    gone = np.setdiff1d(np.arange(len(ids)), seen["kept", 0])
    total = seen["attention_state", 0][gone].sum(0) + seen["block_state", 0].sum(0)
    assert np.abs(seen["pooled", 1] - total / len(ids)).max() < 1e-5


def test_skipped_blocks_and_their_exits_do_not_run():
    simulator = golden()
    gates: dict = {}
    full = Policy(skip=0.999)
    list(simulator.walk(first_window(simulator), policy=full, every_exit=True, tap=lambda n, i, v: gates.__setitem__(i, v[0]) if n == "skip" else None))
    assert len(gates) == 3
    highest = max(gates, key=gates.get)
    threshold = float(np.nextafter(gates[highest], f32(0)))
    readings = list(simulator.walk(first_window(simulator), policy=Policy(skip=threshold), every_exit=True))
    assert [r.exit for r in readings if r.exit <= highest + 1] == list(range(highest + 1))
    nothing = simulator.classify(TEXTS[0], policy=Policy(skip=0.0))
    assert (nothing.exit_block, nothing.blocks_run, nothing.reason) == (0, 0, "last")


def test_work_is_a_share_of_the_dense_cost():
    simulator = golden()
    assert simulator.classify(TEXTS[1], policy=Policy()).work == pytest.approx(1)
    works = [simulator.classify(TEXTS[1], policy=Policy(gamma=gamma)).work for gamma in (0.0, 0.5, 1.0, 2.0)]
    assert works == sorted(works, reverse=True) and works[-1] < 0.8
    cost = Cost.of_pack(simulator.pack.config)
    assert cost.block(16, 8) < cost.block(16, 16) and cost.dense(np.array([8, 16])).shape == (2,)


def test_a_temperature_per_class_scales_its_logit_alone():
    simulator = golden()
    reading = next(simulator.walk(first_window(simulator)))
    expected = np.exp(reading.logits.astype(np.float64) * simulator.inverse_temperature[0])
    assert simulator.inverse_temperature.shape == (4, 5)
    assert np.abs(reading.probabilities - expected / expected.sum()).max() < 1e-6


def test_curve_survives_the_pack_and_names_find_their_setting():
    pack, policies = adaptive_packs()["tiny_adaptive"]
    curve = PackFile(pack).curve
    assert len(curve) == 4 and [point.name for point in curve] == ["fast", "", "balanced", "accurate"]
    assert PackFile(pack).named("fast").gamma == policies[0].gamma and PackFile(pack).named("full") == Policy()
    with pytest.raises(PackError, match="no setting 'quick'"):
        PackFile(pack).named("quick")
    with pytest.raises(ValueError, match="rising work and accuracy"):
        curve_section([CurvePoint(0.5, 0.9, Policy()), CurvePoint(0.6, 0.9, Policy())])
    point = CurvePoint(0.25, 0.75, Policy(ExitRule("entropy", 0.5, first_exit=1), 2.0, 0.5), "fast")
    assert CurvePoint.unpack(point.pack()) == point
