"""Model cards, the README's table of packs and that of the papers' data sets, from files in `model_pack` (see results.py).

Numbers come from those files and from nowhere else; what has not been measured is a dash.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from . import ablations, compare
from .bias import table as bias_table
from .negation import summary as negation_summary
from .pack import PackFile
from .pareto import picture
from .results import DASH, TAUGHT, VARIANTS, Report, Result, accuracy, dev, load, over_seeds, percent, table
from .sizes import ratios

HEAD = "<!-- Written by `scripts/beex-train cards` from the recipe, the pack and the reports; change those. -->"
WIDTH = 120
MOST_LABELS = 10  # in a table of the weakest
# Of the papers' tables, with the names under which they are reported here.
PAPER_SETS = {
    "SST-2": "sentiment", "CoLA": "cola", "MRPC": "mrpc", "QQP (part)": "duplicates", "RTE": "rte", "IMDB": "reviews",
    "AG News (part)": "topic", "TREC-6": "question", "Emotion": "emotion",
}  # fmt: skip


def publish(folder: Path) -> str:
    """Write the cards, the papers' table, the ablations, the comparison and the picture into `folder` (model_pack); the README's table."""
    write_cards(folder)
    (folder / "cards" / "papers.md").write_text(papers_page(folder), encoding="utf-8")
    if (runs := folder / "reports" / "ablations.json").exists():
        (folder / "cards" / "ablations.md").write_text(ablation_page(json.loads(runs.read_text(encoding="utf-8"))), encoding="utf-8")
    if (runs := folder / "reports" / "compare.json").exists():
        few = folder / "reports" / "compare50.json"
        found = [json.loads(path.read_text(encoding="utf-8")) if path.exists() else {} for path in (runs, few)]
        (folder / "cards" / "compare.md").write_text(comparison_page(*found), encoding="utf-8")
    (folder / "pareto.svg").write_text(picture(folder), encoding="utf-8")
    return pack_table(folder)


def write_cards(folder: Path) -> list[Path]:
    """Write `cards/NAME.md` for every recipe in `folder` (model_pack)."""
    (folder / "cards").mkdir(exist_ok=True)
    written = []
    for result in load(folder).values():
        if result.recipe is not None:
            path = folder / "cards" / f"{result.name}.md"
            path.write_text(card(result), encoding="utf-8")
            written.append(path)
    return written


def papers_page(folder: Path) -> str:
    """The papers' table with how its runs were made and how to read it."""
    return (
        f"{HEAD}\n\n# The papers' data sets\n\n"
        "Cells are runs of `scripts/make-pack NAME FOLDER`, with `--float-twin` or `--activation-bits 1` for the columns of those names, on all training rows of the\n"
        "set (of QQP and AG News there is a part). A set with a pack is trained by its recipe, another one by the defaults; for SST-2 without a teacher the doubtful words that\n"
        "the recipe's 4,608 word pieces lack were left out. On CoLA the majority answer is what to expect at this size, with float weights too; RTE has 277 dev rows.\n\n"
        f"{paper_table(folder)}\n"
    )


def ablation_page(runs: dict[str, Any]) -> str:
    """What `beex-train ablate` found, with how to read it."""
    return (
        f"{HEAD}\n\n# What each part of the method is worth\n\n"
        "`scripts/beex-train ablate FOLDER… --rounds 2 --out model_pack/reports/ablations.json` (gates: `--rounds 3`) trains the same rows with one thing changed. Accuracy on dev rows and macro-F1 in\n"
        "percent, mean ± standard deviation over the seeds; work is a share of the dense cost ([FORMAT.md](../FORMAT.md), \"Cost\"), gates, exits and look-ups counted.\n"
        "Exits are the network's own rule, chosen on held-out training rows. These are short runs on few rows, to compare with each other and with nothing else;\n"
        "on some hundred dev rows a difference of two points is no more than chance.\n\n"
        "## Bits of the activations\n\nAccuracy with all blocks / with exits. One-bit weights but for the float twin; few-bit: the base's four.\n\n"
        f"{ablations.overview(runs)}\n\n"
        f"{ablations.text(runs)}\n"
    )


