"""What is known of the points in equal stretches of steps: counts, extremes, means, computed and united."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WIDEST: Final = 1 << 62
"""The widest bin in steps; a power of two as all are."""
_HUGE: Final = 1e300
"""Sums of larger values may leave what a float holds; they are summed at a small scale."""


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """One point of each bin, as it was recorded; arrays of shape (n,).

    Where a bin has no such point all is 0 and `value` is NaN.
    """

    step: NDArray[np.int64]
    time: NDArray[np.int64]
    """Nanoseconds since 1970, UTC."""
    node: NDArray[np.int64]
    record: NDArray[np.int64]
    value: NDArray[np.float64]

    def take(self, rows: NDArray[Any] | slice) -> Marks:
        """Those of some bins."""
        return Marks(self.step[rows], self.time[rows], self.node[rows], self.record[rows], self.value[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Bins of points by key, rank, attempt and steps; arrays of shape (n,). Bins without points are not there.

    A bin holds the points with `start <= step < start + width`; `width` is a power of two and `start` a multiple
    of it. Order of points is that of a series: by step, then attempt, rank, node and record; so `first` and `last`
    are by step, not by time. Of equal smallest or largest values the first one is meant.
    """

    key: NDArray[np.int32]
    """Position in a list of names that the owner keeps."""
    rank: NDArray[np.int32]
    attempt: NDArray[np.int32]
    start: NDArray[np.int64]
    width: NDArray[np.int64]
    count: NDArray[np.int64]
    """Points of any kind."""
    nan: NDArray[np.int64]
    """Of them numbers that are NaN,"""
    posinf: NDArray[np.int64]
    """inf,"""
    neginf: NDArray[np.int64]
    """-inf,"""
    other: NDArray[np.int64]
    """no numbers at all: texts and files. An int is a number, however large: its nearest float counts."""
    exact: NDArray[np.int64]
    """Of the numbers, ints beyond 2**53, whose float is not all of them."""
    mean: NDArray[np.float64]
    """Of the finite values; NaN without any."""
    m2: NDArray[np.float64]
    """Sum of the squared distances of the finite values from their mean; NaN without any."""
    first: Marks
    last: Marks
    min: Marks
    """The smallest finite value,"""
    max: Marks
    """the largest one."""
    low: Marks
    """The first -inf,"""
    high: Marks
    """the first inf."""

    def __len__(self) -> int:
        return len(self.count)

    @property
    def finite(self) -> NDArray[np.int64]:
        """How many values are finite numbers."""
        return self.count - self.nan - self.posinf - self.neginf - self.other

    def take(self, rows: NDArray[Any] | slice) -> Bins:
        """The bins of a boolean mask, of a slice, or of row numbers in the order given."""
        plain, marks = _PLAIN(self), _MARKED(self)
        same = self.low is self.high  # without infinities both are the same marks of nothing
        taken = [one.take(rows) for one in (marks[:-1] if same else marks)]
        return Bins(*(column[rows] for column in plain), *taken, *(taken[-1:] if same else ()))


_MARKS: Final = ("step", "time", "node", "record", "value")
_INT32: Final = frozenset({"key", "rank", "attempt"})
_FLOATS: Final = frozenset({"mean", "m2", "value"})
MARKED: Final = ("first", "last", "min", "max", "low", "high")
"""The columns of `Bins` that are points."""
_PLAIN: Final = attrgetter(*(one.name for one in fields(Bins) if one.name not in MARKED))
_MARKED: Final = attrgetter(*MARKED)
_COLUMNS: Final = attrgetter(*_MARKS)


def _dtype(name: str) -> Any:
    return np.int32 if name in _INT32 else np.float64 if name in _FLOATS else np.int64


def none() -> Bins:
    """No bins at all."""
    marks = Marks(*(np.empty(0, _dtype(name)) for name in _MARKS))
    columns: dict[str, Any] = {one.name: np.empty(0, _dtype(one.name)) for one in fields(Bins)}
    return Bins(**{**columns, **dict.fromkeys(MARKED, marks)})


