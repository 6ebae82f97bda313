"""`fit` with its defaults beside the linear model and fastText, on the same rows of many data sets: what people get from their own table."""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Sequence

from .baseline import fasttext_baseline, linear_baseline
from .data import DataError, Table, is_multi_label, read_table
from .fit import Settings, fit
from .results import percent, table


def find(folder: Path, part: str) -> Path:
    """FOLDER/part.tsv, or .tsv.xz. Raises DataError without either."""
    for path in (folder / f"{part}.tsv", folder / f"{part}.tsv.xz"):
        if path.is_file():
            return path
    raise DataError(f"{folder}: holds no {part}.tsv (or {part}.tsv.xz)")


def first_of_each_label(table: Table, count: int, seed: int) -> Table:
    """`count` random rows of every label, or all where there are fewer."""
    order = random.Random(seed).sample(range(len(table)), len(table))
    seen: Counter[str] = Counter()
    kept = []
    for row in order:
        seen[table.labels[row]] += 1
        if seen[table.labels[row]] <= count:
            kept.append(row)
    return table.rows(sorted(kept))


def compare(folder: Path, rows: int, per_label: int, settings: Settings, compile: bool) -> dict[str, Any]:
    """Scores of the three on the dev rows of one data set, from at most `rows` training rows, or from `per_label` of every label."""
    table = read_table(find(folder, "train"), None if per_label else rows, seed=settings.seed)
    if per_label:
        table = first_of_each_label(table, per_label, settings.seed)
    dev = read_table(find(folder, "dev"), multi_label=is_multi_label(table))
    measure = "micro_f1" if is_multi_label(table) else "accuracy"
    with tempfile.TemporaryDirectory() as scratch:
        fitted = fit(settings, table, dev, (), Path(scratch) / "checkpoint", compile)
    return {
        "measure": measure, "train_rows": len(table), "dev_rows": len(dev),
        "linear": linear_baseline(table, dev).scores[measure], "fasttext": fasttext_baseline(table, dev, settings.seed).scores[measure],
        "ours": fitted.report["dev"][measure], "seconds": fitted.report["seconds"], "bytes": fitted.report["size"]["bytes"],
    }  # fmt: skip


def compare_all(folders: Sequence[Path], rows: int, per_label: int, settings: Settings, out: Path, compile: bool) -> dict[str, Any]:
    """`compare` for every folder that `out` does not hold yet; `out` (JSON, by name of the folder) is written after each."""
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for folder in folders:
        if folder.name not in found:
            print(f"{folder.name} …", file=sys.stderr, flush=True)
            found[folder.name] = compare(folder, rows, per_label, settings, compile)
            out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return {folder.name: found[folder.name] for folder in folders}


def text(found: dict[str, Any]) -> str:
    """Markdown: a line for each data set, and the mean gain over the better of the two baselines."""
    lines, gains = [], []
    for name, r in found.items():
        gains.append(100 * (r["ours"] - max(r["linear"], r["fasttext"])))
        scores = [percent(r[who], 1) for who in ("linear", "fasttext", "ours")]
        lines.append([name, f"{r['train_rows']:,}", f"{r['dev_rows']:,}", *scores, f"{gains[-1]:+.1f}", f"{r['seconds']:.0f}", f"{r['bytes'] / 1000:,.0f}"])
    better = sum(gain > 0 for gain in gains)
    return (
        table(["data", "rows", "dev rows", "TF-IDF + LR", "fastText", "fit", "gain", "seconds", "kB"], lines)
        + f"\n\nBetter than both on {better} of {len(gains)}, by {sum(gains) / len(gains):+.1f} points on average. Accuracy, or micro-F1 where a text may have several labels."
    )
