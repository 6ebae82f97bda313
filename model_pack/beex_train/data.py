"""Labelled texts from CSV and TSV files.

A table has a header line with the columns `label` and `text`, or `label`, `text_a` and `text_b` for pairs. In a multi-label table
`|` joins the labels of a row, and an empty label says that none applies.
TSV is read literally (no quoting); CSV with the usual double quotes, also where semicolons or tabs stand for its commas. A name ending
in `.xz` or `.gz` is unpacked on the fly.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import lzma
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Iterable, Iterator, Sequence

import numpy as np


class DataError(ValueError):
    """The user's file cannot be used; the message names file, line and remedy."""


@dataclass
class Table:
    """Rows of a labelled file. `texts_b` is None unless the rows are pairs."""

    name: str
    labels: list[str]
    texts: list[str]
    texts_b: list[str] | None = None
    notes: list[str] = field(default_factory=list)  # what reading left out, in sentences for the user

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, indices: Sequence[int]) -> "Table":
        """The rows at `indices`, in that order, as a new table."""
        pick = lambda column: [column[i] for i in indices]
        texts_b = pick(self.texts_b) if self.texts_b is not None else None
        return Table(self.name, pick(self.labels), pick(self.texts), texts_b, self.notes)

    def inputs(self) -> list[str] | list[tuple[str, str]]:
        """What is classified, row by row: texts, or pairs of texts."""
        return self.texts if self.texts_b is None else list(zip(self.texts, self.texts_b))


def open_text(path: Path) -> IO[str]:
    """Open a text file, plain, `.xz` or `.gz`: UTF-16 when it begins with that byte order mark, else UTF-8."""
    opener = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    with opener(path, "rb") as file:
        wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return opener(path, "rt", encoding="utf-16" if wide else "utf-8-sig", newline="")


