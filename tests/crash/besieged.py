"""Runs whole programs with the real collector under faults, and leaves no process behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from run_programs import environment, wait_for
from siege import collectors

TIMED = """
import time
def timed(log, count=4000):
    "Nanoseconds of each call of log and of each turn of an empty loop between them."
    ours, empty = [], []
    clock = time.perf_counter_ns
    for i in range(count):
        before = clock(); after = clock(); empty.append(after - before)
        before = clock(); log({"i": i, "loss": i / 7.0}, i); after = clock(); ours.append(after - before)
        if i % 20 == 0: time.sleep(0.0005)
    return sorted(ours), sorted(empty)
"""


def start(code: str, cwd: Path, **env: str) -> subprocess.Popen[str]:
    """A program that uses steno and its collector, in a file of its own."""
    path = cwd / f"program{len(list(cwd.glob('program*.py')))}.py"
    path.write_text(textwrap.dedent(code))
    return subprocess.Popen(
        [sys.executable, str(path)],
        cwd=cwd, env=environment(STENO_COLLECTOR="on", **env), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(code: str, cwd: Path, *, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    """Like `start`, to its end; a program that does not end is killed."""
    with start(code, cwd, **env) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"the program hangs; it had said {out!r} and {err!r}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def ok(code: str, cwd: Path, **env: str) -> str:
    done = run(code, cwd, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def no_collector(base: Path, timeout: float = 60) -> None:
    """Wait until the collectors of the runs below `base` have left by themselves."""
    wait_for(lambda: not collectors(base), timeout)


def kill_collectors(base: Path) -> None:
    for pid in collectors(base):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not collectors(base))


@contextlib.contextmanager
def disk(place: Path, size: str) -> Iterator[Path]:
    """A small file system of its own at `place`; skips the test where none can be mounted."""
    import pytest

    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(place)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")
    try:
        yield place
    finally:
        kill_collectors(place)
        for _ in range(100):
            if subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.05)
        else:
            subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)
