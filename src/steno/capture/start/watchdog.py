"""Starts the run's collector by command line, and again when it has died."""

from __future__ import annotations

import shlex
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Final

from steno.capture.start.collector_process import COLLECTORS, disown, is_running, leave
from steno.delivery.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from steno.capture.start.collector_process import Collecting

_FIRST_WAIT_SECS: Final = 1.0
_LAST_WAIT_SECS: Final = 300.0
_DEATHS: Final = 5
_JOIN_SECS: Final = 1.5
"""A process that joins leaves the starting to the one that opened the attempt, for so long."""
_INHERITED_SECS: Final = 10.0
"""For so long after a fork the child believes that the collector comes up which its parent has started or waits for."""
_BEGUN_SECS: Final = 0.5
"""Another process has just started one: then this one looks again."""
_WELL_SECS: Final = 300.0
"""A collector that lived so long has done its work: earlier deaths are forgotten."""


class Watchdog:
    """Keeps a collector running for a run on this machine, as long as this process records.

    `watch` may be called by several threads: one of them does the work. Nothing is lost when this process or the
    collector dies: the journal stays, and `steno sync` posts it.

    Args:
        run_dir: absolute path of the run.
        linger_secs: how long the collector stays for destinations that cannot take their records.
        adopt_secs: after how long it adopts the journals of machines that give no sign of life.
        report: called with (key, message) once.
        enabled: False: journal only.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        linger_secs: float | None,
        report: Callable[[str, str], None],
        adopt_secs: float | None = None,
        enabled: bool = True,
    ) -> None:
        self.enabled = enabled
        self.deaths = 0
        self.given_up = False
        self._run_dir = run_dir
        self._linger_secs = linger_secs
        self._adopt_secs = adopt_secs
        self._report = report
        self._process: Collecting | None = None
        self._began = 0.0
        self._expected_until = 0.0
        self._next = time.monotonic() + _JOIN_SECS
        self._backoff = Backoff(_FIRST_WAIT_SECS, _LAST_WAIT_SECS, factor=4)
        self._watching = threading.Lock()
        self._is_bare: Callable[[], bool] | None = None

    def start(self) -> None:
        """Start a collector now unless one is there; a failure is reported.

        One that is there may be an earlier attempt's, about to leave: then the first `watch` that finds it
        gone starts another.
        """
        with self._watching:
            self._next = 0.0
            self._start()

    def defer(self, is_bare: Callable[[], bool]) -> None:
        """Start nothing as long as there is nothing to collect."""
        self._is_bare = is_bare
        self._next = 0.0

    def _start(self) -> None:
        if self._is_bare is not None:
            if self._is_bare():
                return
            self._is_bare = None
        if not self.enabled or self.given_up or self.alive():
            return
        try:
            # One that died here, or raised, costs only its own run the next time.
            self._process = COLLECTORS.begin(self._run_dir, self._linger_secs, self._adopt_secs, alone=self.deaths > 0)
            self._began = time.monotonic()
            if self._process is None:
                self._next = self._began + _BEGUN_SECS
        except OSError as error:
            self._died(f"could not be started: {error}")

    def watch(self) -> None:
        """Start a collector again when there is none; called about once a second."""
        if not self.enabled or self.given_up or not self._watching.acquire(blocking=False):
            return
        try:
            self._watch()
        finally:
            self._watching.release()

    def _watch(self) -> None:
        process = self._process
        if process is not None:
            code = process.poll()
            if code is None:
                if self.deaths and time.monotonic() - self._began > _WELL_SECS:
                    self.deaths = 0
                    self._backoff.reset()
                return
            self._process = None
            if code == 0 and is_running(self._run_dir):
                return  # another was there first
            self._died(f"ended with exit status {code}")
            return
        if time.monotonic() >= self._next and not is_running(self._run_dir):
            self._start()

    def alive(self) -> bool:
        """Whether a collector works for this run on this machine."""
        process = self._process
        return (process is not None and process.poll() is None) or is_running(self._run_dir)

    def hopeful(self) -> bool:
        """Whether journals will be posted soon: a collector works, or one will be started again; now, if due."""
        self.watch()
        if (self.enabled and not self.given_up) or is_running(self._run_dir):
            return True
        return time.monotonic() < self._expected_until

    @property
    def pid(self) -> int | None:
        """The collector that this process started."""
        return self._process.pid if self._process is not None else None

    def release(self) -> None:
        """Leave the collector to itself: it ends when its work is done."""
        with self._watching:
            process, self._process = self._process, None
            self.enabled = False
        if process is None or COLLECTORS.release(self._run_dir, process):
            return
        if isinstance(process, subprocess.Popen) and process.poll() is None:
            leave(process)

    def abandon(self) -> None:
        """In a forked child: the collector is the parent's business."""
        if self.enabled and not self.given_up:
            self._expected_until = time.monotonic() + _INHERITED_SECS
        self.enabled = False
        self._watching = threading.Lock()
        if self._process is not None:
            disown(self._process)
            self._process = None

    def _died(self, how: str) -> None:
        self.deaths += 1
        log = self._run_dir / ".steno" / "collector.log"
        if self.deaths >= _DEATHS:
            self.given_up = True
            self._report(
                "collector",
                f"the collector {how}, {self.deaths} times now: this process only journals. "
                f"Nothing is lost; see {log}, then `steno sync {shlex.quote(str(self._run_dir))}`",
            )
            return
        self._next = time.monotonic() + self._backoff.next()
