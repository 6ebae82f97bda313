"""The network on encoded rows under a setting of elimination and gates: logits of every exit, and the work up to each."""

from __future__ import annotations

import numpy as np
import torch

from .cost import Cost
from .doubt import exit0_shares
from .elimination import token_counts
from .exits import Costs
from .inputs import Inputs
from .linear import linear_logits
from .model import Classifier


@torch.no_grad()
def run(model: Classifier, inputs: Inputs, gamma: float = 0.0, skip: float = 1.0) -> tuple[np.ndarray, Costs]:
    """Logits (exits, inputs, classes) under a setting, in evaluation mode; any exit rule can be tried on them. Without a profile
    `gamma` changes nothing, and without gates `skip` does not."""
    model.eval()
    paired, device = model.config.inputs == 2, model.embeddings.token.device
    count, blocks = len(inputs), len(model.blocks)
    logits = np.zeros((blocks + 1, count, model.config.classes), np.float32)
    read = np.ones((blocks + 1, count), bool)
    tokens = inputs.lengths
    kept = token_counts(model.profile, gamma, tokens) if gamma > 0 and model.profile is not None else None
    gated = skip < 1 and len(model.gates) > 0
    linear, doubtful = linear_logits(model, inputs), inputs.having(model.doubtful)
    share = torch.from_numpy(exit0_shares(model, doubtful))
    # Small batches stay in a CPU's caches: 1,024 tokens take a quarter of the time that 16,384 take.
    for group in inputs.batches(1024 if device.type == "cpu" else 16_384, None):
        ids, mask, segments = inputs.tensors(group, paired, device)
        left = None if kept is None else torch.from_numpy(kept[:, group]).to(device)
        states, gates = model.walk(ids, mask, segments, left, skip if gated else None)
        prior = None if linear is None else linear[group].to(device)
        logits[:, group] = model.read_exits(states, mask, segments, prior, share[group].to(device)).float().cpu().numpy()
        if gated:
            read[1:, group] = (torch.stack(gates) == 0).cpu().numpy()
    return logits, Costs(read, *_work(Cost.of_model(model.config), tokens, kept, read, gated), doubtful)


def _work(cost: Cost, tokens: np.ndarray, kept: np.ndarray | None, read: np.ndarray, gated: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Work up to each exit, to the end with only the first and the last exit read, and of the dense network (FORMAT.md, "Cost")."""
    work = np.zeros(read.shape)
    alive = tokens
    work[0] = cost.embedding(tokens) + cost.pooling(tokens) + cost.exit
    whole = work[0].copy()
    last_read = np.zeros(len(tokens))  # what reading the exit after the last block costs; nothing when none ran
    for i, ran in enumerate(read[1:]):
        left = np.where(ran, alive if kept is None else np.minimum(alive, kept[i]), alive)
        block = cost.gate * gated + ran * cost.block(alive, left)
        pooling = cost.pooling(left)
        work[i + 1] = work[i] + block + ran * (pooling + cost.exit)
        whole += block + ran * pooling * gated
        last_read = np.where(ran, cost.exit + pooling * (not gated), last_read)
        alive = left
    return work, whole + last_read, cost.dense(tokens)


def all_logits(model: Classifier, inputs: Inputs, skip: float = 1.0) -> np.ndarray:
    """Logits (exits, rows, classes) of all tokens; those of a long text are its windows' mean."""
    return inputs.merge(run(model, inputs, skip=skip)[0])
