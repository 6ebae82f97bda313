"""Measures against scikit-learn's and SciPy's, intervals that cover, and the words of the report."""

import json

import numpy as np
import pytest
from scipy.stats import binom
from sklearn import metrics

from beex_train.report import bootstrap_macro_f1, calibration_error, decide, measure, right_rows, scores, text, verdict, wilson


def answers(rows, classes, seed, sharpness=2.0):
    """Probabilities (rows, classes) and the indices of the truth, which they favour."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(classes, size=rows)
    z = generator.normal(size=(rows, classes)) + sharpness * np.eye(classes)[truth]
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True), truth


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_single_label_scores_are_scikit_learns(classes):
    p, truth = answers(200, classes, seed=classes)
    ours = scores(decide(p), np.eye(classes)[truth], multi_label=False)
    assert ours["accuracy"] == pytest.approx(metrics.accuracy_score(truth, p.argmax(-1)))
    assert ours["macro_f1"] == pytest.approx(metrics.f1_score(truth, p.argmax(-1), average="macro"))
    assert ("matthews" in ours) == (classes == 2)
    if classes == 2:
        assert ours["matthews"] == pytest.approx(metrics.matthews_corrcoef(truth, p.argmax(-1)))


def test_multi_label_scores_are_scikit_learns():
    generator = np.random.default_rng(4)
    targets = (generator.random((300, 5)) < 0.3).astype(np.float32)
    p = np.clip(0.5 * targets + 0.7 * generator.random(targets.shape), 0, 1)
    thresholds = [0.4, 0.5, 0.6, 0.7, 0.5]
    decided = decide(p, thresholds)
    ours = scores(decided, targets, multi_label=True)
    assert ours == {
        "accuracy": pytest.approx(metrics.accuracy_score(targets, decided)),
        "macro_f1": pytest.approx(metrics.f1_score(targets, decided, average="macro")),
        "micro_f1": pytest.approx(metrics.f1_score(targets, decided, average="micro")),
    }
    assert right_rows(decided, targets).mean() == pytest.approx(ours["accuracy"])


def test_classes_that_do_not_occur_do_not_count():
    p, truth = answers(100, 3, seed=1)
    wider = np.pad(p, ((0, 0), (0, 4)))
    assert scores(decide(wider), np.eye(7)[truth], False) == scores(decide(p), np.eye(3)[truth], False)


def test_one_answer_for_all_has_no_correlation():
    assert scores(decide(np.tile([0.9, 0.1], (10, 1))), np.eye(2)[[0, 1] * 5], False)["matthews"] == 0


def test_wilson_interval_covers():
    # 95 % of the time the interval of a sample holds the share it was drawn from; counts being whole, give or take a little.
    for rows, share in ((100, 0.7), (872, 0.8)):
        right = np.arange(rows + 1)
        inside = [low <= share <= high for low, high in (wilson(k, rows) for k in right)]
        assert binom.pmf(right, rows, share)[inside].sum() == pytest.approx(0.95, abs=0.02)
    assert wilson(82, 100) == pytest.approx([0.7333, 0.8830], abs=1e-4)
    assert wilson(0, 20)[0] == 0 and wilson(20, 20)[1] == 1


def test_bootstrap_interval_is_seeded_and_shrinks_with_rows():
    widths = []
    for rows in (100, 1600):
        p, truth = answers(rows, 4, seed=9)
        targets = np.eye(4)[truth]
        low, high = bootstrap_macro_f1(decide(p), targets, seed=1)
        assert [low, high] == bootstrap_macro_f1(decide(p), targets, seed=1) != bootstrap_macro_f1(decide(p), targets, seed=2)
        assert low < scores(decide(p), targets, False)["macro_f1"] < high
        widths.append(high - low)
    assert 3 < widths[0] / widths[1] < 5  # four times the rows twice over: a quarter of the width


def test_calibration_error():
    generator = np.random.default_rng(2)
    claimed = generator.random(200_000)
    happened = generator.random(200_000) < claimed
    assert calibration_error(claimed, happened) < 0.005
    assert calibration_error(claimed, generator.random(200_000) < claimed / 2) == pytest.approx(0.25, abs=0.005)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, False])) == 0.5


def test_verdict():
    right = np.arange(1000) < 800
    other = np.arange(1000) < 700
    assert verdict(right, other)["outcome"] == "better" and verdict(other, right)["outcome"] == "worse"
    assert "a linear model does better" in verdict(other, right)["sentence"]
    same = verdict(right, right)
    assert (same["outcome"], same["p"], same["only_ours"], same["only_linear"]) == ("same", 1.0, 0, 0)
    # 6 rows to 0 is the least that five per cent can tell: 2 / 2**6.
    flipped = right.copy()
    flipped[:5] = False
    assert verdict(right, flipped)["p"] == pytest.approx(2 / 2**5) and verdict(right, flipped)["outcome"] == "same"
    flipped[5] = False
    assert verdict(right, flipped)["p"] == pytest.approx(2 / 2**6) and verdict(right, flipped)["outcome"] == "better"
    assert "a linear model would do as well" in same["sentence"]


def test_report_of_few_classes():
    p, truth = answers(300, 3, seed=5)
    report = measure(p, np.eye(3)[truth], ["yes", "no", "a label that is rather long for a table"])
    assert json.loads(json.dumps(report)) == report
    assert report["confusion_table"] == metrics.confusion_matrix(truth, p.argmax(-1)).tolist()
    assert report["majority"] == pytest.approx(np.bincount(truth).max() / 300)
    assert report["calibration_error"] == pytest.approx(calibration_error(p.max(-1), p.argmax(-1) == truth))
    precision, recall, f1, rows = metrics.precision_recall_fscore_support(truth, p.argmax(-1))
    assert [label["rows"] for label in report["by_label"]] == rows.tolist()
    for key, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert [label[key] for label in report["by_label"]] == pytest.approx(values.tolist())
    low, high = report["accuracy_interval"]
    printed = text({**report, "verdict": verdict(p.argmax(-1) == truth, truth == 0)})
    assert f"accuracy            {100 * report['accuracy']:.2f} % [{100 * low:.1f}, {100 * high:.1f}]" in printed
    assert "truth \\ answer" in printed and "a label that is rather …" in printed
    assert "linear model        better than a linear model" in printed and max(map(len, printed.splitlines())) <= 110


def test_report_of_many_classes_lists_confusions():
    truth = np.repeat(np.arange(20), 10)
    answer = truth.copy()
    answer[:4] = 1  # four rows of class 0, taken for class 1
    answer[10] = 0
    report = measure(np.eye(20)[answer], np.eye(20)[truth], [f"n{i}" for i in range(20)])
    assert report["confusions"] == [{"truth": "n0", "answer": "n1", "rows": 4}, {"truth": "n1", "answer": "n0", "rows": 1}]
    assert "confusion_table" not in report and "matthews" not in report
    printed = text(report)
    assert "most frequent confusions" in printed and "the 10 weakest labels" in printed
    assert "confusions" not in text(measure(np.eye(20)[truth], np.eye(20)[truth], [f"n{i}" for i in range(20)]))


def test_report_of_a_multi_label_task():
    generator = np.random.default_rng(6)
    targets = (generator.random((200, 3)) < 0.3).astype(np.float32)
    p = generator.random((200, 3))
    report = measure(p, targets, ["a", "b", "c"], [0.5, 0.5, 0.5])
    assert json.loads(json.dumps(report)) == report and report["multi_label"]
    assert report["calibration_error"] == pytest.approx(calibration_error(p.ravel(), targets.ravel() > 0))
    assert not {"confusions", "confusion_table", "matthews"} & set(report)
    assert "all labels of a row right" in text(report) and "micro-F1" in text(report)
