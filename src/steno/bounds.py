"""How much a file may unfold into: a few kilobytes can say that they are a terabyte.

The bounds are far above what steno writes, in proportion to the file, and checked before anything is unfolded.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, Final

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
MOST_PIXELS: Final = 1 << 28
"""Of a picture: 16,384 by 16,384."""


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


def archive(path: Path) -> None:
    """Look into a zip archive (an npz is one) before it is read.

    Raises:
        CorruptError: it would unfold into too much, or is none.
        OSError: it cannot be read.
    """
    import zipfile

    with open(inside.opened(path), "rb") as file:
        try:
            members = zipfile.ZipFile(file).infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise CorruptError(f"{path} is no archive: {error}") from error
        _require(path, os.fstat(file.fileno()).st_size, sum(member.file_size for member in members))


def picture(path: Any, width: int, height: int) -> None:
    """Raise CorruptError for a picture that is too large to be drawn in memory."""
    if width * height > MOST_PIXELS:
        raise CorruptError(f"{path} is a picture of {width:,} by {height:,} pixels: it is not read")


class Budget:
    """Bytes that a file may still unfold into, counted as they come; for what does not say beforehand."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._left = MOST_BYTES

    def take(self, count: int) -> None:
        """Raise CorruptError when it was too much."""
        self._left -= count
        if self._left < 0:
            raise CorruptError(f"{self._source} unfolds into more than {MOST_BYTES:,} bytes: it is not read")


def _require(path: Path, size: int, unpacked: int) -> None:
    if unpacked > min(MOST_BYTES, ROOM_BYTES + size * UNPACKED_PER_BYTE):
        raise CorruptError(f"{path} has {size:,} bytes and would unfold into {unpacked:,}: it is not read")


def opened_picture(source: Path | BinaryIO) -> Any:
    """A picture as Pillow opens it, not decoded yet, of a size that may be.

    Raises:
        CorruptError: it is none, or too large.
        OSError: it cannot be read.
    """
    import warnings

    import PIL.Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # ours is the bound
        try:
            found = PIL.Image.open(source if hasattr(source, "read") else os.fdopen(inside.opened(source), "rb"))
        except (PIL.UnidentifiedImageError, PIL.Image.DecompressionBombError, ValueError, SyntaxError) as error:
            raise CorruptError(f"{source} is no picture: {error}") from error
    picture(source, *found.size)
    return found
