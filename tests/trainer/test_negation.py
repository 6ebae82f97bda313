"""Made negations: what they say follows from their frames, and the probe asks about words that none of them has."""

import re
from pathlib import Path

import pytest

from beex_train import negation
from beex_train.cli import main
from beex_train.data import DataError
from beex_train.pack import PackFile
from beex_train.simulate import Simulator
from beex_train.teach import read_soft_labels

PACKS = Path(__file__).resolve().parents[2] / "model_pack" / "packs"


def words(text):
    return set(re.findall(r"[a-z']+", text.lower()))


def test_made_sentences_are_distinct_repeatable_and_labelled_by_their_frame():
    made = negation.made(3000, seed=1)
    assert len(made) == 3000 and made == negation.made(3000, seed=1) != negation.made(3000, seed=2)
    assert all(0 < positive < 1 for positive in made.values())
    assert not any(re.search(r"[{}]|\ba [aeiou]", text) for text in made)
    of = lambda pattern: [positive for text, positive in made.items() if re.fullmatch(pattern, text)]
    good, bad = "|".join(negation.GOOD), "|".join(negation.BAD)
    assert of(rf"not ({good}) at all") and max(of(rf"not ({good}) at all")) < 0.1
    assert of(rf"not ({bad}) at all") and min(of(rf"not ({bad}) at all")) > 0.7
    assert of(rf".* not only ({bad}) but ({bad})") and max(of(rf".* not only ({bad}) but ({bad})")) < 0.1, "not every not turns"


def test_the_probe_has_words_that_no_made_sentence_has():
    learnt = set().union(*map(words, negation.made(6000, seed=1)))
    assert not learnt & {*negation.OTHER_GOOD, *negation.OTHER_BAD}
    assert not {text for text, _ in negation.probes()} & set(negation.made(6000, seed=1))


def test_the_probe_counts():
    probes = dict(negation.probes())
    result = negation.probe(lambda text: 0.9 if probes[text] else 0.1)
    assert result["right"] == result["sentences"] == len(probes) and result["written_right"] == len(negation.SENTENCES) and not result["wrong"]
    result = negation.probe(lambda text: 0.9)
    assert result["right"] == sum(probes.values()) and set(result["wrong"]) == {text for text, positive in probes.items() if not positive}
    assert f"{100 * result['right'] / len(probes):.0f} % are read right" in negation.summary(result)


def test_command_line(tmp_path, capsys):
    out = tmp_path / "negations.tsv"
    assert main(["negations", str(out), "--count", "200", "--labels", "0", "1"]) == 0
    texts, rows = read_soft_labels(out, ["0", "1"])
    made = negation.made(200, seed=1)
    assert texts == list(made) and all(row[1] == pytest.approx(made[text], abs=1e-4) and sum(row) == pytest.approx(1) for text, row in zip(texts, rows))
    assert main(["negation", str(PACKS / "question.beex")]) == 1
    assert "two labels" in capsys.readouterr().err
    for count in ("0", "100000000"):
        assert main(["negations", str(out), "--count", count]) == 1
        assert "1 to 100,000" in capsys.readouterr().err


def test_probe_of_a_pack(monkeypatch):
    monkeypatch.setattr(negation, "probes", lambda some=negation.probes(): some[:6])
    simulator = Simulator(PackFile.open(PACKS / "sentiment.beex"))
    result = negation.probe_pack(simulator, "positive")
    turned = negation.probe_pack(simulator, "negative")
    assert result["sentences"] == 6 and result["right"] + turned["right"] == 6
    with pytest.raises(DataError, match="one of them"):
        negation.probe_pack(simulator, "nonsense")
