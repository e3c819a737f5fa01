"""The collector processes that this program starts: one serves its runs that come one after another."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Final, Protocol

from steno import files, host

_ACCEPT_SECS: Final = 5.0
"""After so long a run that was handed over must have a service that holds its lock."""
GONE: Final = 3
"""What `poll` gives for a service that ended while its run goes on."""


class Collecting(Protocol):
    """A collector at work for one run."""

    @property
    def pid(self) -> int:
        """Its process."""

    def poll(self) -> int | None:
        """None while it is at work, else how it ended."""


class _Process(subprocess.Popen[bytes]):
    """A process that is meant to outlive this one: nobody is warned that it still runs."""

    def __del__(self) -> None:
        """Nothing is to be done."""


class Handed:
    """The service of a run in a process that has served others."""

    def __init__(self, process: subprocess.Popen[bytes], run_dir: Path) -> None:
        self._process = process
        self._run_dir = run_dir
        self._began = time.monotonic()

    @property
    def pid(self) -> int:
        """The process that serves it."""
        return self._process.pid

    def poll(self) -> int | None:
        """None while it is at work, else how it ended."""
        code = self._process.poll()
        if code is not None:
            return code or GONE
        if is_running(self._run_dir) or time.monotonic() - self._began < _ACCEPT_SECS:
            return None
        return GONE


LEFT: Final[list[subprocess.Popen[bytes]]] = []
"""Collectors of runs that have ended here, until they were waited for."""


class CollectorProcess:
    """Starts collectors, and hands a run to the last one when the run before has ended. Thread-safe.

    A forked child starts its own.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.forget()

    def forget(self) -> None:
        """In a forked child: the process and the pipe are the parent's."""
        self._lock = threading.Lock()
        LEFT.clear()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()  # the collector leaves when the parent's end is closed
        self._process = None
        self._environment: dict[str, str] = {}
        self._busy: Path | None = None
        self._served: list[Path] = []

    def begin(
        self, run_dir: Path, linger_secs: float | None, adopt_secs: float | None, *, alone: bool
    ) -> Collecting | None:
        """Have a collector for the run: `alone` in a process of its own, else where the run before had its.

        None: another process of this machine has just started one.

        Raises:
            OSError: it cannot be started.
        """
        with self._lock:
            _reap()
            if self._process is not None and self._process.poll() is not None:
                self._dismiss(run_dir)
            if alone:
                return _of(self._spawn(run_dir, linger_secs, adopt_secs, ""))
            env = environment()
            if self._hand(run_dir, linger_secs, adopt_secs, env):
                assert self._process is not None
                return Handed(self._process, run_dir)
            if self._busy is not None and self._process is not None and self._process.poll() is None:
                return _of(self._spawn(run_dir, linger_secs, adopt_secs, ""))  # several runs in one process
            self._dismiss(run_dir)
            started = self._spawn(run_dir, linger_secs, adopt_secs, "--more")
            if started is None:
                return None
            self._process, self._environment = started
            self._busy, self._served = run_dir, [run_dir]
            return self._process

    def _hand(self, run_dir: Path, linger_secs: float | None, adopt_secs: float | None, env: dict[str, str]) -> bool:
        process = self._process
        if process is None or self._busy is not None or env != self._environment or process.poll() is not None:
            return False
        from steno.settings import Settings

        line = {
            "run": str(run_dir),
            "linger": Settings().linger if linger_secs is None else linger_secs,
            "adopt": Settings().adopt_secs if adopt_secs is None else adopt_secs,
        }
        assert process.stdin is not None
        try:
            files.touch(
                run_dir / ".steno" / "collector.log"
            )  # there for every run, as where a process is started for it
            process.stdin.write(json.dumps(line).encode() + b"\n")
        except OSError:  # it has left in this moment
            return False
        self._busy = run_dir
        self._served = [one for one in self._served if is_running(one)] + [run_dir]
        return True

    def release(self, run_dir: Path, collecting: Collecting) -> bool:
        """The run has ended here; its collector goes on by itself. Whether the process may get another run."""
        with self._lock:
            process = self._process
            if process is None or collecting.pid != process.pid:
                return False
            if self._busy == run_dir:
                self._busy = None
            return True

    def dismiss(self) -> None:
        """This program has no further run: the collector leaves when its work is done, and does not wait for one."""
        with self._lock:
            self._dismiss(Path())

    def _dismiss(self, besides: Path) -> None:
        """Tell the last process that nothing more comes; runs that it died with get a collector each."""
        process, self._process, self._busy = self._process, None, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if process.poll() is None:
            LEFT.append(process)  # about to end: waited for when the next one is started, which needs no thread
            return
        if process.returncode:
            for run_dir in self._served:
                if run_dir == besides:
                    continue
                try:
                    process = _of(self._spawn(run_dir, None, None, ""))
                except OSError:
                    return
                if process is not None:
                    leave(process)

    def _spawn(
        self, run_dir: Path, linger_secs: float | None, adopt_secs: float | None, more: str
    ) -> tuple[subprocess.Popen[bytes], dict[str, str]] | None:
        if not sys.executable:
            raise OSError("sys.executable is empty: this interpreter cannot start another")
        door = _enter(run_dir)
        if door is None:
            return None
        try:
            return self._execute(run_dir, linger_secs, adopt_secs, more, door)
        finally:
            os.close(door)  # the collector has it too

    def _execute(
        self, run_dir: Path, linger_secs: float | None, adopt_secs: float | None, more: str, door: int
    ) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
        arguments = [sys.executable, "-P", "-m", "steno.collector", str(run_dir), *([more] if more else [])]
        if linger_secs is not None:
            arguments += ["--linger", str(linger_secs)]
        if adopt_secs is not None:
            arguments += ["--adopt-secs", str(adopt_secs)]
        arguments += ["--door", str(door)]
        env = environment()
        with open(run_dir / ".steno" / "collector.log", "ab") as log:
            process = _Process(
                arguments,
                stdin=subprocess.PIPE if more else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                bufsize=0,
                close_fds=True,
                pass_fds=(door,),
                start_new_session=True,
                cwd="/",
                env=env,
            )
        return process, env


