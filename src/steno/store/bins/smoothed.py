"""Smoothed curves: computed over a whole series, whatever is shown of it, and kept for the next question."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from steno.store.bins.curve import Smoothed

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy as np
    from numpy.typing import NDArray

    from steno.store.bins.curve import Curve
    from steno.store.bins.engine import Reading, Whole
    from steno.store.bins.question import Question

_BYTES_KEPT: Final = 64 << 20


class _Kept:
    """The smoothed series that were asked for last, up to so many bytes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, tuple[Whole, NDArray[np.float64]]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> tuple[Whole, NDArray[np.float64]] | None:
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: Hashable, whole: Whole, value: NDArray[np.float64]) -> None:
        with self._lock:
            if key in self._held:
                return
            self._held[key] = (whole, value)
            self._bytes += whole.bytes + value.nbytes
            while self._bytes > _BYTES_KEPT:
                _, (gone, old) = self._held.popitem(last=False)
                self._bytes -= gone.bytes + old.nbytes


_kept = _Kept()


def _anew() -> None:
    global _kept  # a lock that another thread held at the fork is never let go in the child
    _kept = _Kept()


os.register_at_fork(after_in_child=_anew)


def whole(reading: Reading, member: int, question: Question) -> tuple[Whole, NDArray[np.float64]]:
    """What a series is smoothed from, and the smoothed value at each place of it."""
    from steno.store.bins.smoothing import smooth

    asked = question.smooth
    assert asked is not None
    one = reading.members[member]
    token = reading.token(member)
    key = (token, question.keys[one.key], one.rank, question.ranks, question.x, asked)
    found = _kept.get(key) if token is not None else None
    if found is None:
        source = reading.whole(member)
        x = (source.x - source.x[:1]).astype(float)
        if question.x != "step":
            x /= 1e9
        found = (source, smooth(asked.kind, x, source.value, source.weight, asked.width))
        if token is not None:
            _kept.put(key, *found)
    return found


def last_in(
    source: Whole, index: NDArray[np.int64], width: int, question: Question
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """By bin the last place of a series in it and in the range, and whether there is one.

    Args:
        source: the series.
        index: numbers of the bins.
        width: of a bin, in whole numbers of x.
        question: what is asked.
    """
    import numpy as np

    high = _upper(question)
    ends = index * width + (width - 1)
    at = np.searchsorted(source.x, np.minimum(ends, high) if high is not None else ends, side="right") - 1
    low = index * width if question.low is None else np.maximum(index * width, int(question.low))
    return np.maximum(at, 0), (at >= 0) & (source.x[np.maximum(at, 0)] >= low)


def _upper(question: Question) -> int | None:
    return None if question.high is None else int(question.high)


def of_curve(
    source: Whole, value: NDArray[np.float64], curve: Curve, width: int, question: Question, axis: Any
) -> Smoothed:
    """The smoothed values that are shown with a curve: at each place in the range, or the last one of each bin."""
    import numpy as np

    if curve.bins is not None:
        at, there = last_in(source, curve.bins.index, width, question)
        at, row = at[there], np.flatnonzero(there)
    else:
        points = curve.points
        assert points is not None
        begin = 0 if question.low is None else int(np.searchsorted(source.x, question.low, side="left"))
        high = _upper(question)
        end = len(source.x) if high is None else int(np.searchsorted(source.x, high, side="right"))
        at = np.arange(begin, end)
        if source.weight is None:
            row = np.flatnonzero(np.isfinite(points.value) & ~points.other)
        else:
            row = np.searchsorted(points.x.astype(np.int64), source.x[at], side="right") - 1
    if question.edges:
        at, row = _with_edges(source, at, row, len(curve.bins or curve.points or ()), question)
    return Smoothed(
        axis(source.x[at]), source.step[at], source.time[at].view("datetime64[ns]"), value[at], row, source.of
    )


def _with_edges(
    source: Whole, at: NDArray[np.int64], row: NDArray[np.int64], rows: int, question: Question
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """And the places next to the range on both sides, in row -1 and in the one after the last."""
    import numpy as np

    low, high = question.low, _upper(question)
    before = -1 if low is None else int(np.searchsorted(source.x, low, side="left")) - 1
    after = len(source.x) if high is None else int(np.searchsorted(source.x, high, side="right"))
    if before >= 0:
        at, row = np.r_[before, at], np.r_[-1, row]
    if after < len(source.x):
        at, row = np.r_[at, after], np.r_[row, rows]
    return at, row
