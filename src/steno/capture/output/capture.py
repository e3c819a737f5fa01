"""Records what the program prints, within bounds."""

from __future__ import annotations

import codecs
import os
import sys
import threading
import time
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from steno.capture.output import observer as observers
from steno.capture.output.lines import Lines
from steno.record import OUTPUT
from steno.utf8 import escaped

if TYPE_CHECKING:
    from collections.abc import Callable

    from steno.capture.output.lines import OutputLine
    from steno.capture.output.observer import Listener, StreamObserver
    from steno.capture.recorder import Recorder

BURST_LINES: Final = 10_000
LINES_PER_SEC: Final = 200
BURST_BYTES: Final = 4 << 20
BYTES_PER_SEC: Final = 64 << 10
"""A program may print much in a burst, and so much all the time; what goes beyond is counted."""
_WAITING: Final = 2_000
_AT_ONCE: Final = 1_000
_PIECES: Final = 100
"""Pieces of a line that may wait for its newline."""
_STREAMS: Final = ("stdout", "stderr")


class Capture:
    """The lines of `sys.stdout` and `sys.stderr` as entries {"stream", "text"} of the run.

    Whoever prints never waits: of several threads one makes the entries, the others leave their text with it. A
    line is journalled when its newline is written, and then outlives the process; the beginning of a line is lost
    with it. A forked child goes on under a journal of its own, without what its parent had started. Nothing is
    raised, and what the recorder itself has to say here is a line like any other, not a recursion.

    Args:
        recorder: where lines go.
        which: "both", "stdout" or "stderr".
        report: called with (key, message) of a stream that cannot be observed.
        clock: seconds.
    """

    def __init__(
        self,
        recorder: Recorder,
        which: str,
        report: Callable[[str, str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._observers: list[tuple[StreamObserver, Listener]] = []
        self.begin_anew()
        observed: list[Any] = []
        for name in _STREAMS if which == "both" else (which,):
            stream = getattr(sys, name)
            if stream is None or any(stream is one for one in observed):
                continue
            observed.append(stream)
            listener = partial(self._take, name)
            try:
                self._observers.append((observers.listen(stream, listener), listener))
            except TypeError as error:
                report(f"capture {name}", f"what is printed to sys.{name} is not recorded: {error}")
        _live.add(self)

    def begin_anew(self) -> None:
        """Nothing is observed yet, as in a forked child."""
        self.lines = 0
        """Recorded by this process."""
        self.left_out = 0
        """Beyond the bounds."""
        self._queue: deque[tuple[str, str | bytes]] = deque()
        self._lock = threading.Lock()
        self._lines = {name: Lines() for name in _STREAMS}
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in _STREAMS}
        self._missing = dict.fromkeys(_STREAMS, 0)
        self._lines_left, self._bytes_left, self._counted = float(BURST_LINES), float(BURST_BYTES), self._clock()

    def _take(self, name: str, what: str | bytes) -> None:
        queue = self._queue
        if len(queue) >= _WAITING:
            self._omit(name, what.count("\n") if isinstance(what, str) else what.count(b"\n"))
            return
        queue.append((name, what))
        if isinstance(what, str) and "\n" not in what and len(queue) < _PIECES:
            return
        # Held by another thread, or by this one below us (a signal's handler, a report): the holder takes it along.
        while queue and self._lock.acquire(blocking=False):
            try:
                for _ in range(_AT_ONCE):
                    self._put(*self._next())
            except IndexError:
                continue
            finally:
                self._lock.release()
            break

    def _next(self) -> tuple[str, str | bytes]:
        """The next piece of text; pieces of one line, as `print` writes them, together."""
        queue = self._queue
        name, what = queue.popleft()
        while queue and isinstance(what, str) and queue[0][0] is name and isinstance(queue[0][1], str):
            if what.endswith("\n"):
                break
            what += queue.popleft()[1]  # type: ignore[operator]
        return name, what

    def _put(self, name: str, what: str | bytes) -> None:
        text = what if isinstance(what, str) else self._decoders[name].decode(what)
        for line in self._lines[name].feed(text):
            self._record(name, line)

    def _record(self, name: str, line: OutputLine) -> None:
        if self._recorder.sealed:
            return
        now = self._clock()
        passed, self._counted = now - self._counted, now
        self._lines_left = min(self._lines_left + passed * LINES_PER_SEC, BURST_LINES)
        self._bytes_left = min(self._bytes_left + passed * BYTES_PER_SEC, BURST_BYTES)
        if self._lines_left < 1 or self._bytes_left < len(line.text):
            self._omit(name, 1)
            return
        self._lines_left -= 1
        self._bytes_left -= len(line.text)
        self._enter(name, {"text": line.text, **({"cut": line.cut} if line.cut else {})})

    def _omit(self, name: str, count: int) -> None:
        self.left_out += count
        self._missing[name] += count

    def _enter(self, name: str, payload: dict[str, Any]) -> None:
        missing, self._missing[name] = self._missing[name], 0
        if missing:
            payload["left_out"] = missing
        if "text" in payload:
            payload["text"] = escaped(payload["text"])
        self._recorder.entry(OUTPUT, {"stream": name, **payload})
        self.lines += "text" in payload

    def close(self) -> None:
        """Give the streams back, and record lines that have no end yet. Safe to call twice."""
        _live.discard(self)
        while self._observers:
            observers.leave(*self._observers.pop())
        # A thread that is putting lines is done in a moment; one that was killed in it must not hold up the end.
        if not self._lock.acquire(timeout=1.0):
            return
        try:
            while self._queue:
                self._put(*self._next())
            for name, lines in self._lines.items():
                for line in lines.rest():
                    self._record(name, line)
                if self._missing[name] and not self._recorder.sealed:
                    self._enter(name, {})
        finally:
            self._lock.release()

    def health(self) -> dict[str, int]:
        """Lines recorded and left out by this process."""
        return {"lines": self.lines, "left_out": self.left_out}


_live: weakref.WeakSet[Capture] = weakref.WeakSet()


def _forked() -> None:
    observers.after_fork()
    for capture in list(_live):
        capture.begin_anew()


os.register_at_fork(after_in_child=_forked)
