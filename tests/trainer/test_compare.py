"""`beex-train compare`: rows are drawn as said, and a stopped comparison goes on."""

import json

from beex_train.cli import main
from beex_train.compare import first_of_each_label
from beex_train.data import read_table

TINY = ["--base", "none", "--hidden-size", "64", "--heads", "2", "--slfn-size", "64", "--blocks", "1", "--vocabulary-size", "300", "--rounds", "2"]


def test_compares_on_drawn_rows_and_keeps_what_is_done(tmp_path, rows, capsys):
    for name, given in (("first", rows[:320]), ("second", rows[160:320])):
        (tmp_path / name).mkdir()
        for part, of_part in (("train", given), ("dev", rows[320:])):
            lines = "".join(f"{label}\t{text}\n" for label, text in of_part)
            (tmp_path / name / f"{part}.tsv").write_text("label\ttext\n" + lines, encoding="utf-8")
    out = tmp_path / "out.json"
    command = ["compare", str(tmp_path / "first"), "--rows", "100", "--out", str(out), *TINY]
    assert main(command) == 0
    made = json.loads(out.read_text())
    assert made["first"]["train_rows"] == 100 and made["first"]["dev_rows"] == 80 and 0.5 < made["first"]["linear"] <= 1
    made["first"]["ours"] = 0.125  # not run again
    out.write_text(json.dumps(made))
    assert main([*command[:2], str(tmp_path / "second"), *command[2:]]) == 0
    assert list(json.loads(out.read_text())) == ["first", "second"]
    printed = capsys.readouterr().out
    assert "| first | 100 | 80 |" in printed and "| 12.5 |" in printed and "Better than both on" in printed
    assert main(["compare", str(tmp_path), "--out", str(out)]) == 1
    assert "holds no train.tsv" in capsys.readouterr().err


def test_draws_the_same_number_of_every_label(train_file):
    table = read_table(train_file)
    drawn = first_of_each_label(table, 20, seed=3)
    assert [drawn.labels.count(label) for label in ("good", "bad")] == [20, 20]
    assert drawn.texts == first_of_each_label(table, 20, seed=3).texts != first_of_each_label(table, 20, seed=4).texts
    assert len(first_of_each_label(table, 1000, seed=3)) == len(table)
