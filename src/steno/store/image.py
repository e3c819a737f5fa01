"""What is read of one part, once: the same bytes are compared with their checksums, bounded and decoded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

import crc32c

from steno import bounds, inside
from steno.errors import CorruptError
from steno.ledger import verify

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

_WHOLE_BYTES: Final = 1 << 17
"""A smaller part is read at once, and so is the end of a larger one, where its footer is."""
_PERHAPS_SAME: Final = ("rank", "attempt", "node")


class DiffersError(Exception):
    """The part is not what was written, or not of this format: whoever looks at it as a whole says why."""


class Image:
    """A buffer as large as the part, in which stands what has been read of it. For one thread.

    Args:
        path: the part.
        crc: its checksum.
        footer: as another image of it had it.

    Raises:
        DiffersError: its size or its footer is another one.
        OSError: it cannot be read.
        CorruptError: it is no file, or would unfold into too much.
    """

    def __init__(self, path: Path, crc: str, footer: pq.FileMetaData | None = None) -> None:
        import numpy as np

        sums = verify.sums(crc)
        if sums is None:
            raise DiffersError
        self._path, self._sums = path, sums
        self._file: pq.ParquetFile | None = None
        self._fd = inside.opened(path)
        try:
            size = os.fstat(self._fd).st_size
            if size != sums.size or size < 12:
                raise DiffersError
            # Pages of it that nothing is written to take no memory.
            self._data = np.empty(size, np.uint8)
            self._bytes = self._data.data
            if footer is None or size <= _WHOLE_BYTES:
                begin = max(size - _WHOLE_BYTES, 0)
                self._fill(begin, size)
                self._end = max(size - 8 - int.from_bytes(self._bytes[size - 8 : size - 4], "little"), 0)
                if self._end < begin:
                    self._fill(self._end, begin)
                self._filled = begin
                if crc32c.crc32c(self._bytes[self._end :]) != sums.footer:
                    raise DiffersError
                self.footer = self._parsed(size) if footer is None else footer
            else:
                self._end = self._filled = size - 8 - footer.serialized_size
                self.footer = footer
            if len(sums) != self.footer.num_row_groups:
                raise DiffersError
        except ValueError as error:
            self.close()
            raise DiffersError from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read stays."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _parsed(self, size: int) -> pq.FileMetaData:
        """The footer, which is parsed once: its file is kept for `table` where it is in memory as a whole."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        end = self._data if not self._filled else self._data[self._end :]
        try:
            file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(end)), read_dictionary=["key"], pre_buffer=False)
        except pa.ArrowException as error:
            raise DiffersError from error
        footer = file.metadata
        bounds.require_sound(footer, self._path, size)
        if not self._filled:
            self._file = file
        return footer

    def _fill(self, begin: int, end: int) -> None:
        """Raises DiffersError where the file is shorter than it was."""
        while begin < end:
            took = os.preadv(self._fd, [self._bytes[begin:end]], begin)
            if not took:
                raise DiffersError
            begin += took

    def _load(self, groups: Sequence[int], *, whole: bool) -> list[tuple[int, int]]:
        """Where these row groups lie, which are read and compared then; not `whole`: without `meta`."""
        places = []
        for at, pieces in zip(groups, verify.pieces(self.footer, self._end, groups), strict=True):
            begin, end = pieces[0][0], pieces[whole][1]
            if begin < self._filled:
                self._fill(begin, end)
            for (low, high), crc in zip(pieces[: 1 + whole], self._sums.group(at), strict=False):
                if crc32c.crc32c(self._bytes[low:high]) != crc:
                    raise DiffersError
            places.append((begin, end))
        return places

    def compare(self, groups: Sequence[int]) -> None:
        """Read these row groups for who reads them by other means.

        Raises:
            DiffersError: one of them is not what was written.
            CorruptError: it would unfold into more than it says.
            OSError: it cannot be read.
        """
        places = self._load(groups, whole=True)
        bounds.walk(self._bytes, self._path, [self.footer.row_group(at) for at in groups], places=places)

    def table(self, groups: Sequence[int], columns: Iterable[str]) -> tuple[pa.Table, Mapping[str, int]]:
        """(columns of these row groups in their order, of those that are the same in all rows that one value).

        Not `meta`, which is compared only by `compare`.

        Raises:
            DiffersError: a row group is not what was written.
            CorruptError: it would unfold into more than it says.
            pyarrow.ArrowException, ValueError, OSError: it cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        places = self._load(groups, whole=False)
        facts = [self.footer.row_group(at) for at in groups]
        names = {name: at for at, name in enumerate(self.footer.schema.names)}
        same = {name: value for name in _PERHAPS_SAME if (value := _same(facts, names.get(name))) is not None}
        wanted = [name for name in columns if name not in same]
        bounds.walk(self._bytes, self._path, facts, wanted, places=places)
        file = self._file or pq.ParquetFile(
            pa.BufferReader(pa.py_buffer(self._data)), metadata=self.footer, read_dictionary=["key"], pre_buffer=False
        )
        return file.read_row_groups(list(groups), columns=wanted, use_threads=False), same

    def has_steps(self, at: int, first: int | None, last: int | None) -> bool:
        """Whether a row group can have a step of that range."""
        if first is None and last is None:
            return True
        facts = self.footer.row_group(at).column(self.footer.schema.names.index("step")).statistics
        if facts is None or not facts.has_min_max:
            return True
        return (first is None or facts.max >= first) and (last is None or facts.min <= last)

    def groups_of(self, key: str) -> list[tuple[int, bool]]:
        """The row groups that can have a key, by their statistics, and whether each can have others too."""
        return groups_of(self._path, self.footer, key)


def groups_of(path: Path, footer: pq.FileMetaData, key: str) -> list[tuple[int, bool]]:
    """See `Image.groups_of`. A part is sorted by key, and so are they.

    Raises:
        CorruptError: keys are no texts there.
    """
    names = footer.schema.names
    column = names.index("key") if "key" in names else -1
    count = footer.num_row_groups

    def ends(at: int) -> tuple[str, str] | None:
        facts = footer.row_group(at).column(column).statistics if column >= 0 else None
        found = (facts.min, facts.max) if facts is not None and facts.has_min_max else None
        if found is not None and not isinstance(found[0], str):
            require_texts(path, footer)
        return found

    # From the first one on whose largest key is not before it.
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        found = ends(middle)
        if found is None:
            return [(at, True) for at in range(count)]
        low, high = (middle + 1, high) if found[1] < key else (low, middle)
    groups = []
    for at in range(low, count):
        found = ends(at)
        if found is not None and found[0] > key:
            break
        groups.append((at, found is None or found[0] != found[1]))
    return groups


def require_texts(path: Path, footer: pq.FileMetaData) -> None:
    """Raise CorruptError for a part whose keys are no texts."""
    names = footer.schema.names
    column = footer.schema.column(names.index("key")) if "key" in names else None
    if column is not None and column.converted_type != "UTF8":
        raise CorruptError(f"the keys in {path} are no texts: steno has not written it, remove it")


def _same(groups: Sequence[pq.RowGroupMetaData], column: int | None) -> int | None:
    """The one value of a column in all rows of the row groups; None where nothing says so."""
    if column is None:
        return None
    value: int | None = None
    for group in groups:
        facts = group.column(column).statistics
        if facts is None or not facts.has_min_max or not facts.has_null_count or facts.null_count:
            return None
        low, high = facts.min, facts.max
        if type(low) is not int or low != high or value not in {None, low}:
            return None
        value = low
    return value
