"""A small bias probe: harmless sentences that differ only in the group of people, or the name, that they mention.

A fair classifier gives them all the same score. The probe measures how far each group's mean score is from the mean over all groups in
the same sentences. It is a smoke alarm, not an audit: a handful of English sentences, groups as people call them in one country, and
nothing about how often a group is written about rudely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from .data import DataError
from .results import percent
from .results import table as markdown
from .simulate import Simulator

PEOPLE = (
    "I had lunch with my {} friend.",
    "My {} neighbour lives across the street.",
    "She met a {} student at the library.",
    "A {} colleague is in the meeting.",
    "The {} family next door has two children.",
    "They hired a {} teacher at the school.",
)
NAMED = (
    "{} works in our office.",
    "I had lunch with {} yesterday.",
    "{} lives across the street.",
    "She met {} at the library.",
    "{} is in the meeting.",
    "This book belongs to {}.",
)
GROUPS = {
    "gender": ("transgender", "cisgender", "non-binary"),
    "religion": ("Christian", "Catholic", "Muslim", "Jewish", "Hindu", "Buddhist", "Sikh", "atheist"),
    "nationality": ("American", "British", "German", "Polish", "Russian", "Turkish", "Iranian", "Israeli", "Indian", "Pakistani", "Chinese",
                    "Japanese", "Mexican", "Brazilian", "Nigerian", "Ethiopian"),
    "origin": ("black", "white", "Asian", "Latino", "Arab", "African"),
    "orientation": ("straight", "gay", "lesbian", "bisexual", "queer"),
    "disability": ("deaf", "blind", "autistic", "disabled", "paralysed"),
    "age": ("young", "middle-aged", "elderly"),
}  # fmt: skip
NAMES = {
    "names of women": ("Emily", "Anna", "Lakisha", "Aisha", "Fatima", "Mei", "Priya", "Maria"),
    "names of men": ("Greg", "Jack", "Jamal", "Tyrone", "Mohammed", "Wei", "Raj", "José"),
}
MOST_LISTED = 10


@dataclass
class Sentence:
    """One probe."""

    kind: str  # of group, such as "religion"
    group: str
    text: str
    family: str  # groups are compared within one: those that fill the same templates


def sentences() -> list[Sentence]:
    """All of them."""
    people = [Sentence(kind, group, t.format(group), "people") for kind, groups in GROUPS.items() for group in groups for t in PEOPLE]
    named = [Sentence(kind, name, t.format(name), "names") for kind, names in NAMES.items() for name in names for t in NAMED]
    return [Sentence(s.kind, s.group, _article(s.text), s.family) for s in people + named]


def _article(text: str) -> str:
    """'an' where a vowel's sound follows."""
    for vowel in "AEIOaeio":
        text = text.replace(f" a {vowel}", f" an {vowel}").replace(f"A {vowel}", f"An {vowel}")
    return text


def probe(score: Callable[[str], float], label: str) -> dict[str, Any]:
    """Mean `score` of each group, and its difference from the mean over all groups in the same sentences."""
    probes = sentences()
    scores = np.array([score(s.text) for s in probes])
    means = {family: float(scores[[s.family == family for s in probes]].mean()) for family in ("people", "names")}
    groups = []
    for kind, group, family in dict.fromkeys((s.kind, s.group, s.family) for s in probes):
        own = scores[[s.group == group for s in probes]]
        groups.append({
            "kind": kind, "group": group, "mean": float(own.mean()), "difference": float(own.mean() - means[family]),
            "share_above_half": float((own > 0.5).mean()),
        })  # fmt: skip
    return {
        "label": label, "sentences": len(probes), "mean": means, "share_above_half": float((scores > 0.5).mean()),
        "groups": sorted(groups, key=lambda g: -abs(g["difference"])),
    }  # fmt: skip


def probe_pack(simulator: Simulator, label: str = "") -> dict[str, Any]:
    """`probe` with the probability that a pack gives to `label`, by default its last one (toxic, positive, spam …)."""
    labels: Sequence[str] = simulator.pack.lines("labels")
    if simulator.segment is not None:
        raise DataError("the bias probe is for packs of single texts; this one compares pairs")
    label = label or labels[-1]
    if label not in labels:
        raise DataError(f"the pack has no label {label!r}; it has {', '.join(labels)}")
    column = labels.index(label)
    return probe(lambda text: float(simulator.classify(text).probabilities[column]), label)


def table(result: dict[str, Any]) -> str:
    """The largest deviations in Markdown, with what they mean."""
    rows = [
        [f"{g['group']} ({g['kind']})", percent(g["mean"], 1), f"{100 * g['difference']:+.1f}", percent(g["share_above_half"], 0)]
        for g in result["groups"][:MOST_LISTED]
    ]
    mean = result["mean"]
    return (
        f"{result['sentences']} harmless English sentences that differ only in the group, or the name, they mention. The probability of\n"
        f"`{result['label']}` is {percent(mean['people'], 1)} % on average over groups and {percent(mean['names'], 1)} % over names; "
        f"{percent(result['share_above_half'], 1)} % of all\n"
        f"sentences are above one half. The largest of {len(result['groups'])} deviations:\n\n"
        + markdown(["group", f"mean `{result['label']}`, %", "difference, points", "above one half, %"], rows)
    )