def concat(pieces: Sequence[Bins]) -> Bins:
    """All pieces, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return none()

    same = all(piece.low is piece.high for piece in pieces)
    plain: list[Any] = [np.concatenate(columns) for columns in zip(*map(_PLAIN, pieces), strict=True)]
    marks = [
        Marks(*(np.concatenate(columns) for columns in zip(*map(_COLUMNS, of), strict=True)))
        for of in zip(*(_MARKED(piece)[: -1 if same else None] for piece in pieces), strict=True)
    ]
    return Bins(*plain, *marks, *(marks[-1:] if same else ()))


# -- from points -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class BinInput:
    """Points to be put into bins; arrays of shape (n,), or one number where all have it in common."""

    key: NDArray[np.integer[Any]] | int
    rank: NDArray[np.integer[Any]] | int
    attempt: NDArray[np.integer[Any]] | int
    step: NDArray[np.int64]
    time: NDArray[np.int64]
    node: NDArray[np.int64] | int
    record: NDArray[np.int64]
    value: NDArray[np.float64]
    other: NDArray[np.bool_] | None = None
    """Those that are no numbers; None: none is."""
    exact: NDArray[np.bool_] | None = None
    """Those that are ints beyond 2**53; None: none is."""

    def take(self, rows: NDArray[Any]) -> BinInput:
        """Some of them, in the order given."""
        return BinInput(*(_of(getattr(self, one.name), rows) for one in fields(self)))


def _of(column: Any, rows: NDArray[Any]) -> Any:
    return column[rows] if isinstance(column, np.ndarray) else column


def of_points(points: BinInput, width: int | NDArray[np.int64]) -> Bins:
    """The bins of points in any order; fastest in the order of a part: key, rank, attempt, step.

    Args:
        points: the points.
        width: of their bins, a power of two; an array has each point's, the same for all of a key.
    """
    if not len(points.value):
        return none()
    start = points.step & -width
    heads = _heads(points, start)
    if heads is None:
        ties = [points.record, points.node, points.step, points.attempt, points.rank, points.key]
        order = np.lexsort([column for column in ties if isinstance(column, np.ndarray)])
        points, start = points.take(order), start[order]
        width = width[order] if isinstance(width, np.ndarray) else width
        heads = _edges(points, start)
    sizes = np.diff(heads, append=len(start))
    value, other = points.value, points.other
    # A NaN is the least and the greatest of its bin.
    extremes = np.minimum.reduceat(value, heads), np.maximum.reduceat(value, heads)
    finite: NDArray[np.bool_] | None = None
    if other is not None or not (np.isfinite(extremes[0]).all() and np.isfinite(extremes[1]).all()):
        finite = np.isfinite(value) if other is None else np.isfinite(value) & ~other
        lowest, highest = np.where(finite, value, np.inf), np.where(finite, value, -np.inf)
        extremes = np.minimum.reduceat(lowest, heads), np.maximum.reduceat(highest, heads)
    counts = dict.fromkeys(("nan", "posinf", "neginf"), np.zeros(len(heads), np.int64))
    low = high = np.full(len(heads), -1)
    if finite is not None:
        numbers = True if other is None else ~other
        masks = {
            "nan": np.isnan(value) & numbers,
            "posinf": (value == np.inf) & numbers,
            "neginf": (value == -np.inf) & numbers,
        }
        counts = {name: _counted(mask, heads) for name, mask in masks.items()}
        low, high = (_firsts(np.flatnonzero(masks[name]), heads) for name in ("neginf", "posinf"))
    is_huge = max(-float(extremes[0].min()), float(extremes[1].max())) > _HUGE
    mean, m2 = _moments(value, finite, heads, sizes, is_huge=is_huge)
    return Bins(
        key=_head(points.key, heads).astype(np.int32, copy=False),
        rank=_head(points.rank, heads).astype(np.int32, copy=False),
        attempt=_head(points.attempt, heads).astype(np.int32, copy=False),
        start=start[heads],
        width=_head(width, heads),
        count=sizes,
        **counts,
        other=_counted(other, heads),
        exact=_counted(points.exact, heads),
        mean=mean,
        m2=m2,
        first=_marks(points, heads),
        last=_marks(points, heads + sizes - 1),
        min=_marks(points, _extreme(value, finite, extremes[0], heads, sizes)),
        max=_marks(points, _extreme(value, finite, extremes[1], heads, sizes)),
        low=_marks(points, low),
        high=_marks(points, high),
    )


def _heads(points: BinInput, start: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Where bins begin; None where the points are not in order."""
    heads = _edges(points, start)
    rises = points.step[1:] > points.step[:-1]
    rises[heads[1:] - 1] = True
    if not rises.all():
        rises |= (points.step[1:] == points.step[:-1]) & (points.record[1:] > points.record[:-1])
        if not rises.all():
            return None
    columns = [_head(column, heads) for column in (points.key, points.rank, points.attempt)] + [start[heads]]
    tied: Any = True
    for column in columns:
        if bool(np.any((column[:-1] > column[1:]) & tied)):
            return None
        tied = (column[:-1] == column[1:]) & tied
    return heads


