"""The base encoder: a binarized network that starts from a sentence encoder's layers and learns its states.

    beex-train pretrain corpus.txt.xz … --out base.pt

Every block starts as one of the teacher's layers (signs of its weights, its feed-forward layer as the content branch of a rectified SLFN) and
is trained to give the state that the teacher has there, word by word, and the last one also the teacher's sentence vector. No
labels are involved. `fit` starts from the result, and `base.beex` turns texts into vectors.

    beex-train teach … --out x.soft.tsv; beex-train pretrain … --base base.npz --teacher x.soft.teacher --out x.npz

makes a base for one task: it goes on from another base and learns the states of a teacher that was fine-tuned on the task. With
`--vocabulary-size` it keeps only so many word pieces, those that the texts use most.
"""

from __future__ import annotations

import math
import random
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Base
from .data import read_table
from .devices import matrix_precision
from .model import Block, Classifier, ModelConfig, parameter_groups
from .teach import TEACHER, Teacher, sample, sentences, teacher_folder, word_vectors
from .tokenizer import Encoder

SAVE_SECONDS = 180.0
LONGEST = 90  # words of a text
MOST_OF_TABLE = 40_000  # texts of one labelled file


@dataclass
class Pretraining:
    """Options of a run."""

    teacher: str = TEACHER
    base: str = ""  # a base to go on from, with a teacher of the same shape; "" starts from the teacher's layers
    layers: tuple[int, ...] = (0, 2, 5)  # of the teacher, one per block
    slfn_size: int = 896
    embedding_bits: int = 2  # of a base to go on from too
    activation_bits: int = 4
    vocabulary_size: int = 7168
    max_tokens: int = 128
    batch_tokens: int = 4096
    learning_rate: float = 1e-3
    tokens: int = 6_000_000  # to train on; the corpus is read again when it is shorter
    seed: int = 1


def base_config(options: Pretraining, teacher: Any, vocabulary_size: int) -> ModelConfig:
    """The network's shape, from the teacher's."""
    return ModelConfig(
        task="features", classes=0, vocabulary_size=vocabulary_size, hidden_size=teacher.hidden_size, blocks=len(options.layers),
        heads=teacher.num_attention_heads, slfn_size=options.slfn_size, slfn_form="rectified", max_tokens=options.max_tokens,
        activation_bits=options.activation_bits, embedding_bits=options.embedding_bits, dropout=0.0,
    )  # fmt: skip


@torch.no_grad()
def start_from_teacher(model: Classifier, teacher: Teacher, vocabulary: Sequence[str], layers: Sequence[int]) -> None:
    """Embeddings and blocks begin as the teacher's (a BERT of the same hidden size and heads)."""
    from_ = teacher.encoder
    rows = word_vectors(teacher, vocabulary)
    # What all tokens share goes to the positions, so that the few bits of a token's row say what is its own.
    shared = rows.mean(0)
    model.embeddings.token.copy_(rows - shared)
    segment = from_.embeddings.token_type_embeddings.weight[0]
    model.embeddings.position.copy_(from_.embeddings.position_embeddings.weight[: model.config.max_tokens] + segment + shared)
    model.embeddings.norm.load_state_dict(from_.embeddings.LayerNorm.state_dict())
    for block, layer in zip(model.blocks, layers):
        start_block(block, from_.encoder.layer[layer])


def start_block(block: Block, layer: nn.Module) -> None:
    """One block from one BERT layer; of its feed-forward units those that weigh most are kept."""
    attention, output = layer.attention.self, layer.attention.output
    parts = (attention.query, attention.key, attention.value)
    block.attention.qkv.start_from(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))
    block.attention.output.start_from(output.dense.weight, output.dense.bias)
    block.attention_norm.load_state_dict(output.LayerNorm.state_dict())
    inner, outer = layer.intermediate.dense, layer.output.dense
    width = block.slfn.hidden.weight.shape[0] - block.slfn.gate_rows
    units = (inner.weight.norm(dim=1) * outer.weight.norm(dim=0)).topk(width).indices.sort().values
    # The gate starts open: sigmoid(4) = 0.98, whatever its input.
    gate = torch.randn(block.slfn.gate_rows, inner.weight.shape[1]) * 0.01
    block.slfn.hidden.start_from(torch.cat([gate, inner.weight[units]]), torch.cat([torch.full((len(gate),), 4.0), inner.bias[units]]))
    block.slfn.content.start_from(outer.weight[:, units], outer.bias)
    block.slfn_norm.load_state_dict(layer.output.LayerNorm.state_dict())


