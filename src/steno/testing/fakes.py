"""Destinations that remember, fail, dawdle or hang."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from steno.record import ARTIFACT, CONFIG, EVENT, FINISH, NOTE, OUTPUT, START, SUMMARY, TASK

if TYPE_CHECKING:
    from steno.record import Batch, Entry, Record, RunInfo

EVERY_KIND = frozenset({"points", START, FINISH, CONFIG, SUMMARY, EVENT, TASK, ARTIFACT, OUTPUT, NOTE})


class MemoryDestination:
    """Keeps every batch it is given. Read it from any thread; all is lost if the process dies."""

    name = "memory"
    kinds = EVERY_KIND

    def __init__(self) -> None:
        self.run: RunInfo | None = None
        self.batches: list[Batch] = []
        self.flushes = 0
        self.closed = False

    def open(self, run: RunInfo) -> None:
        """Begin; what was kept before stays, and `run` is looked at by nobody."""
        self.run, self.closed = run, False

    def write(self, batch: Batch) -> None:
        """Keep the batch."""
        self.batches.append(batch)

    def flush(self) -> None:
        """Count the call."""
        self.flushes += 1

    def close(self) -> None:
        """End; what was kept stays."""
        self.closed = True

    def records(self) -> list[Record]:
        """All records so far, in the order they came.

        Returns:
            The records; empty before the first batch.
        """
        return [record for batch in tuple(self.batches) for record in batch.records()]

    def entries(self) -> list[Entry]:
        """All entries so far, in the order they came.

        Returns:
            The entries; empty before the first batch.
        """
        return [entry for batch in tuple(self.batches) for entry in batch.entries]

    def series(self, key: str) -> list[tuple[int, object]]:
        """(step, value) of one key, in the order they came.

        Args:
            key: a key; one that has no points gives an empty list.

        Returns:
            The points, as (step, value).
        """
        return [(record.step, record.values[key]) for record in self.records() if key in record.values]


class FailingDestination:
    """Raises at `write`, a number of times or always, then keeps batches as `MemoryDestination` does.

    Args:
        error: what to raise, an exception or its class; `steno.Retry("…")`, `steno.Stop("…")`, any other.
        times: how often; None means always.
    """

    name = "failing"
    kinds = EVERY_KIND

    def __init__(self, error: BaseException | type[BaseException] = OSError, *, times: int | None = None) -> None:
        self.error = error
        self.times = times
        self.raised = 0
        self.kept = MemoryDestination()

    def open(self, run: RunInfo) -> None:
        """Begin; `run` is not looked at."""
        self.kept.open(run)

    def write(self, batch: Batch) -> None:
        """Raise, or keep the batch once the failures are used up.

        Raises:
            Exception: the `error` that the constructor was given.
        """
        if self.times is None or self.raised < self.times:
            self.raised += 1
            raise self.error
        self.kept.write(batch)

    def flush(self) -> None:
        """Nothing."""
        self.kept.flush()

    def close(self) -> None:
        """End."""
        self.kept.close()


class SlowDestination:
    """Keeps batches as `MemoryDestination` does, each after a wait.

    Args:
        delay_secs: how long each `write` takes.
    """

    name = "slow"
    kinds = EVERY_KIND

    def __init__(self, delay_secs: float = 0.1) -> None:
        self.delay_secs = delay_secs
        self.kept = MemoryDestination()

    def open(self, run: RunInfo) -> None:
        """Begin; `run` is not looked at."""
        self.kept.open(run)

    def write(self, batch: Batch) -> None:
        """Wait, then keep the batch."""
        time.sleep(self.delay_secs)
        self.kept.write(batch)

    def flush(self) -> None:
        """Nothing."""
        self.kept.flush()

    def close(self) -> None:
        """End."""
        self.kept.close()


class HangingDestination:
    """Never comes back from `write` until `release` is called, from another thread."""

    name = "hanging"
    kinds = EVERY_KIND

    def __init__(self) -> None:
        self.entered = threading.Event()
        """Set as soon as a `write` hangs."""
        self.kept = MemoryDestination()
        self._released = threading.Event()

    def open(self, run: RunInfo) -> None:
        """Begin; `run` is not looked at."""
        self.kept.open(run)

    def write(self, batch: Batch) -> None:
        """Hang, then keep the batch."""
        self.entered.set()
        self._released.wait()
        self.kept.write(batch)

    def release(self) -> None:
        """Let the hanging `write` and all later ones go on."""
        self._released.set()

    def flush(self) -> None:
        """Nothing."""
        self.kept.flush()

    def close(self) -> None:
        """End."""
        self.kept.close()
