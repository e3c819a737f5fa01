"""One key over the ranks of a run: united step by step, and which rank is apart from the others."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.store.printed import printed
from steno.store.series import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

OVERS: Final = ("mean", "min", "max", "std", "sum", "count", "median")
ALIGNED: Final = ("step", "index")
OUTLYING: Final = 3.5
"""A score beyond it is an outlier's, as Iglewicz and Hoaglin have it for the modified z-score."""
STEADY: Final = 0.75
"""Of ranks that differ by chance some one has a high score too; but it is now on one side, now on the other."""
_NORMAL: Final = 1.4826
"""The median absolute deviation of normal values, times this, is their standard deviation."""


def check(over: str | None, x: str) -> None:
    """Raise UsageError for an unknown `over` or `x`, or an `x` that nothing is united by."""
    if over is not None and over not in OVERS:
        msg = f"over={over!r}: ranks are united by {', '.join(map(repr, OVERS))}"
        raise UsageError(msg)
    if x not in ALIGNED:
        msg = f"x={x!r}: ranks are aligned by {', '.join(map(repr, ALIGNED))}"
        raise UsageError(msg)
    if over is None and x != "step":
        msg = f'x={x!r} says how ranks are aligned: say with over= how they are united, such as over="mean"'
        raise UsageError(msg)


@dataclass(frozen=True, slots=True)
class _Grid:
    """The points that count, by place of x and then rank: one of each rank at each place."""

    series: Series
    x: NDArray[np.int64]
    """Per point, rising."""
    starts: NDArray[np.int64]
    """Where each place begins."""
    place: NDArray[np.int64]
    """Per point, the number of its place."""


def _grid(series: Series, x: str) -> _Grid:
    import numpy as np

    if x == "index":
        order = np.argsort(series.rank, kind="stable")
        rank = series.rank[order]
        heads = np.flatnonzero(np.r_[True, rank[1:] != rank[:-1]]) if len(rank) else np.empty(0, np.int64)
        at = np.arange(len(rank)) - np.repeat(heads, np.diff(np.r_[heads, len(rank)]))
        again = np.argsort(at, kind="stable")
        order, at = order[again], at[again]
    else:
        # In order of attempt and record within a rank and step, as the series is: the last of them counts.
        order = np.lexsort((series.rank, series.step))
        at, rank = series.step[order], series.rank[order]
        last = np.ones(len(at), bool)
        last[:-1] = (at[1:] != at[:-1]) | (rank[1:] != rank[:-1])
        order, at = order[last], at[last]
    fresh = np.ones(len(at), bool)
    fresh[1:] = at[1:] != at[:-1]
    return _Grid(series.take(order), at, np.flatnonzero(fresh), np.cumsum(fresh) - 1)


def united(series: Series, over: str, x: str = "step") -> Series:
    """All ranks' points as one point per step (or ordinal), see `RunReader.series`."""
    import numpy as np

    grid = _grid(series, x)
    if over in {"min", "max"}:
        rows = _extreme(grid, over)
        found = grid.series.take(rows)
        return replace(found, step=grid.x[rows])
    count = len(grid.starts)
    if over == "count":
        value = np.bincount(grid.place, minlength=count).astype(np.float64)
    else:
        finite = np.flatnonzero(np.isfinite(grid.series.value))
        value = _OF_FINITE[over](grid.series.value[finite], grid.place[finite], count)
    time, attempt = grid.series.time, grid.series.attempt
    if count:
        time, attempt = np.maximum.reduceat(time, grid.starts), np.maximum.reduceat(attempt, grid.starts)
    nowhere = np.full(count, -1, np.int64)
    return Series(series.key, grid.x[grid.starts], time, value, nowhere.astype(np.int32), attempt, nowhere, nowhere * 0)


def _extreme(grid: _Grid, over: str) -> NDArray[np.int64]:
    """Per place the row of the smallest or largest value, of the lowest rank that has it; NaN only where all are."""
    import numpy as np

    value = grid.series.value
    key = value if over == "min" else -value
    order = np.lexsort((key, grid.place))  # stable, so ranks rise among equals; NaN comes last
    return order[grid.starts] if len(order) else order


def _per_place(place: NDArray[np.int64], count: int) -> tuple[Any, Any, Any]:
    """(places that have values, where each begins in `value`, how many each has)."""
    import numpy as np

    number = np.bincount(place, minlength=count)
    have = np.flatnonzero(number)
    sizes = number[have]
    return have, np.cumsum(sizes) - sizes, sizes


