"""The seam between what is computed of curves and where their points and bins come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from steno.ledger.bins import Bins
    from steno.store.attempts import Attempt
    from steno.store.bins.answer import LeftOut
    from steno.store.bins.question import Question
    from steno.store.bins.rows import Rows
    from steno.store.remote import Remote
    from steno.store.run_summary import RunSummary


SMOOTHED_POINTS: Final = 100_000
"""Series of more points are smoothed over the means of bins."""


class LostMoreError(Exception):
    """While it was read, a run turned out to have lost more than when its series were counted: it is read anew."""


@dataclass(frozen=True, slots=True)
class Member:
    """One series of an answer."""

    run: int
    """Position in the runs."""
    key: int
    """Position in the keys asked for."""
    rank: int | None
    """None: all ranks together."""
    total: int
    """Points in the range."""
    low: int
    high: int
    """Smallest and largest x of them."""


@dataclass(frozen=True, slots=True)
class Span:
    """When an attempt was."""

    attempt: Attempt
    began: int
    """Its first record, in nanoseconds since 1970, UTC; 0 where nothing says."""
    ended: int
    """Its last record."""


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """What a series is smoothed from, in order of x: its finite points, or the means of bins of them.

    Arrays of shape (n,).
    """

    x: NDArray[np.int64]
    step: NDArray[np.int64]
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64] | None
    """How many points each mean stands for; None for points."""
    of: str
    """"points", or the bins in words."""

    @property
    def bytes(self) -> int:
        """Of its arrays."""
        return sum(one.nbytes for one in (self.x, self.step, self.time, self.value, self.weight) if one is not None)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run other than its points."""

    name: str
    dir: Path
    spans: tuple[Span, ...]
    """By number of the attempt."""
    is_running: bool


class Reading(Protocol):
    """What an engine has read for one question, at one moment of each run."""

    @property
    def runs(self) -> Sequence[Facts | None]:
        """In the order asked for; None: it is left out."""

    @property
    def left_out(self) -> Sequence[LeftOut]:
        """What could not be read, and why."""

    @property
    def members(self) -> Sequence[Member]:
        """Every series that has a point in the range, by run, key and rank.

        With `Question.edges` also those that have one on each side of it and none in it: `total` is 0.
        """

    def points(self, members: Sequence[int]) -> Rows:
        """All points in the range of these series, in their order; `Rows.series` counts in `members`."""

    def bins(self, members: Sequence[int], width: int) -> tuple[Bins, Rows]:
        """The bins of these series, and the points that they name.

        Args:
            members: which, as positions in `self.members`.
            width: of the bins in units of x, times the question's `unit` in whole numbers of it.

        Returns:
            Bins by series and x. `Bins.key` counts in `members`; `start` is in `Question.unit`, rank and attempt
            are 0; `record` of each of its marks is the row of that point in the rows.
        """

    def beyond(self, members: Sequence[int], side: int) -> Rows:
        """The last point before the range of each series, with `side` -1, or the first one after it, with 1.

        `Rows.series` counts in `members`, in their order; one that has no such point has no row. Only where the
        question has `edges`.
        """

    def whole(self, member: int) -> Whole:
        """What a series is smoothed from, the range aside: at most `SMOOTHED_POINTS` points, else means of bins."""

    def token(self, member: int) -> Hashable | None:
        """The same as long as the whole series is the same; None: nothing says so."""


@dataclass(frozen=True, slots=True)
class RunToRead:
    """A run that is to be read."""

    dir: Path
    name: str
    """`project/name`."""
    remote: Remote | None = None
    summary: RunSummary | None = None
    """What is known of it already."""
    url: str = ""
    """Of a run that another engine has than the one of files."""


class CurveEngine(Protocol):
    """Something that reads runs: their files, or a database that has them. All engines pass the same tests."""

    @property
    def most_series(self) -> int:
        """Of one reading for several questions."""

    def token(self, shown: RunToRead) -> Hashable | None:
        """The same as long as everything of the run is; None: nothing says so, or it has not been read."""

    def read(self, question: Question, shown: Sequence[RunToRead]) -> Reading:
        """Read the runs; one that is damaged or gone is named in `left_out` and costs no other."""
