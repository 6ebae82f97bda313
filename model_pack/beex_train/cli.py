"""`beex-train`: fit, eval, tune, adaptive, pretrain, export, teach, baseline, compare, ablate, cards, bias, negation,
negations, golden."""

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

import numpy as np
import torch

from . import ablations, adaptive, bias, compare, negation, report
from .baseline import fasttext_baseline, linear_baseline, majority_baseline
from .base import DEFAULT as DEFAULT_BASE
from .base import Base, save_base
from .cards import publish
from .data import DataError, Table, class_targets, is_multi_label, read_table
from .devices import join_processes, rank_and_world
from .export import export
from .fit import Settings, fit
from .golden import write_all
from .pack import TASKS, ExitRule, PackError, PackFile
from .pretrain import Pretraining, pretrain, read_corpus
from .simulate import Simulator
from .sizes import ratios, sizes
from .teach import MAX_TOKENS, TEACHER, teach
from .tokenizer import Encoder, most_used, train_vocabulary
from .tune import for_speedup, held_out_rows, tune


def _settings(arguments: argparse.Namespace) -> Settings:
    """Defaults, then the recipe, then the command line."""
    values: dict[str, Any] = {}
    if arguments.recipe:
        known = {f.name for f in fields(Settings)}
        with Path(arguments.recipe).open("rb") as file:
            values = tomllib.load(file)
        if unknown := sorted(set(values) - known):
            raise DataError(f"{arguments.recipe}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    values |= {f.name: given for f in fields(Settings) if (given := getattr(arguments, f.name, None)) is not None}
    return replace(Settings(), **values)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings", "override the recipe (a TOML file with the same names)")
    for setting in fields(Settings):
        option = "--" + setting.name.replace("_", "-")
        if setting.name == "limits":
            continue  # sentences belong into a recipe
        if isinstance(setting.default, bool):
            group.add_argument(option, action=argparse.BooleanOptionalAction, default=None)
        elif setting.default_factory is list:
            group.add_argument(option, nargs="*", metavar="WORD")
        else:
            group.add_argument(option, type=type(setting.default), metavar=str(setting.default) or "TEXT")


def _interval(share: float, rows: int) -> str:
    """A share in percent with its 95 % Wilson interval."""
    z = 1.96
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return f"{100 * share:.2f} % [{100 * (middle - half):.1f}, {100 * (middle + half):.1f}]"


def _print_report(made: dict[str, Any]) -> None:
    print(f"training rows       {made['rows']:,}, and {made['held_out_rows']:,} held out for calibration and exit rule")
    plan = made["plan"]
    print(f"training            {plan['rounds']:.1f} rounds, learning rate {plan['learning_rate']:g}, {made['blocks']} blocks kept, {made['seconds']:.0f} s")
    if dev := made.get("dev"):
        print(report.text(dev) + "\n")
        print("accuracy by exit    " + "  ".join(f"{100 * a:.2f}" for a in dev["accuracy_by_exit"]) + " %")
        print("calibration error   " + "  ".join(f"{100 * e:.2f}" for e in dev["calibration_error_by_exit"]) + " % by exit")
        print(f"exits on            {_interval(dev['accuracy_with_exits'], dev['rows'])}, mean depth {100 * dev['mean_depth']:.1f} %")
        print(f"rows by exit        {dev['rows_by_exit']}")
    print(f"exit rule           {made['exit_rule']}")
    if made["doubtful"]:
        print(f"doubtful words      {', '.join(made['doubtful'])} (with these the linear model does not answer alone)")
    if made["curve"]:
        print_curve(made["curve"])
    for speed in made.get("dev", {}).get("speeds", []):
        print(f"{speed['name']:<20}{100 * speed['accuracy']:.2f} % of {speed['rows']:,} dev rows at {100 * speed['work']:.1f} % of the work")
    if "export" in made:
        print(f"export = training   {made['export']}")


def print_curve(points: Sequence[dict[str, Any]]) -> None:
    """A speed curve, a line a setting."""
    print("speed               work  accuracy  gamma  skip above  exit rule")
    for p in points:
        rule = p["rule"]
        words = "off" if rule["kind"] == "off" else f"{rule['kind']} {rule['threshold']:g}, certain {rule['certain']:g}, uncertain {rule['uncertain']:g}"
        print(f"{p['name']:<18}{100 * p['work']:>5.1f} %{100 * p['accuracy']:>8.2f} %{p['gamma']:>6g}{p['skip']:>12g}  {words}")


def _fit(arguments: argparse.Namespace) -> None:
    settings = _settings(arguments)
    join_processes(torch.device(arguments.device))
    table = read_table(arguments.train, settings.most_rows)  # the same sample for every seed: `teach` reads it too
    dev = read_table(arguments.dev, multi_label=is_multi_label(table)) if arguments.dev else None
    out = Path(arguments.out)
    checkpoint = out.with_suffix(".checkpoint")
    soft = [Path(path) for path in arguments.soft_labels]
    if arguments.unlabelled or arguments.augment:
        made = out.with_suffix(".soft.tsv")
        soft.append(made)
        unlabelled = Path(arguments.unlabelled) if arguments.unlabelled else None
        teach(
            table, dev, made, unlabelled, variations=arguments.augment, teacher=arguments.teacher, seed=settings.seed, held_out=settings.hold_out,
        )  # fmt: skip
    fitted = fit(settings, table, dev, soft, checkpoint, arguments.compile, arguments.device, [Path(path) for path in arguments.linear_labels])
    if rank_and_world()[0] > 0:
        return  # the first process speaks and writes for all
    if fitted.pack is not None:
        out.write_bytes(fitted.pack)
        print(f"wrote {out}: {len(fitted.pack):,} bytes")
    _print_report(fitted.report)
    _write_json(arguments.report, fitted.report)
    if not arguments.keep_checkpoint:
        checkpoint.unlink(missing_ok=True)


def _export(arguments: argparse.Namespace) -> None:
    """The pack of a base encoder: it turns texts into vectors."""
    base = Base.load(Path(arguments.base))
    pack = export(base.model(), Encoder(base.vocabulary), [], base.about)
    Path(arguments.out).write_bytes(pack)
    print(f"wrote {arguments.out}: {len(pack):,} bytes")


def _pretrain(arguments: argparse.Namespace) -> None:
    options = Pretraining(
        teacher=arguments.teacher, base=arguments.base, embedding_bits=arguments.embedding_bits, vocabulary_size=arguments.vocabulary_size,
        tokens=arguments.tokens, seed=arguments.seed,
    )  # fmt: skip
    texts = read_corpus(arguments.texts, arguments.tables, options.seed)
    if options.base:
        vocabulary = most_used(Base.load(Path(options.base)).vocabulary, texts, options.vocabulary_size)
    else:
        vocabulary = train_vocabulary(texts, options.vocabulary_size)
    encoder = Encoder(vocabulary)
    out = Path(arguments.out)
    model, about = pretrain(texts, encoder, options, out.with_suffix(".checkpoint"), not arguments.eager)
    about["data"] = [Path(source).name for source in arguments.texts] + [f"{Path(table).parent.name} (texts only)" for table in arguments.tables]
    save_base(out, model, encoder.vocabulary, about)
    print(f"wrote {out}: {out.stat().st_size:,} bytes")


def _eval(arguments: argparse.Namespace) -> None:
    pack = PackFile.open(arguments.pack)
    labels, multi = pack.lines("labels"), pack.config["task"] == TASKS.index("multi")
    table = read_table(arguments.data, multi_label=multi)
    targets = class_targets(table, labels)
    if (table.texts_b is not None) != (pack.config["inputs"] == 2):
        raise DataError(f"{table.name}: the pack classifies {'pairs' if pack.config['inputs'] == 2 else 'single texts'}; give such rows")
    size = sizes(Path(arguments.pack).read_bytes())
    smaller = ", ".join(f"{part.replace('_', ' ')} {ratio:.1f} times" for part, ratio in ratios(size).items() if ratio)
    print(f"size                {size['bytes']:,} bytes, {size['gzipped']:,} gzipped; smaller than in float32: {smaller}")
    simulator = Simulator(pack)
    thresholds = pack.floats("threshold.by_label", len(labels)).tolist() if multi else None
    pairs = table.texts_b or [None] * len(table)
    for name, rule in (("exits off", ExitRule()), ("exits on", pack.exit_rule)):
        outcomes = [simulator.classify(text, other, rule) for text, other in zip(table.texts, pairs)]
        probabilities = np.stack([outcome.probabilities for outcome in outcomes])
        depth = sum(outcome.blocks_run / outcome.windows for outcome in outcomes) / (len(outcomes) * pack.config["blocks"])
        reasons = dict(Counter(outcome.reason for outcome in outcomes).most_common())
        print(f"\n{name}: mean depth {100 * depth:.1f} %, reasons {reasons}")
        print(report.text(report.measure(probabilities, targets, labels, thresholds)))


def _rows_for(pack: PackFile, arguments: argparse.Namespace) -> Table:
    multi = pack.config["task"] == TASKS.index("multi")
    table = read_table(arguments.data, pack.metadata.get("training", {}).get("most_rows"), multi_label=multi)
    return held_out_rows(pack, table) if arguments.held_out else table


def _tune(arguments: argparse.Namespace) -> None:
    """The curve, and the gamma of a speed-up, without training."""
    data = Path(arguments.pack).read_bytes()
    pack = PackFile(data)
    rows = _rows_for(pack, arguments)
    if arguments.speedup:
        found = for_speedup(pack, rows, arguments.speedup)
        print(f"gamma {found['gamma']:.3f}: all blocks take {100 * found['work']:.1f} % of the dense work on these texts")
        return
    tuned, points = tune(data, rows)
    print(f"on {len(rows):,} rows; work is a share of the dense cost")
    print_curve([point.describe() for point in points])
    if arguments.out:
        Path(arguments.out).write_bytes(tuned)
        print(f"wrote {arguments.out}: {len(tuned):,} bytes")


def _adaptive(arguments: argparse.Namespace) -> None:
    pack = PackFile.open(arguments.pack)
    found = adaptive.report(pack, _rows_for(pack, arguments))
    _write_json(arguments.out, found)
    print(adaptive.text(found))


def _teach(arguments: argparse.Namespace) -> None:
    table = read_table(arguments.train, Settings.most_rows)
    for note in table.notes:
        print(f"note: {note}", file=sys.stderr)
    teach(
        table, read_table(arguments.dev), Path(arguments.out), Path(arguments.unlabelled) if arguments.unlabelled else None,
        arguments.count, arguments.tables, arguments.augment, arguments.teacher, arguments.epochs, arguments.learning_rate, arguments.batch,
        arguments.seed, whole=arguments.paragraphs, max_tokens=arguments.max_tokens, keep_end=arguments.keep_end, most_rows=arguments.most_rows,
    )  # fmt: skip


def _baseline(arguments: argparse.Namespace) -> None:
    train = read_table(arguments.train)
    dev = read_table(arguments.dev, multi_label=is_multi_label(train))
    for name, answers in (
        ("majority answer", majority_baseline(train, dev)),
        ("TF-IDF + logistic", linear_baseline(train, dev)),
        ("fastText", fasttext_baseline(train, dev, arguments.seed)),
    ):
        others = ", ".join(f"{key} {100 * value:.2f} %" for key, value in answers.scores.items() if key != "accuracy")
        print(f"{name:<20}{_interval(answers.scores['accuracy'], len(dev))}, {others}")


def _compare(arguments: argparse.Namespace) -> None:
    folders = [Path(folder) for folder in arguments.tasks]
    settings = _settings(arguments)
    print(compare.text(compare.compare_all(folders, arguments.rows, arguments.per_label, settings, Path(arguments.out), arguments.compile)))


def _ablate(arguments: argparse.Namespace) -> None:
    folders, settings = [Path(folder) for folder in arguments.tasks], _settings(arguments)
    print(ablations.text(ablations.ablate(folders, arguments.variants, arguments.seeds, arguments.rows, settings, Path(arguments.out), arguments.compile)))


def _golden(arguments: argparse.Namespace) -> None:
    write_all(Path(arguments.folder), Path(arguments.packs))


def _cards(arguments: argparse.Namespace) -> None:
    print(publish(Path(arguments.folder)))


def _write_json(path: str | None, value: Any) -> None:
    """Keep `value` in a file, if one was asked for."""
    if path:
        Path(path).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _bias(arguments: argparse.Namespace) -> None:
    result = bias.probe_pack(Simulator(PackFile.open(arguments.pack)), arguments.label)
    _write_json(arguments.out, result)
    print(bias.table(result))


def _negation(arguments: argparse.Namespace) -> None:
    result = negation.probe_pack(Simulator(PackFile.open(arguments.pack)), arguments.label)
    _write_json(arguments.out, result)
    print(negation.summary(result))


def _negations(arguments: argparse.Namespace) -> None:
    negation.write(arguments.count, arguments.seed, arguments.labels, Path(arguments.out))
    print(f"wrote {arguments.out}: {arguments.count:,} sentences")


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
    command.add_argument("--soft-labels", action="append", default=[], help="an output of `teach`: more texts with a teacher's probabilities; of several, given one after the other, the mean is taken")
    command.add_argument("--linear-labels", action="append", default=[], help="the same, for the linear model inside alone: it learns from many texts in seconds")
    command.add_argument("--unlabelled", help="plain text, one paragraph a line, for a teacher to label and the pack to learn from")
    command.add_argument("--augment", type=int, default=0, help="variations of the training texts for a teacher to label (kept beside the pack, in .soft.tsv) and the pack to learn from")
    command.add_argument("--teacher", default=TEACHER, help="folder or PyPI package of a transformers encoder, or a pack, for --unlabelled and --augment")
    command.add_argument("--report", help="also write the report as JSON")
    command.add_argument("--compile", action="store_true", help="compile the network (slow start, faster steps; for long runs)")
    command.add_argument("--keep-checkpoint", action="store_true", help="keep the training state beside the pack")
    _add_settings(command)
    command.set_defaults(run=_fit)

    command = commands.add_parser("eval", parents=[common], help="accuracy and depth of a pack on labelled rows")
    command.add_argument("pack")
    command.add_argument("data")
    command.set_defaults(run=_eval)

    labelled = argparse.ArgumentParser(add_help=False)
    labelled.add_argument("pack")
    labelled.add_argument("data", help="labelled rows that the pack was not trained on")
    labelled.add_argument("--held-out", action="store_true", help="the data is what the pack was trained on: use the rows that were held out")

    command = commands.add_parser("tune", parents=[common, labelled], help="measure a pack's speed curve anew, without training")
    command.add_argument("--speedup", type=float, default=0.0, help="only print the gamma of elimination that is so many times faster")
    command.add_argument("--out", help="write the pack with its elimination profile and the curve")
    command.set_defaults(run=_tune)

    command = commands.add_parser("adaptive", parents=[common, labelled], help="what exits, elimination and skip gates of a pack are worth")
    command.add_argument("--out", help="also write JSON")
    command.set_defaults(run=_adaptive)

    command = commands.add_parser("pretrain", parents=[common], help="train a base encoder from a sentence encoder, without labels")
    command.add_argument("texts", nargs="*", help="plain text, one paragraph a line; FILE:COUNT takes so many of its sentences")
    command.add_argument("--tables", nargs="*", default=[], help="labelled files, of which the texts are used")
    command.add_argument("--teacher", default=TEACHER, help="folder or PyPI package of a BERT encoder")
    command.add_argument("--base", default="", help="a base to go on from, instead of the teacher's layers")
    command.add_argument("--embedding-bits", type=int, choices=(1, 2, 4, 8), default=Pretraining.embedding_bits, help="of word vectors")
    command.add_argument("--vocabulary-size", type=int, default=Pretraining.vocabulary_size, help="most word pieces")
    command.add_argument("--tokens", type=int, default=Pretraining.tokens, help="to train on")
    command.add_argument("--eager", action="store_true", help="do not compile the network")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--out", required=True)
    command.set_defaults(run=_pretrain)

    command = commands.add_parser("export", parents=[common], help="write the pack of a base encoder")
    command.add_argument("base", nargs="?", default=str(DEFAULT_BASE))
    command.add_argument("--out", required=True)
    command.set_defaults(run=_export)

    command = commands.add_parser("teach", parents=[common], help="soft labels from a fine-tuned float teacher")
    command.add_argument("train")
    command.add_argument("--dev", required=True)
    command.add_argument("--linear-labels", action="append", default=[], help="the same, for the linear model inside alone: it learns from many texts in seconds")
    command.add_argument("--unlabelled", help="plain text, one paragraph a line")
    command.add_argument("--count", type=int, default=150_000, help="sentences of it to label")
    command.add_argument("--paragraphs", action="store_true", help="label whole paragraphs of it, not sentences")
    command.add_argument("--max-tokens", type=int, default=MAX_TOKENS, help="that the teacher reads of a text")
    command.add_argument("--keep-end", action="store_true", help="of a longer text it reads the end, not the start: verdicts of reviews stand there")
    command.add_argument("--tables", nargs="*", default=[], help="other labelled files, of which the texts are labelled too")
    command.add_argument("--augment", type=int, default=0, help="variations of the training texts to make and label")
    command.add_argument("--teacher", default=TEACHER, help="folder or PyPI package of a transformers encoder, or a pack, which is not fine-tuned")
    command.add_argument("--epochs", type=int, default=0, help="of fine-tuning the teacher (default: 2 to 10, by the number of rows)")
    command.add_argument("--learning-rate", type=float, default=1e-4)
    command.add_argument("--batch", type=int, default=32, help="rows in a step of fine-tuning")
    command.add_argument("--most-rows", type=int, default=0, help="of the training rows to fine-tune on (default: all); a large teacher reads long texts slowly")
    command.add_argument("--seed", type=int, default=1, help="of fine-tuning, and of what is drawn")
    command.add_argument("--out", required=True)
    command.set_defaults(run=_teach)

    command = commands.add_parser("baseline", parents=[common], help="accuracy of a linear model and of fastText on the same rows")
    command.add_argument("train")
    command.add_argument("--dev", required=True)
    command.add_argument("--seed", type=int, default=1)
    command.set_defaults(run=_baseline)

    on_folders = argparse.ArgumentParser(add_help=False)
    on_folders.add_argument("--rows", type=int, default=5000, help="most training rows, drawn at random")
    on_folders.add_argument("--out", required=True, help="JSON with the results; what is in it is not run again")
    on_folders.add_argument("--recipe", help="TOML file with settings")
    on_folders.add_argument("--compile", action="store_true", help="compile the network")
    _add_settings(on_folders)

    command = commands.add_parser("compare", parents=[common, on_folders], help="fit beside linear model and fastText on few rows of many data sets")
    command.add_argument("tasks", nargs="+", help="folders with train.tsv and dev.tsv (or .tsv.xz)")
    command.add_argument("--per-label", type=int, default=0, help="so many rows of every label instead")
    command.set_defaults(run=_compare)

    command = commands.add_parser("ablate", parents=[common, on_folders], help="fit with one thing of the method changed, over several seeds")
    command.add_argument("tasks", nargs="*", help="folders with train.tsv and dev.tsv (or .tsv.xz); none: print what OUT holds")
    command.add_argument("--variants", nargs="+", default=list(ablations.VARIANTS), metavar="NAME", help="; ".join(ablations.VARIANTS))
    command.add_argument("--seeds", type=int, default=3)
    command.set_defaults(run=_ablate)

    command = commands.add_parser("cards", parents=[common], help="write model cards, the papers' table and the picture; print the table of packs")
    command.add_argument("folder", nargs="?", default="model_pack")
    command.set_defaults(run=_cards)

    command = commands.add_parser("bias", parents=[common], help="how a pack scores harmless sentences that differ in the group they mention")
    command.add_argument("pack")
    command.add_argument("--label", default="", help="whose probability (default: the pack's last label)")
    command.add_argument("--out", help="also write JSON, for a card: model_pack/reports/NAME.bias.json")
    command.set_defaults(run=_bias)

    command = commands.add_parser("negation", parents=[common], help="how many short opinions with negations a sentiment pack reads right")
    command.add_argument("pack")
    command.add_argument("--label", default="positive", help="the pack's name of positive")
    command.add_argument("--out", help="also write JSON, for a card: model_pack/reports/NAME.negation.json")
    command.set_defaults(run=_negation)

    command = commands.add_parser("negations", parents=[common], help="make short opinions with negations, labelled, for fit --soft-labels")
    command.add_argument("out")
    command.add_argument("--count", type=int, default=6000)
    command.add_argument("--labels", nargs=2, default=["negative", "positive"], metavar=("NEGATIVE", "POSITIVE"))
    command.add_argument("--seed", type=int, default=1)
    command.set_defaults(run=_negations)

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
    except (DataError, PackError, ValueError, OSError) as error:
        print(f"beex-train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbeex-train: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0
