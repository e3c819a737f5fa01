"""How much a file may unfold into: a few kilobytes can say that they are a terabyte.

The bounds are far above what steno writes, in proportion to the file, and checked before anything is unfolded.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any, Final

from steno import inside
from steno.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import pyarrow.parquet as pq

    Buffer = mmap.mmap | memoryview

MOST_ROWS: Final = 1 << 25
"""Of a part: sealing ends one at a million and a half points."""
ROWS_PER_BYTE: Final = 2000
"""A metric that never changes takes a byte for 21 points."""
UNPACKED_PER_BYTE: Final = 10_000
"""The same takes a byte for 336 of its columns."""
ROOM_BYTES: Final = 64 << 20
"""So much any file may unfold into."""
MOST_BYTES: Final = 8 << 30
_FLAGS, _NUMBERS, _BINARY, _STRUCT = (1, 2), (4, 5, 6), 8, 12
"""Types of Thrift's compact protocol that a page's header has."""
_MOST_FIELDS: Final = 100
_HEADER_ROOM: Final = 4096
_MOST_WALKED: Final = 4096
_WALKED: Final[dict[tuple[int | str, ...], None]] = {}
"""Row groups whose pages were looked at, by their file's device, inode, time and size, and their places."""
MOST_DECODED_BYTES: Final = 2 << 30
"""Of one media value that is read into memory; a larger one can be had as its file."""


def parquet(path: Path, most_rows: int = MOST_ROWS) -> pq.FileMetaData:
    """The footer of a Parquet file that may be read: what it says is within bounds, and its pages say no more.

    Raises:
        CorruptError: it would unfold into too much.
        OSError, ValueError: it is no Parquet file, or cannot be read.
    """
    found = footer(path, most_rows)
    pages(path, [found.row_group(at) for at in range(found.num_row_groups)])
    return found


def pages(path: Path, groups: list[pq.RowGroupMetaData], without: Collection[str] = ()) -> None:
    """Look at the headers of all pages of these row groups, once as long as the file does not change.

    Args:
        path: the file.
        groups: of its footer.
        without: columns that nobody reads.

    Raises:
        CorruptError: they would unfold into more than the footer says, or are none.
        OSError: it cannot be read.
    """
    with open(inside.opened(path), "rb") as file:
        facts = os.fstat(file.fileno())
        places = (one.column(0).data_page_offset for one in groups if one.num_columns)
        mark = (facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size, *places, *sorted(without))
        if mark not in _WALKED:
            with mmap.mmap(file.fileno(), facts.st_size, access=mmap.ACCESS_READ) as data:
                walk(data, path, groups, without=without)
            while len(_WALKED) >= _MOST_WALKED:
                _WALKED.pop(next(iter(_WALKED)), None)
            _WALKED[mark] = None


def footer(path: Path, most_rows: int = MOST_ROWS) -> pq.FileMetaData:
    """The footer alone, for who reads no page or looks at each row group's with `pages`.

    Raises:
        CorruptError: it says that the file would unfold into too much.
        OSError, ValueError: it is no Parquet file, or cannot be read.
    """
    with open(inside.opened(path), "rb") as file:
        return _footer(file, path, os.fstat(file.fileno()).st_size, most_rows)


def _footer(source: Any, path: Path, size: int, most_rows: int) -> pq.FileMetaData:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(source)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    require_bounded(found, path, size, most_rows)
    return found


def require_bounded(found: pq.FileMetaData, path: Path, size: int, most_rows: int = MOST_ROWS) -> None:
    """Raise CorruptError for a footer which says that its file of that size would unfold into too much."""
    rows, groups = found.num_rows, [found.row_group(at) for at in range(found.num_row_groups)]
    whole = sum(group.total_byte_size for group in groups)
    if not 0 <= rows <= min(most_rows, (1 << 20) + size * ROWS_PER_BYTE) or rows != sum(g.num_rows for g in groups):
        raise CorruptError(f"{path} has {size:,} bytes and says that it has {rows:,} rows: it is not read")
    _require(path, size, whole)
    if any(group.total_byte_size < 0 or group.num_rows < 0 for group in groups):
        raise CorruptError(f"{path} has a negative size or number of rows in its footer: it is not read")