def read_corpus(texts: Sequence[str], tables: Sequence[str], seed: int) -> list[str]:
    """Distinct sentences of plain-text files (`FILE:COUNT` draws so many) and the texts of labelled ones, up to LONGEST words, shuffled."""
    found: set[str] = set()
    for source in texts:
        path, _, count = source.rpartition(":")
        found.update(sample(sentences(Path(path)), int(count), seed) if count.isdigit() else sentences(Path(source)))
    for source in tables:
        table = read_table(source)
        of_table = {" ".join(text.split()[:LONGEST]) for text in table.texts + (table.texts_b or [])}
        found.update(sample(of_table, MOST_OF_TABLE, seed))
    return sample(found, len(found), seed)


class Corpus:
    """Texts encoded for student and teacher, with the word that each token belongs to."""

    def __init__(self, texts: Sequence[str], encoder: Encoder, teacher: Teacher, max_tokens: int):
        self.student: list[np.ndarray] = []
        self.teacher: list[np.ndarray] = []
        fast = teacher.tokenizer.backend_tokenizer
        fast.no_padding()
        fast.no_truncation()
        special = (encoder.cls_id, encoder.sep_id), (teacher.tokenizer.cls_token_id, teacher.tokenizer.sep_token_id)
        for start in range(0, len(texts), 4096):
            chunk = list(texts[start : start + 4096])
            ours = encoder.encodings(chunk)
            theirs = fast.encode_batch(chunk, add_special_tokens=False)
            for a, b in zip(ours, theirs):
                # Both split words alike; where they do not (control characters, say), the text teaches nothing.
                if not a.ids or len(a.ids) > max_tokens - 2 or a.word_ids[-1] != b.word_ids[-1]:
                    continue
                self.student.append(self._rows(a, special[0]))
                self.teacher.append(self._rows(b, special[1]))

    @staticmethod
    def _rows(encoding: Any, special: tuple[int, int]) -> np.ndarray:
        """(2, tokens): ids and words; [CLS] is word 0, [SEP] the last."""
        words = np.array(encoding.word_ids) + 1
        return np.stack([[special[0], *encoding.ids, special[1]], [0, *words, words[-1] + 1]]).astype(np.int32)

    def batches(self, tokens: int, seed: int) -> Iterator[list[int]]:
        """Groups of texts of similar length, about `tokens` tokens each; without end, shuffled anew in each round."""
        generator = random.Random(seed)
        while True:
            order = list(range(len(self.student)))
            generator.shuffle(order)
            chunk = 2048
            groups: list[list[int]] = []
            for start in range(0, len(order), chunk):
                longest = 0
                group: list[int] = []
                for i in sorted(order[start : start + chunk], key=lambda i: self.student[i].shape[1]):
                    longest = self.student[i].shape[1]
                    if group and longest * (len(group) + 1) > tokens:
                        groups.append(group)
                        group = []
                    group.append(i)
                groups.append(group)
            generator.shuffle(groups)
            yield from groups


