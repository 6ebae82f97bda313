"""The floors that a pack must beat: a linear model of words and word pairs (scikit-learn), and fastText.

Both see the same lower-case words, punctuation marks being words of their own; a pair is one text with a mark between its halves.
"""

from __future__ import annotations

import random
import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

import numpy as np

from .data import DataError, Table, class_names, class_targets, hold_out, is_multi_label
from .report import decide, scores

WORD = re.compile(r"\w+|[^\w\s]")
PAIR_MARK = "|||"
FEWEST_TO_CHOOSE = 20  # held-out rows; with fewer a choice would be a guess
LARGE = 20_000  # rows: above, words that occur once are no features
QUICK_WORK = 40_000_000  # words times classes that a quick run learns from: about 15 s on one core


@dataclass
class Baseline:
    """What a baseline answers on the dev rows."""

    setting: float  # as chosen: C of the linear model, epochs of fastText
    probabilities: np.ndarray  # (rows, classes)
    decided: np.ndarray  # boolean, (rows, classes)
    scores: dict[str, float]  # see report.scores


def majority_baseline(train: Table, dev: Table) -> Baseline:
    """Always the answer that is right most often on the training rows."""
    names = class_names(train)
    sets, counts = np.unique(class_targets(train, names), axis=0, return_counts=True)
    return _judge(0, np.repeat(sets[counts.argmax()][None], len(dev), axis=0), names, dev, is_multi_label(train))


def linear_baseline(train: Table, dev: Table, quick: bool = False) -> Baseline:
    """TF-IDF of words and word pairs, and a logistic regression per class, with a C of 1 or 10 chosen on some of the training rows.

    `quick`, for a comparison on the side, takes a C of 10, and random rows worth QUICK_WORK of a larger table. Raises DataError when
    `dev` has labels that `train` lacks, as the other baselines do.
    """
    names, multi_label = class_names(train), is_multi_label(train)

    def probabilities(c: float, rows: Table, others: Table) -> np.ndarray:
        return _linear_probabilities(c, rows, others, names, multi_label)

    if quick:
        setting = 10.0
        work = len(names) * sum(text.count(" ") + 1 for text in train.texts + (train.texts_b or []))
        if work > QUICK_WORK:
            train = train.rows(random.Random(1).sample(range(len(train)), len(train) * QUICK_WORK // work))
    else:
        setting = _choose([1.0, 10.0], 10.0, probabilities, train, names, multi_label)
    return _judge(setting, probabilities(setting, train, dev), names, dev, multi_label)


def fasttext_baseline(train: Table, dev: Table, seed: int = 1) -> Baseline:
    """fastText of words and word pairs (100 dimensions, learning rate 0.5), with 5, 10 or 25 epochs chosen on some of the training rows.

    Raises DataError when the package fasttext-wheel is not installed.
    """
    names, multi_label = class_names(train), is_multi_label(train)

    def probabilities(epochs: float, rows: Table, others: Table) -> np.ndarray:
        return _fasttext_probabilities(int(epochs), rows, others, names, multi_label, seed)

    setting = _choose([5, 10, 25], 10, probabilities, train, names, multi_label)
    return _judge(setting, probabilities(setting, train, dev), names, dev, multi_label)


def _words(table: Table) -> list[str]:
    """Lower-case words, separated by single blanks."""
    halves = [[" ".join(WORD.findall(text.lower())) for text in column] for column in (table.texts, table.texts_b) if column is not None]
    return [f" {PAIR_MARK} ".join(row) for row in zip(*halves)]


def _choose(
    settings: Sequence[float], usual: float, probabilities: Callable[[float, Table, Table], np.ndarray],
    train: Table, names: list[str], multi_label: bool,
) -> float:  # fmt: skip
    """The setting that does best on held-out training rows; `usual` when there are too few to tell."""
    kept, held = hold_out(train, max(500, len(train) // 10))
    if len(held) < FEWEST_TO_CHOOSE:
        return usual
    rows, others = train.rows(kept), train.rows(held)
    measure = "micro_f1" if multi_label else "accuracy"
    return max(settings, key=lambda s: _judge(s, probabilities(s, rows, others), names, others, multi_label).scores[measure])


def _judge(setting: float, probabilities: np.ndarray, names: list[str], dev: Table, multi_label: bool) -> Baseline:
    decided = decide(probabilities, np.full(len(names), 0.5) if multi_label else None)
    return Baseline(setting, probabilities, decided, scores(decided, class_targets(dev, names), multi_label))


def _linear_probabilities(c: float, train: Table, others: Table, names: list[str], multi_label: bool) -> np.ndarray:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2 if len(train) > LARGE else 1, sublinear_tf=True, lowercase=False, tokenizer=str.split,
        token_pattern=None,
    )  # fmt: skip
    features = vectorizer.fit_transform(_words(train))
    # One regression per class: as good as a joint one on our sets, with several times less time and memory for many classes.
    model = OneVsRestClassifier(LogisticRegression(C=c, solver="liblinear", max_iter=1000))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Label .* is present in all training examples|Label not .* is present")
        model.fit(features, class_targets(train, names).astype(int))
    each = model.predict_proba(vectorizer.transform(_words(others)))
    return each if multi_label else each / each.sum(-1, keepdims=True)


def _fasttext_probabilities(epochs: int, train: Table, others: Table, names: list[str], multi_label: bool, seed: int) -> np.ndarray:
    try:
        import fasttext
    except ImportError as error:
        raise DataError("fastText is not installed: pip install fasttext-wheel (there is one for Python 3.12 and older)") from error

    prefix = "label="  # never the beginning of a word, see WORD
    labelled = [
        " ".join([prefix + str(c) for c in np.flatnonzero(row)] + [text]) for row, text in zip(class_targets(train, names), _words(train))
    ]
    # Word pairs share hashed rows: enough of them to collide seldom, but not more than the data can use (each is 400 bytes).
    buckets = min(500_000, 4 * sum(line.count(" ") for line in labelled))
    random.Random(seed).shuffle(labelled)  # it learns in the order of the file, and a sorted file would leave it with the last class
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        path.write_text("\n".join(labelled) + "\n", encoding="utf-8")
        model = fasttext.train_supervised(
            str(path), wordNgrams=2, dim=100, epoch=epochs, lr=0.5, loss="ova" if multi_label else "softmax", bucket=buckets,
            seed=seed, thread=1, label=prefix, verbose=0,
        )  # fmt: skip
    probabilities = np.zeros((len(others), len(names)))
    for row, text in enumerate(_words(others)):
        # Not model.predict: that fails with NumPy 2, and on a list of texts it breaks long ones into several.
        for probability, label in model.f.predict(text + "\n", len(names), 0.0, "strict"):
            probabilities[row, int(label.removeprefix(prefix))] = probability
    return probabilities
