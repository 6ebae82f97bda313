"""Variations of texts for a teacher to label: what a small table lacks is not labels but texts.

Three ways, each text by one of them drawn at random: words give way to words of similar meaning, a span of the text is all that is left, or the
beginning of one text goes on with the end of another. None keeps the meaning for sure, and none needs to: the teacher says what it became
(Tang et al. 2019, "Distilling task-specific knowledge from BERT into simple neural networks").
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Callable, Mapping, Sequence

from torch import Tensor
from torch.nn import functional as F

REPLACED = 0.25  # share of the words that give way
SHORTEST_SPAN = 0.4  # of the text's words
NEIGHBOURS = 12
MOST_WORDS = 20_000  # that have neighbours, the most frequent ones


def neighbours(texts: Sequence[str], known: Mapping[str, int], vectors: Tensor) -> dict[str, list[str]]:
    """The words of similar meaning of every frequent word of `texts`, by the cosine of its row of `vectors` (`known` says which); lower case."""
    counts = Counter(word for text in texts for word in text.lower().split())
    words = [word for word, _ in counts.most_common() if word in known][:MOST_WORDS]
    unit = F.normalize(vectors[[known[word] for word in words]], dim=-1)
    found = {}
    for start in range(0, len(words), 1024):
        chunk = words[start : start + 1024]
        nearest = (unit[start : start + len(chunk)] @ unit.T).topk(min(NEIGHBOURS + 1, len(words))).indices
        for word, row in zip(chunk, nearest.tolist()):
            found[word] = [words[i] for i in row if words[i] != word]
    return found


def augment(texts: Sequence[str], count: int, known: Mapping[str, int], vectors: Tensor, seed: int) -> list[str]:
    """`count` distinct variations of `texts`, or as many as three tries for each give; the same for the same seed.

    `vectors` are the teacher's input vectors, (words, d), and `known` its words' rows in them.
    """
    generator = random.Random(seed)
    similar = neighbours(texts, known, vectors)

    def replace(words: list[str]) -> list[str]:
        return [generator.choice(similar.get(w.lower()) or [w]) if generator.random() < REPLACED else w for w in words]

    def span(words: list[str]) -> list[str]:
        length = max(1, round(len(words) * generator.uniform(SHORTEST_SPAN, 1)))
        start = generator.randint(0, len(words) - length)
        return words[start : start + length]

    def mix(words: list[str]) -> list[str]:
        other = generator.choice(texts).split()
        return words[: generator.randint(1, len(words))] + other[generator.randint(0, len(other)) :]

    ways: tuple[Callable[[list[str]], list[str]], ...] = (replace, span, mix)
    seen, out = set(texts), []
    texts = [text for text in texts if text.split()]
    for _ in range(3 * count if texts else 0):
        if len(out) == count:
            break
        words = generator.choice(texts).split()
        varied = " ".join(generator.choice(ways)(words))
        if varied not in seen:
            seen.add(varied)
            out.append(varied)
    return out
