"""Curves as the columns that the page draws."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from steno.viewer.axis import as_numbers
from steno.viewer.crowd import DEVIANT, band, most_deviant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from steno.store.bins.answer import Curves
    from steno.store.bins.curve import Curve, CurveBins, CurvePoints, GroupCurve, Place, Smoothed
    from steno.viewer.crowd import Band
    from steno.viewer.wire import Columns


class Drawer:
    """Makes the `series` of cards; their columns go into `columns`.

    Args:
        columns: where they go.
        id_of: the id of the run in a directory.
    """

    def __init__(self, columns: Columns, id_of: Callable[[Path], str]) -> None:
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

    def ranks(self, curves: Curves, kind: str, limit: int) -> tuple[list[dict[str, Any]], str]:
        """Of each run and key the ranks' band, or the rank that deviates most; and words of what is not drawn."""
        made = []
        every = groupby(curves.curves, lambda one: (one.dir, one.key))
        runs = [list(lines) for _, lines in every]
        for lines in runs[:limit]:
            found = band(lines, curves.width)
            if kind == "band":
                made.append({**self._band(found), "run": self._id_of(lines[0].dir), "key": lines[0].key, "rank": None})
            else:
                made.append(self._line(lines[most_deviant(found, 1)[0]], curves.width))
        return made, "" if len(runs) <= limit else f"the first {limit:,} of {len(runs):,} runs are drawn"

    def groups(self, curves: Curves) -> list[dict[str, Any]]:
        """A series per group and key."""
        ids = {one.run: self._id_of(one.dir) for one in curves.curves}
        return [self._group(one, ids, curves.width) for one in curves.groups]

    def _line(self, curve: Curve, width: float) -> dict[str, Any]:
        points, bins = curve.points, curve.bins
        rows = len(points) if points is not None else len(bins) if bins is not None else 0
        columns = self._points(points) if points is not None else self._bins(bins, width) if bins is not None else {}
        if curve.smoothed is not None:
            columns["smooth"] = self._smooth(curve.smoothed, rows)
        return {
            "run": self._id_of(curve.dir),
            "key": curve.key,
            "rank": curve.rank,
            "kind": "points" if points is not None else "bins",
            "rows": rows,
            "points": curve.total,
            "monotonic": curve.is_monotonic,
            "smoothed": None if curve.smoothed is None else curve.smoothed.of,
            "columns": columns,
        }

    def _points(self, points: CurvePoints) -> dict[str, Any]:
        return {
            "x": self._columns.add(as_numbers(points.x)),
            "y": self._columns.add(points.value, narrow=True),
            "cut": self._columns.add(_cut(points.attempt, points.attempt)),
        }

    def _bins(self, bins: CurveBins, width: float) -> dict[str, Any]:
        add = self._columns.add
        made = {
            "bin": add(bins.index * width),
            "count": add(bins.count),
            "nan": add(bins.nan + bins.other),
            "pinf": add(bins.posinf),
            "ninf": add(bins.neginf),
            "cut": add(_cut(bins.first.attempt, bins.last.attempt)),
        }
        for name in ("first", "last", "min", "max"):
            place: Place = getattr(bins, name)
            made[name] = add(place.value, narrow=True)
            made[f"{name}_x"] = add(as_numbers(place.x))
        return made

    def _smooth(self, line: Smoothed, rows: int) -> dict[str, Any]:
        column = np.full(rows, np.nan)
        column[line.row] = line.value
        return self._columns.add(column, narrow=True)

    def _band(self, found: Band) -> dict[str, Any]:
        return {
            "kind": "band",
            "rows": len(found.bin),
            "columns": {
                "bin": self._columns.add(found.bin),
                "n": self._columns.add(found.n),
                **{name: self._columns.add(getattr(found, name), narrow=True) for name in ("mean", "min", "max")},
            },
        }

    def _group(self, one: GroupCurve, ids: dict[str, str], width: float) -> dict[str, Any]:
        names = ("mean", "std", "stderr", "min", "max")
        columns = {
            "bin": self._columns.add(one.index * width),
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


def _cut(before: Any, after: Any) -> Any:
    """1 where a row's first attempt is another one than the last of the row before it."""
    cut = np.zeros(len(before), np.uint8)
    cut[1:] = before[1:] != after[:-1]
    return cut
