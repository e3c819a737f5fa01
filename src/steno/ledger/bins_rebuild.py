"""The bins of a part again, out of its points."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno import bounds
from steno.ledger import arrow_columns
from steno.ledger.bins import BinInput
from steno.ledger.bins_part import BIN_POINTS, FEWEST_POINTS, RANKS_BIN_POINTS, PartBins

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_COLUMNS: Final = ("key", "rank", "attempt", "step", "time", "record", "value")
_ODD: Final = ("exact", "text", "ref")
_NS: Final = {"ns": 1, "us": 1000}


def rebuilt(part: Path, fewest: int = FEWEST_POINTS, *, over_ranks: bool = False) -> PartBins:
    """What gathered the bins of a part when it was written; one row group is in memory at a time.

    Args:
        part: its file.
        fewest: keys with fewer points have no bins.
        over_ranks: as if all points were of rank 0; `node` of the marks is their rank.

    Raises:
        OSError, ValueError, CorruptError: it cannot be read.
    """
    import pyarrow.parquet as pq

    bounds.parquet(part)
    with pq.ParquetFile(part, read_dictionary=["key"], memory_map=False) as file:
        totals: dict[str, int] = {}
        groups = range(file.num_row_groups)
        for number in groups:
            for name, count in _counted(file.read_row_group(number, ["key"], use_threads=False)["key"]):
                totals[name] = totals.get(name, 0) + count
        names = sorted(totals)
        numbers = {name: number for number, name in enumerate(names)}
        bin_points = RANKS_BIN_POINTS if over_ranks else BIN_POINTS
        bins = PartBins(names, np.array([totals[name] for name in names], np.int64), fewest, bin_points)
        for number in groups:
            table = file.read_row_group(number, [*_COLUMNS, *_ODD], use_threads=False)
            key = np.concatenate([np.empty(0, np.int32), *_keys(table["key"], numbers)])
            if len(key) and bins.wants(key):
                points = _points(table, key)
                bins.add(_over_ranks(points) if over_ranks else points)
    return bins


def _over_ranks(points: BinInput) -> BinInput:
    rank = np.asarray(points.rank, np.int64)
    order = np.lexsort((points.record, rank, points.step, np.asarray(points.attempt), np.asarray(points.key)))
    return replace(points, rank=0, node=rank).take(order)


def _counted(column: Any) -> list[tuple[str, int]]:
    found = []
    for chunk in column.chunks:
        counts = np.bincount(arrow_columns.in_memory(chunk.indices), minlength=len(chunk.dictionary))
        found += list(zip(chunk.dictionary.to_pylist(), counts.tolist(), strict=True))
    return [(name, count) for name, count in found if count]


def _keys(column: Any, numbers: dict[str, int]) -> list[NDArray[np.int32]]:
    pieces = []
    for chunk in column.chunks:  # each with a dictionary of its own, which may have keys that it has no row of
        own = np.array([numbers.get(name, 0) for name in chunk.dictionary.to_pylist()], np.int32)
        pieces.append(own[arrow_columns.in_memory(chunk.indices)])
    return pieces


def _points(table: Any, key: NDArray[np.int32]) -> BinInput:
    columns = {name: arrow_columns.numbers(table[name]) for name in _COLUMNS[1:]}
    columns["time"] = columns["time"] * _NS[table["time"].type.unit]
    given = {name: _given(table[name]) for name in _ODD}
    other = exact = None
    if any(column is not None for column in given.values()):
        no = np.zeros(len(key), np.bool_)
        integers, texts, refs = (no if given[name] is None else given[name] for name in _ODD)
        # A text together with a number is the digits of an int beyond 64 bits.
        other = refs | (texts & np.isnan(columns["value"]))
        exact = integers | (texts & ~other)
    return BinInput(key=key, node=0, other=other, exact=exact, **columns)


def _given(column: Any) -> NDArray[np.bool_] | None:
    """Which values are not null; None: none is."""
    if column.null_count == len(column):
        return None
    return arrow_columns.given(column)
