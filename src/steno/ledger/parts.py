"""Parquet parts: points sorted by key, rank, attempt and step, and entries, as files that never change."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from steno import files
from steno.ledger import layout as layouts
from steno.ledger import schema
from steno.ledger.arrow_columns import integers, strings, to_arrow
from steno.ledger.bins import BinInput
from steno.ledger.bins_part import PartBins
from steno.ledger.part_points import Group, PartPoints, Stretch, arranged
from steno.ledger.rebuild import FACTS
from steno.record import FORMAT, Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.ledger.layout import Constants

ENTRY_ROWS = 1 << 13
"""Of entries a row group has so many: a page of a million printed lines is read alone."""
_SAMPLES = 16
_SAMPLE_ROWS = 1 << 10
_INT64 = range(-(2**63), 2**63)
_CODED = ("project", "run", "key")


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
    stretches, group_of = arranged(points)
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
            writer.write_table(pa.Table.from_arrays(arrays, schema=layout), row_group_size=len(group.value))
            if bins is not None and bins.wants(group.ranks):
                bins.add(for_bins(group))
        writer.add_key_value_metadata(_footer(facts, len(points.value)))
    files.sync_file(path)
    return len(points.value)


def _encoding(stretches: Sequence[Stretch], group_of: Callable[[int, int], Group]) -> str:
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
) -> Callable[[Group], BinInput]:
    """What gives the points of a row group as bins take them."""
    rank, attempt = (int(one[0]) if bool((one == one[0]).all()) else one for one in (points.rank, points.attempt))

    def odd(group: Group) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | tuple[None, None]:
        some = group.point()
        hits = np.flatnonzero(marked[some])
        if not len(hits):
            return None, None
        other, exact = np.zeros(len(some), np.bool_), np.zeros(len(some), np.bool_)
        for at, point in zip(hits.tolist(), some[hits].tolist(), strict=True):
            (exact if isinstance(points.special[point], int) else other)[at] = True
        return other, exact

    def given(group: Group) -> BinInput:
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


def _values(points: PartPoints, group: Group, marked: NDArray[np.bool_]) -> list[Any]:
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


def _notes(points: PartPoints, group: Group, noted: NDArray[np.bool_]) -> Any:
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
