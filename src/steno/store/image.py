"""What is read of one part, once: the same bytes are compared with their checksums, bounded and decoded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol, Self

import crc32c

from steno import bounds, inside
from steno.errors import CorruptError
from steno.ledger import verify

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

WHOLE_BYTES: Final = 1 << 17
"""A smaller part is read in one request, and so is the end of a larger one, where its footer is."""
_PERHAPS_SAME: Final = ("rank", "attempt", "node")


class DiffersError(Exception):
    """The part is not what was written, or not of this format: whoever looks at it as a whole says why."""


class Bytes(Protocol):
    """Where the bytes of a part come from: a file, or an object of which some stretches are fetched."""

    @property
    def size(self) -> int:
        """Of all of it."""

    def read(self, ranges: Sequence[tuple[int, int]], into: memoryview) -> None:
        """Put these stretches (begin, end) where they belong. Raises DiffersError where there is less, and OSError."""

    def close(self) -> None:
        """Free what it holds."""


class FileBytes:
    """The bytes of a file of this machine.

    Raises:
        OSError, CorruptError: it cannot be opened, or is no file.
    """

    def __init__(self, path: Path) -> None:
        self._fd = inside.opened(path)
        self.size = os.fstat(self._fd).st_size

    def read(self, ranges: Sequence[tuple[int, int]], into: memoryview) -> None:
        """See `Bytes`."""
        for begin, end in ranges:
            at = begin
            while at < end:
                took = os.preadv(self._fd, [into[at:end]], at)
                if not took:
                    raise DiffersError
                at += took

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class PartImage:
    """A buffer as large as the part, in which stands what has been read of it. For one thread.

    Args:
        path: the part.
        crc: its checksum.
        footer: as another image of it had it.
        source: where its bytes come from; None: the file. It is closed with the image.

    Raises:
        DiffersError: its size or its footer is another one.
        OSError: it cannot be read.
        CorruptError: it is no file, or would unfold into too much.
    """

    def __init__(
        self, path: Path, crc: str, footer: pq.FileMetaData | None = None, source: Bytes | None = None
    ) -> None:
        import numpy as np

        sums = verify.sums(crc)
        if sums is None:
            raise DiffersError
        self._path, self._sums = path, sums
        self._file: pq.ParquetFile | None = None
        self._source = FileBytes(path) if source is None else source
        try:
            size = self._source.size
            if size != sums.size or size < 12:
                raise DiffersError
            # Pages of it that nothing is written to take no memory.
            self._data = np.empty(size, np.uint8)
            self._bytes = self._data.data
            if footer is None or size <= WHOLE_BYTES:
                begin = max(size - WHOLE_BYTES, 0)
                self._source.read([(begin, size)], self._bytes)
                self._end = max(size - 8 - int.from_bytes(self._bytes[size - 8 : size - 4], "little"), 0)
                if self._end < begin:
                    self._source.read([(self._end, begin)], self._bytes)
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
        """Close where it comes from; what was read stays."""
        self._source.close()

    def _parsed(self, size: int) -> pq.FileMetaData:
        """The footer, which is parsed once: its file is kept for `table`, which has the row groups read before."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        whole = pa.BufferReader(pa.py_buffer(self._data))
        try:
            self._file = pq.ParquetFile(whole, read_dictionary=["key"], pre_buffer=False)
        except pa.ArrowException as error:
            raise DiffersError from error
        bounds.require_bounded(self._file.metadata, self._path, size)
        return self._file.metadata

    def _load(self, groups: Sequence[int], *, whole: bool) -> list[tuple[int, int]]:
        """Where these row groups lie, which are read and compared then; not `whole`: without `meta`."""
        held = verify.pieces(self.footer, self._end, groups)
        places = [(pieces[0][0], pieces[whole][1]) for pieces in held]
        self._source.read([place for place in places if place[0] < self._filled], self._bytes)
        for at, pieces in zip(groups, held, strict=True):
            for (low, high), crc in zip(pieces[: 1 + whole], self._sums.group(at), strict=False):
                if crc32c.crc32c(self._bytes[low:high]) != crc:
                    raise DiffersError
        return places

    def load(self, groups: Sequence[int]) -> None:
        """Read these row groups without `meta`, for who reads them from the same source later. Raises as `table`."""
        self._load(groups, whole=False)

    def share(self, groups: Sequence[int]) -> float:
        """Which part of the bytes these row groups are."""
        held = verify.pieces(self.footer, self._end, groups)
        return sum(whole[1] - some[0] for some, whole in held) / max(len(self._data), 1)

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

    def groups_with(self, keys: Iterable[str], steps: tuple[int | None, int | None]) -> list[int]:
        """The row groups that can have a point of these keys at steps from the first to the last one."""
        groups = {at for key in keys for at, _ in self.groups_of(key)}
        return sorted(at for at in groups if self.has_steps(at, *steps))

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
    """See `PartImage.groups_of`. A part is sorted by key, and so are they.

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
