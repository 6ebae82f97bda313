"""Words with which exit 0 does not answer alone: found where a bag of words is sure and wrong, kept in the pack, heeded by every exit rule."""

import random
from dataclasses import replace

import numpy as np
import pytest

from beex_train.data import DataError, Table
from beex_train.doubt import DEVIATIONS, MOST_WORDS, doubtful_words
from beex_train.exits import Exits
from beex_train.fit import Settings, fit
from beex_train.inputs import Inputs
from beex_train.pack import ExitRule, PackFile
from beex_train.passes import run
from beex_train.restore import restore
from beex_train.simulate import Simulator
from conftest import BAD as BAD_WORDS
from conftest import FILLER, ROOT
from conftest import GOOD as GOOD_WORDS

CLS, SEP, GOOD, BAD, NOT, AT, ALL, IT = range(8)


def bag(rows: list[tuple[list[int], bool]]) -> tuple[Inputs, np.ndarray, np.ndarray]:
    """Inputs, targets and what a linear model says that knows GOOD and BAD and nothing else."""
    inputs = Inputs([[CLS, *ids, SEP] for ids, _ in rows], row=list(range(len(rows))))
    targets = np.eye(2)[[int(positive) for _, positive in rows]]
    says = np.array([[0.0, 4.0 * (GOOD in ids) - 4.0 * (BAD in ids)] for ids, _ in rows])
    return inputs, targets, says


PLAIN = [([IT, GOOD], True), ([IT, BAD], False)] * 400
NEGATED = [([IT, NOT, GOOD, AT, ALL], False), ([IT, NOT, BAD], True)] * 20


def test_the_word_that_turns_others_is_found_and_its_company_is_not():
    inputs, targets, says = bag(PLAIN + NEGATED + [([IT, GOOD, AT], True)] * 4)
    assert doubtful_words(inputs, targets, says, (CLS, SEP)) == [NOT]
    assert doubtful_words(inputs, targets, says, (CLS, SEP, NOT)) != [NOT]


def test_soft_labels_and_windows_count_as_their_row_says():
    inputs, targets, says = bag(PLAIN + NEGATED)
    assert doubtful_words(inputs, 0.1 + 0.8 * targets, says, (CLS, SEP)) == [NOT]
    first = len(PLAIN)
    inputs = Inputs([*inputs.ids, *inputs.ids[first:]], row=[*inputs.row, *inputs.row[first:]])
    assert doubtful_words(inputs, targets, np.concatenate([says, says[first:]]), (CLS, SEP)) == [NOT]


@pytest.mark.parametrize("rows", [PLAIN, [], PLAIN + NEGATED[: int(DEVIATIONS)], [([IT, word], truth) for word in (GOOD, BAD, NOT) for truth in (True, False)] * 20])
def test_no_word_where_none_is_worse_than_the_others(rows):
    inputs, targets, says = bag(rows) if rows else (Inputs(), np.zeros((0, 2)), np.zeros((0, 2)))
    assert doubtful_words(inputs, targets, says, (CLS, SEP)) == []


def test_a_word_that_most_texts_have_singles_nothing_out():
    inputs, targets, says = bag([([IT, GOOD], truth) for truth in (True, True, True, False)] * 100 + [([GOOD], True)] * 100)
    assert doubtful_words(inputs, targets, says, (CLS, SEP)) == []
    inputs, targets, says = bag([([IT, GOOD], truth) for truth in (True, True, True, False)] * 100 + [([GOOD], True)] * 600)
    assert doubtful_words(inputs, targets, says, (CLS, SEP)) == [IT]


def test_there_are_never_too_many():
    inputs, targets, says = bag(PLAIN * 5 + [([word], False) for word in range(10, 20 + MOST_WORDS) for _ in range(30)])
    says[5 * len(PLAIN) :] = [0.0, 4.0]
    assert len(doubtful_words(inputs, targets, says, (CLS, SEP))) == MOST_WORDS


