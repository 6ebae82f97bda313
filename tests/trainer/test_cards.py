"""Cards, tables, picture, sizes and bias probe from small made reports; names of the reports that scripts/make-pack writes."""

import json
import re
import shutil
import subprocess
import tomllib
from dataclasses import fields
from xml.etree import ElementTree

import numpy as np
import pytest

from beex_train import bias
from beex_train.cards import pack_table, paper_table, publish, speed_table, write_cards
from beex_train.data import DataError
from beex_train.fit import Settings
from beex_train.pack import HEADER, ENTRY, SHARE_SHIFT, CurvePoint, ExitRule, PackFile, Policy, json_section, with_sections
from beex_train.pareto import picture
from beex_train.report import measure
from beex_train.results import load, over_seeds
from beex_train.simulate import Simulator
from beex_train.sizes import ratios, sizes
from conftest import ROOT

RECIPES = sorted((ROOT / "model_pack" / "recipes").glob("*.toml"))
RECIPE = """# Tiny.
#
#   scripts/make-pack sentiment FOLDER

name = "sentiment"
description = "Good or bad."
licence = "Weights: Apache-2.0. Data: none."
data = "Made up"
limits = ["It knows nothing."]
"""


def made_report(right, classes=2, **more):
    """A report of 100 dev rows, so many of them right at the exits."""
    truth = np.arange(100) % classes
    answer = np.where(np.arange(100) < right[-1], truth, (truth + 1) % classes)
    dev = measure(0.8 * np.eye(classes)[answer] + 0.2 / classes, np.eye(classes)[truth], [f"label{c}" for c in range(classes)])
    dev |= {"accuracy_by_exit": [r / 100 for r in right], "accuracy_with_exits": right[-1] / 100 - 0.01, "mean_depth": 0.4,
            "rows_by_exit": [100 - 10 * (len(right) - 1), *[10] * (len(right) - 1)]}  # fmt: skip
    rule = {"kind": "fractional", "threshold": 0.1, "certain": 0.2, "uncertain": 0.9}
    return {"rows": 500, "dev": dev, "exit_rule": rule, "notes": [], **more}


@pytest.fixture()
def folder(tmp_path):
    """A model_pack with one pack of two blocks, two seeds, a float twin of two seeds, and baselines; a recipe without a pack."""
    for part in ("recipes", "packs", "reports"):
        (tmp_path / part).mkdir()
    (tmp_path / "data_sets.json").write_text('{"sentiment": "sst2", "topic": "agnews_partial"}')
    (tmp_path / "recipes" / "sentiment.toml").write_text(RECIPE)
    (tmp_path / "recipes" / "topic.toml").write_text(RECIPE.replace("sentiment", "topic"))
    own = made_report([80, 84, 86], notes=["rows left out: 3"])
    pack = (ROOT / "model_pack" / "golden" / "tiny_rectified.beex").read_bytes()
    metadata = {"metrics": own, "size": {"parameters": 50_000}}
    (tmp_path / "packs" / "sentiment.beex").write_bytes(with_sections(pack, {"metadata": json_section(metadata)}))
    reports = {
        "sentiment.seed1": own,
        "sentiment.seed2": made_report([80, 82, 84]),
        "sentiment.twin": made_report([80, 84, 87]),
        "sentiment.twin.seed2": made_report([80, 84, 89]),
        "cola.seed1": made_report([70, 70, 71], size=sizes(pack)),
        "baselines": {
            "sst2": {
                "majority": {"accuracy": 0.5, "macro_f1": 0.33},
                "linear": {"C": 1.0, "scores": {"accuracy": 0.81, "macro_f1": 0.8, "matthews": 0.62}},
                "fasttext": {"mean": {"accuracy": 0.79, "macro_f1": 0.78}},
            },
            "rte": {"majority": {"accuracy": 0.52}},
        },
    }
    for name, report in reports.items():
        (tmp_path / "reports" / f"{name}.json").write_text(json.dumps(report))
    return tmp_path