def comparison_page(found: dict[str, Any], few: dict[str, Any]) -> str:
    """What `beex-train compare` found on many rows and on 50 of every label, with how to read it."""
    of_few = f"\n## 50 rows of every label\n\nThe same with `--per-label 50 --out model_pack/reports/compare50.json`.\n\n{compare.text(few)}\n" if few else ""
    return (
        f"{HEAD}\n\n# What `fit` makes of your own table\n\n"
        "`scripts/beex-train compare FOLDER… --rows 5000 --compile --threads 1 --out model_pack/reports/compare.json` trains on at most 5,000 rows of each data set, with no\n"
        "other option than these, beside a linear model (TF-IDF of words and word pairs, logistic regression) and fastText on the same rows. Percent of the dev rows, one seed;\n"
        "seconds on one core of a machine that did other things too; kilobytes of the pack before compression.\n\n"
        f"{compare.text(found)}\n"
        f"{of_few}"
    )


def pack_table(folder: Path) -> str:
    """The README's table: every pack on one line, in percent of its dev rows."""
    rows = []
    for result in load(folder).values():
        if result.recipe is None:
            continue
        own = dev(result.own)
        rows.append([
            f"[`{result.name}`](model_pack/cards/{result.name}.md)",
            str(len(result.pack.lines("labels"))) if result.pack else DASH,
            f"{own['rows']:,}" if own else DASH,
            *(percent(result.baseline(kind).get("accuracy"), 1) for kind in ("majority", "linear", "fasttext")),
            over_seeds(accuracy(report) for report in result.seeds(result.twin)),
            f"**{percent(accuracy(result.own), 1)}**{_interval(own)}",
            over_seeds(map(accuracy, seeds)) if len(seeds := result.seeds(result.own_variant)) > 1 else DASH,
            percent(own.get("accuracy_with_exits"), 1),
            _share(own.get("mean_depth")),
            _against_linear(own),
            f"{result.size['gzipped'] / 1000:,.0f} kB" if result.pack else DASH,
        ])  # fmt: skip
    header = ["pack", "labels", "dev rows", "majority", "TF-IDF + LR", "fastText", "float twin", "pack, all blocks", "seeds", "exits on",
              "blocks run", "against a linear model", "gzipped"]  # fmt: skip
    return table(header, rows)


def paper_table(folder: Path) -> str:
    """The table of the papers' nine data sets, a line without and one with a teacher, with a sentence on how to read it."""
    results = load(folder)
    rows = []
    for title, name in PAPER_SETS.items():
        result = results.get(name, Result(name))
        ratio = ratios(result.size) if result.size else {}
        times = lambda key: f"{ratio[key]:.1f}×" if ratio.get(key) else DASH
        for suffix, variants in {"": TAUGHT.keys(), ", soft labels": TAUGHT.values()}.items():
            few_bit, twin, one_bit = variants
            seeds = result.seeds(few_bit)
            if suffix and not seeds:
                continue
            rows.append([
                title + suffix,
                *(percent(result.baseline(kind).get("accuracy"), 1) for kind in ("majority", "linear")),
                *(_both(result.seeds(variant)) for variant in (twin, one_bit, few_bit)),
                str(len(seeds) or DASH),
                _share(_mean_depth(seeds)),
                times("file"), times("without_embeddings"), times("matrices"),
            ])  # fmt: skip
        if title == "CoLA":
            # The usual measure of this set; reports have it for all blocks only.
            matthews = lambda variant: over_seeds(dev(report).get("matthews") for report in result.seeds(variant))
            of_baseline = [percent(result.baseline(kind).get("matthews"), 1) for kind in ("majority", "linear")]
            rows.append(["CoLA, Matthews × 100", *of_baseline, *map(matthews, ("twin", "w1a1", "")), *[""] * 5])
    header = ["dev rows of", "majority", "TF-IDF + LR", "float twin", "W1A1", "W1A4", "seeds of W1A4", "blocks run",
              "smaller than the twin", "without embeddings", "matrices alone"]  # fmt: skip
    reading = (
        "Accuracy on dev rows in percent, all blocks / exits on; with several seeds their mean ± standard deviation. \"Soft labels\" are\n"
        "a teacher's, for these texts and others; of pairs there are none. Sizes are those of the pack's file beside the twin's\n"
        "parameters in float32: all of it, without embeddings and vocabulary, and the binarized matrices alone."
    )
    return f"{table(header, rows)}\n\n{reading}"


