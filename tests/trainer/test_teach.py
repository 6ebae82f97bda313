"""Soft labels: what is read from plain text, and what a teacher writes."""

import shutil

import pytest
import torch

from beex_train.cli import main
from beex_train.data import DataError, clean, held_out_count, hold_out, read_table
from beex_train.pack import ExitRule, PackFile
from beex_train.simulate import Simulator
from beex_train.teach import PackTeacher, Teacher, mean_soft_labels, paragraphs, read_soft_labels, sample, sentences

TEXT = "A fine<br />film. It was over too soon!  Why?\n\n  \nOne\tmore paragraph, of a single sentence\n"


def test_sentences_and_paragraphs(tmp_path):
    path = tmp_path / "plain.txt"
    path.write_text(TEXT)
    assert list(sentences(path)) == ["A fine film.", "It was over too soon!", "One more paragraph, of a single sentence"]
    assert list(paragraphs(path)) == ["A fine film. It was over too soon! Why?", "One more paragraph, of a single sentence"]


def test_a_sample_is_of_distinct_texts_and_repeatable():
    texts = [f"text {i % 10}" for i in range(40)]
    drawn = sample(texts, 6, seed=3)
    assert len(set(drawn)) == 6 and drawn == sample(reversed(texts), 6, seed=3) != sample(texts, 6, seed=4)


def test_a_teacher_labels_whole_paragraphs_and_goes_on_where_it_was(tmp_path, train_file, dev_file, teacher_folder, capsys):
    plain, out = tmp_path / "plain.txt", tmp_path / "soft.tsv"
    plain.write_text("".join(f"the film is charming. its plot {i} is dull\n" for i in range(30)))
    command = ["teach", str(train_file), "--dev", str(dev_file), "--unlabelled", str(plain), "--paragraphs", "--count", "20", "--teacher", str(teacher_folder),
               "--max-tokens", "16", "--epochs", "20", "--learning-rate", "2e-3", "--out", str(out)]  # fmt: skip
    main(command)
    accuracy = float(capsys.readouterr().out.split("teacher dev accuracy ")[1].split()[0])
    assert accuracy > 80, "two layers learn which words are good"
    texts, labels = read_soft_labels(out, ["bad", "good"])
    assert len(texts) == 20 and all(text in plain.read_text().splitlines() for text in texts)
    assert all(abs(sum(row) - 1) < 1e-3 for row in labels)

    written = out.read_text()
    lines = written.splitlines(keepends=True)
    out.write_text("".join(lines[:8]) + lines[8][:9])
    main(command)
    assert out.read_text() == written, "a line that was not finished is written anew"

    capsys.readouterr()
    out.write_text("".join(lines[:2] + lines[3:]))
    assert main(command) == 1 and "soft.tsv line 3: left by a run with other texts" in capsys.readouterr().err
    assert main([*command, "--epochs", "3"]) == 1 and "other rows or settings" in capsys.readouterr().err
    out.write_text(written)
    other = shutil.copytree(teacher_folder, tmp_path / "other")
    assert main([*command, "--teacher", str(other)]) == 1 and "left by a run with another teacher" in capsys.readouterr().err

    with pytest.raises(DataError, match="columns"):
        read_soft_labels(out, ["bad", "good", "neither"])


def test_of_the_rows_held_out_by_fit_a_teacher_hears_nothing_whatever_the_seed(tmp_path, train_file, dev_file, teacher_folder):
    train, _ = clean(read_table(train_file))
    _, held = hold_out(train, held_out_count(train))
    hidden = set(train.rows(held).texts)
    for seed in ("1", "2"):
        out = tmp_path / f"soft{seed}.tsv"
        # A single row has one label; the teacher knows of both.
        command = ["teach", str(train_file), "--dev", str(dev_file), "--most-rows", "1", "--epochs", "1", "--teacher", str(teacher_folder), "--seed", seed, "--out", str(out)]
        assert main(command) == 0
        texts, _ = read_soft_labels(out, ["bad", "good"])
        assert hidden and set(texts) == set(train.texts) - hidden - set(read_table(dev_file).texts)


def test_a_pack_teaches(tmp_path, train_file, dev_file):
    plain, pack, out = tmp_path / "plain.txt", tmp_path / "large.beex", tmp_path / "soft.tsv"
    plain.write_text("the film is charming and warm. the film is dull and bleak.\n")
    fit = ["fit", str(train_file), "--base", "none", "--blocks", "1", "--hidden-size", "64", "--heads", "2", "--slfn-size", "64", "--rounds", "8"]
    assert main([*fit, "--out", str(pack)]) == 0
    command = ["teach", str(train_file), "--dev", str(dev_file), "--unlabelled", str(plain), "--augment", "5", "--teacher", str(pack)]
    assert main([*command, "--out", str(out)]) == 0
    found = dict(zip(*read_soft_labels(out, ["good", "bad"])))
    assert len(found) == 7
    simulator = Simulator(PackFile.open(pack))
    for text, probabilities in found.items():
        exact = simulator.classify(text, policy=ExitRule()).probabilities
        assert probabilities == pytest.approx([exact[simulator.pack.lines("labels").index(name)] for name in ("good", "bad")], abs=0.02)
    with pytest.raises(DataError, match="must give one of up, down"):
        PackTeacher(pack, ["up", "down"])


def test_of_several_teachers_the_mean_counts(tmp_path):
    one, two = tmp_path / "one.tsv", tmp_path / "two.tsv"
    one.write_text("text\tp:good\tp:bad\nfine\t0.9\t0.1\ndull\t0.2\t0.8\n")
    two.write_text("text\tp:bad\tp:good\nfine\t0.3\t0.7\nmore\t0.5\t0.5\n")
    found = mean_soft_labels([one, two], ["bad", "good"])
    assert {text: row.round(3).tolist() for text, row in found.items()} == {"fine": [0.2, 0.8], "dull": [0.8, 0.2], "more": [0.5, 0.5]}
    assert mean_soft_labels([], ["bad", "good"]) == {}


def test_of_a_long_text_a_teacher_reads_the_start_or_the_end(teacher_folder):
    def say(text, **options):
        torch.manual_seed(1)  # for the head
        return Teacher(teacher_folder, 2, 8, **options).eval()([text])

    text = " ".join(["charming", *["film"] * 20, "dull"])
    assert torch.allclose(say(text), say("charming" + " film" * 5), atol=1e-5)
    assert torch.allclose(say(text, keep_end=True), say("film " * 5 + "dull"), atol=1e-5)
    assert not torch.allclose(say(text), say(text, keep_end=True), atol=1e-5)
