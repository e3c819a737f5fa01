"""A series at few points, most of them known by the bins that lie next to the parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno.ledger import bins as bins_
from steno.store.binfiles import Level, is_plain, points_of
from steno.store.downsample import downsample
from steno.store.points import COLUMNS, Points, concat
from steno.store.series import in_order, series_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from steno.ledger.bins import Bins
    from steno.store.series import Series

_PER_PLACE: Final = 4
"""M4 gives so many points for each of its equal counts of rows."""
_ENOUGH: Final = 4
"""So many bins for each of those, or their edges would be far from where they should be."""
_FEW: Final = 256


def sampled(key: str, points: int, read: Callable[[Level], tuple[Bins, Points]], coarse: int) -> Series | None:
    """At most so many points of a series, as `downsample` promises; None where all of its points are to be read.

    Args:
        key: its name.
        points: at least 2.
        read: gives its bins, and the points that no bin has.
        coarse: how many bins of level 2 its run has for it.
    """
    places = points // _PER_PLACE
    bins, rows = read(Level(2 if coarse >= _ENOUGH * places else 1, is_plain=True))
    if not len(bins):
        return _thinned(key, rows, points)
    if int(bins.count.sum()) + len(rows) <= points:
        return None
    if len(bins) < _ENOUGH * places <= coarse:
        bins, rows = read(Level(1, is_plain=True))
    if len(bins) < places:
        return None
    if len(rows) > _FEW:
        # So many points would outweigh the bins, each of which stands for hundreds.
        more = bins_.of_points(points_of(rows), int(np.max(bins.width)))
        if not is_plain(more).all():
            return None
        bins, rows = bins_.concat([bins, more]), concat([])
    found = in_order(concat([_marked(_fewer(bins, places)), rows]))
    new = np.ones(len(found), np.bool_)
    new[1:] = (found.record[1:] != found.record[:-1]) | (found.node[1:] != found.node[:-1])
    return _thinned(key, found if new.all() else found.take(new), points)


def _fewer(bins: Bins, places: int) -> Bins:
    """The bins united to as few as are of use; those of NaN stay, whose edges are kept."""
    times = len(bins) // (2 * _ENOUGH * max(places, 1))
    if times < 2 or bins.nan.any():
        return bins
    return bins_.unite(bins, min(int(bins.width.max()) << (times.bit_length() - 1), bins_.WIDEST))


def _thinned(key: str, rows: Points, points: int) -> Series:
    series = series_of(key, rows)
    return series.take(downsample(series.value, points))


def _marked(bins: Bins) -> Points:
    """The points that bins name, some of them twice, and mostly in order."""
    swap = bins.min.step > bins.max.step
    names: list[tuple[Any, Any]] = [(bins.first, None), (bins.min, bins.max), (bins.max, bins.min), (bins.last, None)]
    finite = bins.finite > 0
    there = [np.ones(len(bins), np.bool_), finite, finite, bins.count > 1]
    for marks, count in ((bins.low, bins.neginf), (bins.high, bins.posinf)):
        if count.any():
            names.append((marks, None))
            there.append(count > 0)

    def column(name: str) -> Any:
        found = [
            getattr(one, name) if other is None else np.where(swap, getattr(other, name), getattr(one, name))
            for one, other in names
        ]
        return np.stack(found, axis=1).reshape(-1)

    kept = np.flatnonzero(np.stack(there, axis=1).reshape(-1))
    spread = np.repeat(np.arange(len(bins)), len(names))
    columns = {name: column(name) for name in ("record", "step", "time", "node", "value")}
    columns |= {"key": bins.key[spread], "rank": bins.rank[spread], "attempt": bins.attempt[spread]}
    columns["batch"], columns["level"] = np.zeros(len(spread), np.int64), np.zeros(len(spread), np.int8)
    return Points(**{name: columns[name][kept] for name in COLUMNS})
