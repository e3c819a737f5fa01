"""What is known of the runs below a directory, kept in the user's cache directory from one call to the next."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from steno.store import cache, cards, stamps
from steno.store.run_summary import RunSummary

FORMAT: Final = 2
_FIELDS: Final = tuple(RunSummary.__dataclass_fields__)


class _Entry(msgspec.Struct, array_like=True):
    stamps: list[tuple[str, int, int, int]]
    started: int | None
    archived: bool
    data: bytes
    """The fields of a `RunSummary` but its path, as msgpack."""


class _Index(msgspec.Struct):
    format: int
    place: str
    runs: dict[str, _Entry]
    """By the path below `place`."""


class IndexedRun:
    """A run as the index has it, or as it was read just now; its summary is made when it is asked for."""

    __slots__ = ("_entry", "_summary", "archived", "path", "started")

    def __init__(self, path: str, entry: _Entry | None = None, summary: RunSummary | None = None) -> None:
        self.path = path
        self._entry = entry
        self._summary = summary
        known: Any = summary if entry is None else entry
        self.started: int | None = known.started
        self.archived: bool = known.archived

    @property
    def summary(self) -> RunSummary:
        """The run's line."""
        if self._summary is None:
            assert self._entry is not None
            fields = _DECODER.decode(self._entry.data)
            folder, _, name = self.path.rpartition(os.sep)
            fields["path"] = _parent(folder or os.sep) / name
            fields["tags"] = tuple(fields["tags"])
            self._summary = RunSummary(**fields)
        return self._summary


@functools.lru_cache(maxsize=64)
def _parent(folder: str) -> Path:
    """One for all runs in it: to take a path apart costs more than a look at a run."""
    return Path(folder)


_DECODER: Final = msgspec.msgpack.Decoder(dict[str, Any])


class Index:
    """Of one directory of runs. Runs that go on are read each time, and so is all where no cache can be had.

    Args:
        place: the directory.
    """

    def __init__(self, place: Path) -> None:
        self._place = os.path.realpath(place)
        self._name = f"runs-{hashlib.sha256(os.fsencode(self._place)).hexdigest()[:32]}"
        self._runs: dict[str, _Entry] | None = None
        self._is_changed = False

    def run(self, path: str, below: str) -> IndexedRun:
        """The run of that path, `below` the directory."""
        if self._runs is None:
            self._runs = self._load()
        entry = self._runs.get(below)
        if entry is not None and stamps.holds(path, entry.stamps):
            return IndexedRun(path, entry)
        found = cards.look(Path(path))
        if found.stamps is not None:
            self._is_changed = True
            self._runs[below] = _entry(found.summary, found.stamps)
        elif entry is not None:
            self._is_changed = True
            del self._runs[below]
        return IndexedRun(path, summary=found.summary)

    def keep(self, below: set[str] | None = None) -> None:
        """Write down what is new.

        Args:
            below: the runs that there are, where all were looked for: others are forgotten.
        """
        if self._runs is None:
            return
        if below is not None and self._runs.keys() - below:
            self._is_changed = True
            self._runs = {name: entry for name, entry in self._runs.items() if name in below}
        if self._is_changed:
            cache.put(self._name, msgspec.msgpack.encode(_Index(FORMAT, self._place, self._runs)))
            self._is_changed = False

    def _load(self) -> dict[str, _Entry]:
        data = cache.get(self._name)
        if data is not None:
            try:
                found = msgspec.msgpack.decode(data, type=_Index)
            except (msgspec.DecodeError, RecursionError):
                return {}
            if (found.format, found.place) == (FORMAT, self._place):
                return found.runs
        return {}


def _entry(summary: RunSummary, marks: tuple[stamps.Stamp, ...]) -> _Entry:
    fields = {name: getattr(summary, name) for name in _FIELDS if name != "path"}
    return _Entry(list(marks), summary.started, summary.archived, msgspec.msgpack.encode(fields))
