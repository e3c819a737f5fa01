"""The runs that are open in this process: the current one, those next to it, and how the process ends them."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from steno.capture.lifecycle import Hooks
from steno.errors import ClosedError

if TYPE_CHECKING:
    from types import ModuleType

    from steno.capture.start.started import StartedRun

END_SECS: Final = 2.0
"""What the end of the process may take for all its runs together."""
_LEAVE_SECS: Final = 0.4
"""Of it is for threads and children that are told to leave, and for the interpreter."""


class OpenRun(Protocol):
    """What the process's ends ask of a run."""

    run: Any
    """The run as the user holds it."""
    started: StartedRun
    """The run as this process records into it."""
    owner: int
    """The process that opened it; a forked child has inherited it."""

    def end(
        self, state: str, why: tuple[str, str] | None = None, timeout: float | None = None, *, announce: bool = True
    ) -> bool:
        """End it within the time; True: nothing is left to do. A second call waits for the first one's answer."""
        ...

    def mark(self, state: str, why: tuple[str, str] | None = None) -> bool:
        """Write down how it ends, once; does not wait."""
        ...

    def replace(self) -> None:
        """Another `steno.init` is about to end it."""
        ...

    def inherit(self) -> None:
        """Right after a fork, in the child."""
        ...

    def let_go(self) -> None:
        """At the end of a child that has inherited it."""
        ...


class OpenRuns:
    """The one list of a process's open runs. Thread-safe; its lock is new in a forked child.

    Each run enters when it begins and leaves when it has ended. The process's hooks are in place while there is one.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """For the list and what belongs to a run: held for moments."""
        self.current: OpenRun | None = None
        """What `steno.log` records into."""
        self.last: OpenRun | None = None
        """The last one that was current."""
        self.beginning = threading.RLock()
        """Held while a run begins, so that one does at a time; not while one ends, which may take long."""
        self._additional: list[OpenRun] = []
        self._hooks = Hooks(self._at_exit, self._at_term)
        self._finalizes = 0
        self._exits_by: float | None = None

    def enter(
        self, one: OpenRun, *, current: bool, hooks: bool = True, term: bool = True, joined: bool = False
    ) -> None:
        """A run has started.

        Args:
            one: the run.
            current: it becomes the current one, else it stands next to it.
            hooks: whether the process's end is its end; False where nothing is recorded.
            term: whether SIGTERM is written down as well; see `Hooks.install`.
            joined: it is a run of the parent's: a child of multiprocessing that leaves it ends nothing.
        """
        with self.lock:
            if current:
                self.current = self.last = one
            else:
                self._additional.append(one)
            if hooks:
                self._hooks.install(term=term)
            if hooks and not joined and is_child() and self._finalizes != os.getpid():
                self._finalizes = os.getpid()
                _child_end().at_end(self._at_exit)

    def leave(self, one: OpenRun) -> None:
        """A run has ended. Nothing happens when it is not in the list."""
        with self.lock:
            if self.current is one:
                self.current = None
            elif one in self._additional:
                self._additional.remove(one)
            else:
                return
            if os.getpid() == one.owner:
                self.unhook()

    def unhook(self) -> None:
        """Take the hooks away if no run is open; by the main thread, where the last run may have ended in another."""
        with self.lock:
            if not self.all():
                self._hooks.uninstall()

    def all(self) -> list[OpenRun]:
        """Those next to the current one, then the current one."""
        return [*self._additional, *([] if self.current is None else [self.current])]

    def of(self, run: object) -> OpenRun:
        """The entry of a run that the user holds.

        Raises:
            ClosedError: it has ended.
        """
        for one in self.all():
            if one.run is run:
                return one
        msg = f"{run!r} has ended: call steno.init for a new one"
        raise ClosedError(msg)

    # -- the process's ends -------------------------------------------------------------------------------

    def _at_exit(self) -> None:
        failure = self._hooks.failure or (_child_end().failure() if is_child() else None)
        state = "finished" if failure is None else "failed"
        mine = [one for one in self.all() if one.owner == os.getpid()]
        for one in self.all():
            if one not in mine:
                one.let_go()
        # All collectors are at work while the first one is waited for; each run has its share of the time.
        for one in mine:
            one.mark(state, failure)
        for waiting in range(len(mine), 0, -1):
            left = max(0.0, self.exit_deadline() - time.monotonic())
            mine[-waiting].end(state, failure, left / waiting, announce=False)

    def exit_deadline(self) -> float:
        """When the end of this process is to be over (monotonic seconds), for all its runs together."""
        if self._exits_by is None:
            self._exits_by = time.monotonic() + END_SECS - _LEAVE_SECS
        return self._exits_by

    def _at_term(self) -> None:
        for one in self.all():
            if one.owner == os.getpid():
                one.mark("failed", ("SIGTERM", ""))

    def forked(self) -> None:
        """In a forked child."""
        self.lock, self.beginning = threading.RLock(), threading.RLock()
        self._exits_by = None
        self._hooks.forked()
        for one in self.all():
            one.inherit()


def is_child() -> bool:
    """Whether multiprocessing has started this process."""
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and processes.parent_process() is not None


def _child_end() -> ModuleType:
    """The module, which imports multiprocessing: a child has it already, and others need it never."""
    from steno.capture import child_end

    return child_end


RUNS: Final = OpenRuns()

os.register_at_fork(after_in_child=RUNS.forked)
