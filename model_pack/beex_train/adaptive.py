"""What exits, elimination and skip gates of a pack are worth on labelled rows: tables for people, or JSON's types for scripts.

Work is analytic (FORMAT.md "Cost"), as a share of the dense cost; times are the engine's to measure. Rules and settings are chosen on one half of the
rows and measured on the other, and the other way round, so that none profits from a choice among many.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Sequence

import numpy as np

from .cost import Cost
from .data import DataError, Table, class_targets
from .elimination import gamma_for, measure_profile
from .exits import Exits, fractional_rules
from .inputs import Inputs
from .model import Classifier
from .pack import TASKS, ExitRule, PackError, PackFile, Policy
from .passes import run
from .restore import restore
from .results import percent, table
from .speed import SKIPS, measure, quality
from .tokenizer import Encoder

WORK = (0.25, 0.4, 0.5, 0.6, 0.75)  # at which rules are compared
SPEEDUPS = (1.25, 1.5, 2.0, 3.0, 4.0)
# One knob each, but for the last: BEExformer's with its guards, as in packs.
RULES: dict[str, list[ExitRule]] = {
    "fractional, plain": [ExitRule("fractional", float(t), first_exit=1) for t in np.linspace(-1.0, 1.0, 41)],
    "entropy": [ExitRule("entropy", float(t)) for t in np.linspace(0.01, 0.99, 50)],
    "patience": [ExitRule("patience", float(t)) for t in range(1, 25)],
    "probability": [ExitRule("probability", float(t)) for t in np.linspace(0.5, 0.995, 50)],
    "fractional, guarded": fractional_rules(),
}


@dataclass
class Loaded:
    """A pack's network with rows for it."""

    model: Classifier
    inputs: Inputs
    targets: np.ndarray  # (rows, classes)
    temperatures: np.ndarray  # (exits,) or (exits, classes)
    thresholds: list[float] | None  # of a multi-label task
    measured_profile: bool  # here, as the pack has none

    @staticmethod
    def of(pack: PackFile, rows: Table) -> "Loaded":
        """Raises PackError for a pack without classes, DataError for rows that are not for it."""
        if pack.config["task"] == TASKS.index("features"):
            raise PackError("this pack has no classes: it turns texts into vectors, and every block runs")
        if (rows.texts_b is not None) != (pack.config["inputs"] == 2):
            raise DataError(f"{rows.name}: the pack classifies {'pairs' if pack.config['inputs'] == 2 else 'single texts'}; give such rows")
        model = restore(pack)
        encoder = Encoder(pack.lines("vocabulary"), bool(pack.config["normalizer"]))
        inputs = Inputs.of(encoder, rows, pack.config["max_tokens"])
        multi = pack.config["task"] == TASKS.index("multi")
        missing = model.profile is None
        if missing:
            model.profile = measure_profile(model, inputs)
        temperatures = 1 / pack.floats("exit.inverse_temperature", len(model.exits), -1)
        thresholds = pack.floats("threshold.by_label", -1).tolist() if multi else None
        return Loaded(model, inputs, class_targets(rows, pack.lines("labels")), temperatures, thresholds, missing)

    def exits(self, gamma: float = 0.0, skip: float = 1.0) -> Exits:
        """The exits under a setting."""
        logits, costs = run(self.model, self.inputs, gamma, skip)
        return Exits(logits, self.temperatures, self.targets, self.thresholds, self.inputs, costs)

    def quality(self, routing: Any) -> float:
        """Accuracy, or micro-F1 of a multi-label task."""
        return quality(routing, self.targets, self.thresholds)


def report(pack: PackFile, rows: Table) -> dict[str, Any]:
    """Everything below, from one pass of the network for each setting."""
    loaded = Loaded.of(pack, rows)
    dense = loaded.exits()
    return {
        "rows": len(rows),
        "tokens": float(loaded.inputs.lengths.mean()),
        "exits": by_exit(dense),
        "rules": compare_rules(dense),
        "rising": compare_rising(dense),
        "profile": [round(float(share), 4) for share in loaded.model.profile],
        "profile_is_the_packs": not loaded.measured_profile,
        "elimination": elimination_curve(loaded),
        "gates": gate_curve(loaded),
        "together": together(loaded, pack),
    }


def by_exit(exits: Exits) -> dict[str, Any]:
    """Accuracy and calibration error of every exit, and what depth does to single rows."""
    first_right = exits.right[:-1].any(0)
    return {
        "accuracy": [float(a) for a in exits.right.mean(-1)],
        "calibration_error": exits.calibration_errors(),
        "overthinking": float((first_right & ~exits.right[-1]).mean()),  # right at an earlier exit, wrong at the last
        "only_last": float((exits.right[-1] & ~first_right).mean()),
        "best_exit_of_each_row": float(exits.right.any(0).mean()),  # an upper bound for any rule
    }


def compare_rules(exits: Exits) -> dict[str, list[dict[str, float]]]:
    """Accuracy and work of every kind of rule at the same most work; chosen by loss on one half of the rows, measured on the other."""
    halves = np.arange(len(exits.targets)) % 2 == 0
    out: dict[str, list[dict[str, float]]] = {}
    for name, rules in RULES.items():
        routed = [exits.route(rule) for rule in rules]
        losses = np.stack([exits.losses(r.answers) for r in routed])
        works = np.stack([exits.row_work(r) for r in routed])  # (rules, rows)
        right = np.stack([r.right for r in routed])
        out[name] = []
        for most in WORK:
            accuracy, work = 0.0, 0.0
            for chosen, measured in ((halves, ~halves), (~halves, halves)):
                allowed = works[:, chosen].mean(-1) <= most
                if not allowed.any():
                    accuracy = work = float("nan")
                    break
                best = np.where(allowed, losses[:, chosen].mean(-1), np.inf).argmin()
                accuracy += right[best, measured].sum() / len(halves)
                work += works[best, measured].sum() / len(halves)
            out[name].append({"most_work": most, "work": float(work), "accuracy": float(accuracy)})
    return out


