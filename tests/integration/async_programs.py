"""Runs real programs that use async_log, with a collector, and opens their runs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import steno


def launch(code: str, cwd: Path, *, flags: tuple[str, ...] = ("-X", "dev"), **more: str) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("STENO_")}
    path = cwd / "program.py"
    path.write_text("import steno\n" + textwrap.dedent(code))
    return subprocess.Popen(
        [sys.executable, *flags, str(path)],
        cwd=cwd,
        env={**env, **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, cwd: Path, *, timeout: float = 60, **more) -> tuple[subprocess.CompletedProcess[str], float]:
    """(what it did, seconds it took)."""
    began = time.monotonic()
    with launch(code, cwd, **more) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err), time.monotonic() - began


def the_run(cwd: Path):
    """The only run that the program made."""
    (found,) = (cwd / "runs").glob("*/*/run.json")
    return steno.open(found.parent)


def values(cwd: Path, key: str, timeout: float = 20.0) -> tuple[list[int], list[float]]:
    """(steps, values) of a key, once it can be read."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            series = the_run(cwd).series(key)
            if len(series.step):
                return series.step.tolist(), series.value.tolist()
        except (KeyError, ValueError):
            pass
        assert time.monotonic() < deadline, f"{key} cannot be read"
        time.sleep(0.05)
