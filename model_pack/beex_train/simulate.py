"""The engine's arithmetic in NumPy: FORMAT.md "The arithmetic", operation by operation, on the bytes of a pack.

It is the quantized simulation that an exported pack must reproduce: the C++ engine gives the same bits for every intermediate and
every exit. It is written for clarity and is a few hundred times slower than the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator, Sequence

import numpy as np

from . import ngrams
from .cost import Cost
from .pack import CLASS_TEMPERATURES, SLFN_FORMS, TASKS, TEXT_NGRAMS, ExitRule, PackFile, Policy, unpack_bits, unpack_few_bits
from .tokenizer import Encoder

f32 = np.float32
Tap = Callable[[str, int, np.ndarray], None]
EXIT_REASONS = ("last", "certain", "reduction", "rising", "entropy", "patience", "probability")
LARGEST_FLOAT = np.float32(2**30)  # of a pack
LEAST_KEPT = 4  # tokens that elimination leaves


def sum4(x: np.ndarray) -> np.ndarray:
    """Sum over the last axis in four partial sums, element i into partial sum i mod 4."""
    pad = -x.shape[-1] % 4
    x = np.concatenate([x, np.zeros((*x.shape[:-1], pad), f32)], -1).reshape(*x.shape[:-1], -1, 4)
    s = np.zeros((*x.shape[:-2], 4), f32)
    for k in range(x.shape[-2]):
        s = s + x[..., k, :]
    return (s[..., 0] + s[..., 1]) + (s[..., 2] + s[..., 3])


def exp(x: np.ndarray) -> np.ndarray:
    """e^x with x clamped to [-87, 88]."""
    x = np.minimum(np.maximum(x, f32(-87)), f32(88))
    n = np.floor(x * f32(1.44269504) + f32(0.5))
    r = (x - n * f32(0.693359375)) + n * f32(2.12194440e-4)
    p = np.full_like(x, f32(1 / 5040))
    for inverse in (1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0):
        p = p * r + f32(inverse)
    return p * ((n.astype(np.int32) + 127) << 23).astype(np.int32).view(f32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x)."""
    return f32(1) / (f32(1) + exp(-x))


def tanh(x: np.ndarray) -> np.ndarray:
    """1 - 2 / (1 + e^2x)."""
    return f32(1) - f32(2) / (f32(1) + exp(f32(2) * x))


