"""Points of many series as flat columns, in order of series and x."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Points; arrays of shape (n,)."""

    series: NDArray[np.int32]
    """Position in a list that the owner keeps."""
    x: NDArray[Any]
    """What they are ordered by: the step or nanoseconds, int64; over a key its values, float64, in order of record."""
    step: NDArray[np.int64]
    time: NDArray[np.int64]
    """Nanoseconds since 1970, UTC."""
    rank: NDArray[np.int32]
    attempt: NDArray[np.int32]
    node: NDArray[np.int64]
    record: NDArray[np.int64]
    value: NDArray[np.float64]
    """NaN for what is no number; the nearest float for an int beyond 2**53."""
    other: NDArray[np.bool_]
    """Whether it is no number: a text or a file."""

    def __len__(self) -> int:
        return len(self.value)

    @property
    def bytes(self) -> int:
        """Of its arrays."""
        return sum(int(getattr(self, one.name).nbytes) for one in fields(self))

    def take(self, chosen: Any) -> Rows:
        """Those of a mask, a slice, or row numbers in the order given."""
        columns = {one.name: getattr(self, one.name)[chosen] for one in fields(self)[2:]}
        x = columns["step"] if self.x is self.step else self.x[chosen]
        return Rows(series=self.series[chosen], x=x, **columns)


def empty() -> Rows:
    """No points."""
    import numpy as np

    kinds = {"series": np.int32, "rank": np.int32, "attempt": np.int32, "value": np.float64, "other": np.bool_}
    return Rows(*(np.empty(0, kinds.get(one.name, np.int64)) for one in fields(Rows)))


def concat(pieces: Sequence[Rows]) -> Rows:
    """All pieces, one after the other."""
    import numpy as np

    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return empty()
    columns = {one.name: np.concatenate([getattr(piece, one.name) for piece in pieces]) for one in fields(Rows)[2:]}
    if all(piece.x is piece.step for piece in pieces):
        x = columns["step"]
    else:
        x = np.concatenate([piece.x for piece in pieces])
    return Rows(series=np.concatenate([piece.series for piece in pieces]), x=x, **columns)


def starts(rows: Rows) -> NDArray[np.int64]:
    """Where each series begins, of rows that have them one after the other; and their number at the end."""
    import numpy as np

    if not len(rows):
        return np.zeros(1, np.int64)
    return np.concatenate([[0], np.flatnonzero(np.diff(rows.series)) + 1, [len(rows)]])


def in_order(rows: Rows) -> Rows:
    """The points of each series by x, then step, attempt, rank, node and record, as those of a `Series` are."""
    import numpy as np

    if len(rows) < 2:
        return rows
    columns: list[NDArray[Any]] = [rows.series, rows.x]
    if rows.x is not rows.step:
        columns.append(rows.step)
    columns += [rows.attempt, rows.rank, rows.node, rows.record]
    falls = np.zeros(len(rows) - 1, bool)
    tied: Any = True
    for column in columns:
        before, after = column[:-1], column[1:]
        falls |= (before > after) & tied
        tied = (before == after) & tied
        if not tied.any():
            break
    if not falls.any():
        return rows
    if (rows.series[1:] < rows.series[:-1]).any():
        return rows.take(np.lexsort(columns[::-1]))
    # Most series are in order: only those that are not are sorted.
    order, edges = np.arange(len(rows)), starts(rows)
    for at in np.unique(np.searchsorted(edges, np.flatnonzero(falls), side="right") - 1).tolist():
        piece = slice(edges[at], edges[at + 1])
        order[piece] = edges[at] + np.lexsort([column[piece] for column in columns[:0:-1]])
    return rows.take(order)


def of_some(rows: Rows, members: Sequence[int]) -> Rows:
    """Of rows of which each is another series', those of some series, in their order and numbered by it."""
    import numpy as np

    at = {series: row for row, series in enumerate(rows.series.tolist())}
    found = [(number, at[one]) for number, one in enumerate(members) if one in at]
    numbers, chosen = np.array(found, np.int64).reshape(-1, 2).T
    return replace(rows.take(chosen), series=numbers.astype(np.int32))
