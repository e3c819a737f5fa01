"""The runs of an object store as the viewer shows them: one thread asks the store, and nobody else waits for it."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno.errors import RunNotFoundError, StenoError
from steno.store.afar import Afar, newest
from steno.store.files_run import FilesRun
from steno.store.listing import RunList
from steno.viewer import answers
from steno.viewer.catalogue import Catalogue

if TYPE_CHECKING:
    from steno.store.afar import AfarSummary
    from steno.store.run_summary import RunSummary

_LEAST_SECS: Final = 2.0
_SHARE: Final = 0.2
"""Of the time, for asking the store: one that is slow, or has many runs, is asked less often."""
_WANTED_SECS: Final = 60.0
"""So long after the last question the store is asked on."""
_FIRST_SECS: Final = 30.0
"""A page that comes before the store has answered waits so long for it."""


class AfarCatalogue(Catalogue):
    """The runs below a URL. Thread-safe.

    While the store is out of reach, what was known last is shown, and `standing` says since when.
    """

    def __init__(self, url: str) -> None:
        super().__init__(Path())
        self._afar = Afar(url)
        self._first = threading.Event()
        self._wake = threading.Event()
        self._over = False
        self._asked = -1e9
        self._by_path: dict[Path, str] = {}
        self._thread = threading.Thread(target=self._ask, name="steno-viewer-store", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._over:
            if time.monotonic() - self._asked > _WANTED_SECS:
                self._wake.wait()
                self._wake.clear()
                continue
            began, cost_secs = time.monotonic(), 0.0
            with contextlib.suppress(StenoError):  # `standing` says it; an outage costs the store nothing
                self._afar.look()
                # Nor does the first look count: it imports the store's client, and copies what there is of each run.
                cost_secs = time.monotonic() - began if self._first.is_set() else 0.0
            self._by_path = {one.path: run for run, one in self._afar.runs().items()}
            self._first.set()
            self._wake.wait(max(_LEAST_SECS, cost_secs / _SHARE))
            self._wake.clear()

    def _runs(self) -> dict[str, AfarSummary]:
        sleeps = time.monotonic() - self._asked > _WANTED_SECS
        self._asked = time.monotonic()
        if sleeps:
            self._wake.set()
        self._first.wait(_FIRST_SECS)
        return self._afar.runs()

    def close(self) -> None:
        """Look no more."""
        self._over = True
        self._wake.set()

    def id_of(self, path: Path) -> str:
        """The id of a run that was found here."""
        return self._by_path.get(path, "")

    def ids(self) -> dict[str, Path]:
        """Every run that is known, by id."""
        return {run: one.path for run, one in self._runs().items()}

    def source(self, run: str) -> RunSummary:
        """The run as `steno.bins` takes it. Raises RunNotFoundError."""
        return self._one(run)

    def path(self, run: str) -> Path:
        """Where the copy of a run is. Raises StenoError."""
        return self._one(run).opened().dir

    def _one(self, run: str) -> AfarSummary:
        found = self._runs().get(run)
        if found is None:
            msg = f"the store has no run {run!r}: it was removed or renamed; load the list again"
            raise RunNotFoundError(msg)
        return found

    def _files(self, run: str, path: Path) -> FilesRun:
        del path
        return FilesRun(self._one(run).opened(), self._engine)

    def have(self, run: str, name: str) -> None:
        """Have a media file of the run in its copy. Raises FileNotFoundError."""
        self._one(run).opened().have(name)

    def listed(self) -> RunList:
        """The runs that are known, archived ones too."""
        self._runs()
        return RunList(newest(self._afar, archived=True))

    def standing(self) -> dict[str, Any] | None:
        """When the store was last seen, and why not since."""
        seen = self._afar.seen
        return {"seen": None if seen is None else answers.moment(int(seen * 1e9)), "problem": self._afar.problem}
