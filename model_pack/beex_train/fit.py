"""Training: labelled rows (and optional soft labels) to a trained network, and its report."""

from __future__ import annotations

import math
import random
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from . import exits
from .data import DataError, Table, class_indices, class_names, hold_out
from .export import export
from .model import Classifier, ModelConfig, soft_routing_loss
from .pack import ExitRule, PackFile
from .simulate import Simulator
from .teach import read_soft_labels, teacher_embeddings
from .tokenizer import Encoder, train_vocabulary


SAVE_SECONDS = 120.0  # between checkpoints, and between looks at the dev rows


@dataclass
class Settings:
    """Options of a run; a recipe (TOML) or the command line sets them."""

    name: str = "model"
    description: str = ""
    licence: str = ""
    data: str = ""
    hidden_size: int = 192
    blocks: int = 4
    heads: int = 6
    slfn_size: int = 384
    slfn_form: str = "bounded"
    pooling: str = "mean"
    max_tokens: int = 128
    vocabulary_size: int = 8192
    activation_bits: int = 4
    embedding_bits: int = 4
    surrogate: str = "second-order"
    dropout: float = 0.1
    token_dropout: float = 0.05
    epochs: float = 0.0  # 0: see `steps_of`
    batch_tokens: int = 2048
    learning_rate: float = 1e-3
    hard_weight: float = 0.5  # of the given label where a row has a soft label too
    hold_out: int = 1000  # rows for calibration and exit rule
    seed: int = 1
    teacher_embeddings: str = ""  # package or folder whose word vectors start the embeddings
    float_twin: bool = False

    def model(self, classes: int, vocabulary_size: int, inputs: int) -> ModelConfig:
        """The network that these settings describe."""
        shared = {k: v for k, v in asdict(self).items() if k in ModelConfig.__dataclass_fields__ and k != "vocabulary_size"}
        config = ModelConfig(classes=classes, vocabulary_size=vocabulary_size, inputs=inputs, **shared)
        return config.float_twin() if self.float_twin else config


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

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, tokens: int, seed: int | None) -> list[list[int]]:
        """Groups of inputs of similar length, about `tokens` tokens each with padding; shuffled with `seed`, or by length."""
        order = list(range(len(self)))
        generator = random.Random(seed)
        if seed is not None:
            generator.shuffle(order)
            chunk = 4096
            order = [i for start in range(0, len(order), chunk) for i in sorted(order[start : start + chunk], key=lambda i: len(self.ids[i]))]
        else:
            order.sort(key=lambda i: len(self.ids[i]))
        groups: list[list[int]] = []
        longest = 0
        for i in order:
            longest = max(longest, len(self.ids[i]))
            if not groups or longest * (len(groups[-1]) + 1) > tokens:
                groups.append([])
                longest = len(self.ids[i])
            groups[-1].append(i)
        if seed is not None:
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


@torch.no_grad()
def all_logits(model: Classifier, inputs: Inputs, rows: int) -> np.ndarray:
    """Logits (exits, rows, classes); several windows of a row are averaged as probabilities and returned as their logarithm."""
    model.eval()
    paired, device = model.config.inputs == 2, model.embeddings.token.device
    each = np.zeros((len(model.exits), len(inputs), model.config.classes), np.float32)
    for group in inputs.batches(16_384, None):
        each[:, group] = model(*inputs.tensors(group, paired, device)).float().cpu().numpy()
    if len(inputs) == rows:
        return each
    total = np.zeros((len(model.exits), rows, model.config.classes), np.float64)
    np.add.at(total, (slice(None), inputs.row), np.exp(exits.log_softmax(each)))
    return np.log(total / total.sum(-1, keepdims=True)).astype(np.float32)


class Progress:
    """One line: share, loss, dev accuracy, time left. Rewritten in a terminal, printed now and then elsewhere."""

    def __init__(self, total: int, first: int):
        self.total, self.first, self.started, self.shown = total, first, time.monotonic(), 0.0

    def show(self, step: int, loss: float, dev: str, force: bool = False) -> None:
        """Report after `step` steps."""
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if not force and now - self.shown < (0.5 if terminal else 60):
            return
        self.shown = now
        left = (now - self.started) / max(1, step - self.first) * (self.total - step)
        line = f"{100 * step / self.total:5.1f} %  loss {loss:.4f}  dev {dev}  {left / 60:.0f} min left"
        print(f"\r{line}\x1b[K" if terminal else line, end="" if terminal and not force else "\n", file=sys.stderr, flush=True)


def _parameter_groups(model: Classifier, learning_rate: float) -> list[dict[str, Any]]:
    latent = {id(layer.weight) for layer in model.binary_layers()}
    others = [p for p in model.parameters() if id(p) not in latent]
    # No weight decay anywhere: it would pull latent weights towards the sign's jump, and scales and norms towards zero.
    return [
        {"params": [p for p in model.parameters() if id(p) in latent], "lr": 2 * learning_rate, "weight_decay": 0.0},
        {"params": others, "lr": learning_rate, "weight_decay": 0.0},
    ]


