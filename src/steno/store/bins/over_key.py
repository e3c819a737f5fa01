"""One key over another: with each point, the last value that the other had at or before its record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from steno.store.bins.rows import Rows, concat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def over(rows: Rows, other: Rows) -> tuple[Rows, int]:
    """The points in order of their records with the values of the other key as x, and how many had none before them.

    A rank goes by its own values of the other key; one that has none goes by all ranks', in order of time.
    """
    import numpy as np

    rows = rows.take(_records(rows))
    other = other.take(~other.other)
    own = np.isin(rows.rank, np.unique(other.rank))
    x = np.full(len(rows), np.nan)
    there = np.zeros(len(rows), bool)
    for mask, by_time in ((own, False), (~own, True)):
        if mask.any() and len(other):
            at = _last(rows.take(mask), other, by_time=by_time)
            there[mask] = at >= 0
            x[mask] = np.where(at >= 0, other.value[at], np.nan)
    return replace(rows, x=x).take(there), int((~there).sum())


def _records(rows: Rows) -> NDArray[np.int64]:
    """The order of the records: their numbers within a node, time across nodes."""
    import numpy as np

    if len(rows) and (rows.node != rows.node[0]).any():
        return np.lexsort((rows.record, rows.node, rows.time, rows.attempt))
    return np.lexsort((rows.record, rows.attempt))


def _last(rows: Rows, other: Rows, *, by_time: bool) -> NDArray[np.int64]:
    """For each point the row of the last value at or before it; -1: there is none."""
    import numpy as np

    both = concat([other, rows])
    late = np.arange(len(both)) >= len(other)
    columns = [late, both.record, both.node, *([both.time] if by_time else [both.attempt, both.rank])]
    order = np.lexsort(columns)
    known = np.maximum.accumulate(np.where(late[order], -1, np.arange(len(order))))
    source = np.where(known >= 0, order[np.maximum(known, 0)], -1)
    if not by_time:
        source[(source >= 0) & (both.rank[source] != both.rank[order])] = -1
    out = np.empty(len(both), np.int64)
    out[order] = source
    return out[len(other) :]
