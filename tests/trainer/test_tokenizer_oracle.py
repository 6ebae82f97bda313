"""The engine's tokenizer against Hugging Face `tokenizers`, the reference for BERT's normalization and WordPiece.

Drives the `tokens` tool (tests/tools/tokens.cpp): the path in BEEX_TOKENS, or build/native/tests/tokens. BEEX_TOKENS may be a
command line, such as `node --no-experimental-fetch build/wasm/tests/tokens.js`.

Ids must be equal everywhere. Byte offsets too, with one rule of our own: a piece also covers the combining marks right after
it that folding strips (the reference leaves them out), so that a highlighted letter keeps its accent.
"""

from __future__ import annotations

import codecs
import os
import random
import re
import shlex
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Iterable, Sequence

import pytest
import tokenizers
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

ROOT = Path(__file__).resolve().parents[2]
SENTENCES = (Path(__file__).parent / "tokenizer_sentences.txt").read_text(encoding="utf-8").splitlines()
CODE_POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000 and code != 0x0A]  # the tool's texts are lines

# Capitals of Unicode 15 and later: the engine folds them, a reference built with an older Rust does not.
NEW_CAPITALS = {0x1C89, 0xA7CB, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA, 0xA7DC,
                *range(0x10D50, 0x10D66), *range(0x16EA0, 0x16EB9)}

both_ways = pytest.mark.parametrize("fold", [True, False], ids=["folded", "cased"])
Token = tuple[int, int, int]  # id, first byte, byte after the last


def normalizer(fold: bool) -> BertNormalizer:
    return BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=fold, lowercase=fold)


NORMALIZERS = {fold: normalizer(fold) for fold in (True, False)}


@lru_cache(maxsize=None)
def removal(char: str) -> str | None:
    """Whether normalization removes a character: "always", "folding" (a mark) or None."""
    if NORMALIZERS[True].normalize_str(char):
        return None
    return "folding" if NORMALIZERS[False].normalize_str(char) else "always"


def decode(data: bytes) -> tuple[str, list[int]]:
    """The text as bytes.decode(errors="replace") gives it, and the byte at which each of its characters begins."""
    malformed: dict[int, int] = {}

    def replace(error: UnicodeDecodeError) -> tuple[str, int]:
        malformed[error.start] = error.end
        return "\ufffd", error.end

    codecs.register_error("beex-replace", replace)
    text = data.decode("utf-8", "beex-replace")
    assert text == data.decode("utf-8", "replace")
    begins = [0]
    for char in text:
        begins.append(malformed.get(begins[-1], begins[-1] + len(char.encode())))
    assert begins[-1] == len(data)
    return text, begins


def reference(tokens: Sequence[str], fold: bool) -> tokenizers.Tokenizer:
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(
        WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix="##", max_input_chars_per_word=100)
    )
    tokenizer.normalizer = NORMALIZERS[fold]
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


def expected(tokenizer: tokenizers.Tokenizer, data: Sequence[bytes], fold: bool) -> list[list[Token]]:
    decoded = [decode(line) for line in data]
    result = []
    for (text, begins), encoding in zip(decoded, tokenizer.encode_batch([text for text, _ in decoded]), strict=True):
        line = []
        next_begins = [*(begin for begin, _ in encoding.offsets), len(text)][1:]
        for number, (begin, end), next_begin in zip(encoding.ids, encoding.offsets, next_begins, strict=True):
            # Of the pieces that share a source character, the last one takes the marks.
            ahead = end if next_begin >= end else len(text)
            while fold and ahead < len(text) and removal(text[ahead]):
                ahead += 1
                if removal(text[ahead - 1]) == "folding":
                    end = ahead
            line.append((number, begins[begin], begins[end]))
        result.append(line)
    return result


def engine(tokens: Sequence[str], fold: bool, data: Sequence[bytes], folder: Path, span: int) -> list[list[Token]]:
    command = shlex.split(os.environ.get("BEEX_TOKENS", str(ROOT / "build/native/tests/tokens")))
    if not Path(command[-1]).is_file():
        pytest.fail(f"{command[-1]} is missing; build the native preset or set BEEX_TOKENS")
    assert not any(b"\n" in line for line in data)
    path = folder / "vocabulary.txt"
    path.write_bytes(b"".join(token.encode() + b"\n" for token in tokens))
    run = subprocess.run([*command, str(path), str(int(fold)), str(span)], input=b"".join(line + b"\n" for line in data),
                         capture_output=True, check=False)
    assert run.returncode == 0 and run.stderr == b"", run.stderr.decode(errors="replace")

    def parse(line: str) -> list[Token]:
        assert re.fullmatch(r"(\d+:\d+-\d+( (?!$)|$))*", line), line
        numbers = map(int, re.findall(r"\d+", line))
        return list(zip(numbers, numbers, numbers))

    lines = run.stdout.decode().split("\n")
    assert lines.pop() == "" and len(lines) == len(data)
    return [parse(line) for line in lines]