def steps_of(epochs: float, batches: int) -> int:
    """Optimizer steps of a run. Without a number of epochs: 1,500, but no less than 5 epochs and no more than 40."""
    return max(1, round(epochs * batches)) if epochs else min(max(1500, 5 * batches), 40 * batches)


def train(
    model: Classifier, settings: Settings, encoder: Encoder, inputs: Inputs, target: Tensor, dev: tuple[Inputs, list[int]] | None,
    checkpoint: Path, compile: bool = False,
) -> None:  # fmt: skip
    """Train in place. `target` holds class probabilities per row; saves to `checkpoint` every SAVE_SECONDS and resumes from it.

    A resumed run on the CPU ends with the same weights as an uninterrupted one with the same number of threads.
    """
    paired, device = model.config.inputs == 2, model.embeddings.token.device
    target = target.to(device)
    kept = torch.tensor([encoder.cls_id, encoder.sep_id], device=device)
    first_epoch = inputs.batches(settings.batch_tokens, settings.seed)
    total = steps_of(settings.epochs, len(first_epoch))
    optimizer = torch.optim.AdamW(_parameter_groups(model, settings.learning_rate), betas=(0.9, 0.98))
    warm_up = max(1, total // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / total)))
    )
    torch.manual_seed(settings.seed)
    step = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False, map_location=device)
        if state["settings"] != asdict(settings):
            raise DataError(f"{checkpoint}: left by a run with other settings; delete it, or use the same settings to go on")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"].cpu())
        step = state["step"]
        print(f"going on after step {step} of {total}", file=sys.stderr)
    else:
        model.initialise(*inputs.tensors(first_epoch[0], paired, device))

    def save() -> None:
        state = {
            "settings": asdict(settings), "model": model.state_dict(), "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(), "random": torch.get_rng_state(), "step": step,
        }  # fmt: skip
        temporary = checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(checkpoint)

    def steps() -> Iterator[list[int]]:
        epoch = step // len(first_epoch)
        while True:
            groups = inputs.batches(settings.batch_tokens, settings.seed + epoch)
            # Later epochs may pack into another number of batches; the first one's number defines an epoch.
            groups = (groups * 2)[: len(first_epoch)]
            yield from groups[step - epoch * len(first_epoch) :]
            epoch += 1

    forward = torch.compile(model, dynamic=True) if compile else model
    progress, running, dev_text = Progress(total, step), 0.0, "…"
    saved = evaluated = time.monotonic()
    for group in steps():
        if step >= total:
            break
        model.train()
        ids, mask, segments = inputs.tensors(group, paired, device)
        if settings.token_dropout:
            drop = (torch.rand(ids.shape, device=device) < settings.token_dropout) & ~torch.isin(ids, kept)
            ids = ids.masked_fill(drop, encoder.unk_id)
        loss = soft_routing_loss(forward(ids, mask, segments), target[[inputs.row[i] for i in group]])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        model.clamp_latent()
        step += 1
        running = loss.item() if running == 0 else 0.99 * running + 0.01 * loss.item()
        now = time.monotonic()
        if dev is not None and now - evaluated > SAVE_SECONDS:
            z = all_logits(model, dev[0], len(dev[1]))
            dev_text = " ".join(f"{100 * a:.1f}" for a in (z.argmax(-1) == np.array(dev[1])).mean(-1)) + " %"
            evaluated = time.monotonic()
        if now - saved > SAVE_SECONDS:
            save()
            saved = time.monotonic()
        progress.show(step, running, dev_text)
    save()
    progress.show(step, running, dev_text, force=True)


def prepare(
    settings: Settings, table: Table, soft_labels: Path | None
) -> tuple[Encoder, list[str], Inputs, Tensor, Table]:
    """Vocabulary, labels, training inputs with their target probabilities, and the held-out rows."""
    names = class_names(table)
    kept, held = hold_out(table, settings.hold_out, settings.seed)
    fitting, held_out = table.rows(kept), table.rows(held)
    extra_texts, extra_rows = read_soft_labels(soft_labels, names) if soft_labels else ([], [])
    held_texts = set(held_out.texts)
    soft = {text: p for text, p in zip(extra_texts, extra_rows) if text not in held_texts}
    known = set(table.texts)
    unlabelled = [text for text in soft if text not in known]

    target = torch.zeros(len(fitting) + len(unlabelled), len(names))
    for row, label in enumerate(class_indices(fitting, names)):
        hard = torch.eye(len(names))[label]
        given = soft.get(fitting.texts[row]) if fitting.texts_b is None else None
        target[row] = hard if given is None else settings.hard_weight * hard + (1 - settings.hard_weight) * torch.tensor(given)
    for k, text in enumerate(unlabelled):
        target[len(fitting) + k] = torch.tensor(soft[text])

    texts = fitting.texts + unlabelled
    corpus = texts + (fitting.texts_b or [])
    encoder = Encoder(train_vocabulary(corpus, settings.vocabulary_size))
    inputs = Inputs.encode(encoder, texts, fitting.texts_b, settings.max_tokens)
    if inputs.windowed:
        print(f"{inputs.windowed} rows are longer than {settings.max_tokens} tokens: read in windows (pairs are cut)", file=sys.stderr)
    return encoder, names, inputs, target, held_out


