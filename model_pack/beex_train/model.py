"""The network of a pack: embeddings, blocks of attention and SLFN, an exit before the first block and after each.

It is FORMAT.md's network with gradients. Padding exists only here, in batches of training; the engine runs one text at its own length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .binary import BinaryLinear, Quantizer, few_bit_columns, few_bit_rows
from .pack import SLFN_FORMS, TASKS

NORM_EPSILON = 1e-5
# The reference sizes of the design.
SIZES = {
    "nano": {"hidden_size": 128, "blocks": 2, "heads": 4, "slfn_size": 256},
    "mini": {"hidden_size": 256, "blocks": 4, "heads": 8, "slfn_size": 512},
    "small": {"hidden_size": 384, "blocks": 6, "heads": 12, "slfn_size": 768},
}


@dataclass
class ModelConfig:
    """Shape of a network. `activation_bits` 32 and `binary` False give the float twin."""

    task: str = "single"  # or "multi" (every label on its own), or "features" (no labels: vectors only)
    classes: int = 2
    vocabulary_size: int = 8192
    hidden_size: int = 192
    blocks: int = 4
    heads: int = 6
    slfn_size: int = 384
    max_tokens: int = 128
    inputs: int = 1
    activation_bits: int = 4
    embedding_bits: int = 4
    position_bits: int = 8
    slfn_form: str = "bounded"  # or "open", "rectified"
    pooling: str = "mean"  # or "cls"
    ngram_buckets: int = 0  # of the linear model inside; 0 for none
    ngram_longest: int = 2
    text_ngrams: bool = False  # of the whole text, each bucket once; or else of a window, every run
    ngram_bits: int = 8  # with 4 a table of twice the rows, and so the same bytes, is the worse linear model
    exit_bits: int = 32  # of the exits' weights; or 8
    skip_width: int = 0  # of the skip gates' hidden layer; 0 for no gates
    surrogate: str = "second-order"
    magnitude_aware: bool = True
    binary: bool = True
    dropout: float = 0.1

    @property
    def ngram_columns(self) -> int:
        """Columns of the n-gram rows: the first of several exclusive classes needs none, as a common shift changes no probability."""
        return self.classes - (self.task == "single")

    @property
    def pooled_size(self) -> int:
        """Numbers that an exit or a gate reads: of a pair, how its two texts' vectors differ and agree."""
        return self.hidden_size * self.inputs

    @property
    def linear_options(self) -> dict[str, Any]:
        """What all binary linear layers have in common."""
        return {"surrogate": self.surrogate, "magnitude_aware": self.magnitude_aware, "binary": self.binary}

    def float_twin(self) -> "ModelConfig":
        """The same network with float weights and activations."""
        return replace(self, binary=False, activation_bits=32, embedding_bits=32, position_bits=32, exit_bits=32)

    def check(self) -> None:
        """Raise ValueError where FORMAT.md would not allow the shape."""
        rules = {
            "hidden_size must be a multiple of 64, 64 to 1024": self.hidden_size % 64 == 0 and 64 <= self.hidden_size <= 1024,
            "slfn_size must be a multiple of 64, 64 to 4096": self.slfn_size % 64 == 0 and 64 <= self.slfn_size <= 4096,
            "blocks must be 1 to 24": 1 <= self.blocks <= 24,
            "hidden_size / heads must be a multiple of 16": self.hidden_size % (16 * self.heads) == 0,
            "max_tokens must be 8 to 1024": 8 <= self.max_tokens <= 1024,
            "activation_bits must be 1, 2, 4 (or 32 without export)": self.activation_bits in (1, 2, 4, 32),
            "embedding_bits and position_bits must be 1, 2, 4 or 8": {self.embedding_bits, self.position_bits} <= {1, 2, 4, 8, 32},
            "slfn_form must be open, bounded, rectified (or plain without export)": self.slfn_form in (*SLFN_FORMS, "plain"),
            "task must be single, multi or features": self.task in TASKS,
            "a pack of features has no classes and no n-grams": self.task != "features" or self.classes == self.ngram_buckets == 0,
            "ngram_buckets must be 0 or a power of two, 256 to 1,048,576": self.ngram_buckets in (0, *(2**k for k in range(8, 21))),
            "ngram_longest must be 1 to 4": 1 <= self.ngram_longest <= 4,
            "exit_bits must be 8 or 32": self.exit_bits in (8, 32),
            "skip_width must be 0 to 64, and 0 without classes": 0 <= self.skip_width <= (64 if self.task != "features" else 0),
            "ngram_bits must be 2, 4, 8 (or 32 without export)": self.ngram_bits in (2, 4, 8, 32),
            "pooling must be mean or cls, and mean of pairs": self.pooling in ("mean", "cls")[: 3 - self.inputs],
        }
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(rule)


