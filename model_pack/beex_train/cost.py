"""What a text costs: FORMAT.md "Cost", in units of one binary multiply-add. `engine/model/cost.h` has the same constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from .pack import SLFN_FORMS, TASKS

if TYPE_CHECKING:
    from .model import ModelConfig

# Measured: `scripts/bench --fit-cost` prints them anew.
EMBEDDING = 360.0  # an element of a token's row: unpack, add, normalize
NGRAM = 260.0  # a column of an n-gram's row
ATTENTION = 19.0  # a multiply-add of scores or of contexts
VECTOR = 56.0  # an element of a norm, a quantizer or an activation function
POOLING = 29.0  # an element of the pooled sum
EXIT = 145.0  # a float multiply-add of an exit or of a gate

Number = Any  # an integer, or an array of them


@dataclass(frozen=True)
class Cost:
    """The parts of a network's cost. Token counts may be arrays."""

    hidden_size: int
    slfn_size: int
    blocks: int
    classes: int
    is_open: bool  # SLFN
    inputs: int  # 2 for pairs
    ngram_columns: int  # 0 without n-grams
    ngram_longest: int
    skip_width: int

    @staticmethod
    def of_pack(config: Mapping[str, int]) -> "Cost":
        """From a pack's config."""
        columns = config["classes"] - (TASKS[config["task"]] == "single") if config["ngram_buckets"] else 0
        return Cost(
            config["hidden_size"], config["slfn_size"], config["blocks"], config["classes"], SLFN_FORMS[config["slfn_form"]] == "open",
            config["inputs"], columns, config["ngram_longest"], config["skip_width"],
        )  # fmt: skip

    @staticmethod
    def of_model(config: ModelConfig) -> "Cost":
        """From the shape of a network."""
        columns = config.ngram_columns if config.ngram_buckets else 0
        return Cost(
            config.hidden_size, config.slfn_size, config.blocks, config.classes, config.slfn_form == "open", config.inputs, columns,
            config.ngram_longest, config.skip_width,
        )  # fmt: skip

    def embedding(self, tokens: Number) -> Number:
        """Token rows, and n-grams where the pack has them."""
        runs = sum(np.maximum(0, tokens - n) for n in range(self.ngram_longest)) if self.ngram_columns else 0
        return tokens * self.hidden_size * EMBEDDING + runs * self.ngram_columns * NGRAM

    def block(self, entering: Number, kept: Number) -> Number:
        """A block that `entering` tokens enter and whose SLFN `kept` of them reach. The texts of a pair, taken as of equal length, do not
        see each other."""
        d, f = self.hidden_size, self.slfn_size
        gate = f if self.is_open else d
        products = 4 * entering * d**2 + kept * (gate * d + 2 * f * d + (f * d if self.is_open else 0))
        return products + 2 * entering**2 / self.inputs * d * ATTENTION + (6 * entering * d + kept * (3 * d + gate + 2 * f)) * VECTOR

    def pooling(self, tokens: Number) -> Number:
        """The pooled state of so many tokens."""
        return tokens * self.hidden_size * POOLING

    @property
    def exit(self) -> float:
        """One exit's logits."""
        return self.classes * self.inputs * self.hidden_size * EXIT

    @property
    def gate(self) -> float:
        """One skip gate."""
        return self.skip_width * self.inputs * self.hidden_size * EXIT

    def dense(self, tokens: Number) -> Number:
        """Everything: all blocks on all tokens, the first exit and the last."""
        ends = 2 * (self.pooling(tokens) + self.exit)
        return self.embedding(tokens) + ends + self.blocks * self.block(tokens, tokens)
