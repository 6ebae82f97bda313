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

    def merge(self, logits: np.ndarray) -> np.ndarray:
        """Logits of inputs (…, inputs, classes) as those of rows (…, rows, classes): the mean of a text's windows, each weighted by its tokens
        (FORMAT.md, "Windows")."""
        if not self.row or self.row[-1] + 1 == len(self):
            return logits
        mean = self.window_mean()
        merged = np.stack([mean @ each for each in logits.reshape(-1, *logits.shape[-2:])])
        return merged.astype(logits.dtype).reshape(*logits.shape[:-2], *merged.shape[1:])

    def window_mean(self) -> csr_matrix:
        """The matrix (rows, inputs) that takes this mean."""
        tokens, row = self.lengths, np.array(self.row)
        return csr_matrix((tokens / np.bincount(row, tokens)[row], (row, np.arange(len(self)))))

    def some_rows(self, tokens: int) -> tuple["Inputs", np.ndarray]:
        """The inputs of rows at equal distances, about so many tokens together or all, and which rows these are."""
        count = self.row[-1] + 1
        kept = np.linspace(0, count - 1, max(1, min(count, round(count * tokens / self.lengths.sum())))).astype(int)
        place = {row: k for k, row in enumerate(kept.tolist())}
        chosen = [i for i, row in enumerate(self.row) if row in place]
        pick = lambda values: [values[i] for i in chosen]
        return Inputs(pick(self.ids), pick(self.segments), [place[row] for row in pick(self.row)]), kept

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def tokens_a_round(self) -> int:
        """Tokens of one window of every row, on average over its windows."""
        windows = np.bincount(self.row)
        return round(sum(len(ids) / windows[row] for ids, row in zip(self.ids, self.row)))

    def batches(self, tokens: int, seed: int | None) -> list[list[int]]:
        """Groups of inputs of similar length, about `tokens` tokens each with padding.

        With a seed: one window of each row, drawn anew for every seed, in random order. Without: all inputs, by length.
        """
        if seed is None:
            return _grouped(sorted(range(len(self)), key=lambda i: len(self.ids[i])), self.ids, tokens)
        generator = random.Random(seed)
        windows: dict[int, list[int]] = {}
        for i, row in enumerate(self.row):
            windows.setdefault(row, []).append(i)
        order = [generator.choice(inputs) for inputs in windows.values()]
        generator.shuffle(order)
        chunk = 4096
        groups = []
        for start in range(0, len(order), chunk):
            groups += _grouped(sorted(order[start : start + chunk], key=lambda i: len(self.ids[i])), self.ids, tokens)
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


def _grouped(order: Sequence[int], ids: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """Neighbours in `order`, which is by length, as groups of at most about `tokens` tokens."""
    groups: list[list[int]] = []
    for i in order:
        if not groups or len(ids[i]) * (len(groups[-1]) + 1) > tokens:
            groups.append([])
        groups[-1].append(i)
    return groups
