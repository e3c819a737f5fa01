"""Curves as the columns that the page draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steno.store.bins.curve import BinPoints
from steno.viewer.axis import as_numbers
from steno.viewer.crowd import DEVIANT, band, most_deviant
from steno.viewer.over_ranks import band_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.store.bins.answer import Curves
    from steno.store.bins.curve import Curve, CurveBins, CurvePoints, GroupCurve, Smoothed
    from steno.viewer.crowd import Band
    from steno.viewer.over_ranks import RankBand
    from steno.viewer.wire import ColumnWriter


Ends = tuple[BinPoints, ...]
"""The points before and behind the range, of no or one row each."""


class Drawer:
    """Makes the `series` of cards; their columns go into `columns`.

    Args:
        columns: where they go.
        id_of: the id of the run in a directory.
    """

    def __init__(self, columns: ColumnWriter, id_of: Callable[[Path], str]) -> None:
        self._columns = columns
        self._id_of = id_of

    def lines(self, curves: Curves, limit: int) -> tuple[list[dict[str, Any]], str]:
        """(a series per curve, ""); of more than `limit` a band over all, those that deviate most, and words of it."""
        count = len(curves.curves)
        if count <= limit:
            return [self._line(one, curves.width) for one in curves.curves], ""
        found = band(curves.curves, curves.width)
        chosen = most_deviant(found, min(DEVIANT, limit))
        why = f"{count:,} lines: the band is over all of them, and the {len(chosen)} that deviate most are drawn"
        return [self._band(found), *(self._line(curves.curves[at], curves.width) for at in chosen)], why

    def bands(self, curves: Curves, limit: int) -> list[dict[str, Any]]:
        """Of each run and key the band over its ranks, which its curve has together."""
        return [
            {
                **self._band(band_of(one, curves.width)),
                "run": self._id_of(one.dir),
                "key": one.key,
                "rank": None,
                "points": one.total,
            }
            for one in curves.curves[:limit]
        ]

    def groups(self, curves: Curves) -> list[dict[str, Any]]:
        """A series per group and key."""
        ids = {one.run: self._id_of(one.dir) for one in curves.curves}
        return [self._group(one, ids, curves.width) for one in curves.groups]

    def _line(self, curve: Curve, width: float) -> dict[str, Any]:
        ends = tuple(_drawable(one) for one in (curve.before, curve.after))
        rows = len(curve.points or curve.bins or ())
        columns: dict[str, Any] = {}
        if curve.points is not None:
            columns = self._points(curve.points, ends)
        elif curve.bins is not None:
            columns = self._bins(curve.bins, width, ends)
        if curve.smoothed is not None:
            columns["smooth"] = self._smooth(curve.smoothed, rows, ends)
        return {
            "run": self._id_of(curve.dir),
            "key": curve.key,
            "rank": curve.rank,
            "kind": "points" if curve.points is not None else "bins",
            "rows": rows + sum(map(len, ends)),
            "beyond": [len(one) for one in ends],
            "points": curve.total,
            "monotonic": curve.is_monotonic,
            "smoothed": None if curve.smoothed is None else curve.smoothed.of,
            "columns": columns,
        }

    def _points(self, points: CurvePoints, ends: Ends) -> dict[str, Any]:
        attempt = _between(ends, points.attempt, "attempt")
        return {
            "x": self._columns.add(as_numbers(_between(ends, points.x, "x"))),
            "y": self._columns.add(_between(ends, points.value, "value"), narrow=True),
            "cut": self._columns.add(_cut(attempt, attempt)),
        }

    def _bins(self, bins: CurveBins, width: float, ends: Ends) -> dict[str, Any]:
        add = self._columns.add
        before, after = (np.floor(as_numbers(one.x) / width) * width for one in ends)
        one, none = (tuple(np.full(len(end), number) for end in ends) for number in (1, 0))
        made = {
            "bin": add(np.r_[before, bins.index * width, after]),
            "count": add(np.r_[one[0], bins.count, one[1]]),
            "nan": add(np.r_[none[0], bins.nan + bins.other, none[1]]),
            "pinf": add(np.r_[none[0], bins.posinf, none[1]]),
            "ninf": add(np.r_[none[0], bins.neginf, none[1]]),
            "cut": add(_cut(*(_between(ends, place.attempt, "attempt") for place in (bins.first, bins.last)))),
        }
        for name in ("first", "last", "min", "max"):
            place: BinPoints = getattr(bins, name)
            made[name] = add(_between(ends, place.value, "value"), narrow=True)
            made[f"{name}_x"] = add(as_numbers(_between(ends, place.x, "x")))
        return made

    def _smooth(self, line: Smoothed, rows: int, ends: Ends) -> dict[str, Any]:
        begin = len(ends[0])
        column = np.full(begin + rows + len(ends[1]), np.nan)
        row = line.row + begin
        # Of means of bins the nearest one stands for the point beyond; of points it is that point's own.
        there = (row >= 0) & (row < len(column))
        if line.of == "points":
            for end, side in zip(ends, (0, -1), strict=True):
                outside = line.row == (-1 if side == 0 else rows)
                there &= ~outside | (np.isin(line.x, end.x) if len(end) else False)
        column[row[there]] = line.value[there]
        return self._columns.add(column, narrow=True)

    def _band(self, found: Band | RankBand) -> dict[str, Any]:
        return {
            "kind": "band",
            "rows": len(found.bin),
            "columns": {
                "bin": self._columns.add(found.bin.astype(np.float64)),
                "n": self._columns.add(found.n),
                **{name: self._columns.add(getattr(found, name), narrow=True) for name in ("mean", "min", "max")},
            },
        }

    def _group(self, one: GroupCurve, ids: dict[str, str], width: float) -> dict[str, Any]:
        names = ("mean", "std", "stderr", "min", "max")
        columns = {
            "bin": self._columns.add((one.index * width).astype(np.float64)),
            "n": self._columns.add(one.n),
            **{name: self._columns.add(getattr(one, name), narrow=True) for name in names},
        }
        if one.smooth is not None:
            columns["smooth"] = self._columns.add(one.smooth, narrow=True)
        return {
            "kind": "group",
            "group": list(one.group),
            "key": one.key,
            "runs": [ids[run] for run in one.runs if run in ids],
            "size": len(one.runs),
            "rows": len(one),
            "columns": columns,
        }


def _drawable(end: BinPoints | None) -> BinPoints:
    """The point beyond an end of the range to which the line goes; of none, or one that is no number, no rows."""
    if end is not None:
        return end.take(slice(1 if np.isfinite(end.value[0]) else 0))
    none = np.empty(0)
    return BinPoints(none, none.astype(np.int64), none.astype("datetime64[ns]"), *(none.astype(np.int32),) * 2, none)


def _between(ends: Ends, inside: NDArray[Any], name: str) -> NDArray[Any]:
    """A column with the points beyond at its ends."""
    before, after = (getattr(one, name) for one in ends)
    return np.concatenate([*([before] if len(before) else []), inside, *([after] if len(after) else [])])


def _cut(before: Any, after: Any) -> Any:
    """1 where a row's first attempt is another one than the last of the row before it."""
    cut = np.zeros(len(before), np.uint8)
    cut[1:] = before[1:] != after[:-1]
    return cut
