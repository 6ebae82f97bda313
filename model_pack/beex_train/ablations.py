"""The same data with one thing of the method changed, over several seeds: what each part of it is worth.

Every run is `fit` with other settings; nothing but the change differs. A network of another form cannot start from the base encoder, so the
forms of the SLFN are compared with each other, all from nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any, Sequence

from .adaptive import Loaded, elimination_curve
from .baseline import majority_baseline
from .compare import find
from .data import DataError, is_multi_label, read_table
from .fit import Settings, fit
from .pack import ExitRule, PackFile
from .results import over_seeds, percent, table
from .train import SKIP_ABOVE

THREE_BLOCKS = {"blocks": 3, "drop_blocks": False}
GATED = THREE_BLOCKS | {"skip_budget": 0.67}
SPEEDUPS = (2.0, 3.0)  # by elimination alone
VARIANTS: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "straight-through surrogate": {"surrogate": "straight-through"},
    "tanh surrogate": {"surrogate": "tanh"},
    "gradients blind to weights' size": {"magnitude_aware": False},
    "last exit's loss only": {"last_exit_only": True},
    "cross-layer contrast": {"contrast": 0.05},
    "beside the linear model always": {"prior_dropout": 0.0},
    "without the linear model": {"ngrams": False},
    "1-bit activations": {"activation_bits": 1},
    "float twin": {"float_twin": True},
    "from nothing, SLFN bounded": {"base": "none"},
    "from nothing, SLFN open": {"base": "none", "slfn_form": "open"},
    "from nothing, SLFN rectified": {"base": "none", "slfn_form": "rectified"},
    "from nothing, plain feed-forward": {"base": "none", "slfn_form": "plain"},
    "three blocks, no gates": THREE_BLOCKS,
    "three blocks, fewer words in training": THREE_BLOCKS | {"elimination": 0.5},
    "gates": GATED,
    "gates, contrast, second stage": GATED | {"contrast": 0.05, "head_rounds": 1.0},
}
Run = dict[str, Any]


def measure(folder: Path, rows: int, settings: Settings, compile: bool) -> Run:
    """One fit on at most `rows` training rows of a folder, measured on its dev rows: {"setting": {"accuracy", "macro_f1", "work"}}, with
    work as a share of the dense cost; exits only, gates only and both have what the network's own exit rule and gates do, elimination what its profile
    does when it is tuned to half and a third of the work."""
    train = read_table(find(folder, "train"), rows, seed=1)  # the same rows for every seed
    dev = read_table(find(folder, "dev"), multi_label=is_multi_label(train))
    with tempfile.TemporaryDirectory() as scratch:
        fitted = fit(settings, train, dev, (), Path(scratch) / "checkpoint", compile)
    found = fitted.report["dev"]
    run: Run = {
        "train_rows": len(train), "dev_rows": len(dev), "majority": majority_baseline(train, dev).scores["accuracy"], "blocks": fitted.report["blocks"],
        "seconds": fitted.report["seconds"], "all blocks": {"accuracy": found["accuracy_by_exit"][-1], "macro_f1": found["macro_f1"], "work": 1.0},
    }  # fmt: skip
    if fitted.pack is not None:
        pack = PackFile(fitted.pack)
        loaded = Loaded.of(pack, dev)
        policies = {"exits": (pack.exit_rule, 1.0)}
        if len(loaded.model.gates):
            policies |= {"gates": (ExitRule(), SKIP_ABOVE), "exits and gates": (pack.exit_rule, SKIP_ABOVE)}
        for name, (rule, skip) in policies.items():
            routed = loaded.exits(skip=skip).route(rule)
            run[name] = {"accuracy": loaded.quality(routed), "work": routed.work}
        for point in elimination_curve(loaded, SPEEDUPS):
            run[f"elimination to 1/{point['speedup']:g}"] = {"accuracy": point["accuracy"], "work": point["work"]}
    return run


def ablate(
    folders: Sequence[Path], variants: Sequence[str], seeds: int, rows: int, settings: Settings, out: Path, compile: bool
) -> dict[str, dict[str, list[Run]]]:
    """Every run that `out` (JSON) does not hold yet, seed after seed; it is written after each. Gives all it holds: runs of each data set and
    variant in the order of their seeds. Raises DataError for a variant that is not in VARIANTS."""
    for variant in variants:
        if variant not in VARIANTS:
            raise DataError(f"no variant {variant!r}; there are {', '.join(map(repr, VARIANTS))}")
    found: dict[str, dict[str, list[Run]]] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for seed in range(1, seeds + 1):
        for folder in folders:
            for variant in variants:
                runs = found.setdefault(folder.name, {}).setdefault(variant, [])
                if len(runs) < seed:
                    print(f"{folder.name}, {variant}, seed {seed} …", file=sys.stderr, flush=True)
                    runs.append(measure(folder, rows, replace(settings, seed=seed, **VARIANTS[variant]), compile))
                    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def overview(found: dict[str, dict[str, list[Run]]]) -> str:
    """Markdown: float twin, 1-bit and few-bit activations side by side, a line for each data set that has them; all blocks / exits, in percent."""
    lines = []
    for data_set, variants in found.items():
        if not {"the defaults", "1-bit activations", "float twin"} <= variants.keys():
            continue

        def both(variant: str) -> str:
            runs = variants[variant]
            settings = [name for name in ("all blocks", "exits") if all(name in run for run in runs)]
            return " / ".join(over_seeds((run[name]["accuracy"] for run in runs), 1) for name in settings)

        own = variants["the defaults"]
        works = percent(mean(run["exits"]["work"] for run in own), 0)
        lines.append([
            data_set, percent(own[0]["majority"], 1), both("float twin"), both("1-bit activations"), both("the defaults"), works,
            str(min(len(variants[name]) for name in ("the defaults", "1-bit activations", "float twin"))),
        ])  # fmt: skip
    return table(["data", "majority", "float twin", "1-bit activations", "few-bit activations", "work with exits", "seeds"], lines)


def text(found: dict[str, dict[str, list[Run]]]) -> str:
    """Markdown: a table for each data set, a line for each variant; means and standard deviations over the seeds, in percent."""
    parts = []
    for data_set, variants in found.items():
        first = next((runs[0] for runs in variants.values() if runs), None)
        if first is None:
            continue
        lines = []
        for variant, runs in variants.items():
            for setting in dict.fromkeys(name for run in runs for name, value in run.items() if isinstance(value, dict)):
                known = [run[setting] for run in runs if setting in run]
                if known:
                    works = mean(run["work"] for run in known)
                    lines.append([
                        f"{variant}, {setting}", str(len(known)), over_seeds((run["accuracy"] for run in known), 2),
                        over_seeds((run.get("macro_f1") for run in known), 1), percent(works, 0),
                    ])  # fmt: skip
        parts.append(
            f"## {data_set}\n\n{first['train_rows']:,} training rows, {first['dev_rows']:,} dev rows, {percent(first['majority'], 1)} % of them of the largest label.\n\n"
            + table(["variant", "seeds", "accuracy", "macro-F1", "work"], lines)
        )
    return "\n\n".join(parts)