def positions_of(segments: Tensor) -> Tensor:
    """Positions of the tokens of pairs, (batch, tokens): each text counts from 0."""
    return torch.arange(segments.shape[1], device=segments.device) - segments.argmax(1, keepdim=True) * segments


class Dropout(nn.Module):
    """Dropout of a share `p`, rounded to 1/256, of (…, channels), whose channels come in multiples of eight: one random byte decides about a value. torch draws a whole
    number for each, which is much of a compiled network's step on a CPU."""

    def __init__(self, p: float):
        super().__init__()
        self.dropped = round(256 * p)  # values of a byte

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropped:
            return x
        bytes_ = torch.randint(-(2**63), 2**63 - 1, (*x.shape[:-1], x.shape[-1] // 8), device=x.device).view(torch.uint8)
        return x * ((bytes_ >= self.dropped).to(x.dtype) * (256 / (256 - self.dropped)))


class Embeddings(nn.Module):
    """Token + position (+ segment) rows, then LayerNorm."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        d = config.hidden_size
        self.config = config
        self.token = nn.Parameter(torch.randn(config.vocabulary_size, d) * 0.3)
        self.position = nn.Parameter(torch.randn(config.max_tokens, d) * 0.05)
        self.segment = nn.Parameter(torch.randn(2, d) * 0.05) if config.inputs == 2 else None
        self.norm = nn.LayerNorm(d, eps=NORM_EPSILON)
        self.dropout = Dropout(config.dropout)

    def forward(self, ids: Tensor, segments: Tensor | None) -> Tensor:
        x = few_bit_rows(F.embedding(ids, self.token), self.config.embedding_bits)
        positions = few_bit_rows(self.position[: ids.shape[1]], self.config.position_bits)
        x = x + (positions if segments is None else positions[positions_of(segments)])
        if self.segment is not None:
            x = x + few_bit_rows(self.segment, 8 if self.config.embedding_bits < 32 else 32)[segments]
        return self.dropout(self.norm(x))


class Attention(nn.Module):
    """Multi-head attention on binary linear layers; the scores come from few-bit queries and keys."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        d, bits = config.hidden_size, config.activation_bits
        options = config.linear_options
        self.heads = config.heads
        self.qkv = BinaryLinear(d, 3 * d, bits, **options)
        self.query, self.key = Quantizer(bits, None), Quantizer(bits, None)
        self.output = BinaryLinear(d, d, bits, **options)

    def forward(self, h: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The output (batch, tokens, d) and the attention weights (batch, heads, tokens, tokens).

        `mask` says whom tokens attend to, (batch, 1 or tokens, tokens)."""
        batch, tokens, d = h.shape
        q, k, v = self.qkv(h).view(batch, tokens, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        (q, q_factor), (k, k_factor) = self.query(q), self.key(k)
        scores = q @ k.transpose(-1, -2) * (q_factor * k_factor / math.sqrt(d // self.heads))
        weights = scores.masked_fill(~mask[:, None], -1e9).softmax(-1)
        return self.output((weights @ v).transpose(1, 2).reshape(batch, tokens, d)), weights


def attention_mass(weights: Tensor, mask: Tensor) -> Tensor:
    """Attention that every token receives, (batch, tokens): the columns of (batch, heads, tokens, tokens) summed over heads and real rows."""
    return (weights * mask[:, None, :, None]).sum((1, 2))


def most_attended(mass: Tensor, mask: Tensor, kept: Tensor) -> Tensor:
    """Which tokens go on, boolean (batch, tokens): the first and the `kept` (batch,) - 1 others of largest mass, the earlier of equal ones."""
    mass = mass.masked_fill(~mask, -1.0)
    mass[:, 0] = math.inf
    rank = mass.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return mask & (rank < kept[:, None])


class SLFN(nn.Module):
    """Selective learn-forget network, in place of the feed-forward net (METHODS: SLFN of the authors' earlier work).

    open:       (W2s sigmoid(W1s a)) * (W2f tanh(W1f a))
    bounded:    sigmoid(Wg a) * (W2f tanh(W1f a))
    rectified:  sigmoid(Wg a) * (W2f relu(W1f a)), where the quantizer of non-negative values is the relu. It can start from a
                feed-forward layer: see `start_from`.
    plain:      W2 relu(W1 a), an ordinary feed-forward net of as many weights as the bounded form; for comparison, no pack holds it.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        d, f, bits = config.hidden_size, config.slfn_size, config.activation_bits
        options = config.linear_options
        self.open, self.plain = config.slfn_form == "open", config.slfn_form == "plain"
        self.rectified = self.plain or config.slfn_form == "rectified"
        f += d // 2 if self.plain else 0
        self.gate_rows = 0 if self.plain else f if self.open else d
        self.hidden = BinaryLinear(d, self.gate_rows + f, bits, **options)
        self.gate = BinaryLinear(f, d, bits, signed=False, **options) if self.open else None
        self.content = BinaryLinear(f, d, bits, signed=not self.rectified, **options)
        with torch.no_grad():  # half-open gates pass half of the content: start it at twice the size
            if self.open:
                self.gate.bias.fill_(1.0)

    def forward(self, a: Tensor) -> Tensor:
        hidden = self.hidden(a)
        gate, content = hidden[..., : self.gate_rows].sigmoid(), hidden[..., self.gate_rows :]
        content = self.content(content if self.rectified else content.tanh())
        if self.plain:
            return content
        return (self.gate(gate) if self.open else gate) * content


class Block(nn.Module):
    """a = LN(h + attention(h)); LN(a + SLFN(a))."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=NORM_EPSILON)
        self.slfn = SLFN(config)
        self.slfn_norm = nn.LayerNorm(config.hidden_size, eps=NORM_EPSILON)
        # One-bit activations are noise enough; few-bit and float ones take ordinary dropout.
        self.dropout = Dropout(config.dropout if config.activation_bits > 1 else 0.0)

    def attend(self, h: Tensor, mask: Tensor, segments: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state after the attention, (batch, tokens, d), and the attention weights. The texts of a pair do not see each other."""
        seen = mask[:, None, :]
        if segments is not None:
            seen = seen & (segments[:, :, None] == segments[:, None, :])
        context, weights = self.attention(h, seen)
        return self.attention_norm(h + self.dropout(context)), weights

    def learn(self, a: Tensor) -> Tensor:
        """The SLFN's half."""
        return self.slfn_norm(a + self.dropout(self.slfn(a)))

    def forward(self, h: Tensor, alive: Tensor, segments: Tensor | None = None, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next state and which tokens are alive, (batch, tokens). With `kept` (batch,) only so many of them go on to the SLFN; the
        others' states are final: the attention's, and unchanged from then on."""
        a, weights = self.attend(h, alive, segments)
        if kept is None:
            return self.learn(a), alive
        on = most_attended(attention_mass(weights.detach(), alive), alive, kept)
        h = torch.where(alive.unsqueeze(-1), a, h)
        return torch.where(on.unsqueeze(-1), self.learn(a), h), on


class NgramRows(nn.Module):
    """The rows of the linear model inside (FORMAT.md, "n-grams"): what buckets say about the classes. `linear.linear_logits` adds them up."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.rows = nn.Parameter(torch.zeros(config.ngram_buckets, config.ngram_columns))
        self.register_buffer("places", torch.arange(config.ngram_buckets))

    def keep(self, places: np.ndarray, rows: np.ndarray) -> None:
        """From now on only the buckets `places`, ascending, have a row: `rows`, (places, columns)."""
        self.places, self.rows.data = torch.from_numpy(places), torch.from_numpy(rows)

    def table(self) -> Tensor:
        """The rows as a pack holds them, (kept, classes)."""
        rows = few_bit_columns(self.rows, self.config.ngram_bits) if self.config.binary else self.rows
        return F.pad(rows, (self.config.classes - self.config.ngram_columns, 0))


class SkipGate(nn.Module):
    """How much the next block is worth skipping, from the pooled state: SmartBERT's gate, small enough for binary blocks.

    Its cost does not shrink with the weights' bits, so it reads one vector instead of every token: pooled size -> width -> 1.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.hidden = nn.Linear(config.pooled_size, config.skip_width)
        self.output = nn.Linear(config.skip_width, 1)
        nn.init.constant_(self.output.bias, -1.0)  # blocks run at the start

    def forward(self, pooled: Tensor) -> Tensor:
        """(batch, pooled size) -> (batch,) in (0, 1)."""
        return self.output(self.hidden(pooled).relu()).sigmoid()[:, 0]


def _mean(h: Tensor, mask: Tensor) -> Tensor:
    """(batch, tokens, d) -> (batch, d): of the tokens that `mask` shows."""
    weight = mask.unsqueeze(-1).to(h.dtype)
    return (h * weight).sum(1) / weight.sum(1)


class Classifier(nn.Module):
    """Logits of every exit. Exit 0 is linear in the pooled embeddings and in the n-grams; every later exit adds to its logits.

    With the task "features" there are no exits: `states` is all there is.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        config.check()
        self.config = config
        self.embeddings = Embeddings(config)
        self.ngrams = NgramRows(config) if config.ngram_buckets else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        exits = 0 if config.task == "features" else config.blocks + 1
        self.exits = nn.ModuleList(nn.Linear(config.pooled_size, config.classes) for _ in range(exits))
        for head in self.exits:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.gates = nn.ModuleList(SkipGate(config) for _ in range(config.blocks if config.skip_width else 0))
        self.contrast: nn.Module | None = None  # in training only; see contrast.py
        self.profile: Sequence[float] | None = None  # of elimination, one share a block; see elimination.py
        self.doubtful: Sequence[int] = ()  # tokens with which exit 0 does not answer alone; see doubt.py
        self.share_in_doubt = 1.0  # of exit 0's logits, which later exits add where there is such a token

    def pool(self, h: Tensor, mask: Tensor, segments: Tensor | None = None) -> Tensor:
        """(batch, tokens, d) -> (batch, d): mean of the real tokens, or [CLS]. Of pairs (batch, 2d): |u - v| and u * v, where u and v are
        the means of the two texts (the features of InferSent and Sentence-BERT)."""
        if segments is None:
            return h[:, 0] if self.config.pooling == "cls" else _mean(h, mask)
        u, v = (_mean(h, mask & (segments == side)) for side in (0, 1))
        return torch.cat([(u - v).abs(), u * v], -1)

    def states(self, ids: Tensor, mask: Tensor, segments: Tensor | None = None, kept: Tensor | None = None) -> list[Tensor]:
        """States before the first block and after each, (batch, tokens, d), from ids, mask (and segments) of (batch, tokens).

        `kept` (blocks, batch) are the tokens that elimination leaves after each block's attention; without it all stay.
        """
        return self.walk(ids, mask, segments, kept)[0]

    def walk(
        self, ids: Tensor, mask: Tensor, segments: Tensor | None = None, kept: Tensor | None = None, skip: float | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """`states`, and what the gates said of every block, (batch,), with a threshold `skip`: 1 skips, 0 runs (hard weights: the
        gradient is that of the gate's sigmoid). Without a threshold no gate is read.

        A skipped block leaves the state as it is. A threshold above 1 mixes softly: (1 - gate) of the block, gate of the state.
        """
        states, alive, gates = [self.embeddings(ids, segments)], mask, []
        for i, block in enumerate(self.blocks):
            h = states[-1]
            state, left = block(h, alive, segments, None if kept is None else kept[i])
            if skip is not None:
                gate = self.gates[i](self.pool(h, mask, segments))
                if skip <= 1:
                    gate = gate + ((gate > skip).to(gate.dtype) - gate).detach()
                gates.append(gate)
                state = (1 - gate)[:, None, None] * state + gate[:, None, None] * h
                left = torch.where(gate[:, None] == 1, alive, left)
            states.append(state)
            alive = left
        return states, gates

    def forward(
        self, ids: Tensor, mask: Tensor, segments: Tensor | None = None, linear: Tensor | None = None, kept: Tensor | None = None
    ) -> Tensor:
        """Logits (exits, batch, classes). `linear` (batch, classes) is what the linear model inside says (see linear.py)."""
        return self.read_exits(self.states(ids, mask, segments, kept), mask, segments, linear)

    def read_exits(
        self, states: Sequence[Tensor], mask: Tensor, segments: Tensor | None, linear: Tensor | None, share: Tensor | None = None
    ) -> Tensor:
        """Logits (exits, batch, classes) from the states, and from what the linear model says (batch, classes). Later exits add a `share` (batch,) of exit 0's
        logits (doubt.py); all of them by default."""
        first, *others = [
            F.linear(self.pool(h, mask, segments), few_bit_rows(head.weight, self.config.exit_bits), head.bias) for head, h in zip(self.exits, states)
        ]
        if linear is not None:
            first = first + linear
        prior = first if share is None else share[:, None] * first
        return torch.stack([first, *(other + prior for other in others)])

    @torch.no_grad()
    def initialise(self, ids: Tensor, mask: Tensor, segments: Tensor | None = None) -> None:
        """Set every quantizer's step from one batch, layer after layer."""
        hooks = [
            module.register_forward_pre_hook(lambda quantizer, inputs: None if quantizer.ready else quantizer.initialise(inputs[0]))
            for module in self.modules()
            if isinstance(module, Quantizer)
        ]
        self.states(ids, mask, segments)
        for hook in hooks:
            hook.remove()

    def keep_blocks(self, blocks: int) -> None:
        """Drop the blocks, and their exits, after the first `blocks`."""
        self.blocks = self.blocks[:blocks]
        self.exits = self.exits[: blocks + 1]
        self.gates = self.gates[:blocks]
        self.profile = self.profile[:blocks] if self.profile is not None else None
        self.config = replace(self.config, blocks=blocks)

    def binary_layers(self) -> list[BinaryLinear]:
        """All binary linear layers, in order."""
        return [module for module in self.modules() if isinstance(module, BinaryLinear)]

    def clamp_latent(self) -> None:
        """Call after each optimizer step."""
        for layer in self.binary_layers():
            layer.clamp_latent()


def parameter_groups(model: Classifier, learning_rate: float) -> list[dict[str, Any]]:
    """What an optimizer trains, in two groups: latent weights need larger steps, as only their signs count."""
    latent = {id(layer.weight) for layer in model.binary_layers()}
    trained = [p for p in model.parameters() if p.requires_grad]
    # No weight decay anywhere: it would pull latent weights towards the sign's jump, and scales and norms towards zero.
    return [
        {"params": [p for p in trained if id(p) in latent], "lr": 2 * learning_rate, "weight_decay": 0.0},
        {"params": [p for p in trained if id(p) not in latent], "lr": learning_rate, "weight_decay": 0.0},
    ]


def soft_routing_loss(logits: Tensor, target: Tensor, weights: Tensor | None = None, multi: bool = False) -> Tensor:
    """L = sum_i w_i CE(z_i, target) / sum_i w_i over the exits (BEExformer's soft-routing loss; w_i = 1 by default).

    logits (exits, batch, classes), target probabilities (batch, classes), weights (exits,) or (exits, batch). With `multi` every label has
    a cross-entropy of its own, and they are added up.
    """
    if multi:
        losses = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none").sum(-1)
    else:
        losses = -(target * logits.log_softmax(-1)).sum(-1)
    if weights is None:
        return losses.mean()
    weights = weights.reshape(len(weights), -1).expand_as(losses)
    return (losses * weights).sum() / weights.sum()
