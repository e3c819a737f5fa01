"""One destination object in the user's process: this process's own journal, read back as batches for it."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from steno.capture.inprocess.numbering import Numbering
from steno.delivery.courier import Courier
from steno.errors import CorruptError, safe_repr

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
"""Read in one go for a destination that gets each call: what has been read no longer counts as skipped."""
FIRST_WAIT_SECS: Final = 0.05
LAST_WAIT_SECS: Final = 2.0
_FLUSH_SECS: Final = 1.0
_CLOSE_SECS: Final = 0.1
_SLICE_SECS: Final = 0.02


class Feed:
    """A courier for one destination object, whose batches are this process's records as they were at the call.

    The caller pays nothing per record: the worker reads the segments that `log` has written anyway. Records
    beyond BOUND_BYTES behind are skipped for this destination and counted; the ledger has them. Record
    numbers and automatic steps are this process's own, counted from 1 and from 0.

    Args:
        recorder: whose journal to read.
        destination: any object with the four methods.
        run: handed to `destination.open`.
        name: how it is called in messages and health.
        report: called with (key, message) once.
        poll_secs: how often the journal is looked at.
        exact: the destination gets each call: records say what was logged besides their points.
        first: whether it ends before the others, which are still handed what it logs at its end.
        idle: as a `Courier`'s.
        last: as a `Courier`'s.
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
        idle: Callable[[bool], None] = lambda _waited_for: None,
        last: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.first = first
        self.courier = Courier(
            name,
            lambda: destination,
            run,
            fetch=self._fetch,
            newest=self._newest,
            save=lambda _: None,  # with the process, its object is gone too
            overrun=self._overrun,
            say=lambda key, message: report(key, f"destination {message}; training is not affected"),
            first_wait_secs=FIRST_WAIT_SECS,
            last_wait_secs=LAST_WAIT_SECS,
            poll_secs=poll_secs,
            flush_secs=_FLUSH_SECS,
            idle=idle,
            last=last,
            gone=self._let_go,
        )
        self._recorder = recorder
        self._exact = exact
        self._queue: deque[tuple[int | None, Path, int]] = deque()
        # Each counted by one thread alone: the difference is what is kept.
        self._kept_bytes = self._done_bytes = 0
        self._dropped = self._passed = self._overran = 0
        """Segments dropped, and how many there were at the last look for a gap, and at the last question for more."""
        self._closed = False
        self._tailer: Tailer | None = None
        self._size = 0
        self._gap = False
        self._numbering = Numbering()
        self._number = 0
        self._looked_at = -1
        """The newest record when a look found nothing more."""

    def start(self) -> None:
        """Begin with the segment that is being written now."""
        current = self._recorder.appender.current
        if current is not None:
            self._taken(current)
        self._recorder.feeds.append(self._taken)
        self.courier.start()

    def _taken(self, segment: Segment) -> None:
        """A segment has been taken into use; called at a roll, on the thread that logs."""
        if self._closed:
            return
        fd: int | None = None
        with contextlib.suppress(OSError):  # none is left: it is opened when it is read, if it is there then
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        while self._queue and self._kept_bytes - self._done_bytes + segment.size > BOUND_BYTES:
            self._dropped += 1  # first: who takes the next one now knows that there is a gap before it
            try:
                old, _, size = self._queue.popleft()
            except IndexError:
                break
            _close(old)
            self._kept_bytes -= size
        self._queue.append((fd, segment.path, segment.size))
        self._kept_bytes += segment.size

    # -- on the courier's thread ----------------------------------------------------------------

    def _fetch(self, number: int) -> Batch | None:
        """What the journal has now."""
        newest = self._recorder.newest
        while self._tailer is not None or self._next_segment():
            assert self._tailer is not None
            closed = self._tailer.closed
            part = self._tailer.read(_EXACT_BYTES if self._exact else _READ_BYTES)
            if part is not None:
                missing = self._numbering.missing(part)
                if self._gap:
                    # Numbers burnt by a value that could not be encoded are among them: an upper bound.
                    self._gap = False
                    self.courier.skip(missing, f"it is more than {BOUND_BYTES >> 20} MiB behind; the run has them all")
                self._number = number
                return replace(self._numbering.batch(part, self._tailer.identity), id=number)
            # Whether it was closed was asked first: what is written before closing is read by now.
            if not (closed and self._tailer.drained):
                break
            self._leave_segment()
        self._looked_at = newest
        return None

    def _newest(self) -> tuple[int, int]:
        """The batch that is to come counts too, once there is something for it."""
        newest = self._recorder.newest
        return self._number + (newest > self._looked_at), newest

    def _overrun(self) -> bool:
        """Whether more was dropped since the last time."""
        before, self._overran = self._overran, self._dropped
        return before != self._overran

    def _let_go(self) -> None:
        """Let go of the journal."""
        self._closed = True
        self._leave_segment()
        while self._queue:
            try:
                _close(self._queue.popleft()[0])
            except IndexError:
                break

    def _next_segment(self) -> bool:
        from steno.journal.tailer import Tailer

        while True:
            try:
                fd, path, self._size = self._queue.popleft()
            except IndexError:
                return False
            before, self._passed = self._passed, self._dropped
            self._gap = self._gap or before != self._passed
            try:
                self._tailer = Tailer(path, fd=fd, writable=False, exact=self._exact)
            except (OSError, CorruptError) as error:
                self._leave_segment()
                self._gap = True
                self.courier.failed_call(error, f"a segment could not be read: {safe_repr(error)}")
            else:
                return True

    def _leave_segment(self) -> None:
        if self._tailer is not None:
            self._tailer.close()
            self._tailer = None
        self._done_bytes += self._size
        self._size = 0


def end_all(feeds: Sequence[Feed], deadline: float, patience_secs: float) -> bool:
    """End those that nobody has ended yet, waiting for each as long as it moves; whether all have taken everything.

    Args:
        feeds: those that end first are waited for before the others are ended, who take what is logged at their end.
        deadline: monotonic seconds; the last ones have `_CLOSE_SECS` even if it has come.
        patience_secs: one that does not move for so long, since the first was ended, has had its time.
    """
    left = [feed for feed in feeds if not feed.courier.ending]
    began = time.monotonic()
    for feed in left:
        feed.courier.hurry(min(deadline, began + patience_secs))
    for first in (True, False):
        group = [feed.courier for feed in left if feed.first is first]
        # One that hangs must leave the others time to close.
        least = time.monotonic() + _CLOSE_SECS
        latest = max(deadline - _CLOSE_SECS * first, least)
        seen = [(courier, courier.moves) for courier in group]
        for courier in group:
            courier.end(latest, began + patience_secs)
        for courier, moves in seen:
            moved = began
            while not courier.join(_SLICE_SECS):
                now = time.monotonic()
                if courier.moves != moves:
                    moves, moved = courier.moves, now
                    courier.end(latest, now + patience_secs)
                if now >= min(latest, max(moved + patience_secs, least)):
                    courier.leave()
                    break
    return all(feed.courier.complete for feed in feeds)


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)
