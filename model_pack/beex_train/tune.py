"""A pack's speed settings without training: its elimination profile and its curve, measured anew on labelled rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .adaptive import Loaded
from .cost import Cost
from .data import Table, clean, hold_out
from .elimination import depth_work, gamma_for
from .pack import ELIMINATION, CurvePoint, PackError, PackFile, curve_section, json_section, with_sections
from .speed import curve


def held_out_rows(pack: PackFile, table: Table) -> Table:
    """The rows of its training table that `fit` held out of training. Raises PackError when the pack does not say how they were drawn."""
    training = pack.metadata.get("training", {})
    if "hold_out" not in training:
        raise PackError("the pack does not say which rows were held out in training; give other rows, without --held-out")
    table, _ = clean(table)
    _, held = hold_out(table, training["hold_out"])
    return table.rows(held)


def tune(data: bytes, rows: Table) -> tuple[bytes, list[CurvePoint]]:
    """The pack with a profile, its own or else one measured on `rows`, and with the curve of these rows."""
    pack = PackFile(data)
    loaded = Loaded.of(pack, rows)
    points = curve(loaded.model, loaded.inputs, loaded.targets, loaded.temperatures, loaded.thresholds)
    sections: dict[str, bytes] = {"policy.curve": curve_section(points)}
    if loaded.measured_profile:
        words = np.frombuffer(pack.sections["config"], "<u4").copy()
        words[23] |= ELIMINATION
        sections |= {"config": words.tobytes(), "elimination.profile": np.array(loaded.model.profile, "<f4").tobytes()}
    if metrics := pack.metadata.get("metrics"):
        metrics = metrics | {"profile": loaded.model.profile, "curve": [point.describe() for point in points]}
        if "dev" in metrics:  # what the old curve's settings gave on dev rows says nothing of the new ones
            metrics["dev"] = {key: value for key, value in metrics["dev"].items() if key != "speeds"}
        sections["metadata"] = json_section(pack.metadata | {"metrics": metrics})
    return with_sections(data, sections, optional={"policy.curve"}), points


def for_speedup(pack: PackFile, rows: Table, speedup: float) -> dict[str, Any]:
    """The gamma that makes all blocks so many times cheaper on texts as long as `rows`, by the analytic cost alone."""
    loaded = Loaded.of(pack, rows)
    cost, tokens = Cost.of_model(loaded.model.config), loaded.inputs.lengths
    gamma = gamma_for(cost, loaded.model.profile, tokens, speedup)
    return {"gamma": gamma, "work": depth_work(cost, loaded.model.profile, gamma, tokens)}
