"""How much a file may unfold into: a few kilobytes can say that they are a terabyte.

The bounds are far above what steno writes, in proportion to the file, and checked before anything is unfolded.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from steno import inside
from steno.errors import CorruptError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow.parquet as pq

MOST_ROWS: Final = 1 << 25
"""Of a part: sealing ends one at a million and a half points."""
ROWS_PER_BYTE: Final = 2000
"""A metric that never changes takes a byte for 21 points."""
UNPACKED_PER_BYTE: Final = 10_000
"""The same takes a byte for 336 of its columns."""
ROOM_BYTES: Final = 64 << 20
"""So much any file may unfold into."""
MOST_BYTES: Final = 8 << 30
MOST_DECODED_BYTES: Final = 2 << 30
"""Of one media value that is read into memory; a larger one can be had as its file."""


def parquet(path: Path, most_rows: int = MOST_ROWS) -> pq.FileMetaData:
    """The footer of a Parquet file that may be read.

    Raises:
        CorruptError: it would unfold into too much.
        OSError, ValueError: it is no Parquet file, or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open(inside.opened(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            footer = pq.read_metadata(file)
        except pa.ArrowException as error:
            raise ValueError(str(error)) from error
        rows, groups = footer.num_rows, [footer.row_group(at) for at in range(footer.num_row_groups)]
        whole = sum(group.total_byte_size for group in groups)
        if not 0 <= rows <= min(most_rows, (1 << 20) + size * ROWS_PER_BYTE) or rows != sum(g.num_rows for g in groups):
            raise CorruptError(f"{path} has {size:,} bytes and says that it has {rows:,} rows: it is not read")
        _require(path, size, whole)
        if any(group.total_byte_size < 0 or group.num_rows < 0 for group in groups):
            raise CorruptError(f"{path} says that it has less than nothing: it is not read")
        return footer


def decoded(path: object, size: int) -> None:
    """Raise CorruptError for a media value that would take too much memory."""
    if size > MOST_DECODED_BYTES:
        raise CorruptError(f"{path} would unfold into {size:,} bytes, and at most {MOST_DECODED_BYTES:,} are read")


def _require(path: Path, size: int, unpacked: int) -> None:
    if unpacked > min(MOST_BYTES, ROOM_BYTES + size * UNPACKED_PER_BYTE):
        raise CorruptError(f"{path} has {size:,} bytes and would unfold into {unpacked:,}: it is not read")
