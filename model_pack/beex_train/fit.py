"""`beex-train fit`: labelled rows to a pack and its report."""

from __future__ import annotations

import hashlib
import math
import random
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch

from . import baseline, exits, report, speed
from .base import DEFAULT as DEFAULT_BASE
from .base import Base
from .data import DataError, Table, class_names, class_targets, clean, held_out_count, hold_out, is_multi_label, overlap
from .devices import rank_and_world
from .doubt import doubtful_words, exit0_shares
from .export import export
from .inputs import Inputs
from .linear import LinearModel, fit_linear, linear_logits
from .model import Classifier, ModelConfig
from .pack import SHARES_IN_DOUBT, SLFN_FORMS, CurvePoint, ExitRule, PackFile
from .passes import all_logits, run
from .restore import base_of_pack
from .simulate import Simulator
from .sizes import sizes
from .teach import mean_soft_labels, teacher_embeddings
from .tokenizer import Encoder, most_used, train_vocabulary
from .train import Plan, Rows, rounds_for, train

WEIGHTS = (0.1, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)  # of heads beside the linear model, to choose from
SKIP_WIDTH = 16  # of the skip gates' hidden layer
MANY_CLASSES = 32  # above, the exits' weights are kept in 8 bits
SPEED_TOKENS = 60_000  # of dev rows on which the named settings are measured
MAX_TOKENS, LEAST_TOKENS = 128, 8  # of a window
WORDS_OF_TEXTS = 2000  # so many texts show whether the base reads them
LEAST_WHOLE_WORDS = 0.6  # of a table's words that the base must have in its vocabulary: of English it has more than three quarters, of a mixture of languages less than half
# Tokens of a batch and learning rate for tables of at most so many tokens: small ones need steps more than they need smooth ones.
STEPS = ((30_000, 256, 8e-4), (100_000, 1024, 1.2e-3), (math.inf, 2048, 1.2e-3))
CHECKED_ROWS = 64  # dev rows on which the pack's simulation is compared with the trained network


