"""Slices of many journals to one ordered set of columns, holes and fills resolved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from steno.journal.decode import HOLE, KeySet
from steno.journal.format import RESERVED
from steno.record import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from steno.journal.decode import RawEntry, Slice

Values = dict[str, Any]
_COUNTING = frozenset({"counter", "per"})


@dataclass(frozen=True, slots=True)
class Old:
    """Late values of a record of an earlier batch."""

    record: int
    time: int
    step: int
    rank: int
    attempt: int
    values: Values
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class PostedRows:
    """Records in the order of posting. Row `i` owns the points `start[i]:start[i] + width[i]` of `value`."""

    mono: NDArray[np.int64]
    time: NDArray[np.int64]
    seq: NDArray[np.int64]
    step: NDArray[np.int64]
    auto: NDArray[np.bool_]
    set: NDArray[np.int32]
    stream: NDArray[np.int32]
    start: NDArray[np.int64]
    width: NDArray[np.int64]
    rank: NDArray[np.int32]
    attempt: NDArray[np.int32]
    record: NDArray[np.int64]
    value: NDArray[np.float64]
    sets: list[KeySet]
    special: dict[int, Any]
    meta: dict[int, dict[str, Any]]
    gather: bool = False
    """Whether points are out of place, so that `settle` must gather them."""
    missing: dict[int, list[str]] = field(default_factory=dict)
    """Row → keys whose values have not come."""


def merge(slices: Sequence[Slice], streams: Sequence[int], ranks: Sequence[int], attempts: Sequence[int]) -> PostedRows:
    """One table of the slices' records, ordered by their monotonic stamps; ties keep the journals' order.

    Args:
        slices: at least one; a stream's slices in the order of its segments.
        streams: per slice, the stream's index.
        ranks: per slice.
        attempts: per slice.

    """
    sets: list[KeySet] = []
    places: dict[Any, int] = {}
    special: dict[int, Any] = {}
    meta: dict[int, dict[str, Any]] = {}
    chosen: list[NDArray[np.int32]] = []
    widths: list[NDArray[np.int64]] = []
    points = rows = 0
    for piece in slices:
        local = np.empty(len(piece.sets), np.int32)
        sizes = np.empty(len(piece.sets), np.int64)
        for at, keyset in enumerate(piece.sets):
            mark = keyset.keys if not keyset.options else (keyset.keys, repr(keyset.options))
            place = places.get(mark)
            if place is None:
                place = places[mark] = len(sets)
                sets.append(keyset)
            local[at] = place
            sizes[at] = len(keyset.keys)
        chosen.append(local[piece.set] if len(piece.set) else np.empty(0, np.int32))
        widths.append(sizes[piece.set] if len(piece.set) else np.empty(0, np.int64))
        for point, value in piece.special.items():
            special[points + point] = value
        for row, what in piece.meta.items():
            meta[rows + row] = what
        points += len(piece.value)
        rows += len(piece.mono)

    def join(name: str) -> NDArray[Any]:
        arrays = [getattr(piece, name) for piece in slices]
        return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]

    def each(values: Sequence[int]) -> NDArray[np.int32]:
        if len(values) == 1 or len(set(values)) == 1:
            return np.full(rows, values[0], np.int32)
        return np.repeat(np.array(values, np.int32), [len(piece.mono) for piece in slices])

    width = np.concatenate(widths) if len(widths) > 1 else widths[0]
    table = PostedRows(
        mono=join("mono"),
        time=join("wall") // 1000 * 1000,  # in whole microseconds, as a part keeps it; `mono` says the order
        seq=join("seq"),
        step=join("step").copy(),
        auto=join("auto"),
        set=np.concatenate(chosen) if len(chosen) > 1 else chosen[0],
        stream=each(streams),
        start=np.cumsum(width) - width,
        width=width,
        rank=each(ranks),
        attempt=each(attempts),
        record=np.empty(0, np.int64),
        value=join("value"),
        sets=sets,
        special=special,
        meta=meta,
    )
    _order(table)
    _options(table)
    return table


_COLUMNS = ("mono", "time", "seq", "step", "auto", "set", "stream", "start", "width", "rank", "attempt")


def _order(table: PostedRows) -> None:
    if not (table.mono[1:] < table.mono[:-1]).any():
        return
    order = np.argsort(table.mono, kind="stable")
    for name in _COLUMNS:
        setattr(table, name, getattr(table, name)[order])
    table.gather = True
    if table.meta:
        where = np.empty(len(order), np.int64)
        where[order] = np.arange(len(order))
        table.meta = {int(where[row]): what for row, what in table.meta.items()}


def _options(table: PostedRows) -> None:
    """What a key set says of all its records, beyond numbering, becomes meta of each."""
    for place, keyset in enumerate(table.sets):
        kept = {name: value for name, value in (keyset.options or {}).items() if name not in _COUNTING}
        if kept:
            for row in np.flatnonzero(table.set == place).tolist():
                table.meta[row] = {**kept, **table.meta.get(row, {})}


def numbered(table: PostedRows, entries: Sequence[RawEntry], first: int) -> list[int]:
    """Give records and entries their numbers, by stamp together; returns the entries' numbers.

    Args:
        table: gets `record`.
        entries: ordered by their stamps.
        first: the first free number.

    """
    count = len(table.mono)
    table.record = np.arange(first, first + count)
    if not entries:
        return []
    stamps = np.array([entry.mono for entry in entries], np.int64)
    before = np.searchsorted(table.mono, stamps, side="left")
    table.record += np.searchsorted(before, np.arange(count), side="right")
    return [first + int(at) + index for index, at in enumerate(before)]


def fill(table: PostedRows, fills: dict[tuple[int, int], Values]) -> None:
    """Put late values in the places of this posting's own holes; note what is still missing.

    Args:
        table: `missing` is set, and rows with holes are given new sets and places.
        fills: (stream index, sequence number) → values; those used are taken out.

    """
    holes = sorted(point for point, value in table.special.items() if value is HOLE)
    if not holes:
        return
    wide = np.flatnonzero(table.width > 0)  # rows without points share their start with another one
    by_start = wide[np.argsort(table.start[wide], kind="stable")]
    owners = by_start[np.searchsorted(table.start[by_start], holes, side="right") - 1]
    starts, at = table.start, len(table.value)
    extra: list[float] = []
    places: dict[tuple[str, ...], int] = {}
    for row in sorted(set(owners.tolist())):
        keys = table.sets[table.set[row]].keys
        begin = int(starts[row])
        values: Values = {}
        missing: list[str] = []
        for offset, key in enumerate(keys):
            value = table.special.pop(begin + offset, None)
            if value is HOLE:
                missing.append(key)
            else:
                values[key] = table.value[begin + offset] if value is None else value
        late = fills.pop((int(table.stream[row]), int(table.seq[row])), None)
        if late is not None:
            values |= late
            missing = still_missing(missing, late)
        if missing:
            table.missing[row] = missing
        new = tuple(values)
        place = places.get(new)
        if place is None:
            place = places[new] = len(table.sets)
            table.sets.append(KeySet(new))
        table.set[row] = place
        starts[row], table.width[row] = at, len(new)
        at = _extend(extra, values.values(), at, table.special)
    table.value = np.concatenate([table.value, np.array(extra, np.float64)])
    table.gather = True


def still_missing(missing: Sequence[str], late: Values) -> list[str]:
    """Keys no late value answers: the key itself, or keys under it for an array that was spread out.

    A reserved place is answered by any fill.
    """
    return [
        key
        for key in missing
        if key != RESERVED and key not in late and not any(name.startswith(f"{key}/") for name in late)
    ]


def _extend(values: list[float], some: Any, at: int, special: dict[int, Any]) -> int:
    for value in some:
        if isinstance(value, float):
            values.append(value)
        elif isinstance(value, int):
            values.append(nearest(value))
            if abs(value) > 2**53:
                special[at] = value
        else:
            values.append(float("nan"))
            special[at] = value
        at += 1
    return at


def complete(table: PostedRows, old: Sequence[Old]) -> None:
    """Put late values of older records first, drop records without points, and lay the points in order.

    Afterwards `record` rises strictly and `start` is the running sum of `width`.
    """
    if old:
        _prepend(table, sorted(old, key=lambda one: one.record))
    keep = table.width > 0
    if not keep.all():
        where = np.cumsum(keep) - 1
        for name in (*_COLUMNS, "record"):
            setattr(table, name, getattr(table, name)[keep])
        table.meta = {int(where[row]): what for row, what in table.meta.items() if keep[row]}
    if table.gather:
        _gather(table)


def _prepend(table: PostedRows, old: Sequence[Old]) -> None:
    extra: list[float] = []
    at, starts, widths = len(table.value), [], []
    places: dict[tuple[str, ...], int] = {}
    chosen = []
    for one in old:
        new = tuple(one.values)
        if new not in places:
            places[new] = len(table.sets)
            table.sets.append(KeySet(new))
        chosen.append(places[new])
        starts.append(at)
        widths.append(len(new))
        at = _extend(extra, one.values.values(), at, table.special)
    count = len(old)
    heads: dict[str, Any] = {
        "mono": np.zeros(count, np.int64),
        "time": [one.time for one in old],
        "seq": np.zeros(count, np.int64),
        "step": [one.step for one in old],
        "auto": np.zeros(count, np.bool_),
        "set": chosen,
        "stream": np.zeros(count, np.int32),
        "start": starts,
        "width": widths,
        "rank": [one.rank for one in old],
        "attempt": [one.attempt for one in old],
        "record": [one.record for one in old],
    }
    for name, head in heads.items():
        column = getattr(table, name)
        setattr(table, name, np.concatenate([np.asarray(head, column.dtype), column]))
    table.value = np.concatenate([table.value, np.array(extra, np.float64)])
    table.meta = {row + count: what for row, what in table.meta.items()}
    table.meta |= {row: one.meta for row, one in enumerate(old) if one.meta}
    table.gather = True


def _gather(table: PostedRows) -> None:
    width = table.width
    target = np.cumsum(width) - width
    if table.special:
        by_start = np.argsort(table.start, kind="stable")
        sorted_starts = table.start[by_start]
        moved: dict[int, Any] = {}
        for point, value in table.special.items():
            place = int(np.searchsorted(sorted_starts, point, side="right")) - 1
            if place < 0:
                continue
            row = int(by_start[place])
            offset = point - int(table.start[row])
            if offset < width[row]:
                moved[int(target[row]) + offset] = value
        table.special = moved
    if len(width) and (width == width[0]).all():
        index = (table.start[:, None] + np.arange(int(width[0]))).reshape(-1)
    else:
        index = np.repeat(table.start - target, width) + np.arange(int(width.sum()))
    table.value = table.value[index]
    table.start = target
    table.gather = False


def no_rows() -> PostedRows:
    """None at all."""
    none, short = np.empty(0, np.int64), np.empty(0, np.int32)
    return PostedRows(
        mono=none, time=none, seq=none, step=none, auto=np.empty(0, np.bool_), set=short, stream=short, start=none,
        width=none, rank=short, attempt=short, record=none, value=np.empty(0), sets=[], special={}, meta={},
    )  # fmt: skip
