"""The bytes of a file of bins, which lies next to a metrics part; `docs/bins-format.md` has them in words.

     0  8  "STENOBIN"                      48  4  bytes of the index
     8  4  VERSION                         52  4  bytes of all names in it
    12  4  crc32c of bytes 16 to the       56  4  blocks of level 2
           end of the index                60  4  blocks of level 1
    16  8  bytes of the part               64     the index:
    24  8  rows of the part                       by key: end of its name u4, end of its bins in level 1 u4,
    32  8  node, as in the part                     in level 2 u4, binary logarithm of its width u1; all names
    40  4  crc32c of the part's checksum          by block: first key, keys, bytes, bytes unpacked, crc32c, each u4
    44  4  keys                                   the blocks, those of level 2 first

All numbers are little-endian and unsigned. A block has the bins of whole keys. Unpacked (zstd) it is one byte for the
unit of its times, by column its bytes per number (0 to 8) and its smallest number (i8), and then the columns:
what is left of each number by `_residues`, the lowest byte of all first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno.errors import CorruptError
from steno.ledger.bins import WIDEST, Bins, Marks, concat, none

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MAGIC: Final = b"STENOBIN"
VERSION: Final = 1
COARSER: Final = 8
"""A bin of level 2 holds so many of level 1."""
LEVELS: Final = (1, 2)
_HEAD: Final = struct.Struct("<8sIIQQqIIIIII")
_SEALED: Final = 16
"""Where the bytes begin that the checksum of the head is of."""
_BLOCK: Final = np.dtype([("key", "<u4"), ("keys", "<u4"), ("size", "<u4"), ("unpacked", "<u4"), ("crc", "<u4")])
_BLOCK_ROWS: Final = 128
"""A block ends with the key that fills it to so many bins: less, and its head counts; more, and one key costs more."""
_MOST_ROWS: Final = 1 << 18
"""Of a level: a part of as many points as any may have has fewer bins."""
_POINTS: Final = ("first", "last", "min", "max", "low", "high")
_COUNTS: Final = ("count", "nan", "posinf", "neginf", "other", "exact")
_INTS: Final = (
    "rank",
    "attempt",
    "start",
    *_COUNTS,
    *(f"{n}.{c}" for n in _POINTS for c in ("step", "time", "record")),
)
_FLOATS: Final = ("first.value", "last.value", "min.value", "max.value", "mean", "m2")
_COLUMNS: Final = len(_INTS) + len(_FLOATS)
_BLOCK_HEAD: Final = 1 + _COLUMNS + 8 * len(_INTS)
_BYTES: Final = np.array([1 << bits for bits in range(0, 64, 8)], np.uint64)
"""From which on a number takes one byte more."""
_UNIT_NS: Final = (1, 1000)
LARGEST_HEAD: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class PartIdentity:
    """Which part a file of bins is of."""

    bytes: int
    rows: int
    node: int
    crc: int
    """crc32c of the text that is the part's checksum."""


def identity(size: int, rows: int, node: int, checksum: str | None) -> PartIdentity:
    """What tells a part from any other one of its name. Without a checksum it is its size alone."""
    return PartIdentity(size, rows, node, 0 if checksum is None else _crc(checksum.encode()))


