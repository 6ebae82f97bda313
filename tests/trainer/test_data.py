"""Tables: what is read, what is refused and with which words; what cleaning and splitting keep."""

import random
import time
from collections import Counter

import numpy as np
import pytest

from beex_train.data import (
    DataError,
    Table,
    class_indices,
    class_names,
    class_targets,
    clean,
    hold_out,
    is_multi_label,
    overlap,
    read_table,
)


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_csv_and_tsv_with_the_same_rows_are_the_same(tmp_path):
    csv = read_table(write(tmp_path / "a.csv", 'label,text\nx,"one, two"\ny,"say ""hi"""\n'))
    tsv = read_table(write(tmp_path / "a.tsv", 'label\ttext\nx\tone, two\ny\tsay "hi"\n'))
    assert (csv.labels, csv.texts) == (tsv.labels, tsv.texts) == (["x", "y"], ["one, two", 'say "hi"'])


def test_pairs_and_column_order(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "text_b,label,text_a\nb,x,a\n"))
    assert (table.texts, table.texts_b, table.labels) == (["a"], ["b"], ["x"])
    assert table.inputs() == [("a", "b")]


@pytest.mark.parametrize("name,separator", [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", ","), ("a.txt", "\t")])
def test_other_separators_are_seen_from_the_header(tmp_path, name, separator):
    rows = [[" Label", "TEXT ", "id"], ["x", '"one, two; three"', "1"], ["y", "four", "2"]]
    table = read_table(write(tmp_path / name, "\r\n".join(separator.join(row) for row in rows)))
    assert (table.labels, table.texts) == (["x", "y"], ["one, two; three", "four"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_byte_order_marks(tmp_path, encoding):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    table = read_table(write(tmp_path / "a.csv", mark + "label,text\nx,café 漢字\ny,two\n", encoding))
    assert (table.labels, table.texts) == (["x", "y"], ["café 漢字", "two"])


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "line 1"),
        ("text\tlabel\n", "no rows"),
        ("label\tbody\nx\ty\n", "needs the columns label and text"),
        ("label\ttext\nx\tone\ny\n", "line 3: 1 columns"),
        ("label\ttext\nx\tone\ty\n", "line 2: 3 columns.*remove tabs"),
        ("label\ttext\nx\t \n", "line 2: the text is empty"),
        ("label\ttext\ny\tone\n\tone\n", "line 3: the label is empty"),
        ("label\ttext\nx\to\0ne\n", "line 2: a NUL byte"),
    ],
)
def test_bad_files_get_line_and_remedy(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / "a.tsv", text))


@pytest.mark.parametrize(
    "text,message",
    [
        ("label;text\nx;one; two\n", "line 2: 3 columns.*double quotes around texts that hold ';'"),
        ('label,text\nx,one\ny,"two\nx,three\n', "line 3: not valid CSV"),
        ('label,text\nx,"one" two\n', "line 2: not valid CSV"),
    ],
)
def test_bad_quoting_is_not_guessed_at(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / "a.csv", text))


def test_other_encodings_missing_and_damaged_files(tmp_path):
    with pytest.raises(DataError, match="0xe9 is not UTF-8.*'.*x,café.*'.*iconv -f WINDOWS-1252"):
        read_table(write(tmp_path / "a.csv", "label,text\nx,café\n", "cp1252"))
    with pytest.raises(DataError, match="line 1: NUL bytes, as in UTF-16"):
        read_table(write(tmp_path / "a.csv", "label,text\nx,one\n", "utf-16-le"))
    (tmp_path / "a.csv").write_bytes("label,text\nx,one\n".encode("utf-16")[:-1])
    with pytest.raises(DataError, match="UTF-16 but is damaged"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "missing.csv")
    (tmp_path / "a.tsv.xz").write_bytes(b"not xz")
    with pytest.raises(DataError, match="damaged"):
        read_table(tmp_path / "a.tsv.xz")


