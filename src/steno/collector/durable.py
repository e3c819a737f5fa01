"""Syncing the ledger once a second, off the posting thread."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

from steno import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SYNC_SECS = 1.0
_WAL_BYTES = 32 << 20


class Syncer:
    """Makes postings outlive the machine's power. `synced` is the newest generation that does.

    Args:
        ledger: the ledger's path.
        generation: postings committed so far.
        first: has the disk hold the files that these postings name. Raises OSError.
        say: tells a person, once per key.

    """

    def __init__(
        self, ledger: Path, generation: Callable[[], int], first: Callable[[], None], say: Callable[[str, str], None]
    ) -> None:
        self.synced = -1
        self.error: str | None = None
        self._ledger = ledger
        self._generation = generation
        self._first = first
        self._say = say
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._work, name="steno-sync", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _work(self) -> None:
        while True:
            left = self._leave.wait(SYNC_SECS if self.synced >= 0 else 0.05)
            self.sync()
            if left:
                return

    def sync(self) -> None:
        """Sync what is committed now."""
        generation = self._generation()
        if generation == self.synced:
            return
        wal = f"{self._ledger}-wal"
        try:
            self._first()
            # Only the -wal may be opened besides SQLite: closing the ledger itself would drop SQLite's locks.
            if files.sync_data(wal) > _WAL_BYTES:
                self._checkpoint()
            self.synced, self.error = generation, None
        except (OSError, sqlite3.Error) as error:
            self.error = f"syncing the ledger failed: {error}"
            self._say("sync", self.error)

    def _checkpoint(self) -> None:
        connection = sqlite3.connect(self._ledger, timeout=5, isolation_level=None)
        try:
            connection.execute("pragma synchronous=normal")
            connection.execute("pragma wal_checkpoint(passive)").fetchall()
        finally:
            connection.close()

    def close(self) -> None:
        """Sync once more and end."""
        self._leave.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    def abandon(self) -> None:
        """End without waiting for a slow disk."""
        self._leave.set()
        if self._thread.ident is not None:
            self._thread.join(1)
