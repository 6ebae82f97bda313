"""`beex-train ablate`: every variant is another network, every seed another run, and a stopped one goes on."""

import json

import pytest

from beex_train.ablations import VARIANTS, overview, text
from beex_train.cli import main

TINY = ["--base", "none", "--hidden-size", "64", "--heads", "2", "--slfn-size", "64", "--vocabulary-size", "300", "--rounds", "1"]
GATES = "gates, contrast, second stage"


@pytest.fixture
def folder(tmp_path, rows):
    (tmp_path / "set").mkdir()
    for part, of_part in (("train", rows[:320]), ("dev", rows[320:])):
        lines = "".join(f"{label}\t{text}\n" for label, text in of_part)
        (tmp_path / "set" / f"{part}.tsv").write_text("label\ttext\n" + lines, encoding="utf-8")
    return tmp_path / "set"


def test_runs_variants_and_seeds_and_keeps_what_is_done(folder, capsys):
    out = folder.parent / "out.json"
    command = ["ablate", str(folder), "--rows", "100", "--out", str(out), *TINY, "--variants"]
    assert main([*command, "float twin", GATES, "--seeds", "1"]) == 0
    made = json.loads(out.read_text())["set"]
    assert "exits" not in made["float twin"][0]  # no pack holds it
    gated = made[GATES][0]
    assert gated["blocks"] == 3 and gated["train_rows"] == 100 and gated["dev_rows"] == 80
    # The dense cost has no gates in it: where none skips, the work is above it.
    assert gated["exits"]["work"] < 1 and gated["exits and gates"]["work"] < gated["gates"]["work"] < 1.5

    assert 0.45 < gated["elimination to 1/2"]["work"] < 1, "as near as whole words of short texts come"

    made[GATES][0]["gates"]["accuracy"] = 0.125  # not run again
    out.write_text(json.dumps({"set": made}))
    assert main([*command, GATES, "--seeds", "2"]) == 0
    again = json.loads(out.read_text())["set"]
    assert again[GATES][0] == made[GATES][0] and len(again[GATES]) == 2 and again["float twin"] == made["float twin"]
    assert again[GATES][1] | {"seconds": 0} != gated | {"seconds": 0}
    assert main(["ablate", "--out", str(out)]) == 0
    accuracy = (0.125 + again[GATES][1]["gates"]["accuracy"]) / 2
    assert f"| {GATES}, gates | 2 | {100 * accuracy:.2f} ± " in capsys.readouterr().out


def test_an_unknown_variant_names_those_there_are(folder, capsys):
    assert main(["ablate", str(folder), "--variants", "gate", "--out", str(folder / "x.json")]) == 1
    error = capsys.readouterr().err
    assert "no variant 'gate'" in error and all(name in error for name in VARIANTS)


def test_a_variant_without_a_run_yet_is_left_out():
    assert text({"set": {"gates": []}}) == ""


def test_the_overview_sets_bits_side_by_side():
    def run(accuracy, exits=None):
        return {"majority": 0.5, "all blocks": {"accuracy": accuracy, "work": 1.0}} | ({"exits": {"accuracy": exits, "work": 0.4}} if exits else {})

    found = {"set": {"the defaults": [run(0.9, 0.89), run(0.92, 0.91)], "1-bit activations": [run(0.8, 0.79)], "float twin": [run(0.93)]}, "other": {"the defaults": [run(0.7, 0.7)]}}
    assert overview(found).splitlines()[2:] == ["| set | 50.0 | 93.0 | 80.0 / 79.0 | 91.0 ± 1.4 / 90.0 ± 1.4 | 40 | 1 |"]
