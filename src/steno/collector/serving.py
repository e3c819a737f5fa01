"""One process that collects a program's runs, one after another: each has a service, a lock and faults of its own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steno.errors import StenoError

if TYPE_CHECKING:
    from steno.collector.service import Service

IDLE_SECS: Final = 10.0
"""How long it waits for a further run of the program."""
_LOOK_SECS: Final = 2.0
_IDLE_LOOK_SECS: Final = 0.25


class Serving:
    """Runs a service per run, each on a thread of its own.

    The program writes a line of JSON, `{"run": directory, "linger": secs, "adopt": secs}`, to its standard input
    for each further run. It leaves when all services have, and the program has closed the pipe or sent nothing for a
    while.

    Args:
        source: the descriptor to read lines from; None: there is the first run alone.
        door: of the lock by which no other process starts a collector for the first run until this one has its own.
    """

    def __init__(self, source: int | None, door: int | None = None) -> None:
        self._source = source
        self._door = door
        self._held = b""
        self._services: dict[Path, Service] = {}
        self._again: dict[Path, tuple[float, float]] = {}
        """Runs that came in while their service was at work: it may have been about to leave."""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._done = threading.Event()
        self.status = 0
        """Of the first run: 0, 1: destinations lack records, 2: no run to work on, 3: a fault of ours."""

    def run(
        self, run_dir: Path, linger_secs: float, adopt_secs: float, *, adopt: bool = False, once: bool = False
    ) -> int:
        """Collect this run and those that come in; the first one's exit status."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop())
        self._begin(run_dir, linger_secs, adopt_secs, adopt=adopt, once=once, is_first=True)
        idle_since = time.monotonic()
        while True:
            with self._lock:
                busy = bool(self._services)
            look = _LOOK_SECS if busy else _IDLE_LOOK_SECS
            if self._source is None:
                self._done.wait(look)
            else:
                self._listen(look)
            with self._lock:
                busy = bool(self._services)
            if busy:
                idle_since = time.monotonic()
            elif self._source is None or self._stop.is_set():
                return self.status
            elif time.monotonic() - idle_since >= IDLE_SECS and not self._listen(0.0):
                return self.status  # nothing came in this very moment either

    def stop(self) -> None:
        """Have all services post what there is and leave. Safe in a signal handler."""
        self._stop.set()
        for service in [*self._services.values()]:
            service.stop()

    def _listen(self, seconds: float) -> bool:
        """Begin what comes in within the time; whether something did."""
        assert self._source is not None
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        try:
            ready = poll.poll(seconds * 1000)
        except InterruptedError:
            return False
        if not ready:
            return False
        data = os.read(self._source, 1 << 16)
        if not data:
            self._source = None  # the program has ended, or needs no further collector
            return False
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            self._begin(Path(message["run"]), float(message["linger"]), float(message["adopt"]))
        return bool(lines)

    def _begin(
        self,
        run_dir: Path,
        linger_secs: float,
        adopt_secs: float,
        *,
        adopt: bool = False,
        once: bool = False,
        is_first: bool = False,
    ) -> None:
        from steno.collector.service import Service

        with self._lock:
            if run_dir in self._services:
                # Two in one process would not see each other's lock.
                self._again[run_dir] = (linger_secs, adopt_secs)
                return
            service = self._services[run_dir] = Service(
                run_dir,
                linger_secs=linger_secs,
                adopt_secs=adopt_secs,
                adopt=adopt,
                once=once,
                locked=self._open_door if is_first else None,
            )
            self._done.clear()
        threading.Thread(
            target=self._work, args=(service, run_dir, is_first), name=f"steno-collect-{run_dir.name}", daemon=True
        ).start()

    def _work(self, service: Service, run_dir: Path, is_first: bool) -> None:
        try:
            status = _run(service, None if is_first else run_dir)
            if is_first:
                self.status = status
        finally:
            if is_first:
                self._open_door()
            with self._lock:
                del self._services[run_dir]
                again = self._again.pop(run_dir, None)
                if again is None and not self._services:
                    self._done.set()
        if again is not None and not self._stop.is_set():
            self._begin(run_dir, *again)

    def _open_door(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            with contextlib.suppress(OSError):
                # Not by closing alone: a process that was forked at the wrong moment may have it, too.
                fcntl.flock(door, fcntl.LOCK_UN)
            os.close(door)


def _run(service: Service, run_dir: Path | None) -> int:
    try:
        return service.run()
    except StenoError as error:
        _say(run_dir, f"steno: {error}\n")
        return 2
    except Exception:  # a fault of ours: not to be taken for "destinations lack records"
        _say(run_dir, traceback.format_exc())
        return 3


def _say(run_dir: Path | None, text: str) -> None:
    """Into the run's `collector.log`; that of the first run is standard error already."""
    try:
        if run_dir is not None:
            with open(run_dir / ".steno" / "collector.log", "a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(text)
            return
    except OSError:
        pass
    sys.stderr.write(text)
