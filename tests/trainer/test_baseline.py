"""The baselines learn what is there to learn, on every kind of table."""

import random
import sys

import numpy as np
import pytest

from beex_train.baseline import fasttext_baseline, linear_baseline, majority_baseline
from beex_train.data import DataError, Table

WORDS = "the film a story its cast this plot of and with an ending".split()


def table(rows, seed, multi_label=False, paired=False, classes=4):
    """Texts in which a word per label gives the labels away. Sorted by label, as users' files are."""
    generator = random.Random(seed)
    names = [f"class {i}" for i in range(classes)]
    made = []
    for i in range(rows):
        chosen = [n for n in names if generator.random() < 0.4] if multi_label else [names[i % classes]]
        words = generator.choices(WORDS, k=6) + [f"Sign{n[-1]}!" for n in chosen]
        generator.shuffle(words)
        made.append(("|".join(chosen), " ".join(words)))
    labels, texts = zip(*sorted(made))
    return Table("t", list(labels), list(texts), [" ".join(generator.choices(WORDS, k=3)) for _ in texts] if paired else None)


@pytest.mark.parametrize("baseline", [linear_baseline, fasttext_baseline])
@pytest.mark.parametrize("multi_label,paired", [(False, False), (True, False), (False, True)])
def test_learns(baseline, multi_label, paired):
    result = baseline(table(400, 1, multi_label, paired), table(100, 2, multi_label, paired))
    assert result.scores["accuracy"] > 0.95 and result.scores["macro_f1"] > 0.95
    assert ("micro_f1" in result.scores) == multi_label
    assert result.probabilities.shape == result.decided.shape == (100, 4)
    assert multi_label or np.allclose(result.probabilities.sum(-1), 1, atol=1e-3)
    assert result.setting in (1, 10) if baseline is linear_baseline else result.setting in (5, 10, 25)


def test_quick_linear_baseline_agrees():
    train, dev = table(400, 1), table(100, 2)
    assert linear_baseline(train, dev, quick=True).scores["accuracy"] > 0.95


def test_quick_linear_baseline_samples_a_large_table(monkeypatch):
    monkeypatch.setattr("beex_train.baseline.QUICK_WORK", 4 * 7 * 100)  # 100 of the 400 rows
    train, dev = table(400, 1), table(100, 2)
    quick = linear_baseline(train, dev, quick=True)
    assert 0.8 < quick.scores["accuracy"] and not np.array_equal(quick.probabilities, linear_baseline(train, dev).probabilities)


@pytest.mark.parametrize("baseline", [majority_baseline, linear_baseline, fasttext_baseline])
def test_tiny_tables_and_unknown_labels(baseline):
    train = Table("t", ["x", "y", "x"], ["good", "bad", "fine thing"])
    dev = Table("d", ["x", "y"], ["good", "???"])
    assert baseline(train, dev).decided.sum(-1).tolist() == [1, 1]
    with pytest.raises(DataError, match="row 2: the label 'z' does not occur"):
        baseline(train, Table("d", ["x", "z"], ["good", "bad"]))


def test_a_label_that_is_always_there_is_learnt():
    train = table(100, 1, multi_label=True)
    train.labels = ["|".join(filter(None, [label, "always"])) for label in train.labels]
    assert linear_baseline(train, train).decided[:, 0].all()


def test_majority():
    train = Table("t", ["x", "y", "y"], list("abc"))
    assert majority_baseline(train, Table("d", ["x", "x", "x", "y"], list("abcd"))).scores["accuracy"] == 0.25
    several = Table("t", ["x|y", "", "", "x"], list("abcd"))
    assert majority_baseline(several, several).scores["accuracy"] == 0.5


def test_fasttext_is_seeded_and_quiet(capfd):
    train, dev = table(200, 1), table(50, 2)
    once, again, other = (fasttext_baseline(train, dev, seed) for seed in (1, 1, 2))
    assert np.array_equal(once.probabilities, again.probabilities) and not np.array_equal(once.probabilities, other.probabilities)
    assert capfd.readouterr() == ("", "")


def test_fasttext_takes_a_long_text_as_one():
    train = table(200, 1)
    long = Table("d", ["class 1", "class 2"], ["the film " * 3000 + "Sign1!", "class=0 label=0 __label__0 </s> Sign2! Sign2!"])
    assert fasttext_baseline(train, long).decided.shape == (2, 4)


def test_without_fasttext_there_is_a_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "fasttext", None)
    with pytest.raises(DataError, match="pip install fasttext-wheel"):
        fasttext_baseline(table(40, 1), table(10, 2))
