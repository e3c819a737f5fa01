"""One key's points as numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from steno.record import Ref
from steno.store.points import taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from steno.store.points import Points, Special


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The points of one key in order of step, then attempt, rank, node and record; arrays of shape (n,).

    A plain value, safe to share between threads and processes.
    """

    key: str
    step: NDArray[np.int64]
    time: NDArray[np.datetime64]
    """datetime64[ns], UTC."""
    value: NDArray[np.float64]
    """NaN where the point is a text or a file; the nearest float for an int beyond 2**53."""
    rank: NDArray[np.int32]
    attempt: NDArray[np.int32]
    record: NDArray[np.int64]
    """With `node`, joins the points of one call across keys."""
    node: NDArray[np.int64]
    """The id of the node that numbered the record."""
    special: Mapping[int, Special] = field(default_factory=dict)
    """By row, what `value` cannot hold exactly: an int beyond 2**53, a str or a `Ref`."""

    def __len__(self) -> int:
        return len(self.value)

    def __repr__(self) -> str:
        span = f", steps {self.step[0]} to {self.step[-1]}" if len(self) else ""
        return f"<Series {self.key!r}: {len(self)} points{span}>"

    @property
    def text(self) -> NDArray[np.object_]:
        """Object array: the string of each point that is one, None elsewhere."""
        return self._objects(lambda found: isinstance(found, str))

    @property
    def exact(self) -> NDArray[np.object_]:
        """Object array: every value as it was logged: float, int beyond 2**53, str or `Ref`."""
        out = self.value.astype(object)
        for row, found in self.special.items():
            out[row] = found
        return out

    @property
    def ref(self) -> NDArray[np.object_]:
        """Object array: the `Ref` of each point that is a file of the run, None elsewhere."""
        return self._objects(lambda found: isinstance(found, Ref))

    def take(self, rows: NDArray[Any]) -> Series:
        """The series at these rows (numbers, shape (m,)).

        Args:
            rows: numbers of rows, an integer array of shape (m,).

        Returns:
            A new series of m points.
        """
        return Series(
            self.key,
            self.step[rows],
            self.time[rows],
            self.value[rows],
            self.rank[rows],
            self.attempt[rows],
            self.record[rows],
            self.node[rows],
            taken(self.special, rows, len(self)),
        )

    def _objects(self, wanted: Callable[[Special], bool]) -> NDArray[np.object_]:
        import numpy as np

        out = np.full(len(self), None, object)
        for row, found in self.special.items():
            if wanted(found):
                out[row] = found
        return out


def series_of(key: str, points: Points) -> Series:
    """The series of points that are all of one key, put in order."""
    points = in_order(points)
    return Series(
        key,
        points.step,
        points.time.view("datetime64[ns]"),
        points.value,
        points.rank,
        points.attempt,
        points.record,
        points.node,
        points.special,
    )


def in_order(points: Points) -> Points:
    """The points by step, then attempt, rank, node and record."""
    import numpy as np

    columns = (points.step, points.attempt, points.rank, points.node, points.record)
    if is_sorted(columns):
        return points
    return points.take(np.lexsort(columns[::-1]))


def is_sorted(columns: Sequence[NDArray[Any]], *, strictly: bool = False) -> bool:
    """Whether the rows are in lexicographic order of the columns, `strictly`: no two are equal.

    Most series are, and sorting costs 10 ns a row.
    """
    import numpy as np

    tied: Any = True
    for column in columns:
        before, after = column[:-1], column[1:]
        if bool(np.any((before > after) & tied)):
            return False
        tied = (before == after) & tied
        if not tied.any():
            return True
    return not strictly
