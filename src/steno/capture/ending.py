"""The end of a run in this process: what is waited for, in which order, and what is closed."""

from __future__ import annotations

import os
import sys
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from steno import next_steps
from steno.capture import outstanding
from steno.capture.collected import behind, encoding, hurry
from steno.capture.lifecycle import is_going_down, is_in_term_handler
from steno.capture.open_runs import END_SECS, RUNS
from steno.capture.report import is_terminal, say, show
from steno.capture.start import uploading
from steno.capture.start.collector_process import is_running
from steno.destinations import asked
from steno.record import FINISH

if TYPE_CHECKING:
    from collections.abc import Callable

    from steno.capture.artifacts.recording import ArtifactLog
    from steno.capture.report import Reporter
    from steno.capture.start.started import StartedRun
    from steno.capture.tasks.register import Register

FINISH_SECS: Final = 30.0
"""What `finish` may take without a time of its own, once the tasks have ended."""
PATIENCE_SECS: Final = 2.0
"""After so long it says what it waits for."""
_POSTING_SECS: Final = 0.5
_SLICE_SECS: Final = 0.1
_POLL_SECS: Final = 0.01
_LOOKS: Final = 10
"""Between two wake-ups of the collector."""
_BOTH: Final = "To keep both, call init(reinit='create_new') and log into the run that it returns"