def walk(
    data: Buffer,
    path: Path,
    groups: Sequence[pq.RowGroupMetaData],
    wanted: Collection[str] | None = None,
    *,
    without: Collection[str] = (),
    places: Sequence[tuple[int, int]] = (),
) -> None:
    """Look at the header of every page, which says by itself what it unfolds into; readers believe it.

    Args:
        data: the file, or as much of it as has been read, each byte at its place.
        path: its name.
        groups: of its footer.
        wanted: the columns that are read; None: all but those `without`.
        without: columns that nobody reads.
        places: by row group, where it lies: what has been read.

    Raises:
        CorruptError: more than the footer says, or what is no page.
    """
    unfolded, size = 0, len(data)
    for group, (first, last) in zip(groups, places or [(1, size)] * len(groups), strict=True):
        for number in range(group.num_columns):
            column = group.column(number)
            name = column.path_in_schema
            if name in without or (wanted is not None and name not in wanted):
                continue
            if not group.num_rows and not column.num_values:
                continue  # readers open no page of it, and it may have none: then its place is 0
            at = column.data_page_offset
            if column.has_dictionary_page and 0 < column.dictionary_page_offset < at:
                at = column.dictionary_page_offset
            end, left = at + column.total_compressed_size, column.total_uncompressed_size
            try:
                if not first <= at <= end <= last:
                    raise ValueError("its place is not in the file")
                while at < end:
                    page, behind = _page_header(data, at)
                    left -= page[2] + behind - at
                    unfolded += page[2]
                    at = behind + page[3]
                    if page[2] < 0 or page[3] < 0 or at > end or left < -_HEADER_ROOM:
                        raise ValueError("its pages are more than the footer says")
            except (ValueError, KeyError, IndexError) as error:
                raise CorruptError(f"{path}: the column {name!r} is not read: {error}") from error
    _require(path, size, unfolded)


def _page_header(data: Buffer, at: int) -> tuple[dict[int, int], int]:
    """(the numbers of a PageHeader by field, where it ends): Thrift's compact protocol, structs inside stepped over."""
    found: dict[int, int] = {}
    depth, fields = 0, [0]
    for _ in range(_MOST_FIELDS):
        head = data[at]
        at += 1
        if not head:
            if not depth:
                return found, at
            depth -= 1
            fields.pop()
            continue
        kind = head & 15
        if head >> 4:
            fields[-1] += head >> 4
        else:
            number, at = _varint(data, at)
            fields[-1] = (number >> 1) ^ -(number & 1)
        if kind == _STRUCT:
            depth += 1
            fields.append(0)
        elif kind in _NUMBERS:
            number, at = _varint(data, at)
            if not depth:
                found[fields[-1]] = (number >> 1) ^ -(number & 1)
        elif kind == _BINARY:
            length, at = _varint(data, at)
            at += length
        elif kind not in _FLAGS:
            raise ValueError("what stands there is no page")
    raise ValueError("the header of a page has no end")


def _varint(data: Buffer, at: int) -> tuple[int, int]:
    number = shift = 0
    while shift < 70:
        one = data[at]
        at += 1
        number |= (one & 127) << shift
        if one < 128:
            return number, at
        shift += 7
    raise ValueError("a number has no end")


def decoded(path: object, size: int) -> None:
    """Raise CorruptError for a media value that would take too much memory."""
    if size > MOST_DECODED_BYTES:
        raise CorruptError(f"{path} would unfold into {size:,} bytes, and at most {MOST_DECODED_BYTES:,} are read")


def _require(path: Path, size: int, unpacked: int) -> None:
    if unpacked > min(MOST_BYTES, ROOM_BYTES + size * UNPACKED_PER_BYTE):
        raise CorruptError(f"{path} has {size:,} bytes and would unfold into {unpacked:,}: it is not read")
