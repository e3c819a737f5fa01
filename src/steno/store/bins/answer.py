"""What `steno.bins` answers: curves of runs, and what is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steno.store.bins.table import frame

if TYPE_CHECKING:
    from steno.store.bins.curve import Curve, GroupCurve


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is not in the answer."""

    run: str
    """`project/name`, or what the caller named it by."""
    why: str
    key: str | None = None
    """Of whose points it is; None: of any."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a run began anew: an attempt after the first."""

    run: str
    attempt: int
    step: int | None
    """From this step on, points of earlier attempts are hidden; None where nothing is."""
    time: int
    """When it began, in nanoseconds since 1970, UTC; 0 where nothing says."""
    x: float | None
    """Where it stands on the axis asked for, in its units; None where it has no place there."""
    gap: float | None
    """Seconds between the last record before it and its first; None where nothing says."""


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Curves of many runs over one axis, with bins of the same edges.

    A plain value, safe to share between threads; its arrays are read-only.

    What it holds is complete: every run that was asked for has a curve for each key that it has points of in the
    range, or stands in `left_out`.
    """

    keys: tuple[str, ...]
    x: str
    runs: tuple[str, ...]
    """The runs that were read, in the order asked for."""
    width: float
    """Of the bins, a power of two: of steps, or of seconds."""
    curves: tuple[Curve, ...]
    """By run, key and rank."""
    groups: tuple[GroupCurve, ...] = ()
    """By group and key, where groups were asked for."""
    marks: tuple[Mark, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def __len__(self) -> int:
        return len(self.curves)

    def __repr__(self) -> str:
        left = f", {len(self.left_out)} left out" if self.left_out else ""
        return f"<Curves of {', '.join(map(repr, self.keys))}: {len(self.curves)} over {self.x}{left}>"

    @property
    def bytes(self) -> int:
        """About what it takes in memory."""
        rows = sum(len(one.bins) * 260 if one.bins is not None else len(one.points or ()) * 45 for one in self.curves)
        return (
            rows + sum(len(one.smoothed or ()) * 40 for one in self.curves) + sum(len(one) * 64 for one in self.groups)
        )

    @property
    def total(self) -> int:
        """Points that the curves stand for."""
        return sum(curve.total for curve in self.curves)

    def curve(self, run: str | None = None, key: str | None = None, rank: int | None = None) -> Curve:
        """The one curve of a run, a key and a rank.

        Args:
            run: its `project/name`; None: any.
            key: None: any.
            rank: None: any.

        Returns:
            The curve; its arrays are read-only.

        Raises:
            LookupError: there is none such, or several.
        """
        found = [
            one
            for one in self.curves
            if (run is None or run in {one.run, one.run.rpartition("/")[2]})
            and (key is None or one.key == key)
            and (rank is None or one.rank == rank)
        ]
        if len(found) != 1:
            few = ", ".join(map(repr, found[:5])) or "none"
            raise LookupError(f"run={run!r}, key={key!r}, rank={rank!r} means {len(found)} curves: {few}")
        return found[0]

    def frame(self, as_: str = "pandas") -> Any:
        """A row per bin or point: run, key, rank, kind, x (the bin's lower edge), counts, values and their steps.

        Args:
            as_: "pandas", "polars" or "arrow".

        Returns:
            A `pandas.DataFrame`, a `polars.DataFrame` or a `pyarrow.Table`.

        Raises:
            UsageError: an unknown library, or one that is not installed.
        """
        return frame(self.curves, self.x, self.width, as_)