def ln(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of normal positive numbers."""
    x = np.asarray(x, f32)
    word = x.view(np.int32)
    e = (word >> 23) - 127
    m = ((word & 0x007FFFFF) | 0x3F800000).astype(np.int32).view(f32)
    high = m > f32(1.41421356)
    m = np.where(high, m * f32(0.5), m)
    e = np.where(high, e + 1, e).astype(f32)
    s = (m - f32(1)) / (m + f32(1))
    u = s * s
    tail = f32(1) + u * (f32(1 / 3) + u * (f32(1 / 5) + u * (f32(1 / 7) + u * f32(1 / 9))))
    return e * f32(0.693147180) + (f32(2) * s) * tail


def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    e = exp(x - x.max(-1, keepdims=True))
    return e * (f32(1) / sum4(e))[..., None]


def layer_norm(x: np.ndarray, norm: np.ndarray) -> np.ndarray:
    """LayerNorm over the last axis; `norm` is (2, d): gamma, beta."""
    inverse = f32(1) / f32(x.shape[-1])
    c = x - (sum4(x) * inverse)[..., None]
    v = sum4(c * c) * inverse
    r = f32(1) / np.sqrt(v + f32(1e-5))
    return (c * r[..., None]) * norm[0] + norm[1]


def quantize(x: np.ndarray, threshold: np.ndarray | np.float32, inverse_step: np.float32, bits: int) -> np.ndarray:
    """2q - M as int32, q = clamp(floor((x - threshold) * inverse_step) + 2^(bits-1), 0, M)."""
    m = 2**bits - 1
    q = np.clip(np.floor((x - threshold) * inverse_step) + f32(2 ** (bits - 1)), 0, m)
    return 2 * q.astype(np.int32) - m


@dataclass
class Linear:
    """A binary linear layer of the pack with its input's quantizer."""

    threshold: np.ndarray
    signs: np.ndarray  # (rows, columns) of -1, +1
    scale: np.ndarray
    bias: np.ndarray
    bits: int
    inverse_step: np.float32

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(tokens, columns) -> (tokens, rows)."""
        u = quantize(x, self.threshold, self.inverse_step, self.bits)
        # Exact: the sums stay far under 2^24.
        d = (u.astype(np.float64) @ self.signs.T.astype(np.float64)).astype(f32)
        return d * self.scale + self.bias


@dataclass
class SkipGate:
    """A block's skip gate: two float layers on the pooled state."""

    weight: np.ndarray  # (width, d)
    bias: np.ndarray  # (width,)
    output: np.ndarray  # (width,)
    output_bias: np.ndarray  # (1,)

    def __call__(self, pooled: np.ndarray) -> np.float32:
        """How much the block is worth skipping, in (0, 1)."""
        hidden = np.maximum(f32(0), sum4(self.weight * pooled) + self.bias)
        return sigmoid(sum4(self.output * hidden) + self.output_bias)[0]


@dataclass
class State:
    """An input on its way through the blocks."""

    h: np.ndarray  # (tokens, d)
    positions: np.ndarray  # (tokens,): where they were in the input
    dropped: np.ndarray  # (texts, d): sums of the states of eliminated tokens
    lengths: tuple[int, ...]  # tokens that the input's text started with, or its two texts

    @property
    def of_texts(self) -> list[np.ndarray]:
        """Which rows of h are of which text, boolean (tokens) each."""
        second = self.positions >= self.lengths[0]
        return [~second, second][: len(self.lengths)]


@dataclass
class Reading:
    """What an exit says, and the work up to it."""

    exit: int
    logits: np.ndarray
    probabilities: np.ndarray
    entropy: np.float32
    blocks: int  # that ran
    work: float  # in units of the cost model


def kept_tokens(profile: float, gamma: float, entering: int | np.ndarray, started: int | np.ndarray) -> int | np.ndarray:
    """Tokens that go on after a block's attention (FORMAT.md, "Elimination"), of one input or of many."""
    if gamma == 0:
        return entering
    share = exp(f32(gamma) * ln(f32(profile)))
    return np.minimum(entering, np.maximum(LEAST_KEPT, np.ceil(share * np.asarray(started, f32)).astype(int)))


def attention_mass(weights: np.ndarray) -> np.ndarray:
    """How much attention every token receives, (tokens,): the columns of (heads, tokens, tokens) summed over heads, then rows."""
    mass = np.zeros(weights.shape[-1], f32)
    for head in weights:
        for row in head:
            mass = mass + row
    return mass


def choose_kept(mass: np.ndarray, count: int) -> np.ndarray:
    """Indices, in order, of [CLS] and of the `count` - 1 other tokens of largest mass, the earlier one first when they are equal."""
    return np.sort(np.concatenate([[0], 1 + np.argsort(-mass[1:], kind="stable")[: count - 1]]))


@dataclass
class Outcome:
    """What the engine answers for one text."""

    label: int
    labels: list[int]  # multi-label: classes above their thresholds, likeliest first
    probabilities: np.ndarray
    logits: np.ndarray  # of the last window
    exit_block: int
    reason: str
    blocks_run: int
    windows: int
    work: float  # share of the dense cost


def decide(
    rule: ExitRule, exit: int, last: int, entropy: float, probabilities: np.ndarray, before: dict, multi_label: bool = False
) -> str | None:
    """The reason to stop at this exit, or None. `before` carries entropy, label and run of equal labels between calls."""
    label = int(probabilities.argmax())
    previous = before.get("entropy")
    agreeing = before["agreeing"] + 1 if before.get("label") == label else 1
    before.update(entropy=entropy, label=label, agreeing=agreeing)
    if exit == last:
        return "last"
    if rule.kind == "off" or exit < rule.first_exit:
        return None
    if entropy < f32(rule.certain):
        return "certain"
    if rule.kind == "fractional" and previous is not None:
        reduction = (previous - entropy) / previous if previous != 0 else f32(0)
        if reduction < f32(rule.threshold) and entropy < f32(rule.uncertain):
            return "rising" if rule.keep_lower_entropy and entropy > previous else "reduction"
    if rule.kind == "entropy" and entropy < f32(rule.threshold):
        return "entropy"
    if rule.kind == "patience" and f32(agreeing) >= f32(rule.threshold):
        return "patience"
    if rule.kind == "probability":
        confidence = np.maximum(probabilities, f32(1) - probabilities).min() if multi_label else probabilities.max()
        if confidence > f32(rule.threshold):
            return "probability"
    return None


class Simulator:
    """Runs a pack."""

    def __init__(self, pack: PackFile):
        self.pack = pack
        c = pack.config
        self.d, self.blocks, self.classes, self.heads = c["hidden_size"], c["blocks"], c["classes"], c["heads"]
        self.pooled_size = self.d * c["inputs"]
        self.encoder = Encoder(pack.lines("vocabulary"), bool(c["normalizer"]))
        self.bits = pack.raw("activation.bits").reshape(self.blocks, 7)
        self.inverse_step = pack.floats("activation.inverse_step", self.blocks, 7)
        self.token = self._rows("embedding", c["vocabulary_size"], self.d, c["embedding_bits"])
        self.position = self._rows("position", c["max_tokens"], self.d, c["position_bits"])
        self.segment = self._rows("segment", 2, self.d, 8) if c["inputs"] == 2 else None
        self.embedding_norm = pack.floats("embedding.norm", 2, self.d)
        self.task = TASKS[c["task"]]
        self.multi_label = self.task == "multi"
        if self.task != "features":
            self.heads_weight = [self._head(i) for i in range(self.blocks + 1)]
            self.heads_bias = [pack.floats(f"exit{i}.bias", self.classes) for i in range(self.blocks + 1)]
            by_class = c["features"] & CLASS_TEMPERATURES
            self.inverse_temperature = pack.floats("exit.inverse_temperature", self.blocks + 1, self.classes if by_class else 1)
            most = f32(self.classes) * f32(0.693147180) if self.multi_label else ln(f32(self.classes))
            self.inverse_largest_entropy = f32(1) / most
        self.threshold = pack.floats("threshold.by_label", self.classes) if self.multi_label else None
        if c["ngram_buckets"] > 0:
            self.ngram_places = pack.ngram_places
            self.ngram_scale = pack.floats("ngram.scale", self.classes if self.multi_label else self.classes - 1)
            self.ngram_rows = pack.raw("ngram.rows").reshape(len(self.ngram_places), (len(self.ngram_scale) * c["ngram_bits"] + 7) // 8)
        self.form = SLFN_FORMS[c["slfn_form"]]
        self.open = self.form == "open"
        f = c["slfn_size"]
        self.gate_rows = f if self.open else self.d
        self.layers = [
            {
                "qkv": self._linear(i, "qkv", 3 * self.d, self.d, 0),
                "output": self._linear(i, "output", self.d, self.d, 3),
                "hidden": self._linear(i, "hidden", self.gate_rows + f, self.d, 4),
                "gate": self._linear(i, "gate", self.d, f, 5) if self.open else None,
                "content": self._linear(i, "content", self.d, f, 6),
                "score_scale": pack.floats(f"block{i}.attention.score_scale", 1)[0],
                "attention_norm": pack.floats(f"block{i}.attention.norm", 2, self.d),
                "slfn_norm": pack.floats(f"block{i}.slfn.norm", 2, self.d),
            }
            for i in range(self.blocks)
        ]
        self.profile, self.cost = pack.profile, Cost.of_pack(c)
        self.doubtful, self.share_in_doubt = set(pack.doubtful), f32(pack.share_in_doubt)
        self.gates = [self._gate(i, c["skip_width"]) for i in range(self.blocks if c["skip_width"] else 0)]

    def _gate(self, block: int, width: int) -> SkipGate:
        shapes = {"weight": (width, self.pooled_size), "bias": (width,), "output": (width,), "output_bias": (1,)}
        return SkipGate(*(self.pack.floats(f"block{block}.skip.{name}", *shape) for name, shape in shapes.items()))

    def _rows(self, name: str, rows: int, columns: int, bits: int) -> np.ndarray:
        q = unpack_few_bits(self.pack.raw(f"{name}.rows"), rows, columns, bits)
        return self.pack.floats(f"{name}.scale", rows, 1) * (2 * q - (2**bits - 1)).astype(f32)

    def _head(self, exit: int) -> np.ndarray:
        """The weights (classes, pooled size) of an exit."""
        if self.pack.config["exit_bits"] == 0:
            return self.pack.floats(f"exit{exit}.weight", self.classes, self.pooled_size)
        return self._rows(f"exit{exit}", self.classes, self.pooled_size, self.pack.config["exit_bits"])

    def _linear(self, block: int, name: str, rows: int, columns: int, site: int) -> Linear:
        prefix = f"block{block}.{name}"
        return Linear(
            self.pack.floats(f"{prefix}.threshold", columns),
            unpack_bits(self.pack.raw(f"{prefix}.bits"), rows, columns),
            self.pack.floats(f"{prefix}.scale", rows),
            self.pack.floats(f"{prefix}.bias", rows),
            int(self.bits[block, site]),
            self.inverse_step[block, site],
        )

    def _block(self, i: int, state: State, gamma: float, tap: Tap) -> State:
        layer, h, head_size = self.layers[i], state.h, self.d // self.heads
        tokens = len(h)
        kept = tokens if self.profile is None else int(kept_tokens(self.profile[i], gamma, tokens, sum(state.lengths)))
        qkv = layer["qkv"](h)
        tap("qkv", i, qkv)
        q, k, v = (qkv[:, part * self.d : (part + 1) * self.d].reshape(tokens, self.heads, head_size) for part in range(3))
        q = quantize(q, f32(0), self.inverse_step[i, 1], int(self.bits[i, 1]))
        k = quantize(k, f32(0), self.inverse_step[i, 2], int(self.bits[i, 2]))
        context, mass = np.zeros((tokens, self.heads, head_size), f32), np.zeros(tokens, f32)
        for text in filter(np.any, state.of_texts):  # those of a pair do not see each other
            weights = softmax(np.einsum("ihk,jhk->hij", q[text], k[text]).astype(f32) * layer["score_scale"])
            for j, value in enumerate(v[text]):
                context[text] = context[text] + weights[:, :, j].T[:, :, None] * value
            mass[text] = attention_mass(weights)
        context = context.reshape(tokens, self.d)
        tap("context", i, context)
        a = layer_norm(h + layer["output"](context), layer["attention_norm"])
        tap("attention_state", i, a)
        positions, dropped = state.positions, state.dropped
        if kept < tokens:
            tap("mass", i, mass)
            chosen = choose_kept(mass, kept)
            dropped = dropped.copy()
            for place in np.delete(np.arange(tokens), chosen):
                text = int(positions[place] >= state.lengths[0])
                dropped[text] = dropped[text] + a[place]
            a, positions = a[chosen], positions[chosen]
            tap("kept", i, positions)
        hidden = layer["hidden"](a)
        tap("hidden", i, hidden)
        gate, content = sigmoid(hidden[:, : self.gate_rows]), hidden[:, self.gate_rows :]
        content = layer["content"](content if self.form == "rectified" else tanh(content))
        h = layer_norm(a + (layer["gate"](gate) if self.open else gate) * content, layer["slfn_norm"])
        tap("block_state", i, h)
        return State(h, positions, dropped, state.lengths)

    def _embed(self, ids: Sequence[int], segments: Sequence[int] | None, tap: Tap) -> State:
        lengths = (len(ids),) if segments is None else (segments.count(0), segments.count(1))
        x = self.token[list(ids)] + np.concatenate([self.position[:length] for length in lengths])
        if segments is not None:
            x = x + self.segment[segments]
        h = layer_norm(x, self.embedding_norm)
        tap("embedding", 0, h)
        return State(h, np.arange(len(ids)), np.zeros((len(lengths), self.d), f32), lengths)

    def _pool(self, state: State) -> np.ndarray:
        if self.pack.config["pooling"] == 1:
            return state.h[0]
        means = []
        for text, pooled, length in zip(state.of_texts, state.dropped, state.lengths):
            for row in state.h[text]:
                pooled = pooled + row
            means.append(pooled * (f32(1) / f32(length)))
        if len(means) == 1:
            return means[0]
        u, v = means
        return np.concatenate([np.abs(u - v), np.clip(u * v, -LARGEST_FLOAT, LARGEST_FLOAT)])

    def _ngrams(self, ids: Sequence[int]) -> np.ndarray:
        """What the n-grams of an input say about the classes that have a column, (columns)."""
        c = self.pack.config
        found = ngrams.buckets(ids, c["ngram_longest"], c["ngram_buckets"])
        if c["features"] & TEXT_NGRAMS:
            found = np.unique(found)
        at = np.searchsorted(self.ngram_places, found)
        rows = self.ngram_rows[at[np.append(self.ngram_places, -1)[at] == found]]
        q = unpack_few_bits(rows, len(rows), len(self.ngram_scale), c["ngram_bits"])
        total = (q - 2 ** (c["ngram_bits"] - 1)).sum(0).astype(f32)
        return (total * self.ngram_scale) * (f32(1) / np.sqrt(f32(len(found))))

    def whole(self, tokens: Sequence[int]) -> list[int] | None:
        """A text's ids as its n-grams are read, for `walk`; None where they are each window's own."""
        encoder = self.encoder
        return [encoder.cls_id, *tokens, encoder.sep_id] if self.pack.config["features"] & TEXT_NGRAMS else None

    def _calibrated(self, logits: np.ndarray, exit: int) -> np.ndarray:
        """Logits (classes) at the exit's temperature."""
        return logits * self.inverse_temperature[exit]

    def _probabilities(self, y: np.ndarray) -> tuple[np.ndarray, np.float32]:
        """Probabilities (classes) of calibrated logits, and their entropy as a share of the largest one."""
        if self.multi_label:
            probabilities = sigmoid(y)
            a = np.abs(y)
            e = exp(-a)
            s = f32(1) / (f32(1) + e)
            entropy = sum4(ln(f32(1) + e) + a * (e * s))
        else:
            y = y - y.max()
            e = exp(y)
            z = sum4(e)
            probabilities = e * (f32(1) / z)
            entropy = ln(z) - sum4(probabilities * y)
        return probabilities, max(f32(0), entropy * self.inverse_largest_entropy)

    def walk(
        self, ids: Sequence[int], segments: Sequence[int] | None = None, policy: Policy = Policy(), every_exit: bool = False,
        tap: Tap = lambda *_: None, text: Sequence[int] | None = None,
    ) -> Iterator[Reading]:
        """The exits that `policy` reads, one after the other, for one input with [CLS] and [SEP]; whoever decides stops asking.

        `text` are the ids of all of the text, where the input is one of its windows and the n-grams are the text's.
        With `every_exit` those that the rule "off" has no use for are read too. Raises ValueError for a pack of features.
        """
        if self.task == "features":
            raise ValueError("this pack has no classes: it turns texts into vectors; use embed()")
        state = self._embed(ids, segments, tap)
        exit, blocks, prior, pooled = 0, 0, None, None
        work = float(self.cost.embedding(len(ids)))

        def pool() -> None:
            nonlocal pooled, work
            if pooled is None:
                pooled, work = self._pool(state), work + self.cost.pooling(len(state.h))
                tap("pooled", exit, pooled)

        def read() -> Reading:
            nonlocal prior, work
            pool()
            logits = sum4(self.heads_weight[exit] * pooled) + self.heads_bias[exit]
            if prior is not None:
                logits = logits + prior
            else:
                if self.pack.config["ngram_buckets"] > 0:
                    said = self._ngrams(ids if text is None else text)
                    tap("ngrams", 0, said)
                    first = self.classes - len(said)
                    logits[first:] = logits[first:] + said
                prior = logits if self.doubtful.isdisjoint(ids) else self.share_in_doubt * logits
            work += self.cost.exit
            probabilities, entropy = self._probabilities(self._calibrated(logits, exit))
            for name, value in (("logits", logits), ("probabilities", probabilities), ("entropy", np.array([entropy], f32))):
                tap(name, exit, value)
            return Reading(exit, logits, probabilities, entropy, blocks, work)

        last = read()
        yield last
        unread = False
        for i in range(self.blocks):
            if self.gates and policy.skip < 1:
                pool()
                work += self.cost.gate
                gate = self.gates[i](pooled)
                tap("skip", i, np.array([gate], f32))
                if gate > f32(policy.skip):
                    continue
            entering = len(state.h)
            state = self._block(i, state, policy.gamma, tap)
            work += self.cost.block(entering, len(state.h))
            exit, blocks, pooled = i + 1, blocks + 1, None
            unread = policy.rule.kind == "off" and not every_exit and exit < self.blocks
            if not unread:
                last = read()
                yield last
        if unread:
            yield read()
        else:
            last.work = work  # with the gates that skipped the last blocks

    def exits(
        self, ids: Sequence[int], segments: Sequence[int] | None = None, tap: Tap = lambda *_: None, text: Sequence[int] | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.float32]]:
        """Logits (classes), probabilities (classes) and entropy of exit 0, 1, …, all blocks on all tokens."""
        for reading in self.walk(ids, segments, every_exit=True, tap=tap, text=text):
            yield reading.logits, reading.probabilities, reading.entropy

    def pooled(self, ids: Sequence[int], tap: Tap = lambda *_: None) -> np.ndarray:
        """The pooled state (d) after the last block for one input with [CLS] and [SEP], not of unit length."""
        state = self._embed(ids, None, tap)
        for i in range(self.blocks):
            state = self._block(i, state, 0.0, tap)
        pooled = self._pool(state)
        tap("pooled", self.blocks, pooled)
        return pooled

    def embed(self, text: str) -> np.ndarray:
        """The text as a vector (d) of unit length. Raises ValueError for a pack that takes pairs."""
        if self.segment is not None:
            raise ValueError("this pack compares pairs of texts; only a pack for single texts turns a text into a vector")
        windows = self.encoder.windows(self.encoder.tokens([text])[0], self.pack.config["max_tokens"])
        vector = _mean([self.pooled(ids) for ids in windows])
        square = sum4(vector * vector)
        return vector if square == 0 else vector * (f32(1) / np.sqrt(square))

    def _window(self, ids: Sequence[int], segments: Sequence[int] | None, policy: Policy, text: Sequence[int] | None) -> tuple[Reading, Reading, str]:
        """The reading that answers, the last one made, and why it was the last."""
        seen: dict = {}
        before = reading = None
        doubtful = not self.doubtful.isdisjoint(ids)
        for reading in self.walk(ids, segments, policy, text=text):
            if reading.exit == 0 and doubtful:
                continue  # the rule sees nothing of it
            reason = decide(policy.rule, reading.exit, self.blocks, reading.entropy, reading.probabilities, seen, self.multi_label)
            if reason:
                return before if reason == "rising" else reading, reading, reason
            before = reading
        return reading, reading, "last"

    def classify(self, text: str, text_b: str | None = None, policy: Policy | ExitRule | None = None) -> Outcome:
        """Classify a text, or a pair, under `policy` (by default the pack's own exit rule)."""
        if not isinstance(policy, Policy):
            policy = Policy(policy if policy is not None else self.pack.exit_rule)
        limit, whole = self.pack.config["max_tokens"], None
        if text_b is not None:
            a, b = self.encoder.tokens([text, text_b])
            ids, segments, _ = self.encoder.pair(a, b, limit)
            inputs = [(ids, segments)]
        else:
            found = self.encoder.tokens([text])[0]
            inputs = [(ids, None) for ids in self.encoder.windows(found, limit)]
            whole = self.whole(found)
        calibrated, tokens, deepest, reason, blocks, work, dense = None, 0, -1, "", 0, 0.0, 0.0
        for ids, segments in inputs:
            answer, last, why = self._window(ids, segments, policy, whole)
            y = self._calibrated(answer.logits, answer.exit) * f32(len(ids))
            calibrated, tokens = y if calibrated is None else calibrated + y, tokens + len(ids)
            blocks, work, dense = blocks + last.blocks, work + last.work, dense + self.cost.dense(len(ids))
            if last.exit > deepest:
                deepest, reason = last.exit, why
        pooled = answer.probabilities
        if len(inputs) > 1:
            pooled, _ = self._probabilities(calibrated * (f32(1) / f32(tokens)))
        labels = [c for c in np.argsort(-pooled, kind="stable").tolist() if pooled[c] > self.threshold[c]] if self.multi_label else []
        return Outcome(int(pooled.argmax()), labels, pooled, answer.logits, deepest, reason, blocks, len(inputs), work / dense)


def _mean(windows: Sequence[np.ndarray]) -> np.ndarray:
    """The windows of a text, added in order, times one over their number."""
    total = windows[0]
    for values in windows[1:]:
        total = total + values
    return total * (f32(1) / f32(len(windows))) if len(windows) > 1 else total
