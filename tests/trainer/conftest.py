"""Trainer tests run from a checkout: `model_pack` is the import root."""

import random
import sys
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # networks this small only wait for a second thread
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "model_pack"))

GOOD = "charming funny warm moving brilliant lovely fresh clever tender joyous".split()
BAD = "dull tedious bleak clumsy stale lifeless awful shallow grating dreary".split()
FILLER = "the film a story its cast this plot of and with an ending that feels is".split()


@pytest.fixture(scope="session")
def rows() -> list[tuple[str, str]]:
    """400 labelled sentences whose label is the majority of their opinion words."""
    generator = random.Random(7)
    out = []
    for _ in range(400):
        label = generator.choice(["good", "bad"])
        words = generator.choices(FILLER, k=generator.randint(3, 9)) + generator.choices(GOOD if label == "good" else BAD, k=2)
        generator.shuffle(words)
        out.append((label, " ".join(words)))
    return out


@pytest.fixture()
def train_file(tmp_path, rows) -> Path:
    """The rows as a TSV file."""
    path = tmp_path / "train.tsv"
    path.write_text("label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows[:320]), encoding="utf-8")
    return path


@pytest.fixture()
def dev_file(tmp_path, rows) -> Path:
    """Other rows as a CSV file."""
    path = tmp_path / "dev.csv"
    path.write_text("label,text\n" + "".join(f'{label},"{text}"\n' for label, text in rows[320:]), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory, rows):
    """A BERT of two layers that nobody trained, with a vocabulary of its own."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("teacher")
    words = sorted({word for _, text in rows for word in text.split()})
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(words) + 5, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128, max_position_embeddings=64,
        initializer_range=0.1,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder
