"""The n-gram hash: every run, in order, in the bucket that FORMAT.md gives it."""

import numpy as np
import pytest

from beex_train import ngrams


def bucket(run: list[int], count: int) -> int:
    """FORMAT.md's hash, word by word, in integers without a size."""
    h = len(run) * 0x9E3779B1 % 2**32
    for id in run:
        h = (h ^ id) * 0x01000193 % 2**32
    h ^= h >> 15
    h = h * 0x2C1B3C6D % 2**32
    h ^= h >> 12
    return h % count


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 40])
@pytest.mark.parametrize("longest", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [2**8, 2**20])
def test_every_run_in_order(length, longest, count):
    ids = [int(id) for id in np.random.default_rng(length).integers(0, 65536, length)]
    expected = [bucket(ids[start : start + n], count) for n in range(1, longest + 1) for start in range(length - n + 1)]
    found = ngrams.buckets(ids, longest, count)
    assert found.dtype == np.int64 and found.tolist() == expected


def test_hash_is_what_it_was_when_packs_were_trained():
    assert ngrams.buckets([0, 1, 65535], 3, 2**16).tolist() == [48678, 9520, 38090, 56206, 57035, 15604]


def test_hash_spreads_runs_evenly():
    ids = np.random.default_rng(1).integers(0, 8192, 40_000)
    counts = np.bincount(ngrams.buckets(ids, 2, 2**8)[len(ids) :], minlength=2**8)
    # Pairs are nearly all different, so a bucket's count is nearly Poisson: chi-squared over 255 degrees of freedom.
    chi_squared = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert 160 < chi_squared < 370