@dataclass
class Settings:
    """Options of a run; a recipe (TOML) or the command line sets them. 0 and "auto" mean: decide from the data."""

    name: str = "model"
    description: str = ""
    licence: str = ""
    data: str = ""
    limits: list[str] = field(default_factory=list)  # what people should know before they use the pack
    base: str = "auto"  # a base encoder's file or a pack, "none", or "auto": the one that comes with the trainer, if it knows the texts' words and keep_case is not set
    base_pieces: int = 0  # word pieces of the base to keep, those that the texts use most; 0: all
    more_pieces: str = ""  # another base's file, or "auto": word pieces that a base for one task, or a pack, did without are added from it, in as many bits
    blocks: int = 0
    drop_blocks: bool = True  # leave out last blocks that do not help on held-out rows
    drop_within: float = 0.25  # standard errors of the loss there by which fewer blocks may be worse
    doubt: bool = True  # look for words with which exit 0 does not answer alone
    doubtful: list[str] = field(default_factory=list)  # word pieces that are such in any case
    share_in_doubt: float = 1.0  # of exit 0's logits, which later exits add where there is such a word; 0.5, 0.25 or 0.125 for words that turn what others say
    ngrams: bool = True  # the linear model inside
    ngram_longest: int = 2
    text_ngrams: bool = True  # its n-grams are those of the whole text, each bucket once; or else of a window, every run
    ngram_buckets: int = 524_288  # most buckets that they are hashed to,
    ngram_bytes: int = 320_000  # most bytes of the rows that some buckets have, and
    ngram_rows: int = 131_072  # most such rows
    rounds: float = 0.0  # over the training rows
    windows: int = 1  # of a long text that learn together, drawn at random in every round
    activation_bits: int = 0  # the base's, or 4
    batch_tokens: int = 0
    learning_rate: float = 0.0
    token_dropout: float = 0.05
    dropout: float = 0.1
    prior_dropout: float = 0.5  # share of the rows of a step that learn without what the linear model says
    hard_weight: float = 0.5  # of the given label where a row has a soft label too
    hold_out: int = 0  # rows for calibration, thresholds and exit rule, of a small table a quarter at most; 0: a tenth, 100 to 1,000
    most_work: float = 0.5  # share of the blocks that texts run on average under the pack's exit rule
    elimination: float = 0.0  # share of the rows that learn with fewer tokens, in later steps; a pack has a profile in any case
    skip_budget: float = 0.0  # share of the blocks that skip gates let run; 0: no gates
    contrast: float = 0.0  # weight of cross-layer contrast
    head_rounds: float = 0.0  # of a second stage in which the exits alone learn
    last_exit_only: bool = False  # no soft routing: the last exit's loss alone trains the network
    surrogate: str = "second-order"  # or straight-through, tanh: the sign's gradient
    magnitude_aware: bool = True  # the size of a row of weights in its gradient
    most_rows: int = 200_000
    seed: int = 1
    float_twin: bool = False
    max_tokens: int = 0  # of a window; 0: the base's, or 128
    # Without a base:
    hidden_size: int = 192
    heads: int = 6
    slfn_size: int = 384
    slfn_form: str = "bounded"
    pooling: str = "mean"
    vocabulary_size: int = 8192
    keep_case: bool = False  # and accents
    embedding_bits: int = 4
    teacher_embeddings: str = ""  # package or folder whose word vectors start the embeddings

    def load_base(self) -> Base | None:
        """The base encoder to start from, if any. Raises DataError for one that cannot be read, and PackError for such a pack."""
        if self.base == "none" or (self.base == "auto" and (self.keep_case or not DEFAULT_BASE.exists())):
            if self.more_pieces:
                raise DataError("more pieces are added to those of a base or a pack: name one with --base, or leave --more-pieces out")
            return None
        named = lambda path: Base.load(DEFAULT_BASE if path == "auto" else Path(path))
        base = base_of_pack(PackFile.open(self.base)) if self.base.endswith(".beex") else named(self.base)
        return base.with_more_pieces(named(self.more_pieces)) if self.more_pieces else base

    def model(self, base: Base | None, **data: Any) -> ModelConfig:
        """The network that these settings describe, for the `data`'s classes, task, inputs and vocabulary."""
        if base is not None:
            bits = self.activation_bits or base.config.activation_bits
            same = {key: getattr(self, key) for key in ("dropout", "surrogate", "magnitude_aware")}
            config = base.encoder_config(self.blocks, activation_bits=bits, **same, **data)
        else:
            own = {k: v for k, v in asdict(self).items() if k in ModelConfig.__dataclass_fields__ and k not in data}
            config = ModelConfig(**own | {"blocks": self.blocks or 3, "activation_bits": self.activation_bits or 4, "max_tokens": self.max_tokens or MAX_TOKENS}, **data)
        return config.float_twin() if self.float_twin else config


@dataclass
class Prepared:
    """Everything before training."""

    settings: Settings
    base: Base | None
    encoder: Encoder
    names: list[str]
    multi: bool
    rows: Rows
    held_out: Rows
    dev: Rows | None
    table: Table  # the rows that are trained on, for the linear comparison
    dev_table: Table | None
    for_linear: tuple[Inputs, np.ndarray] | None  # inputs and targets (rows, classes) that the linear model alone learns from
    linear: LinearModel | None
    config: ModelConfig
    notes: list[str]


@dataclass
class Fitted:
    """The outcome of `fit`."""

    pack: bytes | None  # None for a float twin, and for forms that are for comparison only
    report: dict[str, Any]


def known_words(base: Base, texts: Sequence[str], seed: int) -> float:
    """Share of the words of some texts, drawn with `seed`, that are whole in the base's vocabulary."""
    return Encoder(base.vocabulary).whole_words(random.Random(seed).sample(texts, min(WORDS_OF_TEXTS, len(texts))))