def check(tokens: Iterable[str], fold: bool, data: Sequence[bytes], folder: Path, span: int = 64,
          offsets: bool = True) -> list[list[Token]]:
    """Assert that both tokenizers agree on all lines; returns the tokens."""
    tokens = sorted({*tokens, "[UNK]"}, key=str.encode)
    assert len(tokens) <= 65536
    want = expected(reference(tokens, fold), data, fold)
    got = engine(tokens, fold, data, folder, span)
    for line, ours, theirs in zip(data, got, want, strict=True):
        if not offsets:
            ours, theirs = [token[:1] for token in ours], [token[:1] for token in theirs]
        if ours != theirs:
            both = min(len(ours), len(theirs))
            at = next((i for i in range(both) if ours[i] != theirs[i]), both)
            begin = theirs[at][1] if offsets and at < len(theirs) else 0
            pytest.fail(f"token {at}, {line[begin:begin + 40]!r}…: engine {ours[at:at + 3]}, reference {theirs[at:at + 3]}, "
                        f"{[tokens[token[0]] for token in theirs[at:at + 3]]}")
    return got


def pieces_of(texts: Iterable[str], fold: bool, seed: int, keep: float = 0.97) -> set[str]:
    """A vocabulary for these texts: nearly all of their normalized characters, both ways, and pieces of words at random."""
    rng = random.Random(seed)
    words = {word for text in texts for word, _ in BertPreTokenizer().pre_tokenize_str(NORMALIZERS[fold].normalize_str(text))}
    chars = sorted({char for word in words for char in word})
    tokens = {prefix + char for char in chars for prefix in ("", "##") if rng.random() < keep}
    for word in sorted(words):
        begin = rng.randrange(len(word))
        tokens.add(("##" if begin else "") + word[begin : begin + rng.randint(2, 6)])
        if len(tokens) > 60000:
            break
    return tokens


@pytest.fixture(scope="session", params=[True, False], ids=["folded", "cased"])
def trained(request: pytest.FixtureRequest) -> tuple[bool, list[str]]:
    """A WordPiece vocabulary learned from the sentences."""
    tokenizer = reference([], request.param)
    tokenizer.train_from_iterator(SENTENCES, WordPieceTrainer(vocab_size=900, special_tokens=["[UNK]"], show_progress=False))
    return request.param, list(tokenizer.get_vocab())


@pytest.mark.parametrize("span", [1, 7, 64])
def test_sentences(trained: tuple[bool, list[str]], span: int, tmp_path: Path) -> None:
    fold, tokens = trained
    data = [line.encode() for line in [*SENTENCES, " ".join(SENTENCES), *[line.upper() for line in SENTENCES]]]
    got = check(tokens, fold, data, tmp_path, span)
    assert sum(len(line) for line in got) > 2000


@both_ways
def test_every_code_point(fold: bool, tmp_path: Path) -> None:
    """Each one between two letters, with a vocabulary in which every outcome has its own id."""
    unknown = {code for code in NEW_CAPITALS if NORMALIZERS[True].normalize_str(chr(code)) == chr(code)}
    codes = [code for code in CODE_POINTS if not (fold and code in unknown)]
    for first in range(0, len(codes), 16384):
        block = codes[first : first + 16384]
        chars = set(NORMALIZERS[fold].normalize_str("".join(map(chr, block)))) | {chr(code) for code in block} | {"a", "b"}
        tokens = chars | {"##" + char for char in chars}
        data = [" ".join(f"a{chr(code)}b" for code in block[at : at + 64]).encode() for at in range(0, len(block), 64)]
        check(tokens, fold, data, tmp_path)


CASES = {
    "turkish": ["İstanbul IĞDIR ışık i̇ I\u0307 ı\u0307"],
    "final sigma": ["ΟΔΥΣΣΕΥΣ ΣΑΣ Σ ΑΣ."],
    "sharp s": ["STRASSE STRAẞE straße"],
    "ligatures": ["ﬁnal ﬂight ĳ ŉ Ǆ ǅ ǆ Ⅷ ½ № ℃ ﷺ ﬗ שּׁ"],
    "singletons": ["K Å Ω Ω ≠ ; · ` ʹ 〈 〉 豈 丽"],
    "hangul": ["값 각 가 힣 한국어 ᄒ\u1161ᆫ ᄒ\u1161 각 \u115f\u1160"],
    "stacked marks": ["Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞"],
    "marks alone": ["\u0301", " \u0301\u0302 ", "\u0301a", "!\u0301a", "漢\u0301字", "a\u0000\u0301b", "a \u0301b"],
    "emoji": ["👨‍👩‍👧‍👦 👍🏽 🏖️ 🇳🇴 1️⃣ ❤️‍🔥"],
    "spaces": ["a\u00a0b\u2003c\u3000d\u1680e\u2028f\u2029g\u0085h\u200bi\tj\rk", " ", "", "   a   "],
    "controls": ["a\u0000b\u0007c\u007fd\u00ade\u200df\ufeffg\ufffdh\ue000i"],
    "punctuation": ["don't stop--now... $5.00! [CLS] [UNK] ##ab _x_ «q» “q” ¿q? 、。 ។ ᙭ 𑇉"],
    "ideographs": ["中文abc中 𠀀𪜀𫠀 豈更 a丽b 々〇〆"],
    "kana": ["がぎぐ か\u3099 ガ ｶﾞ ヴ"],
    "arabic": ["آمَنَّا بِٱللَّهِ لا إلٰه ؟ ،"],
    "devanagari": ["क़ ख़ क्षि श्री हिन्दी।"],
    "thai": ["น้ำ ผู้ ที่ กำ"],
    "bengali and tamil": ["কো কৌ ড় கொ கௌ"],
    "musical": ["𝅘𝅥𝅮 𝅗𝅥 𝆹𝅥𝅮"],
    "long words": ["a" * 99, "a" * 100, "a" * 101, "é" * 100, "é" * 101, "e\u0301" * 100, "e\u0301" * 101, "각" * 33, "각" * 34,
                   "a" * 5000 + " b"],
}


