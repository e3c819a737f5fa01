"""Curves as the columns that the page draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steno.viewer.axis import as_numbers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from steno.store.bins.answer import Curves
    from steno.store.bins.curve import Curve, CurveBins, CurvePoints, Place
    from steno.viewer.crowd import Crowd
    from steno.viewer.wire import Columns


def drawn(curves: Curves, shown: Crowd, id_of: Callable[[Path], str], columns: Columns) -> list[dict[str, Any]]:
    """The `series` of a card; their columns go into `columns`."""
    made: list[dict[str, Any]] = []
    if shown.band is not None:
        band = shown.band
        made.append(
            {
                "kind": "band",
                "rows": len(band.bin),
                "columns": {
                    "bin": columns.add(band.bin),
                    "n": columns.add(band.n),
                    **{name: columns.add(getattr(band, name), narrow=True) for name in ("mean", "min", "max")},
                },
            }
        )
    made += [_series(curves.curves[at], curves, id_of, columns) for at in shown.lines]
    return made


def _series(curve: Curve, curves: Curves, id_of: Callable[[Path], str], columns: Columns) -> dict[str, Any]:
    made: dict[str, Any] = {
        "run": id_of(curve.dir),
        "key": curve.key,
        "rank": curve.rank,
        "points": curve.total,
        "monotonic": curve.is_monotonic,
        "smoothed": None,
    }
    if curve.points is not None:
        return {**made, "kind": "points", "rows": len(curve.points), "columns": _points(curve.points, columns)}
    assert curve.bins is not None
    return {
        **made, "kind": "bins", "rows": len(curve.bins), "columns": _bins(curve.bins, curves.width, columns),
    }  # fmt: skip


def _points(points: CurvePoints, columns: Columns) -> dict[str, Any]:
    cut = np.zeros(len(points), np.uint8)
    cut[1:] = points.attempt[1:] != points.attempt[:-1]
    return {
        "x": columns.add(as_numbers(points.x)),
        "y": columns.add(points.value, narrow=True),
        "cut": columns.add(cut),
    }


def _bins(bins: CurveBins, width: float, columns: Columns) -> dict[str, Any]:
    cut = np.zeros(len(bins), np.uint8)
    cut[1:] = bins.first.attempt[1:] != bins.last.attempt[:-1]
    made = {
        "bin": columns.add(bins.index * width),
        "count": columns.add(bins.count),
        "nan": columns.add(bins.nan + bins.other),
        "pinf": columns.add(bins.posinf),
        "ninf": columns.add(bins.neginf),
        "mean": columns.add(bins.mean, narrow=True),
        "cut": columns.add(cut),
    }
    for name in ("first", "last", "min", "max"):
        place: Place = getattr(bins, name)
        made[name] = columns.add(place.value, narrow=True)
        made[f"{name}_x"] = columns.add(as_numbers(place.x))
    return made
