"""What a card shows of a run's ranks, out of the bins over all of them: their band, and the rank that deviates most."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from steno.viewer.axis import as_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.store.bins.answer import Curves
    from steno.store.bins.curve import Curve
    from steno.store.bins.several import CurveRequest

    Ask = Callable[[CurveRequest], Curves]


@dataclass(frozen=True, slots=True, eq=False)
class RankBand:
    """Over the points of all ranks of a run: arrays of shape (n,), a row per bin that has a finite one."""

    bin: NDArray[np.float64]
    """Lower edge."""
    n: NDArray[np.int64]
    """Finite points in it."""
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    min_rank: NDArray[np.int32]
    """Whose the smallest value is; of equal ones that of the first point."""
    max_rank: NDArray[np.int32]


def band_of(curve: Curve, width: float) -> RankBand:
    """The band over a curve of all ranks together; where it has points, they are put into bins here."""
    found = curve.bins
    if found is not None:
        some = found.finite > 0
        return RankBand(
            np.asarray(found.index[some] * width, np.float64),
            found.finite[some],
            found.mean[some],
            found.std[some],
            found.min.value[some],
            found.max.value[some],
            found.min.rank[some],
            found.max.rank[some],
        )
    points = curve.points
    assert points is not None
    x = as_numbers(points.x)
    some = np.isfinite(points.value) & np.isfinite(x)
    index, value, rank = np.floor(x[some] / (width or 1)).astype(np.int64), points.value[some], points.rank[some]
    numbers, at = np.unique(index, return_inverse=True)
    n = np.bincount(at, minlength=len(numbers))
    least, most = (_firsts(at, signed) for signed in (value, -value))
    # About the smallest value, so that equal ones give exactly that; the sum of values near 1e308 is none.
    base = value[least]
    mean = base + np.bincount(at, value / n[at] - (base / n)[at], len(numbers))
    with np.errstate(over="ignore"):
        std = np.sqrt(np.bincount(at, (value - mean[at]) ** 2, len(numbers)) / n)
    return RankBand(
        np.asarray(numbers * width, np.float64), n, mean, std, value[least], value[most], rank[least], rank[most]
    )


def _firsts(at: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.int64]:
    """By bin the row of its smallest value, of equal ones the first."""
    order = np.lexsort((value, at))
    return order[np.r_[True, np.diff(at[order]) > 0]] if len(order) else order


def odd_rank(curve: Curve, width: float) -> int | None:
    """The rank whose points lie furthest out: by bin that of the smallest and that of the largest value.

    It is the one with the largest sum of their distances from the mean, in standard deviations of the bin's points;
    of equal ones the lowest. None where there is no finite point.
    """
    band = band_of(curve, width)
    ranks = np.concatenate([band.min_rank, band.max_rank])
    if not len(ranks):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        spread = np.where(band.std > 0, band.std, 1.0)
        off = np.concatenate([(band.mean - band.min) / spread, (band.max - band.mean) / spread])
    known, at = np.unique(ranks, return_inverse=True)
    return int(known[np.argmax(np.bincount(at, np.nan_to_num(off), len(known)))])


def odd_lines(request: CurveRequest, together: Curves, limit: int, ask: Ask) -> Curves:
    """Of each run and key the line of the rank that deviates most.

    Args:
        request: what is asked.
        together: its curves, of all ranks together.
        limit: at most so many lines.
        ask: answers a request about the same runs.
    """
    odd: dict[tuple[Path, str], int | None] = {
        (one.dir, one.key): odd_rank(one, together.width) for one in together.curves[:limit]
    }
    ranks = tuple(sorted({rank for rank in odd.values() if rank is not None}))
    if not ranks:
        return replace(together, curves=())
    lines = ask(replace(request, question=replace(request.question, ranks=ranks, by_rank=True)))
    mine: Sequence[Curve] = [one for one in lines.curves if odd.get((one.dir, one.key)) == one.rank]
    return replace(lines, curves=tuple(mine), left_out=together.left_out)
