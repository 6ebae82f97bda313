"""The reference arithmetic: accuracy of its functions, order of its sums, exit rules, windows, n-grams, labels, vectors."""

import numpy as np
import pytest

from beex_train import ngrams, simulate
from beex_train.golden import TEXTS, write_golden
from beex_train.pack import ExitRule, PackFile, with_sections, unpack_few_bits
from beex_train.simulate import Simulator
from beex_train.tokenizer import Encoder, train_vocabulary
from conftest import ROOT

f32 = np.float32


def test_functions_are_accurate():
    x = np.linspace(-20, 20, 100_001).astype(f32)
    exact = x.astype(np.float64)
    assert np.max(np.abs(simulate.exp(x) / np.exp(exact) - 1)) < 5e-7
    assert np.max(np.abs(simulate.tanh(x) - np.tanh(exact))) < 3e-7
    assert np.max(np.abs(simulate.sigmoid(x) - 1 / (1 + np.exp(-exact)))) < 2e-7
    positive = np.exp(exact).astype(f32)
    assert np.max(np.abs(simulate.ln(positive) - np.log(positive.astype(np.float64)))) < 2e-6


def test_sum4_adds_in_four_lanes():
    x = np.array([1e8, 1, -1e8, 1, 1, 1, 1], f32)
    lanes = [f32(0)] * 4
    for i, value in enumerate(x):
        lanes[i % 4] = lanes[i % 4] + value
    assert simulate.sum4(x) == (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])


def walk(rule: ExitRule, entropies, labels=None):
    """Exit and reason for a sequence of entropies (and labels) at exits 0, 1, …"""
    seen: dict = {}
    labels = labels or [0] * len(entropies)
    for i, (entropy, label) in enumerate(zip(entropies, labels)):
        reason = simulate.decide(rule, i, len(entropies) - 1, f32(entropy), np.eye(2, dtype=f32)[label], seen)
        if reason:
            return i, reason


@pytest.mark.parametrize(
    "rule,entropies,expected",
    [
        (ExitRule("off"), [0.0, 0.0, 0.0], (2, "last")),
        (ExitRule("fractional", 0.1), [0.9, 0.5, 0.48, 0.1], (2, "reduction")),  # plateau
        (ExitRule("fractional", 0.1), [0.9, 0.5, 0.3, 0.1], (3, "last")),  # keeps falling
        (ExitRule("fractional", 0.1), [0.5, 0.7, 0.3], (1, "reduction")),  # rises
        (ExitRule("fractional", 0.1, keep_lower_entropy=True), [0.5, 0.7, 0.3], (1, "rising")),
        (ExitRule("fractional", 0.1, certain=0.2), [0.1, 0.7, 0.3], (0, "certain")),
        (ExitRule("fractional", 0.1, certain=0.2, first_exit=1), [0.1, 0.1, 0.3], (1, "certain")),
        (ExitRule("fractional", 0.1, uncertain=0.6), [0.9, 0.89, 0.5, 0.1], (3, "last")),  # uncertain and stays so
        (ExitRule("fractional", 0.1), [0.0, 0.0, 0.0], (1, "reduction")),  # nothing left to reduce
        (ExitRule("entropy", 0.4), [0.9, 0.39, 0.1], (1, "entropy")),
        (ExitRule("probability", 0.5), [0.9, 0.9, 0.9], (0, "probability")),
    ],
)
def test_exit_rules(rule, entropies, expected):
    assert walk(rule, entropies) == expected


def test_patience_counts_agreeing_exits():
    assert walk(ExitRule("patience", 2), [0.9] * 5, [0, 1, 1, 0, 0]) == (2, "patience")
    assert walk(ExitRule("patience", 3), [0.9] * 5, [0, 1, 1, 0, 0]) == (4, "last")


def test_windows_cover_a_long_text_and_overlap_by_a_quarter():
    encoder = Encoder(train_vocabulary(TEXTS * 2, 90))
    windows = encoder.windows(list(range(100)), 34)
    bodies = [window[1:-1] for window in windows]
    assert all(len(window) <= 34 for window in windows)
    assert sorted({i for body in bodies for i in body}) == list(range(100))
    assert bodies[0][-8:] == bodies[1][:8]
    assert len(encoder.windows(list(range(32)), 34)) == 1
    assert encoder.windows([], 34) == [[encoder.cls_id, encoder.sep_id]]