def build(settings: Settings, encoder: Encoder, classes: int, paired: bool) -> Classifier:
    """A network at its starting point."""
    torch.manual_seed(settings.seed)
    model = Classifier(settings.model(classes, len(encoder.vocabulary), 2 if paired else 1))
    if settings.teacher_embeddings:
        rows = teacher_embeddings(settings.teacher_embeddings, encoder.vocabulary, settings.hidden_size)
        with torch.no_grad():
            model.embeddings.token.copy_(0.3 * rows / rows.std())
    return model


@dataclass
class Fitted:
    """The outcome of `fit`."""

    pack: bytes | None  # None for a float twin
    report: dict[str, Any]


def fit(
    settings: Settings, table: Table, dev: Table | None, soft_labels: Path | None, checkpoint: Path, compile: bool = False,
    device: str = "cpu",
) -> Fitted:  # fmt: skip
    """Train, calibrate on held-out training rows, choose the exit rule there, measure on `dev`, export."""
    encoder, names, inputs, target, held_out = prepare(settings, table, soft_labels)
    model = build(settings, encoder, len(names), table.texts_b is not None).to(device)
    dev_part = (Inputs.of(encoder, dev, settings.max_tokens), class_indices(dev, names)) if dev is not None else None
    train(model, settings, encoder, inputs, target, dev_part, checkpoint, compile)
    return finish(settings, model, encoder, names, held_out, dev)


def finish(
    settings: Settings, model: Classifier, encoder: Encoder, names: list[str], held_out: Table, dev: Table | None
) -> Fitted:
    """Calibrate, choose the rule, measure and export a trained network."""
    held_target = class_indices(held_out, names)
    held_logits = all_logits(model, Inputs.of(encoder, held_out, settings.max_tokens), len(held_out))
    temperatures = exits.fit_temperatures(held_logits, held_target)
    rule = exits.choose_rule(held_logits, temperatures, held_target)
    report: dict[str, Any] = {"held_out_rows": len(held_out), "temperatures": [round(t, 4) for t in temperatures], "exit_rule": asdict(rule)}
    dev_logits = None
    if dev is not None:
        dev_target = class_indices(dev, names)
        dev_logits = all_logits(model, Inputs.of(encoder, dev, settings.max_tokens), len(dev))
        report["dev"] = measure(dev_logits, temperatures, rule, dev_target)
    if settings.float_twin:
        return Fitted(None, report)

    pack = export(model, encoder, names, describe(settings, model, report), temperatures, rule)
    if dev_logits is not None and dev.texts_b is None:
        report["export"] = compare_with_simulation(PackFile(pack), dev, dev_logits, temperatures, rule)
        pack = export(model, encoder, names, describe(settings, model, report), temperatures, rule)
    return Fitted(pack, report)


def measure(logits: np.ndarray, temperatures: Sequence[float], rule: ExitRule, target: Sequence[int]) -> dict[str, Any]:
    """Accuracy per exit, with the rule, and beside the majority label; calibration error at full depth."""
    routed = exits.route(logits, temperatures, rule, target)
    last = np.exp(exits.log_softmax(logits[-1] / temperatures[-1]))
    return {
        "rows": len(target),
        "majority": float(np.bincount(target).max() / len(target)),
        "accuracy_by_exit": [float(a) for a in (logits.argmax(-1) == np.asarray(target)).mean(-1)],
        "accuracy_with_exits": routed.accuracy,
        "mean_depth": routed.depth,
        "rows_by_exit": routed.exits,
        "calibration_error": exits.calibration_error(last, target),
    }


def compare_with_simulation(
    pack: PackFile, dev: Table, logits: np.ndarray, temperatures: Sequence[float], rule: ExitRule
) -> dict[str, Any]:
    """The pack's simulation (simulate.py) against the network that was trained, on single texts that fit one window."""
    simulator = Simulator(pack)
    largest, close, same, rows = 0.0, 0, 0, 0
    for row, ids in enumerate(simulator.encoder.tokens(dev.texts)):
        windows = simulator.encoder.windows(ids, pack.config["max_tokens"])
        if len(windows) > 1:
            continue
        exact = np.stack([z for z, _, _ in simulator.exits(windows[0])])
        difference = float(np.abs(exact - logits[:, row]).max())
        here = [exits.route(z[:, None], temperatures, rule, [0]).exits for z in (exact, logits[:, row])]
        rows += 1
        largest, close, same = max(largest, difference), close + (difference < 1e-3), same + (here[0] == here[1])
    return {"rows": rows, "largest_logit_difference": largest, "rows_within_0.001": close, "rows_with_the_same_exit": same}


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


def describe(settings: Settings, model: Classifier, report: dict[str, Any]) -> dict[str, Any]:
    """The pack's metadata."""
    return {
        "name": settings.name,
        "description": settings.description,
        "licence": settings.licence,
        "data": settings.data,
        "training": {k: v for k, v in asdict(settings).items() if k not in ("name", "description", "licence", "data")},
        "size": size_report(model),
        "metrics": report,
    }
