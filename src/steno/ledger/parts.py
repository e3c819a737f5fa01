"""Parquet parts: points sorted by key, rank and step, and entries, as files that never change."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from steno.ledger import schema
from steno.ledger.rebuild import FACTS
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.ledger.schema import Columns

GROUP_ROWS = 1 << 17
_INT64 = range(-(2**63), 2**63)


@dataclass(slots=True)
class Points:
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


def points_of(batches: Sequence[tuple[int, Columns]], names: Mapping[int, str]) -> Points:
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

    return Points(
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


Group = tuple["NDArray[Any]", "NDArray[Any]", "NDArray[Any]"]


def _arrange(points: Points) -> Iterator[Group]:
    """Row groups as (point, row, key's rank) in order of key, rank and step; equal ones in order of record."""
    rows = np.arange(len(points.record), dtype=np.int32)
    if not bool((points.rank == points.rank[0]).all()):
        rows = np.lexsort((points.step, points.rank)).astype(np.int32)
    elif (points.step[1:] < points.step[:-1]).any():
        rows = np.argsort(points.step, kind="stable").astype(np.int32)
    if (points.first == points.first[0]).all() and (points.width == points.width[0]).all():
        yield from _table_groups(points, rows)
        return
    widths = points.width[rows].astype(np.int32)
    begins = np.cumsum(widths, dtype=np.int32) - widths
    count = int(begins[-1] + widths[-1])
    row = np.repeat(rows, widths)
    inside = np.arange(count, dtype=np.int32) - np.repeat(begins, widths)
    ranks = points.ranks[np.repeat(points.first[rows].astype(np.int32), widths) + inside]
    inside += np.repeat(points.start[rows].astype(np.int32), widths)
    order = _stable_argsort(ranks)
    for begin in range(0, count, GROUP_ROWS):
        some = order[begin : begin + GROUP_ROWS]
        yield inside[some], row[some], ranks[some]


def _table_groups(points: Points, rows: NDArray[np.int32]) -> Iterator[Group]:
    """All records have one key set: the columns of a table one after another, no sort."""
    width, count = int(points.width[0]), len(rows)
    ranks = points.ranks[points.first[0] : points.first[0] + width]
    order = np.argsort(ranks, kind="stable")
    starts = points.start[rows]
    for begin in range(0, width * count, GROUP_ROWS):
        end = min(begin + GROUP_ROWS, width * count)
        point, row, rank = [], [], []
        for column in range(begin // count, (end - 1) // count + 1):
            low, high = max(begin - column * count, 0), min(end - column * count, count)
            point.append(starts[low:high] + order[column])
            row.append(rows[low:high])
            rank.append(np.full(high - low, ranks[order[column]]))
        yield np.concatenate(point), np.concatenate(row), np.concatenate(rank)


def _stable_argsort(ranks: NDArray[Any]) -> NDArray[np.int64]:
    """Stable argsort; numpy sorts 16-bit integers by radix, so wider ones go in two passes."""
    if ranks.dtype == np.uint16:
        return np.argsort(ranks, kind="stable")
    low = np.argsort((ranks & 0xFFFF).astype(np.uint16), kind="stable")
    return low[np.argsort((ranks[low] >> 16).astype(np.uint16), kind="stable")]


def write_metrics(path: Path, points: Points, facts: Mapping[str, Any]) -> int:
    """Write a part to `path` and sync it; returns its rows. `facts` go into the footer.

    Raises:
        OSError: no space, no permission; what was written of the file stays.

    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    marked = np.zeros(len(points.value), np.bool_)
    marked[list(points.special)] = True
    noted = np.zeros(len(points.record), np.bool_)
    noted[list(points.meta)] = True
    layout = pa.schema(
        [
            ("record", pa.int64()),
            ("key", pa.dictionary(pa.int32(), pa.string())),
            ("step", pa.int64()),
            ("time", pa.timestamp("ns", "UTC")),
            ("rank", pa.int32()),
            ("attempt", pa.int32()),
            ("value", pa.float64()),
            ("exact", pa.int64()),
            ("text", pa.string()),
            ("ref", pa.string()),
            ("meta", pa.string()),
            ("batch", pa.int64()),
        ],
        metadata={FACTS: json.dumps({**facts, "rows": len(points.value)}).encode()},
    )
    with pq.ParquetWriter(
        path,
        layout,
        version="2.6",
        compression="zstd",
        compression_level=1,
        use_dictionary=["key", "rank", "attempt", "text", "meta"],
        column_encoding={
            "record": "DELTA_BINARY_PACKED",
            "step": "DELTA_BINARY_PACKED",
            "time": "DELTA_BINARY_PACKED",
            "exact": "DELTA_BINARY_PACKED",
            "batch": "DELTA_BINARY_PACKED",
            "value": "BYTE_STREAM_SPLIT",
        },
        write_batch_size=1 << 14,
        write_statistics=["record", "key", "step", "rank", "attempt", "batch"],
    ) as writer:
        for some, rows, group in _arrange(points):
            low, high = int(group[0]), int(group[-1]) + 1
            key = pa.DictionaryArray.from_arrays(
                pa.array((group - group[0]).astype(np.int32)), pa.array(points.names[low:high], pa.string())
            )
            arrays = [
                pa.array(points.record[rows]),
                key,
                pa.array(points.step[rows]),
                pa.array(points.time[rows]).cast(pa.timestamp("ns", "UTC")),
                pa.array(points.rank[rows]),
                pa.array(points.attempt[rows]),
                *_values(points, some, marked),
                _notes(points, rows, noted),
                pa.array(points.batch[rows]),
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=layout), row_group_size=GROUP_ROWS)
    sync_file(path)
    return len(points.value)


def _values(points: Points, some: NDArray[np.int64], marked: NDArray[np.bool_]) -> list[Any]:
    """The columns value, exact, text and ref of these points."""
    import pyarrow as pa

    value = points.value[some]
    hits = np.flatnonzero(marked[some]) if points.special else ()
    if not len(hits):
        return [pa.array(value), *(_nulls(len(some), kind) for kind in ("int64", "string", "string"))]
    absent = np.zeros(len(some), np.bool_)
    exact: list[int | None] = [None] * len(some)
    text: list[str | None] = [None] * len(some)
    ref: list[str | None] = [None] * len(some)
    for at in np.asarray(hits).tolist():
        odd = points.special[int(some[at])]
        if isinstance(odd, str):
            text[at], absent[at] = odd, True
        elif isinstance(odd, Ref):
            ref[at], absent[at] = schema.ref_text(odd), True
        elif odd in _INT64:
            exact[at] = odd
        else:
            text[at] = str(odd)  # beyond 64 bits: digits beside the nearest float
    return [
        pa.array(value, mask=absent),
        pa.array(exact, pa.int64()),
        pa.array(text, pa.string()),
        pa.array(ref, pa.string()),
    ]


@lru_cache(4)
def _nulls(count: int, kind: str) -> Any:
    """Row groups are nearly all of one size, and nearly all of nothing but floats."""
    import pyarrow as pa

    return pa.nulls(count, kind)


def _notes(points: Points, rows: NDArray[np.int64], noted: NDArray[np.bool_]) -> Any:
    import pyarrow as pa

    if not points.meta or not noted[rows].any():
        return _nulls(len(rows), "string")
    return pa.array([points.meta.get(row) for row in rows.tolist()], pa.string())


def write_records(path: Path, entries: Sequence[tuple[Any, ...]], facts: Mapping[str, Any]) -> int:
    """Write entries (record, batch, time, step, rank, attempt, kind, payload text) and sync them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    layout = pa.schema(
        [
            ("record", pa.int64()),
            ("batch", pa.int64()),
            ("time", pa.timestamp("ns", "UTC")),
            ("step", pa.int64()),
            ("rank", pa.int32()),
            ("attempt", pa.int32()),
            ("kind", pa.string()),
            ("payload", pa.string()),
        ],
        metadata={FACTS: json.dumps({**facts, "rows": len(entries)}).encode()},
    )
    columns = list(zip(*entries, strict=True))
    arrays = [
        pa.array(list(column), pa.int64()).cast(kind.type) if kind.name == "time" else pa.array(list(column), kind.type)
        for column, kind in zip(columns, layout, strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(arrays, schema=layout), path, compression="zstd", version="2.6")
    sync_file(path)
    return len(entries)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
