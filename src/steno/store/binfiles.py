"""The bins that lie next to the parts of runs, and what they do not answer."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from steno import inside
from steno.errors import CorruptError
from steno.ledger import bins_format
from steno.ledger.bins import BinInput, Bins, concat, none
from steno.ledger.bins_name import name_of
from steno.record import Ref
from steno.store.attempts import Choice
from steno.store.image import DiffersError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.ledger.bins_format import BinsHead
    from steno.ledger.snapshot import Part
    from steno.store.image import Bytes
    from steno.store.points import Points as Rows

_FIRST_BYTES: Final = 1 << 16
"""Read of a file before it is known how long its head is: most heads, and much of level 2."""
_HEADS_BYTES: Final = 64 << 20
_KEY_BYTES: Final = 250
"""What is held of a file for a key that was asked about, beside its bins."""
_KEPT_ROWS: Final = 400_000
"""Bins that are kept unpacked, about 250 bytes each."""
_ROWS_A_KEY: Final = 20
"""So many bins take as much as what tells a key's bins from those of the others in their block."""


@dataclass(frozen=True, slots=True)
class Level:
    """Which bins are wanted: the widest ones that are no wider than `width`; without it all of level 1 or 2."""

    number: int = 2
    width: int | None = None
    nearest: tuple[int, int] | None = None
    """(side, step): of the chosen points only those that may be the last one of a rank before the step (-1), or the
    first one from it on (1)."""
    is_plain: bool = False
    """Leave those out that hold numbers together with NaN, texts, files, or ints beyond 2**53: they are stretches."""
    unsealed: bool = False
    """Points that no part has may come as bins too."""

    def of(self, head: BinsHead, key: int) -> int:
        """The level of a key's bins in a part, or 0."""
        if self.nearest is not None:  # bins that are not cut at the step, if there are some
            return next((level for level in (2, 1) if self.nearest[1] % head.width(key, level) == 0), 1)
        if self.width is None:
            return self.number
        return next((level for level in (2, 1) if head.width(key, level) <= self.width), 0)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Points of a part that no bin answers for: those of the key at the steps `first` to `last`."""

    key: int
    """Position in the keys that were asked for."""
    first: int | None
    """None: of any step. The key may have no points in the part at all."""
    last: int | None


@dataclass(frozen=True, slots=True)
class AnsweredByBins:
    """What the bins of a part tell of the points that were chosen: each is in one bin, or in one stretch."""

    bins: Bins
    """By key, rank, attempt and start, each as wide as its key has it in this part; `key` counts in the keys."""
    raw: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """The bins of the keys of a block, from the first key on."""

    place: tuple[str, tuple[int, int, int], int, int]
    bins: Bins
    first: int
    firsts: list[int]
    """By key the first step of its points,"""
    lasts: list[int]
    """and the last one."""
    by_key: dict[int, Bins]


_Key = tuple[int, tuple[int, int] | None]
"""A key's number in a file, -1 where it has no bins, and the first and last step of its points, as far as known."""


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    mark: tuple[int, int, int]
    """Size, mtime in ns and inode that it was read by."""
    head: BinsHead
    begin: bytes
    source: Bytes | None
    """Where its bytes are; None: in its file."""
    keys: dict[str, _Key]
    """What was asked about."""

    @property
    def bytes(self) -> int:
        """Held of it."""
        return len(self.begin) + _KEY_BYTES * len(self.keys)


