"""Points in memory as an engine's reading of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from steno.ledger import bins as bins_
from steno.store.bins.engine import SMOOTHED_POINTS, Facts, Member, Whole
from steno.store.bins.rows import Rows, concat, empty, in_order, starts

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from steno.store.bins.answer import LeftOut
    from steno.store.bins.question import Question

LEAST: Final = 256
"""Points that a bin has on average, of those that a long series is smoothed over."""


class InMemory:
    """See `engine.Reading`.

    Args:
        question: what is asked.
        runs: what is known of each, None for one that is left out.
        left_out: what could not be read.
        pieces: the points of a key of a run each, with their x, whatever the range is.
        where: by piece, the positions of its run and key.
        tokens: by run, what is the same as long as its points are.
        means: what a series of more than `SMOOTHED_POINTS` is smoothed from, so that it is the same by whatever
            way the series is read; None: means of its points here.
    """

    def __init__(
        self,
        question: Question,
        runs: Sequence[Facts | None],
        left_out: Sequence[LeftOut],
        pieces: Sequence[Rows],
        where: Sequence[tuple[int, int]],
        tokens: Sequence[Hashable],
        means: Callable[[Member], Whole] | None = None,
    ) -> None:
        import numpy as np

        self.runs, self.left_out, self.members = runs, left_out, list[Member]()
        self._question, self._tokens, self._by_files = question, tokens, means
        self._beyond: dict[int, NDArray[np.int64]] = {-1: np.empty(0, np.int64), 1: np.empty(0, np.int64)}
        series: list[tuple[int, int, int | None]] = []
        placed: list[Rows] = []
        for rows, (run, key) in zip(pieces, where, strict=True):
            for rank, some in _by_rank(rows) if question.by_rank else [(None, rows)]:
                if len(some):
                    placed.append(_numbered(some, len(series)))
                    series.append((run, key, rank))
        self._whole = concat(placed) if question.by_key else in_order(concat(placed))
        self._whole_edges = starts(self._whole)
        mask = _within(self._whole, question)
        self._rows = self._whole if mask is None else self._whole.take(mask)
        self._edges = starts(self._rows)
        numbers = self._rows.series[self._edges[:-1]]
        if question.edges:
            numbers, self._edges = self._with_edges()
        x = self._rows.x
        self._numbers: list[int] = numbers.tolist()
        for number, begin, end in zip(self._numbers, self._edges, self._edges[1:], strict=False):
            run, key, rank = series[number]
            low, high = (0, 0) if question.by_key or begin == end else (int(x[begin]), int(x[end - 1]))
            self.members.append(Member(run, key, rank, int(end - begin), low, high))

    def _with_edges(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The series that have points in the range, or on both sides of it; and where those in it begin and end."""
        import numpy as np

        heads, x = self._whole_edges[:-1], self._whole.x
        sizes = np.diff(self._whole_edges)
        if not len(heads):
            return heads, np.zeros(1, np.int64)
        low, high = self._question.low, self._question.high
        before = np.zeros_like(sizes) if low is None else np.add.reduceat(x < low, heads, dtype=np.int64)
        after = np.zeros_like(sizes) if high is None else np.add.reduceat(x > high, heads, dtype=np.int64)
        inside = sizes - before - after
        chosen = np.flatnonzero((inside > 0) | ((before > 0) & (after > 0)))
        self._beyond = {
            -1: np.where(before > 0, heads + before - 1, -1)[chosen],
            1: np.where(after > 0, heads + before + inside, -1)[chosen],
        }
        return chosen, np.r_[0, np.cumsum(inside[chosen])]

    def beyond(self, members: Sequence[int], side: int) -> Rows:
        """See `engine.Reading`."""
        import numpy as np

        at = self._beyond[side][list(members)]
        there = np.flatnonzero(at >= 0)
        return replace(self._whole.take(at[there]), series=there.astype(np.int32))

    def points(self, members: Sequence[int]) -> Rows:
        """See `engine.Reading`."""
        import numpy as np

        if not members:
            return empty()
        chosen = np.array(members, np.int64)
        begin, sizes = self._edges[chosen], self._edges[chosen + 1] - self._edges[chosen]
        series = np.repeat(np.arange(len(members), dtype=np.int32), sizes)
        if (begin[1:] == begin[:-1] + sizes[:-1]).all():  # they lie one after the other
            return replace(self._rows.take(slice(begin[0], begin[-1] + sizes[-1])), series=series)
        places = np.arange(len(series)) + np.repeat(begin - (np.cumsum(sizes) - sizes), sizes)
        return replace(self._rows.take(places), series=series)

    def bins(self, members: Sequence[int], width: int) -> tuple[bins_.Bins, Rows]:
        """See `engine.Reading`."""
        if not members:
            return bins_.none(), empty()
        rows = self.points(members)
        return binned(rows, width, self._question.unit), rows

    def whole(self, member: int) -> Whole:
        """See `engine.Reading`."""
        import numpy as np

        at = self._numbers[member]
        rows = self._whole.take(slice(self._whole_edges[at], self._whole_edges[at + 1]))
        finite = np.isfinite(rows.value) & ~rows.other
        rows = rows if finite.all() else rows.take(finite)
        if len(rows) <= SMOOTHED_POINTS:
            return Whole(rows.x, rows.step, rows.time, rows.value, None, "points")
        if self._by_files is not None:
            return self._by_files(self.members[member])
        return self._means(replace(rows, series=np.zeros(len(rows), np.int32)))

    def _means(self, rows: Rows) -> Whole:
        unit = self._question.unit
        shift = 0
        while ((int(rows.x[-1]) // unit >> shift) - (int(rows.x[0]) // unit >> shift)) * LEAST > len(rows):
            shift += 1
        found = binned(rows, 1 << shift, unit)
        # A mean stands in the middle of its points.
        at = (found.first.record + found.last.record) // 2
        of = f"bins of {1 << shift} steps" if unit == 1 else f"bins of {2.0 ** (shift - 9)} seconds"
        return Whole(rows.x[at], rows.step[at], rows.time[at], found.mean, found.finite.astype(float), of)

    def token(self, member: int) -> Hashable | None:
        """See `engine.Reading`."""
        return self._tokens[self.members[member].run]


def binned(rows: Rows, width: int, unit: int) -> bins_.Bins:
    """The bins of rows that are in order; `record` of a mark is the row's number."""
    import numpy as np

    points = bins_.BinInput(
        key=rows.series,
        rank=0,
        attempt=0,
        step=rows.x if unit == 1 else rows.x // unit,
        time=rows.time,
        node=0,
        record=np.arange(len(rows)),
        value=rows.value,
        other=rows.other if rows.other.any() else None,
    )
    return bins_.of_points(points, width)


def _within(rows: Rows, question: Question) -> NDArray[np.bool_] | None:
    """Which points are in the range; None: all are."""
    import numpy as np

    low, high = question.low, question.high
    if low is None and high is None:
        return None
    mask = np.ones(len(rows), bool)
    if low is not None:
        mask &= rows.x >= low
    if high is not None:
        mask &= rows.x <= high
    return None if mask.all() else mask


def _by_rank(rows: Rows) -> list[tuple[int, Rows]]:
    import numpy as np

    if not len(rows):
        return []
    if (rows.rank == rows.rank[0]).all():
        return [(int(rows.rank[0]), rows)]
    order = np.argsort(rows.rank, kind="stable")
    ranks = rows.rank[order]
    edges = np.concatenate([[0], np.flatnonzero(np.diff(ranks)) + 1, [len(ranks)]]).tolist()
    return [(int(ranks[begin]), rows.take(order[begin:end])) for begin, end in pairwise(edges)]


def _numbered(rows: Rows, series: int) -> Rows:
    import numpy as np

    return replace(rows, series=np.full(len(rows), series, np.int32))
