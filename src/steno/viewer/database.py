"""The runs of a database as the viewer shows them: what it answers, or answered last where it does not."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno.errors import RunNotFoundError, StenoError, UsageError
from steno.store import engines
from steno.store.listing import RunList
from steno.store.reader import RunReader
from steno.viewer import answers
from steno.viewer.catalogue import Catalogue

if TYPE_CHECKING:
    from steno.store.run_summary import RunSummary

_FRESH_SECS: Final = 2.0
_SHARE: Final = 0.2
"""Of the time, for asking for the list: a database that is slow is asked less often."""


class DatabaseCatalogue(Catalogue):
    """The runs of a database, or the one run that the URL names. Thread-safe.

    A run's id is its `project/name`. No run has files here, so no path of it is ever opened.

    Raises:
        UsageError: the URL names no database.
    """

    def __init__(self, url: str) -> None:
        super().__init__(Path())
        self._database, self._only = engines.parted(url)
        self._asking = threading.Lock()
        self._list: list[RunSummary] | None = None
        self._ids: dict[str, RunSummary] = {}
        self._by_path: dict[Path, str] = {}
        self._fresh_until = -1e9
        self._seen: float | None = None
        self._problem = ""

    def _runs(self) -> dict[str, RunSummary]:
        """By id; as they were known last where the database does not answer. Raises StenoError if nothing is known."""
        with self._asking:
            if time.monotonic() >= self._fresh_until:
                self._ask()
            if self._list is None:
                raise StenoError(self._problem)
            return self._ids

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            found = list(self._database.runs(None, archived=True))
        except StenoError as error:
            self._problem = str(error)
        else:
            self._seen, self._problem = time.time(), ""
            ids = {f"{one.project}/{one.name}": one for one in reversed(found)}  # of a name the newest run counts
            self._ids = {run: one for run, one in ids.items() if self._only in {"", run}}
            self._by_path = {one.path: run for run, one in self._ids.items()}
            self._list = list(self._ids.values())[::-1]
        now = time.monotonic()
        self._fresh_until = now + max(_FRESH_SECS, (now - began) / _SHARE)

    def id_of(self, path: Path) -> str:
        """The id of a run that was found here."""
        return self._by_path.get(path, "")

    def ids(self) -> dict[str, Path]:
        """Every run that is known, by id."""
        return {run: one.path for run, one in self._runs().items()}

    def source(self, run: str) -> RunSummary:
        """The run as `steno.bins` takes it. Raises RunNotFoundError."""
        found = self._runs().get(run)
        if found is None:
            msg = f"the database has no run {run!r}: it was removed; load the list again"
            raise RunNotFoundError(msg)
        return found

    def path(self, run: str) -> Path:
        """A run in a database has none. Raises UsageError."""
        self.source(run)
        msg = "a database has no files of a run: look at media and artifacts where it was recorded, or in its store"
        raise UsageError(msg)

    def stamp(self, run: str, path: Path) -> object:
        """What changes when the run does."""
        del path
        one = self._runs().get(run)
        return None if one is None else (one.records, one.points, one.state, one.ended)

    def reader(self, run: str) -> RunReader:
        """A reader of the run. Raises RunNotFoundError."""
        self.source(run)
        return RunReader(self._database.run(run))

    def listed(self) -> RunList:
        """The runs that are known, archived ones too."""
        self._runs()
        return RunList(self._list or [])

    def standing(self) -> dict[str, Any]:
        """When the database answered last, and why not since."""
        seen = self._seen
        return {"seen": None if seen is None else answers.moment(int(seen * 1e9)), "problem": self._problem}
