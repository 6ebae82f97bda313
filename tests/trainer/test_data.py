"""Tables: what is read, what is refused and with which words."""

import pytest

from beex_train.data import DataError, class_indices, class_names, hold_out, read_table, Table


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


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "line 1"),
        ("text\tlabel\n", "no rows"),
        ("label\tbody\nx\ty\n", "needs the columns label and text"),
        ("label\ttext\nx\tone\ny\n", "line 3: 1 columns"),
        ("label\ttext\nx\tone\ty\n", "line 2: 3 columns"),
        ("label\ttext\nx\t \n", "line 2: the text is empty"),
        ("label\ttext\n\tone\n", "line 2: the label is empty"),
    ],
)
def test_bad_files_get_line_and_remedy(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / "a.tsv", text))


def test_other_encodings_missing_and_damaged_files(tmp_path):
    with pytest.raises(DataError, match="not UTF-8"):
        read_table(write(tmp_path / "a.csv", "label,text\nx,café\n", "latin-1"))
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "missing.csv")
    (tmp_path / "a.tsv.xz").write_bytes(b"not xz")
    with pytest.raises(DataError, match="damaged"):
        read_table(tmp_path / "a.tsv.xz")


def test_labels(tmp_path):
    with pytest.raises(DataError, match="at least two"):
        class_names(Table("t", ["x", "x"], ["a", "b"]))
    with pytest.raises(DataError, match="differ only by case"):
        class_names(Table("t", ["Spam", "spam", "ham"], ["a", "b", "c"]))
    with pytest.raises(DataError, match="row 2: the label 'z'"):
        class_indices(Table("t", ["x", "z"], ["a", "b"]), ["x", "y"])


def test_hold_out_leaks_no_phrase():
    sentences = [f"sentence number {i} says that thing {i * 7} is quite good" for i in range(200)]
    phrases = [" ".join(s.split()[3:9]) for s in sentences]
    table = Table("t", ["x"] * 400, sentences + phrases)
    kept, held = hold_out(table, 50, seed=1)
    assert len(held) == 50 and not set(kept) & set(held)
    for h in held:
        assert not any(f" {table.texts[k]} " in f" {table.texts[h]} " or f" {table.texts[h]} " in f" {table.texts[k]} " for k in kept)