def prepare(
    settings: Settings, table: Table, dev: Table | None, soft_labels: Sequence[Path] = (), linear_labels: Sequence[Path] = ()
) -> Prepared:
    """Clean rows, vocabulary, encoded inputs with their targets, held-out rows and the linear model. Of several `soft_labels` (outputs of `teach`) the mean
    is taken; the linear model inside also learns from the texts of `linear_labels`. Raises DataError for rows, labels or settings of which no network can be made."""
    read = table.notes
    if settings.max_tokens and settings.max_tokens < LEAST_TOKENS:
        raise DataError(f"windows of {settings.max_tokens} tokens are too short for words; {LEAST_TOKENS} are the fewest")
    if settings.share_in_doubt not in SHARES_IN_DOUBT:
        raise DataError(f"--share-in-doubt is 1, 0.5, 0.25 or 0.125, not {settings.share_in_doubt:g}")
    table, notes = clean(table)
    notes = read + notes
    names, multi = class_names(table), is_multi_label(table)
    paired = table.texts_b is not None
    if paired and (soft_labels or linear_labels):
        raise DataError("soft labels are for single texts; leave them out for pairs")
    if dev is not None:
        class_targets(dev, names)  # unknown labels are better found before training
        if shared := overlap(table, dev):
            notes.append(f"{shared:,} dev rows also occur in the training rows: the report flatters")
    settings = replace(settings, hold_out=held_out_count(table, settings.hold_out))
    kept, held = hold_out(table, settings.hold_out)
    fitting, held_table = table.rows(kept), table.rows(held)

    hidden = set(held_table.texts) | (set(dev.texts) if dev is not None else set())
    unseen = lambda paths: {text: row for text, row in mean_soft_labels(paths, names).items() if text not in hidden}
    soft, for_linear = unseen(soft_labels), unseen(linear_labels)
    targets = class_targets(fitting, names)
    for row, text in enumerate(fitting.texts):
        if text in soft:
            targets[row] = settings.hard_weight * targets[row] + (1 - settings.hard_weight) * soft.pop(text)
    texts = fitting.texts + list(soft)
    targets = np.concatenate([targets, np.array(list(soft.values()), np.float32).reshape(-1, len(names))])

    base = settings.load_base()
    if settings.base.endswith(".beex"):
        notes.append(
            "training goes on from a pack: if it was trained on rows of the same data, give the same file and --hold-out, so that the same rows are held out; else "
            "calibration and exit rule are chosen on rows that it knows"
        )
    if base is not None and settings.base == "auto" and (share := known_words(base, fitting.texts, settings.seed)) < LEAST_WHOLE_WORDS:
        notes.append(
            f"the base encoder reads English, and knows {100 * share:.0f} % of the words here: training starts from nothing instead, with a vocabulary "
            "of these texts, as with --base none --keep-case"
        )
        base, settings = None, replace(settings, base="none", keep_case=True)
    if base is not None:
        if settings.base_pieces:
            base = base.with_vocabulary(most_used(base.vocabulary, texts + (fitting.texts_b or []), settings.base_pieces, settings.doubtful))
        base = base.with_positions(settings.max_tokens or base.config.max_tokens)
        encoder, most = Encoder(base.vocabulary), base.config.max_tokens
    else:
        encoder = Encoder(train_vocabulary(texts + (fitting.texts_b or []), settings.vocabulary_size, not settings.keep_case), not settings.keep_case)
        most = settings.max_tokens or MAX_TOKENS
    if unknown := sorted(set(settings.doubtful) - set(encoder.vocabulary)):
        raise DataError(f"doubtful words must be whole in the vocabulary, and {', '.join(map(repr, unknown))} are not; leave them out")
    inputs = Inputs.encode(encoder, texts, fitting.texts_b, most)
    if inputs.windowed:
        cut = "cut at the end of the longer text" if paired else "read in windows"
        notes.append(f"{inputs.windowed:,} of {len(texts):,} rows are longer than {most} tokens: {cut}")

    data: dict[str, Any] = {"ngram_buckets": 0, "text_ngrams": False, "exit_bits": 8 if len(names) > MANY_CLASSES else 32, "classes": len(names), "task": "multi" if multi else "single", "inputs": 2 if paired else 1, "vocabulary_size": len(encoder.vocabulary)}
    linear = more = None
    if settings.ngrams:
        known = set(texts)
        if for_linear := {text: row for text, row in for_linear.items() if text not in known}:
            more = Inputs.encode(encoder, list(for_linear), None, most), np.array(list(for_linear.values()))
        tokens = sum(map(len, inputs.ids + (more[0].ids if more else [])))
        most_rows = min(settings.ngram_rows, 8 * settings.ngram_bytes // (ModelConfig.ngram_bits * (len(names) - (not multi))))
        # So few rows of many classes fit that it is better if n-grams share them than if most have none.
        most_buckets = min(settings.ngram_buckets, most_rows if len(names) > MANY_CLASSES else 2 * tokens)
        buckets = 1 << max(8, most_buckets.bit_length() - 1)
        data |= {"ngram_buckets": buckets, "ngram_bits": ModelConfig.ngram_bits, "ngram_longest": settings.ngram_longest, "text_ngrams": settings.text_ngrams}
    if settings.skip_budget:
        data["skip_width"] = SKIP_WIDTH
    config = settings.model(base, **data)
    config.check()
    if settings.ngrams:
        linear = fit_linear(inputs, targets, config, settings.seed, most_rows, more)
    of = lambda t: Rows(Inputs.of(encoder, t, most), class_targets(t, names))
    return Prepared(
        settings, base, encoder, names, multi, Rows(inputs, targets, linear.out_of_fold if linear else None), of(held_table),
        of(dev) if dev is not None else None, fitting, dev, more, linear, config, notes,
    )  # fmt: skip


def build(prepared: Prepared) -> Classifier:
    """A network at its starting point."""
    settings = prepared.settings
    torch.manual_seed(settings.seed)
    model = Classifier(prepared.config)
    model.doubtful, model.share_in_doubt = [prepared.encoder.vocabulary.index(word) for word in settings.doubtful], settings.share_in_doubt
    if prepared.base is not None:
        prepared.base.start(model)
    elif settings.teacher_embeddings:
        rows = teacher_embeddings(settings.teacher_embeddings, prepared.encoder.vocabulary, settings.hidden_size)
        with torch.no_grad():
            model.embeddings.token.copy_(0.3 * rows / rows.std())
    if prepared.linear is not None:
        # Fitted already, and kept: training it on would undo what the out-of-fold logits are for.
        with torch.no_grad():
            model.ngrams.keep(prepared.linear.places, prepared.linear.rows)
            model.exits[0].bias.copy_(torch.from_numpy(prepared.linear.bias))
        model.ngrams.rows.requires_grad_(False)
        prepared.rows.linear = prepared.linear.out_of_fold - prepared.linear.bias
    return model


def origin(prepared: Prepared) -> str:
    """A hash of all that training starts from beside the settings: the rows, what is wanted of them, and the base."""
    digest = hashlib.sha256()
    for inputs, targets in ((prepared.rows.inputs, prepared.rows.targets), *([prepared.for_linear] if prepared.for_linear else [])):
        digest.update(targets.tobytes())
        for ids in inputs.ids:
            digest.update(np.array(ids, np.int32).tobytes())
    for value in prepared.base.state.values() if prepared.base is not None else ():
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def step_for(tokens_a_round: int) -> tuple[int, float]:
    """Tokens of a batch and the learning rate for so many tokens in a round."""
    return next((batch, rate) for most, batch, rate in STEPS if tokens_a_round <= most)


def plan_of(prepared: Prepared) -> Plan:
    """Settings, with what they leave open decided from the data."""
    settings = prepared.settings
    tokens = prepared.rows.inputs.tokens_a_round(settings.windows)
    from_base = prepared.base is not None
    batch_tokens, rate = step_for(tokens)
    return Plan(
        rounds=settings.rounds or rounds_for(tokens),
        batch_tokens=settings.batch_tokens or batch_tokens,
        learning_rate=settings.learning_rate or (rate if from_base else min(rate, 1e-3)),
        token_dropout=settings.token_dropout,
        seed=settings.seed,
        **{key: getattr(settings, key) for key in ("prior_dropout", "windows", "elimination", "skip_budget", "contrast", "head_rounds", "last_exit_only")},
    )


def fit(
    settings: Settings, table: Table, dev: Table | None, soft_labels: Sequence[Path], checkpoint: Path, compile: bool = False,
    device: str = "cpu", linear_labels: Sequence[Path] = (),
) -> Fitted:  # fmt: skip
    """Train, calibrate on held-out training rows, choose size, thresholds and exit rule there, measure on `dev`, export.

    Of several processes (torchrun) only the first has an outcome.
    """
    started = time.monotonic()
    prepared = prepare(settings, table, dev, soft_labels, linear_labels)
    for note in prepared.notes:
        print(f"note: {note}", file=sys.stderr)
    model = build(prepared).to(device)
    encoder = prepared.encoder
    earlier = train(
        model, plan_of(prepared), (encoder.cls_id, encoder.sep_id), encoder.unk_id, prepared.rows, prepared.held_out, prepared.dev,
        checkpoint, compile, origin(prepared),
    )
    if rank_and_world()[0] > 0:
        return Fitted(None, {})  # one process is enough for the rest
    fitted = finish(prepared, model)
    fitted.report["seconds"] = round(earlier + time.monotonic() - started, 1)
    return fitted


def finish(prepared: Prepared, model: Classifier) -> Fitted:
    """Calibrate, choose size, thresholds and rule, measure and export a trained network."""
    settings, names, multi, held = prepared.settings, prepared.names, prepared.multi, prepared.held_out
    weights = [1.0] * len(model.exits)
    # Without held-out rows nothing can be chosen, and every block runs.
    calibration = Calibration(np.ones(len(model.exits)), [0.5] * len(names) if multi else None, ExitRule())
    if len(held.targets):
        weights = weigh_heads(model, held)
        if settings.drop_blocks:
            model.keep_blocks(useful_blocks(all_logits(model, held.inputs), held.targets, multi, settings.drop_within))
        calibration = calibrate_in_doubt(prepared, model)
    curve = speed.curve(model, held.inputs, held.targets, calibration.temperatures, calibration.thresholds)
    out: dict[str, Any] = {
        "rows": len(prepared.table), "held_out_rows": len(held.targets), "notes": prepared.notes, "plan": asdict(plan_of(prepared)), "blocks": model.config.blocks,
        "linear_penalty": prepared.linear.penalty if prepared.linear else None, "linear_telling": prepared.linear.telling if prepared.linear else None,
        "head_weights": weights,
        "temperatures": calibration.temperatures.round(4).tolist(), "thresholds": calibration.thresholds,
        "exit_rule": asdict(calibration.rule), "doubtful": [prepared.encoder.vocabulary[token] for token in model.doubtful],
        "share_in_doubt": model.share_in_doubt, "profile": model.profile,
        "curve": [point.describe() for point in curve],
    }  # fmt: skip
    dev_logits = None
    if prepared.dev is not None:
        dev_logits, costs = run(model, prepared.dev.inputs)
        out["dev"], right, exit_of_input = measure(dev_logits, costs, calibration, prepared.dev, names)
        out["dev"]["speeds"] = measure_speeds(model, curve, calibration, prepared.dev)
        compare_with_linear(prepared.table, prepared.dev_table, out["dev"], right)
    if settings.float_twin or model.config.slfn_form not in SLFN_FORMS:
        return Fitted(None, out)  # no pack holds it

    def packed() -> bytes:
        return export(
            model, prepared.encoder, names, describe(prepared, model, out), calibration.temperatures, calibration.rule, calibration.thresholds,
            curve,
        )  # fmt: skip

    pack = packed()
    if dev_logits is not None and prepared.dev_table.texts_b is None:
        out["export"] = compare_with_simulation(PackFile(pack), prepared.dev_table, prepared.dev.inputs, dev_logits, exit_of_input)
        if warning := pack_differs(out["export"]):
            print(f"note: {warning}", file=sys.stderr)
            out["notes"] = [*prepared.notes, warning]
        pack = packed()
    out["size"] = sizes(pack)
    return Fitted(pack, out)


def weigh_heads(model: Classifier, held: Rows) -> list[float]:
    """How much each exit's own head counts beside the linear model, which all exits share: what gives the least calibrated loss on held-out rows, with a normal prior
    for the logarithm that pulls few rows to 1. Heads are multiplied by it, in place: the network learnt beside another linear model (linear.py)."""
    if model.ngrams is None:
        return [1.0] * len(model.exits)
    multi, merge = model.config.task == "multi", held.inputs.merge
    said = linear_logits(model, held.inputs).numpy() + model.exits[0].bias.detach().cpu().numpy()
    (first, *later), costs = run(model, held.inputs)
    share = exit0_shares(model, costs.doubtful)[:, None]
    own = [merge(first - said), *(merge(logits - share * first) for logits in later)]
    believed, own_believed, said = merge(share * said), merge(share * (first - said)), merge(said)

    def losses(z: np.ndarray, head: np.ndarray, weights: Sequence[float]) -> np.ndarray:
        of_rows = exits.calibrated_losses(np.stack([z + weight * head for weight in weights]), held.targets, multi)
        return of_rows.mean(1) + np.log(weights) ** 2 / len(held.targets)

    best: list[float] = []
    least = math.inf
    for weight, lost in zip(WEIGHTS, losses(said, own[0], WEIGHTS)):
        beside = [losses(believed + weight * own_believed, head, WEIGHTS) for head in own[1:]]
        total = lost + sum(each.min() for each in beside)
        if total < least:
            least, best = total, [weight, *(WEIGHTS[int(each.argmin())] for each in beside)]
    with torch.no_grad():
        for i, (head, weight) in enumerate(zip(model.exits, best)):
            head.weight.mul_(weight)
            if i > 0:  # the first one's is the linear model's
                head.bias.mul_(weight)
    return best


@dataclass
class Calibration:
    """What is chosen on held-out rows."""

    temperatures: np.ndarray  # (exits,) or (exits, classes)
    thresholds: list[float] | None  # of a multi-label task
    rule: ExitRule


def calibrate(logits: np.ndarray, costs: exits.Costs, held: Rows, multi: bool, most_work: float) -> Calibration:
    """Temperatures, thresholds and exit rule from logits (exits, inputs, classes)."""
    targets = held.targets
    merged = held.inputs.merge(logits)
    temperatures = exits.choose_temperatures(merged, targets, multi)
    thresholds = exits.fit_thresholds(exits.probabilities(merged[-1] / temperatures[-1], True), targets) if multi else None
    rule = exits.Exits(logits, temperatures, targets, thresholds, held.inputs, costs).choose_rule(most_work)
    return Calibration(temperatures, thresholds, rule)


def calibrate_in_doubt(prepared: Prepared, model: Classifier) -> Calibration:
    """Calibrate, and give the network the words with which exit 0 does not answer alone (doubt.py): those of the settings, which it has already, and those that are
    found, unless answers on held-out rows, where they may be rare, become worse by more than chance, or no rule is cheap enough any more.

    They are looked for where rows have one label and there is a linear model, and in the table's own rows: other texts, with soft labels, may be harder as a whole,
    and whatever marks them would be found.
    """
    held, encoder, settings, multi = prepared.held_out, prepared.encoder, prepared.settings, prepared.multi

    def beside(words: Sequence[int]) -> tuple[Calibration, np.ndarray]:
        """The calibration, and how bad the answers on held-out rows are."""
        model.doubtful = words
        logits, costs = run(model, held.inputs)
        calibration = calibrate(logits, costs, held, multi, settings.most_work)
        ready = exits.Exits(logits, calibration.temperatures, held.targets, calibration.thresholds, held.inputs, costs)
        return calibration, ready.losses(ready.route(calibration.rule).answers)

    named = model.doubtful
    calibration, losses = beside(named)
    if not settings.doubt or prepared.linear is None or multi:
        return calibration
    own = np.array(prepared.rows.inputs.row) < len(prepared.table)
    found = doubtful_words(prepared.rows.inputs.take(np.flatnonzero(own)), prepared.rows.targets, prepared.linear.out_of_fold[own], (encoder.cls_id, encoder.sep_id))
    words = sorted({*named, *found})
    if len(words) == len(named):
        return calibration
    other, other_losses = beside(words)
    difference = other_losses - losses
    if other.rule.kind != calibration.rule.kind or difference.mean() > settings.drop_within * difference.std() / len(difference) ** 0.5:
        model.doubtful = named
        return calibration
    return other


def useful_blocks(logits: np.ndarray, targets: np.ndarray, multi: bool, within: float) -> int:
    """The fewest blocks whose last exit is as good as the best on held-out rows, give or take `within` standard errors of the loss difference;
    one at least."""
    losses = exits.calibrated_losses(logits, targets, multi)
    best = 1 + int(losses[1:].mean(-1).argmin())
    for blocks in range(1, best):
        difference = losses[blocks] - losses[best]
        if difference.mean() <= within * difference.std() / len(targets) ** 0.5:
            return blocks
    return best


def measure(
    logits: np.ndarray, costs: exits.Costs, calibration: Calibration, dev: Rows, names: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """The report of dev rows, at full depth and with the exit rule, which rows are right at full depth, and where the rule stops each input.

    `logits` are those of the rows' inputs, (exits, inputs, classes).
    """
    ready = exits.Exits(logits, calibration.temperatures, dev.targets, calibration.thresholds, dev.inputs, costs)
    routed, whole = ready.route(calibration.rule), ready.route(ExitRule())
    out = {
        **report.measure(whole.answers, dev.targets, names, calibration.thresholds),
        "accuracy_by_exit": [float(a) for a in ready.right.mean(-1)],
        "calibration_error_by_exit": ready.calibration_errors(),
        "accuracy_with_exits": routed.accuracy,
        "mean_depth": routed.depth(ready.last),
        "rows_by_exit": np.bincount(routed.deepest, minlength=ready.last + 1).tolist(),
    }
    return out, ready.right[-1], routed.exit


def measure_speeds(model: Classifier, curve: Sequence[CurvePoint], calibration: Calibration, dev: Rows) -> list[dict[str, Any]]:
    """Work, as a share of the dense cost, and accuracy of the curve's named settings on dev rows, or on many of them where texts are long."""
    named = [point for point in curve if point.name]
    inputs, rows = dev.inputs.some_rows(SPEED_TOKENS, speed.FEWEST_ROWS)
    policies = [point.policy for point in named]
    found = speed.measure(model, inputs, dev.targets[rows], calibration.temperatures, calibration.thresholds, policies)
    return [{"name": point.name, "rows": len(rows), "work": m.work, "accuracy": m.accuracy} for point, m in zip(named, found)]


def compare_with_linear(train: Table, dev: Table, ours: dict[str, Any], right: np.ndarray) -> None:
    """Put a quick TF-IDF + logistic regression of the same rows beside our report, and whether it would do as well."""
    linear = baseline.linear_baseline(train, dev, quick=True)
    targets = class_targets(dev, class_names(train))
    ours["linear"] = linear.scores
    ours["verdict"] = report.verdict(right, report.right_rows(linear.decided, targets))


def compare_with_simulation(pack: PackFile, dev: Table, inputs: Inputs, logits: np.ndarray, exit_of_input: np.ndarray) -> dict[str, Any]:
    """The pack's simulation (simulate.py) against the network that was trained, on some texts that fit one window: logits, and where its exit rule stops."""
    simulator = Simulator(pack)
    largest, close, same, rows = 0.0, 0, 0, 0
    first_input = {row: i for i, row in reversed(list(enumerate(inputs.row)))}
    for row, ids in enumerate(simulator.encoder.tokens(dev.texts)):
        windows = simulator.encoder.windows(ids, pack.config["max_tokens"])
        if len(windows) > 1:
            continue
        exact = np.stack([z for z, _, _ in simulator.exits(windows[0])])
        trained = logits[:, first_input[row]]
        difference = float(np.abs(exact - trained).max())
        rows += 1
        stopped = simulator.classify(dev.texts[row]).exit_block
        largest, close, same = max(largest, difference), close + (difference < 1e-3), same + (stopped == exit_of_input[first_input[row]])
        if rows == CHECKED_ROWS:
            break
    return {"rows": rows, "largest_logit_difference": largest, "rows_within_0.001": close, "rows_with_the_same_exit": int(same)}


def pack_differs(export: dict[str, Any]) -> str:
    """A sentence for a pack that is not the network that was trained, from what `compare_with_simulation` found; "" for one that is, give or take a few rows:
    float32 adds up in another order there, and a value at the edge between two levels can fall to either side."""
    if 2 * export["rows_within_0.001"] >= export["rows"]:
        return ""
    return (
        f"the pack's logits differ from those of the trained network in {export['rows'] - export['rows_within_0.001']} of {export['rows']} dev rows, by up to "
        f"{export['largest_logit_difference']:.2g}; the figures are the network's"
    )


def size_report(model: Classifier) -> dict[str, int]:
    """Bytes of the float twin and of the binarized matrices, for the size ratio."""
    layers = model.binary_layers()
    weights = sum(layer.weight.numel() for layer in layers)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "binary_weights": weights,
        "binary_matrix_bytes": weights // 8 + sum(4 * layer.scale.numel() for layer in layers),
        "binary_matrix_bytes_float_twin": 4 * weights,
    }


def describe(prepared: Prepared, model: Classifier, report: dict[str, Any]) -> dict[str, Any]:
    """The pack's metadata."""
    settings, people = prepared.settings, ("name", "description", "licence", "data", "limits")
    return {
        **{key: getattr(settings, key) for key in people},
        "base": prepared.base.about if prepared.base is not None else None,
        "training": {key: value for key, value in asdict(settings).items() if key not in people} | {"base": Path(settings.base).name},
        "size": size_report(model),
        "metrics": report,
    }