@dataclass(frozen=True, slots=True, eq=False)
class BinsHead:
    """What a file of bins has, without its blocks."""

    of: PartIdentity
    ends: tuple[NDArray[np.uint32], NDArray[np.uint32]]
    """By level and key, where its bins end."""
    widths: NDArray[np.int64]
    """By key, of level 1."""
    name_ends: NDArray[np.uint32]
    names: bytes
    blocks: tuple[NDArray[Any], NDArray[Any]]
    """By level, as `_BLOCK`."""
    starts: tuple[NDArray[np.int64], NDArray[np.int64]]
    """By level and block, where it begins in the file."""

    def __len__(self) -> int:
        return len(self.widths)

    def find(self, key: str) -> int:
        """A key's number, -1 when it has no bins here."""
        wanted = key.encode()
        low, high = 0, len(self.widths)
        while low < high:
            middle = (low + high) // 2
            if self.name(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self.widths) and self.name(low) == wanted else -1

    def name(self, number: int) -> bytes:
        """The name of the key of that number."""
        return self.names[int(self.name_ends[number - 1]) if number else 0 : int(self.name_ends[number])]

    def width(self, number: int, level: int) -> int:
        """The width of a key's bins."""
        width = int(self.widths[number])
        return width if level == 1 else coarser(width)

    def count(self, number: int, level: int) -> int:
        """How many bins a key has."""
        ends = self.ends[level - 1]
        return int(ends[number]) - (int(ends[number - 1]) if number else 0)

    def block_of(self, number: int, level: int) -> int:
        """The block that has a key's bins."""
        return int(np.searchsorted(self.blocks[level - 1]["key"], number, side="right")) - 1

    def place(self, block: int, level: int) -> tuple[int, int]:
        """Where a block is in the file, and how many bytes it has."""
        return int(self.starts[level - 1][block]), int(self.blocks[level - 1]["size"][block])


