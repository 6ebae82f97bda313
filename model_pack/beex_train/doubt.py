"""Words with which exit 0 does not answer alone (FORMAT.md, "Doubt").

Exit 0 is a bag of words: it cannot know what "not" does to "bad", and is as sure of "not bad" as of "bad". Texts with such a word go on to the first
block, however sure exit 0 is. Which words these are is read off its own mistakes. Where they turn what others say, later exits may add a part of exit 0's logits only:
that mends most misread negations of `sentiment`, while of words that are found, such as "and" in Emotion, it makes exits less well calibrated. No paper has
this: it is beex's own, and the numbers below were chosen by the words that they find in SST-2, TREC-6, Emotion and Clickbait.
"""

from __future__ import annotations

from typing import Collection

import numpy as np
from scipy.sparse import csr_matrix

from .exits import entropy, probabilities
from .inputs import Inputs
from .model import Classifier

SURE = 0.5  # share of the answers, those of least entropy, that exit 0 might give
MOST_WORDS = 32
# How much more often sure answers with the word must be wrong than those without: in ratio, and in standard deviations of the count, one added for rare words.
TIMES_AS_WRONG, DEVIATIONS = 1.75, 5.0
MOST_TEXTS = 0.5  # share of the texts that have such a word: one that most have singles nothing out, as "i" in Emotion


def doubtful_words(inputs: Inputs, targets: np.ndarray, said: np.ndarray, special: Collection[int]) -> list[int]:
    """Token ids, MOST_WORDS at most, that most often make sure answers wrong, the worst first; without the `special` ones.

    `targets` are probabilities (rows, classes) of one label a row, `said` logits (inputs, classes) of a linear model that has not seen the rows. The texts of a
    word that was found count for no other, so that words do not follow only because they keep it company.
    """
    if not len(inputs):
        return []
    p = probabilities(said, False)
    entropies = entropy(p, False)
    sure = np.flatnonzero(entropies <= np.quantile(entropies, SURE))
    wrong = 1 - targets[np.array(inputs.row)[sure], p[sure].argmax(-1)]
    words = [np.setdiff1d(inputs.ids[i], list(special)) for i in sure]
    starts = np.concatenate([[0], np.cumsum([len(each) for each in words])]).astype(int)
    has = csr_matrix((np.ones(starts[-1]), np.concatenate(words).astype(int), starts)).T.tocsr()  # (tokens, sure inputs)

    found: list[int] = []
    left = np.ones(len(sure))
    while len(found) < MOST_WORDS:
        texts, errors = has @ left, has @ (left * wrong)
        others = np.maximum(1, left.sum() - texts)
        expected = np.maximum(1, left @ wrong - errors) / others  # share of wrong answers without the word; never taken for none
        excess = errors - texts * expected
        worse = (errors >= TIMES_AS_WRONG * texts * expected) & (excess >= DEVIATIONS * np.sqrt(1 + texts * expected)) & (texts <= MOST_TEXTS * left.sum())
        if not worse.any():
            break
        word = int(np.where(worse, excess, -np.inf).argmax())
        found.append(word)
        left[has[word].indices] = 0
    return found


def exit0_shares(model: Classifier, doubtful: np.ndarray) -> np.ndarray:
    """How much of exit 0's logits later exits add (FORMAT.md, "Doubt"), float32 (inputs,) from which inputs have such a word, boolean (inputs,)."""
    return np.where(doubtful, model.share_in_doubt, 1.0).astype(np.float32)