def read_table(path: str | Path, most_rows: int | None = None, multi_label: bool | None = None, seed: int = 1) -> Table:
    """Read a labelled table.

    Of a file with more than `most_rows` rows a random sample of that size is kept (`Table.notes` says so); memory is needed for the
    sample only. `multi_label` says whether a label may be empty; None: if some row of this file has a `|` in its label.
    Raises DataError when the file is missing, is in another encoding, lacks a column, or holds a row that cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of a CSV or TSV file with the columns label and text")
    kind = Path(path.stem).suffix if path.suffix in (".xz", ".gz") else path.suffix
    try:
        with open_text(path) as file:
            return _parse(path.name, file, kind.lower() in (".tsv", ".tab"), most_rows, multi_label, seed)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: {_encoding_remedy(error)}") from error
    except (lzma.LZMAError, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path.name}: the compressed file is damaged ({error}); copy it again") from error


def _encoding_remedy(error: UnicodeDecodeError) -> str:
    if error.encoding != "utf-8":
        return "the file begins like UTF-16 but is damaged further on; save it again, as UTF-8"
    around = error.object[max(0, error.start - 20) : error.start + 12].decode("cp1252", errors="replace")
    return (
        f"byte {error.object[error.start]:#04x} is not UTF-8; save the file as UTF-8 (in a spreadsheet: 'CSV UTF-8') and try again. "
        f"Read as Windows-1252 the place is {around!r}; if that looks right: iconv -f WINDOWS-1252 -t UTF-8 old.csv > new.csv"
    )


def _dialect(name: str, first_line: str, tab_separated: bool) -> tuple[dict, list[str]]:
    """Options for csv.reader and the folded header: the first separator that gives the wanted columns."""
    if "\0" in first_line:
        raise DataError(f"{name} line 1: NUL bytes, as in UTF-16 without a byte order mark; save the file as UTF-8 and try again")
    # One reader for all: with QUOTE_NONE a quote is an ordinary character, which is what TSV means.
    literal = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    quoted = [{"delimiter": d, "strict": True} for d in ",;\t"]
    choices = [literal, *quoted[:2]] if tab_separated else quoted
    headers = []
    for options in choices:
        header = [column.strip().lower() for column in next(csv.reader([first_line], **{**options, "strict": False}), [])]
        if "label" in header and ("text" in header or {"text_a", "text_b"} <= set(header)):
            return options, header
        headers.append(header)
    raise DataError(
        f"{name} line 1: the header (separated by {'tabs' if tab_separated else 'commas'}) is {headers[0] or 'empty'}; "
        "it needs the columns label and text, or label, text_a and text_b"
    )


def _parse(name: str, file: IO[str], tab_separated: bool, most_rows: int | None, multi_label: bool | None, seed: int) -> Table:
    csv.field_size_limit(1 << 30)
    options, header = _dialect(name, file.readline(), tab_separated)
    paired = "text" not in header
    label_at = header.index("label")
    text_at = [header.index(column) for column in (("text_a", "text_b") if paired else ("text",))]

    generator = random.Random(seed)
    kept: list[list[str]] = []  # label, text, and the second text of a pair
    labels: dict[str, str] = {}  # as written → as kept; one string per label, however many rows
    rows, unlabelled = 0, 0  # unlabelled: the first line without a label
    for line, row in _rows(name, file, options):
        if len(row) != len(header):
            quotes = f"put double quotes around texts that hold {options['delimiter']!r}"
            remedy = "remove tabs from inside the text" if "quoting" in options else quotes
            raise DataError(f"{name} line {line}: {len(row)} columns where the header has {len(header)}; {remedy}")
        texts = [row[i].strip() for i in text_at]
        if not all(texts):
            raise DataError(f"{name} line {line}: the text is empty; fill it or delete the row")
        if any("\0" in cell for cell in row):
            raise DataError(f"{name} line {line}: a NUL byte; delete the row or export the file again")
        label = labels.get(row[label_at])
        if label is None:
            label = labels[row[label_at]] = "|".join(sorted(split_label(row[label_at])))
        if not label and not unlabelled:
            unlabelled = line
        rows += 1
        if most_rows is None or len(kept) < most_rows:
            kept.append([label, *texts])
        elif (place := generator.randrange(rows)) < most_rows:  # reservoir: every row has had the same chance
            kept[place] = [label, *texts]
    if not rows:
        raise DataError(f"{name}: a header but no rows; add labelled rows")
    if unlabelled and not (multi_label if multi_label is not None else any("|" in label for label in labels.values())):
        raise DataError(f"{name} line {unlabelled}: the label is empty; fill it or delete the row")
    label_column, *text_columns = ([row[i] for row in kept] for i in range(len(kept[0])))
    notes = [f"{name}: a random sample of {len(kept):,} of its {rows:,} rows is used"] if rows > len(kept) else []
    return Table(name, label_column, *text_columns, *([] if paired else [None]), notes)


def _rows(name: str, file: IO[str], options: dict) -> Iterator[tuple[int, list[str]]]:
    """The rows after the header that are not blank, each with the line of the file it begins on."""
    reader = csv.reader(file, **options)
    line = 2
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 2
    except csv.Error as error:
        raise DataError(
            f"{name} line {line}: not valid CSV ({error}); put double quotes around the whole text and write those inside it twice"
        ) from error


def split_label(label: str) -> set[str]:
    """The single labels of a label that `|` may join; empty for none."""
    return {part for part in map(str.strip, label.split("|")) if part}


def is_multi_label(table: Table) -> bool:
    """Whether some row has more than one label, or none."""
    return any(not label or "|" in label for label in table.labels)


def class_names(table: Table) -> list[str]:
    """The single labels that occur, sorted.

    Raises DataError when there are fewer than two or when two differ only by case or blanks.
    """
    names = sorted(set().union(*map(split_label, set(table.labels))))
    if len(names) < 2:
        only = f"every row has the label {names[0]!r}" if names else "no row has a label"
        raise DataError(f"{table.name}: {only}; a classifier needs at least two labels")
    seen: dict[str, str] = {}
    for name in names:
        key = "".join(name.lower().split())
        if key in seen:
            raise DataError(
                f"{table.name}: the labels {seen[key]!r} and {name!r} differ only by case or blanks; write them alike"
            )
        seen[key] = name
    return names


def class_indices(table: Table, names: Sequence[str]) -> list[int]:
    """The rows' classes as indices into `names`. Raises DataError on a label that is not among them."""
    index = {name: i for i, name in enumerate(names)}
    for row, label in enumerate(table.labels):
        if label not in index:
            raise _unknown_label(table, row, label, names)
    return [index[label] for label in table.labels]


def class_targets(table: Table, names: Sequence[str]) -> np.ndarray:
    """0/1 targets, float32 (rows, classes); one 1 a row in a single-label table. Raises DataError on a label that is not in `names`."""
    index = {name: i for i, name in enumerate(names)}
    targets = np.zeros((len(table), len(names)), np.float32)
    for row, label in enumerate(table.labels):
        for part in split_label(label):
            if part not in index:
                raise _unknown_label(table, row, part, names)
            targets[row, index[part]] = 1
    return targets


def _unknown_label(table: Table, row: int, label: str, names: Sequence[str]) -> DataError:
    known = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return DataError(
        f"{table.name} row {row + 1}: the label {label!r} does not occur in the training data (it has {known}); "
        "correct it or add training rows"
    )


