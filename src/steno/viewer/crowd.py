"""Many lines as one band, and which of them deviate most: where a card has more lines than it can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno.viewer.axis import as_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from steno.store.bins.curve import Curve

DEVIANT: Final = 50
"""Lines that are drawn next to the band of a card that has too many."""


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Over some lines: arrays of shape (n,), a row per bin in which one of them has a finite value."""

    bin: NDArray[np.float64]
    """Lower edge."""
    n: NDArray[np.int64]
    """Lines with a finite value in it."""
    mean: NDArray[np.float64]
    """Of the lines' means."""
    min: NDArray[np.float64]
    """The smallest value of all."""
    max: NDArray[np.float64]
    deviation: NDArray[np.float64]
    """By line, shape (lines,): the mean over its bins of |its mean - the band's| / the lines' standard deviation."""


def band(lines: Sequence[Curve], width: float) -> Band:
    """The band over lines of one width."""
    columns = [_of_line(line, width) for line in lines]
    edges, at = np.unique(np.concatenate([one[0] for one in columns]), return_inverse=True)
    mean, low, high = (np.concatenate([one[part] for one in columns]) for part in (1, 2, 3))
    line = np.repeat(np.arange(len(lines)), [len(one[0]) for one in columns])
    n = np.bincount(at, minlength=len(edges))
    middle = np.bincount(at, mean, len(edges)) / n
    spread = np.sqrt(np.bincount(at, (mean - middle[at]) ** 2, len(edges)) / n)
    off = np.abs(mean - middle[at]) / np.where(spread > 0, spread, 1.0)[at]
    return Band(
        edges * width,
        n,
        middle,
        _least(at, low, len(edges)),
        -_least(at, -high, len(edges)),
        np.bincount(line, off, len(lines)) / np.maximum(np.bincount(line, minlength=len(lines)), 1),
    )


def most_deviant(found: Band, count: int) -> list[int]:
    """Positions of the lines that deviate most, in the order of the lines; of equal ones the first."""
    return sorted(np.argsort(-found.deviation, kind="stable")[:count].tolist())


def _of_line(line: Curve, width: float) -> tuple[Any, Any, Any, Any]:
    """(bin numbers, mean, min, max) of a line's bins that have finite values; points are put into bins here."""
    if line.bins is not None:
        some = line.bins.finite > 0
        found = line.bins
        return found.index[some], found.mean[some], found.min.value[some], found.max.value[some]
    assert line.points is not None
    x, value = as_numbers(line.points.x), line.points.value
    some = np.isfinite(value) & np.isfinite(x)
    index, at = np.unique(np.floor(x[some] / (width or 1)).astype(np.int64), return_inverse=True)
    count = np.maximum(np.bincount(at, minlength=len(index)), 1)
    mean = np.bincount(at, value[some], len(index)) / count
    return index, mean, _least(at, value[some], len(index)), -_least(at, -value[some], len(index))


def _least(at: NDArray[Any], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    found = np.full(count, np.inf)
    np.minimum.at(found, at, values)
    return found
