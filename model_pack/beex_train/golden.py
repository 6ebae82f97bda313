"""Golden vectors: every intermediate of a few texts, as bits, for the engine to reproduce (tests/golden)."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import torch

from .export import export
from .model import Classifier, ModelConfig
from .pack import (
    CLASS_TEMPERATURES, CONFIG_FIELDS, CONFIG_WORDS, DOUBT, ELIMINATION, RULE_KINDS, SHARE_SHIFT, SHARES_IN_DOUBT, SLFN_FORMS, TASKS, TEXT_NGRAMS, CurvePoint, ExitRule, PackFile, PackWriter, Policy,
    curve_section, doubtful_section, json_section, lines_section, pack_bits, pack_few_bits,
)  # fmt: skip
from .simulate import EXIT_REASONS, Simulator, Tap
from .tokenizer import Encoder, train_vocabulary

TEXTS = [
    "a charming and often affecting journey",
    "unflinchingly bleak and desperate",
    "",
    "Don't — café, naïve 中文 text!",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
]


def _tap(lines: list[str]) -> Tap:
    """Writes NAME INDEX COUNT and a line of 32-bit words, in hex, for every tensor: floats as their bits, integers as they are."""

    def tap(name: str, index: int, values: np.ndarray) -> None:
        values = np.ascontiguousarray(values).ravel()
        words = values.astype(np.float32).view(np.uint32) if values.dtype.kind == "f" else values.astype(np.uint32)
        lines.append(f"{name} {index} {len(words)}")
        lines.append(" ".join(f"{word:08x}" for word in words))

    return tap


def _inputs(simulator: Simulator, texts: Sequence[str], lines: list[str]) -> Iterator[tuple[tuple[str, str | None], list[int], list[int] | None]]:
    """Texts with the ids and segments of their first windows, each after its `text` (or `pair`) and `ids` lines.

    Pairs are made of neighbouring texts when the pack takes pairs.
    """
    limit = simulator.pack.config["max_tokens"]
    for i, text in enumerate(texts):
        if simulator.segment is not None:
            other = texts[(i + 1) % len(texts)]
            lines.append(f"pair {text.encode().hex() or '-'} {other.encode().hex() or '-'}")
            ids, segments, _ = simulator.encoder.pair(*simulator.encoder.tokens([text, other]), limit)
        else:
            other, segments = None, None
            lines.append(f"text {text.encode().hex() or '-'}")
            ids = simulator.encoder.windows(simulator.encoder.tokens([text])[0], limit)[0]
        lines.append(f"ids {len(ids)} " + " ".join(map(str, ids)))
        yield (text, other), ids, segments


def write_golden(pack: bytes, texts: Sequence[str], path: Path) -> None:
    """Write `path` (a `.golden` text file) with all intermediates of `texts` through all of `pack`.

    Longer texts are given by their first window; only `vector`, what `embed` gives for a single text, is of the whole text.
    """
    simulator = Simulator(PackFile(pack))
    lines = ["beex-golden 1"]
    tap = _tap(lines)
    for (text, other), ids, segments in _inputs(simulator, texts, lines):
        if simulator.task == "features":
            simulator.pooled(ids, tap)
        else:
            for _ in simulator.exits(ids, segments, tap):
                pass
        if other is None:
            tap("vector", 0, simulator.embed(text))
    path.write_text("\n".join([*lines, "end", ""]), encoding="ascii")


def write_settings(pack: bytes, texts: Sequence[str], policies: Sequence[Policy], path: Path) -> None:
    """Write `path` (a `.settings` text file): what every text answers under every policy, and what it saw on its way there.

    After a text's `ids` line, for each policy: `setting` GAMMA SKIP KIND THRESHOLD CERTAIN UNCERTAIN FIRST FLAGS, floats as words in hex;
    tensors of its first window, exits read after every block that ran, none left for the rule to stop at: `mass` and `kept` (positions
    in the input) of the blocks that dropped tokens, `skip` of the gates, `pooled`, `logits`, `probabilities`, `entropy`; and of the whole text under the rule `result` (probabilities), `answer` (exit, reason, label, blocks,
    windows) and `work` (the double's low and high word).
    """
    simulator = Simulator(PackFile(pack))
    lines = ["beex-settings 1"]
    tap = _tap(lines)
    told = {"mass", "kept", "skip", "pooled", "logits", "probabilities", "entropy"}
    word = lambda value: f"{np.float32(value).view(np.uint32):08x}"
    for (text, other), ids, segments in _inputs(simulator, texts, lines):
        for policy in policies:
            rule = policy.rule
            floats = " ".join(map(word, (rule.threshold, rule.certain, rule.uncertain)))
            kind, flags = RULE_KINDS.index(rule.kind), int(rule.keep_lower_entropy)
            lines.append(f"setting {word(policy.gamma)} {word(policy.skip)} {kind} {floats} {rule.first_exit} {flags}")
            for _ in simulator.walk(ids, segments, policy, every_exit=True, tap=lambda name, *what: tap(name, *what) if name in told else None):
                pass
            outcome = simulator.classify(text, other, policy)
            tap("result", 0, outcome.probabilities)
            reason = EXIT_REASONS.index(outcome.reason)
            tap("answer", 0, np.array([outcome.exit_block, reason, outcome.label, outcome.blocks_run, outcome.windows]))
            tap("work", 0, np.array([outcome.work]).view(np.uint32))
    path.write_text("\n".join([*lines, "end", ""]), encoding="ascii")


def tiny_pack(form: str, bits: int, pooling: str, inputs: int, seed: int) -> bytes:
    """A tiny pack with random weights: d 64, 2 blocks, 3 classes."""
    torch.manual_seed(seed)
    encoder = Encoder(train_vocabulary(TEXTS * 2, 120))
    config = ModelConfig(
        classes=3, vocabulary_size=len(encoder.vocabulary), hidden_size=64, blocks=2, heads=4, slfn_size=128, max_tokens=16, inputs=inputs,
        activation_bits=bits, embedding_bits=bits, position_bits=8, slfn_form=form, pooling=pooling, dropout=0.0,
    )  # fmt: skip
    model = Classifier(config)
    ids = torch.randint(0, config.vocabulary_size, (8, 16))
    model.initialise(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in ("threshold", "bias", "scale", "exits", "norm")):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    metadata = {"name": f"tiny {form}", "description": "random weights, for tests"}
    rule = ExitRule("fractional", 0.02, certain=0.05, uncertain=0.9)
    return export(model, encoder, ["joy", "fear", "other"], metadata, temperatures=[1.5, 1.0, 0.7], rule=rule)


def random_pack(
    name: str, labels: Sequence[str], seed: int, *, task: str, slfn_form: str, pooling: int, bits: int, ngrams: tuple[int, int, int] = (0, 0, 0),
    exit_bits: int = 0, rule: ExitRule = ExitRule(), blocks: int = 2, profile: Sequence[float] = (), skip_width: int = 0,
    class_temperatures: bool = False, text_ngrams: bool = False, doubtful: Sequence[str] = (), share_in_doubt: float = 1.0, curve: Sequence[CurvePoint] = (),
    inputs: int = 1, hidden_size: int = 64, slfn_size: int = 128, heads: int = 4, tokens: int = 16, vocabulary: Sequence[str] | None = None,
) -> bytes:  # fmt: skip
    """A pack, tiny unless told otherwise, written section by section from random numbers. No network of the trainer is behind it.

    `slfn_form` is bounded or rectified; `ngrams` are buckets, longest and bits; `bits` are those of every activation; `exit_bits`
    are 0 for float exit weights, or 8; `doubtful` are tokens.
    """
    random = np.random.default_rng(seed)
    vocabulary = vocabulary or train_vocabulary(TEXTS * 2, 120)
    d, f = hidden_size, slfn_size
    writer = PackWriter()

    def floats(section: str, low: float, high: float, *shape: int) -> None:
        writer.add(section, random.uniform(low, high, shape).astype(np.float32))

    def rows(section: str, count: int, row_bits: int, size: float = 0.5, columns: int = d) -> None:
        writer.add(f"{section}.rows", pack_few_bits(random.integers(0, 2**row_bits, (count, columns)), row_bits))
        floats(f"{section}.scale", size / 2**row_bits, 3 * size / 2**row_bits, count)

    def linear(section: str, count: int, columns: int, threshold: float, spread: float) -> None:
        floats(f"{section}.threshold", threshold - spread, threshold + spread, columns)
        writer.add(f"{section}.bits", pack_bits(random.integers(0, 2, (count, columns))))
        floats(f"{section}.scale", 0.0, 0.5 / columns**0.5 / 2**bits, count)
        floats(f"{section}.bias", -0.5, 0.5, count)

    def norm(section: str) -> None:
        writer.add(section, np.stack([random.uniform(0.5, 1.5, d), random.uniform(-0.5, 0.5, d)]).astype(np.float32))

    encoder = Encoder(vocabulary)
    values = dict(
        inputs=inputs, task=TASKS.index(task), classes=len(labels), vocabulary_size=len(vocabulary), hidden_size=d, blocks=blocks, heads=heads, slfn_size=f,
        max_tokens=tokens, embedding_bits=4, position_bits=8, slfn_form=SLFN_FORMS.index(slfn_form), pooling=pooling, attention=0,
        normalizer=1, cls_id=encoder.cls_id, sep_id=encoder.sep_id, unk_id=encoder.unk_id,
        ngram_buckets=ngrams[0], ngram_longest=ngrams[1], ngram_bits=ngrams[2], exit_bits=exit_bits,
        skip_width=skip_width,
        features=bool(profile) * ELIMINATION + class_temperatures * CLASS_TEMPERATURES + text_ngrams * TEXT_NGRAMS + bool(doubtful) * DOUBT + (SHARES_IN_DOUBT.index(share_in_doubt) << SHARE_SHIFT),
    )  # fmt: skip
    words = np.zeros(CONFIG_WORDS, np.uint32)
    words[: len(CONFIG_FIELDS)] = [values[field] for field in CONFIG_FIELDS]
    writer.add("config", words)
    writer.add("metadata", json_section({"name": name, "description": "random weights, for tests"}), required=False)
    writer.add("labels", lines_section(labels))
    writer.add("vocabulary", lines_section(vocabulary))
    writer.add("activation.bits", np.full((blocks, 7), bits, np.uint8))
    step = np.float32(2.0 / 2**bits)
    writer.add("activation.inverse_step", np.full((blocks, 7), 1 / step, np.float32))
    rows("embedding", len(vocabulary), 4)
    rows("position", tokens, 8)
    if inputs == 2:
        rows("segment", 2, 8)
    norm("embedding.norm")
    for i in range(blocks):
        linear(f"block{i}.qkv", 3 * d, d, 0.0, 0.2)
        floats(f"block{i}.attention.score_scale", 0.01, 0.05, 1)
        linear(f"block{i}.output", d, d, 0.0, 0.2)
        norm(f"block{i}.attention.norm")
        linear(f"block{i}.hidden", d + f, d, 0.0, 0.2)
        # The rectified form's content is not negative: the second set, whose thresholds are all the same.
        linear(f"block{i}.content", d, f, *((step * (2 ** (bits - 1) - 0.5), 0.0) if slfn_form == "rectified" else (0.0, 0.2)))
        norm(f"block{i}.slfn.norm")
    if ngrams[0] > 0:
        columns = len(labels) - (task == "single")
        kept = random.random(ngrams[0]) < 0.7
        writer.add("ngram.kept", np.packbits(kept, bitorder="little"))
        writer.add("ngram.rows", pack_few_bits(random.integers(0, 2 ** ngrams[2], (kept.sum(), columns)), ngrams[2]))
        floats("ngram.scale", 0.1, 0.5, columns)
    if profile:
        writer.add("elimination.profile", np.array(profile, np.float32))
    if doubtful:
        writer.add("exit0.doubtful", doubtful_section([encoder.vocabulary.index(token) for token in doubtful], len(vocabulary)))
    if task != "features":
        for i in range(blocks if skip_width else 0):
            floats(f"block{i}.skip.weight", -0.5, 0.5, skip_width, inputs * d)
            floats(f"block{i}.skip.bias", -0.2, 0.2, skip_width)
            floats(f"block{i}.skip.output", -1.5, 1.5, skip_width)
            floats(f"block{i}.skip.output_bias", -0.5, 0.5, 1)
        for i in range(blocks + 1):
            if exit_bits == 0:
                floats(f"exit{i}.weight", -0.3, 0.3, len(labels), inputs * d)
            else:
                rows(f"exit{i}", len(labels), exit_bits, 0.15, inputs * d)
            floats(f"exit{i}.bias", -0.5, 0.5, len(labels))
        floats("exit.inverse_temperature", 0.5, 1.5, blocks + 1, len(labels) if class_temperatures else 1)
        if task == "multi":
            floats("threshold.by_label", 0.2, 0.8, len(labels))
        writer.add("exit.rule", rule.pack())
        if curve:
            writer.add("policy.curve", curve_section(curve), required=False)
    return writer.to_bytes()


def tiny_packs() -> dict[str, bytes]:
    """The packs of model_pack/golden by name: together they have every part of the format."""
    return {
        "tiny_open": tiny_pack("open", 4, "mean", 1, 1),
        "tiny_bounded": tiny_pack("bounded", 1, "mean", 2, 2),
        "tiny_rectified": random_pack(
            "tiny rectified", ["joy", "fear", "other"], 3, task="single", slfn_form="rectified", pooling=0, bits=4, ngrams=(256, 3, 2),
            rule=ExitRule("fractional", 0.02, certain=0.05, uncertain=0.9),
        ),
        "tiny_multilabel": random_pack(
            "tiny multi-label", ["joy", "fear", "anger", "surprise", "other"], 4, task="multi", slfn_form="rectified", pooling=1, bits=2,
            ngrams=(512, 2, 4), rule=ExitRule("probability", 0.55, certain=0.3),
        ),
        # An odd number of classes, more than a vector of floats holds.
        "tiny_classes": random_pack(
            "tiny classes", [f"class {i}" for i in range(19)], 6, task="single", slfn_form="bounded", pooling=0, bits=2,
            ngrams=(256, 2, 8), exit_bits=8, rule=ExitRule("fractional", 0.02, certain=0.05, uncertain=0.9),
        ),
        "tiny_features": random_pack("tiny features", [], 5, task="features", slfn_form="bounded", pooling=0, bits=4),
    }  # fmt: skip


def _adaptive_pack(policies: Sequence[Policy]) -> bytes:
    """Elimination, gates of an odd width, temperatures per class, doubt and a curve of the given settings; odd numbers of classes and blocks."""
    names = ["fast", "", "balanced", "accurate"]
    curve = [CurvePoint(0.3 + 0.1 * i, 0.6 + 0.05 * i, policy, name) for i, (policy, name) in enumerate(zip(policies, names))]
    return random_pack(
        "tiny adaptive", ["joy", "fear", "anger", "surprise", "other"], 7, task="single", slfn_form="rectified", pooling=0, bits=4,
        ngrams=(256, 2, 4), rule=ExitRule("fractional", 0.02, certain=0.05, uncertain=0.9), blocks=3, profile=(0.9, 0.6, 0.4), skip_width=7,
        class_temperatures=True, doubtful=("and", "tw"), share_in_doubt=0.5, curve=curve,
    )  # fmt: skip


def adaptive_packs() -> dict[str, tuple[bytes, list[Policy]]]:
    """Packs with elimination and skip gates by name, and the policies under which they are tried."""
    fractional = ExitRule("fractional", 0.02, certain=0.3, uncertain=0.95)
    policies = [
        Policy(ExitRule("entropy", 0.8), gamma=2.5, skip=0.5),
        Policy(fractional, gamma=1.0, skip=0.6),
        Policy(ExitRule("patience", 2), gamma=0.5),
        Policy(ExitRule(), gamma=1.0),
        Policy(ExitRule(), gamma=0.0, skip=0.5),
        Policy(ExitRule(), gamma=1.0, skip=0.0),  # skips every block
        Policy(ExitRule("fractional", 0.5, keep_lower_entropy=True), gamma=16.0),
    ]
    multi = random_pack(
        "tiny adaptive multi-label", ["joy", "fear", "other"], 8, task="multi", slfn_form="bounded", pooling=1, bits=2,
        ngrams=(256, 3, 4), text_ngrams=True, doubtful=("four",), rule=ExitRule("probability", 0.55, certain=0.3), blocks=2, profile=(0.7, 0.3), skip_width=16,
    )  # fmt: skip
    pair = random_pack(
        "tiny adaptive pair", ["same", "other"], 9, task="single", slfn_form="rectified", pooling=0, bits=4, inputs=2, exit_bits=8, ngrams=(256, 2, 4),
        rule=ExitRule("entropy", 0.5), blocks=3, profile=(0.6, 0.4, 0.2), skip_width=8, tokens=32, doubtful=("a", "##teen"),
    )  # fmt: skip
    return {
        "tiny_adaptive": (_adaptive_pack(policies), policies),
        "tiny_adaptive_pair": (pair, [Policy(ExitRule("entropy", 0.7), 1.0, 0.5), Policy(ExitRule(), 2.0), Policy(ExitRule())]),
        "tiny_adaptive_multilabel": (multi, [Policy(ExitRule("probability", 0.9), 1.5, 0.5), Policy(ExitRule(), 0.7, 0.7)]),
    }


def write_all(folder: Path, packs: Path) -> None:
    """Regenerate model_pack/golden: the tiny packs with their vectors, and those of one published pack."""
    folder.mkdir(exist_ok=True)
    for name, pack in tiny_packs().items():
        (folder / f"{name}.beex").write_bytes(pack)
        write_golden(pack, TEXTS, folder / f"{name}.golden")
    for name, (pack, policies) in adaptive_packs().items():
        (folder / f"{name}.beex").write_bytes(pack)
        write_settings(pack, TEXTS, policies, folder / f"{name}.settings")
    write_golden((packs / "sentiment.beex").read_bytes(), TEXTS[:1], folder / "sentiment.golden")