def clean(table: Table) -> tuple[Table, list[str]]:
    """Drop what cannot be learnt from: repeated rows, and texts whose rows contradict each other.

    Of equal texts with different single labels the majority label stays; without one, all of them go. In a multi-label table they stay
    as they are. Returns the table and what was done, one sentence each, with a warning about labels that have only one row.
    """
    rows_of: dict[str | tuple[str, str], list[int]] = {}
    for row, text in enumerate(table.inputs()):
        rows_of.setdefault(text, []).append(row)
    multi_label = is_multi_label(table)
    kept: list[int] = []
    repeated = 0
    contradictions: list[list[int]] = []
    for rows in rows_of.values():
        first = {table.labels[row]: row for row in reversed(rows)}
        if multi_label or len(first) == 1:
            repeated += len(rows) - len(first)
            kept += first.values()
            continue
        contradictions.append(rows)
        (label, most), (_, second) = Counter(table.labels[row] for row in rows).most_common(2)
        if most > second:
            kept.append(first[label])
    notes = [f"rows that repeat another row were left out: {repeated:,}"] if repeated else []
    if contradictions:
        example = contradictions[0]
        labels = " and ".join(repr(label) for label in sorted({table.labels[row] for row in example}))
        notes.append(
            f"texts with rows of different labels, of which only the majority label was kept, if there is one: {len(contradictions):,}; "
            f"for example {table.texts[example[0]][:80]!r} is labelled {labels}"
        )
    cleaned = table.rows(sorted(kept))
    counts = Counter(part for label in cleaned.labels for part in split_label(label))
    if rare := sorted(label for label, count in counts.items() if count == 1):
        named = ", ".join(map(repr, rare[:5])) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
        notes.append(f"labels with a single row, too few to learn from; add rows: {named}")
    return cleaned, notes


def overlap(train: Table, dev: Table) -> int:
    """How many rows of `dev` have a text (a pair of texts) that also occurs in `train`."""
    known = set(train.inputs())
    return sum(text in known for text in dev.inputs())


def held_out_count(table: Table, wanted: int = 0) -> int:
    """How many rows to hold out: `wanted`, or a tenth, 100 to 1,000."""
    return wanted or min(1000, max(100, len(table) // 10))


def hold_out(table: Table, count: int) -> tuple[list[int], list[int]]:
    """Split row indices into (kept, held out) so that no kept text is inside a held-out one or the other way round. The same rows whatever the seed of a run:
    a teacher, a first stage and a fit agree on them.

    Sets such as SST-2 hold sentences together with their phrases: a random split would ask on Tuesday what it told on Monday. So only
    texts that are not part of a longer one are held out, and their parts belong to neither side.
    Labels are held out in proportion to their rows. At most a quarter of the rows is held out (of three rows none). Every label
    stays among the kept rows; where that needs it, a part of a held-out text is kept all the same.
    """
    texts = table.texts if table.texts_b is None else map(" | ".join, table.inputs())
    folded = [" ".join(text.lower().split()) for text in texts]
    inner = _inside(set(folded), folded)
    generator = random.Random(1)
    candidates = [i for i, text in enumerate(folded) if text not in inner]
    count = min(count, len(table) // 4, len(candidates) // 2)
    # Evenly spaced through the rows in order of label: as good as stratified, and labels joined by `|` need no case of their own.
    generator.shuffle(candidates)
    candidates.sort(key=lambda i: table.labels[i])
    start = generator.random()
    drawn = [candidates[int((start + k) * len(candidates) / count)] for k in range(count)]

    labels = [split_label(label) for label in table.labels]
    left = Counter(label for row in labels for label in row)

    def may_go(row: int) -> bool:
        if any(left[label] == 1 for label in labels[row]):
            return False
        left.subtract(labels[row])
        return True

    held = sorted(filter(may_go, drawn))
    chosen = set(held)
    held_texts = {folded[i] for i in held}
    leaked = held_texts | _inside(set(folded), held_texts)
    kept = [i for i, text in enumerate(folded) if i not in chosen and not (text in leaked and may_go(i))]
    return kept, held


def _inside(texts: set[str], containers: Iterable[str]) -> set[str]:
    """Those of `texts` that are a run of words of a longer text among `containers`. Words are separated by single blanks."""
    # A text is looked up by its first words (four, if it has as many), and then by its length.
    lengths: dict[tuple[str, ...], set[int]] = {}
    for text in texts:
        words = text.split(" ")
        lengths.setdefault(tuple(words[:4]), set()).add(len(words))
    sizes = {len(key) for key in lengths}
    found: set[str] = set()
    for container in containers:
        words = container.split(" ")
        for size in sizes:
            for at, key in enumerate(zip(*(words[k:] for k in range(size)))):
                for length in lengths.get(key, ()):
                    if length < len(words) and at + length <= len(words):
                        text = " ".join(words[at : at + length])
                        if text in texts:
                            found.add(text)
    return found
