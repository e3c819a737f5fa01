"""Parts against their checksums, and what is good of a damaged one."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steno import bounds, files, inside
from steno.errors import CorruptError
from steno.visible import visible

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import pyarrow.parquet as pq

BLOCKS = 64
"""Into so many stretches a file that is no Parquet is parted."""
_SMALLEST_BLOCK = 64
_CHUNK_BYTES = 1 << 20
_BLOCKS_SUM = re.compile(r"\d{1,15}:(?:[0-9a-f]{8}){0,64}")
_GROUPS_SUM = re.compile(r"(\d{1,15}):([0-9a-f]{8}):((?:[0-9a-f]{16})*)")
NOTED = "parts.jsonl"
_DISPENSABLE = frozenset({"meta"})
"""Columns whose loss leaves each point what it is; without any other, a row would say something never logged."""

Range = tuple[int, int]
Ranges = list[Range]
"""Stretches of a file in bytes, the end excluded."""


def checksum(path: Path) -> str:
    """The size of a part, the crc32c of its footer, and two of each row group, as "size:footer:groups" in hex.

    The first of a group is of all its columns but `meta`, the second of that one, which is the last: a point is whole
    without it. So who reads a few row groups checks no other byte. What is no Parquet has the crc32c of each of up to
    BLOCKS equal stretches, as "size:hex"; so had parts of format 1.

    Not the page checksums of Parquet: these leave out the page headers and the footer, where a flipped bit
    gives other values as silently, and DuckDB does not look at them. Raises OSError.
    """
    size = path.stat().st_size
    try:
        footer = bounds.footer(path)
    except (ValueError, CorruptError):
        return f"{size}:" + "".join(f"{one:08x}" for one in _crcs(path, _blocks(size)))
    begins = _footer_begin(path, size)
    crcs = list(_crcs(path, [(begins, size), *(piece for group in pieces(footer, begins) for piece in group)]))
    return f"{size}:{crcs[0]:08x}:" + "".join(f"{one:08x}" for one in crcs[1:])


def _footer_begin(path: Path, size: int) -> int:
    """Where its last bytes say that the footer begins; 0 where they cannot be right."""
    if size < 12:
        return 0
    with open(inside.opened(path), "rb") as file:
        file.seek(size - 8)
        return max(size - 8 - int.from_bytes(file.read(4), "little"), 0)


def pieces(footer: pq.FileMetaData, end: int, groups: Collection[int] | None = None) -> list[tuple[Range, Range]]:
    """By row group its bytes up to those of `meta`, and the rest: all from the begin of the file to `end`.

    Of these groups alone, in their order; None: of all.
    """
    held: dict[int, list[tuple[str, int, int]]] = {}

    def begin_of(at: int) -> int:
        if at in {0, footer.num_row_groups}:
            return end if at else 0
        if at not in held:
            held[at] = list(_chunks(footer.row_group(at)))
        return min(start for _, start, _ in held[at])

    out = []
    for at in range(footer.num_row_groups) if groups is None else sorted(groups):
        begin, following = begin_of(at), begin_of(at + 1)
        chunks = held.pop(at) if at in held else list(_chunks(footer.row_group(at)))
        last = next((start for name, start, _ in chunks if name in _DISPENSABLE), following)
        out.append(((begin, last), (last, following)))
    return out


def _crcs(path: Path, pieces: Iterable[Range]) -> Iterator[int]:
    import crc32c

    view = memoryview(bytearray(_CHUNK_BYTES))
    with open(inside.opened(path), "rb", buffering=0) as file:
        for start, end in pieces:
            file.seek(start)
            left, crc = end - start, 0
            while left > 0 and (some := file.readinto(view[: min(left, _CHUNK_BYTES)])):
                crc = crc32c.crc32c(view[:some], crc)
                left -= some
            yield crc


@dataclass(frozen=True, slots=True)
class Sums:
    """What `checksum` says of a Parquet part."""

    size: int
    footer: int
    _groups: str

    def __len__(self) -> int:
        """Row groups."""
        return len(self._groups) // 16

    def group(self, at: int) -> tuple[int, int]:
        """The two checksums of a row group: without `meta`, and of that."""
        text = self._groups[16 * at : 16 * at + 16]
        return int(text[:8], 16), int(text[8:], 16)


def sums(crc: str) -> Sums | None:
    """A checksum taken apart; None: it is that of no Parquet part of this format."""
    found = _GROUPS_SUM.fullmatch(crc)
    return None if found is None else Sums(int(found[1]), int(found[2], 16), found[3])


def _blocks(size: int) -> Ranges:
    block = max(-(-size // BLOCKS), _SMALLEST_BLOCK)
    return [(at, min(at + block, size)) for at in range(0, size, block)]


def differing(
    path: Path, crc: str, groups: Collection[int] | None = None, footer: pq.FileMetaData | None = None
) -> Ranges:
    """Where a file is not what it was when `checksum` saw it; empty when it is the same.

    Args:
        path: the file.
        crc: its checksum.
        groups: only the footer and these row groups are read and compared; None: all.
        footer: as `bounds.footer` gives it, where it is known.

    Raises:
        FileNotFoundError: it is gone.
        OSError: it cannot be read.
    """
    actual = path.stat().st_size
    found = _GROUPS_SUM.fullmatch(crc)
    if found is not None:
        return _differing_groups(path, actual, found, groups, footer)
    if not _BLOCKS_SUM.fullmatch(crc):
        return [(0, actual)]  # nothing of ours wrote that
    text, _, digits = crc.partition(":")
    size, blocks = int(text), _blocks(int(text))
    bad = [piece for piece, one, other in zip(blocks, _hex(digits), _crcs(path, blocks), strict=False) if one != other]
    return bad if actual == size else [*bad, (min(size, actual), max(size, actual))]


def _hex(digits: str) -> list[int]:
    return [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]


def _differing_groups(
    path: Path, actual: int, crc: re.Match[str], groups: Collection[int] | None, footer: pq.FileMetaData | None
) -> Ranges:
    size, begin = int(crc[1]), _footer_begin(path, actual)
    if actual != size:
        return [(0, max(size, actual))]
    if next(_crcs(path, [(begin, size)])) != int(crc[2], 16):
        return [(begin, size)]
    try:
        footer = bounds.footer(path) if footer is None else footer
    except (ValueError, CorruptError):
        return [(0, actual)]  # an intact footer of another file
    known = _hex(crc[3])
    if len(known) != 2 * footer.num_row_groups:
        return [(0, actual)]
    wanted = range(footer.num_row_groups) if groups is None else sorted(groups)
    parted = zip(wanted, pieces(footer, begin, wanted), strict=True)
    some = [(piece, known[2 * at + half]) for at, both in parted for half, piece in enumerate(both)]
    found = _crcs(path, [piece for piece, _ in some])
    return [piece for (piece, one), other in zip(some, found, strict=True) if one != other]


@dataclass(frozen=True, slots=True)
class Damage:
    """What a damaged part has lost. `rows` is None where not even their number is known."""

    rows: int | None
    bytes: int
    kept: int
    """Rows that are read."""
    reason: str

    def __str__(self) -> str:
        lost = "all" if self.rows is None else f"{self.rows:,}"
        return f"{self.reason}: {lost} rows ({self.bytes:,} bytes) are lost, {self.kept:,} are read"


def footer_of(path: Path, bad: Ranges) -> pq.FileMetaData | None:
    """The footer of a part that is damaged there; None where that is the footer itself."""
    size = path.stat().st_size
    if size < 12 or _touched(bad, size - 8, size):
        return None
    with open(inside.opened(path), "rb") as file:
        file.seek(size - 8)
        length = int.from_bytes(file.read(4), "little")
    if length > size - 12 or _touched(bad, size - 8 - length, size):
        return None
    try:
        return bounds.footer(path)
    except (OSError, ValueError, CorruptError):
        return None


def _touched(bad: Ranges, start: int, end: int) -> bool:
    return any(low < end and start < high for low, high in bad)


def salvage(path: Path, bad: Ranges, target: Path) -> Damage:
    """Write the row groups that lie wholly outside the damage into a part of their own, in order; say what is lost.

    `target` is not there afterwards when nothing is good. One row group is held in memory.

    Raises:
        OSError: the target cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    reason = f"{sum(high - low for low, high in bad):,} bytes of it, from byte {bad[0][0]:,} on, fail their checksum"
    footer = footer_of(path, bad)
    if footer is None:
        return Damage(None, path.stat().st_size, 0, f"{reason}, its footer among them")
    lost = lost_bytes = kept = 0
    with pq.ParquetFile(path, memory_map=False) as file:
        layout = file.schema_arrow
        with pq.ParquetWriter(target, layout, version="2.6", compression="zstd", compression_level=1) as writer:
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                hit = {name: size for name, start, size in _chunks(group) if _touched(bad, start, start + size)}
                lost_bytes += sum(hit.values())
                table = None
                if hit.keys() <= _DISPENSABLE:
                    with contextlib.suppress(OSError, ValueError, pa.ArrowException, CorruptError):
                        bounds.pages(path, [group], without=hit)
                        wanted = [name for name in layout.names if name not in hit]
                        table = file.read_row_group(number, wanted, use_threads=False)
                if table is None:
                    lost += group.num_rows
                    lost_bytes += sum(size for name, _, size in _chunks(group) if name not in hit)
                    continue
                kept += len(table)
                for name in hit:
                    table = table.append_column(name, pa.nulls(len(table), layout.field(name).type))
                writer.write_table(table.select(layout.names), row_group_size=max(len(table), 1))
    if not kept:
        files.unlink(target)
    return Damage(lost, lost_bytes, kept, reason)