def test_more_rows_than_wanted_give_a_sample(tmp_path):
    path = write(tmp_path / "a.tsv", "label\ttext\n" + "".join(f"{'xy'[i // 5000]}\trow {i}\n" for i in range(10_000)))
    table = read_table(path, most_rows=1000, seed=3)
    numbers = [int(text.split()[1]) for text in table.texts]
    assert len(set(numbers)) == 1000 and table.notes == ["a.tsv: a random sample of 1,000 of its 10,000 rows is used"]
    assert 430 < Counter(table.labels)["x"] < 570  # the file is sorted by label, the sample is not from its beginning
    assert all(label == "xy"[number // 5000] for label, number in zip(table.labels, numbers))
    assert read_table(path, most_rows=1000, seed=3).texts == table.texts != read_table(path, most_rows=1000, seed=4).texts
    assert read_table(path, most_rows=10_000).notes == []


def test_labels(tmp_path):
    with pytest.raises(DataError, match="at least two"):
        class_names(Table("t", ["x", "x"], ["a", "b"]))
    for labels in (["Spam", "spam", "ham"], ["ham|top story", "ham|topstory"]):
        with pytest.raises(DataError, match="differ only by case"):
            class_names(Table("t", labels, labels))
    with pytest.raises(DataError, match="row 2: the label 'z'"):
        class_indices(Table("t", ["x", "z"], ["a", "b"]), ["x", "y"])
    with pytest.raises(DataError, match="row 2: the label 'z'.*x, y"):
        class_targets(Table("t", ["x", "x|z"], ["a", "b"]), ["x", "y"])
    with pytest.raises(DataError, match="0, 1, 10, .* and 130 more"):
        class_targets(Table("t", ["z"], ["a"]), sorted(map(str, range(150))))


def test_multi_label(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "label,text\nsad | joy,one\n,two\njoy|joy,three\njoy,four\n"))
    assert table.labels == ["joy|sad", "", "joy", "joy"] and is_multi_label(table)
    assert class_names(table) == ["joy", "sad"]
    targets = class_targets(table, ["joy", "sad"])
    assert targets.dtype == np.float32 and targets.tolist() == [[1, 1], [0, 0], [1, 0], [1, 0]]
    single = Table("t", ["y", "x"], ["a", "b"])
    assert not is_multi_label(single) and class_targets(single, ["x", "y"]).tolist() == [[0, 1], [1, 0]]


def test_dev_rows_of_a_multi_label_set_need_no_joined_label(tmp_path):
    dev = write(tmp_path / "dev.csv", "label,text\n,one\njoy,two\n")
    with pytest.raises(DataError, match="line 2: the label is empty"):
        read_table(dev)
    assert read_table(dev, multi_label=True).labels == ["", "joy"]


def test_clean_drops_repeats_and_contradictions():
    texts = ["same", "same", "torn", "torn", "mostly", "mostly", "mostly", "alone", "other"]
    table = Table("t", ["x", "x", "x", "y", "x", "y", "y", "z", "x"], texts)
    cleaned, notes = clean(table)
    assert list(zip(cleaned.labels, cleaned.texts)) == [("x", "same"), ("y", "mostly"), ("z", "alone"), ("x", "other")]
    assert notes[0] == "rows that repeat another row were left out: 1"
    assert "kept, if there is one: 2; for example 'torn' is labelled 'x' and 'y'" in notes[1]
    assert notes[2] == "labels with a single row, too few to learn from; add rows: 'y', 'z'"
    assert clean(Table("t", ["x", "x", "y", "y"], list("abcd")))[1] == []


def test_clean_of_pairs_and_of_several_labels():
    pairs = Table("t", ["x", "y", "x"], ["a", "a", "a"], ["b", "c", "b"])
    assert clean(pairs)[0].inputs() == [("a", "b"), ("a", "c")]
    several = Table("t", ["x|y", "x|y", "x", ""], ["a", "a", "a", "a"])
    assert clean(several)[0].labels == ["x|y", "x", ""]


def test_overlap():
    assert overlap(Table("t", ["x", "y"], ["a", "b"]), Table("d", ["x", "x", "x"], ["b", "b", "c"])) == 2
    assert overlap(Table("t", ["x"], ["a"], ["b"]), Table("d", ["x", "x"], ["a", "b"], ["b", "a"])) == 1


def test_hold_out_leaks_no_phrase():
    sentences = [f"sentence number {i} says that thing {i * 7} is quite good" for i in range(200)]
    phrases = [" ".join(s.split()[3:9]) for s in sentences] + ["quite Good"] * 5
    table = Table("t", ["x"] * 405, sentences + phrases)
    kept, held = hold_out(table, 50)
    assert len(held) == 50 and not set(kept) & set(held) and max(held) < 200
    for h in held:
        assert not any(f" {table.texts[k].lower()} " in f" {table.texts[h]} " for k in kept)
        assert not any(f" {table.texts[h]} " in f" {table.texts[k]} " for k in kept)


@pytest.mark.parametrize("classes", [2, 10, 50, 150])
@pytest.mark.parametrize("rows", [50, 300])
@pytest.mark.parametrize("paired", [False, True])
def test_hold_out_of_small_unbalanced_tables(classes, rows, paired):
    generator = random.Random(classes)
    # Most rows are of the first labels, many labels have a single row, and short texts recur inside longer ones.
    labels = [str(int(classes * generator.random() ** 4)) for _ in range(rows)]
    texts = [" ".join(generator.choices("abcdef", k=generator.randint(1, 8))) for _ in labels]
    table = Table("t", labels, texts, [f"second {t}" for t in reversed(texts)] if paired else None)
    kept, held = hold_out(table, 1000)
    assert set(labels) == {labels[i] for i in kept} and not set(kept) & set(held)
    assert len(held) <= rows // 4 and (classes > rows // 4 or len(held) >= 5)


def test_hold_out_keeps_the_proportions():
    generator = random.Random(1)
    labels = generator.choices(["a", "b", "c|d", ""], weights=[60, 25, 10, 5], k=4000)
    table = Table("t", labels, [f"text {generator.random()} of some words" for _ in labels])
    kept, held = hold_out(table, 400)
    assert len(kept) == 3600 and len(held) == 400
    for label, count in Counter(labels).items():
        assert abs(sum(labels[i] == label for i in held) - count / 10) <= 1
    assert hold_out(table, 400) == (kept, held)
    assert hold_out(table.rows(range(3)), 400) == ([0, 1, 2], [])


def test_many_rows_take_seconds(tmp_path):
    generator = random.Random(1)
    words = [f"word{i}" for i in range(5000)]
    lines = [f"c{i % 9}\t{' '.join(generator.choices(words, k=12))}\n" for i in range(50_000)]
    path = write(tmp_path / "a.tsv", "label\ttext\n" + "".join(lines))
    started = time.process_time()
    table, _ = clean(read_table(path))
    kept, held = hold_out(table, 1000)
    assert len(kept) + len(held) == 50_000 and time.process_time() - started < 10  # all pairs would take minutes
