#!/usr/bin/env python3
"""Write unicode_tables.cpp, the engine's knowledge of Unicode, from Python's unicodedata.

    python3 engine/text/generate_unicode_tables.py > engine/text/unicode_tables.cpp

The tables follow the tokenizer that packs are trained with, Hugging Face `tokenizers`, which is frozen at three versions of
Unicode: general categories of 8.0, decompositions and combining classes of 9.0, lower case of 17.0. The committed file was
made with unicodedata 14.0.0 (Python 3.11); what differs between that and the three versions is listed below.
tests/trainer/test_tokenizer_oracle.py compares every code point; run it after generating with another Python.
"""

from __future__ import annotations

import functools
import sys
import unicodedata

SURROGATES = range(0xD800, 0xE000)
HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)
# Blocks with hundreds of irregular mappings and no structure: stored as plain lists.
IDEOGRAPHS_BMP = range(0xF900, 0xFADA)
IDEOGRAPHS_SUPPLEMENT = range(0x2F800, 0x2FA1E)


def code_points(text: str) -> set[int]:
    """The set that a list of hexadecimal code points and ranges stands for."""
    points: set[int] = set()
    for item in text.split():
        first, _, last = item.partition("-")
        points.update(range(int(first, 16), int(last or first, 16) + 1))
    return points


# BERT's own list of ideograph blocks, gaps and later extensions included as in the original.
IDEOGRAPHS = code_points("3400-4DBF 4E00-9FFF F900-FAFF 20000-2A6DF 2A700-2B81F 2B920-2CEAF 2F800-2FA1F")

# Marks, punctuation and format characters of Unicode 9.0: letters to a tokenizer that classifies by 8.0, but its
# canonical ordering knows them.
NEW_IN_9 = code_points("8D4-8E2 1DFB 1123E 11442 11446 11C3F 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A "
                       "1E944-1E94A 1885-1886 2E43-2E44 11438-1143F 11443-11444 1144B-1144F 1145B 1145D 11660-1166C "
                       "11C30-11C36 11C38-11C3D 11C41-11C45 11C70-11C71 11C92-11CA7 11CAA-11CB0 11CB2-11CB3 11CB5-11CB6 "
                       "1E95E-1E95F")

# The same from Unicode 10.0 on: plain letters that neither decompose nor reorder.
NEW_SINCE_10 = code_points(
    "61D 7FD 890-891 898-89F 8CA-8D3 9FD-9FE A76 AFA-AFF B55 C04 C3C C77 C84 D00 D3B-D3C D81 EBA 1715 180F 1ABF-1ACE "
    "1B7D-1B7E 1DF6-1DFA 2E45-2E4F 2E52-2E5D A82C A8C5 A8FF A9BD 10D24-10D27 10EAB-10EAD 10F46-10F50 10F55-10F59 10F82-10F89 "
    "11070 11073-11074 110C2 110CD 111CF 1133B 1145A 1145E 116B9 1182F-11837 11839-1183B 11938 1193B-1193E 11943-11946 "
    "119D4-119D7 119DA-119DB 119E0 119E2 11A01-11A0A 11A33-11A38 11A3B-11A47 11A51-11A56 11A59-11A5B "
    "11A8A-11A96 11A98-11A9C 11A9E-11AA2 11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45 11D47 11D90-11D91 11D95 11D97 11EF3-11EF4 "
    "11EF7-11EF8 11FFF 12FF1-12FF2 13430-13438 16E97-16E9A 16F4F 16FE2 16FE4 16FF0-16FF1 1CF00-1CF2D 1CF30-1CF46 1E130-1E136 "
    "1E2AE 1E2EC-1E2EF")

# Characters that changed their category after Unicode 8.0.
CATEGORY_IN_8 = {0x166D: "Po", 0x1734: "Mn", 0x111C9: "Po"}

# Lower-case letters that came after Unicode 14.0: (capitals, distance to the small letter).
NEW_LOWER = [("1C89 A7CC A7CE A7D2 A7D4 A7DA", 1), ("A7CB", 0x264 - 0xA7CB), ("A7DC", 0x19B - 0xA7DC), ("10D50-10D65", 0x20),
             ("16EA0-16EB8", 0x1B)]
LOWER = {code: code + distance for text, distance in NEW_LOWER for code in code_points(text)}


def category(code: int) -> str:
    if code in NEW_IN_9 or code in NEW_SINCE_10:
        return "Lo"
    return CATEGORY_IN_8.get(code) or unicodedata.category(chr(code))


def combining_class(code: int) -> int:
    return 0 if code in NEW_SINCE_10 else unicodedata.combining(chr(code))


def decompose(code: int) -> list[int]:
    return [code] if code in NEW_SINCE_10 else [ord(c) for c in unicodedata.normalize("NFD", chr(code))]


def lower(code: int) -> int:
    # One to one: the only expansion, U+0130, has lost its dot by then. A single character has no context for final sigma.
    return LOWER[code] if code in LOWER else ord(chr(code).lower()) if len(chr(code).lower()) == 1 else code


def fold(code: int) -> list[int]:
    """Canonical decomposition without nonspacing marks, in lower case."""
    return [lower(part) for part in decompose(code) if category(part) != "Mn"]


# Classes that are put into canonical order, by combining class.
ORDERED = sorted({combining_class(code) for code in range(sys.maxunicode + 1) if category(code) != "Mn"} - {0})


