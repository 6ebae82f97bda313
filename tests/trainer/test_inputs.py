"""Batches of windows: those of a long text learn and answer together."""

import numpy as np

from beex_train.inputs import Inputs

LENGTHS = [10, 12, 12, 5, 8, 12, 12, 12, 3]
ROW = [0, 1, 1, 1, 2, 3, 3, 3, 3]


def inputs() -> Inputs:
    return Inputs([[0] * length for length in LENGTHS], row=ROW)


def test_windows_of_a_row_stay_together():
    for windows in (1, 2, 9):
        seen = []
        for group in inputs().batches(30, 5, windows):
            rows = [ROW[i] for i in group]
            assert rows == sorted(rows, key=rows.index)  # no row is torn apart
            seen += group
        assert sorted(ROW[i] for i in seen) == sorted(row for row in range(4) for _ in range(min(windows, ROW.count(row))))
        assert len(set(seen)) == len(seen)
    assert inputs().batches(30, 5, 2) == inputs().batches(30, 5, 2) != inputs().batches(30, 6, 2)
    assert inputs().tokens_a_round(1) == round(10 + 29 / 3 + 8 + 39 / 4)
    assert inputs().tokens_a_round(9) == sum(LENGTHS)


def test_mean_is_weighted_by_tokens():
    logits = np.random.default_rng(1).normal(size=(2, 9, 3)).astype(np.float32)
    merged = inputs().merge(logits)
    assert merged.shape == (2, 4, 3) and merged.dtype == np.float32
    assert np.allclose(merged[:, 0], logits[:, 0])
    assert np.allclose(merged[:, 1], (12 * logits[:, 1] + 12 * logits[:, 2] + 5 * logits[:, 3]) / 29, atol=1e-6)
    # Of a group: its rows in order, its inputs as given.
    part = inputs().window_mean([6, 1, 5]).toarray()
    assert np.allclose(part, [[0, 1, 0], [0.5, 0, 0.5]])


def test_some_rows_are_whole_and_not_too_few():
    whole = Inputs([[0] * length for length in LENGTHS], [[]] * len(ROW), ROW)
    some, rows = whole.some_rows(40)
    assert rows.tolist() == [0, 3] and some.row == [0, 1, 1, 1, 1]
    assert whole.some_rows(40, fewest=3)[1].tolist() == [0, 1, 3]
    assert whole.some_rows(1, fewest=99)[1].tolist() == [0, 1, 2, 3]
