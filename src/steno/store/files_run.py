"""One run by its own files, its Parquet parts and what is in none yet: the seam's `EngineRun` of files."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import inside, runfile
from steno.errors import StenoError
from steno.ledger.listed import read_manifest
from steno.ledger.read import Reader
from steno.record import START
from steno.secrecy import error_text
from steno.store import attempts as attempts_
from steno.store import records as records_
from steno.store import runs as runs_
from steno.store import sql as sql_
from steno.store.chosen import read_points
from steno.store.engine import Engine, PartGone, again, inherit
from steno.store.info import Info, info_of, state_of
from steno.store.source import Source
from steno.store.summary import Summary, as_rows
from steno.store.unsealed import RunView, Unsealed, follow

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from steno.ledger.totals import Totals
    from steno.record import Entry
    from steno.store.attempts import Attempt, Choose
    from steno.store.entrypages import EntryFilter, EntryPage, EntryPages
    from steno.store.points import Points
    from steno.store.remote import Remote
    from steno.store.series import Series


_AGAIN_SECS: Final = 5.0
"""A store that does not answer is asked no more often."""
_ERROR_CHARS: Final = 300


class FilesRun:
    """See `seam.EngineRun`. A forked child makes its own database.

    Args:
        run_dir: the run's directory, or the run in an object store.
        engine: the database to read with, where several runs share one.
    """

    def __init__(self, run_dir: Path | str | Remote, engine: Engine | None = None) -> None:
        self.remote = None if isinstance(run_dir, Path | str) else run_dir
        self.dir = Path(run_dir) if isinstance(run_dir, Path | str) else run_dir.dir
        inside.check(self.dir)
        runfile.require_format(self.dir)
        self._begin(engine)

    def _begin(self, engine: Engine | None = None) -> None:
        self._pid = os.getpid()
        self._reached, self._unreached, self._not_before = time.monotonic(), "", 0.0
        self.engine = engine or Engine()
        if self.remote is not None:
            self.engine.origins[self.dir] = self.remote
        self._unsealed = follow(self.dir)
        self._summary = Summary(self.engine)
        self._pages: EntryPages | None = None
        self._starts: tuple[frozenset[str], list[Entry]] | None = None

    @property
    def url(self) -> str | None:
        """See `EngineRun`."""
        return None if self.remote is None else self.remote.url

    def close(self) -> None:
        """See `EngineRun`."""
        self.engine.close()
        self._unsealed = Unsealed(self.dir)  # lets go of what no other reader holds
        self._begin()

    def view(self) -> RunView:
        """One moment of the run."""
        if self._pid != os.getpid():
            # DuckDB's threads did not survive the fork, and a lock may have been held in it.
            inherit(self.engine)
            self._begin()
        self._refresh()
        return self._unsealed.view()

    def _refresh(self) -> None:
        """Ask the store for news. One that does not answer leaves what was known last, and `info` says since when."""
        if self.remote is None or time.monotonic() < self._not_before:
            return
        try:
            self.remote.refresh()
        except (StenoError, PartGone):
            raise
        except Exception as error:  # whatever the store's library raises
            self._unreached = error_text(error)[:_ERROR_CHARS]
            self._not_before = time.monotonic() + _AGAIN_SECS
        else:
            self._reached, self._unreached = time.monotonic(), ""

    def _problems(self) -> dict[str, str]:
        if not self._unreached:
            return {}
        return {"store": f"not reached for {time.monotonic() - self._reached:.0f} s: {self._unreached}"}

    def attempts(self) -> tuple[Attempt, ...]:
        """See `EngineRun`."""

        def starts() -> list[Entry]:
            view = self.view()
            names = frozenset(part.name for part in view.entry_parts)
            if self._starts is None or self._starts[0] != names:
                found = records_.read_entries(self.engine, self.dir, view)
                self._starts = (names, [entry for entry in found if entry.kind == START])
            return [*self._starts[1], *(entry for entry in view.snapshot.entries if entry.kind == START)]

        return attempts_.read_attempts(self.dir, lambda: read_manifest(self.dir)[0], starts)

    def info(self) -> Info:
        """See `EngineRun`."""
        snapshot = self.view().snapshot
        lost = self.engine.losses
        mine = {path: loss for path, loss in lost.items() if Path(path) == self.dir / loss.name}
        damaged = {**self.engine.damaged, **{path: loss.reason for path, loss in mine.items()}}
        snapshot = replace(snapshot, losses=(*snapshot.losses, *mine.values()))
        return info_of(self.dir, snapshot, self.attempts(), {**damaged, **self._problems()})

    def state(self) -> str:
        """See `EngineRun`."""
        self._refresh()
        return state_of(self.dir, Reader(self.dir).snapshot(batches=False), read_manifest(self.dir)[0])

    def keys(self) -> list[str]:
        """See `EngineRun`."""
        return again(lambda: sorted(self._totals().ids))

    def summary(self) -> dict[str, dict[str, Any]]:
        """See `EngineRun`."""
        return again(lambda: as_rows(self._totals()))

    def _totals(self) -> Totals:
        view = self.view()
        return self._summary.totals(self.dir, view, attempts_.choose(self.attempts(), "latest"))

    def points(self, keys: Sequence[str], choose: Choose, without: Sequence[str] = ()) -> list[Points]:
        """See `EngineRun`."""

        def read() -> list[Points]:
            choice = choose(self.attempts())
            return read_points(self.engine, self.dir, self.view(), keys, choice, without=without)

        return again(read)

    def few(self, key: str, points: int, choose: Choose) -> Series | None:
        """See `EngineRun`."""
        from steno.store import binned
        from steno.store.sampled import sampled

        def read() -> Series | None:
            choice = choose(self.attempts())
            view = self.view()
            covered = self.engine.covered(self.dir, view.metrics)
            files = self.engine.binfiles(self.dir, [one.whole for one in covered if one.source is None])
            return sampled(
                key,
                points,
                lambda level: binned.read(self.engine, self.dir, view, [key], choice, level),
                sum(files.count(self.dir, one.whole, key, 2, one.source) for one in covered),
            )

        return again(read)

    def entries(self, kind: str | None, last: int | None) -> list[Entry]:
        """See `EngineRun`."""
        return again(lambda: records_.read_entries(self.engine, self.dir, self.view(), kind, last))

    def entry_page(self, wanted: EntryFilter, offset: int, limit: int) -> EntryPage:
        """See `RunReader.entry_page`."""
        from steno.store.entrypages import EntryPages

        pages = self._pages or EntryPages(self.engine, self.dir)
        self._pages = pages
        return again(lambda: pages.page(self.view(), wanted, offset, limit))

    def sql(self, query: str, values: Sequence[Any] | None) -> pa.Table:
        """See `EngineRun`."""
        return again(lambda: sql_.query(self.engine, [self.source()], query, values))

    def source(self) -> Source:
        """The run as a query over many reads it."""
        view = self.view()
        hidden = attempts_.choose(self.attempts(), "latest").hidden
        label = "/".join(runs_.identity(self.dir))
        return Source(label, str(self.dir), hidden, self.info, lambda: view.snapshot.parts, view)
