"""The training loop: soft-routing loss over all exits, checkpoints, progress; one process or several (torchrun)."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Iterator

import numpy as np
import torch

from .data import DataError
from .contrast import Contrast, exit_contrast
from .devices import add_up_gradients, matrix_precision, rank_and_world
from .doubt import exit0_shares
from .elimination import measure_profile, token_counts
from .exits import calibrated_losses
from .inputs import Inputs
from .model import Classifier, parameter_groups, soft_routing_loss
from .passes import all_logits
from .report import decide, right_rows

SAVE_SECONDS = 120.0  # between checkpoints, and between looks at the dev rows
DEV_TOKENS = 20_000  # of the dev rows that are looked at on the way
# Elimination starts after this share of the steps and reaches LARGEST_GAMMA after twice as many.
ELIMINATION_FROM, LARGEST_GAMMA = 1 / 3, 2.0
# Gates mix softly after the first share of the steps, and are hard after the second; until then the budget falls from 1 to its aim.
GATES_FROM, HARD_FROM, BUDGET_WEIGHT, SKIP_ABOVE, SOFT = 1 / 3, 2 / 3, 10.0, 0.5, 2.0
# A run's length: about five minutes on two cores, but every row once, and none more often than helps.
TOKENS, FEWEST_ROUNDS, MOST_ROUNDS = 700_000, 1.0, 15.0


@dataclass
class Plan:
    """How to train. Everything that changes the result is in it, so that a checkpoint knows whether it belongs to the run."""

    rounds: float  # over the rows
    batch_tokens: int
    learning_rate: float
    token_dropout: float
    seed: int
    prior_dropout: float = 0.0  # share of the rows of a step that learn without what the linear model says
    windows: int = 1  # of a long text that learn together in a round, drawn at random
    elimination: float = 0.0  # share of the rows that learn with fewer tokens, in later steps
    skip_budget: float = 0.0  # share of the blocks that skip gates let run; 0 without gates
    contrast: float = 0.0  # weight of cross-layer contrast
    head_rounds: float = 0.0  # of the second stage: all else frozen, the exits learn on
    last_exit_only: bool = False  # no soft routing


@dataclass
class Rows:
    """Encoded rows with what is wanted of them."""

    inputs: Inputs
    targets: np.ndarray  # probabilities (rows, classes)
    linear: np.ndarray | None = None  # out-of-fold logits of the linear model, (inputs, classes)


def rounds_for(tokens_a_round: int) -> float:
    """Rounds over the rows for so many tokens in one."""
    return max(FEWEST_ROUNDS, min(MOST_ROUNDS, TOKENS / tokens_a_round))


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


def dev_accuracy(model: Classifier, dev: Rows) -> str:
    """Accuracy at every exit, in percent."""
    thresholds = [0.0] * model.config.classes if model.config.task == "multi" else None
    z = all_logits(model, dev.inputs)
    return " ".join(f"{100 * right_rows(decide(each, thresholds), dev.targets).mean():.1f}" for each in z) + " %"


def loss_on(model: Classifier, rows: Rows, last_exit_only: bool) -> float:
    """Mean calibrated cross-entropy over the exits after the blocks, or of the last, with what gates there are."""
    losses = calibrated_losses(all_logits(model, rows.inputs, SKIP_ABOVE), rows.targets, model.config.task == "multi")
    return float(losses[-1 if last_exit_only else 1 :].mean())


def budget_loss(gates: list[torch.Tensor], budget: float) -> torch.Tensor:
    """(share of the blocks that run - budget)^2, from what the gates of every block said, (batch,)."""
    return ((1 - torch.stack(gates)).mean() - budget) ** 2


def train(
    model: Classifier, plan: Plan, special_ids: tuple[int, ...], unknown_id: int, rows: Rows, held_out: Rows, dev: Rows | None,
    checkpoint: Path, compile: bool = False, origin: str = "",
) -> float:  # fmt: skip
    """Train in place; saves to `checkpoint` every SAVE_SECONDS and resumes from it, if it has the same plan and shape and the same `origin`, which stands for
    rows and starting point. Returns the seconds that resumed runs had taken before.

    After each round the network is tried on the held-out rows, and in the end it is as it was when it did best there: a small table is
    soon learnt by heart.

    A resumed run on the CPU ends with the same weights as an uninterrupted one with the same number of threads and processes.
    With several processes each takes a share of every batch, so that the steps are those of one process.
    """
    paired, device, multi = model.config.inputs == 2, model.embeddings.token.device, model.config.task == "multi"
    rank, world = rank_and_world()
    inputs, targets = rows.inputs, torch.from_numpy(rows.targets).to(device)
    linear = None if rows.linear is None else torch.from_numpy(rows.linear).to(device)
    share = torch.from_numpy(exit0_shares(model, inputs.having(model.doubtful))).to(device)
    kept = torch.tensor(special_ids, device=device)
    if plan.contrast:
        model.contrast = Contrast(model.config.hidden_size).to(device)
    first_round = inputs.batches(plan.batch_tokens, plan.seed, plan.windows)
    total = max(1, round(plan.rounds * len(first_round)))
    optimizer = torch.optim.AdamW(parameter_groups(model, plan.learning_rate), betas=(0.9, 0.98), fused=True)
    warm_up = max(1, total // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / total)))
    )
    torch.manual_seed(plan.seed + 1000 * rank)
    step, best, best_loss, earlier, started = 0, None, math.inf, 0.0, time.monotonic()
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False, map_location=device)
        # Checkpoints of older versions lack some of it.
        ours = {"plan": asdict(plan), "world": world, "config": asdict(model.config), "origin": origin}
        if any(state.get(name, value) != value for name, value in ours.items()):
            raise DataError(f"{checkpoint}: left by a run with other settings, rows, soft labels or base; delete it, or give the same ones to go on")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"].cpu())
        step, best, best_loss, model.profile = state["step"], state["best"], state["best_loss"], state["profile"]
        earlier = state.get("seconds", 0.0)
        print(f"going on after step {step} of {total}", file=sys.stderr)
    else:
        model.initialise(*inputs.tensors(first_round[0], paired, device))

    def save() -> None:
        # Of several processes the first one saves; the others draw their dropout anew after a resume.
        if rank > 0:
            return
        state = {
            "plan": asdict(plan), "config": asdict(model.config), "world": world, "origin": origin, "model": model.state_dict(),
            "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "random": torch.get_rng_state(), "step": step, "best": best, "best_loss": best_loss,
            "profile": model.profile, "seconds": earlier + time.monotonic() - started,
        }  # fmt: skip
        temporary = checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(checkpoint)

    def steps() -> Iterator[list[int]]:
        epoch = step // len(first_round)
        while True:
            groups = inputs.batches(plan.batch_tokens, plan.seed + epoch, plan.windows)
            # Later rounds may pack into another number of batches; the first one's number defines a round.
            groups = (groups * 2)[: len(first_round)]
            yield from groups[step - epoch * len(first_round) :]
            epoch += 1

    # With AVX-512, torch 2.15 compiles a float network to one whose first step gives NaN.
    torch._inductor.config.cpp.simdlen = None if model.config.binary else 256
    # Not the exits: without them networks for other classes share what was compiled.
    walk = torch.compile(model.walk, dynamic=True) if compile else model.walk
    weights = torch.eye(len(model.exits), device=device)[-1] if plan.last_exit_only else None
    progress, running, dev_text = Progress(total, step), 0.0, "…"
    if dev is not None:
        some, of_rows = dev.inputs.some_rows(DEV_TOKENS)
        dev = Rows(some, dev.targets[of_rows])
    saved = evaluated = time.monotonic()
    for group in steps():
        if step >= total:
            break
        if eliminates := plan.elimination > 0 and step >= ELIMINATION_FROM * total:
            model.profile = model.profile or measure_profile(model, inputs)
        model.train()
        optimizer.zero_grad()
        rows_of_group = list(dict.fromkeys(inputs.row[i] for i in group))
        rows_of_part = {row: place for place, row in enumerate(sorted(rows_of_group[rank::world]))}
        if part := [i for i in group if inputs.row[i] in rows_of_part]:  # a small last group may leave nothing for the last processes
            ids, mask, segments = inputs.tensors(part, paired, device)
            if plan.token_dropout:
                drop = (torch.rand(ids.shape, device=device) < plan.token_dropout) & ~torch.isin(ids, kept)
                ids = ids.masked_fill(drop, unknown_id)
            prior = None if linear is None else linear[part]
            if prior is not None and plan.prior_dropout:
                heard = torch.rand(len(rows_of_part), 1, device=device) >= plan.prior_dropout
                prior = prior * heard[[rows_of_part[inputs.row[i]] for i in part]]
            fewer = _kept_tokens(model, plan.elimination, step / total, mask) if eliminates else None
            skip = None if not plan.skip_budget or step < GATES_FROM * total else SOFT if step < HARD_FROM * total else SKIP_ABOVE
            with matrix_precision(device):
                states, gates = walk(ids, mask, segments, fewer, skip)
            mean = torch.from_numpy(inputs.window_mean(part).toarray()).to(device, torch.float32)
            logits = mean @ model.read_exits(states, mask, segments, prior, share[part])
            loss = soft_routing_loss(logits, targets[list(rows_of_part)], weights, multi)
            if gates:
                tightened = min(1.0, (step / total - GATES_FROM) / (HARD_FROM - GATES_FROM))
                loss = loss + BUDGET_WEIGHT * budget_loss(gates, 1 - (1 - plan.skip_budget) * tightened)
            if plan.contrast:
                loss = (1 - plan.contrast) * loss + plan.contrast * model.contrast(states, mask)
            (loss * (len(rows_of_part) / len(rows_of_group))).backward()
            lost = loss.item()
            if not math.isfinite(lost):
                raise DataError(f"step {step + 1}: the loss is {lost}, and nothing can be learnt from here; try a lower --learning-rate{', or without --compile' * compile}")
            running = lost if running == 0 else 0.99 * running + 0.01 * lost
        add_up_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        model.clamp_latent()
        step += 1
        # Gates that are not hard yet are no choice.
        ready = not plan.skip_budget or step >= HARD_FROM * total
        if len(held_out.targets) and ready and (step == total or step % len(first_round) == 0):
            if (held_loss := loss_on(model, held_out, plan.last_exit_only)) < best_loss:
                best, best_loss = {name: value.clone() for name, value in model.state_dict().items()}, held_loss
        now = time.monotonic()
        if dev is not None and rank == 0 and now - evaluated > SAVE_SECONDS:
            dev_text = dev_accuracy(model, dev)
            evaluated = time.monotonic()
        if now - saved > SAVE_SECONDS:
            save()
            saved = time.monotonic()
        if rank == 0:
            progress.show(step, running, dev_text)
    save()
    if best is not None:
        model.load_state_dict(best)
    model.contrast = None  # of no more use
    if plan.head_rounds:
        train_heads(model, plan, rows)
    model.profile = measure_profile(model, inputs)
    if rank == 0:
        progress.show(step, running, dev_text, force=True)
    return earlier


def train_heads(model: Classifier, plan: Plan, rows: Rows) -> None:
    """SmartBERT's second stage: the exits alone learn on, on states that stay as they are, those of skipped blocks left out.

    Every process does all of it, and comes to the same weights.
    """
    paired, device, multi = model.config.inputs == 2, model.embeddings.token.device, model.config.task == "multi"
    inputs, targets = rows.inputs, torch.from_numpy(rows.targets).to(device)
    linear = None if rows.linear is None else torch.from_numpy(rows.linear).to(device)
    share = torch.from_numpy(exit0_shares(model, inputs.having(model.doubtful))).to(device)
    optimizer = torch.optim.AdamW(model.exits.parameters(), lr=plan.learning_rate, weight_decay=0.0)
    groups = [group for k in range(math.ceil(plan.head_rounds)) for group in inputs.batches(plan.batch_tokens, plan.seed + 7919 + k)]
    groups = groups[: max(1, round(len(groups) * plan.head_rounds / math.ceil(plan.head_rounds)))]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(groups))
    model.eval()
    for group in groups:
        ids, mask, segments = inputs.tensors(group, paired, device)
        with torch.no_grad():
            states, gates = model.walk(ids, mask, segments, skip=SKIP_ABOVE if len(model.gates) else None)
            ran = torch.ones(len(model.exits), len(group), device=device)
            if gates:
                ran[1:] = 1 - torch.stack(gates)
        logits = model.read_exits(states, mask, segments, None if linear is None else linear[group], share[group])
        loss = soft_routing_loss(logits, targets[[inputs.row[i] for i in group]], ran, multi)
        if plan.contrast:
            loss = (1 - plan.contrast) * loss + plan.contrast * exit_contrast(logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _kept_tokens(model: Classifier, share: float, done: float, mask: torch.Tensor) -> torch.Tensor:
    """Tokens that go on after each block, (blocks, batch), in a step of training after a share `done` of the steps.

    One gamma for the step, uniform up to a bound that grows with `done`, and on a `share` of the rows only: the whole network beside a
    random smaller one, as in the Length-Adaptive Transformer, for the price of one.
    """
    most = LARGEST_GAMMA * min(1.0, (done - ELIMINATION_FROM) / ELIMINATION_FROM)
    chosen = torch.rand(1 + len(mask))
    counts = mask.sum(1)
    fewer = torch.from_numpy(token_counts(model.profile, most * chosen[0].item(), counts.cpu().numpy())).to(mask.device)
    return torch.where((chosen[1:] < share).to(mask.device), fewer, counts)
