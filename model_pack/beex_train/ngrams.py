"""Hashed n-grams (FORMAT.md, "n-grams"): which rows of `ngram.rows` an input adds to its exits."""

from __future__ import annotations

from typing import Sequence

import numpy as np

u32 = np.uint32


def buckets(ids: Sequence[int], longest: int, buckets: int) -> np.ndarray:
    """The bucket of every run of n consecutive ids, n = 1 … `longest`, as int64 in [0, buckets).

    `ids` are those of one input, [CLS] and [SEP] included; `buckets` is a power of two. All runs of one id come first, in order of
    where they start, then all runs of two, and so on; an input shorter than n has none of n. Different runs may share a bucket.
    """
    tokens = np.asarray(ids, u32)
    found = []
    for n in range(1, min(longest, len(tokens)) + 1):
        h = np.full(len(tokens) - n + 1, n * 0x9E3779B1 & 0xFFFFFFFF, u32)
        for k in range(n):
            h = (h ^ tokens[k : k + len(h)]) * u32(0x01000193)
        h ^= h >> u32(15)
        h *= u32(0x2C1B3C6D)
        h ^= h >> u32(12)
        found.append(h & u32(buckets - 1))
    return np.concatenate(found).astype(np.int64) if found else np.zeros(0, np.int64)