def coarser(width: Any) -> Any:
    """The width of level 2 that belongs to one of level 1."""
    return np.minimum(width, WIDEST // COARSER) * COARSER


# -- writing -----------------------------------------------------------------------------------------------


def encoded(of: PartIdentity, names: Sequence[str], levels: tuple[Bins, Bins]) -> bytes:
    """The bytes of a file.

    Args:
        of: the part.
        names: of the keys that have bins, in order; `Bins.key` counts in them.
        levels: the bins of level 1 and 2, in order of key, rank, attempt and start.
    """
    raw = [name.encode() for name in names]
    counts = [np.bincount(bins.key, minlength=len(names)) for bins in levels]
    ends = [np.cumsum(count) for count in counts]
    firsts = np.searchsorted(levels[0].key, np.arange(len(names)))
    widths = levels[0].width[firsts]
    blocks, bodies = [], []
    for level in (1, 0):
        stretches = list(_blocks(counts[level]))
        edges = np.array([0, *(ends[level][end - 1] for _, end in stretches)], np.int64)
        for (begin, end), unpacked in zip(stretches, _packed(levels[level], edges), strict=True):
            body = _squeezed(unpacked)
            blocks.append((begin, end - begin, len(body), len(unpacked), _crc(body)))
            bodies.append(body)
    index = b"".join(
        [
            np.cumsum([len(name) for name in raw], dtype="<u4").tobytes(),
            *(end.astype("<u4").tobytes() for end in ends),
            (np.frexp(widths.astype(np.float64))[1] - 1).astype(np.uint8).tobytes(),
            *raw,
            np.array(blocks, _BLOCK).tobytes(),
        ]
    )
    coarse = sum(1 for _ in _blocks(counts[1]))
    tail = (of.crc, len(names), len(index), sum(map(len, raw)), coarse, len(blocks) - coarse)
    head = _HEAD.pack(MAGIC, VERSION, 0, of.bytes, of.rows, of.node, *tail)
    head = head[:12] + struct.pack("<I", _crc(head[_SEALED:] + index)) + head[_SEALED:]
    return b"".join([head, index, *bodies])


def _blocks(counts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Stretches of keys (begin, end) that make a block."""
    begin = rows = 0
    for at, count in enumerate(counts.tolist()):
        rows += count
        if rows >= _BLOCK_ROWS:
            yield begin, at + 1
            begin, rows = at + 1, 0
    if begin < len(counts):
        yield begin, len(counts)


def _packed(bins: Bins, edges: NDArray[np.int64]) -> Iterator[bytes]:
    """The blocks between these rows, unpacked."""
    if not len(bins):
        return
    begins = edges[:-1]
    unit = 1 if not any((getattr(bins, name).time % _UNIT_NS[1]).any() for name in _POINTS) else 0
    ints = np.array(_residues(bins, _UNIT_NS[unit], begins))
    lows = np.minimum.reduceat(ints, begins, axis=1)
    spans = (np.maximum.reduceat(ints, begins, axis=1) - lows).view(np.uint64)
    sizes = np.searchsorted(_BYTES, spans, side="right").astype(np.uint8)
    ints -= np.repeat(lows, np.diff(edges), axis=1)
    octets = ints.astype("<i8", copy=False).view(np.uint8).reshape(len(_INTS), -1, 8)
    floats = np.array([_column(bins, name) for name in _FLOATS], "<f8").view(np.uint8).reshape(len(_FLOATS), -1, 8)
    for at, (begin, end) in enumerate(pairwise(edges.tolist())):
        planes = [
            octets[column, begin:end, :size].T.tobytes() for column, size in enumerate(sizes[:, at].tolist()) if size
        ]
        yield b"".join(
            [
                bytes([unit]),
                sizes[:, at].tobytes() + bytes([8] * len(_FLOATS)),
                lows[:, at].astype("<i8").tobytes(),
                *planes,
                floats[:, begin:end].transpose(0, 2, 1).tobytes(),
            ]
        )


def _column(bins: Bins, name: str) -> Any:
    point, _, column = name.partition(".")
    found = getattr(bins, point)
    return getattr(found, column) if column else found


def _residues(bins: Bins, unit: int, begins: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The columns of integers, each less what the others of its block tell of it; int64 wraps around, there as here."""
    heads = _heads(bins.key, bins.rank, bins.attempt)
    first, last = bins.first, bins.last
    out = [bins.rank.astype(np.int64), bins.attempt.astype(np.int64), _steps(bins.start // bins.width, heads, begins)]
    out += [getattr(bins, name) for name in _COUNTS]
    first_time, last_time = first.time // unit, last.time // unit
    out += [first.step - bins.start, _steps(first_time, heads, begins), _steps(first.record, heads, begins)]
    out += [last.step - bins.start, last_time - first_time, last.record - first.record]
    for name, there in _there(bins):
        marks: Marks = getattr(bins, name)
        away, share = marks.step - first.step, last.step - first.step
        time = marks.time // unit - first_time - _between(last_time - first_time, away, share)
        record = marks.record - first.record - _between(last.record - first.record, away, share)
        out += [np.where(there, column, 0) for column in (away, time, record)]
    return out


def _there(bins: Bins) -> list[tuple[str, NDArray[np.bool_]]]:
    some = bins.finite > 0
    return [("min", some), ("max", some), ("low", bins.neginf > 0), ("high", bins.posinf > 0)]


def _heads(*columns: NDArray[Any]) -> NDArray[np.int64]:
    new = np.ones(len(columns[0]), np.bool_)
    new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return np.flatnonzero(new)


def _steps(column: NDArray[np.int64], heads: NDArray[np.int64], begins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Differences in a series; a series' first number as the difference from the first one of the series before.

    A block begins with the number itself.
    """
    out = np.diff(column, prepend=0)
    out[heads] = np.diff(column[heads], prepend=0)
    out[begins] = column[begins]
    return out


def _sums(column: NDArray[np.int64], heads: NDArray[np.int64]) -> NDArray[np.int64]:
    """What `_steps` came from."""
    if len(heads) == 1:
        return np.cumsum(column)
    begins = np.cumsum(column[heads])
    column = column.copy()
    column[heads] = 0
    sums = np.cumsum(column)
    return sums + np.repeat(begins - sums[heads], np.diff(heads, append=len(column)))


def _between(span: NDArray[np.int64], away: NDArray[np.int64], share: NDArray[np.int64]) -> NDArray[np.int64]:
    return span * away // np.maximum(share, 1)


# -- reading -----------------------------------------------------------------------------------------------


def head_bytes(data: bytes) -> int:
    """How many bytes head and index have, by the file's first 64.

    Raises:
        CorruptError: it is no file of bins, or of another version.
    """
    if len(data) < _HEAD.size:
        raise _damaged("head", "the file is cut short")
    magic, version, _, _, _, _, _, _, index, *_ = _HEAD.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise CorruptError("a file of bins has another version or is none; its part is read instead")
    if index > LARGEST_HEAD:
        raise CorruptError(f"the index of a file of bins would have {index:,} bytes, at most {LARGEST_HEAD:,} are read")
    return int(_HEAD.size + index)


def _damaged(where: str, why: str) -> CorruptError:
    return CorruptError(
        f"the {where} of a file of bins is damaged: {why}; its part is read instead, and the run's next collector "
        "makes the file again"
    )


def read_head(data: bytes) -> BinsHead:
    """The head of a file, of at least `head_bytes` bytes.

    Raises:
        CorruptError: it is damaged.
    """
    size = head_bytes(data)
    _, _, crc, part_bytes, rows, node, part_crc, keys, _, text, coarse, fine = _HEAD.unpack_from(data)
    if len(data) < size or _crc(memoryview(data)[_SEALED:size]) != crc:
        raise _damaged("index", "its checksum is another")
    if size != _HEAD.size + 13 * keys + text + _BLOCK.itemsize * (coarse + fine):
        raise _damaged("index", "its size is not that of the keys and blocks it counts")
    at = _HEAD.size
    names, *ends = (np.frombuffer(data, "<u4", keys, at + 4 * keys * column) for column in range(3))
    logarithms = np.frombuffer(data, np.uint8, keys, at + 12 * keys)
    if keys and int(logarithms.max()) >= WIDEST.bit_length():
        raise _damaged("index", "it has a key whose bins are too wide")
    widths = np.left_shift(np.int64(1), logarithms.astype(np.int64))
    at += 13 * keys
    # Bins have 32 points on average, or their key has none: a file cannot say that it unfolds into more.
    if keys and not all(0 < int(one[-1]) <= min(rows // 32, _MOST_ROWS) for one in ends):
        raise _damaged("index", "it counts more bins than its part can have")
    blocks = np.frombuffer(data, _BLOCK, coarse + fine, at + text)
    starts = size + np.cumsum(blocks["size"], dtype=np.int64) - blocks["size"]
    return BinsHead(
        PartIdentity(part_bytes, rows, node, part_crc),
        (ends[0], ends[1]),
        widths,
        names,
        data[at : at + text],
        (blocks[coarse:], blocks[:coarse]),
        (starts[coarse:], starts[:coarse]),
    )


def read_block(head: BinsHead, block: int, level: int, body: bytes) -> Bins:
    """The bins of a block; `Bins.key` is the key's number in the file.

    Raises:
        CorruptError: it is damaged.
    """
    if not 0 <= block < len(head.blocks[level - 1]):
        raise _damaged("block", "it is not there")
    known = head.blocks[level - 1][block]
    begin, count = int(known["key"]), int(known["keys"])
    if len(body) != known["size"] or _crc(body) != known["crc"] or begin + count > len(head) or not count:
        raise _damaged("block", "its checksum is another")
    ends = head.ends[level - 1]
    edges = np.concatenate([ends[begin - 1 : begin] if begin else [0], ends[begin : begin + count]]).astype(np.int64)
    sizes = edges[1:] - edges[:-1]
    rows = int(sizes.sum())
    most = _BLOCK_HEAD + rows * 8 * _COLUMNS
    if (sizes <= 0).any() or rows > _MOST_ROWS or not _BLOCK_HEAD <= known["unpacked"] <= most:
        raise _damaged("block", "it counts more bins than it can have")
    widths = head.widths[begin : begin + count]
    numbers = np.arange(begin, begin + count, dtype=np.int32)
    if count == 1:
        key, width = np.full(rows, begin, np.int32), np.full(rows, head.width(begin, level))
    else:
        key = np.repeat(numbers, sizes)
        width = np.repeat(widths if level == 1 else coarser(widths), sizes)
    return _unpacked(_stretched(body, int(known["unpacked"])), key, width, head.of.node)


def _unpacked(data: bytes, key: NDArray[np.int32], width: NDArray[np.int64], node: int) -> Bins:
    rows = len(key)
    unit = _UNIT_NS[min(data[0], 1)]
    sizes = data[1 : 1 + _COLUMNS]
    lows = np.frombuffer(data, "<i8", len(_INTS), 1 + _COLUMNS).tolist()
    if len(data) != _BLOCK_HEAD + rows * sum(sizes) or max(sizes) > 8:
        raise _damaged("block", "its size is not that of the bins it counts")
    zeros, at = np.zeros(rows, np.int64), _BLOCK_HEAD
    columns: list[NDArray[Any]] = []
    for number, size in enumerate(sizes):
        low = lows[number] if number < len(_INTS) else 0
        if size:
            column = _joined(data, at, rows, size)
            columns.append(column + low if low else column)
            at += rows * size
        else:
            columns.append(np.full(rows, low) if low else zeros)
    rank, attempt = columns[0].astype(np.int32), columns[1].astype(np.int32)
    heads = _heads(key, rank, attempt)
    start = _sums(columns[2], heads) * width
    counts: dict[str, Any] = dict(zip(_COUNTS, columns[3:9], strict=True))
    values = dict(zip(_FLOATS, (column.view(np.float64) for column in columns[-len(_FLOATS) :]), strict=True))
    nodes = np.full(rows, node)
    first_time, first_record = _sums(columns[10], heads), _sums(columns[11], heads)
    last_time, last_record = columns[13] + first_time, columns[14] + first_record
    first = Marks(columns[9] + start, first_time * unit, nodes, first_record, values["first.value"])
    last = Marks(columns[12] + start, last_time * unit, nodes, last_record, values["last.value"])
    finite = counts["count"] - counts["nan"] - counts["posinf"] - counts["neginf"] - counts["other"]
    absent = Marks(zeros, zeros, zeros, zeros, np.full(rows, np.nan))
    share = last.step - first.step
    marks: dict[str, Any] = {}
    infinite = {"low": -np.inf, "high": np.inf}
    wheres = (("min", finite), ("max", finite), ("low", counts["neginf"]), ("high", counts["posinf"]))
    for number, (name, some) in enumerate(wheres):
        there = some > 0
        if not there.any():
            marks[name] = absent
            continue
        away, time, record = columns[15 + 3 * number : 18 + 3 * number]
        found: Any = (
            first.step + away,
            (first_time + time + _between(last_time - first_time, away, share)) * unit,
            nodes,
            first_record + record + _between(last_record - first_record, away, share),
            np.full(rows, infinite[name]) if name in infinite else values[f"{name}.value"],
        )
        if not there.all():
            found = tuple(np.where(there, column, np.nan if column.dtype.kind == "f" else 0) for column in found)
        marks[name] = Marks(*found)
    rest = {**marks, **counts, "mean": values["mean"], "m2": values["m2"]}
    return Bins(key, rank, attempt, start, width, first=first, last=last, **rest)


def _joined(data: bytes, at: int, rows: int, size: int) -> NDArray[np.int64]:
    """A column of integers again, out of its bytes."""
    planes = np.frombuffer(data, np.uint8, rows * size, at).reshape(size, rows)
    out = np.zeros((rows, 8), np.uint8)
    out[:, :size] = planes.T
    return out.reshape(-1).view("<i8")


def is_valid(data: bytes, of: PartIdentity) -> bool:
    """Whether these are the bytes of a file of that part as they were written, by their checksums."""
    try:
        head = read_head(data)
    except CorruptError:
        return False
    places = [(level, block) for level in LEVELS for block in range(len(head.blocks[level - 1]))]
    for level, block in places:
        begin, size = head.place(block, level)
        if _crc(data[begin : begin + size]) != head.blocks[level - 1]["crc"][block]:
            return False
    return head.of == of


def read_all(data: bytes) -> tuple[BinsHead, Bins, Bins]:
    """A whole file: its head and the bins of both levels.

    Raises:
        CorruptError: it is damaged.
    """
    head = read_head(data)
    levels = []
    for level in LEVELS:
        pieces = []
        for block in range(len(head.blocks[level - 1])):
            begin, size = head.place(block, level)
            pieces.append(read_block(head, block, level, data[begin : begin + size]))
        levels.append(concat(pieces) if pieces else none())
    return head, levels[0], levels[1]


def _crc(data: Any) -> int:
    import crc32c

    return int(crc32c.crc32c(data))


def _squeezed(data: bytes) -> bytes:
    import pyarrow as pa

    return bytes(pa.Codec("zstd", 3).compress(data, asbytes=True))


def _stretched(data: bytes, size: int) -> bytes:
    import pyarrow as pa

    try:
        return bytes(pa.decompress(data, size, "zstd", asbytes=True))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged("block", str(error)) from error
