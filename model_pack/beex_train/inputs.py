"""Rows as token ids, in batches for training and measuring."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Sequence

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from .data import Table
from .tokenizer import Encoder


@dataclass
class Inputs:
    """Encoded rows. A long text is several inputs; `row` says whose."""

    ids: list[list[int]] = field(default_factory=list)
    segments: list[list[int]] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    windowed: int = 0  # rows that needed more than one window, or a cut pair

    @staticmethod
    def encode(encoder: Encoder, texts: Sequence[str], texts_b: Sequence[str] | None, max_tokens: int) -> "Inputs":
        """Encode texts, or pairs, as the engine does."""
        out = Inputs()
        tokens = encoder.tokens(texts)
        tokens_b = encoder.tokens(texts_b) if texts_b is not None else None
        for row, ids in enumerate(tokens):
            if tokens_b is not None:
                pair, segments, truncated = encoder.pair(ids, tokens_b[row], max_tokens)
                windows, out.windowed = [pair], out.windowed + truncated
            else:
                windows, segments = encoder.windows(ids, max_tokens), []
                out.windowed += len(windows) > 1
            for window in windows:
                out.ids.append(window)
                out.segments.append(segments)
                out.row.append(row)
        return out

    @staticmethod
    def of(encoder: Encoder, table: Table, max_tokens: int) -> "Inputs":
        """Encode a table's texts or pairs."""
        return Inputs.encode(encoder, table.texts, table.texts_b, max_tokens)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of every input, (inputs,)."""
        return np.array([len(ids) for ids in self.ids])

    def having(self, tokens: Sequence[int]) -> np.ndarray:
        """Which inputs have one of these token ids, boolean (inputs,)."""
        wanted = set(tokens)
        return np.array([not wanted.isdisjoint(ids) for ids in self.ids], bool)

    def texts(self) -> list[list[int]]:
        """The ids of every row, [CLS] and [SEP] included, however many windows it has."""
        whole: list[list[int]] = []
        for i, (ids, row) in enumerate(zip(self.ids, self.row)):
            if row == len(whole):
                whole.append(ids)
            else:  # a window repeats the last quarter of the one before
                whole[row] = whole[row][:-1] + ids[1 + (len(self.ids[i - 1]) - 2) // 4 :]
        return whole

    def merge(self, logits: np.ndarray) -> np.ndarray:
        """Logits of inputs (…, inputs, classes) as those of rows (…, rows, classes): the mean of a text's windows, each weighted by its tokens
        (FORMAT.md, "Windows")."""
        if not self.row or self.row[-1] + 1 == len(self):
            return logits
        mean = self.window_mean()
        merged = np.stack([mean @ each for each in logits.reshape(-1, *logits.shape[-2:])])
        return merged.astype(logits.dtype).reshape(*logits.shape[:-2], *merged.shape[1:])

    def window_mean(self, group: Sequence[int] | None = None) -> csr_matrix:
        """The matrix (rows, inputs) that takes this mean, in the order of rows; with a `group` of inputs only they and their rows are in it."""
        group = range(len(self)) if group is None else group
        tokens = np.array([len(self.ids[i]) for i in group])
        _, row = np.unique([self.row[i] for i in group], return_inverse=True)
        return csr_matrix((tokens / np.bincount(row, tokens)[row], (row, np.arange(len(row)))))

    def some_rows(self, tokens: int, fewest: int = 1) -> tuple["Inputs", np.ndarray]:
        """The inputs of rows at equal distances, about so many tokens together, `fewest` rows at least, or all; and which rows these are."""
        count = self.row[-1] + 1
        kept = np.linspace(0, count - 1, min(count, max(fewest, round(count * tokens / self.lengths.sum())))).astype(int)
        place = {row: k for k, row in enumerate(kept.tolist())}
        chosen = self.take([i for i, row in enumerate(self.row) if row in place])
        chosen.row = [place[row] for row in chosen.row]
        return chosen, kept

    def take(self, chosen: Sequence[int]) -> "Inputs":
        """Some of the inputs; their rows keep their numbers."""
        pick = lambda values: [values[i] for i in chosen]
        return Inputs(pick(self.ids), pick(self.segments), pick(self.row))

    def __len__(self) -> int:
        return len(self.ids)

    def tokens_a_round(self, windows: int) -> int:
        """Tokens of at most so many windows of every row, on average over its windows."""
        count = np.bincount(self.row)
        return round(sum(len(ids) * min(1, windows / count[row]) for ids, row in zip(self.ids, self.row)))

    def batches(self, tokens: int, seed: int | None, windows: int = 1) -> list[list[int]]:
        """Groups of inputs of similar length, about `tokens` tokens each with padding.

        With a seed: at most so many `windows` of each row, together in one group, drawn anew for every seed, in random order. Without: all
        inputs, by length.
        """
        if seed is None:
            return _grouped([[i] for i in range(len(self))], self.ids, tokens)
        generator = random.Random(seed)
        of_row: dict[int, list[int]] = {}
        for i, row in enumerate(self.row):
            of_row.setdefault(row, []).append(i)
        order = [sorted(generator.sample(inputs, min(windows, len(inputs)))) for inputs in of_row.values()]
        generator.shuffle(order)
        chunk = 4096
        groups = []
        for start in range(0, len(order), chunk):
            groups += _grouped(order[start : start + chunk], self.ids, tokens)
        generator.shuffle(groups)
        return groups

    def tensors(self, group: Sequence[int], paired: bool, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
        """ids, mask and segments (None unless paired) of a group, (inputs, longest)."""
        longest = max(len(self.ids[i]) for i in group)
        ids = torch.zeros(len(group), longest, dtype=torch.long)
        mask = torch.zeros(len(group), longest, dtype=torch.bool)
        segments = torch.zeros(len(group), longest, dtype=torch.long) if paired else None
        for k, i in enumerate(group):
            length = len(self.ids[i])
            ids[k, :length] = torch.tensor(self.ids[i])
            mask[k, :length] = True
            if segments is not None:
                segments[k, :length] = torch.tensor(self.segments[i])
        return ids.to(device), mask.to(device), segments.to(device) if segments is not None else None


def _grouped(rows: Sequence[Sequence[int]], ids: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """The inputs of rows of similar length as groups of at most about `tokens` tokens; those of a row stay together."""
    longest = lambda row: max(len(ids[i]) for i in row)
    groups: list[list[int]] = []
    for row in sorted(rows, key=longest):
        if not groups or longest(row) * (len(groups[-1]) + len(row)) > tokens:
            groups.append([])
        groups[-1].extend(row)
    return groups