class BinFiles:
    """Reads files of bins, and keeps what it read, up to a bound. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[str, _File] = OrderedDict()
        self._blocks: OrderedDict[tuple[str, tuple[int, int, int], int, int], _Block] = OrderedDict()
        self._bytes = 0
        self._rows = 0

    def read(
        self, run_dir: Path, part: Part, keys: Sequence[str], choice: Choice, level: Level, source: Bytes | None = None
    ) -> AnsweredByBins:
        """The bins of the chosen points of a part.

        A file of bins that is not there, is damaged, or is another part's answers for nothing.

        Args:
            run_dir: the run's directory.
            part: one of the run's metrics parts.
            keys: whose points.
            choice: which of them.
            level: which bins.
            source: where the file's bytes are; None: next to the part.
        """
        path = os.path.join(run_dir, name_of(part.name))
        pieces: list[Bins] = []
        having: list[int] = []
        raw: list[Stretch] = []
        file = self._file(path, part, source)
        is_window = choice.first is not None or choice.last is not None
        for key, name in enumerate(keys):
            number, span = (-1, None) if file is None else self._key(path, file, name, spans=is_window)
            if is_window and span is not None and _is_outside(span, choice):
                continue
            wanted = 0 if file is None or number < 0 else level.of(file.head, number)
            found = self._wanted(path, file, number, wanted, choice, level) if file is not None and wanted else None
            if found is not None and level.is_plain and 2 * np.count_nonzero(is_plain(found)) < len(found):
                found = None  # nearly all of it would be stretches
            if found is None:
                raw.append(Stretch(key, None, None))
                continue
            rows, cut = chosen(found, choice, level)
            found = _of(found, rows)
            if len(found):
                pieces.append(found)
                having.append(key)
            raw += [Stretch(key, *one) for one in cut]
        bins = concat(pieces)
        if pieces:
            bins = replace(bins, key=np.repeat(np.array(having, np.int32), [len(piece) for piece in pieces]))
        return AnsweredByBins(bins, tuple(raw))

    def spans(self, run_dir: Path, part: Part, keys: Sequence[str]) -> list[tuple[int, int] | None]:
        """The first and the last step of each key's points in a part; None where its bins do not say."""
        path = os.path.join(run_dir, name_of(part.name))
        file = self._file(path, part)
        if file is None:
            return [None] * len(keys)
        return [self._key(path, file, key, spans=True)[1] for key in keys]

    def widest(self, run_dir: Path, part: Part, keys: Sequence[str], first: int, last: int) -> int:
        """The largest width of level 1 that these keys have in a part at these steps; 0: no bins are there."""
        path = os.path.join(run_dir, name_of(part.name))
        file = self._file(path, part)
        if file is None:
            return 0
        choice = Choice(first=first, last=last)
        known = [self._key(path, file, key, spans=True) for key in keys]
        there = [number for number, span in known if span is not None and not _is_outside(span, choice)]
        return max((file.head.width(number, 1) for number in there), default=0)

    def may_have(self, run_dir: Path, part: Part, keys: Sequence[str], first: int, last: int) -> bool:
        """Whether a part can have points of these keys at these steps, as far as its bins say."""
        choice = Choice(first=first, last=last)
        return any(span is None or not _is_outside(span, choice) for span in self.spans(run_dir, part, keys))

    def count(self, run_dir: Path, part: Part, key: str, level: int, source: Bytes | None = None) -> int:
        """How many bins of that level the part has for a key, without reading them."""
        file = self._file(os.path.join(run_dir, name_of(part.name)), part, source)
        number = -1 if file is None else self._key(os.path.join(run_dir, name_of(part.name)), file, key)[0]
        return 0 if file is None or number < 0 else file.head.count(number, level)

    def _file(self, path: str, part: Part, source: Bytes | None = None) -> _File | None:
        try:
            if source is None:
                state = os.lstat(path)
                mark = (state.st_size, state.st_mtime_ns, state.st_ino)
            else:
                mark = (source.size, 0, 0)  # what is in a store never changes
            with self._lock:
                file = self._files.get(path)
                if file is not None:
                    self._files.move_to_end(path)
            if file is None or file.mark != mark:
                file = _opened(path, mark, source)
                with self._lock:
                    self._keep(path, file)
        except (OSError, CorruptError, DiffersError):
            return None
        of = file.head.of
        wanted = bins_format.identity(part.bytes, part.rows, part.node, part.crc)
        return file if of == (wanted if part.crc is not None else replace(wanted, crc=of.crc)) else None

    def _keep(self, path: str, file: _File) -> None:
        old = self._files.pop(path, None)
        self._bytes += file.bytes - (old.bytes if old is not None else 0)
        self._files[path] = file
        while self._bytes > _HEADS_BYTES and len(self._files) > 1:
            self._bytes -= self._files.popitem(last=False)[1].bytes

    def _wanted(self, path: str, file: _File, number: int, wanted: int, choice: Choice, level: Level) -> Bins | None:
        """The bins of a key at a level, or of level 2 where those say as much of what is chosen; None: as `_bins`.

        Most parts of a long run lie outside of a window, and narrow bins are eight times as many to unpack.
        """
        is_all = not choice.hidden and choice.attempt is None and choice.rank is None
        # A window that meets the key's steps has some of its narrow bins.
        is_window = choice.first is not None or choice.last is not None
        if wanted == 1 and is_window and not (is_all and level.nearest is None):
            wide = self._bins(path, file, number, 2)
            if wide is not None:
                whole, part = _whole(wide, choice)
                if not part.any() and (level.nearest is not None or not whole.any()):
                    return wide
        return self._bins(path, file, number, wanted)

    def _key(self, path: str, file: _File, name: str, *, spans: bool = False) -> _Key:
        """What is known of a key in a file, with its steps where they are asked for."""
        found = file.keys.get(name)
        if found is not None and (not spans or found[0] < 0 or found[1] is not None):
            return found
        number = file.head.find(name)
        block = self._block(path, file, number, 2) if spans and number >= 0 else None
        span = None if block is None else (block.firsts[number - block.first], block.lasts[number - block.first])
        with self._lock:
            if name not in file.keys and self._files.get(path) is file:
                self._bytes += _KEY_BYTES
            file.keys[name] = number, span
        return number, span

    def _bins(self, path: str, file: _File, number: int, level: int) -> Bins | None:
        """The bins of a key at a level; None where they cannot be read."""
        block = self._block(path, file, number, level)
        if block is None or len(block.firsts) == 1:
            return None if block is None else block.bins
        with self._lock:
            found = block.by_key.get(number)
            if found is None:
                first, last = (int(np.searchsorted(block.bins.key, number, side)) for side in ("left", "right"))
                found = block.by_key[number] = block.bins.take(slice(first, last))
                if self._blocks.get(block.place) is block:
                    self._rows += _ROWS_A_KEY
            return found

    def _block(self, path: str, file: _File, number: int, level: int) -> _Block | None:
        """The block that has the bins of a key at a level; None where it cannot be read."""
        head, at = file.head, file.head.block_of(number, level)
        if at < 0:
            return None
        place = (path, file.mark, level, at)
        with self._lock:
            found = self._blocks.get(place)
            if found is not None:
                self._blocks.move_to_end(place)
                return found
        try:
            bins = bins_format.read_block(head, at, level, _bytes(path, file, *head.place(at, level)))
        except (OSError, CorruptError, DiffersError):
            return None
        heads = np.flatnonzero(np.diff(bins.key, prepend=-1))
        firsts, lasts = np.minimum.reduceat(bins.first.step, heads), np.maximum.reduceat(bins.last.step, heads)
        found = _Block(place, bins, int(bins.key[0]), firsts.tolist(), lasts.tolist(), {})
        with self._lock:
            if place not in self._blocks:
                self._blocks[place] = found
                self._rows += len(bins)
            while self._rows > _KEPT_ROWS and len(self._blocks) > 1:
                gone = self._blocks.popitem(last=False)[1]
                self._rows -= len(gone.bins) + _ROWS_A_KEY * len(gone.by_key)
        return found