def card(result: Result) -> str:
    """The model card of a recipe."""
    recipe, own = result.recipe, dev(result.own)
    parts = [HEAD, f"# {result.name}", recipe["description"]]
    parts.append("\n".join([
        f"- **Labels:** {_labels(result)}",
        f"- **Data:** {recipe['data']}.",
        f"- **Licence:** {recipe['licence']}",
        f"- **Size:** {_size(result)}",
    ]))  # fmt: skip
    parts.append(f"## Measured\n\n{_rows_measured(own)}\n\n{_measures(result)}")
    if own:
        parts.append(_exits(result.own, result.pack))
        if curve := speed_table(result.own):
            parts.append(curve)
        if "verdict" in own:
            parts.append(textwrap.fill(f"Is it worth its bytes? {_capital(own['verdict']['sentence'])}.", WIDTH))
        if weak := _weak_labels(own):
            parts.append(weak)
        if notes := result.own.get("notes"):
            parts.append("Of the data:\n\n" + "\n".join(f"- {note}" for note in notes))
    parts.append("## Limits\n\n" + "\n".join(f"- {limit}" for limit in recipe["limits"]))
    if result.bias:
        parts.append(f"## Bias probe\n\n{bias_table(result.bias)}")
    if result.negation:
        parts.append(f"## Negation probe\n\n{negation_summary(result.negation)}")
    parts.append(f"## How it is made\n\n```sh\n{result.command}\n```")
    return "\n\n".join(parts) + "\n"


def _measures(result: Result) -> str:
    """One line for each baseline, for the pack, and for every other run there is."""
    more = "micro_f1" if "micro_f1" in dev(result.own) else "matthews" if "matthews" in dev(result.own) else None
    header = ["", "all blocks", "exits on", "blocks run", "macro-F1", "calibration error"]
    if more:
        header.insert(5, {"micro_f1": "micro-F1", "matthews": "Matthews"}[more])

    def line(title: str, scores: dict[str, Any], bold: bool = False) -> list[str]:
        strong = "**" if bold else ""
        depth = scores.get("accuracy_by_exit")
        cells = [
            f"{strong}{title}{strong}",
            f"{strong}{percent(depth[-1] if depth else scores.get('accuracy'))}{strong}{_interval(scores)}",
            percent(scores.get("accuracy_with_exits")),
            _share(scores.get("mean_depth")),
            percent(scores.get("macro_f1")),
            percent(scores.get("calibration_error")),
        ]
        if more:
            value = scores.get(more)
            cells.insert(5, percent(value) if more == "micro_f1" or value is None else f"{value:.3f}")
        return cells

    rows = [
        line("majority answer", result.baseline("majority")),
        line("TF-IDF + logistic regression", result.baseline("linear")),
        line("fastText", result.baseline("fasttext")),
        line("this pack", dev(result.own), bold=True),
    ]
    wanted = {result.twin, TAUGHT["w1a1"] if result.taught else "w1a1", "noexit0"}  # a dash where there is none
    for variant in dict.fromkeys([result.own_variant, "", *VARIANTS, *result.runs]):
        runs = result.runs.get(variant, {1: None} if variant in wanted else {})
        for seed, report in sorted(runs.items()):
            if report is None or dev(report) != dev(result.own):
                title = VARIANTS.get(variant, variant) if variant else f"the recipe with seed {seed}"
                untaught = ", without a teacher" if report and result.taught and variant not in TAUGHT.values() else ""
                rows.append(line(title + untaught + (f", seed {seed}" if variant and len(runs) > 1 else ""), dev(report)))
        if variant == result.own_variant and len(seeds := result.seeds(variant)) > 1:
            spread = [over_seeds((accuracy(report, exits) for report in seeds), 2) for exits in (False, True)]
            rows.append([f"mean of {len(seeds)} seeds", *spread, *[""] * (len(header) - 3)])
    return table(header, rows)


def _rows_measured(own: dict[str, Any]) -> str:
    if not own:
        return "There is no pack yet. In percent; brackets hold 95 % intervals."
    right = " A text counts as right when all its labels are." if own.get("multi_label") else ""
    return (
        f"On {own['rows']:,} dev rows; calibration, number of blocks and exit rule come from other rows.\n"
        f"In percent, brackets hold 95 % intervals.{right} "
        "A float twin has the same shape and training with float weights and activations; blocks run are those that exits leave."
    )


