"""The thread that looks after a journal, off the caller's; it ends before a fork and comes back."""

from __future__ import annotations

import _thread
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Keeper:
    """Calls `work` again and again until it is stopped: when nudged, and after the seconds that it returned.

    `nudge` may be called anywhere, in signal handlers too; it never waits.

    Args:
        work: one round; must not raise.
        report: called with (key, message) when no thread can be started.
    """

    def __init__(self, work: Callable[[], float], report: Callable[[str, str], None]) -> None:
        self._work = work
        self._report = report
        self._wake = _thread.allocate_lock()
        self._thread: threading.Thread | None = None
        self.is_ending = False
        """Whether `work` is to return soon: the thread is stopped, or a fork waits for it."""
        self._stopped = False

    def start(self) -> None:
        """Start the thread, unless it runs or was stopped."""
        if self._thread is not None or self._stopped:
            return
        self.is_ending = False
        self._thread = thread = threading.Thread(target=self._run, name="steno-keeper", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # No more threads, or the interpreter is going down: whoever logs makes the segments himself.
            self._thread = None
            self._report("keeper", f"no thread could be started ({error}): recording goes on, slower at times")

    def nudge(self) -> None:
        """Have the next round now."""
        # A raw lock used as a flag: release never waits and cannot deadlock in a signal handler.
        try:
            self._wake.release()
        except RuntimeError:
            pass

    @property
    def is_here(self) -> bool:
        """Whether the caller is the thread."""
        return self._thread is threading.current_thread()

    def pause(self, deadline: float) -> None:
        """End the thread until `start`, if that is done by the deadline (monotonic secs): a fork warns of threads."""
        thread = self._thread
        if thread is None or self.is_here:
            return
        self.is_ending = True
        self.nudge()
        thread.join(max(deadline - time.monotonic(), 0.0))
        if thread.is_alive():
            self.is_ending = self._stopped  # it is in the middle of something: it goes on
            return
        self._thread = None
        while _is_thread(thread.native_id) and time.monotonic() < deadline:
            time.sleep(0.0002)  # it has left Python, and not yet the kernel, where the threads are counted

    def stop(self) -> None:
        """No further round; does not wait."""
        self._stopped = self.is_ending = True
        self.nudge()

    def join(self, seconds: float) -> bool:
        """Wait for the end of the thread; whether it has ended, or is the caller."""
        thread = self._thread
        if thread is None or self.is_here:
            return True
        thread.join(seconds)
        return not thread.is_alive()

    def _run(self) -> None:
        while not self.is_ending:
            seconds = self._work()
            if not self.is_ending:
                self._wake.acquire(timeout=seconds)


def _is_thread(number: int | None) -> bool:
    return number is not None and os.path.exists(f"/proc/self/task/{number}")