def _is_outside(span: tuple[int, int], choice: Choice) -> bool:
    """Whether none of the steps from the first to the last are chosen."""
    return (choice.last is not None and span[0] > choice.last) or (choice.first is not None and span[1] < choice.first)


def _opened(path: str, mark: tuple[int, int, int], source: Bytes | None) -> _File:
    begin = _read(path, 0, _FIRST_BYTES if source is None else _FIRST_BYTES // 2, source)
    size = bins_format.head_bytes(begin)
    if size > len(begin):
        begin += _read(path, len(begin), size - len(begin), source)
    return _File(mark, bins_format.read_head(begin), begin, source, {})


def _bytes(path: str, file: _File, begin: int, size: int) -> bytes:
    if begin + size <= len(file.begin):
        return file.begin[begin : begin + size]
    return _read(path, begin, size, file.source)


def _read(path: str, begin: int, size: int, source: Bytes | None) -> bytes:
    """Bytes of a file, fewer where it ends before."""
    if source is None:
        fd = inside.opened(path)
        try:
            return os.pread(fd, min(size, max(os.fstat(fd).st_size - begin, 0)), begin)
        finally:
            os.close(fd)
    end = max(min(begin + size, source.size), begin)
    room = np.empty(end, np.uint8)  # what nothing is written to takes no memory
    source.read([(begin, end)], room.data)
    return room[begin:].tobytes()


def chosen(bins: Bins, choice: Choice, level: Level) -> tuple[NDArray[np.int64], list[tuple[int, int]]]:
    """The bins of a key all of whose points are chosen, and the steps of those of which only some are."""
    whole, part = _whole(bins, choice)
    if level.is_plain:
        plain = is_plain(bins)
        whole, part = whole & plain, part | (whole & ~plain)
    if level.nearest is not None:
        whole, part = _nearest(bins, whole, part, level.nearest[0])
    if not part.any():
        return np.flatnonzero(whole), []
    # A stretch has no rank and no attempt: the other bins of its steps are answered from the points as well.
    starts = np.unique(bins.start[part])
    whole &= ~np.isin(bins.start, starts)
    width = int(bins.width[0])
    return np.flatnonzero(whole), _joined(starts.tolist(), width)


def _of(bins: Bins, rows: NDArray[np.int64]) -> Bins:
    """Some of the bins; those of a window lie one after the other and are not copied."""
    if not len(rows):
        return none()
    if len(rows) == len(bins):
        return bins
    first, last = int(rows[0]), int(rows[-1])
    return bins.take(slice(first, last + 1) if last - first + 1 == len(rows) else rows)


def is_plain(bins: Bins) -> NDArray[np.bool_]:
    """Which bins hold nothing but floats, and of those no NaN or nothing else."""
    plain: NDArray[np.bool_] = ((bins.nan == 0) | (bins.nan == bins.count)) & (bins.other + bins.exact == 0)
    return plain


def _whole(bins: Bins, choice: Choice) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which bins have only chosen points, and which have chosen ones and others."""
    first, last = bins.first.step, bins.last.step
    some, whole = np.ones(len(bins), np.bool_), np.ones(len(bins), np.bool_)
    for number, step in choice.hidden:
        before = bins.attempt < number
        some &= ~(before & (first >= step))
        whole &= ~(before & (last >= step))
    if choice.attempt is not None:
        some &= bins.attempt == choice.attempt
    if choice.rank is not None:
        some &= bins.rank == choice.rank
    if choice.first is not None:
        some &= last >= choice.first
        whole &= first >= choice.first
    if choice.last is not None:
        some &= first <= choice.last
        whole &= last <= choice.last
    return some & whole, some & ~whole


def _nearest(
    bins: Bins, whole: NDArray[np.bool_], part: NDArray[np.bool_], side: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of these bins those that may hold the last chosen point of a rank (-1), or the first one (1)."""
    near = bins.last.step if side < 0 else ~bins.first.step
    ranks, rank = np.unique(bins.rank, return_inverse=True)
    best = np.full(len(ranks), np.iinfo(np.int64).min)
    np.maximum.at(best, rank[whole], near[whole])
    may = near >= best[rank]
    return whole & may, part & may


def _joined(starts: Sequence[int], width: int) -> list[tuple[int, int]]:
    """The stretches of steps of bins that begin there, neighbours as one."""
    found: list[tuple[int, int]] = []
    for start in starts:
        if found and found[-1][1] + 1 == start:
            found[-1] = (found[-1][0], start + width - 1)
        else:
            found.append((start, start + width - 1))
    return found


def points_of(rows: Rows) -> BinInput:
    """Points as `steno.ledger.bins` takes them."""
    other = exact = None
    if rows.special:
        other, exact = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
        for row, value in rows.special.items():
            (other if isinstance(value, str | Ref) else exact)[row] = True
    node = np.asarray(rows.node, np.int64)
    return BinInput(
        rows.key, rows.rank, rows.attempt, rows.step, rows.time, node, rows.record, rows.value, other, exact
    )