def char_class(code: int) -> str:
    if code in SURROGATES:
        return "kOther"
    if chr(code) in "\t\n\r" or category(code) in ("Zs", "Zl", "Zp"):
        return "kSpace"
    if code == 0xFFFD or category(code) in ("Cc", "Cf", "Co"):
        return "kIgnored"
    if code in IDEOGRAPHS:
        return "kIdeograph"
    if category(code)[0] == "P" or (0x20 < code < 0x7F and not chr(code).isalnum()):
        return "kPunctuation"
    if category(code) == "Mn":
        return "kMark" if all(combining_class(part) for part in decompose(code)) else "kStarterMark"
    if combining_class(code):
        return f"kCombining, {ORDERED.index(combining_class(code))}"
    return "kOther"


def fold_ranges(mapping: dict[int, int]) -> list[tuple[int, int, str, int]]:
    """Cover a mapping greedily by (first, count, kind, target of the first)."""
    ranges, left = [], dict(mapping)
    for code in sorted(mapping):
        if code not in left:
            continue
        best = (1, "kSame")
        for kind, step, slope in (("kSame", 1, 0), ("kShift", 1, 1), ("kAlternate", 2, 2)):
            count = 1
            # A range of every other character has none of its own in between.
            while (left.get(code + count * step) == left[code] + count * slope
                   and (step == 1 or code + 2 * count - 1 not in left)):
                count += 1
            best = max(best, (count, kind), key=lambda pair: pair[0])
        count, kind = best
        ranges.append((code, count, kind, left[code]))
        for k in range(count):
            del left[code + k * (2 if kind == "kAlternate" else 1)]
    return ranges


def number(value: int) -> list[int]:
    """A number as unicode_tables.h says."""
    return [value] if value < 128 else [value & 127 | 128, *number(value >> 7)]


def signed(value: int) -> list[int]:
    """A number of either sign, as 0, -1, 1, -2, ... are numbered there."""
    return number(2 * value if value >= 0 else -2 * value - 1)


def gaps(ascending: list[int]) -> list[int]:
    return [byte for value, before in zip(ascending, [0, *ascending]) for byte in number(value - before)]


def array(declaration: str, items: list[str]) -> str:
    lines, line = [], " "
    for item in items:
        if len(line) + len(item) + 2 > 124:
            lines.append(line)
            line = " "
        line += f" {item},"
    return f"{declaration} = {{\n" + "\n".join([*lines, line]) + "\n};\n"


def main() -> None:
    everything = [code for code in range(sys.maxunicode + 1) if code not in SURROGATES]

    classes = []
    for code in range(sys.maxunicode + 1):
        name = char_class(code)
        if not classes or name != classes[-1][1]:
            classes.append((code, name))

    ideographs = [fold(code)[0] for code in (*IDEOGRAPHS_BMP, *IDEOGRAPHS_SUPPLEMENT)]
    assert {target >> 16 for target in ideographs} == {0, 2}

    regular, expansions = {}, {}
    for code in everything:
        target = fold(code)
        if code in HANGUL_SYLLABLES or code in IDEOGRAPHS_BMP or code in IDEOGRAPHS_SUPPLEMENT or target in ([], [code]):
            continue
        assert len(target) <= 3 and all(part >> 16 == code >> 16 for part in target), hex(code)
        if len(target) == 1:
            regular[code] = target[0]
        else:
            expansions[code] = target

    ranges = fold_ranges(regular)
    ranges += [(code, 1, "kExpand", index) for index, code in enumerate(sorted(expansions))]
    ranges.sort()
    assert max(count for _, count, _, _ in ranges) < 128

    kinds = ["kSame", "kShift", "kAlternate", "kExpand"]
    folds = [byte for _, count, kind, _ in ranges for byte in number(count << 2 | kinds.index(kind))]
    targets = [byte for first, _, kind, target in ranges if kind != "kExpand"
               for byte in signed((target & 0xFFFF) - (first & 0xFFFF))]
    decimal = functools.partial(map, str)

    print(f"// Made by generate_unicode_tables.py with unicodedata {unicodedata.unidata_version}; do not edit.")
    print('#include "text/unicode_tables.h"\n\nnamespace beex {\nnamespace {\n')
    print("using enum CharClass;\n")
    print("constexpr CharClass combining(int order) { return static_cast<CharClass>(static_cast<int>(kCombining) + order); }\n")
    print("}  // namespace\n")
    print(array("const std::uint8_t kClassGaps[]", [*decimal(gaps([first for first, _ in classes]))]))
    print(array("const CharClass kClasses[kClassRanges]",
                [f"combining({name.split()[1]})" if "," in name else name for _, name in classes]))
    print(array("const std::uint8_t kFoldGaps[]", [*decimal(gaps([first for first, *_ in ranges]))]))
    print(array("const std::uint8_t kFolds[]", [*decimal(folds)]))
    print(array("const std::uint8_t kFoldDistances[]", [*decimal(targets)]))
    print(array("const CharClass kAsciiClass[128]", [char_class(code) for code in range(128)]))
    print(array("const std::uint16_t kFoldExpansions[][3]",
                ["{" + ", ".join(f"0x{part & 0xFFFF:X}" for part in parts) + "}" for _, parts in sorted(expansions.items())]))
    print(array("const std::uint16_t kIdeographs[kIdeographsBmp + kIdeographsSupplement]",
                [f"0x{target & 0xFFFF:X}" for target in ideographs]))
    print(array("const std::uint8_t kIdeographInPlane2[(kIdeographsBmp + kIdeographsSupplement + 7) / 8]",
                [f"0x{sum((target >> 16 == 2) << k for k, target in enumerate(ideographs[at:at + 8])):X}"
                 for at in range(0, len(ideographs), 8)]))
    print("}  // namespace beex")


if __name__ == "__main__":
    main()
