"""The engine against the simulation, from the text on: every exit's logits, every answer and every vector, as bits.

BEEX_TEXTS=FILE takes other texts than the repository's sentences, one a line.
"""

import os
import re
import subprocess

import numpy as np
import pytest

from beex_train.pack import PackFile
from beex_train.simulate import EXIT_REASONS, Simulator
from conftest import ROOT

TOOL = ROOT / "build" / "native" / "tests" / "logits"
TEXTS = os.environ.get("BEEX_TEXTS", ROOT / "tests" / "trainer" / "tokenizer_sentences.txt")


def words(values) -> str:
    return "".join(f" {word:08x}" for word in np.asarray(values, np.float32).view(np.uint32))


def simulated(simulator: Simulator, text: str) -> str:
    """The line that tests/tools/logits.cpp prints for `text` at the pack's own speed, without what happened on the way."""
    if simulator.task == "features":
        return f"|{words(simulator.embed(text))}"
    line = ""
    tokens = simulator.encoder.tokens([text])[0]
    for window, ids in enumerate(simulator.encoder.windows(tokens, simulator.pack.config["max_tokens"])):
        for exit, (logits, _, _) in enumerate(simulator.exits(ids, text=simulator.whole(tokens))):
            line += f"{window}.{exit}:{words(logits)} "
    outcome = simulator.classify(text)
    head = f"| {outcome.exit_block} {EXIT_REASONS.index(outcome.reason)} {outcome.label} {outcome.windows}"
    labels = " ;" + "".join(f" {label}" for label in outcome.labels) if simulator.multi_label else ""
    return line + head + words(outcome.probabilities) + labels


PACKS = [f"golden/tiny_{name}" for name in ("open", "rectified", "multilabel", "classes", "features", "adaptive", "adaptive_multilabel")]
PACKS += [f"packs/{name}" for name in ("sentiment", "intent", "emotions", "base")]


@pytest.mark.parametrize("pack", [f"model_pack/{pack}.beex" for pack in PACKS])
def test_engine_and_simulation_agree_on_every_bit(pack):
    assert TOOL.is_file(), "build the native preset first: scripts/test native"
    with open(TEXTS, encoding="utf-8") as file:
        texts = file.read().split("\n")[:-1]
    ran = subprocess.run([TOOL, ROOT / pack, "--own"], input="\n".join(texts) + "\n", capture_output=True, text=True, encoding="utf-8", check=True)
    simulator = Simulator(PackFile.open(ROOT / pack))
    lines = ran.stdout.split("\n")[:-1]
    assert len(lines) == len(texts)
    for text, line in zip(texts, lines):
        assert re.sub(r"\| own.*? =", "|", line) == simulated(simulator, text), text