@both_ways
@pytest.mark.parametrize("name", CASES)
def test_cases(name: str, fold: bool, tmp_path: Path) -> None:
    for seed, keep in ((1, 1.0), (2, 0.8)):
        check(pieces_of(CASES[name], fold, seed, keep), fold, [text.encode() for text in CASES[name]], tmp_path, span=3)


def test_canonical_order(tmp_path: Path) -> None:
    """Marks that folding keeps are put in canonical order. Ids only: reordering blurs the reference's offsets."""
    kept = [0x0334, 0x0301, 0x08D4, 0x093C, 0x0B55, 0x1B44, 0x1BAA, 0x1DFB, 0x302E, 0x302F, 0x034F, 0x0F71, 0x0F73, 0x0F74,
            0x1D165, 0x1D16D, 0x1D167, 0x1E000, 0x1E944, 0x1E94A, 0x11C3F, 0xA953, ord("a"), ord("("), 0x1D15E, 0xAC01]
    rng = random.Random(3)
    texts = ["a" + "".join(chr(rng.choice(kept)) for _ in range(rng.randint(1, 8))) for _ in range(4000)]
    got = check(pieces_of(texts, True, 3), True, [text.encode() for text in texts], tmp_path, offsets=False)
    assert all(begin < end and begin >= before for line in got
               for (_, begin, end), before in zip(line, [0] + [begin for _, begin, _ in line]))


@both_ways
def test_malformed(fold: bool, tmp_path: Path) -> None:
    cases = [b"\x80", b"a\xffb", b"\xc0\x80", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82a", b"\xe2\x28\xa1", b"\xe0\x80\xaf",
             b"\xed\xa0\x80\xed\xbf\xbf", b"\xf0\x9f\x98", b"\xf0\x9f\x98a", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80",
             b"\xf5\x80\x80\x80", b"a\xf0\x9f\xffb", b"\xf8\x88\x80\x80\x80", b"caf\xc3 x"]
    rng = random.Random(4)
    alphabet = bytes(byte for byte in range(256) if byte != 0x0A)
    leads = b"aA \xc3\xa9\xcc\x81\xe4\xb8\xad\xed\xa0\xf0\x9f\x98\x80\xf4\x8f\x90\xe0\xc1\xff!"
    cases += [bytes(rng.choices(alphabet, k=rng.randint(1, 40))) for _ in range(2000)]
    cases += [bytes(rng.choices(leads, k=rng.randint(1, 30))) for _ in range(4000)]
    check(pieces_of([decode(line)[0] for line in cases], fold, 4), fold, cases, tmp_path, span=5)


POOLS = ["abcXYZ", "ÀÉîõüßİıŁ", "  \t\u00a0", ".,!?-'\"¿…", "\u0301\u0323\u0327\u0308", "ΑΣςώΏ", "ЖёЙй", "中国豈々", "값한글각",
         "がカパ", "अक़िी्", "กำ้", "عَلّ\u0640", "שָׁב", "😀👍🏽\u200d\ufe0f", "\u0000\u0007\u00ad\ufeff\ufffd", "ﬁǅ½Å", "𝐀𐐀𞤀"]


@both_ways
def test_random_mixes(fold: bool, tmp_path: Path) -> None:
    rng = random.Random(5)
    texts = []
    for _ in range(4000):
        pools = rng.sample(POOLS, rng.randint(1, 4))
        texts.append("".join(rng.choice(rng.choice(pools)) for _ in range(rng.randint(0, 60))))
    check(pieces_of(texts, fold, 5), fold, [text.encode() for text in texts], tmp_path, span=11)


@both_ways
def test_random_code_points(fold: bool, tmp_path: Path) -> None:
    rng = random.Random(6)
    bmp = [code for code in CODE_POINTS if code < 0x20000 and not 0xE000 <= code < 0xF900 and code not in NEW_CAPITALS]
    texts = ["".join(chr(rng.choice(bmp)) for _ in range(rng.randint(1, 30))) for _ in range(1500)]
    check(pieces_of(texts, fold, 6), fold, [text.encode() for text in texts], tmp_path, span=64)
