"""Runs one destination inside the user's process: a thread that reads this process's own journal."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from steno.capture.inprocess.numbering import Numbering
from steno.capture.report import told
from steno.errors import CorruptError, Skip, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from steno.capture.recorder import Recorder
    from steno.destinations.base import Destination
    from steno.journal.segment import Segment
    from steno.journal.tailer import Tailer
    from steno.record import Batch, RunInfo

BOUND_BYTES: Final = 64 << 20
"""Segments kept for a destination that is behind; beyond them its oldest records are skipped, counted."""
_READ_BYTES: Final = 1 << 20
_EXACT_BYTES: Final = 1 << 16
"""Read at once for a destination that is told each call: what has been read no longer counts as skipped."""
_TRIES: Final = 10
_FIRST_WAIT_SECS: Final = 0.05
_LAST_WAIT_SECS: Final = 5.0


class Feed:
    """Feeds one destination object with this process's records as they were at the call.

    The caller pays nothing per record: the worker reads the segments that `log` has written anyway. Records
    beyond BOUND_BYTES behind are skipped for this destination and counted; the ledger has them. Record
    numbers and automatic steps are this process's own, counted from 1 and from 0.

    Args:
        recorder: whose journal to read.
        destination: any object with the four methods.
        run: handed to `destination.open`.
        name: how it is called in messages and health.
        report: told (key, message) once.
        poll_secs: how often the journal is looked at.
        exact: the destination is told each call: records say what was logged besides their points.
        first: whether it ends before the others, which are still handed what it logs at its end.
        settle: told, when nothing is to be read now, whether somebody waits for all that was written.
    """

    def __init__(
        self,
        recorder: Recorder,
        destination: Destination,
        run: RunInfo,
        *,
        name: str,
        report: Callable[[str, str], None],
        poll_secs: float = 0.1,
        exact: bool = False,
        first: bool = False,
        settle: Callable[[bool], None] | None = None,
    ) -> None:
        self.name = name
        self._recorder = recorder
        self._destination = destination
        self._run = run
        self._report = report
        self._poll_secs = poll_secs
        self._exact = exact
        self.first = first
        self._settle = settle
        self._queue: deque[tuple[int, Path, int, bool]] = deque()
        self._queued_bytes = 0
        self._wake = threading.Event()
        self._closing = False
        self._deadline = float("inf")
        self._done = threading.Event()
        self._asked = self._answered = 0
        """How often somebody waited in `drain`, and how many of them have their answer."""
        self._idle = threading.Event()
        self._tailer: Tailer | None = None
        self._gap = False
        self._numbering = Numbering()
        self.delivered = 0
        self.skipped = 0
        self.retries = 0
        self.errors = 0
        self.last_error = ""
        self._thread = threading.Thread(target=self._work, name=f"steno-feed-{name}", daemon=True)

    def start(self) -> None:
        """Begin with the segment that is being written now."""
        current = self._recorder.appender.current
        if current is not None:
            self._taken(current)
        self._recorder.feeds.append(self._taken)
        self._thread.start()

    def _taken(self, segment: Segment) -> None:
        """A segment has been taken into use; called at a roll, on the thread that logs."""
        if self._done.is_set():
            return
        try:
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        gap = False
        while self._queue and self._queued_bytes + segment.size > BOUND_BYTES:
            try:
                old, _, size, _ = self._queue.popleft()
            except IndexError:
                break
            os.close(old)
            self._queued_bytes -= size
            gap = True
        self._queue.append((fd, segment.path, segment.size, gap))
        self._queued_bytes += segment.size

    # -- the worker ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._destination.open(self._run)
        except BaseException as error:
            self._halt(f"could not be opened: {told(error)}")
            return
        try:
            while True:
                # Asked before looking: what was logged before `drain` or `close` is seen by this look.
                asked, closing = self._asked, self._closing
                if self._step():
                    continue
                if self._settle is not None:
                    self._settle(closing or asked != self._answered)
                self._answered = asked
                self._idle.set()
                if closing:
                    break
                self._wake.wait(self._poll_secs)
                self._wake.clear()
            self._destination.flush()
            while self._step():  # flushing may log
                pass
        except Stop as error:
            self._halt(f"stopped: {error}")
        except BaseException as error:
            self._halt(f"failed: {told(error)}")
        finally:
            try:
                self._destination.close()
            except BaseException as error:
                self.failed(error)
            if self._tailer is not None:
                self._tailer.close()
                self._tailer = None
            self._done.set()
            self._idle.set()

    def _step(self) -> bool:
        """Deliver what the journal has now; False when there is nothing."""
        from steno.journal.tailer import Tailer

        if self._tailer is None:
            try:
                fd, path, size, gap = self._queue.popleft()
            except IndexError:
                return False
            self._queued_bytes -= size
            self._gap = self._gap or gap
            try:
                self._tailer = Tailer(path, fd=fd, writable=False, exact=self._exact)
            except (OSError, CorruptError) as error:
                self.failed(error)
                return True
        closed = self._tailer.closed
        part = self._tailer.read(_EXACT_BYTES if self._exact else _READ_BYTES)
        if part is None:
            # Whether it was closed was asked first: what is written before closing is read by now.
            if closed and self._tailer.drained:
                self._tailer.close()
                self._tailer = None
                return bool(self._queue)
            return False
        missing = self._numbering.missing(part)
        if self._gap:
            # Numbers burnt by a value that could not be encoded are among them: an upper bound.
            self.skipped += missing
            self._gap = False
        batch = self._numbering.batch(part, self._tailer.identity)
        if len(batch) or batch.entries:
            self._deliver(self._select(batch))
        return True

    def _select(self, batch: Batch) -> Batch:
        from dataclasses import replace

        import numpy as np

        kinds = getattr(self._destination, "kinds", frozenset({"points"}))
        entries = tuple(entry for entry in batch.entries if entry.kind in kinds)
        if "points" in kinds:
            return replace(batch, entries=entries)
        none = np.zeros(0, np.int64)
        few = none.astype(np.int32)
        return replace(
            batch, record=none, time=none, step=none, rank=few, attempt=few, set=few, sets=(),
            value=np.zeros(0), special={}, entries=entries, meta={},
        )  # fmt: skip

    def _deliver(self, batch: Batch) -> None:
        if not (len(batch) or batch.entries):
            return
        wait = _FIRST_WAIT_SECS
        for attempt in range(_TRIES):
            try:
                self._destination.write(batch)
            except Skip as skip:
                self.skipped += len(skip.records) or len(batch)
                return
            except Stop:
                raise
            except BaseException as error:
                self.failed(error)
                self.retries += 1
                if time.monotonic() + wait >= self._deadline or attempt == _TRIES - 1:
                    break
                time.sleep(wait)
                wait = min(wait * 2, _LAST_WAIT_SECS)
            else:
                if not self._exact:  # else each call was counted
                    self.delivered += len(batch) + len(batch.entries)
                return
        self.skipped += len(batch)

    def failed(self, error: BaseException, what: str = "") -> None:
        """Count an error of the destination's, and say the first one."""
        self.errors += 1
        if not self.last_error:
            said = what or told(error)
            self._report(self.name, f"destination {self.name}: {said}; training is not affected, more are only counted")
        self.last_error = told(error)

    def _halt(self, why: str) -> None:
        self.last_error = why
        self._report(self.name, f"destination {self.name} {why}; the other destinations go on")
        self._done.set()
        self._idle.set()

    # -- the ends -------------------------------------------------------------------------------------------

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until what was logged before the call is delivered; False when it was not in time.

        At once when the destination itself asks: it cannot wait for its own end.
        """
        if threading.current_thread() is self._thread:
            return False
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        self._asked = mine = self._asked + 1
        self._wake.set()
        while not self._done.is_set() and self._answered < mine:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            # In slices: another thread that drains may have cleared it between our two looks.
            self._idle.wait(min(left, self._poll_secs))
            self._idle.clear()
        return self._answered >= mine or not self.last_error

    @property
    def over(self) -> bool:
        """Whether it has ended: it takes nothing more."""
        return self._done.is_set()

    @property
    def ending(self) -> bool:
        """Whether it was asked to end before."""
        return self._closing

    def end(self, timeout: float) -> None:
        """Ask for the end, within so many seconds, without waiting for it."""
        self._deadline = time.monotonic() + timeout
        self._closing = True
        self._wake.set()

    def close(self, timeout: float = 2.0) -> bool:
        """Deliver the rest for at most `timeout` seconds and end; False: something is left behind."""
        self.end(timeout)
        if not self._thread.is_alive() and not self._done.is_set():
            return True
        return threading.current_thread() is not self._thread and self._done.wait(timeout)

    def health(self) -> dict[str, Any]:
        """Delivered, skipped, retried, errors, last error."""
        return {
            "delivered": self.delivered,
            "skipped": self.skipped,
            "retries": self.retries,
            "errors": self.errors,
            "last_error": self.last_error,
        }


def close_all(feeds: Sequence[Feed], deadline: float, least_secs: float) -> bool:
    """End them together, by the deadline (monotonic seconds) but with `least_secs` for those that need a moment.

    Returns:
        False: some have not ended.
    """
    ends = [feed for feed in feeds if feed.first], [feed for feed in feeds if not feed.first]
    done = True
    for group, share in zip(ends, (2, 1), strict=True):
        # One that hangs has had its time in `drain`; it must not use up the time of those that end after it.
        until = time.monotonic() + max((deadline - time.monotonic()) / share, least_secs)
        waited = [feed for feed in group if feed.ending]
        for feed in group:
            feed.end(until - time.monotonic())
        for feed in group:
            done = feed.close(0.0 if feed in waited else max(until - time.monotonic(), 0.0)) and done
    return done