def _sum(value: NDArray[np.float64], place: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    import numpy as np

    out = np.full(count, np.nan)
    have, starts, _ = _per_place(place, count)
    if len(have):
        with np.errstate(over="ignore"):
            out[have] = np.add.reduceat(value, starts)
    return out


def _mean(value: NDArray[np.float64], place: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    import numpy as np

    out = np.full(count, np.nan)
    have, starts, sizes = _per_place(place, count)
    if len(have):
        with np.errstate(over="ignore"):
            found = np.add.reduceat(value, starts) / sizes
        if not np.isfinite(found).all():  # the sum of values near 1e308 is too large, their mean is not
            found = np.add.reduceat(value / np.repeat(sizes, sizes), starts)
        out[have] = found
    return out


def _std(value: NDArray[np.float64], place: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """About the mean, in two passes: a sum of squares loses all digits at a large offset."""
    import numpy as np

    out = np.full(count, np.nan)
    have, starts, sizes = _per_place(place, count)
    if len(have):
        away = value - np.repeat(_mean(value, place, count)[have], sizes)
        most = np.maximum.reduceat(np.abs(away), starts)
        most[most == 0.0] = 1.0
        away /= np.repeat(most, sizes)  # so that no square is too large or too small
        rest = np.add.reduceat(away, starts) / sizes  # what the rounding of the mean has left
        out[have] = most * np.sqrt(np.maximum(np.add.reduceat(away * away, starts) / sizes - rest * rest, 0))
    return out


def _median(value: NDArray[np.float64], place: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    import numpy as np

    out = np.full(count, np.nan)
    have, starts, sizes = _per_place(place, count)
    if len(have):
        sorted_ = value[np.lexsort((value, place))]
        low, high = sorted_[starts + (sizes - 1) // 2], sorted_[starts + sizes // 2]
        out[have] = np.where(low == high, low, low / 2 + high / 2)
    return out


_OF_FINITE: Final[Mapping[str, Callable[..., NDArray[np.float64]]]] = {
    "mean": _mean,
    "sum": _sum,
    "std": _std,
    "median": _median,
}


@dataclass(frozen=True, slots=True)
class Straggler:
    """How far one rank is from the others, over the steps that it shares with them."""

    rank: int
    steps: int
    """So many steps were compared: those where at least two ranks have a finite value, this one among them."""
    typical: float
    """The median of its values there."""
    deviation: float
    """The median over these steps of its value minus the median of all ranks at the step; positive: larger."""
    score: float
    """`deviation` in robust standard deviations of the ranks, see `RunReader.stragglers`."""
    largest: float
    """Share of the steps at which no rank has a larger value, and some rank has a smaller one."""
    same_side: float
    """Share of the steps at which it is on that side of the ranks' median where its deviation is."""
    is_outlier: bool
    """Whether the score is beyond 3.5 either way, and `same_side` at least 0.75."""


class Stragglers(list[Straggler]):
    """All ranks, the most deviating first: prints as a table."""

    def __repr__(self) -> str:
        if not self:
            return "no steps with values of several ranks"
        return printed(self.table())

    def table(self) -> Table:
        """As rich draws it.

        Returns:
            A `rich.table.Table`, one row per rank.
        """
        from rich import box
        from rich.table import Table

        made = Table("rank", "typical", "deviation", "score", "largest at", "steps", "", box=box.SIMPLE_HEAD)
        for one in self:
            said = "outlier" if one.is_outlier else ""
            made.add_row(
                str(one.rank), f"{one.typical:.6g}", f"{one.deviation:+.4g}", f"{one.score:+.1f}",
                f"{one.largest:.0%}", f"{one.steps:,}", said,
            )  # fmt: skip
        return made


def stragglers(series: Series, x: str = "step") -> Stragglers:
    """The ranks of a series by how far they are from the others, see `RunReader.stragglers`."""
    import numpy as np

    grid = _grid(series, x)
    finite = np.flatnonzero(np.isfinite(grid.series.value))
    value, place, rank = grid.series.value[finite], grid.place[finite], grid.series.rank[finite]
    several = np.bincount(place, minlength=len(grid.starts))[place] > 1
    value, place, rank = value[several], place[several], rank[several]
    if not len(value):
        return Stragglers()
    places = np.unique(place, return_inverse=True)[1].reshape(-1)
    count = int(places[-1]) + 1
    away = value - _median(value, places, count)[places]
    _, starts, sizes = _per_place(places, count)
    top, bottom = (np.repeat(each.reduceat(value, starts), sizes) for each in (np.maximum, np.minimum))
    is_largest = (value == top) & (value > bottom)
    ranks, number = np.unique(rank, return_inverse=True)
    number = number.reshape(-1)
    order = np.argsort(number, kind="stable")
    by, steps = number[order], np.bincount(number)
    deviation, typical = (_median(column[order], by, len(ranks)) for column in (away, value))
    largest = np.bincount(number, is_largest) / steps
    same_side = np.bincount(number, np.sign(away) == np.sign(deviation)[number]) / steps
    score = _scores(deviation)
    is_outlier = (np.abs(score) > OUTLYING) & (same_side >= STEADY)
    columns = (ranks, steps, typical, deviation, score, largest, same_side, is_outlier)
    found = [Straggler(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    return Stragglers(sorted(found, key=lambda one: (-abs(one.score), -abs(one.deviation), one.rank)))


def _scores(deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each deviation less their median, by 1.4826 times the median absolute one, or by the mean one where that is 0."""
    import numpy as np

    distance = deviation - np.median(deviation)
    spread = float(np.median(np.abs(distance))) * _NORMAL
    if spread == 0.0:
        spread = float(np.mean(np.abs(distance))) * math.sqrt(math.pi / 2)  # likewise that of normal values
    return distance / spread if spread else np.zeros(len(distance))