def _chunks(group: Any) -> Iterator[tuple[str, int, int]]:
    """(column, first byte, bytes) of a row group's columns, page headers included."""
    for at in range(group.num_columns):
        column = group.column(at)
        begins = column.data_page_offset
        if column.has_dictionary_page and column.dictionary_page_offset:
            begins = min(begins, column.dictionary_page_offset)
        yield column.path_in_schema, begins, column.total_compressed_size


@contextlib.contextmanager
def usable(path: Path, crc: str | None) -> Iterator[Path | None]:
    """The part itself where it is intact or has no checksum, else a passing copy of what is good; None: nothing is.

    Warns of damage (RuntimeWarning). Raises OSError.
    """
    bad = differing(path, crc) if crc else []
    if not bad:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="steno-salvaged-") as place:
        copy = Path(place) / path.name
        damage = salvage(path, bad, copy)
        warnings.warn(visible(f"the part {path} is damaged, {damage}"), RuntimeWarning, stacklevel=4)
        yield copy if copy.exists() else None


def note(node_dir: Path, facts: Mapping[str, Any]) -> None:
    """Write a part's facts next to the ledger, for the case that it is lost. Raises OSError."""
    node_dir.mkdir(parents=True, exist_ok=True)
    # After a line end: a line that a death cut short spoils no other.
    files.append(node_dir / NOTED, b"\n" + json.dumps(facts, separators=(",", ":")).encode())


def are_offsets(took: object) -> bool:
    """Whether it is a list of [stream, segment, end]."""
    return isinstance(took, list) and all(
        isinstance(one, list) and [type(what) for what in one] == [str, int, int] and max(one[1:]) < 2**63
        for one in took
    )


def noted(node_dir: Path) -> dict[str, dict[str, Any]]:
    """By name the facts of parts as `note` wrote them, the newest of each; what is torn is passed over."""
    found: dict[str, dict[str, Any]] = {}
    lines: Sequence[bytes] = ()
    with contextlib.suppress(OSError, CorruptError):
        lines = inside.read(node_dir / NOTED).split(b"\n")
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            facts = json.loads(line)
            if isinstance(facts["crc"], str) and are_offsets(facts["took"]):
                found[facts["name"]] = facts
    return found
