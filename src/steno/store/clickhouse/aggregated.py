"""Bins over steps that ClickHouse computes, where runs have more points than one wants to fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from steno.ledger.bins import Bins, Marks, none
from steno.store.bins.engine import Facts, Member, Span
from steno.store.bins.rows import Rows, concat, empty

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    import pyarrow as pa

    from steno.store.attempts import Attempt
    from steno.store.bins.answer import LeftOut
    from steno.store.bins.engine import Whole
    from steno.store.bins.in_memory import InMemory

_ORDER: Final = "step, attempt, rank, node, record"
_POINT: Final = (
    "(step, toUnixTimestamp64Micro(time) * 1000, rank, attempt, node, record, ifNull(value, nan), isNull(value))"
)
_FINITE: Final = "ifNull(isFinite(value), 0)"
_MARKS: Final = {
    "first": f"argMin({_POINT}, ({_ORDER}))",
    "last": f"argMax({_POINT}, ({_ORDER}))",
    "min": f"argMinIf({_POINT}, (value, {_ORDER}), {_FINITE})",
    "max": f"argMinIf({_POINT}, (-value, {_ORDER}), {_FINITE})",
    "low": f"argMinIf({_POINT}, ({_ORDER}), ifNull(value = -inf, 0))",
    "high": f"argMinIf({_POINT}, ({_ORDER}), ifNull(value = inf, 0))",
}
_SMALL: Final = 2.0**-64
_COUNTS: Final = {
    "count": "count()",
    "nan": "countIf(ifNull(isNaN(value), 0))",
    "posinf": "countIf(ifNull(value = inf, 0))",
    "neginf": "countIf(ifNull(value = -inf, 0))",
    "other": "countIf(isNull(value))",
    "exact": "countIf(isNotNull(exact))",
}
_SELECTED: Final = ", ".join(
    [
        *(f"toInt64({query}) as n_{name}" for name, query in _COUNTS.items()),
        *(f"{query} as m_{name}" for name, query in _MARKS.items()),
        # The sum of two of the largest values is none: such a bin is summed at a small scale.
        f"avgIf(assumeNotNull(value), {_FINITE}) as mean",
        f"avgIf(assumeNotNull(value) * {_SMALL!r}, {_FINITE}) / {_SMALL!r} as scaled",
        f"varPopStableIf(assumeNotNull(value), {_FINITE}) as variance",
    ]
)


class Aggregated:
    """See `bins.engine.Reading`.

    Args:
        facts: what is known of each run.
        left_out: what could not be read.
        counted: (run, key, rank or None, points, first step, last step) of each series, in this order.
        ask: a query's answer over the chosen points of these series: what is selected, then the rest of the query.
            The columns `series` and `step` and those of a point may be used; `series` counts in them.
        fetch: all of it in memory, for what no query answers.
    """

    def __init__(
        self,
        facts: Sequence[Facts | None],
        left_out: Sequence[LeftOut],
        counted: Sequence[tuple[int, int, int | None, int, int, int]],
        ask: Callable[[Sequence[int], str, str], pa.Table],
        fetch: Callable[[], InMemory],
    ) -> None:
        self.runs, self.left_out = facts, left_out
        self.members = [Member(*one) for one in counted]
        self._ask, self._fetch = ask, fetch
        self._whole: InMemory | None = None

    def points(self, members: Sequence[int]) -> Rows:
        """See `engine.Reading`."""
        if not members:
            return empty()
        found = self._ask(members, f"series, {_POINT} as point", f"order by series, {_ORDER}")
        return _rows(found["series"].to_numpy(), found["point"].combine_chunks())

    def bins(self, members: Sequence[int], width: int) -> tuple[Bins, Rows]:
        """See `engine.Reading`."""
        import numpy as np

        if not members:
            return none(), empty()
        found = self._ask(
            members,
            f"series, bitAnd(step, {-width}) as start, {_SELECTED}",
            "group by series, start order by series, start",
        )
        count = len(found)
        columns: dict[str, Any] = {name: found[f"n_{name}"].to_numpy() for name in _COUNTS}
        finite = columns["count"] - columns["nan"] - columns["posinf"] - columns["neginf"] - columns["other"]
        there = {"min": finite > 0, "max": finite > 0, "low": columns["neginf"] > 0, "high": columns["posinf"] > 0}
        pieces = [_rows(found["series"].to_numpy(), found[f"m_{name}"].combine_chunks()) for name in _MARKS]
        for number, (name, rows) in enumerate(zip(_MARKS, pieces, strict=True)):
            some = there.get(name, np.ones(count, np.bool_))
            columns[name] = Marks(
                np.where(some, rows.step, 0),
                np.where(some, rows.time, 0),
                np.where(some, rows.node, 0),
                np.where(some, number * count + np.arange(count), 0),
                np.where(some, rows.value, np.nan),
            )
        mean, scaled = found["mean"].to_numpy(), found["scaled"].to_numpy()
        mean = np.where(finite > 0, np.where(np.isfinite(mean), mean, scaled), np.nan)
        with np.errstate(invalid="ignore", over="ignore"):
            m2 = found["variance"].to_numpy() * finite
        m2 = np.where(finite > 0, np.where(np.isnan(m2), np.inf, m2), np.nan)
        zeros = np.zeros(count, np.int32)
        series = found["series"].to_numpy().astype(np.int32)
        start, widths = found["start"].to_numpy(), np.full(count, width, np.int64)
        return Bins(series, zeros, zeros, start, widths, mean=mean, m2=m2, **columns), concat(pieces)

    def beyond(self, members: Sequence[int], side: int) -> Rows:
        """See `engine.Reading`."""
        return self._all().beyond(members, side)

    def whole(self, member: int) -> Whole:
        """See `engine.Reading`."""
        return self._all().whole(member)

    def token(self, member: int) -> Hashable | None:
        """See `engine.Reading`."""
        del member
        return None

    def _all(self) -> InMemory:
        if self._whole is None:
            self._whole = self._fetch()
        return self._whole


def _rows(series: Any, point: Any) -> Rows:
    """Points of a column of tuples."""
    import numpy as np

    step, time, rank, attempt, node, record, value, other = (
        column.to_numpy(zero_copy_only=False) for column in point.flatten()
    )
    return Rows(
        series=series.astype(np.int32),
        x=step,
        step=step,
        time=time,
        rank=rank,
        attempt=attempt,
        node=node,
        record=record,
        value=value,
        other=other.astype(np.bool_),
    )


def spans(attempts: Sequence[Attempt]) -> tuple[Span, ...]:
    """The attempts as far as their beginnings are known."""
    return tuple(Span(one, one.started, 0) for one in attempts)
