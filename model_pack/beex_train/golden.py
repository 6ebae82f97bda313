"""Golden vectors: every intermediate of a few texts, as bits, for the engine to reproduce (tests/golden)."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
import torch

from .export import export
from .model import Classifier, ModelConfig
from .pack import ExitRule, PackFile
from .simulate import Simulator
from .tokenizer import Encoder, train_vocabulary

TEXTS = [
    "a charming and often affecting journey",
    "unflinchingly bleak and desperate",
    "",
    "Don't — café, naïve 中文 text!",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
]


def write_golden(pack: bytes, texts: Sequence[str], path: Path) -> None:
    """Write `path` (a `.golden` text file) with all intermediates of `texts` through `pack`.

    Pairs are made of neighbouring texts when the pack takes pairs. Longer texts are given by their first window.
    """
    simulator = Simulator(PackFile(pack))
    paired, limit = simulator.segment is not None, simulator.pack.config["max_tokens"]
    lines = ["beex-golden 1"]

    def tap(name: str, index: int, values: np.ndarray) -> None:
        words = np.ascontiguousarray(values, np.float32).ravel().view(np.uint32)
        lines.append(f"{name} {index} {len(words)}")
        lines.append(" ".join(f"{word:08x}" for word in words))

    for i, text in enumerate(texts):
        if paired:
            other = texts[(i + 1) % len(texts)]
            lines.append(f"pair {text.encode().hex() or '-'} {other.encode().hex() or '-'}")
            ids, segments, _ = simulator.encoder.pair(*simulator.encoder.tokens([text, other]), limit)
        else:
            lines.append(f"text {text.encode().hex() or '-'}")
            ids, segments = simulator.encoder.windows(simulator.encoder.tokens([text])[0], limit)[0], None
        lines.append(f"ids {len(ids)} " + " ".join(map(str, ids)))
        for _ in simulator.exits(ids, segments, tap):
            pass
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


def write_all(folder: Path, packs: Path) -> None:
    """Regenerate model_pack/golden: the tiny packs and the vectors of every published pack."""
    folder.mkdir(exist_ok=True)
    for name, options in {"tiny_open": ("open", 4, "mean", 1, 1), "tiny_bounded": ("bounded", 1, "cls", 2, 2)}.items():
        pack = tiny_pack(*options)
        (folder / f"{name}.beex").write_bytes(pack)
        write_golden(pack, TEXTS, folder / f"{name}.golden")
    for path in sorted(packs.glob("*.beex")):
        write_golden(path.read_bytes(), TEXTS[:1], folder / f"{path.stem}.golden")