@pytest.mark.parametrize("kind", [("entropy", 2.0), ("probability", 0.0), ("patience", 1), ("fractional", 2.0)])
def test_the_trainers_exits_heed_them_as_the_simulation_does(kind):
    pack = PackFile.open(ROOT / "model_pack" / "golden" / "tiny_adaptive.beex")
    simulator, model, texts = Simulator(pack), restore(pack), ["a charming journey", "charming and often", "two", "bleak, and desperate", ""]
    assert [pack.lines("vocabulary")[token] for token in model.doubtful] == ["and", "tw"]
    inputs = Inputs.encode(simulator.encoder, texts, None, pack.config["max_tokens"])
    logits, costs = run(model, inputs)
    assert costs.doubtful.tolist() == [False, True, True, True, False]
    exact = np.stack([[z for z, _, _ in simulator.exits(ids)] for ids in inputs.ids], 1)
    apart = lambda given: np.abs(given - exact)[1:, costs.doubtful].mean()
    model.doubtful = ()
    assert apart(logits) < 0.02 < 0.2 < apart(run(model, inputs)[0])  # never nothing: where rounding of sums differs, a quantizer may fall to the other side
    temperatures = 1 / pack.floats("exit.inverse_temperature", len(model.exits), -1)
    routed = Exits(logits, temperatures, np.eye(5)[[0] * 5], None, inputs, costs).route(ExitRule(*kind))
    expected = [simulator.classify(text, policy=ExitRule(*kind)) for text in texts]
    assert routed.exit.tolist() == [outcome.exit_block for outcome in expected] and len(set(routed.exit)) == 2
    assert routed.blocks.tolist() == [outcome.blocks_run for outcome in expected]


def test_fit_puts_them_into_the_pack(tmp_path):
    draw = random.Random(1)
    rows = [(word in GOOD_WORDS, f"{draw.choice(FILLER)} {word} {draw.choice(FILLER)}") for word in draw.choices(GOOD_WORDS + BAD_WORDS, k=500)]
    rows += [(word in BAD_WORDS, f"{draw.choice(FILLER)} not {word} {draw.choice(FILLER)}") for word in draw.choices(GOOD_WORDS + BAD_WORDS, k=50)]
    table = Table("rows", ["good" if good else "bad" for good, _ in rows], [text for _, text in rows])
    # Single words only: pairs of words would let the linear model read "not good".
    settings = Settings(base="none", ngram_longest=1, hidden_size=64, heads=2, slfn_size=64, blocks=1, rounds=0.2, drop_within=1000.0)
    fitted = fit(settings, table, None, (), tmp_path / "checkpoint")
    assert "not" in fitted.report["doubtful"]
    vocabulary = PackFile(fitted.pack).lines("vocabulary")
    assert sorted(fitted.report["doubtful"]) == sorted(vocabulary[token] for token in PackFile(fitted.pack).doubtful)
    without = fit(replace(settings, doubt=False), table, None, (), tmp_path / "other")
    assert without.report["doubtful"] == [] and PackFile(without.pack).doubtful == []
    named = fit(replace(settings, doubtful=["film", "a"], share_in_doubt=0.25), table, table, (), tmp_path / "third")
    assert {"film", "a"} <= set(named.report["doubtful"])
    assert [restore(PackFile(made.pack)).share_in_doubt for made in (fitted, named)] == [1.0, 0.25]
    assert named.report["export"]["rows_with_the_same_exit"] == named.report["export"]["rows"], "the network that was measured is the pack's"
    with pytest.raises(DataError, match="1, 0.5, 0.25 or 0.125, not 0.3"):
        fit(replace(settings, share_in_doubt=0.3), table, None, (), tmp_path / "fourth")
    with pytest.raises(DataError, match="'unheard' are not; leave them out"):
        fit(replace(settings, doubtful=["unheard", "a"]), table, None, (), tmp_path / "fourth")
