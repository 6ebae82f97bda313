"""Bytes of a pack: the file, over the wire, cut to fewer blocks, and beside its float twin."""

from __future__ import annotations

import gzip
import re
from typing import Any

from .pack import PackFile

TABLES = re.compile(r"(embedding|position|segment)\.(rows|scale)|vocabulary")
DEEPER = re.compile(r"block(\d+)\.|exit(\d+)\.")


def sizes(data: bytes) -> dict[str, Any]:
    """What the bytes of a pack are spent on.

    `by_depth` are those of the file without the blocks and exits after exit 0, 1, …; `embeddings` are the tables of words, positions and
    segments with the vocabulary, `binary_matrices` signs and row scales. The float twin holds every parameter in four bytes, and no
    vocabulary or metadata.
    """
    pack = PackFile(data)
    length = {name: len(section) for name, section in pack.sections.items()}
    config, d = pack.config, pack.config["hidden_size"]
    rows = config["vocabulary_size"] + config["max_tokens"] + (2 if config["inputs"] == 2 else 0)
    linear = [name.removesuffix(".bits") for name in length if name.startswith("block") and name.endswith(".bits")]
    parameters = pack.metadata.get("size", {}).get("parameters")  # known to the trainer only
    return {
        "bytes": len(data),
        "gzipped": len(gzip.compress(data, 9, mtime=0)),
        "by_depth": [
            len(data) - sum(size for name, size in length.items() if _first_exit(name) > depth) for depth in range(config["blocks"] + 1)
        ],
        "embeddings": sum(size for name, size in length.items() if TABLES.fullmatch(name)),
        "binary_matrices": sum(length[f"{name}.bits"] + length[f"{name}.scale"] for name in linear),
        "float_matrices": 4 * 8 * sum(length[f"{name}.bits"] for name in linear),
        "float_twin": 4 * parameters if parameters else None,
        "float_embeddings": 4 * rows * d,
    }  # fmt: skip


def ratios(size: dict[str, Any]) -> dict[str, float | None]:
    """How many times smaller than the float twin: the `file`, the file `without_embeddings`, and the binarized `matrices` alone."""
    whole = size["float_twin"]
    return {
        "file": whole / size["bytes"] if whole else None,
        "without_embeddings": (whole - size["float_embeddings"]) / (size["bytes"] - size["embeddings"]) if whole else None,
        "matrices": size["float_matrices"] / size["binary_matrices"],
    }


def _first_exit(section: str) -> int:
    """The first exit that needs a section."""
    if not (found := DEEPER.match(section)):
        return 0
    block, exit = found.groups()
    return int(exit) if block is None else int(block) + 1
