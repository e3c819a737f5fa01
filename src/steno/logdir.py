"""Logdirs that this process's writers record into: each is a run, opened once and shared by its writers."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from steno.capture.lifecycle import Hooks
from steno.capture.report import Reporter
from steno.capture.start import logdir as beginning
from steno.record import FINISH
from steno.run import VERSION, Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_END_SECS: Final = 2.0
_START_SECS: Final = 5.0
_POLL_SECS: Final = 0.005


class Logdir:
    """One logdir as this process records into it. Thread-safe, fork-safe: a forked child goes on in it.

    Get it by `take`, give it back by `release`: the last writer's release ends the recording.
    """

    __slots__ = ("_collects", "_key", "_scopes", "_users", "on", "run")

    def __init__(self, key: tuple[str, bool], run: Run, *, on: bool, collects: bool) -> None:
        self._key = key
        self._collects = collects
        self._users = 0
        self._scopes: dict[tuple[Any, ...], tuple[Any, Any]] = {}
        self.run = run
        self.on = on
        """False where nothing is recorded."""

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
            found = self._scopes[mark] = self.run._started.recorder.scope(options, check)
        return found

    def flush(self, timeout: float | None) -> bool:
        """Wait until what this process recorded is in the ledger and in the event files; False: not in that time."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        if os.getpid() != self.run._owner:
            self._await_collector(deadline)
        return self.run._posted(deadline) and self.run._delivered(deadline)

    def _await_collector(self, deadline: float) -> None:
        """In a forked child: the parent's collector may just be starting, and only the parent starts one."""
        limit = min(deadline, time.monotonic() + _START_SECS)
        while self._collects and not self.run._started.watchdog.alive() and time.monotonic() < limit:
            time.sleep(_POLL_SECS)

    def release(self, timeout: float) -> bool:
        """A writer is closed; the last one ends the recording. True: all is in the event files."""
        with _lock:
            self._users -= 1
            last = self._users <= 0
            if last:
                _open.pop(self._key, None)
                if not _open:
                    _hooks.uninstall()
        if last and os.getpid() == self.run._owner:
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
    with _lock:
        found = _open.get(key)
        if found is None:
            report = Reporter()
            started = (
                beginning.begin(request, purge_step=purge_step, report=report)
                if write
                else beginning.nothing(request, report)
            )
            found = _open[key] = Logdir(key, Run(started, report), on=write, collects=write and request.collector)
            _hooks.install(term=not _is_child())
            _at_child_exit()
        elif purge_step is not None and write:
            found.run._report("purge_step", f"purge_step={purge_step} is ignored: {key[0]} is open in this process")
        found._users += 1
        return found


def path_of(logdir: str | os.PathLike[str]) -> Path:
    """The logdir as an absolute path.

    Raises:
        UsageError: it is no path.
    """
    request = beginning.check(logdir, suffix="", version=VERSION)
    return request.root / (request.name or "")


# -- the process's ends -----------------------------------------------------------------------------------

_lock = threading.RLock()
_open: dict[tuple[str, bool], Logdir] = {}


def _at_exit() -> None:
    deadline = time.monotonic() + _END_SECS
    for one in list(_open.values()):
        if os.getpid() != one.run._owner:
            one.run._started.recorder.close()
            continue
        failed = _hooks.failure
        one.run._end("finished" if failed is None else "failed", failed, timeout=max(0.0, deadline - time.monotonic()))
    _open.clear()


def _at_term() -> None:
    for one in list(_open.values()):
        if one.run._ended is None and os.getpid() == one.run._owner:
            one.run._tell(FINISH, {"state": "failed", "error": "SIGTERM", "traceback": ""})


_hooks = Hooks(_at_exit, _at_term)


def _at_child_exit() -> None:
    """A child of multiprocessing leaves without atexit: have it end there too."""
    if _is_child():
        from multiprocessing.util import Finalize

        Finalize(None, _at_exit, exitpriority=0)


def _is_child() -> bool:
    """Whether multiprocessing has started this process."""
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and processes.parent_process() is not None


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    _hooks.forked()
    for one in _open.values():
        one.run._ending = threading.RLock()
        one.run._started.abandon()


os.register_at_fork(after_in_child=_after_fork)
