"""The committed base encoder: a checkpoint of a few megabytes from which `fit` starts.

Latent weights are kept as 8-bit numbers (sign and rough size), embeddings as float16, the rest as float32.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch

from .binary import BinaryLinear, sign
from .data import DataError
from .model import Classifier, ModelConfig

DEFAULT = Path(__file__).resolve().parents[1] / "base" / "base.npz"


@dataclass
class Base:
    """A base encoder: its shape, its vocabulary and its parameters by name."""

    config: ModelConfig
    vocabulary: list[str]
    state: dict[str, torch.Tensor]
    about: dict[str, Any]  # data, teacher, measures

    @staticmethod
    def load(path: Path) -> "Base":
        """Read a checkpoint. Raises DataError when it is missing or no base."""
        if not path.is_file():
            raise DataError(f"{path}: no such base encoder; give the path of one, or --base none to start from nothing")
        try:
            with np.load(path) as file:
                header = json.loads(file["header"].tobytes())
                vocabulary = file["vocabulary"].tobytes().decode().split("\n")
                state = {name: _restored(file[name]) for name in file.files if name not in ("header", "vocabulary")}
            return Base(ModelConfig(**header["config"]), vocabulary, state, header["about"])
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise DataError(f"{path}: not a base encoder of this trainer ({error}); make one with `beex-train pretrain`") from error

    def encoder_config(self, blocks: int = 0, **changes: Any) -> ModelConfig:
        """Shape of a network that starts from the first `blocks` blocks (0: from all; of more than there are see `start`)."""
        return replace(self.config, blocks=blocks or self.config.blocks, **changes)

    @torch.no_grad()
    def start(self, model: Classifier) -> None:
        """Copy the parameters that `model` shares with the base: embeddings, blocks and, for activations of the same bits, quantizers.

        Blocks after the base's last start as copies of it (progressive stacking, Gong et al. 2019). A float twin starts as the same function, with the weights' signs as
        its weights.
        """
        last = self.config.blocks - 1
        of_base = lambda name: re.sub(r"^blocks\.(\d+)", lambda found: f"blocks.{min(int(found[1]), last)}", name)
        state = {name: self.state[of_base(name)] for name in model.state_dict() if of_base(name) in self.state}
        if model.config.activation_bits != self.config.activation_bits:
            state = {name: value for name, value in state.items() if not name.endswith((".step", ".ready"))}
        if not model.config.binary:
            state |= {name: sign(state[name]) for name in latent_names(model)}
        model.load_state_dict(state, strict=False)

    def with_vocabulary(self, vocabulary: Sequence[str]) -> "Base":
        """The same base with some of its tokens, in the same order."""
        place = {token: i for i, token in enumerate(self.vocabulary)}
        rows = torch.tensor([place[token] for token in vocabulary])
        state = self.state | {"embeddings.token": self.state["embeddings.token"][rows]}
        return replace(self, config=replace(self.config, vocabulary_size=len(rows)), vocabulary=list(vocabulary), state=state)

    def with_more_pieces(self, other: "Base") -> "Base":
        """The same base with the vocabulary of `other`, of which its own is a part, in as many bits. Added rows are made as long as its own are beside the other's.
        Raises DataError when they do not fit together."""
        place = {token: i for i, token in enumerate(other.vocabulary)}
        if other.config.hidden_size != self.config.hidden_size or not place.keys() >= set(self.vocabulary):
            raise DataError("more pieces: the other base must have the same hidden size and, among others, all word pieces of this one")
        own, rows = self.state["embeddings.token"], other.state["embeddings.token"].clone()
        both = torch.tensor([place[token] for token in self.vocabulary])
        rows *= (own.norm(dim=1) / rows[both].norm(dim=1).clamp_min(1e-6)).median()
        rows[both] = own
        config = replace(self.config, vocabulary_size=len(rows), embedding_bits=max(self.config.embedding_bits, other.config.embedding_bits))
        return replace(self, config=config, vocabulary=other.vocabulary, state=self.state | {"embeddings.token": rows})

    def with_positions(self, tokens: int) -> "Base":
        """The same base for windows of at most so many tokens."""
        state = self.state | {"embeddings.position": self.state["embeddings.position"][:tokens]}
        return replace(self, config=replace(self.config, max_tokens=len(state["embeddings.position"])), state=state)

    def model(self) -> Classifier:
        """The base itself, which turns texts into vectors."""
        model = Classifier(self.config)
        model.load_state_dict(self.state)
        return model


def latent_names(model: Classifier) -> set[str]:
    """Names of the parameters that are binarized."""
    return {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, BinaryLinear)}


def save_base(path: Path, model: Classifier, vocabulary: Sequence[str], about: dict[str, Any]) -> None:
    """Write a checkpoint (see the module's text for what is rounded)."""
    latent = latent_names(model)
    arrays: dict[str, np.ndarray] = {}
    for name, value in model.state_dict().items():
        array = value.detach().cpu().numpy()
        if name in latent:
            # floor, so that the sign stays: a value q stands for (q + 1/2) / 64.
            array = np.clip(np.floor(array * 64), -64, 63).astype(np.int8)
        elif name.startswith("embeddings.") and array.ndim == 2:
            array = array.astype(np.float16)
        arrays[name] = array
    header = json.dumps({"config": asdict(model.config), "about": about}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path, header=np.frombuffer(header, np.uint8), vocabulary=np.frombuffer("\n".join(vocabulary).encode(), np.uint8), **arrays
    )


def _restored(array: np.ndarray) -> torch.Tensor:
    if array.dtype == np.int8:
        return torch.from_numpy((array.astype(np.float32) + 0.5) / 64)
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)