def cells(table, first):
    """The cells of the line that starts with `first`."""
    line = next(line for line in table.splitlines() if line.startswith(f"| {first}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_card_of_a_pack(folder):
    assert [path.name for path in write_cards(folder)] == ["sentiment.md", "topic.md"]
    card = (folder / "cards" / "sentiment.md").read_text()
    low, high = load(folder)["sentiment"].own["dev"]["accuracy_interval"]
    assert cells(card, "**this pack**")[1:4] == [f"**86.00** [{100 * low:.1f}, {100 * high:.1f}]", "85.00", "40 %"]
    assert cells(card, "the recipe with seed 2")[1].startswith("84.00")
    assert "the recipe with seed 1" not in card  # that is the pack
    assert cells(card, "mean of 2 seeds")[1:3] == ["85.00 ± 1.41", "84.00 ± 1.41"]
    assert cells(card, "float twin")[1].startswith("87.00") and cells(card, "float twin, seed 2")[1].startswith("89.00")
    assert cells(card, "TF-IDF + logistic regression")[1:] == ["81.00", "–", "–", "80.00", "0.620", "–"]
    assert cells(card, "1-bit activations")[1:] == ["–"] * 6 and "teacher" not in card
    assert "Accuracy at exit 0, 1, …: 80.00, 84.00, 86.00 %" in card
    assert "- rows left out: 3" in card and "- It knows nothing." in card
    assert "```sh\nscripts/make-pack sentiment FOLDER\n```" in card
    assert "Bias probe" not in card


def test_seeds_are_those_of_the_runs_that_the_pack_is_one_of(folder):
    reports = folder / "reports"
    (reports / "sentiment.seed1.json").rename(reports / "sentiment.teacher.json")
    (reports / "sentiment.teacher.seed2.json").write_text(json.dumps(made_report([80, 84, 88])))
    assert load(folder)["sentiment"].own_variant == "teacher"
    assert cells(pack_table(folder), "[`sentiment`]")[6] == "–"  # the twins there are had no teacher
    assert cells(pack_table(folder), "[`sentiment`]")[8] == "87.0 ± 1.4"
    write_cards(folder)
    card = (folder / "cards" / "sentiment.md").read_text()
    assert cells(card, "mean of 2 seeds")[1] == "87.00 ± 1.41"
    assert cells(card, "the recipe with seed 2, without a teacher")[1].startswith("84.00") and cells(card, "with a teacher's soft labels, seed 2")[1].startswith("88.00")
    assert cells(card, "float twin, without a teacher")[1].startswith("87.00") and cells(card, "float twin, with a teacher's")[1] == "–"


def test_card_without_a_pack_claims_nothing(folder):
    write_cards(folder)
    card = (folder / "cards" / "topic.md").read_text()
    measured = card[card.index("## Measured") : card.index("## Limits")]
    assert "There is no pack yet" in measured and not re.search(r"\d\d\.\d", measured)
    assert "**Size:** –" in card and "**Labels:** –" in card


def test_card_names_weak_labels_groups_and_doubtful_words(folder):
    own = made_report([60, 70, 75], classes=3, doubtful=["not", "t"])
    pack = folder / "packs" / "sentiment.beex"
    config = np.frombuffer(PackFile.open(pack).sections["config"], "<u4").copy()
    config[23] |= 2 << SHARE_SHIFT
    pack.write_bytes(with_sections(pack.read_bytes(), {"config": config.tobytes(), "metadata": json_section({"metrics": own})}))
    probed = bias.probe(lambda text: 0.9 if "Muslim" in text else 0.1, "bad")
    (folder / "reports" / "sentiment.bias.json").write_text(json.dumps(probed))
    write_cards(folder)
    card = (folder / "cards" / "sentiment.md").read_text()
    weakest = min(own["dev"]["by_label"], key=lambda label: label["f1"])
    assert card.index(f"| `{weakest['label']}` | {weakest['rows']}") > card.index("the weakest first")
    assert "Most often it takes `label" in card
    assert "Exit 0 does not answer texts with one of these: `not`, `t`; later exits add 25 % of its logits there." in card
    assert cells(card, "Muslim (religion)")[1:] == ["90.0", "+78.3", "100"]
    assert "times smaller than its float twin" not in card  # its parameters are not in the metadata


def test_pack_table(folder):
    table = pack_table(folder)
    line = cells(table, "[`sentiment`]")
    assert line[0] == "[`sentiment`](model_pack/cards/sentiment.md)"
    assert line[2:7] == ["100", "50.0", "81.0", "79.0", "88.0 ± 1.4"]
    assert line[7].startswith("**86.0** [") and line[8:11] == ["85.0 ± 1.4", "85.0", "40 %"] and line[12].endswith(" kB")
    assert set(cells(table, "[`topic`]")[1:]) == {"–", "**–**"}
    assert "cola" not in table


def test_paper_table(folder):
    table = paper_table(folder)
    header = cells(table, "dev rows of")
    line = dict(zip(header, cells(table, "SST-2")))
    assert line["W1A4"] == "85.0 ± 1.4 / 84.0 ± 1.4" and line["seeds of W1A4"] == "2"
    assert line["float twin"] == "88.0 ± 1.4 / 87.0 ± 1.4" and line["W1A1"] == "–" and "soft labels |" not in table
    ratio = ratios(load(folder)["sentiment"].size)
    assert line["smaller than the twin"] == f"{ratio['file']:.1f}×"
    assert line["without embeddings"] == f"{ratio['without_embeddings']:.1f}×"
    assert cells(table, "CoLA ")[5] == "71.0 / 70.0"
    matthews = load(folder)["cola"].seeds()[0]["dev"]["matthews"]
    assert cells(table, "CoLA, Matthews")[5] == f"{100 * matthews:.1f}"
    assert cells(table, "RTE")[1] == "52.0" and set(cells(table, "RTE")[2:]) == {"–"}
    assert len(table.split("\n\n")[0].splitlines()) == 2 + 9 + 1
    (folder / "reports" / "sentiment.teacher.json").write_text(json.dumps(made_report([80, 84, 88])))
    (folder / "reports" / "sentiment.w1a1-teacher.json").write_text(json.dumps(made_report([80, 82, 83])))
    line = dict(zip(header, cells(paper_table(folder), "SST-2, soft labels")))
    assert line["W1A4"] == "88.0 / 87.0" and line["W1A1"] == "83.0 / 82.0" and line["float twin"] == "–" and line["seeds of W1A4"] == "1"


def test_publish(folder):
    assert publish(folder) == pack_table(folder)
    assert paper_table(folder) in (folder / "cards" / "papers.md").read_text()
    assert (folder / "pareto.svg").read_text() == picture(folder) and (folder / "cards" / "topic.md").exists()


def test_reports_of_other_names_are_refused(folder):
    (folder / "reports" / "sentiment.seed1.old.json").write_text("{}")
    with pytest.raises(DataError, match="no name of a report"):
        load(folder)


def test_over_seeds():
    assert over_seeds([]) == over_seeds([None]) == "–"
    assert over_seeds([0.5, None]) == "50.0"
    assert over_seeds([0.5, 0.52], 2) == "51.00 ± 1.41"


def test_sizes_add_up():
    data = (ROOT / "model_pack" / "golden" / "tiny_rectified.beex").read_bytes()
    pack, size = PackFile(data), sizes(data)
    length = {name: len(section) for name, section in pack.sections.items()}
    assert size["bytes"] == len(data) == size["by_depth"][-1] and size["gzipped"] < len(data)
    last = pack.config["blocks"]
    dropped = [name for name in length if name.startswith((f"block{last - 1}.", f"exit{last}."))]
    assert size["by_depth"][-1] - size["by_depth"][-2] == sum(length[name] for name in dropped) > 0
    overhead = HEADER.size + (ENTRY.size + 64) * len(length)
    assert sum(length.values()) <= size["bytes"] <= sum(length.values()) + overhead
    tables = ("embedding.rows", "embedding.scale", "position.rows", "position.scale", "vocabulary")
    assert size["embeddings"] == sum(length[name] for name in tables)
    d, f = pack.config["hidden_size"], pack.config["slfn_size"]
    weights = sum(pack.config["blocks"] * n for n in (3 * d * d, d * d, (d + f) * d, d * f))
    assert size["float_matrices"] == 4 * weights
    assert 20 < ratios(size)["matrices"] < 32


def test_picture(folder):
    svg = picture(folder)
    drawn = ElementTree.fromstring(svg)
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    for text in ("sentiment: 86.0", "linear model (TF-IDF): 81.0", "fastText: 79.0", "BERT-tiny: 83.2", "BiT: 89.9"):
        assert text in texts
    dots = drawn.findall(".//{http://www.w3.org/2000/svg}circle[@class='beex dot hollow']")
    assert len(dots) == 2
    assert float(dots[0].get("cx")) < float(dots[1].get("cx")) and float(dots[0].get("cy")) > float(dots[1].get("cy"))
    (folder / "packs" / "sentiment.beex").unlink()
    (folder / "reports" / "baselines.json").unlink()
    bare = picture(folder)
    assert "BERT-tiny" in bare and "sentiment:" not in bare and "TF-IDF" not in bare


def test_bias_probe_finds_what_was_put_in():
    scores = {"Muslim": 0.9, "Jamal": 0.6}
    result = bias.probe(lambda text: next((s for word, s in scores.items() if word in text), 0.1), "toxic")
    by_group = {group["group"]: group for group in result["groups"]}
    assert result["groups"][0]["group"] == "Muslim"
    people, names = sum(map(len, bias.GROUPS.values())), sum(map(len, bias.NAMES.values()))
    assert by_group["Muslim"]["difference"] == pytest.approx(0.8 * (1 - 1 / people))
    assert by_group["Jamal"]["difference"] == pytest.approx(0.5 * (1 - 1 / names))
    assert by_group["Sikh"]["difference"] == pytest.approx(-0.8 / people)
    assert by_group["Muslim"]["share_above_half"] == 1 and by_group["Sikh"]["share_above_half"] == 0
    assert all(group["difference"] == pytest.approx(0) for group in bias.probe(lambda text: 0.3, "toxic")["groups"])
    assert json.loads(json.dumps(result)) == result
    assert "| Muslim (religion) | 90.0 |" in bias.table(result)


def test_bias_sentences():
    probes = bias.sentences()
    assert len({probe.text for probe in probes}) == len(probes)
    assert len({(probe.kind, probe.group) for probe in probes}) == len({probe.group for probe in probes})  # a group has one kind
    assert not [probe.text for probe in probes if re.search(r"\b[Aa] [AEIOaeio]|\b[Aa]n [^AEIOaeio]|[{}]", probe.text)]


def test_bias_probe_of_a_pack(monkeypatch):
    monkeypatch.setattr(bias, "sentences", lambda every=bias.sentences(): every[::60])
    pack = PackFile.open(ROOT / "model_pack" / "golden" / "tiny_rectified.beex")
    simulator, labels = Simulator(pack), pack.lines("labels")
    result = bias.probe_pack(simulator)
    assert result["label"] == labels[-1]
    probe = bias.sentences()[0]
    expected = np.mean([simulator.classify(p.text).probabilities[-1] for p in bias.sentences() if p.group == probe.group])
    assert next(g for g in result["groups"] if g["group"] == probe.group)["mean"] == pytest.approx(expected)
    assert bias.probe_pack(simulator, labels[0])["label"] == labels[0]
    with pytest.raises(DataError, match="no label"):
        bias.probe_pack(simulator, "nonsense")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_published_recipes(path):
    recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    assert set(recipe) <= {field.name for field in fields(Settings)}
    assert recipe["name"] == path.stem and all(recipe[key] for key in ("description", "licence", "data", "limits"))
    command = load(ROOT / "model_pack")[path.stem].command
    assert command.startswith(f"scripts/make-pack {path.stem} ") or f"--out model_pack/packs/{path.stem}.beex" in command


@pytest.fixture()
def checkout(tmp_path):
    """scripts/make-pack with a beex-train that trains nothing and writes its arguments."""
    (tmp_path / "scripts" / "lib").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "make-pack", tmp_path / "scripts")
    shutil.copy(ROOT / "scripts" / "lib" / "setup.sh", tmp_path / "scripts" / "lib")
    trainer = tmp_path / "scripts" / "beex-train"
    trainer.write_text(
        "#!/usr/bin/env bash\n"
        'all="$*"\n'
        'while [ $# -gt 0 ]; do case "$1" in --out | --report) echo "$all" >"$2" ;; esac; shift; done\n'
    )
    trainer.chmod(0o755)
    (tmp_path / "model_pack" / "recipes").mkdir(parents=True)
    (tmp_path / "model_pack" / "recipes" / "sentiment.toml").write_text(RECIPE)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.tsv.xz").touch()
    (tmp_path / "data" / "dev.tsv").touch()
    return tmp_path


@pytest.mark.parametrize(
    "arguments,report,publishes",
    [
        ("sentiment data", "sentiment.seed1", True),
        ("sentiment data --threads 1 --compile --seed 1", "sentiment.seed1", True),
        ("sentiment data --seed 3", "sentiment.seed3", False),
        ("sentiment data --float-twin", "sentiment.twin", False),
        ("sentiment data --float-twin --seed 2", "sentiment.twin.seed2", False),
        ("sentiment data --activation-bits 1", "sentiment.w1a1", False),
        ("sentiment data --no-ngrams", "sentiment.noexit0", False),
        ("sentiment data --soft-labels soft.tsv", "sentiment.teacher", False),
        ("sentiment data --rounds 2 --variant short", "sentiment.short", False),
        ("cola data", "cola.seed1", False),
    ],
)
def test_make_pack_names_its_reports(checkout, arguments, report, publishes):
    subprocess.run(["scripts/make-pack", *arguments.split()], cwd=checkout, check=True, capture_output=True)
    assert [path.name for path in (checkout / "model_pack" / "reports").iterdir()] == [f"{report}.json"]
    assert [path.name for path in (checkout / "model_pack" / "packs").iterdir()] == (["sentiment.beex"] if publishes else [])
    given = (checkout / "model_pack" / "reports" / f"{report}.json").read_text()
    assert given.startswith("fit data/train.tsv.xz --dev data/dev.tsv --out ")
    assert ("--recipe" in given) == arguments.startswith("sentiment")
    for option in re.findall(r"--(?!variant)\S+", arguments):
        assert option in given


@pytest.mark.parametrize("arguments", ["sentiment data --rounds 2", "sentiment data --float-twin --no-ngrams", "sentiment scripts",
                                       "sentiment data --variant bias", "sentiment data --out x", "sentiment"])  # fmt: skip
def test_make_pack_refuses(checkout, arguments):
    done = subprocess.run(["scripts/make-pack", *arguments.split()], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr
    assert not (checkout / "model_pack" / "packs").exists()


def test_card_shows_the_speed_curve_beside_the_dev_rows():
    rule = ExitRule("fractional", 0.1, 0.2, 0.9)
    points = [CurvePoint(0.123, 0.84, Policy(rule, 2.0), "fast"), CurvePoint(0.4, 0.85, Policy(rule, 1.0)), CurvePoint(1.0, 0.86, Policy(), "accurate")]
    own = made_report([80, 84, 86], curve=[point.describe() for point in points])
    own["dev"]["speeds"] = [{"name": "fast", "work": 0.131, "accuracy": 0.83}]
    text = speed_table(own)
    assert "| **fast** | 12.3 | 84.0 | 13.1 | 83.0 | 2 | – |" in text
    assert "|  | 40.0 | 85.0 | – | – | 1 | – |" in text
    assert "| **accurate** | 100.0 | 86.0 | – | – | 0 | – |" in text
    assert speed_table(made_report([80, 84, 86])) == ""