COLLECTORS: Final = CollectorProcess()


def _of(started: tuple[subprocess.Popen[bytes], dict[str, str]] | None) -> subprocess.Popen[bytes] | None:
    return None if started is None else started[0]


def _enter(run_dir: Path) -> int | None:
    """The lock of the one who starts a collector of this machine; None: one is there, or is coming up.

    The collector inherits it and lets it go when it has its own: of many ranks that join together one starts one.

    Raises:
        OSError: the file cannot be made.
    """
    facts = "/".join(host.describe().values())
    door = os.open(run_dir / ".steno" / f"door-{zlib.crc32(facts.encode()):08x}", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(door)
        return None
    except OSError:
        return door  # no such locks here: those who come second leave again by themselves
    if is_running(run_dir):
        os.close(door)
        return None
    return door


def leave(process: subprocess.Popen[bytes]) -> None:
    """Leave a collector to itself: it ends when its work is done."""
    LEFT.append(process)
    try:
        threading.Thread(target=_wait, args=(process,), name="steno-reaper", daemon=True).start()
    except RuntimeError:  # the interpreter is going down
        disown(process)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait()
    except Exception:
        disown(process)
    _reap()


def _reap() -> None:
    """Wait for those that have ended: a long-lived program that has had many runs must not collect zombies."""
    for process in [*LEFT]:
        if process.poll() is not None and process in LEFT:
            LEFT.remove(process)


def disown(process: Collecting) -> None:
    """Have nobody ask about a process that is meant to outlive this one."""
    if isinstance(process, subprocess.Popen):
        process.returncode = 0  # else it warns that it believes the process to be running


def environment() -> dict[str, str]:
    """What a process of steno's own is started with: it finds this very steno, and is no child of the run."""
    env = {name: value for name, value in os.environ.items() if name not in {"STENO_RUN_DIR", "STENO_RUN_AS"}}
    home = str(Path(__file__).resolve().parents[3])
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


os.register_at_fork(after_in_child=COLLECTORS.forget)