def compare_rising(exits: Exits) -> list[dict[str, float]]:
    """Where entropy rises: the answer of this exit, or of the one before (FORMAT.md, flags bit 0 of the exit rule)."""
    out = []
    for threshold in (0.0, 0.1, 0.3):
        rule = ExitRule("fractional", threshold, first_exit=1)
        this, before = exits.route(rule), exits.route(replace(rule, keep_lower_entropy=True))
        out.append({"threshold": threshold, "work": this.work, "this": this.accuracy, "before": before.accuracy})
    return out


def elimination_curve(loaded: Loaded, speedups: Sequence[float] = (1.0, *SPEEDUPS)) -> list[dict[str, float]]:
    """All blocks with fewer tokens, tuned to requested speed-ups by the analytic cost; none of it is trained for."""
    cost = Cost.of_model(loaded.model.config)
    out = []
    for speedup in speedups:
        gamma = gamma_for(cost, loaded.model.profile, loaded.inputs.lengths, speedup) if speedup > 1 else 0.0
        routed = loaded.exits(gamma).route(ExitRule())
        out.append({"speedup": speedup, "gamma": gamma, "work": routed.work, "accuracy": loaded.quality(routed)})
    return out


def gate_curve(loaded: Loaded) -> list[dict[str, float]]:
    """Blocks that run, work and accuracy by skip threshold; [] without gates."""
    out = []
    for skip in (SKIPS if len(loaded.model.gates) else ()):
        routed = loaded.exits(skip=skip).route(ExitRule())
        blocks = routed.depth(len(loaded.model.blocks))
        out.append({"skip": skip, "blocks": blocks, "work": routed.work, "accuracy": loaded.quality(routed)})
    return out


def together(loaded: Loaded, pack: PackFile) -> list[dict[str, Any]]:
    """The pack's own settings: all of the network, its exit rule, and its curve, which was chosen on other rows."""
    named = [("full", Policy()), ("default", Policy(pack.exit_rule)), *((point.name, point.policy) for point in pack.curve)]
    found = measure(loaded.model, loaded.inputs, loaded.targets, loaded.temperatures, loaded.thresholds, [policy for _, policy in named])
    return [
        {"name": name, "gamma": m.policy.gamma, "skip": m.policy.skip, "work": m.work, "accuracy": m.accuracy} for (name, _), m in zip(named, found)
    ]


def text(found: dict[str, Any]) -> str:
    """`report` as Markdown."""
    exits = found["exits"]
    lines: Sequence[str] = [
        f"{found['rows']:,} rows, {found['tokens']:.1f} tokens an input. Work is a share of the dense cost, in percent; so is accuracy.",
        "### Exits",
        table(["exit", *map(str, range(len(exits["accuracy"])))], [
            ["accuracy", *map(percent, exits["accuracy"])],
            ["calibration error", *map(percent, exits["calibration_error"])],
        ]),
        f"Right at an earlier exit and wrong at the last: {percent(exits['overthinking'])} %; right at the last only: "
        f"{percent(exits['only_last'])} %; at any: {percent(exits['best_exit_of_each_row'])} %.",
        "### Rules at equal work",
        "Accuracy (work); chosen on one half of the rows, measured on the other.",
        table(["rule", *(f"at most {percent(most, 0)}" for most in WORK)], [
            [name, *("–" if np.isnan(p["accuracy"]) else f"{percent(p['accuracy'])} ({percent(p['work'], 0)})" for p in points)]
            for name, points in found["rules"].items()
        ]),
        "Where entropy rises, the answer of this exit or of the one before:",
        table(["threshold", "work", "this", "before"], [
            [f"{r['threshold']:g}", percent(r["work"], 0), percent(r["this"]), percent(r["before"])] for r in found["rising"]
        ]),
        "### Elimination",
        f"Profile {', '.join(f'{share:.3f}' for share in found['profile'])}"
        + ("." if found["profile_is_the_packs"] else ", measured on these rows: the pack has none."),
        table(["speed-up asked for", "gamma", "work", "accuracy"], [
            [f"{e['speedup']:g}", f"{e['gamma']:.2f}", percent(e["work"], 1), percent(e["accuracy"])] for e in found["elimination"]
        ]),
    ]  # fmt: skip
    if found["gates"]:
        rows = [[f"{g['skip']:g}", percent(g["blocks"], 0), percent(g["work"], 1), percent(g["accuracy"])] for g in found["gates"]]
        lines += ["### Skip gates", table(["skip above", "blocks run", "work", "accuracy"], rows)]
    rows = [
        [t["name"] or "·", f"{t['gamma']:g}", f"{t['skip']:g}", percent(t["work"], 1), f"{1 / t['work']:.1f}", percent(t["accuracy"])]
        for t in found["together"]
    ]
    lines += ["### All together", table(["setting", "gamma", "skip above", "work", "speed-up", "accuracy"], rows)]
    return "\n\n".join(lines)