class Ending:
    """Waits and ends for one run, as the user and the process's ends ask for. Thread-safe.

    Args:
        started: the run that was started.
        report: called with (key, message) once per key.
    """

    def __init__(self, started: StartedRun, report: Reporter) -> None:
        self.run: Any = None
        self.started = started
        self.report = report
        self.tasks: Register | None = None
        """Set at the first `async_log`."""
        self.artifacts: ArtifactLog | None = None
        """Set at the first artifact."""
        self.owner = os.getpid()
        self.ended: bool | None = None
        """None while the run is open; then what `end` has returned, False while it is at work."""
        self.is_closed = False
        """Nothing more is taken; what runs in this process may still log while the end goes on."""
        self.is_shown = False
        """Somebody sits at a terminal, and is shown what can be done with the run when it has ended."""
        self.is_replaced = False
        """Another `steno.init` has ended it."""
        self._one = threading.RLock()
        self._is_marked = False
        self._said = ""

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

    def delivered(self, deadline: float, *, own: bool = True) -> bool:
        """Wait for the destinations that a collector delivers to.

        Args:
            deadline: monotonic seconds.
            own: steno's own, which are files; False: the others, which have processes of their own.
        """

        def found() -> bool | None:
            lacking = [one for one in behind(self.started.dir, self.started.recorder.last_record) if one.own == own]
            # One that has stopped will never take it, and need not be waited for.
            return not lacking if all(one.stopped for one in lacking) else None

        return self.started.recorder.is_bare or self._until(deadline, found)

    def encoded(self, deadline: float) -> bool:
        """Wait until what this process has logged of media has its files; False: or some are kept as captured."""
        goal: tuple[int, int] | None = None

        def found() -> bool | None:
            nonlocal goal
            now = encoding(self.started.dir, self.started.recorder.last_record)
            if now is None:
                return None
            if goal is None or goal[0] != now.process:
                goal = now.process, now.dealt_with + now.waiting
            return not now.kept_raw if not now.waiting or now.dealt_with >= goal[1] else None

        return not self.started.recorder.has_media or self._until(deadline, found)

    def _until(self, deadline: float, found: Callable[[], bool | None]) -> bool:
        """Look for an answer while there is time and somebody at work on it."""
        for turn in count():
            answer = found()
            if answer is not None:
                return answer
            if time.monotonic() >= deadline or not self.started.watchdog.hopeful():
                return False
            if turn % _LOOKS == 0:
                hurry(self.started.dir)
            time.sleep(_POLL_SECS)
        raise AssertionError  # count() does not end

    # -- the end ------------------------------------------------------------------------------------------

    def end(
        self, state: str, why: tuple[str, str] | None = None, timeout: float | None = None, *, announce: bool = True
    ) -> bool:
        """End the run; see `Run.finish`.

        Args:
            state: "finished" or "failed".
            why: the error in one line, and the traceback.
            timeout: seconds in all; None: as long as tasks take, then FINISH_SECS.
            announce: say what is waited for, and what is left.

        Raises:
            RuntimeError: called by a task, which it would have to wait for.
        """
        if self.tasks is not None and self.tasks.calls():
            msg = "finish was called by an async_log task, which it would have to wait for: call it where init was"
            raise RuntimeError(msg)
        began = time.monotonic()
        if timeout is None:
            timeout = _hurried()
        if not self._one.acquire(timeout=-1 if timeout is None else max(timeout, 0.0)):
            if announce:
                say(f"the run {self.started.name!r} is being ended by another thread, which was not done in time")
            return False
        try:
            if self.ended is None:
                self._end(state, why, began, timeout, announce=announce)
            elif not self.ended and announce:
                say(self._said or f"the run {self.started.name!r} is being ended already: this call waits for nothing")
            return bool(self.ended)
        finally:
            self._one.release()

    def _end(
        self, state: str, why: tuple[str, str] | None, began: float, timeout: float | None, *, announce: bool
    ) -> None:
        done = no_task_left = self._await_tasks(None if timeout is None else began + max(timeout, 0.0))
        self.started.stop_observing()
        deadline = time.monotonic() + FINISH_SECS if timeout is None else began + max(timeout, 0.0)
        # Who has not said how long may wait: nobody waits for what goes on without this process, or does not move.
        patience = END_SECS if timeout is None else float("inf")
        is_owner = os.getpid() == self.owner
        if is_owner and self.started.discard is not None and self.started.discard():
            self.ended = self.is_closed = True
            self.started.watchdog.release()
            self.started.restore()
            RUNS.leave(self)
            return
        # Set first, so that a signal in the middle does not begin again.
        self.ended = False
        waits: tuple[Callable[[float], bool], ...] = (self.posted, self._stored, lambda _: not self._lost())
        if is_owner:
            # What dies with this process comes first: device values, posting, destinations that run in it. These
            # may log at their ends, which is posted too.
            waits = (
                self._drained, lambda _: self.mark(state, why), self.posted, lambda until: self._fed(until, patience),
                self.posted, self._stored, self.delivered, self.encoded,
                lambda until: self.delivered(min(until, time.monotonic() + patience), own=False),
                lambda _: not self._lost(),
            )  # fmt: skip
        left: list[str] = []
        lagging: list[str] = []
        try:
            with outstanding.Patience(
                PATIENCE_SECS if announce else float("inf"), deadline, lambda: self._waiting(deadline)
            ):
                for wait in waits:
                    done = wait(deadline) and done
        except KeyboardInterrupt:
            done, deadline = False, time.monotonic()
            say(f"Ctrl-C has ended the wait for the end of the run {self.started.name!r}")
            if is_owner:
                self.mark(state, why)
        finally:
            lagging = self._lagging()
            left = [] if done else self._left()
            self._close(min(deadline, time.monotonic() + patience), is_owner=is_owner, is_owing=bool(left))
        # What came a moment too late for the wait has come.
        done = no_task_left and not left
        if is_owner:
            done = self._uploaded(min(deadline, time.monotonic() + patience)) and done
        self.ended = done
        if left:
            self._said = outstanding.left(self.started, left, lagging)
            if announce:
                say(self._said)
        if is_owner and announce and self.started.rank == 0 and (line := outstanding.refused(self.started)):
            say(line)
        if is_owner and self.is_shown and is_terminal():
            has_events = "tensorboard" in asked.destinations(self.started.dir)
            for title, text in next_steps.ended(self.started.dir, tensorboard=has_events):
                show(next_steps.line(title, text))

    def _await_tasks(self, deadline: float | None) -> bool:
        """The tasks' stage: all ended. Of a given time it leaves a part for what comes after."""
        if self.tasks is None:
            return True
        if deadline is None:
            return not self.tasks.close(None)
        left = max(0.0, deadline - time.monotonic())
        return not self.tasks.close(left - min(left / 4, _POSTING_SECS))

    def _drained(self, deadline: float) -> bool:
        done = self.started.recorder.drain(deadline)
        optimization = sys.modules.get("steno.optimization")
        if optimization is not None:
            done = optimization.finish_lines(deadline) and done
        return done

    def mark(self, state: str, why: tuple[str, str] | None = None) -> bool:
        """Write down how the run ends, once; does not wait."""
        if not self._is_marked and not (self.started.discard is not None and self.started.recorder.is_bare):
            payload = {"state": state}
            if why is not None:
                payload["error"], payload["traceback"] = why
            self.started.recorder.entry(FINISH, payload)
            self._is_marked = True
        return True

    def _fed(self, deadline: float, patience: float) -> bool:
        """Wait for the destinations that are objects, as long as they move: with the process they lose what is left."""
        if not self.started.feeds:
            return True
        from steno.capture.inprocess.feed import end_all

        return end_all(self.started.feeds, deadline, patience)

    def _stored(self, deadline: float) -> bool:
        return self.artifacts is None or self.artifacts.wait(deadline)

    def _uploaded(self, deadline: float) -> bool:
        """Wait for the object stores. After `_close`: the last parts are sealed when all writers are gone."""
        started = self.started
        if not uploading.is_asked(started.dir):
            return True
        left = uploading.wait(started.dir, started.recorder.last_record, deadline, lambda: is_running(started.dir))
        if left:
            self.report("uploads", uploading.line(started.dir, left, running=is_running(started.dir)))
        return not left

    def _close(self, deadline: float, *, is_owner: bool, is_owing: bool) -> None:
        """A forked child closes its own journal; the run, its feeds and its collector are its parent's."""
        started = self.started
        try:
            if is_owner:
                self._fed(deadline, float("inf"))
            self.is_closed = True
            if self.artifacts is not None:
                self.artifacts.close()
            started.recorder.close()
            hurry(started.dir)
            if is_owner and is_owing:
                started.watchdog.start()  # it outlives this process; one that has died would not be started again
        finally:
            if is_owner:
                started.watchdog.release()
                started.restore()
            RUNS.leave(self)

    # -- what is said ---------------------------------------------------------------------------------------

    def _left(self) -> list[str]:
        return outstanding.now(self.started, self._lagging(), self.artifacts, whole=os.getpid() == self.owner)

    def _lost(self) -> list[str]:
        return outstanding.lost(self.started, whole=os.getpid() == self.owner)

    def _lagging(self) -> list[str]:
        return [feed.name for feed in self.started.feeds if feed.courier.ending and not feed.courier.complete]

    def _waiting(self, deadline: float) -> None:
        parts = self._left()
        if parts:
            self.report("waiting", outstanding.waiting(self.started, parts, max(0.0, deadline - time.monotonic())))

    def replace(self) -> None:
        """Say, before another `steno.init` ends it, that it does; who logs on gets a message too."""
        with RUNS.lock:
            is_news, self.is_replaced = not self.is_replaced, True
        if is_news:
            self.started.recorder.refusal = f"{self.refusal('log')}: nothing was recorded. {_BOTH}"
            say(f"the run {self.started.name!r} is finished now, since init is called again. {_BOTH}")

    def refusal(self, what: str) -> str:
        """Why a call is too late."""
        if self.is_replaced:
            return f"{what} was called on the run {self.started.name!r}, which another steno.init has ended"
        return f"{what} was called after finish"

    # -- the process's ends, as `OpenRun` has them --------------------------------------------------------

    def inherit(self) -> None:
        """In a forked child: feeds and collector are the parent's."""
        self._one = threading.RLock()
        self.started.abandon()

    def let_go(self) -> None:
        """At the end of a child that has inherited the run: what it logged stays in its journal."""
        self.started.stop_observing()
        self.started.recorder.close()


def _hurried() -> float | None:
    """The seconds for a call that says none, where the process itself is at its end; None elsewhere."""
    if is_in_term_handler():
        return END_SECS
    return max(0.0, RUNS.exit_deadline() - time.monotonic()) if is_going_down() else None
