"""Sealing in the background, whenever enough has gathered."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from steno.ledger.seal import PART_POINTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from steno.ledger.seal import Sealer
    from steno.record import Batch

_NAMES = 100_000
_ENTRIES = 50_000
_BATCHES = 10_000
_AGAIN_SECS = 15.0


class Sealing:
    """Runs the sealer on a thread of its own, one part at a time, so that posting goes on meanwhile."""

    def __init__(self, sealer: Sealer, say: Callable[[str, str], None]) -> None:
        self.sealer = sealer
        self.error: str | None = None
        self.part_points = PART_POINTS
        self._say = say
        self._thread: threading.Thread | None = None
        self._damage: BaseException | None = None
        self._not_before = 0.0
        self.names = 0
        self._sets_before: frozenset[tuple[str, ...]] = frozenset()
        self.points, self.entries, self.batches = sealer.unsealed()

    def added(self, batch: Batch) -> None:
        """A batch was posted."""
        self.points += len(batch.value)
        self.entries += len(batch.entries)
        before, self._sets_before = self._sets_before, frozenset(batch.sets)
        self.names += sum(map(len, self._sets_before - before))
        self.batches += 1

    def check(self) -> bool:
        """Begin sealing when it is due; whether one has just ended. Raises what a seal on the thread found damaged."""
        if self._damage is not None:
            raise self._damage
        ended = self._thread is not None
        if self._thread is not None:
            if self._thread.is_alive():
                return False
            self._thread = None
            self.points, self.entries, self.batches = self.sealer.unsealed()
            self.names = 0
        due = (
            self.points >= self.part_points
            or self.entries >= _ENTRIES
            or self.batches >= _BATCHES
            or self.names >= _NAMES
        )
        if due and self.sealer.can_seal and time.monotonic() >= self._not_before:
            self._thread = threading.Thread(target=self._seal, name="steno-seal", daemon=True)
            self._thread.start()
        return ended

    def _seal(self) -> None:
        import sqlite3

        try:
            self.sealer.seal(self.part_points)
            self.error = None
        except (OSError, sqlite3.OperationalError) as error:
            # A full disk: everything stays in the ledger, and is tried again.
            self.error = f"sealing failed: {error}"
            self._not_before = time.monotonic() + _AGAIN_SECS
            self._say("sealing", self.error)
        except BaseException as error:
            self._damage = error

    def join(self) -> None:
        """Wait for a part being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._damage is not None:
            raise self._damage

    def abandon(self) -> None:
        """Wait for a part being written, whatever came of it."""
        if self._thread is not None:
            self._thread.join(30)
