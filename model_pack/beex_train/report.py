"""What a classifier's answers are worth: accuracy and its kin with their uncertainty, and a linear model beside them.

Probabilities and targets are (rows, classes); targets hold 0 and 1. Decisions are boolean, (rows, classes). A task is multi-label
when it has thresholds, (classes,): then a label holds where its probability is above its threshold, and a row is right when all its
labels are. Otherwise the class of the largest probability is the answer. Reports are made of JSON's types only.
"""

from __future__ import annotations

import textwrap
from typing import Any, Sequence

import numpy as np
from scipy.stats import binomtest

RESAMPLES = 1000  # of the bootstrap
MOST_LISTED = 10  # confusions, and labels in a printed list
LARGEST_TABLE = 8  # classes of a confusion table that fits a terminal
WIDTH = 80  # of a printed sentence


def decide(probabilities: np.ndarray, thresholds: Sequence[float] | None = None) -> np.ndarray:
    """Boolean decisions (rows, classes): one a row, or whatever is above the thresholds of a multi-label task."""
    if thresholds is not None:
        return probabilities > np.asarray(thresholds)
    return np.arange(probabilities.shape[1]) == probabilities.argmax(-1)[:, None]


def right_rows(decided: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Which rows are right, boolean (rows,): all labels of the row are."""
    return (decided == (targets > 0)).all(-1)


def scores(decided: np.ndarray, targets: np.ndarray, multi_label: bool) -> dict[str, float]:
    """`accuracy` (all labels of the row right) and `macro_f1`; `micro_f1` when multi-label; `matthews` of two single-label classes."""
    truth = targets > 0
    out = {"accuracy": float(right_rows(decided, targets).mean()), "macro_f1": float(_macro_f1(decided, truth, np.ones(len(truth))))}
    if multi_label:
        out["micro_f1"] = float(2 * (decided & truth).sum() / max(1, decided.sum() + truth.sum()))
    elif truth.shape[1] == 2:
        out["matthews"] = matthews(decided[:, 1], truth[:, 1])
    return out


def _macro_f1(decided: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean F1 of the classes that occur or are predicted. `weights` (…, rows) counts each row; the result is (…)."""
    hits = weights @ (decided & truth)
    total = weights @ (decided.astype(float) + truth)
    f1 = np.divide(2 * hits, total, out=np.zeros_like(hits, dtype=float), where=total > 0)
    return f1.sum(-1) / np.maximum(1, (total > 0).sum(-1))


def matthews(decided: np.ndarray, truth: np.ndarray) -> float:
    """Matthews correlation of two boolean arrays (rows,); 0 when one of them is constant."""
    if decided.std() == 0 or truth.std() == 0:
        return 0.0
    return float(np.corrcoef(decided, truth)[0, 1])


def wilson(right: int, rows: int) -> list[float]:
    """The 95 % Wilson interval of a share."""
    return [float(bound) for bound in binomtest(int(right), int(rows)).proportion_ci(method="wilson")]


def bootstrap_macro_f1(decided: np.ndarray, targets: np.ndarray, seed: int = 1) -> list[float]:
    """The 95 % interval of macro-F1 when rows are drawn again with replacement (percentile bootstrap)."""
    rows, classes = decided.shape
    # Rows that agree in decision and truth are interchangeable: how often each kind is drawn is all that counts, and far fewer numbers.
    kinds, counts = np.unique(np.hstack([decided, targets > 0]), axis=0, return_counts=True)
    weights = np.random.default_rng(seed).multinomial(rows, counts / rows, size=RESAMPLES).astype(float)
    return [float(bound) for bound in np.percentile(_macro_f1(kinds[:, :classes], kinds[:, classes:], weights), [2.5, 97.5])]


def calibration_error(claimed: np.ndarray, happened: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: how far claimed probabilities, (n,), are from the share of them that happened, boolean (n,).

    Bins of equal width, weighted by how many claims fall into them.
    """
    place = np.minimum((claimed * bins).astype(int), bins - 1)
    gaps = np.bincount(place, claimed, bins) - np.bincount(place, happened, bins)
    return float(np.abs(gaps).sum() / len(claimed))


def measure(
    probabilities: np.ndarray, targets: np.ndarray, names: Sequence[str], thresholds: Sequence[float] | None = None, seed: int = 1
) -> dict[str, Any]:
    """The report on some rows; `seed` is that of the bootstrap.

    Shares are between 0 and 1, an `…_interval` holds the bounds at 95 %. `majority` is the accuracy of the commonest answer, and
    `calibration_error` is about the winning label, in a multi-label task about every label of every row.
    """
    decided, truth, multi_label = decide(probabilities, thresholds), targets > 0, thresholds is not None
    right = right_rows(decided, targets)
    if multi_label:
        claimed, happened = probabilities.ravel(), truth.ravel()
    else:
        claimed, happened = probabilities.max(-1), right
    report = {
        "rows": len(truth),
        "labels": list(names),
        "multi_label": multi_label,
        "majority": float(np.unique(truth, axis=0, return_counts=True)[1].max() / len(truth)),
        **scores(decided, targets, multi_label),
        "accuracy_interval": wilson(right.sum(), len(right)),
        "macro_f1_interval": bootstrap_macro_f1(decided, targets, seed),
        "calibration_error": calibration_error(claimed, happened),
        "by_label": _by_label(decided, truth, names),
    }
    if not multi_label:
        table = truth.T.astype(int) @ decided
        report["confusions"] = _confusions(table, names)
        if len(names) <= LARGEST_TABLE:
            report["confusion_table"] = table.tolist()
    return report


def _by_label(decided: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of each label, how many of its answers are right (precision) and how many of its rows are found (recall), and F1."""
    hits, answers, rows = (decided & truth).sum(0), decided.sum(0), truth.sum(0)
    return [
        {
            "label": name,
            "rows": int(rows[c]),
            "precision": float(hits[c] / max(1, answers[c])),
            "recall": float(hits[c] / max(1, rows[c])),
            "f1": float(2 * hits[c] / max(1, answers[c] + rows[c])),
        }
        for c, name in enumerate(names)
    ]


def _confusions(table: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent ones of a table (truth, answer) of row counts, at most MOST_LISTED."""
    wrong = table * (1 - np.eye(len(table), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_LISTED]
    pairs = [divmod(int(place), len(table)) for place in order]
    return [{"truth": names[t], "answer": names[a], "rows": int(wrong[t, a])} for t, a in pairs if wrong[t, a]]


def verdict(ours: np.ndarray, linear: np.ndarray) -> dict[str, Any]:
    """Whether the network is worth it: `ours` and `linear` say which rows, the same ones, each has right, boolean (rows,).

    McNemar's exact test on the rows that only one of them has right. `outcome` is 'better' or 'worse' than the linear model at
    p < 0.05, else 'same'; `sentence` says so to the user.
    """
    only_ours, only_linear = int((ours & ~linear).sum()), int((linear & ~ours).sum())
    p = float(binomtest(only_ours, only_ours + only_linear).pvalue) if only_ours + only_linear else 1.0
    outcome = "same" if p >= 0.05 else "better" if only_ours > only_linear else "worse"
    plain = {
        "better": "better than a linear model",
        "same": "a linear model would do as well: the difference is within chance",
        "worse": "a linear model does better: use one, or train with more rows, longer, or from a pre-trained base",
    }[outcome]
    sentence = (
        f"{plain}. Of {len(ours):,} rows the network has {100 * ours.mean():.2f} % right, the linear model {100 * linear.mean():.2f} %; "
        f"{only_ours:,} only the network, {only_linear:,} only the linear model (McNemar's exact test: p = {p:.2g})"
    )
    return {
        "outcome": outcome, "p": p, "only_ours": only_ours, "only_linear": only_linear,
        "accuracy_linear": float(linear.mean()), "sentence": sentence,
    }  # fmt: skip


def text(report: dict[str, Any]) -> str:
    """A report of `measure`, with a `verdict` where it has that key, for a terminal."""
    percent = lambda share: f"{100 * share:.2f} %"
    between = lambda interval: "[{:.1f}, {:.1f}]".format(*(100 * bound for bound in interval))
    lines = [
        ("rows", f"{report['rows']:,}, {len(report['labels'])} labels" + (", several or none a row" if report["multi_label"] else "")),
        ("accuracy", f"{percent(report['accuracy'])} {between(report['accuracy_interval'])}"
         + (", all labels of a row right" if report["multi_label"] else "")),
        ("majority answer", percent(report["majority"])),
        ("macro-F1", f"{percent(report['macro_f1'])} {between(report['macro_f1_interval'])}"),
    ]  # fmt: skip
    if "micro_f1" in report:
        lines.append(("micro-F1", percent(report["micro_f1"])))
    if "matthews" in report:
        lines.append(("Matthews", f"{report['matthews']:.3f}"))
    lines.append(("calibration error", percent(report["calibration_error"])))
    if "verdict" in report:
        lines.append(("linear model", textwrap.fill(report["verdict"]["sentence"], WIDTH, subsequent_indent=" " * 20)))
    blocks = ["\n".join(f"{name:<20}{value}" for name, value in lines)]

    if "confusion_table" in report:
        cells = [["truth \\ answer", *report["labels"]]]
        cells += [[name, *map(str, row)] for name, row in zip(report["labels"], report["confusion_table"])]
        blocks.append(_columns(cells))
    elif report.get("confusions"):
        cells = [["rows", "truth", "taken for"]]
        cells += [[str(c["rows"]), c["truth"], c["answer"]] for c in report["confusions"]]
        blocks.append("most frequent confusions\n" + _columns(cells))
    if len(report["labels"]) > 2 or report["multi_label"]:
        weakest = sorted((label for label in report["by_label"] if label["rows"]), key=lambda label: label["f1"])[:MOST_LISTED]
        cells = [["label", "rows", "precision", "recall", "F1"]]
        cells += [[w["label"], str(w["rows"]), *(f"{100 * w[key]:.1f}" for key in ("precision", "recall", "f1"))] for w in weakest]
        title = f"the {MOST_LISTED} weakest labels\n" if len(report["labels"]) > MOST_LISTED else ""
        blocks.append(title + _columns(cells))
    return "\n\n".join(blocks)


def _columns(cells: list[list[str]], most: int = 24) -> str:
    """Lines of aligned columns: numbers to the right, words to the left and cut to `most` characters."""
    cut = [[cell if len(cell) <= most else cell[: most - 1] + "…" for cell in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(*cut)]
    numeric = [all(cell.replace(".", "").isdigit() for cell in column[1:]) for column in zip(*cut)]
    align = lambda row: "  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric))
    return "\n".join(align(row).rstrip() for row in cut)
