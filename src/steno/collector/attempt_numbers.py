"""The number of an attempt in a run that hosts share: the store tells it, and that is waited for a little while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from steno import files, runfile
from steno.collector.uploads import attempts
from steno.collector.uploads.files import STORE
from steno.destinations import asked

if TYPE_CHECKING:
    import sqlite3
    import threading
    from pathlib import Path

WAIT_SECS: Final = 10.0
"""For a store that does not answer; then rows keep the number that their process has."""


class AttemptNumbers:
    """By the number of an attempt that a process began with, the one of its rows. For the posting thread.

    A host that comes to a run of others begins at once, with a number of its own. What it has recorded stays in its
    journals until it is known which attempt of the run that is; rows of an attempt all have one number.

    Args:
        run_dir: the run's directory.
        node_dir: of this collector's node.
        connection: to its ledger.
        lock: held while that is used.
    """

    def __init__(self, run_dir: Path, node_dir: Path, connection: sqlite3.Connection, lock: threading.RLock) -> None:
        self._run_dir = run_dir
        self._node_dir = node_dir
        self._connection = connection
        self._lock = lock
        self._resolved: dict[int, int] = {}
        self._since: dict[int, float] = {}

    def is_awaited(self, number: int, now: float) -> bool:
        """Whether nothing is to be posted yet of an attempt that processes have started."""
        if number in self._resolved or not number:
            return False
        known = attempts.known(self._run_dir, self._node_dir)
        if number in known or number in known.values() or not self._meets() or self._is_recorded(number):
            return False
        return now - self._since.setdefault(number, now) < WAIT_SECS

    def of(self, number: int) -> int:
        """The number of the rows of an attempt, from now on the same."""
        if number not in self._resolved:
            found = attempts.known(self._run_dir, self._node_dir).get(number, number)
            # A lower one would be hidden by what a rewind of this disk hides.
            if found <= number or self._is_recorded(number):
                found = number
            else:
                self._write_down(number, found)
            self._resolved[number] = found
        return self._resolved[number]

    def _meets(self) -> bool:
        """Whether other hosts may be in the run."""
        return STORE in asked.stores(self._run_dir) and bool(runfile.read(self._run_dir)[0].get("family"))

    def _is_recorded(self, number: int) -> bool:
        with self._lock:
            found = self._connection.execute("select 1 from streams where attempt=? limit 1", (number,)).fetchone()
        return found is not None

    def _write_down(self, number: int, found: int) -> None:
        """Have the attempt among those of this disk, as the process described it that began it."""
        place = self._run_dir / ".steno" / "attempts"
        facts = files.read_json(place / f"{number:04d}.json")
        files.create_json(place / f"{found:04d}.json", {**facts, "attempt": found}, sync=True)
