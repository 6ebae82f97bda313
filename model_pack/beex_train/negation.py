"""Negations: short English opinions whose label follows from how they are made, to train sentiment on and to probe it with.

A small network that reads "bad" and "not" apart calls "not bad" negative. The sentences are made of frames and words that are good or bad; those words of
the probe are in no sentence for training.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Callable, Sequence

from .data import DataError
from .results import percent
from .simulate import Simulator

GOOD = (
    "good great nice fine funny charming clever enjoyable entertaining helpful useful friendly reliable comfortable clean tasty beautiful interesting moving "
    "smart fresh impressive excellent pleasant wonderful exciting amazing accurate elegant original gripping convincing satisfying honest polite generous "
    "cheerful perfect brilliant lovely superb terrific awesome marvelous remarkable splendid stunning gorgeous touching heartfelt hilarious inspired inventive "
    "imaginative engaging compelling absorbing captivating thrilling intriguing fascinating memorable powerful masterful skillful stylish graceful rewarding "
    "refreshing uplifting inspiring intelligent insightful subtle believable authentic lively playful amusing likable sweet tender joyful worthwhile valuable "
    "solid sturdy durable responsive intuitive efficient quick prompt smooth simple practical affordable spacious quiet cosy kind caring patient attentive "
    "professional knowledgeable trustworthy outstanding exceptional flawless magnificent delicate rich vivid deep profound rousing magical romantic attractive"
).split()  # fmt: skip
BAD = (
    "bad terrible awful boring dull slow ugly rude dirty broken stupid annoying disappointing useless poor weak predictable horrible tedious messy confusing "
    "painful noisy bland overpriced unpleasant silly clumsy shallow pointless depressing forgettable lazy unreliable uncomfortable stale dreadful lame nasty "
    "hopeless pathetic ridiculous idiotic dumb childish tasteless vulgar offensive hideous repulsive disgusting atrocious abysmal appalling unbearable unwatchable "
    "insufferable exhausting tiring monotonous repetitive lifeless soulless hollow empty wooden stiff contrived forced fake phony pretentious smug sappy "
    "sentimental cliched generic derivative unoriginal uninspired unfunny humorless witless senseless incoherent muddled convoluted implausible unconvincing "
    "ludicrous absurd inept amateurish incompetent crude cheesy cold bitter soggy greasy burnt filthy shabby cramped smelly faulty defective flimsy buggy "
    "laggy unresponsive misleading dishonest careless unhelpful unfriendly hostile arrogant unprofessional late worthless wasteful frustrating infuriating grim"
).split()  # fmt: skip
# Of the probe only.
OTHER_GOOD = "delightful witty sharp thoughtful warm handy fantastic delicious".split()
OTHER_BAD = "mediocre dreary sloppy irritating lousy flawed unfair tiresome".split()
THINGS = (
    "it", "this", "that", "the film", "the movie", "the story", "the plot", "the acting", "the ending", "the script", "the book", "the food", "the service",
    "the staff", "the hotel", "the room", "the app", "the product", "the game", "the music",
)  # fmt: skip
KINDS = ("film", "movie", "story", "book", "place", "product", "game", "show", "idea", "ending")

# Frames with how probable "positive" is where {a} is a good word and where it is a bad one. {t} is a thing, {k} a kind of thing, {b} another word like {a},
# {o} one of the other polarity.
FRAMES: tuple[tuple[str, float, float], ...] = (
    ("{t} is {a}", 0.97, 0.03), ("{t} was {a}", 0.97, 0.03), ("{t} is really {a}", 0.98, 0.02), ("what a {a} {k}", 0.97, 0.03), ("{a} and {b}", 0.97, 0.03),
    ("{t} is not {a}", 0.05, 0.72), ("{t} was not {a}", 0.05, 0.72), ("{t} isn't {a}", 0.05, 0.72), ("{t} wasn't {a}", 0.05, 0.72), ("not {a}", 0.06, 0.72),
    ("not {a} at all", 0.03, 0.82), ("{t} isn't {a} at all", 0.03, 0.82), ("not so {a}", 0.1, 0.7), ("not that {a}", 0.1, 0.68), ("not very {a}", 0.06, 0.65),
    ("not too {a}", 0.1, 0.7), ("{t} is never {a}", 0.04, 0.88), ("never {a}", 0.05, 0.88), ("a {k} that is never {a}", 0.04, 0.88),
    ("{t} is hardly {a}", 0.06, 0.75), ("far from {a}", 0.05, 0.87), ("{t} is far from {a}", 0.05, 0.87), ("{t} is anything but {a}", 0.04, 0.9), ("anything but {a}", 0.04, 0.9),
    ("not a {a} {k}", 0.05, 0.72), ("{t} is not a {a} {k}", 0.05, 0.72), ("I don't think {t} is {a}", 0.06, 0.73), ("I wouldn't say {t} is {a}", 0.08, 0.7),
    ("I would not call {t} {a}", 0.07, 0.72), ("nobody could call {t} {a}", 0.04, 0.85), ("there is nothing {a} about {t}", 0.03, 0.85), ("nothing {a} here", 0.05, 0.8),
    ("{t} manages to be {a}", 0.95, 0.05), ("{t} manages not to be {a}", 0.08, 0.8), ("{t} fails to be {a}", 0.03, 0.7), ("{t} never fails to be {a}", 0.95, 0.07),
    ("not {a} but {o}", 0.04, 0.94), ("{t} is not {a} but {o}", 0.04, 0.94), ("{t} isn't {a} , it is {o}", 0.04, 0.95), ("{o} , not {a}", 0.04, 0.95),
    ("{t} is {a} , not {o}", 0.96, 0.04), ("{a} without being {o}", 0.95, 0.1), ("{t} is not only {a} but {b}", 0.97, 0.03), ("{t} is not just {a} , it is {b}", 0.97, 0.03),
    ("not only {a} but also {b}", 0.97, 0.03), ("{t} could not be more {a}", 0.98, 0.02), ("I have never seen a more {a} {k}", 0.97, 0.03), ("{t} is not {a} enough", 0.06, 0.4),
    ("if only {t} were {a}", 0.08, 0.5), ("{t} is not as {a} as I feared", 0.3, 0.8), ("{t} is not as {a} as I hoped", 0.1, 0.4),
)  # fmt: skip
# Those that no frame makes, with how probable "positive" is; {t} and {k} as above.
PHRASES: tuple[tuple[str, float], ...] = (
    ("I love {t}", 0.99), ("I hate {t}", 0.01), ("I don't love {t}", 0.15), ("I don't hate {t}", 0.6), ("I do not dislike {t}", 0.62), ("I don't like {t}", 0.03),
    ("I did not like {t}", 0.03), ("I didn't enjoy {t}", 0.03), ("I did not mind {t}", 0.62), ("I don't regret it", 0.85), ("I do not regret buying {t}", 0.88),
    ("I would not recommend {t}", 0.02), ("I can't recommend {t}", 0.04), ("I can't recommend {t} enough", 0.97), ("I cannot praise {t} enough", 0.98),
    ("I can't complain", 0.8), ("no complaints", 0.85), ("no complaints about {t}", 0.87), ("nothing to complain about", 0.87), ("nothing wrong with {t}", 0.8),
    ("no problems so far", 0.85), ("{t} never disappoints", 0.97), ("{t} does not disappoint", 0.96), ("{t} did not disappoint me", 0.95), ("{t} disappoints", 0.04),
    ("never disappointed", 0.93), ("I was not disappointed", 0.92), ("I was not impressed", 0.04), ("I wasn't impressed by {t}", 0.04), ("{t} never fails to impress", 0.97),
    ("{t} fails to impress", 0.03), ("{t} does not work", 0.03), ("{t} doesn't work at all", 0.02), ("{t} works without a problem", 0.95), ("not the worst {k} I have seen", 0.55),
    ("not the best {k} I have seen", 0.2), ("by no means the worst {k}", 0.6), ("the worst {k} I have seen", 0.01), ("the best {k} I have seen", 0.99),
    ("not bad", 0.75), ("not bad at all", 0.87), ("not too bad", 0.72), ("not half bad", 0.8), ("not good", 0.05), ("no good", 0.05), ("never again", 0.04), ("not worth it", 0.04),
    ("{t} is not worth the money", 0.03), ("{t} is well worth the money", 0.97), ("not a waste of time", 0.75), ("a waste of time", 0.02), ("I could not stop laughing", 0.93),
    ("I couldn't put it down", 0.95), ("I couldn't finish it", 0.06), ("not a single laugh", 0.04), ("not a dull moment", 0.96), ("without a dull moment", 0.96),
    ("I couldn't be happier with {t}", 0.99), ("I could not be happier", 0.98), ("I could not be more disappointed", 0.02), ("nobody will regret it", 0.9), ("what's not to like", 0.9),
    ("{t} is better than I expected", 0.92), ("{t} is not better than the first", 0.15), ("{t} is no worse than the others", 0.55), ("{t} is no better than the others", 0.2),
)  # fmt: skip
# Written for the probe: whether the whole is positive.
SENTENCES: tuple[tuple[str, bool], ...] = (
    ("Honestly, not bad at all!", True), ("You won't regret buying this.", True), ("It never gets old.", True), ("There isn't a single weak scene in it.", True),
    ("Couldn't ask for more.", True), ("The battery life is anything but poor.", True), ("I have nothing bad to say about the support team.", True),
    ("It didn't take long to fall in love with this place.", True), ("No one who sees it will be bored.", True), ("The new version isn't buggy any more.", True),
    ("I can't stop listening to it.", True), ("Nothing about the stay was unpleasant.", True), ("I don't see why anyone would want this.", False),
    ("It isn't funny, and it isn't clever.", False), ("I didn't laugh once.", False), ("Nobody was friendly to us.", False), ("It doesn't do what it promises.", False),
    ("I wouldn't stay here again.", False), ("This could have been a great film, but it is not.", False), ("Not one of the songs is good.", False),
    ("I have yet to see anything good in it.", False), ("The screen is neither bright nor sharp.", False), ("I can't say that I enjoyed it.", False),
    ("They never answered, and nothing was fixed.", False),
)  # fmt: skip


MOST_LISTED = 10
MOST_MADE = 100_000  # there are not many more


def _fill(frame: str, good: bool, words: tuple[Sequence[str], Sequence[str]], draw: random.Random) -> str:
    same, other = words if good else words[::-1]
    a, b = draw.sample(list(same), 2)
    text = frame.format(a=a, b=b, o=draw.choice(list(other)), t=draw.choice(THINGS), k=draw.choice(KINDS))
    return " ".join("an" if word == "a" and after[0] in "aeiou" else word for word, after in zip(text.split(), [*text.split()[1:], "."]))


def made(count: int, seed: int) -> dict[str, float]:
    """`count` distinct sentences, and for each how probable "positive" is, 0 to 1, with GOOD and BAD words; a fifth of them phrases, if there are so many.
    Raises DataError for none and for more than MOST_MADE."""
    if not 1 <= count <= MOST_MADE:
        raise DataError(f"{count:,} sentences cannot be made; ask for 1 to {MOST_MADE:,}")
    draw, texts = random.Random(seed), {}
    for phrase, positive in PHRASES:
        for thing in THINGS if "{t}" in phrase else THINGS[:1]:
            texts[phrase.format(t=thing, k=draw.choice(KINDS))] = positive
    texts = dict(draw.sample(sorted(texts.items()), min(len(texts), count // 5)))
    while len(texts) < count:
        frame, of_good, of_bad = draw.choice(FRAMES)
        good = draw.random() < 0.5
        texts[_fill(frame, good, (GOOD, BAD), draw)] = of_good if good else of_bad
    return texts


def write(count: int, seed: int, labels: Sequence[str], path: Path) -> None:
    """`made` as a file of soft labels for `fit --soft-labels`; `labels` are the names of negative and positive."""
    rows = [f"{text}\t{1 - positive:.4f}\t{positive:.4f}" for text, positive in made(count, seed).items()]
    path.write_text("\n".join(["\t".join(["text", *(f"p:{label}" for label in labels)]), *rows]) + "\n", encoding="utf-8")


def probes() -> list[tuple[str, bool]]:
    """Sentences and whether they are positive: SENTENCES, and every frame that is sure of its label with OTHER_GOOD and OTHER_BAD words."""
    draw = random.Random(1)
    out = list(SENTENCES)
    for frame, of_good, of_bad in FRAMES:
        for good, positive in ((True, of_good), (False, of_bad)):
            if abs(positive - 0.5) >= 0.2:
                out.append((_fill(frame, good, (OTHER_GOOD, OTHER_BAD), draw), positive > 0.5))
    return out


def probe(score: Callable[[str], float]) -> dict[str, Any]:
    """How many probes `score`, from a text to the probability of positive, puts on the right side of a half; which it does not."""
    all_probes = probes()
    right = [(score(text) > 0.5) == positive for text, positive in all_probes]
    written = len(SENTENCES)
    wrong = [text for (text, _), fine in zip(all_probes, right) if not fine]
    return {"sentences": len(right), "right": sum(right), "written": written, "written_right": sum(right[:written]), "wrong": wrong}


def probe_pack(simulator: Simulator, positive: str) -> dict[str, Any]:
    """`probe` of a pack with two labels, one of them `positive`, at its own exit rule. Raises DataError for other packs."""
    labels = simulator.pack.lines("labels")
    if positive not in labels or len(labels) != 2:
        raise DataError(f"the negation probe is for packs with two labels, one of them {positive!r}; this one has {', '.join(labels)}")
    column = labels.index(positive)
    return probe(lambda text: float(simulator.classify(text).probabilities[column]))


def summary(result: dict[str, Any]) -> str:
    """The outcome in Markdown."""
    shown = "; ".join(f"“{each}”" for each in result["wrong"][:MOST_LISTED])
    return (
        f"{result['sentences']} short English opinions, nearly all with a negation, {result['written']} of them written by hand and the others made of frames, with words that are in none of\n"
        f"the sentences that `beex-train negations` makes for training: {percent(result['right'] / result['sentences'], 0)} % are read right, "
        f"of those written by hand {result['written_right']}. Chance is a half." + (f"\nRead wrong: {shown}." if shown else "")
    )
