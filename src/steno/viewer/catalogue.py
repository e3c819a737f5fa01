"""Which runs are shown: those below one directory, each by its id; nothing else is ever opened."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from steno.errors import RunNotFoundError
from steno.store import stamps
from steno.store.engine import Engine
from steno.store.files_run import FilesRun
from steno.store.listing import RunList, runs
from steno.store.reader import RunReader
from steno.store.runs import run_dirs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from steno.store.run_summary import RunSummary

_FRESH_SECS: Final = 0.5
"""A list that is so old is given again: a page that loads asks for it several times."""
_READERS: Final = 64


class Catalogue:
    """The runs below a directory. Thread-safe.

    A run's id is its path below that directory, with "/" between the parts. An id that is not among those found there
    is no run's, whatever lies at the place: an id never becomes a path by itself.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._paths: dict[str, Path] = {}
        self._looked = -1e9
        self._engine = Engine()
        self._readers: dict[str, RunReader] = {}

    def id_of(self, path: Path) -> str:
        """The id of a run that was found here."""
        return os.path.relpath(path, self.root).replace(os.sep, "/")

    def ids(self) -> dict[str, Path]:
        """Every run that is here now, by id."""
        with self._lock:
            if time.monotonic() - self._looked > _FRESH_SECS:
                self._paths = {self.id_of(path): path for path in run_dirs(self.root)}
                self._looked = time.monotonic()
            return self._paths

    def path(self, run: str) -> Path:
        """Where a run is.

        Raises:
            RunNotFoundError: no run here has that id.
        """
        with self._lock:
            known = self._paths.get(run)
        found = known if known is not None and known.is_dir() else self.ids().get(run)
        if found is None:
            msg = f"the directory has no run {run!r}: it was removed or renamed; load the list again"
            raise RunNotFoundError(msg)
        return found

    def sources(self, asked: Iterable[str]) -> Iterator[tuple[str, Path | RunSummary | RunNotFoundError]]:
        """By id, each run as `steno.bins` takes it, or why there is none."""
        for run in asked:
            try:
                yield run, self.source(run)
            except RunNotFoundError as error:
                yield run, error

    def reader(self, run: str) -> RunReader:
        """A reader of the run, kept for the next request; threads share it.

        Raises:
            RunNotFoundError: no run here has that id.
            CorruptError: something in its machinery is a link, or no file.
        """
        path = self.path(run)
        with self._lock:
            found = self._readers.pop(run, None)
        if found is None or found.dir != path:
            found = RunReader(self._files(run, path))
        with self._lock:
            self._readers[run] = found  # the youngest is last
            while len(self._readers) > _READERS:
                self._readers.pop(next(iter(self._readers)))
        return found

    def _files(self, run: str, path: Path) -> FilesRun:
        del run
        return FilesRun(path, self._engine)

    def listed(self) -> RunList:
        """The runs as `steno.runs` lists them, archived ones too."""
        return runs(self.root, archived=True)

    def source(self, run: str) -> Path | RunSummary:
        """The run as `steno.bins` takes it. Raises RunNotFoundError."""
        return self.path(run)

    def stamp(self, run: str, path: Path) -> object:
        """What changes when a run that goes on does."""
        del run
        return stamps.of_live(path)

    def have(self, run: str, name: str) -> None:
        """Have a media file of the run in its directory, if there is one."""

    def standing(self) -> dict[str, Any] | None:
        """Of runs elsewhere, when they were last seen and why not since; None: they are on this machine."""
        return None

    def close(self) -> None:
        """Look no more."""
