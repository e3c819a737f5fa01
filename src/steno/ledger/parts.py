"""Parquet parts: points sorted by key, rank, attempt and step, and entries, as files that never change."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from steno import files
from steno.ledger import layout as layouts
from steno.ledger import schema
from steno.ledger.arrow_columns import integers, strings, to_arrow
from steno.ledger.bins import BinInput
from steno.ledger.bins_part import PartBins
from steno.ledger.rebuild import FACTS
from steno.record import FORMAT, Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.ledger.layout import Constants
    from steno.ledger.schema import Columns

GROUP_ROWS = 1 << 17
KEY_ROWS = 1 << 13
"""A key with so many rows in a part has row groups of its own: it can be read, and its bytes checked, alone."""
ENTRY_ROWS = 1 << 13
"""Of entries a row group has so many: a page of a million printed lines is read alone."""
_SAMPLES = 16
_SAMPLE_ROWS = 1 << 10
_STRETCH_ROWS = 1 << 13
"""Shorter stretches of a column are cheaper copied together than handed to Arrow one by one."""
_INT64 = range(-(2**63), 2**63)
_CODED = ("project", "run", "key")


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
class _Group:
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


def _arrange(points: PartPoints) -> tuple[list[Stretch], Callable[[int, int], _Group]]:
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

    def group(begin: int, end: int) -> _Group:
        some = order[begin:end]
        return _picked(points, inside[some], row[some], ranks[some])

    return list(_stretches(np.bincount(ranks))), group


def _picked(points: PartPoints, point: NDArray[Any], row: NDArray[Any], ranks: NDArray[Any]) -> _Group:
    return _Group(
        ranks,
        points.value[point],
        lambda column: column[row],
        lambda column, kind: to_arrow(column[row], kind),
        lambda: row,
        lambda: point,
    )


def _table_groups(
    points: PartPoints, rows: NDArray[np.int32] | None
) -> tuple[list[Stretch], Callable[[int, int], _Group]]:
    """All records have one key set: the columns of a table one after another, no sort and mostly no copies."""
    width, count = int(points.width[0]), len(points.record)
    ranks = points.ranks[points.first[0] : points.first[0] + width]
    order = np.argsort(ranks, kind="stable").tolist()
    table = np.ascontiguousarray(points.value.reshape(count, width).T)

    def group(begin: int, end: int) -> _Group:
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
) -> _Group:
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

    return _Group(
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


def write_metrics(
    path: Path, points: PartPoints, facts: Mapping[str, Any], same: Constants, bins: PartBins | None = None
) -> int:
    """Write a part to `path` and sync it; returns its rows.

    Args:
        path: the file.
        points: at least one.
        facts: go into the footer.
        same: goes into each row.
        bins: gets the points.

    Raises:
        OSError: no space, no permission; what was written of the file stays.

    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    marked = np.zeros(len(points.value), np.bool_)
    marked[list(points.special)] = True
    noted = np.zeros(len(points.record), np.bool_)
    noted[list(points.meta)] = True
    # What is never null is said to be so: levels cost as much to encode as the values of a plain column.
    layout = layouts.schema(layouts.METRICS, *_CODED)
    names = strings(points.names)
    ticks = points.time // layouts.NS_PER_TICK
    for_bins = _for_bins(points, ticks, marked, same.node)
    stretches, group_of = _arrange(points)
    # Where all is one value or null there is nothing to compress, and a column's compressor costs 20 us.
    plain = {
        "project",
        "run",
        "node",
        *(() if points.special else ("exact", "text", "ref")),
        *(() if points.meta else ("meta",)),
    }
    packed = [name for name in layout.names if name not in plain]
    with pq.ParquetWriter(
        path,
        layout,
        version="2.6",
        compression={name: "zstd" if name in packed else "none" for name in layout.names},
        compression_level=dict.fromkeys(packed, -1),
        store_schema=False,  # it would have Arrow's readers see dictionaries, which others have no type for
        use_dictionary=[*_CODED, "text", "meta"],
        column_encoding={
            "node": "DELTA_BINARY_PACKED",
            "record": "DELTA_BINARY_PACKED",
            "step": "DELTA_BINARY_PACKED",
            "time": "DELTA_BINARY_PACKED",
            "exact": "DELTA_BINARY_PACKED",
            "batch": "DELTA_BINARY_PACKED",
            "value": _encoding(stretches, group_of),
        },
        write_batch_size=1 << 15,
        write_statistics=list(layouts.STATISTICS),
    ) as writer:
        for stretch in stretches:
            group = group_of(*stretch)
            low, high = int(group.ranks[0]), int(group.ranks[-1]) + 1
            key = pa.DictionaryArray.from_arrays(
                to_arrow(group.ranks.astype(np.int32) - np.int32(low), pa.int32()),
                names.slice(low, high - low),
            )
            arrays = [
                *_constants(len(group.value), same),
                key,
                group.take(points.rank, pa.int32()),
                group.take(points.attempt, pa.int32()),
                group.take(points.step, pa.int64()),
                group.take(ticks, pa.timestamp("us", "UTC")),
                group.take(points.record, pa.int64()),
                group.take(points.batch, pa.int64()),
                *_values(points, group, marked),
                _notes(points, group, noted),
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=layout), row_group_size=GROUP_ROWS)
            if bins is not None and bins.wants(group.ranks):
                bins.add(for_bins(group))
        writer.add_key_value_metadata(_footer(facts, len(points.value)))
    files.sync_file(path)
    return len(points.value)


