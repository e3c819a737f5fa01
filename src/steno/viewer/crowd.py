"""More lines than a card can show: a band over all of them, and those that deviate most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno.viewer.axis import as_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from steno.store.bins.answer import Curves
    from steno.store.bins.curve import Curve

DEVIANT: Final = 50


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Over all lines of a card: shape (n,) each, a row per bin that one of them has a finite value in."""

    bin: NDArray[np.float64]
    """Lower edge."""
    n: NDArray[np.int64]
    """Lines with a finite value in it."""
    mean: NDArray[np.float64]
    """Of the lines' means."""
    min: NDArray[np.float64]
    max: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """What of a card's curves is shown."""

    lines: Sequence[int]
    """Positions of those that are lines of their own."""
    band: Band | None
    why: str


def crowd(curves: Curves, limit: int) -> Crowd:
    """All lines where they are at most `limit`; else the band over all, and the 50 that deviate most from its mean.

    A line's deviation is the mean over its bins of |its mean - the band's mean| / the lines' standard deviation there.
    """
    count = len(curves.curves)
    if count <= limit:
        return Crowd(range(count), None, "")
    columns = [_means(curve, curves.width) for curve in curves.curves]
    bins = np.concatenate([one[0] for one in columns])
    edges, at = np.unique(bins, return_inverse=True)
    mean, low, high = (np.concatenate([one[part] for one in columns]) for part in (1, 2, 3))
    line = np.repeat(np.arange(count), [len(one[0]) for one in columns])
    n = np.bincount(at, minlength=len(edges))
    total = np.bincount(at, mean, len(edges))
    middle = total / n
    spread = np.sqrt(np.bincount(at, (mean - middle[at]) ** 2, len(edges)) / n)
    lows, highs = np.full(len(edges), np.inf), np.full(len(edges), -np.inf)
    np.minimum.at(lows, at, low)
    np.maximum.at(highs, at, high)
    off = np.abs(mean - middle[at]) / np.where(spread > 0, spread, 1.0)[at]
    per_line = np.bincount(line, off, count) / np.maximum(np.bincount(line, minlength=count), 1)
    shown = min(DEVIANT, limit)
    chosen = np.sort(np.argsort(-per_line, kind="stable")[:shown]).tolist()
    why = f"{count:,} lines: the band is over all of them, and the {shown} that deviate most are drawn"
    return Crowd(chosen, Band(edges * curves.width, n, middle, lows, highs), why)


def _means(curve: Curve, width: float) -> tuple[Any, Any, Any, Any]:
    """(bin numbers, mean, min, max) of a curve's bins with finite values; points are put into bins here."""
    if curve.bins is not None:
        some = curve.bins.finite > 0
        found = curve.bins
        return found.index[some], found.mean[some], found.min.value[some], found.max.value[some]
    assert curve.points is not None
    x, value = as_numbers(curve.points.x), curve.points.value
    some = np.isfinite(value)
    at = np.floor(x[some] / width).astype(np.int64)
    index, inside = np.unique(at, return_inverse=True)
    count = np.bincount(inside, minlength=len(index))
    low, high = np.full(len(index), np.inf), np.full(len(index), -np.inf)
    np.minimum.at(low, inside, value[some])
    np.maximum.at(high, inside, value[some])
    return index, np.bincount(inside, value[some], len(index)) / np.maximum(count, 1), low, high
