"""Points in the order in which a part holds them: sorted by key, rank, attempt and step, and cut into row groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from steno.ledger import schema
from steno.ledger.arrow_columns import to_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from steno.ledger.schema import Columns
    from steno.record import Ref

GROUP_ROWS = 1 << 17
KEY_ROWS = 1 << 13
"""A key with so many rows in a part has row groups of its own: it can be read, and its bytes checked, alone."""
_STRETCH_ROWS = 1 << 13
"""Shorter stretches of a column are cheaper copied together than handed to Arrow one by one."""


@dataclass(slots=True)
class PartPoints:
    """Points on their way into a part: columns by row (a record, or a point when parts are merged).

    Row `i` has the points `start[i]:start[i] + width[i]` of `value`; point `start[i] + j` has the key
    `names[ranks[first[i] + j]]`. `names` is sorted.
    """

    record: NDArray[np.int64]
    time: NDArray[np.int64]
    step: NDArray[np.int64]
    rank: NDArray[np.int32]
    attempt: NDArray[np.int32]
    batch: NDArray[np.int64]
    start: NDArray[np.int64]
    width: NDArray[np.int64]
    first: NDArray[np.int64]
    ranks: NDArray[Any]
    names: Sequence[str]
    value: NDArray[np.float64]
    special: Mapping[int, int | str | Ref] = field(default_factory=dict)
    meta: Mapping[int, str] = field(default_factory=dict)
    """By row: JSON text."""


def points_of(batches: Sequence[tuple[int, Columns]], names: Mapping[int, str]) -> PartPoints:
    """The points of consecutive batches; `names` has every key id in them."""
    flat: list[NDArray[np.int32]] = []
    first: list[NDArray[np.int64]] = []
    width: list[NDArray[np.int64]] = []
    special: dict[int, Any] = {}
    meta: dict[int, str] = {}
    keys = points = rows = 0
    known: dict[bytes, int] = {}
    for _, columns in batches:
        sizes = np.fromiter((len(ids) for ids in columns.sets), np.int64, len(columns.sets))
        begins = np.empty(len(columns.sets), np.int64)
        for at, ids in enumerate(columns.sets):
            # Like sets are one, so that a part of one key set is known for a table.
            begins[at] = begin = known.setdefault(ids.tobytes(), keys)
            if begin == keys:
                flat.append(ids)
                keys += len(ids)
        first.append(begins[columns.set])
        width.append(sizes[columns.set])
        special.update((points + point, value) for point, value in columns.special.items())
        meta.update((rows + row, schema.json_text(what)) for row, what in columns.meta.items())
        points += len(columns.value)
        rows += len(columns.record)
    every = np.concatenate(flat)
    unique = np.unique(every)
    texts = [names[id] for id in unique.tolist()]
    order = sorted(range(len(texts)), key=texts.__getitem__)
    ranked = np.empty(len(texts), np.uint16 if len(texts) <= 1 << 16 else np.uint32)
    ranked[order] = np.arange(len(texts))
    widths = np.concatenate(width)

    def join(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(columns, name) for _, columns in batches])

    return PartPoints(
        record=join("record"),
        time=join("time"),
        step=join("step"),
        rank=join("rank"),
        attempt=join("attempt"),
        batch=np.repeat(np.array([id for id, _ in batches], np.int64), [len(columns.record) for _, columns in batches]),
        start=np.cumsum(widths) - widths,
        width=widths,
        first=np.concatenate(first),
        ranks=ranked[np.searchsorted(unique, every)],
        names=[texts[at] for at in order],
        value=join("value"),
        special=special,
        meta=meta,
    )


@dataclass(frozen=True, slots=True)
class Group:
    """Points of one row group, in order of key, rank, attempt and step; equal ones in order of record."""

    ranks: NDArray[Any]
    """Per point, its key's place in `names`; rising."""
    value: NDArray[np.float64]
    of: Callable[[NDArray[Any]], NDArray[Any]]
    """A column by row → by point."""
    take: Callable[[NDArray[Any], Any], Any]
    """A column by row and its Arrow type → by point, for Arrow."""
    row: Callable[[], NDArray[Any]]
    """Per point, its row; only wanted where rows have meta."""
    point: Callable[[], NDArray[Any]]
    """Per point, its place in `PartPoints.value`; only wanted where there are special ones."""


Stretch = tuple[int, int]


def _stretches(counts: NDArray[np.int64]) -> Iterator[Stretch]:
    """Row groups as stretches of the sorted points, the end excluded, of which each key has so many."""
    ends = np.cumsum(counts)
    pooled = 0
    for key in np.flatnonzero(counts >= KEY_ROWS).tolist():
        end = int(ends[key])
        begin = end - int(counts[key])
        yield from _cut(pooled, begin)
        yield from _cut(begin, end)
        pooled = end
    yield from _cut(pooled, int(ends[-1]))


