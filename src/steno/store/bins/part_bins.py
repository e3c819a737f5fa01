"""Long series by the bins that lie next to the parts: what no bin answers for is read as points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno.ledger import bins as bins_
from steno.store.binfiles import Level, points_of
from steno.store.binned import read
from steno.store.bins.rows import Rows, empty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.ledger.bins import Bins
    from steno.store.attempts import Choice
    from steno.store.engine import Engine
    from steno.store.points import Points
    from steno.store.unsealed import RunView

MARKS: Final = ("first", "last", "min", "max")
_ATTEMPT_BITS: Final = 20
_BEYOND: Final = (1 << 63) - 1
"""No step is further out."""


@dataclass(frozen=True, slots=True)
class AskedRun:
    """One run, as it is asked about."""

    dir: Path
    view: RunView
    choice: Choice
    """With the range of steps."""
    ranks: tuple[int, ...] | None
    over_ranks: bool = False
    """Whether no series of one rank is asked for: all are of rank 0 then, see `binned.read`."""


def found(engine: Engine, source: AskedRun, keys: Sequence[str], level: Level) -> tuple[Bins, Points]:
    """The bins of some keys and the points that are in none; `key` counts in the keys.

    Raises:
        PartGone: a part is no longer there.
    """
    bins, points = read(engine, source.dir, source.view, keys, source.choice, level, over_ranks=source.over_ranks)
    if source.ranks is not None:
        bins, points = bins.take(np.isin(bins.rank, source.ranks)), points.take(np.isin(points.rank, source.ranks))
    return bins, points


def spans(bins: Bins, points: Points, *, by_rank: bool) -> list[tuple[int, int | None, int, int, int]]:
    """(key, rank, points, first step, last step) of each series, in order."""
    key = np.concatenate([bins.key, points.key]).astype(np.int64)
    rank = np.concatenate([bins.rank, points.rank]).astype(np.int64) if by_rank else np.zeros(len(key), np.int64)
    if not len(key):
        return []
    first = np.concatenate([bins.first.step, points.step])
    last = np.concatenate([bins.last.step, points.step])
    count = np.concatenate([bins.count, np.ones(len(points), np.int64)])
    order = np.lexsort((rank, key))
    key, rank = key[order], rank[order]
    new = np.ones(len(key), bool)
    new[1:] = (key[1:] != key[:-1]) | (rank[1:] != rank[:-1])
    heads = np.flatnonzero(new)
    columns = (
        key[heads],
        rank[heads],
        np.add.reduceat(count[order], heads),
        np.minimum.reduceat(first[order], heads),
        np.maximum.reduceat(last[order], heads),
    )
    return [
        (one, of if by_rank else None, total, low, high)
        for one, of, total, low, high in zip(*(column.tolist() for column in columns), strict=True)
    ]


def wide(bins: Bins, points: Points, width: int) -> Bins:
    """All of it as bins of one width, by key, rank and attempt; several of the same steps where parts have them."""
    if not len(points):
        return bins
    return bins_.concat([bins, bins_.of_points(points_of(points), width)])


def united(bins: Bins, width: int, *, by_rank: bool) -> tuple[Bins, Rows]:
    """Bins of series over all attempts, by key (and rank) and start; and the points that they name.

    `record` of a mark is the row of its point; `rank` stays where there is a series for each, else `node` is the rank
    of each mark, see `binned.read`.
    """
    # The attempt of each mark goes with the number of its record, which decides between equal steps of one attempt.
    packed: dict[str, Any] = {
        name: replace(getattr(bins, name), record=(getattr(bins, name).record << _ATTEMPT_BITS) | bins.attempt)
        for name in MARKS
    }
    wider = bins_.unite(replace(bins, **packed), width, over_attempts=True, over_ranks=not by_rank)
    count = len(wider)
    marks = [getattr(wider, name) for name in MARKS]
    record = np.concatenate([one.record for one in marks])
    rows = replace(
        empty(),
        series=np.zeros(4 * count, np.int32),
        x=np.concatenate([one.step for one in marks]),
        step=np.concatenate([one.step for one in marks]),
        time=np.concatenate([one.time for one in marks]),
        rank=np.tile(wider.rank, 4) if by_rank else np.concatenate([one.node for one in marks]).astype(np.int32),
        attempt=(record & ((1 << _ATTEMPT_BITS) - 1)).astype(np.int32),
        node=np.concatenate([one.node for one in marks]),
        record=record >> _ATTEMPT_BITS,
        value=np.concatenate([one.value for one in marks]),
        other=np.zeros(4 * count, bool),
    )
    numbered: dict[str, Any] = {
        name: replace(mark, record=np.arange(at * count, (at + 1) * count))
        for at, (name, mark) in enumerate(zip(MARKS, marks, strict=True))
    }
    return replace(wider, **numbered), rows


def nearest(engine: Engine, source: AskedRun, keys: Sequence[str], side: int, *, by_rank: bool) -> Rows:
    """The last chosen point before the source's range of each series (-1), or the first one after it (1).

    `series` counts in the keys.
    """
    bound = source.choice.first if side < 0 else source.choice.last
    if bound is None or abs(bound) >= _BEYOND:
        return empty()
    edge = bound if side < 0 else bound + 1
    first, last = (None, edge - 1) if side < 0 else (edge, None)
    there = replace(source, choice=replace(source.choice, first=first, last=last))
    bins, points = found(engine, there, keys, Level(nearest=(side, edge), unsealed=True))
    wider, rows = united(wide(bins, points, bins_.WIDEST), bins_.WIDEST, by_rank=by_rank)
    if not len(wider):
        return empty()
    # Steps from 0 on and those below it are in bins of their own, however wide these are.
    series = wider.key.astype(np.int64) << 32 | (wider.rank if by_rank else 0)
    new = np.r_[True, series[1:] != series[:-1]]
    chosen = np.flatnonzero(np.r_[new[1:], True] if side < 0 else new)
    at = (wider.last if side < 0 else wider.first).record[chosen]
    return replace(rows.take(at), series=wider.key[chosen])


def shifted(bins: Bins, rows: int) -> Bins:
    """The bins whose marks are rows that come after so many others."""
    return renamed(bins, lambda record: record + rows)


def renamed(bins: Bins, number: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> Bins:
    """The bins with other numbers for the records of their marks."""
    numbered: dict[str, Any] = {
        name: replace(getattr(bins, name), record=number(getattr(bins, name).record)) for name in MARKS
    }
    return replace(bins, **numbered)
