"""Starts the run's collector by command line, and again when it has died."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steno import files, host
from steno.delivery.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_WAIT_SECS: Final = 1.0
_LAST_WAIT_SECS: Final = 300.0
_DEATHS: Final = 5
_JOIN_SECS: Final = 1.5
"""A process that joins leaves the starting to the one that opened the attempt, for so long."""
_WELL_SECS: Final = 300.0
"""A collector that lived so long has done its work: earlier deaths are forgotten."""


class Watchdog:
    """Keeps a collector running for a run on this machine, as long as this process records.

    `watch` may be called by several threads: one of them does the work. Nothing is lost when this process or the
    collector dies: the journal stays, and `steno sync` posts it.

    Args:
        run_dir: absolute path of the run.
        linger_secs: how long the collector stays for destinations that cannot take their records.
        report: told (key, message) once.
        enabled: False: journal only.
    """

    def __init__(
        self, run_dir: Path, *, linger_secs: float | None, report: Callable[[str, str], None], enabled: bool = True
    ) -> None:
        self.enabled = enabled
        self.deaths = 0
        self.given_up = False
        self._run_dir = run_dir
        self._linger_secs = linger_secs
        self._report = report
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._next = time.monotonic() + _JOIN_SECS
        self._backoff = Backoff(_FIRST_WAIT_SECS, _LAST_WAIT_SECS, factor=4)
        self._watching = threading.Lock()

    def start(self) -> None:
        """Start a collector now unless one is there; a failure is reported.

        One that is there may be an earlier attempt's, about to leave: then the first `watch` that finds it
        gone starts another.
        """
        with self._watching:
            self._next = 0.0
            self._start()

    def _start(self) -> None:
        if not self.enabled or self.given_up or self.alive():
            return
        try:
            self._process = self._spawn()
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
        return (self.enabled and not self.given_up) or is_running(self._run_dir)

    @property
    def pid(self) -> int | None:
        """The collector that this process started."""
        return self._process.pid if self._process is not None else None

    def release(self) -> None:
        """Leave the collector to itself: it ends when its work is done."""
        with self._watching:
            process, self._process = self._process, None
            self.enabled = False
        if process is not None and process.poll() is None:
            # A long-lived program that has had many runs must not collect zombies.
            try:
                threading.Thread(target=_reap, args=(process,), name="steno-reaper", daemon=True).start()
            except RuntimeError:  # the interpreter is going down
                _disown(process)

    def abandon(self) -> None:
        """In a forked child: the collector is the parent's business."""
        self.enabled = False
        self._watching = threading.Lock()
        if self._process is not None:
            _disown(self._process)
            self._process = None

    def _died(self, how: str) -> None:
        self.deaths += 1
        log = self._run_dir / ".steno" / "collector.log"
        if self.deaths >= _DEATHS:
            self.given_up = True
            self._report(
                "collector",
                f"the collector {how}, {self.deaths} times now: this process only journals. "
                f"Nothing is lost; see {log}, then `steno sync {self._run_dir}`",
            )
            return
        self._next = time.monotonic() + self._backoff.next()

    def _spawn(self) -> subprocess.Popen[bytes]:
        if not sys.executable:
            raise OSError("sys.executable is empty: this interpreter cannot start another")
        arguments = [sys.executable, "-P", "-m", "steno.collector", str(self._run_dir)]
        if self._linger_secs is not None:
            arguments += ["--linger", str(self._linger_secs)]
        with open(self._run_dir / ".steno" / "collector.log", "ab") as log:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                close_fds=True,
                start_new_session=True,
                cwd="/",
                env=environment(),
            )
        self._began = time.monotonic()
        return process


def environment() -> dict[str, str]:
    """What a process of steno's own is started with: it finds this very steno, and is no child of the run."""
    env = {name: value for name, value in os.environ.items() if name not in {"STENO_RUN_DIR", "STENO_RUN_AS"}}
    home = str(Path(__file__).resolve().parents[2])
    rest = [place for place in env.get("PYTHONPATH", "").split(os.pathsep) if place and place != home]
    env["PYTHONPATH"] = os.pathsep.join([home, *(os.path.abspath(place) for place in rest)])
    # Posting is one thread's work: pools as wide as the machine would only take memory from training.
    for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        env[pool] = "1"
    return env


def node_dirs(run_dir: Path) -> list[Path]:
    """The directories of this machine's nodes of the run: collectors tell them by host and machine id."""
    found = []
    for entry in files.scan(run_dir / ".steno" / "nodes"):
        path = Path(entry.path)
        if host.is_described(files.read_json(path / "node.json")):
            found.append(path)
    return found


def is_running(run_dir: Path) -> bool:
    """Whether a collector holds its lock for the run on this machine."""
    return any(host.is_locked(path / "collector.lock") for path in node_dirs(run_dir))


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait()
    except Exception:
        _disown(process)


def _disown(process: subprocess.Popen[bytes]) -> None:
    # Popen warns about a process that it believes to be running; this one is meant to outlive us.
    process.returncode = 0