def _exits(own: Report, pack: PackFile) -> str:
    by_exit = ", ".join(percent(share) for share in own["dev"]["accuracy_by_exit"])
    rule, doubtful = own["exit_rule"], own.get("doubtful")
    less = f"; later exits add {100 * pack.share_in_doubt:g} % of its logits there" if pack.share_in_doubt < 1 else ""
    return (
        f"Accuracy at exit 0, 1, …: {by_exit} %. Rows that stop there: {', '.join(f'{n:,}' for n in own['dev']['rows_by_exit'])}.\n"
        f"Exit rule ([FORMAT.md](../FORMAT.md)): {rule['kind']}, threshold {rule['threshold']:g}, "
        f"certain {rule['certain']:g}, uncertain {rule['uncertain']:g}."
        + (f"\nExit 0 does not answer texts with one of these: {', '.join(f'`{word}`' for word in doubtful)}{less}." if doubtful else "")
    )


def speed_table(own: Report) -> str:
    """The speed curve; nothing for a report without one."""
    if not (points := own.get("curve")):
        return ""
    on_dev = {speed["name"]: speed for speed in own["dev"].get("speeds", [])}

    def line(point: dict[str, Any]) -> list[str]:
        dev_rows = on_dev.get(point["name"], {}) if point["name"] else {}
        name = f"**{point['name']}**" if point["name"] else ""
        return [
            name, percent(point["work"], 1), percent(point["accuracy"], 1), percent(dev_rows.get("work"), 1), percent(dev_rows.get("accuracy"), 1),
            f"{point['gamma']:g}", f"{point['skip']:g}" if point["skip"] < 1 else DASH,
        ]  # fmt: skip

    header = ["speed", "work", "accuracy", "work, dev rows", "accuracy, dev rows", "gamma", "skip above"]
    measure = "micro-F1" if own["dev"].get("multi_label") else "accuracy"
    return (
        f"Speed settings, chosen on held-out training rows: work as a share of the dense cost, and {measure}, in percent. Gamma is that of\n"
        f"elimination ([FORMAT.md](../FORMAT.md)).\n\n{table(header, [line(point) for point in points])}"
    )


def _weak_labels(own: dict[str, Any]) -> str:
    """The labels with the least F1 and what is taken for what; nothing where there are two labels only."""
    if len(own.get("by_label", [])) <= 2:
        return ""
    weakest = sorted((label for label in own["by_label"] if label["rows"]), key=lambda label: label["f1"])[:MOST_LABELS]
    rows = [[f"`{w['label']}`", f"{w['rows']:,}", *(percent(w[key], 1) for key in ("precision", "recall", "f1"))] for w in weakest]
    title = "The labels, the weakest first:" if len(own["by_label"]) <= MOST_LABELS else f"The {MOST_LABELS} weakest labels:"
    text = f"{title}\n\n{table(['label', 'rows', 'precision', 'recall', 'F1'], rows)}"
    if confusions := own.get("confusions", [])[:5]:
        pairs = ", ".join(f"`{c['truth']}` for `{c['answer']}` ({c['rows']})" for c in confusions)
        text += "\n\n" + textwrap.fill(f"Most often it takes {pairs}.", WIDTH)
    return text


def _labels(result: Result) -> str:
    if result.pack is None:
        return DASH
    names = result.pack.lines("labels")
    several = ", any number of which may hold" if dev(result.own).get("multi_label") else ""
    return f"{len(names)}{several}: {', '.join(f'`{name}`' for name in names)}"


def _size(result: Result) -> str:
    if result.pack is None:
        return DASH
    size, smaller = result.size, ratios(result.size)
    text = f"{size['bytes']:,} bytes, {size['gzipped']:,} gzipped"
    if smaller["file"]:
        text += (
            f"; {smaller['file']:.1f} times smaller than its float twin, {smaller['without_embeddings']:.1f} times without embeddings and "
            f"vocabulary, {smaller['matrices']:.1f} times in the binarized matrices"
        )
    return text + "."


def _both(reports: list[Report]) -> str:
    """'all blocks / exits on' of some runs."""
    if not reports:
        return DASH
    return " / ".join(over_seeds(accuracy(report, exits) for report in reports) for exits in (False, True))


def _mean_depth(reports: list[Report]) -> float | None:
    depths = [dev(report)["mean_depth"] for report in reports if "mean_depth" in dev(report)]
    return sum(depths) / len(depths) if depths else None


def _interval(scores: dict[str, Any]) -> str:
    return " [{:.1f}, {:.1f}]".format(*(100 * bound for bound in scores["accuracy_interval"])) if "accuracy_interval" in scores else ""


def _share(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.0f} %"


def _against_linear(own: dict[str, Any]) -> str:
    """Better, the same or worse, as McNemar's test says (report.verdict)."""
    return own["verdict"]["outcome"] if "verdict" in own else DASH


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
