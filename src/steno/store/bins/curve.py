"""One curve: its points, or its bins."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def read_only(value: Any) -> None:
    """Let nobody write into the arrays of a value: answers and what they are made of are kept and given again."""
    for one in fields(value):
        found = getattr(value, one.name)
        if hasattr(found, "flags"):
            found.flags.writeable = False
        elif is_dataclass(found):
            read_only(found)


@dataclass(frozen=True, slots=True, eq=False)
class CurvePoints:
    """The points of a curve in order of x; arrays of shape (n,)."""

    x: NDArray[Any]
    """int64 steps; datetime64[ns], UTC, for time; timedelta64[ns] for relative; float64 values of a key."""
    step: NDArray[np.int64]
    time: NDArray[np.datetime64]
    """datetime64[ns], UTC."""
    rank: NDArray[np.int32]
    attempt: NDArray[np.int32]
    value: NDArray[np.float64]
    """NaN for a text or a file; the nearest float for an int beyond 2**53."""
    other: NDArray[np.bool_]
    """Whether it is no number: a text or a file."""

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class BinPoints:
    """One point of each bin; arrays of shape (n,). Where a bin has no such point, `value` is NaN and the rest is 0."""

    x: NDArray[Any]
    step: NDArray[np.int64]
    time: NDArray[np.datetime64]
    rank: NDArray[np.int32]
    attempt: NDArray[np.int32]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.value)

    def take(self, rows: slice) -> BinPoints:
        """Those of some bins.

        Args:
            rows: the bins, by their places.

        Returns:
            New arrays of the points of those bins.
        """
        return BinPoints(*(getattr(self, one.name)[rows] for one in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class CurveBins:
    """The bins of a curve that hold a point, in order; arrays of shape (n,).

    Bin `i` holds the points with `i * w <= x < (i + 1) * w`, where `w` is the width of the answer's bins.
    """

    index: NDArray[np.int64]
    """Number `i` of the bin."""
    count: NDArray[np.int64]
    """Points of any kind."""
    nan: NDArray[np.int64]
    """Of them NaN,"""
    posinf: NDArray[np.int64]
    neginf: NDArray[np.int64]
    other: NDArray[np.int64]
    """no numbers at all: texts and files."""
    first: BinPoints
    """In order of x; NaN where it is no number."""
    last: BinPoints
    min: BinPoints
    """The smallest finite value; of equal ones the first."""
    max: BinPoints
    mean: NDArray[np.float64]
    """Of the finite values; NaN without any."""
    std: NDArray[np.float64]
    """Of the finite values, divided by their number as `numpy.std` does."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def finite(self) -> NDArray[np.int64]:
        """Points with a finite value."""
        return self.count - self.nan - self.posinf - self.neginf - self.other


@dataclass(frozen=True, slots=True, eq=False)
class Smoothed:
    """The smoothed line of a curve; arrays of shape (n,)."""

    x: NDArray[Any]
    """Where the values stand: at each finite point, or at the last one of each bin."""
    step: NDArray[np.int64]
    time: NDArray[np.datetime64]
    value: NDArray[np.float64]
    row: NDArray[np.int64]
    """Row of the curve's points or bins that each stands at; of what is beyond the range -1, and their number."""
    of: str
    """What it was computed from: "points", or "bins of 256 steps"."""

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class GroupCurve:
    """One key of a group of runs; arrays of shape (n,), in order of the bins in which a run has a finite value.

    Each run gives its mean over the finite points in a bin; those without one do not count.
    """

    group: tuple[Any, ...]
    """What the runs share, in the order of the names asked for; None where they have nothing of the name."""
    key: str
    runs: tuple[str, ...]
    """`project/name` of all its runs, those without a point included."""
    index: NDArray[np.int64]
    """Number of the bin, as in `CurveBins`."""
    n: NDArray[np.int64]
    """Runs with a finite value in the bin."""
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    """Divided by n - 1; NaN for one run."""
    stderr: NDArray[np.float64]
    """std / sqrt(n)."""
    min: NDArray[np.float64]
    """The smallest mean of a run."""
    max: NDArray[np.float64]
    smooth: NDArray[np.float64] | None = None
    """Mean of the runs' smoothed values at their last places in the bin."""

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"<GroupCurve {self.group} {self.key!r}: {len(self.runs)} runs, {len(self)} bins>"


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One key of one run, of one rank or of all together: its points where they are few, else bins."""

    run: str
    """`project/name`."""
    dir: Path
    key: str
    rank: int | None
    """None: the points of all ranks that were asked for, together."""
    total: int
    """Points in the range."""
    points: CurvePoints | None
    bins: CurveBins | None
    is_monotonic: bool = True
    """Whether x never falls; it may where x is a key."""
    smoothed: Smoothed | None = None
    before: BinPoints | None = None
    """The last point before the range, where edges were asked for and there is one; arrays of shape (1,)."""
    after: BinPoints | None = None
    """The first point behind it."""

    def __repr__(self) -> str:
        rank = "" if self.rank is None else f" rank {self.rank}"
        shown = f"{self.total} points" if self.bins is None else f"{len(self.bins)} bins of {self.total} points"
        return f"<Curve {self.run} {self.key!r}{rank}: {shown}>"
