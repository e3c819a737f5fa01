"""Smoothing of points at any distances: time-weighted EMA, Gaussian, running mean; each by blocks in numpy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BLOCK: Final = 1024
_HUGE: Final = 1e280
"""Sums of larger values may leave what a float holds; they are smoothed at a small scale."""
_SCALE: Final = 2.0**-100
_REACH: Final = 6.0
"""In standard deviations: what is further away weighs less than 2e-8."""
_TERMS: Final = 10
_NEAR: Final = 48
"""Up to so many neighbours on a side are summed one by one."""


def smooth(kind: str, x: Floats, value: Floats, weight: Floats | None, width: float) -> Floats:
    """The smoothed value at each point, shape (n,): a weighted mean of the points around it, or before it.

    Args:
        kind: "ema": a point at a distance d before weighs exp(-d / width), one after it nothing; "gaussian": on
            both sides exp(-(d / width)**2 / 2), nothing beyond 6 widths; "mean": all within half a width, both
            ends included, weigh the same.
        x: rising; equal ones are allowed.
        value: finite.
        weight: what a point counts in addition to that, as the mean of many points does; None: all the same.
        width: in units of x, above 0.
    """
    if len(x) < 2:
        return value.copy()
    scale = _SCALE if float(np.abs(value).max()) > _HUGE else 1.0
    # About the middle value: sums of what is left keep the digits that an offset would take.
    middle = float(np.median(value[:: max(1, len(value) // 1000)])) * scale
    away = value * scale - middle
    ones = np.ones(len(x)) if weight is None else weight / weight.max()
    sums, weights = KINDS[kind](x, away * ones if weight is not None else away, ones, width)
    result: Floats = (sums / weights + middle) / scale
    return result


def _ema(x: Floats, value: Floats, weight: Floats, width: float) -> tuple[Floats, Floats]:
    """Rows are blocks that run side by side; what comes before a block is added to it afterwards."""
    count = len(x)
    blocks = -(-count // _BLOCK)
    decay = np.zeros(blocks * _BLOCK)
    np.exp(np.diff(x) / -width, out=decay[1:count])
    falling = np.ascontiguousarray(decay.reshape(blocks, _BLOCK).T)
    both = np.zeros((2, blocks * _BLOCK))
    both[0, :count], both[1, :count] = value, weight
    sums = np.ascontiguousarray(both.reshape(2, blocks, _BLOCK).transpose(2, 0, 1))
    held = np.empty_like(sums[0])
    for row in range(1, _BLOCK):
        np.multiply(sums[row - 1], falling[row], out=held)
        sums[row] += held
    np.cumprod(falling, axis=0, out=falling)
    carry = np.zeros((2, blocks))
    for block in range(1, blocks):
        carry[:, block] = sums[-1, :, block - 1] + falling[-1, block - 1] * carry[:, block - 1]
    sums += falling[:, None, :] * carry
    flat = sums.transpose(1, 2, 0).reshape(2, -1)[:, :count]
    return flat[0], flat[1]


def _mean(x: Floats, value: Floats, weight: Floats, width: float) -> tuple[Floats, Floats]:
    side = _side(x, width / 2)
    if side is not None:
        return _equal_sums(value, side), _equal_sums(weight, side)
    low, high = _window(x, width / 2)
    return _sums(value, low, high), _sums(weight, low, high)


def _side(x: Floats, reach: float) -> int | None:
    """How many neighbours on a side are within reach, where all are at one distance."""
    gap = x[1] - x[0]
    return int(min(reach // gap, len(x))) if gap > 0 and bool((np.diff(x) == gap).all()) else None


def _equal_sums(value: Floats, side: int) -> Floats:
    """The sums of each value with `side` neighbours on both sides: the rest of one block, and the begin of the next."""
    size, count = 2 * side + 1, len(value)
    blocks = -(-(count + 2 * side) // size)
    padded = np.zeros((blocks, size))
    padded.reshape(-1)[side : side + count] = value
    partial = np.cumsum(padded, axis=1)
    left = np.cumsum(padded[:, ::-1], axis=1)[:, ::-1]
    sums: Floats = left.reshape(-1)[:count].copy()
    partial[:, -1] = 0  # a whole block is in the sum already
    sums += partial.reshape(-1)[size - 1 : size - 1 + count]
    return sums


def _window(x: Floats, reach: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """By point the first row within reach, and the one after the last."""
    side = _side(x, reach)
    if side is not None:
        rows = np.arange(len(x))
        return np.maximum(rows - side, 0), np.minimum(rows + side + 1, len(x))
    return np.searchsorted(x, x - reach, "left"), np.searchsorted(x, x + reach, "right")


def _sums(value: Floats, low: NDArray[np.int64], high: NDArray[np.int64]) -> Floats:
    """The sums of value[low:high]."""
    sums = np.zeros(len(value) + 1)
    np.cumsum(value, out=sums[1:])
    size = high - low
    worst = float(np.abs(sums).max()) * len(value) ** 0.5 * 2.0**-53
    usual = float(np.median(np.abs(value[:: max(1, len(value) // 1000)])))
    if worst <= 1e-13 * usual * float(size.min()):
        result: Floats = sums[high] - sums[low]
        return result
    # A difference of sums would lose what is small compared with an outlier far away: sums of 1, 2, 4, … values do not.
    out, at, piece, step = np.zeros(len(value)), low.copy(), value, 1
    while step <= int(size.max()):
        rows = np.flatnonzero(size & step)
        out[rows] += piece[at[rows]]
        at[rows] += step
        piece = piece[:-step] + piece[step:]
        step *= 2
    return out


def _gaussian(x: Floats, value: Floats, weight: Floats, width: float) -> tuple[Floats, Floats]:
    low, high = _window(x, _REACH * width)
    rows = np.arange(len(x))
    near = max(int((rows - low).max()), int((high - rows).max()) - 1)
    both = np.stack([value, weight])
    found = _one_by_one(x, both, near, width) if near <= _NEAR else _by_cells((x - x[0]) / width, both)
    return found[0], found[1]


def _one_by_one(x: Floats, both: Floats, near: int, width: float) -> Floats:
    out = both.copy()
    for away in range(1, near + 1):
        gap = (x[away:] - x[:-away]) / width
        share = np.exp(gap * gap / -2)
        share[gap > _REACH] = 0
        out[:, away:] += share * both[:, :-away]
        out[:, :-away] += share * both[:, away:]
    return out


def _by_cells(x: Floats, both: Floats) -> Floats:
    """The fast Gauss transform: cells of half a width by their moments, a polynomial for the sum in each cell.

    With u the distance of a place from a cell's middle and d that of a point in the cell,
    exp(-(u - d)**2 / 2) = exp(-u**2 / 2) * exp(-d**2 / 2) * exp(u * d), and exp(u * d) is a short series.
    """
    number = np.floor(2 * x)
    starts = np.flatnonzero(np.diff(number, prepend=-1.0))
    cells = number[starts].astype(np.int64)
    sizes = np.diff(starts, append=len(x))
    away = x - (number + 0.5) / 2
    term = both * np.exp(away * away / -2)
    moments = np.empty((2, len(cells), _TERMS))
    for power in range(_TERMS):
        moments[:, :, power] = np.add.reduceat(term, starts, axis=1)
        term *= away
    nodes = np.cos((np.arange(_TERMS) + 0.5) * np.pi / _TERMS) / 4
    powers = np.arange(_TERMS)
    factorial = np.array([math.factorial(power) for power in powers.tolist()], float)
    sums = np.zeros((2, len(cells), _TERMS))
    for offset in range(-int(2 * _REACH), int(2 * _REACH) + 1):
        source = np.searchsorted(cells, cells - offset)
        source[source == len(cells)] = 0
        there = np.flatnonzero(cells[source] == cells - offset)
        u = offset / 2 + nodes
        matrix = np.exp(u * u / -2) * u ** powers[:, None] / factorial[:, None]
        sums[:, there] += moments[:, source[there]] @ matrix
    coefficients = sums @ np.linalg.inv(np.vander(nodes, increasing=True).T)
    out = np.zeros_like(both)
    for power in reversed(range(_TERMS)):
        out *= away
        out += np.repeat(coefficients[:, :, power], sizes, axis=1)
    return out


KINDS: Final[dict[str, Callable[[Floats, Floats, Floats, float], tuple[Floats, Floats]]]] = {
    "ema": _ema,
    "gaussian": _gaussian,
    "mean": _mean,
}