def padded(rows: Sequence[np.ndarray], words: int) -> tuple[Tensor, Tensor, Tensor]:
    """ids, mask and flat word index (text * words + word; padding points to one place behind all), each (texts, longest)."""
    longest = max(row.shape[1] for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    index = torch.full((len(rows), longest), len(rows) * words, dtype=torch.long)
    for k, row in enumerate(rows):
        length = row.shape[1]
        ids[k, :length] = torch.from_numpy(row[0])
        mask[k, :length] = True
        index[k, :length] = torch.from_numpy(row[1]) + k * words
    return ids, mask, index


def word_means(states: Tensor, index: Tensor, places: int) -> Tensor:
    """Mean state of each word, (places, d); places without tokens are zero."""
    d = states.shape[-1]
    total = torch.zeros(places + 1, d).index_add_(0, index.flatten(), states.reshape(-1, d))
    count = torch.zeros(places + 1).index_add_(0, index.flatten(), torch.ones(index.numel()))
    return total[:places] / count[:places].clamp_min(1).unsqueeze(-1)


def distance(states_of: Callable[[Tensor, Tensor], list[Tensor]], teacher: Teacher, layers: Sequence[int], students: Sequence[np.ndarray], teachers: Sequence[np.ndarray]) -> Tensor:
    """One loss per state (embeddings, block 1 …): unexplained share of the variance of the teacher's word states; and last,
    1 - cosine of the mean vectors."""
    words = max(row[1, -1] for row in students) + 1
    ids, mask, index = padded(students, words)
    teacher_ids, teacher_mask, teacher_index = padded(teachers, words)
    places = len(students) * words
    with torch.no_grad(), matrix_precision(ids.device):
        states = teacher.encoder(input_ids=teacher_ids, attention_mask=teacher_mask, output_hidden_states=True).hidden_states
    with matrix_precision(ids.device):
        ours = states_of(ids, mask)
    used = torch.zeros(places + 1, dtype=torch.bool).index_fill_(0, index.flatten(), True)[:places]
    losses = []
    for state, layer in zip(ours, (0, *(layer + 1 for layer in layers))):
        wanted = word_means(states[layer].float(), teacher_index, places)[used]
        found = word_means(state.float(), index, places)[used]
        losses.append((found - wanted).pow(2).mean() / wanted.var(0, unbiased=False).mean().clamp_min(1e-6))
    mean = lambda state, mask: (state.float() * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    cosine = F.cosine_similarity(mean(ours[-1], mask), mean(states[-1], teacher_mask)).mean()
    return torch.stack([*losses, 1 - cosine])


def pretrain(texts: Sequence[str], encoder: Encoder, options: Pretraining, checkpoint: Path, compile: bool = True) -> tuple[Classifier, dict[str, Any]]:
    """Train a base on `texts`; saves to `checkpoint` every few minutes and resumes from it. Returns it and its description."""
    torch.manual_seed(options.seed)
    teacher = Teacher(teacher_folder(options.teacher), 2).eval().requires_grad_(False)
    if options.base:
        base = Base.load(Path(options.base)).with_vocabulary(encoder.vocabulary)
        base.config = replace(base.config, embedding_bits=options.embedding_bits)
        model = base.model()
    else:
        model = Classifier(base_config(options, teacher.encoder.config, len(encoder.vocabulary)))
        start_from_teacher(model, teacher, encoder.vocabulary, options.layers)
    corpus = Corpus(texts, encoder, teacher, options.max_tokens)
    held, rest = 512, len(corpus.student)
    print(f"{rest} texts, {sum(row.shape[1] for row in corpus.student):,} tokens", file=sys.stderr, flush=True)
    held_out = corpus.student[:held], corpus.teacher[:held]
    corpus.student, corpus.teacher = corpus.student[held:], corpus.teacher[held:]

    optimizer = torch.optim.AdamW(parameter_groups(model, options.learning_rate), betas=(0.9, 0.98), fused=True)
    seen = step = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        if state["options"] != asdict(options):
            raise ValueError(f"{checkpoint}: left by a run with other options; delete it, or use the same options to go on")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        seen, step = state["seen"], state["step"]
    else:
        model.initialise(*padded(held_out[0][:64], 512)[:2])
    rates = [group["lr"] for group in optimizer.param_groups]

    def save() -> None:
        temporary = checkpoint.with_suffix(".tmp")
        torch.save({"options": asdict(options), "model": model.state_dict(), "optimizer": optimizer.state_dict(), "seen": seen, "step": step}, temporary)
        temporary.replace(checkpoint)

    def held_out_distance() -> str:
        model.eval()
        with torch.no_grad():
            losses = distance(model.states, teacher, options.layers, *held_out)
        return " ".join(f"{x:.3f}" for x in losses.tolist())

    states = torch.compile(model.states, dynamic=True) if compile else model.states
    print(f"start: held out {held_out_distance()}", file=sys.stderr, flush=True)
    started = saved = time.monotonic()
    first, running = seen, None
    for skipped, group in enumerate(corpus.batches(options.batch_tokens, options.seed)):
        if skipped < step:
            continue
        if seen >= options.tokens:
            break
        share = seen / options.tokens
        for parameters, rate in zip(optimizer.param_groups, rates):
            parameters["lr"] = rate * min(1.0, (step + 1) / 50) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * share)))
        model.train()
        students = [corpus.student[i] for i in group]
        losses = distance(states, teacher, options.layers, students, [corpus.teacher[i] for i in group])
        loss = losses[:-1].mean() + 4 * losses[-1]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.clamp_latent()
        step += 1
        seen += sum(row.shape[1] for row in students)
        running = losses.detach() if running is None else 0.95 * running + 0.05 * losses.detach()
        if step % 50 == 0:
            now = time.monotonic()
            rate = (seen - first) / (now - started)
            print(f"{seen / 1e6:.2f} M tokens, {rate:.0f} a second, {(options.tokens - seen) / rate / 60:.0f} min left, "
                  + " ".join(f"{x:.3f}" for x in running.tolist()), file=sys.stderr, flush=True)  # fmt: skip
        if time.monotonic() - saved > SAVE_SECONDS:
            print(f"held out {held_out_distance()}", file=sys.stderr, flush=True)
            save()
            saved = time.monotonic()
    save()
    reached = held_out_distance()
    print(f"end: held out {reached}", file=sys.stderr, flush=True)
    # Names, not paths, which are nobody else's business.
    training = asdict(options) | {"teacher": Path(options.teacher).name, "base": Path(options.base).name}
    about = {
        "name": "base",
        "description": "English texts as vectors of unit length: similar texts have a large dot product.",
        "teacher": Path(options.teacher).name, "training": training, "texts": len(corpus.student), "tokens": seen,
        "held_out": f"unexplained share of the teacher's word states after embeddings and each block, 1 - cosine of the text vectors: {reached}",
    }  # fmt: skip
    return model, about
