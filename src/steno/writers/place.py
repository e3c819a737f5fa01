"""Where a writer writes: the name of its logdir, and the hold it has on it between `close` and the next `add_*`."""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from steno import host
from steno import logdir as logdirs
from steno.writers import values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from steno.logdir import Logdir

CLOSE_SECS: Final = 30.0
"""How long `close` and `flush` wait for a collector that is at work; a stuck one is left to itself."""


def named(logdir: Any, log_dir: Any, comment: str) -> Path:
    """The logdir as an absolute path; by default `runs/<date>_<host><comment>`.

    Raises:
        UsageError: it is no path.
    """
    chosen = logdir if logdir is not None else log_dir
    if chosen is None or chosen == "":
        now = datetime.now().astimezone().strftime("%b%d_%H-%M-%S")
        chosen = os.path.join("runs", f"{now}_{host.name()}{comment}")
    return logdirs.path_of(chosen)


def _check(tag: Any, step: Any) -> None:
    values.tag(tag)
    if step is not None:
        values.step(step)


class LogdirHandle:
    """A writer's hold on its logdir. Thread-safe, fork-safe; opened again by the first use after `close`.

    Args:
        path: the logdir.
        purge_step: see `steno.logdir.take`; holds for the first opening only.
        write: False: nothing is recorded.
        suffix: of the event files' names.
        is_per_process: each process has an event stream and automatic steps of its own.
    """

    __slots__ = (
        "__weakref__", "_held", "_is_per_process", "_lock", "_pid", "_process", "path", "purge_step", "suffix", "write",
    )  # fmt: skip

    def __init__(
        self, path: Path, *, purge_step: int | None, write: bool, suffix: str, is_per_process: bool = False
    ) -> None:
        self.path = path
        self.purge_step = purge_step
        self.write = write
        self.suffix = suffix
        self._is_per_process = is_per_process
        self._held: Logdir | None = None
        self._lock = threading.RLock()
        self._pid = 0
        self._process = ""
        self.held()
        self.purge_step = None
        _live.add(self)

    def held(self) -> Logdir:
        """The logdir, opened if need be.

        Raises:
            UsageError: the directory cannot be used any more.
        """
        held = self._held
        if held is None:
            with self._lock:
                held = self._held
                if held is None:
                    held = self._held = logdirs.take(
                        self.path, purge_step=self.purge_step, write=self.write, suffix=self.suffix
                    )
        return held

    def scope(self, kind: str, **options: Any) -> tuple[Callable[..., None], Callable[..., None]]:
        """`Logdir.scope` whose automatic steps are counted by kind and tag, and by process too if it is per process."""
        if self._is_per_process:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self._process = f"process-{self._pid}-{secrets.token_hex(2)}"
            run = options.get("run")
            options = {"per": "stream", **options, "run": f"{self._process}/{run}" if run else self._process}
        return self.held().scope(_check, counter=kind, **options)

    def put(self, kind: str, tag: str, value: Any, step: int | None, nanos: int | None, **options: Any) -> None:
        """Record one value of a kind; `nanos` since 1970, None: now."""
        self.scope(kind, **options)[1]({tag: value}, step, nanos)

    def flush(self, timeout: float = CLOSE_SECS) -> bool:
        """Wait until what was recorded is in the event files; False: not within the time."""
        held = self._held
        return True if held is None else held.flush(timeout)

    def forked(self) -> None:
        """In a forked child."""
        self._lock = threading.RLock()

    def close(self, timeout: float = CLOSE_SECS) -> bool:
        """Let go of the logdir; the last writer of this process that does ends the recording."""
        with self._lock:
            held, self._held = self._held, None
        return True if held is None else held.release(timeout)


_live: weakref.WeakSet[LogdirHandle] = weakref.WeakSet()


def _after_fork() -> None:
    for place in list(_live):
        place.forked()


os.register_at_fork(after_in_child=_after_fork)
