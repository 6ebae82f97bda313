"""The command line end to end on a small table: trains, reports, resumes to the same bytes, refuses bad input."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from beex_train import train as train_module
from beex_train.base import DEFAULT
from beex_train.cli import main
from beex_train.data import Table
from beex_train.fit import Settings, pack_differs, prepare, step_for
from beex_train.pack import PackFile
from conftest import ROOT

SMALL = ["--base", "none", "--hidden-size", "64", "--blocks", "2", "--heads", "2", "--slfn-size", "128", "--vocabulary-size", "300", "--rounds", "12",
         "--batch-tokens", "512", "--hold-out", "40", "--learning-rate", "0.003", "--threads", "1"]  # fmt: skip


def test_a_pack_that_differs_from_its_network_is_told_of():
    found = {"rows": 64, "largest_logit_difference": 0.0712, "rows_within_0.001": 63, "rows_with_the_same_exit": 64}
    assert pack_differs(found) == ""
    assert "in 60 of 64 dev rows, by up to 0.071" in pack_differs(found | {"rows_within_0.001": 4})


def test_fit_learns_and_exports(train_file, dev_file, tmp_path, capsys):
    out, report = tmp_path / "x.beex", tmp_path / "x.json"
    assert main(["fit", str(train_file), "--dev", str(dev_file), "--out", str(out), "--report", str(report), *SMALL]) == 0
    result = json.loads(report.read_text())
    assert result["dev"]["accuracy_by_exit"][-1] > 0.9
    assert result["dev"]["verdict"]["outcome"] in ("same", "better")
    assert result["export"]["rows_with_the_same_exit"] == result["export"]["rows"] == 64
    pack = PackFile.open(out)
    assert pack.lines("labels") == ["bad", "good"]
    assert pack.metadata["metrics"]["dev"]["rows"] == 80
    assert not out.with_suffix(".checkpoint").exists()
    capsys.readouterr()
    assert main(["eval", str(out), str(dev_file)]) == 0
    assert "exits on" in capsys.readouterr().out

    # Speed: the curve was measured on the held-out rows, with elimination, and is measured there again without training.
    assert len(pack.profile) == pack.config["blocks"] and len(pack.curve) >= 1
    assert {point.name for point in pack.curve} >= {"accurate"}
    assert [speed["name"] for speed in result["dev"]["speeds"]] == [point.name for point in pack.curve if point.name]
    tuned = tmp_path / "tuned.beex"
    assert main(["tune", str(out), str(train_file), "--held-out", "--out", str(tuned)]) == 0
    assert "on 40 rows" in capsys.readouterr().out
    again = PackFile.open(tuned)
    assert [point.accuracy for point in again.curve] == pytest.approx([point.accuracy for point in pack.curve], abs=0.03)
    assert np.array_equal(again.profile, pack.profile)

    assert main(["tune", str(out), str(dev_file), "--speedup", "1.2"]) == 0
    assert re.match(r"gamma [\d.]+: all blocks take 8\d\.\d % of the dense work", capsys.readouterr().out)
    found = tmp_path / "adaptive.json"
    assert main(["adaptive", str(out), str(dev_file), "--out", str(found)]) == 0
    assert "### Elimination" in capsys.readouterr().out
    found = json.loads(found.read_text())
    assert found["exits"]["accuracy"] == pytest.approx(result["dev"]["accuracy_by_exit"], abs=0.02)
    assert all(abs(e["work"] - 1 / e["speedup"]) < 0.15 or e["gamma"] == 16 for e in found["elimination"])
    assert main(["tune", str(ROOT / "model_pack" / "golden" / "tiny_features.beex"), str(dev_file)]) == 1
    assert "has no classes" in capsys.readouterr().err


def test_killed_run_resumes_to_the_same_pack(train_file, dev_file, tmp_path, monkeypatch):
    straight, broken = tmp_path / "straight.beex", tmp_path / "broken.beex"
    options = [*SMALL, "--rounds", "2", "--elimination", "0.5"]
    assert main(["fit", str(train_file), "--out", str(straight), *options]) == 0

    # Save after every step and stop the process's work in the middle of a step, as a kill does.
    steps = 0
    original = train_module.soft_routing_loss

    def dies(*arguments, **named):
        nonlocal steps
        steps += 1
        if steps == 7:
            raise KeyboardInterrupt
        return original(*arguments, **named)

    monkeypatch.setattr(train_module, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(train_module, "soft_routing_loss", dies)
    assert main(["fit", str(train_file), "--out", str(broken), *options]) == 130
    assert broken.with_suffix(".checkpoint").exists() and not broken.exists()
    monkeypatch.setattr(train_module, "soft_routing_loss", original)
    state = torch.load(broken.with_suffix(".checkpoint"), weights_only=False)
    torch.save(state | {"seconds": state["seconds"] + 1000}, broken.with_suffix(".checkpoint"))
    report = tmp_path / "report.json"
    assert main(["fit", str(train_file), "--out", str(broken), "--report", str(report), *options]) == 0
    assert json.loads(report.read_text())["seconds"] > 1000, "those of both parts"
    assert broken.read_bytes() == straight.read_bytes()


def test_a_loss_that_is_no_number_stops_the_run(train_file, tmp_path, capsys, monkeypatch):
    original = train_module.soft_routing_loss
    monkeypatch.setattr(train_module, "soft_routing_loss", lambda *arguments, **named: original(*arguments, **named) * float("nan"))
    assert main(["fit", str(train_file), "--out", str(tmp_path / "out.beex"), *SMALL]) == 1
    assert "step 1: the loss is nan, and nothing can be learnt from here; try a lower --learning-rate\n" in capsys.readouterr().err


def test_other_settings_do_not_resume(train_file, tmp_path, capsys):
    out = tmp_path / "x.beex"
    assert main(["fit", str(train_file), "--out", str(out), *SMALL, "--rounds", "1", "--keep-checkpoint"]) == 0
    assert main(["fit", str(train_file), "--out", str(out), *SMALL, "--rounds", "2"]) == 1
    assert "other settings" in capsys.readouterr().err
    other_rows = tmp_path / "other.tsv"
    other_rows.write_text(train_file.read_text().replace("good", "fine", 1))
    assert other_rows.read_text() != train_file.read_text()
    assert main(["fit", str(other_rows), "--out", str(out), *SMALL, "--rounds", "1"]) == 1
    assert "rows" in capsys.readouterr().err
    more = tmp_path / "more.soft.tsv"
    more.write_text("text\tp:bad\tp:good\nquite a fine one\t0.1\t0.9\n")
    assert main(["fit", str(train_file), "--out", str(out), *SMALL, "--rounds", "1", "--linear-labels", str(more)]) == 1
    assert "rows" in capsys.readouterr().err


def test_doubtful_words_of_the_command_line_are_looked_up(train_file, tmp_path, capsys):
    assert main(["fit", str(train_file), "--out", str(tmp_path / "x.beex"), *SMALL, "--doubtful", "good", "unheard"]) == 1
    assert "'unheard' are not" in capsys.readouterr().err


def test_texts_that_the_base_cannot_read_start_from_nothing():
    german = ["Die Rechnung stimmt nicht, bitte prüfen Sie meine Bestellung", "Vielen herzlichen Dank für die schnelle Lieferung gestern"]
    english = ["The bill is wrong, please look at my order", "Many thanks for the quick delivery of yesterday"]
    for texts, reads in ((german, False), (english, True)):
        table = Table("table", ["bad", "good"] * 60, [f"{texts[i % 2]} {i}" for i in range(120)])
        prepared = prepare(Settings(), table, None)
        assert (prepared.base is not None) == reads and prepared.settings.keep_case != reads
        assert any("reads English" in note for note in prepared.notes) != reads
    assert prepare(Settings(base=str(DEFAULT)), table, None).base is not None, "who names a base gets it"


def test_length_of_a_run_follows_the_data():
    assert [step_for(tokens)[0] for tokens in (1000, 70_000, 10_000_000)] == [256, 1024, 2048]
    assert [train_module.rounds_for(tokens) for tokens in (1000, 70_000, 10_000_000)] == [15, 10, 1]


def test_several_labels_a_row(tmp_path, rows, capsys):
    both = [("|".join(["long"] * (len(text.split()) > 8) + [label] * (label == "good")), text) for label, text in rows]
    for name, part in (("train", both[:320]), ("dev", both[320:])):
        (tmp_path / f"{name}.tsv").write_text("label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in part))
    out, report = tmp_path / "x.beex", tmp_path / "x.json"
    files = [str(tmp_path / "train.tsv"), "--dev", str(tmp_path / "dev.tsv"), "--out", str(out), "--report", str(report)]
    assert main(["fit", *files, *SMALL]) == 0
    result = json.loads(report.read_text())
    assert result["dev"]["multi_label"] and result["dev"]["micro_f1"] > 0.85
    assert PackFile.open(out).lines("labels") == ["good", "long"]
    assert main(["eval", str(out), files[2]]) == 0
    assert "micro-F1" in capsys.readouterr().out


def test_two_processes_train_as_one(train_file, dev_file, tmp_path):
    """torchrun with two processes: each takes half of every batch, so that loss and outcome are those of one process."""
    accuracies, losses, biases = [], [], []
    for processes in (1, 2):
        report = tmp_path / f"{processes}.json"
        command = ["fit", str(train_file), "--dev", str(dev_file), "--out", str(tmp_path / f"{processes}.beex"), "--report", str(report),
                   *SMALL, "--rounds", "6", "--dropout", "0", "--token-dropout", "0", "--prior-dropout", "0", "--no-drop-blocks"]  # fmt: skip
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "model_pack"), "OMP_NUM_THREADS": "1"}
        ran = subprocess.run([sys.executable, *launcher, "-m", "beex_train", *command], capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
        losses.append(float(re.findall(r"loss ([\d.]+)", ran.stderr)[-1]))
        accuracies.append(json.loads(report.read_text())["dev"]["accuracy"])
        biases.append(PackFile.open(tmp_path / f"{processes}.beex").floats("exit1.bias", 2))
    # Halves that were not added up would agree in loss and accuracy, and come to other weights: to biases a third smaller here.
    assert biases[1] == pytest.approx(biases[0], rel=0.1)
    assert losses[1] == pytest.approx(losses[0], rel=0.2)  # the first process shows the loss of its half
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.06)


def test_soft_labels_and_float_twin(train_file, dev_file, tmp_path, rows):
    soft = tmp_path / "soft.tsv"
    soft.write_text("text\tp:good\tp:bad\n" + "".join(f"{t} indeed\t{float(l == 'good')}\t{float(l == 'bad')}\n" for l, t in rows[:100]))
    report = tmp_path / "r.json"
    twin = ["--float-twin", "--soft-labels", str(soft), "--report", str(report), *SMALL]
    assert main(["fit", str(train_file), "--dev", str(dev_file), "--out", str(tmp_path / "t.beex"), *twin]) == 0
    assert json.loads(report.read_text())["dev"]["accuracy_by_exit"][-1] > 0.9
    assert not (tmp_path / "t.beex").exists()


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["fit", "missing.tsv", "--out", "x.beex"], "no such file"),
        (["eval", "missing.beex", "missing.tsv"], "no such file"),
        (["fit", "TRAIN", "--out", "x.beex", "--base", "none", "--hidden-size", "100"], "multiple of 64"),
        (["fit", "TRAIN", "--out", "x.beex", "--recipe", "RECIPE"], "unknown keys depth"),
    ],
)
def test_errors_are_sentences(arguments, message, train_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text("depth = 3\n")
    names = {"TRAIN": str(train_file), "RECIPE": "recipe.toml"}
    assert main([names.get(a, a) for a in arguments]) == 1
    assert message in capsys.readouterr().err
