"""What is known of every pack and data set, read from `model_pack`: recipes, packs, the reports of training runs, baselines.

Reports are files in `reports/`, written by scripts/make-pack:

    NAME.seedK.json              a run of the recipe; seed 1 is the pack, or the seed that the recipe names
    NAME.VARIANT[.seedK].json    a run that differs from the recipe: see VARIANTS
    NAME.bias.json               the bias probe of the pack (bias.py)
    NAME.negation.json           its negation probe (negation.py)
    baselines.json               majority answer, linear model and fastText, by data set
    ablations.json               runs of `beex-train ablate`, by data set and variant
    compare.json, compare50.json runs of `beex-train compare`, by data set, the second with --per-label 50

NAME is a pack's, or a data set's that has no pack; `data_sets.json` says which pack is measured on which. What has no file is None here and a dash in print.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Iterable

from .data import DataError
from .pack import PackFile
from .sizes import sizes

VARIANTS = {
    "twin": "float twin",
    "w1a1": "1-bit activations",
    "noexit0": "without the linear model inside",
    "teacher": "with a teacher's soft labels",
    "twin-teacher": "float twin, with a teacher's soft labels",
    "w1a1-teacher": "1-bit activations, with a teacher's soft labels",
}
TAUGHT = {"": "teacher", "twin": "twin-teacher", "w1a1": "w1a1-teacher"}  # the same runs with a teacher's soft labels
REPORT = re.compile(r"(?P<name>\w+)\.(?:(?P<variant>(?!seed|(?:bias|negation)\.)[\w-]+)\.)?(?:seed(?P<seed>\d+)\.)?json")
OTHERS = {"baselines.json", "ablations.json", "compare.json", "compare50.json"}  # in `reports`, of no single pack
DASH = "–"

Report = dict[str, Any]


@dataclass
class Result:
    """What there is of one pack, or of a data set without a pack."""

    name: str
    recipe: dict[str, Any] | None = None
    command: str = ""  # that makes the pack
    pack: PackFile | None = None
    size: dict[str, Any] | None = None  # see sizes.sizes
    runs: dict[str, dict[int, Report]] = field(default_factory=dict)  # by variant ("": the recipe's own) and seed
    baselines: dict[str, Any] = field(default_factory=dict)
    bias: dict[str, Any] | None = None
    negation: dict[str, Any] | None = None

    @property
    def own(self) -> Report | None:
        """The report of the run that made the pack."""
        return self.pack.metadata.get("metrics") if self.pack else None

    @property
    def own_variant(self) -> str:
        """The variant that the pack is a run of; "", the recipe's own, when none fits or there is no pack."""
        if self.own:
            for variant, reports in self.runs.items():
                if any(dev(report) == dev(self.own) for report in reports.values()):
                    return variant
        return ""

    @property
    def taught(self) -> bool:
        """Whether the pack had a teacher."""
        return self.own_variant == TAUGHT[""]

    @property
    def twin(self) -> str:
        """The variant that is the pack's float twin: trained on what the pack was."""
        return TAUGHT["twin"] if self.taught else "twin"

    def seeds(self, variant: str = "") -> list[Report]:
        """The reports of a variant in the order of their seeds."""
        return [report for _, report in sorted(self.runs.get(variant, {}).items())]

    def baseline(self, kind: str) -> dict[str, float]:
        """Scores of 'majority', 'linear' or 'fasttext' (the mean of its seeds) as report.scores gives them; {} when not measured."""
        found = self.baselines.get(kind, {})
        return found.get("scores" if kind == "linear" else "mean", {}) if kind != "majority" else found


def load(folder: Path) -> dict[str, Result]:
    """Everything in `folder` (model_pack) by name: packs in the order of their recipes' names, then data sets without a pack."""
    results: dict[str, Result] = {}
    for path in sorted((folder / "recipes").glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        command = "\n".join(line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   "))
        results[path.stem] = Result(path.stem, tomllib.loads(text), command)
    for path in sorted((folder / "reports").glob("*.json")):
        if path.name in OTHERS:
            continue
        name = path.name.split(".")[0]
        result = results.setdefault(name, Result(name))
        if path.name == f"{name}.bias.json":
            result.bias = _json(path)
        elif path.name == f"{name}.negation.json":
            result.negation = _json(path)
        elif found := REPORT.fullmatch(path.name):
            result.runs.setdefault(found["variant"] or "", {})[int(found["seed"] or 1)] = _json(path)
        else:
            raise DataError(f"{path}: no name of a report; they are NAME.seedK.json, NAME.VARIANT.json and NAME.VARIANT.seedK.json")
    data_sets = {name: data_set for name, data_set in (_json(folder / "data_sets.json") or {}).items() if name in results}
    for data_set, baselines in (_json(folder / "reports" / "baselines.json") or {}).items():
        for name in [name for name, of in data_sets.items() if of == data_set] or [data_set]:
            results.setdefault(name, Result(name)).baselines = baselines
    for name, result in results.items():
        path = folder / "packs" / f"{name}.beex"
        if path.exists():
            data = path.read_bytes()
            result.pack, result.size = PackFile(data), sizes(data)
        else:
            result.size = next((report["size"] for report in result.seeds() if "size" in report), None)
    return results


def _json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def dev(report: Report | None) -> dict[str, Any]:
    """The measurements on dev rows; {} when there are none."""
    return (report or {}).get("dev") or {}


def accuracy(report: Report | None, exits: bool = False) -> float | None:
    """Accuracy of a report, all blocks or with exits."""
    found = dev(report)
    return found.get("accuracy_with_exits") if exits else found.get("accuracy_by_exit", [None])[-1]


def percent(share: float | None, digits: int = 2) -> str:
    """A share in percent, without the sign."""
    return DASH if share is None else f"{100 * share:.{digits}f}"


def over_seeds(shares: Iterable[float | None], digits: int = 1) -> str:
    """The mean of some runs in percent, with the standard deviation where there are several."""
    known = [share for share in shares if share is not None]
    if len(known) < 2:
        return percent(known[0] if known else None, digits)
    return f"{percent(mean(known), digits)} ± {percent(stdev(known), digits)}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown; the first column to the left, the others to the right."""
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return "\n".join([line(header), "|---|" + "---:|" * (len(header) - 1), *map(line, rows)])