def _encoding(stretches: Sequence[Stretch], group_of: Callable[[int, int], _Group]) -> str:
    """The encoding of `value` that is smaller for samples out of the part: PLAIN for rounded values and the like.

    One for the part: a writer has one for all its row groups.
    """
    import pyarrow as pa

    plain = split = 0
    for at in range(min(_SAMPLES, len(stretches))):
        begin, end = stretches[at * len(stretches) // min(_SAMPLES, len(stretches))]
        begin += max(end - begin - _SAMPLE_ROWS, 0) // 2
        value = group_of(begin, min(begin + _SAMPLE_ROWS, end)).value
        lanes = np.ascontiguousarray(value.view(np.uint8).reshape(-1, 8).T)
        plain += pa.compress(value.tobytes(), "zstd").size
        split += pa.compress(lanes.tobytes(), "zstd").size
    return "PLAIN" if plain < split else "BYTE_STREAM_SPLIT"


def bins_of(points: PartPoints) -> PartBins:
    """What gathers the bins of these points while they are written."""
    used = np.bincount(points.first, minlength=len(points.ranks))
    width = np.zeros(len(points.ranks), np.int64)
    width[points.first] = points.width
    begins = np.flatnonzero(used)
    width = width[begins]
    inside = np.arange(int(width.sum())) + np.repeat(begins - (np.cumsum(width) - width), width)
    totals = np.bincount(points.ranks[inside], np.repeat(used[begins], width), minlength=len(points.names))
    return PartBins(points.names, totals.astype(np.int64))


def _for_bins(
    points: PartPoints, ticks: NDArray[np.int64], marked: NDArray[np.bool_], node: int
) -> Callable[[_Group], BinInput]:
    """What gives the points of a row group as bins take them."""
    rank, attempt = (int(one[0]) if bool((one == one[0]).all()) else one for one in (points.rank, points.attempt))

    def odd(group: _Group) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | tuple[None, None]:
        some = group.point()
        hits = np.flatnonzero(marked[some])
        if not len(hits):
            return None, None
        other, exact = np.zeros(len(some), np.bool_), np.zeros(len(some), np.bool_)
        for at, point in zip(hits.tolist(), some[hits].tolist(), strict=True):
            (exact if isinstance(points.special[point], int) else other)[at] = True
        return other, exact

    def given(group: _Group) -> BinInput:
        other, exact = odd(group) if points.special else (None, None)
        return BinInput(
            key=group.ranks,
            rank=rank if isinstance(rank, int) else group.of(rank),
            attempt=attempt if isinstance(attempt, int) else group.of(attempt),
            step=group.of(points.step),
            time=group.of(ticks) * layouts.NS_PER_TICK,
            node=node,
            record=group.of(points.record),
            value=group.value if other is None else np.where(other, np.nan, group.value),
            other=other,
            exact=exact,
        )

    return given


def _footer(facts: Mapping[str, Any], rows: int) -> dict[bytes, bytes]:
    return {FACTS: json.dumps({"format": FORMAT, **facts, "rows": rows}).encode()}


def _values(points: PartPoints, group: _Group, marked: NDArray[np.bool_]) -> list[Any]:
    """The columns value, exact, text and ref of these points."""
    import pyarrow as pa

    count = len(group.value)
    some = group.point() if points.special else np.empty(0, np.int64)
    hits = np.flatnonzero(marked[some]).tolist()
    if not hits:
        return [to_arrow(group.value, pa.float64()), *(_nulls(count, kind) for kind in ("int64", "string", "string"))]
    absent = np.zeros(count, np.bool_)
    exact: list[int | None] = [None] * count
    text: list[str | None] = [None] * count
    ref: list[str | None] = [None] * count
    for at in hits:
        odd = points.special[int(some[at])]
        if isinstance(odd, str):
            text[at], absent[at] = odd, True
        elif isinstance(odd, Ref):
            ref[at], absent[at] = schema.ref_text(odd), True
        elif odd in _INT64:
            exact[at] = odd
        else:
            text[at] = str(odd)  # beyond 64 bits: digits, and the nearest float
    return [
        to_arrow(group.value, pa.float64(), absent),
        integers(exact, pa.int64()),
        strings(text),
        strings(ref),
    ]


@lru_cache(4)
def _constants(count: int, same: Constants) -> list[Any]:
    """The columns that are the same in each row."""
    import pyarrow as pa

    zeros = to_arrow(np.zeros(count, np.int32), pa.int32())
    return [
        pa.DictionaryArray.from_arrays(zeros, strings([same.project])),
        pa.DictionaryArray.from_arrays(zeros, strings([same.run])),
        to_arrow(np.full(count, same.node, np.int64), pa.int64()),
        to_arrow(np.full(count, same.bucket, np.int32), pa.int32()),
    ]


@lru_cache(4)
def _nulls(count: int, kind: str) -> Any:
    """Row groups are nearly all of one size, and nearly all of nothing but floats."""
    import pyarrow as pa

    return pa.nulls(count, kind)


def _notes(points: PartPoints, group: _Group, noted: NDArray[np.bool_]) -> Any:
    rows = group.row() if points.meta else np.empty(0, np.int64)
    if not noted[rows].any():
        return _nulls(len(group.value), "string")
    return strings([points.meta.get(row) for row in rows.tolist()])


def write_records(path: Path, entries: Sequence[tuple[Any, ...]], facts: Mapping[str, Any], same: Constants) -> int:
    """Write entries (record, batch, time in ns, step, rank, attempt, kind, payload text) and sync them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    layout = layouts.schema(layouts.RECORDS, "project", "run")
    record, batch, time, step, rank, attempt, kind, payload = zip(*entries, strict=True)
    ticks = [one // layouts.NS_PER_TICK for one in time]
    arrays = [
        *_constants(len(entries), same),
        strings(kind),
        integers(rank, pa.int32()),
        integers(attempt, pa.int32()),
        integers(step, pa.int64()),
        integers(ticks, pa.timestamp("us", "UTC")),
        integers(record, pa.int64()),
        integers(batch, pa.int64()),
        strings(payload),
    ]
    with pq.ParquetWriter(path, layout, compression="zstd", version="2.6", store_schema=False) as writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=layout), row_group_size=ENTRY_ROWS)
        writer.add_key_value_metadata(_footer(facts, len(entries)))
    files.sync_file(path)
    return len(entries)