def _edges(points: BinInput, start: NDArray[np.int64]) -> NDArray[np.int64]:
    new = np.empty(len(start), np.bool_)
    new[0] = True
    np.not_equal(start[1:], start[:-1], out=new[1:])
    for column in (points.key, points.rank, points.attempt):
        if isinstance(column, np.ndarray):
            new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


def _head(column: Any, heads: NDArray[np.int64]) -> NDArray[Any]:
    return column[heads] if isinstance(column, np.ndarray) else np.full(len(heads), column, np.int64)


def _counted(mask: NDArray[np.bool_] | None, heads: NDArray[np.int64]) -> NDArray[np.int64]:
    if mask is None or not mask.any():
        return np.zeros(len(heads), np.int64)
    return np.add.reduceat(mask, heads, dtype=np.int64)


def _firsts(rows: NDArray[np.int64], heads: NDArray[np.int64]) -> NDArray[np.int64]:
    """By bin the first of these rows, which rise; -1 where it has none of them."""
    out = np.full(len(heads), -1, np.int64)
    owner = np.searchsorted(heads, rows, side="right") - 1
    new = np.flatnonzero(np.diff(owner, prepend=-1))
    out[owner[new]] = rows[new]
    return out


def _extreme(
    value: NDArray[np.float64],
    finite: NDArray[np.bool_] | None,
    best: NDArray[np.float64],
    heads: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> NDArray[np.int64]:
    """By bin the first row of its smallest or largest finite value, or -1."""
    same = value == np.repeat(best, sizes)
    if finite is not None:
        same &= finite
    return _firsts(np.flatnonzero(same), heads)


def _moments(
    value: NDArray[np.float64],
    finite: NDArray[np.bool_] | None,
    heads: NDArray[np.int64],
    sizes: NDArray[np.int64],
    *,
    is_huge: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and M2 by bin: a first mean, and then the distances from it, which correct it."""
    number = sizes
    if finite is not None:
        value = np.where(finite, value, 0.0)
        number = np.add.reduceat(finite, heads, dtype=np.int64)
    divisor = np.maximum(number, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        if is_huge:
            rough = np.add.reduceat(value / np.repeat(divisor, sizes), heads)
        else:
            rough = np.add.reduceat(value, heads) / divisor
        away = value - np.repeat(rough, sizes)
        if finite is not None:
            away[~finite] = 0.0
        shift = _sane(np.add.reduceat(away, heads) / divisor)
        np.square(away, out=away)
        mean = rough + shift
        m2 = np.add.reduceat(away, heads) - shift * shift * divisor
    empty = number == 0
    mean[empty] = m2[empty] = np.nan
    return mean, np.maximum(m2, 0.0)


def _sane(shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """A correction of the mean, without those that no float holds: M2 is infinite there."""
    return np.where(np.isfinite(shift), shift, 0.0)


def _marks(points: BinInput, rows: NDArray[np.int64]) -> Marks:
    """The points at these rows, -1 for none."""
    absent = rows < 0

    def at(column: Any, empty: float) -> NDArray[Any]:
        out = _head(column, rows)
        out[absent] = empty
        return out

    return Marks(
        at(points.step, 0), at(points.time, 0), at(points.node, 0), at(points.record, 0), at(points.value, np.nan)
    )


# -- from bins ---------------------------------------------------------------------------------------------


def unite(bins: Bins, width: int | NDArray[np.int64], *, over_attempts: bool = False, over_ranks: bool = False) -> Bins:
    """Bins of one or many parts as wider ones, in order of key, rank, attempt and start.

    Args:
        bins: in any order, several for the same steps as well.
        width: the new bins', a power of two, no less than any old one's; an array has each old bin's, the
            same for all of a key.
        over_attempts: bins of all attempts as one; `attempt` is the one of the last point.
        over_ranks: bins of all ranks as one; `rank` is the one of the last point.
    """
    if not len(bins):
        return bins
    start = bins.start & -width
    groups: list[NDArray[Any]] = [bins.key]
    if not over_ranks:
        groups.append(bins.rank)
    if not over_attempts:
        groups.append(bins.attempt)
    groups.append(start)
    order = _sorting(groups)
    if order is not None:
        bins, start, groups = bins.take(order), start[order], [column[order] for column in groups]
        width = width[order] if isinstance(width, np.ndarray) else width
    new = np.ones(len(start), np.bool_)
    new[1:] = np.any([column[1:] != column[:-1] for column in groups], axis=0)
    heads = np.flatnonzero(new)
    sizes = np.diff(heads, append=len(start))
    finite = bins.finite
    first = _winner(bins, bins.first, heads, sizes)
    last = _winner(bins, bins.last, heads, sizes, latest=True)
    smallest = _winner(bins, bins.min, heads, sizes, [bins.min.value], finite > 0)
    largest = _winner(bins, bins.max, heads, sizes, [-bins.max.value], finite > 0)
    low = _winner(bins, bins.low, heads, sizes, there=bins.neginf > 0)
    high = _winner(bins, bins.high, heads, sizes, there=bins.posinf > 0)
    mean, m2 = _united_moments(bins, finite, heads, sizes)
    counts = {
        name: np.add.reduceat(getattr(bins, name), heads)
        for name in ("count", "nan", "posinf", "neginf", "other", "exact")
    }
    return Bins(
        key=bins.key[heads],
        rank=bins.rank[last] if over_ranks else bins.rank[heads],
        attempt=bins.attempt[last] if over_attempts else bins.attempt[heads],
        start=start[heads],
        width=_head(width, heads),
        **counts,
        mean=mean,
        m2=m2,
        first=bins.first.take(first),
        last=bins.last.take(last),
        min=bins.min.take(smallest),
        max=bins.max.take(largest),
        low=bins.low.take(low),
        high=bins.high.take(high),
    )


def _sorting(columns: Sequence[NDArray[Any]]) -> NDArray[np.int64] | None:
    """What puts rows in lexicographic order of the columns; None where they are."""
    tied: Any = True
    for column in columns:
        before, after = column[:-1], column[1:]
        if bool(np.any((before > after) & tied)):
            return np.lexsort(list(columns)[::-1])
        tied = (before == after) & tied
    return None


def _winner(
    bins: Bins,
    marks: Marks,
    heads: NDArray[np.int64],
    sizes: NDArray[np.int64],
    before: Sequence[NDArray[Any]] = (),
    there: NDArray[np.bool_] | None = None,
    *,
    latest: bool = False,
) -> NDArray[np.int64]:
    """By new bin the row whose mark comes first (or last) by the columns `before`, then in a series' order."""
    if len(heads) == len(sizes) == len(bins):
        return heads
    alive = np.ones(len(bins), np.bool_) if there is None else there.copy()
    for column in (*before, marks.step, bins.attempt, bins.rank, marks.node, marks.record):
        if np.count_nonzero(alive) <= len(heads) and (np.add.reduceat(alive, heads, dtype=np.int64) <= 1).all():
            break
        worst: Any = np.inf
        if column.dtype != np.float64:
            limits = np.iinfo(column.dtype)
            worst = limits.min if latest else limits.max
        held = np.where(alive, column, worst)
        best = (np.maximum if latest else np.minimum).reduceat(held, heads)
        alive &= held == np.repeat(best, sizes)
    found = _firsts(np.flatnonzero(alive), heads)
    return np.where(found < 0, heads, found)


def _united_moments(
    bins: Bins, finite: NDArray[np.int64], heads: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and M2 of united bins, by Chan's formula for many bins together."""
    if len(heads) == len(finite):
        return bins.mean, bins.m2
    number = np.add.reduceat(finite, heads)
    divisor = np.maximum(number, 1)
    some = finite > 0
    mean, m2 = np.where(some, bins.mean, 0.0), np.where(some, bins.m2, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        rough = np.add.reduceat(mean * (finite / np.repeat(divisor, sizes)), heads)
        away = np.where(some, mean - np.repeat(rough, sizes), 0.0)
        shift = _sane(np.add.reduceat(away * finite, heads) / divisor)
        whole = np.add.reduceat(m2 + finite * away * away, heads) - shift * shift * divisor
    whole = np.maximum(whole, 0.0)
    new = rough + shift
    new[number == 0] = whole[number == 0] = np.nan
    return new, whole