def _cut(begin: int, end: int) -> Iterator[Stretch]:
    """In pieces of about one size, none above GROUP_ROWS."""
    pieces = -(-(end - begin) // GROUP_ROWS)
    for at in range(pieces):
        yield begin + (end - begin) * at // pieces, begin + (end - begin) * (at + 1) // pieces


def arranged(points: PartPoints) -> tuple[list[Stretch], Callable[[int, int], Group]]:
    """(the row groups, what makes one of a stretch of the sorted points)."""
    rows: NDArray[np.int32] | None = None
    if not bool((points.rank == points.rank[0]).all() and (points.attempt == points.attempt[0]).all()):
        rows = np.lexsort((points.step, points.attempt, points.rank)).astype(np.int32)
    elif (points.step[1:] < points.step[:-1]).any():
        rows = np.argsort(points.step, kind="stable").astype(np.int32)
    if (points.first == points.first[0]).all() and (points.width == points.width[0]).all():
        return _table_groups(points, rows)
    if rows is None:
        rows = np.arange(len(points.record), dtype=np.int32)
    widths = points.width[rows].astype(np.int32)
    begins = np.cumsum(widths, dtype=np.int32) - widths
    count = int(begins[-1] + widths[-1])
    row = np.repeat(rows, widths)
    inside = np.arange(count, dtype=np.int32) - np.repeat(begins, widths)
    ranks = points.ranks[np.repeat(points.first[rows].astype(np.int32), widths) + inside]
    inside += np.repeat(points.start[rows].astype(np.int32), widths)
    order = _stable_argsort(ranks)

    def group(begin: int, end: int) -> Group:
        some = order[begin:end]
        return _picked(points, inside[some], row[some], ranks[some])

    return list(_stretches(np.bincount(ranks))), group


def _picked(points: PartPoints, point: NDArray[Any], row: NDArray[Any], ranks: NDArray[Any]) -> Group:
    return Group(
        ranks,
        points.value[point],
        lambda column: column[row],
        lambda column, kind: to_arrow(column[row], kind),
        lambda: row,
        lambda: point,
    )


def _table_groups(
    points: PartPoints, rows: NDArray[np.int32] | None
) -> tuple[list[Stretch], Callable[[int, int], Group]]:
    """All records have one key set: the columns of a table one after another, no sort and mostly no copies."""
    width, count = int(points.width[0]), len(points.record)
    ranks = points.ranks[points.first[0] : points.first[0] + width]
    order = np.argsort(ranks, kind="stable").tolist()
    table = np.ascontiguousarray(points.value.reshape(count, width).T)

    def group(begin: int, end: int) -> Group:
        stretches = [
            (order[column], slice(max(begin - column * count, 0), min(end - column * count, count)))
            for column in range(begin // count, (end - 1) // count + 1)
        ]
        return _stretched(table, rows, ranks, stretches)

    return list(_stretches(np.full(width, count))), group


def _stretched(
    table: NDArray[np.float64],
    rows: NDArray[np.int32] | None,
    ranks: NDArray[Any],
    stretches: Sequence[tuple[int, slice]],
) -> Group:
    import pyarrow as pa

    parts = [part if rows is None else rows[part] for _, part in stretches]
    columns = [column for column, _ in stretches]
    lengths = [part.stop - part.start for _, part in stretches]

    def of(column: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([column[part] for part in parts]) if len(parts) > 1 else column[parts[0]]

    def take(column: NDArray[Any], kind: Any) -> Any:
        if sum(lengths) < _STRETCH_ROWS * len(lengths):
            return to_arrow(of(column), kind)
        return pa.chunked_array([to_arrow(column[part], kind) for part in parts])

    def row() -> NDArray[Any]:
        every = np.arange(table.shape[1])
        return np.concatenate([every[part] for part in parts])

    return Group(
        np.repeat(ranks[columns], lengths),
        np.concatenate([table[column, part] for column, part in zip(columns, parts, strict=True)]),
        of,
        take,
        row,
        lambda: row() * len(table) + np.repeat(columns, lengths),
    )


def _stable_argsort(ranks: NDArray[Any]) -> NDArray[np.int64]:
    """Stable argsort; numpy sorts 16-bit integers by radix, so wider ones go in two passes."""
    if ranks.dtype == np.uint16:
        return np.argsort(ranks, kind="stable")
    low = np.argsort((ranks & 0xFFFF).astype(np.uint16), kind="stable")
    return low[np.argsort((ranks[low] >> 16).astype(np.uint16), kind="stable")]