def test_pairs_lose_tokens_from_the_longer_text():
    encoder = Encoder(train_vocabulary(TEXTS * 2, 90))
    ids, segments, truncated = encoder.pair([5] * 20, [6] * 4, 16)
    assert truncated and len(ids) == len(segments) == 16
    assert ids.count(6) == 4 and ids.count(5) == 8 and segments.count(1) == 6


@pytest.mark.parametrize("name", ["tiny_rectified", "tiny_multilabel", "tiny_classes", "tiny_features"])
def test_committed_golden_vectors_are_those_of_the_simulation(name, tmp_path):
    folder = ROOT / "model_pack" / "golden"
    write_golden((folder / f"{name}.beex").read_bytes(), TEXTS, tmp_path / "again.golden")
    assert (tmp_path / "again.golden").read_bytes() == (folder / f"{name}.golden").read_bytes()


def golden(name: str, **changes: np.ndarray) -> Simulator:
    """A tiny pack, with other bytes in some sections ("." of a name as "_")."""
    data = (ROOT / "model_pack" / "golden" / f"{name}.beex").read_bytes()
    return Simulator(PackFile(with_sections(data, {key.replace("_", ".", 1): value.tobytes() for key, value in changes.items()})))


def first_exit(simulator: Simulator, ids: list[int]) -> np.ndarray:
    return next(simulator.exits(ids))[0]


@pytest.mark.parametrize("name,classes", [("tiny_rectified", [1, 2]), ("tiny_multilabel", [0, 1, 2, 3, 4])])
def test_ngrams_add_the_mean_of_their_rows(name, classes):
    simulator = golden(name)
    config = simulator.pack.config
    ids = [simulator.encoder.cls_id, 7, 9, 7, simulator.encoder.sep_id]
    added = first_exit(simulator, ids) - first_exit(golden(name, ngram_scale=np.zeros(len(classes), np.float32)), ids)
    places, zero = simulator.pack.ngram_places, 2 ** (config["ngram_bits"] - 1)
    rows = np.full((config["ngram_buckets"], len(classes)), zero)
    rows[places] = unpack_few_bits(simulator.pack.raw("ngram.rows"), len(places), len(classes), config["ngram_bits"])
    assert 0 < len(places) < len(rows)
    found = ngrams.buckets(ids, config["ngram_longest"], config["ngram_buckets"])
    total = (rows[found] - zero).sum(0)
    expected = np.zeros(config["classes"])
    expected[classes] = total * simulator.ngram_scale / np.sqrt(len(found))
    assert np.abs(added - expected).max() < 1e-5 and np.abs(expected[classes]).min() > 0


def test_multi_label_probabilities_and_entropy():
    simulator = golden("tiny_multilabel")
    for i, (logits, probabilities, entropy) in enumerate(simulator.exits([simulator.encoder.cls_id, 5, 6, simulator.encoder.sep_id])):
        p = 1 / (1 + np.exp(-logits.astype(np.float64) * simulator.inverse_temperature[i]))
        assert np.abs(probabilities - p).max() < 1e-6
        assert abs(entropy - -(p * np.log2(p) + (1 - p) * np.log2(1 - p)).mean()) < 1e-6


def test_labels_are_those_above_their_thresholds():
    text = "a charming journey"
    p = golden("tiny_multilabel").classify(text).probabilities
    order = np.argsort(-p).tolist()
    below = np.nextafter(p, f32(0))
    assert golden("tiny_multilabel", threshold_by_label=below).classify(text).labels == order
    assert golden("tiny_multilabel", threshold_by_label=p).classify(text).labels == []
    some = np.where(np.arange(5) == order[1], p, below)
    assert golden("tiny_multilabel", threshold_by_label=some).classify(text).labels == [c for c in order if c != order[1]]
    assert golden("tiny_open").classify(text).labels == []


def test_confidence_of_labels_is_that_of_the_least_decided_one():
    rule = ExitRule("probability", 0.75)
    for probabilities, stops in (([0.9, 0.1, 0.8], True), ([0.0, 0.1, 0.2], True), ([0.9, 0.3, 0.8], False), ([0.9, 0.75, 0.8], False)):
        reason = simulate.decide(rule, 0, 1, f32(1), np.array(probabilities, f32), {}, multi_label=True)
        assert (reason == "probability") == stops, probabilities


def test_vectors_have_unit_length_and_features_have_no_classes():
    simulator = golden("tiny_features")
    for text in TEXTS:
        assert abs(np.linalg.norm(simulator.embed(text).astype(np.float64)) - 1) < 1e-6
    with pytest.raises(ValueError, match="no classes"):
        simulator.classify("a")
    with pytest.raises(ValueError, match="pairs"):
        golden("tiny_bounded").embed("a")
