"""The `.beex` container (FORMAT.md): writing a trained network, reading one back."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Collection, Sequence

import numpy as np

MAGIC = b"BEEX"
MAJOR, MINOR = 1, 0
ALIGNMENT = 64
REQUIRED = 1
HEADER = struct.Struct("<4sHHIIQ36xI")
ENTRY = struct.Struct("<40sQQII")
CONFIG_WORDS = 24
CONFIG_FIELDS = (
    "inputs", "task", "classes", "vocabulary_size", "hidden_size", "blocks", "heads", "slfn_size", "max_tokens",
    "embedding_bits", "position_bits", "slfn_form", "pooling", "attention", "normalizer", "cls_id", "sep_id", "unk_id",
    "ngram_buckets", "ngram_longest", "ngram_bits", "exit_bits", "skip_width", "features",
)  # fmt: skip
# Names of config values, by value.
TASKS = ("single", "multi", "features")
SLFN_FORMS = ("open", "bounded", "rectified")
RULE = struct.Struct("<IfffII")
RULE_KINDS = ("off", "fractional", "entropy", "patience", "probability")
# Bits of the config's `features`; and the first of the two that say how much of exit 0's logits later exits add in doubt, by its number among the shares.
ELIMINATION, CLASS_TEMPERATURES, TEXT_NGRAMS, DOUBT = 1, 2, 4, 8
SHARE_SHIFT, SHARES_IN_DOUBT = 4, (1.0, 0.5, 0.25, 0.125)
CURVE_HEAD, CURVE_NAME = struct.Struct("<4f"), struct.Struct("<II")
CURVE_ROW = CURVE_HEAD.size + RULE.size + CURVE_NAME.size
MOST_CURVE_ROWS = 64
SPEED_NAMES = ("", "accurate", "balanced", "fast")


class PackError(ValueError):
    """The file is not a pack that can be used; the message says where and why."""


@dataclass
class ExitRule:
    """FORMAT.md "Exit rule". Entropies are shares of ln(classes)."""

    kind: str = "off"
    threshold: float = 0.0
    certain: float = 0.0
    uncertain: float = 2.0
    first_exit: int = 0
    keep_lower_entropy: bool = False

    def pack(self) -> bytes:
        """The `exit.rule` section."""
        return RULE.pack(
            RULE_KINDS.index(self.kind), self.threshold, self.certain, self.uncertain, self.first_exit, int(self.keep_lower_entropy)
        )

    @staticmethod
    def unpack(data: bytes) -> "ExitRule":
        """The rule in an `exit.rule` section."""
        kind, threshold, certain, uncertain, first, flags = RULE.unpack(data)
        return ExitRule(RULE_KINDS[kind], threshold, certain, uncertain, first, bool(flags & 1))


@dataclass
class Policy:
    """How much of the network an input gets (FORMAT.md "Speed"). The default is all of it."""

    rule: ExitRule = field(default_factory=ExitRule)
    gamma: float = 0.0  # of elimination: 0 keeps every token, 1 is the pack's profile
    skip: float = 1.0  # blocks whose gate is above are skipped; 1 skips none


@dataclass
class CurvePoint:
    """A row of `policy.curve`: a setting with its work, as a share of the dense cost, and its accuracy on held-out rows."""

    work: float
    accuracy: float
    policy: Policy
    name: str = ""  # one of SPEED_NAMES

    def pack(self) -> bytes:
        """One row."""
        head = CURVE_HEAD.pack(self.work, self.accuracy, self.policy.gamma, self.policy.skip)
        return head + self.policy.rule.pack() + CURVE_NAME.pack(SPEED_NAMES.index(self.name), 0)

    def describe(self) -> dict[str, Any]:
        """As reports have it."""
        return {"work": self.work, "accuracy": self.accuracy, "name": self.name, **asdict(self.policy)}

    @staticmethod
    def unpack(data: bytes) -> "CurvePoint":
        """The point of one row."""
        work, accuracy, gamma, skip = CURVE_HEAD.unpack_from(data)
        rule = ExitRule.unpack(data[CURVE_HEAD.size : -CURVE_NAME.size])
        return CurvePoint(work, accuracy, Policy(rule, gamma, skip), SPEED_NAMES[CURVE_NAME.unpack(data[-CURVE_NAME.size :])[0]])


def doubtful_section(doubtful: Sequence[int], vocabulary_size: int) -> np.ndarray:
    """The `exit0.doubtful` section of some token ids: uint8 (1, vocabulary_size / 8, rounded up)."""
    return pack_bits(np.isin(np.arange(vocabulary_size), doubtful)[None])


def curve_section(points: Sequence[CurvePoint]) -> bytes:
    """`policy.curve`. Raises ValueError unless work and accuracy rise from row to row and names occur once."""
    names = [point.name for point in points if point.name]
    rises = all(a.work < b.work and a.accuracy < b.accuracy for a, b in zip(points, points[1:]))
    if not (1 <= len(points) <= MOST_CURVE_ROWS and rises and len(names) == len(set(names))):
        raise ValueError(f"a speed curve has 1 to {MOST_CURVE_ROWS} rows of rising work and accuracy, each name at most once")
    return b"".join(point.pack() for point in points)


def pack_bits(signs: np.ndarray) -> np.ndarray:
    """Rows of truth values (rows, columns) as a `bits` matrix (rows, columns / 8), least significant bit first."""
    return np.packbits(signs.astype(bool), axis=1, bitorder="little")


def unpack_bits(data: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A `bits` matrix as int8 in {-1, +1}, (rows, columns)."""
    return (np.unpackbits(data.reshape(rows, columns // 8), axis=1, bitorder="little").astype(np.int8) * 2 - 1)[:, :columns]


def pack_few_bits(q: np.ndarray, bits: int) -> np.ndarray:
    """Rows of integers 0 … 2^bits - 1 (rows, columns) as few-bit rows, each padded with zero bits to whole bytes."""
    planes = (q.astype(np.uint8)[:, :, None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(planes.reshape(len(q), -1), axis=1, bitorder="little")


def unpack_few_bits(data: np.ndarray, rows: int, columns: int, bits: int) -> np.ndarray:
    """Few-bit rows as integers, (rows, columns)."""
    planes = np.unpackbits(data.reshape(rows, (columns * bits + 7) // 8), axis=1, bitorder="little")[:, : columns * bits].reshape(rows, columns, bits)
    return (planes.astype(np.int32) << np.arange(bits)).sum(-1)


class PackWriter:
    """Collects sections and writes the file."""

    def __init__(self) -> None:
        self.sections: list[tuple[str, bytes, int]] = []

    def add(self, name: str, data: bytes | np.ndarray, required: bool = True) -> None:
        """Append a section. Arrays are written as little-endian bytes of their own type."""
        if isinstance(data, np.ndarray):
            data = np.ascontiguousarray(data).astype(data.dtype.newbyteorder("<")).tobytes()
        self.sections.append((name, data, REQUIRED if required else 0))

    def to_bytes(self) -> bytes:
        """The whole file."""
        table, body = b"", b""
        start = HEADER.size + ENTRY.size * len(self.sections)
        for name, data, flags in self.sections:
            body += bytes(-(start + len(body)) % ALIGNMENT)
            table += ENTRY.pack(name.encode("ascii"), start + len(body), len(data), zlib.crc32(data), flags)
            body += data
        header = HEADER.pack(MAGIC, MAJOR, MINOR, len(self.sections), zlib.crc32(table), start + len(body), 0)
        header = header[:-4] + struct.pack("<I", zlib.crc32(header[:-4]))
        return header + table + body


class PackFile:
    """A pack's sections by name, checked for bounds and checksums. The engine's reader is the strict one."""

    def __init__(self, data: bytes):
        if data[:4] != MAGIC:
            raise PackError("not a .beex pack: the file does not start with BEEX")
        if len(data) < HEADER.size:
            raise PackError(f"truncated: {len(data)} bytes are less than a header")
        _, major, _, count, table_crc, size, _ = HEADER.unpack_from(data)
        if major != MAJOR:
            raise PackError(f"format version {major}; this program reads version {MAJOR}")
        if size != len(data):
            raise PackError(f"truncated: {len(data)} of {size} bytes")
        table = data[HEADER.size : HEADER.size + ENTRY.size * count]
        if zlib.crc32(table) != table_crc:
            raise PackError("section table: checksum does not match")
        self.sections: dict[str, bytes] = {}
        for name, offset, length, crc, _ in ENTRY.iter_unpack(table):
            section = data[offset : offset + length]
            if len(section) != length or zlib.crc32(section) != crc:
                raise PackError(f"section {name.rstrip(bytes(1)).decode()!r} at {offset:#x}: checksum does not match")
            self.sections[name.rstrip(bytes(1)).decode()] = section
        words = np.frombuffer(self.sections["config"], "<u4")
        self.config: dict[str, int] = dict(zip(CONFIG_FIELDS, map(int, words)))

    @staticmethod
    def open(path: str | Path) -> "PackFile":
        """Read a pack from a file."""
        try:
            return PackFile(Path(path).read_bytes())
        except FileNotFoundError as error:
            raise PackError(f"{path}: no such file") from error

    def floats(self, name: str, *shape: int) -> np.ndarray:
        """A section of float32 in the given shape."""
        return np.frombuffer(self.sections[name], "<f4").astype(np.float32).reshape(shape)

    def raw(self, name: str) -> np.ndarray:
        """A section of bytes."""
        return np.frombuffer(self.sections[name], np.uint8)

    @property
    def metadata(self) -> dict[str, Any]:
        """The description for people."""
        return json.loads(self.sections["metadata"]) if "metadata" in self.sections else {}

    def lines(self, name: str) -> list[str]:
        """A section of text lines."""
        return self.sections[name].decode("utf-8").split("\n")[:-1]

    @property
    def exit_rule(self) -> ExitRule:
        """The default rule; off in a pack of features, which has no exits."""
        return ExitRule.unpack(self.sections["exit.rule"]) if "exit.rule" in self.sections else ExitRule()

    @property
    def profile(self) -> np.ndarray | None:
        """The elimination profile (blocks), if the pack has one."""
        return self.floats("elimination.profile", -1) if "elimination.profile" in self.sections else None

    @property
    def doubtful(self) -> list[int]:
        """Ids of the tokens with which exit 0 does not answer alone, rising."""
        return np.flatnonzero(np.unpackbits(self.raw("exit0.doubtful"), bitorder="little")).tolist() if "exit0.doubtful" in self.sections else []

    @property
    def share_in_doubt(self) -> float:
        """How much of exit 0's logits later exits add where there is a doubtful token, 0 to 1 (FORMAT.md, "Doubt")."""
        return SHARES_IN_DOUBT[self.config["features"] >> SHARE_SHIFT & 3]

    @property
    def ngram_places(self) -> np.ndarray:
        """The buckets of n-grams that have a row, ascending."""
        return np.flatnonzero(np.unpackbits(self.raw("ngram.kept"), bitorder="little"))

    @property
    def curve(self) -> list[CurvePoint]:
        """The settings that are worth choosing, work rising; [] without a curve."""
        data = self.sections.get("policy.curve", b"")
        return [CurvePoint.unpack(data[start : start + CURVE_ROW]) for start in range(0, len(data), CURVE_ROW)]

    def named(self, name: str) -> Policy:
        """The setting of a name: one of the curve's, or "full" or "default". Raises PackError when the curve has no such name."""
        if name == "full":
            return Policy()
        if name == "default":
            return Policy(self.exit_rule)
        for point in self.curve:
            if name and point.name == name:
                return point.policy
        raise PackError(f"the pack has no setting {name!r}; it has {', '.join(['full', 'default', *(p.name for p in self.curve if p.name)])}")


def _sections(data: bytes) -> list[tuple[str, bytes, int]]:
    """Name, bytes and flags of a pack's sections."""
    table = ENTRY.iter_unpack(data[HEADER.size : HEADER.size + ENTRY.size * HEADER.unpack_from(data)[3]])
    return [(name.rstrip(bytes(1)).decode(), data[offset : offset + length], flags) for name, offset, length, _, flags in table]


def with_sections(data: bytes, changes: dict[str, bytes], optional: Collection[str] = ()) -> bytes:
    """The same pack with some sections' bytes replaced, such as calibration, rule or metadata, or added where it has none of the name.

    Readers may skip the `optional` ones of those that are added.
    """
    writer = PackWriter()
    writer.sections = [(name, changes.get(name, section), flags) for name, section, flags in _sections(data)]
    for name in sorted(changes.keys() - {name for name, _, _ in writer.sections}):
        writer.add(name, changes[name], required=name not in optional)
    return writer.to_bytes()


def json_section(value: dict[str, Any]) -> bytes:
    """Metadata as the pack stores it."""
    return json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8")


def lines_section(lines: Sequence[str]) -> bytes:
    """Labels or vocabulary as the pack stores them."""
    return "".join(line + "\n" for line in lines).encode("utf-8")
