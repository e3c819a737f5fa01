"""Logdirs that this process's writers record into: each is a run, opened once and shared by its writers."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from steno.capture.ending import Ending
from steno.capture.open_runs import RUNS, is_child
from steno.capture.report import Reporter
from steno.capture.start import logdir as beginning
from steno.run import VERSION, Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_START_SECS: Final = 5.0
_POLL_SECS: Final = 0.005
_open: dict[tuple[str, bool], Logdir] = {}
"""By directory and whether it is written; guarded by `RUNS.lock`."""


class Logdir:
    """One logdir as this process records into it. Thread-safe, fork-safe: a forked child goes on in it.

    Get it by `take`, give it back by `release`: the last writer's release ends the recording.
    """

    __slots__ = ("_collects", "_ending", "_key", "_scopes", "run", "users")

    def __init__(self, key: tuple[str, bool], ending: Ending, *, collects: bool) -> None:
        self._key = key
        self._ending = ending
        self._collects = collects
        self._scopes: dict[tuple[Any, ...], tuple[Any, Any]] = {}
        self.users = 1
        """Writers that have taken it and not given it back; guarded by `RUNS.lock`."""
        self.run = Run(ending)

    def scope(
        self, check: Callable[[Any, Any], None], **options: Any
    ) -> tuple[Callable[..., None], Callable[..., None]]:
        """Ways to record under these options of a key set.

        Args:
            check: asked by `add` about a key and a step that are new or odd; may raise.
            options: as `KeySet` knows them.

        Returns:
            `add(key, value, step=None)` for one float or int, in about a microsecond; and
            `put({key: value}, step=None, wall=None)` for whatever `run.log` takes, `wall` in ns since 1970.
        """
        mark = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in options.items())
        found = self._scopes.get(mark)
        if found is None:
            found = self._scopes[mark] = self._ending.started.recorder.scope(options, check)
        return found

    def say(self, key: str, message: str) -> None:
        """Tell the user something about the logdir, once per key."""
        self._ending.report(key, message)

    def flush(self, timeout: float | None) -> bool:
        """Wait until what this process recorded is in the ledger and in the event files; False: not in that time."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        if os.getpid() != self._ending.owner:
            self._await_collector(deadline)
        return self.run.flush(max(0.0, deadline - time.monotonic()), files=True)

    def _await_collector(self, deadline: float) -> None:
        """In a forked child: the parent's collector may just be starting, and only the parent starts one."""
        limit = min(deadline, time.monotonic() + _START_SECS)
        while self._collects and not self._ending.started.watchdog.alive() and time.monotonic() < limit:
            time.sleep(_POLL_SECS)

    def release(self, timeout: float) -> bool:
        """A writer is closed; the last one ends the recording. True: all is in the event files."""
        with RUNS.lock:
            self.users -= 1
            last = self.users <= 0
            if last and _open.get(self._key) is self:
                del _open[self._key]
        if last and os.getpid() == self._ending.owner:
            return self.run.finish(timeout)
        done = self.flush(timeout)
        if last:
            self.run.finish(0.0)
        return done


def take(
    logdir: str | os.PathLike[str], *, purge_step: int | None = None, write: bool = True, suffix: str = ""
) -> Logdir:
    """The logdir, opened or, when a writer of this process has it open, shared.

    Args:
        logdir: made with its parents; one that has been used goes on.
        purge_step: points of earlier attempts from it on are hidden, automatic steps go on from it.
        write: False: no file is made, nothing recorded.
        suffix: of the event files' names.

    Raises:
        UsageError: the directory cannot be used.
    """
    request = beginning.check(logdir, suffix=suffix, version=VERSION)
    write = write and request.mode == "on"
    key = (os.path.join(request.root, request.name or ""), write)
    with RUNS.beginning:
        with RUNS.lock:
            found = _open.get(key)
            if found is not None and not found.run.ended:
                found.users += 1
                if purge_step is not None and write:
                    found.say("purge_step", f"purge_step={purge_step} is ignored: {key[0]} is open in this process")
                return found
        report = Reporter()
        started = (
            beginning.begin(request, purge_step=purge_step, report=report)
            if write
            else beginning.nothing(request, report)
        )
        ending = Ending(started, report)
        found = _open[key] = Logdir(key, ending, collects=write and request.settings.collector)
        RUNS.enter(ending, current=False, hooks=write, term=not is_child())
        return found


def path_of(logdir: str | os.PathLike[str]) -> Path:
    """The logdir as an absolute path.

    Raises:
        UsageError: it is no path, or a URL.
    """
    request = beginning.check(logdir, suffix="", version=VERSION)
    return request.root / (request.name or "")
