"""Labelled texts from CSV and TSV files.

A table has a header line with the columns `label` and `text`, or `label`, `text_a` and `text_b` for pairs.
TSV is read literally (no quoting); CSV with the usual double quotes. A name ending in `.xz` or `.gz` is unpacked on the fly.
"""

from __future__ import annotations

import csv
import gzip
import lzma
import random
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Sequence


class DataError(ValueError):
    """The user's file cannot be used; the message names file, line and remedy."""


@dataclass
class Table:
    """Rows of a labelled file. `texts_b` is None unless the rows are pairs."""

    name: str
    labels: list[str]
    texts: list[str]
    texts_b: list[str] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, indices: Sequence[int]) -> "Table":
        """The rows at `indices`, in that order, as a new table."""
        pick = lambda column: [column[i] for i in indices]
        return Table(self.name, pick(self.labels), pick(self.texts), pick(self.texts_b) if self.texts_b is not None else None)


def open_text(path: Path) -> IO[str]:
    """Open a UTF-8 text file, plain, `.xz` or `.gz`."""
    opener = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def read_table(path: str | Path) -> Table:
    """Read a labelled table.

    Raises DataError when the file is missing, is not UTF-8, lacks a column, or holds a row that cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of a CSV or TSV file with the columns label and text")
    kind = Path(path.stem).suffix if path.suffix in (".xz", ".gz") else path.suffix
    try:
        with open_text(path) as file:
            return _parse(path.name, file, tab_separated=kind.lower() in (".tsv", ".tab"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name}: byte {error.object[error.start]:#04x} is not UTF-8; save the file as UTF-8 "
            "(in a spreadsheet: 'CSV UTF-8') and try again"
        ) from error
    except (lzma.LZMAError, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path.name}: the compressed file is damaged ({error}); copy it again") from error
    except csv.Error as error:
        raise DataError(f"{path.name}: not a valid CSV file ({error}); export it again with standard quoting") from error


def _parse(name: str, file: IO[str], tab_separated: bool) -> Table:
    # One reader for both: with QUOTE_NONE a quote is an ordinary character, which is what TSV means.
    csv.field_size_limit(1 << 30)
    quoting = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tab_separated else {"delimiter": ","}
    reader = csv.reader(file, **quoting)
    header = [column.strip().lower() for column in next(reader, [])]
    if "label" not in header or not ({"text"} <= set(header) or {"text_a", "text_b"} <= set(header)):
        separator = "tabs" if tab_separated else "commas"
        raise DataError(
            f"{name} line 1: the header (separated by {separator}) is {header or 'empty'}; "
            "it needs the columns label and text, or label, text_a and text_b"
        )
    paired = "text" not in header
    label_at = header.index("label")
    text_at = [header.index(column) for column in (("text_a", "text_b") if paired else ("text",))]

    table = Table(name, [], [], [] if paired else None)
    for row in reader:
        if not row:
            continue
        line = reader.line_num
        if len(row) != len(header):
            raise DataError(
                f"{name} line {line}: {len(row)} columns where the header has {len(header)}; "
                + ("remove tabs from inside the text" if tab_separated else "put double quotes around texts that hold commas")
            )
        label, *texts = row[label_at].strip(), *(row[i].strip() for i in text_at)
        if not label:
            raise DataError(f"{name} line {line}: the label is empty; fill it or delete the row")
        if not all(texts):
            raise DataError(f"{name} line {line}: the text is empty; fill it or delete the row")
        table.labels.append(label)
        table.texts.append(texts[0])
        if paired:
            table.texts_b.append(texts[1])
    if not table.texts:
        raise DataError(f"{name}: a header but no rows; add labelled rows")
    return table


def class_names(table: Table) -> list[str]:
    """The labels that occur, sorted.

    Raises DataError when there are fewer than two or when two differ only by case or blanks.
    """
    names = sorted(set(table.labels))
    if len(names) < 2:
        raise DataError(f"{table.name}: every row has the label {names[0]!r}; a classifier needs at least two labels")
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
            raise DataError(
                f"{table.name} row {row + 1}: the label {label!r} does not occur in the training data "
                f"(it has {', '.join(names)}); correct it or add training rows"
            )
    return [index[label] for label in table.labels]


def hold_out(table: Table, count: int, seed: int) -> tuple[list[int], list[int]]:
    """Split row indices into (kept, held out) so that no held-out text is inside a kept one or the other way round.

    Sets such as SST-2 hold sentences together with their phrases: a random split would ask on Tuesday what it told
    on Monday. The held-out rows are drawn from the longer half, as phrases are not what users classify.
    """
    folded = [" ".join(text.lower().split()) for text in table.texts]
    median = sorted(map(len, folded))[len(folded) // 2]
    pool = [i for i, text in enumerate(folded) if len(text) >= median]
    random.Random(seed).shuffle(pool)
    held = sorted(pool[: min(count, len(pool) // 2)])
    chosen = set(held)
    held_words = "\n".join(f" {folded[i]} " for i in held)
    # A kept row may not be a part of a held-out one, nor hold one. The second is rarer and is looked up by rare word runs.
    starts: dict[str, list[str]] = {}
    for i in held:
        starts.setdefault(" ".join(folded[i].split()[:4]), []).append(folded[i])
    kept = []
    for i, text in enumerate(folded):
        if i in chosen or f" {text} " in held_words:
            continue
        words = text.split()
        runs = (" ".join(words[k : k + 4]) for k in range(max(1, len(words) - 3)))
        if any(inside in text for run in runs for inside in starts.get(run, ())):
            continue
        kept.append(i)
    return kept, held
