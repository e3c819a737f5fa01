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
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow.parquet as pq

BLOCKS = 64
"""A checksum of 64 stretches tells where a part is damaged to about a fifth of a row group, and has 520 letters."""
_SMALLEST_BLOCK = 64
_CHUNK_BYTES = 1 << 20
_CHECKSUM = re.compile(r"\d{1,15}:(?:[0-9a-f]{8}){0,64}")
NOTED = "parts.jsonl"
_DISPENSABLE = frozenset({"meta"})
"""Columns whose loss leaves each point what it is; without any other, a row would say something never logged."""

Ranges = list[tuple[int, int]]
"""Stretches of a file in bytes, the end excluded."""


def checksum(path: Path) -> str:
    """The size of a file and the crc32c of each of up to BLOCKS equal stretches, as "size:hex".

    Not the page checksums of Parquet: these leave out the page headers and the footer, where a flipped bit
    gives other values as silently, and DuckDB does not look at them. Raises OSError.
    """
    size = path.stat().st_size
    return f"{size}:" + "".join(f"{one:08x}" for one in _crcs(path, size))


def _crcs(path: Path, size: int) -> Iterator[int]:
    import crc32c

    block = _block(size)
    view = memoryview(bytearray(min(block, _CHUNK_BYTES)))
    with open(inside.opened(path), "rb", buffering=0) as file:
        for start in range(0, size, block):
            left, crc = min(block, size - start), 0
            while left and (some := file.readinto(view[:left])):
                crc = crc32c.crc32c(view[:some], crc)
                left -= some
            yield crc


def _block(size: int) -> int:
    return max(-(-size // BLOCKS), _SMALLEST_BLOCK)


def differing(path: Path, crc: str) -> Ranges:
    """Where a file is not what it was when `checksum` saw it; empty when it is the same.

    Raises:
        FileNotFoundError: it is gone.
        OSError: it cannot be read.
    """
    actual = path.stat().st_size
    if not _CHECKSUM.fullmatch(crc):
        return [(0, actual)]  # nothing of ours wrote that
    text, _, digits = crc.partition(":")
    size = int(text)
    known = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    block = _block(size)
    bad = [
        (at * block, min((at + 1) * block, size))
        for at, (one, other) in enumerate(zip(known, _crcs(path, size), strict=False))
        if one != other
    ]
    return bad if actual == size else [*bad, (min(size, actual), max(size, actual))]


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
        return bounds.parquet(path)
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
                    with contextlib.suppress(OSError, ValueError, pa.ArrowException):
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
def readable(path: Path, crc: str | None) -> Iterator[Path | None]:
    """The part itself where it is sound or has no checksum, else a passing copy of what is good; None: nothing is.

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
    """Write a part's facts beside the ledger, for the case that it is lost. Raises OSError."""
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
