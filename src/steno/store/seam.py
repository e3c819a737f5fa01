"""The seam of reading: what an engine offers that has runs, whatever keeps their points.

`steno.open`, `steno.runs`, `steno.sql` and `steno.bins` stand on these two protocols. What is computed of points
(order, ranks, frames, sampling, curves) is above the seam, once for all engines. The engine of runs on this machine
is `store/files_run.py` with `store/listing.py`, `store/query.py` and `store/bins/exact.py`; `store/engines.py` says
which engine a URL belongs to. All engines pass `tests/unit/test_reading_engines.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from steno.record import Entry
    from steno.store.attempts import Attempt, Choose
    from steno.store.bins.engine import CurveEngine as Curves
    from steno.store.info import Info
    from steno.store.points import Points
    from steno.store.run_summary import RunSummary
    from steno.store.series import Series


class EngineRun(Protocol):
    """One run. Each method sees one moment of it: every point that was there then, once. Threads may share it."""

    @property
    def dir(self) -> Path:
        """Its directory; of a run that has none, a path that no other run has."""

    @property
    def url(self) -> str | None:
        """Where it is, if that is not a directory of this machine."""

    def attempts(self) -> tuple[Attempt, ...]:
        """By number."""

    def info(self) -> Info:
        """Identity, configuration, state and times."""

    def state(self) -> str:
        """`info().state`, by less."""

    def keys(self) -> list[str]:
        """Every key with a point, sorted; those whose points a rewind hides included."""

    def summary(self) -> dict[str, dict[str, Any]]:
        """What `RunReader.summary` says."""

    def points(self, keys: Sequence[str], choose: Choose, without: Sequence[str] = ()) -> list[Points]:
        """The chosen points of each key, in any order; none for a key that is not there.

        Args:
            keys: as they stand in the run.
            choose: which points.
            without: columns that nobody looks at, which may be 0.
        """

    def few(self, key: str, points: int, choose: Choose) -> Series | None:
        """At most so many of the chosen points, chosen as `steno.store.downsample` does; None: read them all."""

    def entries(self, kind: str | None, last: int | None) -> list[Entry]:
        """What is not a point, in order of node and record: of that kind, the last so many."""

    def sql(self, query: str, values: Sequence[Any] | None) -> pa.Table:
        """A query over the tables of this run alone, see `ReadingEngine.sql`."""

    def close(self) -> None:
        """Free what it keeps; reading again is possible."""


class ReadingEngine(Protocol):
    """A place with runs. Threads may share it."""

    def runs(self, limit: int | None, *, archived: bool) -> Sequence[RunSummary]:
        """The runs, newest first (`started`, then `path`), at most `limit`; with `archived` the archived ones too.

        `url` of each names it, as `engines.parted` takes it apart; its `metrics` are what `summary` of that run says.
        """

    def run(self, name: str) -> EngineRun:
        """The run `project/name`.

        Raises:
            RunNotFoundError: there is none.
        """

    def sql(self, query: str, values: Sequence[Any] | None, runs: Sequence[str]) -> pa.Table:
        """A query in the engine's own language over `metrics`, `metrics_all`, `records`, `runs` and `config`.

        The tables have the columns that `steno.sql` names, of the runs `project/name`, or of all where none is named;
        `metrics` lacks the points that rewinds hide.

        Raises:
            UsageError: the query is wrong.
        """

    def curves(self) -> Curves:
        """What `steno.bins` asks; `RunToRead.url` says which runs."""
