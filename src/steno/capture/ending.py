"""The end of a run in this process: what is waited for, in which order, and what is closed."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from steno.capture.collected import hurry, is_hopeless, lacking
from steno.capture.open_runs import RUNS
from steno.capture.start import uploading
from steno.capture.start.watchdog import is_running
from steno.record import FINISH

if TYPE_CHECKING:
    from steno.capture.artifacts.recording import Artifacts
    from steno.capture.report import Reporter
    from steno.capture.start.started import StartedRun
    from steno.capture.tasks.register import Register

END_SECS: Final = 2.0
_POSTING_SECS: Final = 0.5
_SLICE_SECS: Final = 0.1
_CLOSE_SECS: Final = 0.1
_POLL_SECS: Final = 0.01


class Ending:
    """Waits and ends for one run, as the user and the process's ends ask for. Thread-safe.

    Args:
        started: the run that was started.
        report: told (key, message) once per key.
    """

    def __init__(self, started: StartedRun, report: Reporter) -> None:
        self.run: Any = None
        self.started = started
        self.report = report
        self.tasks: Register | None = None
        """Set at the first `async_log`."""
        self.artifacts: Artifacts | None = None
        """Set at the first artifact."""
        self.owner = os.getpid()
        self.ended: bool | None = None
        """None while the run is open; then what `end` has returned, False while it is at work."""
        self.is_closed = False
        """Nothing more is taken; what runs in this process may still log while the end goes on."""
        self._one = threading.RLock()

    # -- waiting ----------------------------------------------------------------------------------------

    def posted(self, deadline: float) -> bool:
        """Wait for posting while there is somebody who posts."""
        started = self.started
        while True:
            left = deadline - time.monotonic() if started.watchdog.hopeful() else 0.0
            hurry(started.dir)
            if started.recorder.flush(max(0.0, min(left, _SLICE_SECS))):
                return True
            if left <= 0:
                return False

    def delivered(self, deadline: float) -> bool:
        """Wait for the destinations that a collector delivers to."""
        started = self.started
        while lacking(started.dir, started.recorder.last_record):
            if time.monotonic() >= deadline or not started.watchdog.hopeful():
                return False
            if is_hopeless(started.dir, started.recorder.last_record):
                # No retry will help: the exit need not wait for it.
                return False
            time.sleep(_POLL_SECS)
        return True

    # -- the end ------------------------------------------------------------------------------------------

    def end(self, state: str, why: tuple[str, str] | None = None, timeout: float | None = None) -> bool:
        """End the run; see `Run.finish`.

        Args:
            state: "finished" or "failed".
            why: the error in one line, and the traceback.
            timeout: seconds in all.

        Raises:
            RuntimeError: called by a task, which it would have to wait for.
        """
        if self.tasks is not None and self.tasks.calls():
            msg = "finish was called by an async_log task, which it would have to wait for: call it where init was"
            raise RuntimeError(msg)
        began = time.monotonic()
        if not self._one.acquire(timeout=-1 if timeout is None else max(timeout, 0.0)):
            return False
        try:
            if self.ended is not None:
                return self.ended
            done = self._awaited(None if timeout is None else began + max(timeout, 0.0))
            self.started.unhear()
            deadline = time.monotonic() + END_SECS if timeout is None else began + max(timeout, 0.0)
            if os.getpid() != self.owner:
                return self._end_child(deadline)
            # Set first, so that a signal in the middle does not begin again.
            self.ended = False
            try:
                # What dies with this process comes first: device values, posting, destinations that run in it. These
                # may log at their ends, which is posted too.
                stages = (
                    self._drained, lambda _: self._marked(state, why), self.posted, self._fed, self.posted,
                    self._stored, self.delivered,
                )  # fmt: skip
                for stage in stages:
                    done = stage(deadline) and done
            finally:
                self._close(deadline)
            done = self._uploaded(deadline) and done
            self.ended = done
            return done
        finally:
            self._one.release()

    def _awaited(self, deadline: float | None) -> bool:
        """The tasks' stage: all ended. Of a given time it leaves a part for what comes after."""
        if self.tasks is None:
            return True
        if deadline is None:
            return not self.tasks.close(None)
        left = max(0.0, deadline - time.monotonic())
        return not self.tasks.close(left - min(left / 4, _POSTING_SECS))

    def _end_child(self, deadline: float) -> bool:
        """A forked child ends its own journal; the run, its feeds and its collector are its parent's."""
        done = self.posted(deadline) and self._stored(deadline)
        self.ended = done
        self._close_artifacts()
        self.started.recorder.close()
        RUNS.leave(self)
        return done

    def _drained(self, deadline: float) -> bool:
        done = self.started.recorder.drain(deadline)
        optimization = sys.modules.get("steno.optimization")
        if optimization is not None:
            done = optimization.settle(deadline) and done
        return done

    def _fed(self, deadline: float) -> bool:
        done = True
        # One that hangs must leave the others time to close.
        until = deadline - 2 * _CLOSE_SECS
        for feed in self.started.feeds:
            done = feed.drain(max(0.0, until - time.monotonic())) and done
        return self._end_feeds(deadline) and done

    def _end_feeds(self, deadline: float) -> bool:
        if not self.started.feeds:
            return True
        from steno.capture.inprocess.feed import close_all

        return close_all(self.started.feeds, deadline, _CLOSE_SECS)

    def _marked(self, state: str, why: tuple[str, str] | None) -> bool:
        payload = {"state": state}
        if why is not None:
            payload["error"], payload["traceback"] = why
        self.started.recorder.entry(FINISH, payload)
        return True

    def _stored(self, deadline: float) -> bool:
        return self.artifacts is None or self.artifacts.settle(deadline)

    def _uploaded(self, deadline: float) -> bool:
        """Wait for the object stores. After `_close`: the last parts are sealed when all writers are gone."""
        started = self.started
        if not uploading.asked(started.dir):
            return True
        left = uploading.wait(started.dir, started.recorder.last_record, deadline, lambda: is_running(started.dir))
        if left:
            self.report("uploads", uploading.line(started.dir, left, running=is_running(started.dir)))
        return not left

    def _close(self, deadline: float) -> None:
        started = self.started
        self._end_feeds(deadline)
        self._close_artifacts()
        started.recorder.close()
        hurry(started.dir)
        started.watchdog.release()
        started.restore()
        RUNS.leave(self)

    def _close_artifacts(self) -> None:
        self.is_closed = True
        if self.artifacts is not None:
            self.artifacts.close()

    # -- the process's ends, as `OpenRun` has them --------------------------------------------------------

    def terminate(self) -> None:
        """Write down that SIGTERM ends the process; does not wait."""
        if self.ended is None:
            self._marked("failed", ("SIGTERM", ""))

    def inherit(self) -> None:
        """In a forked child: feeds and collector are the parent's."""
        self._one = threading.RLock()
        self.started.abandon()

    def let_go(self) -> None:
        """At the end of a child that has inherited the run: what it logged stays in its journal."""
        self.started.unhear()
        self.started.recorder.close()
