"""What the benchmarks share: timing one call, CPU and memory of a family of processes, and a table."""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

clock = time.perf_counter_ns


def machine() -> str:
    """One line: what the figures below were measured on."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, load {load:.1f}"


def floats(keys: int, kinds: Callable[[float], Any] = float, rows: int = 64) -> list[dict[str, Any]]:
    """Records of random values under names as people give them."""
    return [{f"train/metric_{key}": kinds(random.random()) for key in range(keys)} for _ in range(rows)]


def per_call(
    log: Callable[[dict[str, Any], int], Any], rows: list[dict[str, Any]], calls: int, warm: int = 2000
) -> dict[str, float]:
    """Microseconds of one call, a fresh dict each, the timer's own cost subtracted."""
    for step in range(warm):
        log(dict(rows[step % len(rows)]), step)
    taken, empty = [0] * calls, [0] * calls
    for step in range(calls):
        row = dict(rows[step % len(rows)])
        start = clock()
        log(row, step)
        stop = clock()
        taken[step] = stop - start
        empty[step] = clock() - stop
    taken.sort()
    timer = sorted(empty)[calls // 2]
    at = lambda share: max(0, taken[min(calls - 1, int(calls * share))] - timer) / 1000  # noqa: E731
    return {"median": at(0.5), "p99": at(0.99), "p99.9": at(0.999), "max": taken[-1] / 1000}


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a Markdown table."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
    print(f"\n{title}\n")
    for line in [columns, ["-" * width for width in widths], *cells]:
        print("| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |")
    sys.stdout.flush()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def cpu_secs(pid: int | None = None) -> float:
    """User and system CPU seconds of a process, threads that have ended included; this one when `pid` is None.

    By its CPU clock: what /proc says moves in steps of 10 ms, more than a few postings take.
    """
    try:
        # The kernel's name for the CPU clock of another process.
        return time.process_time() if pid is None else time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def private_mib(pid: int | str = "self") -> float:
    """Memory that is this process's alone, MiB; pages of mapped files are not counted."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) / 1024
    return 0.0


def collectors(run_dir: Path) -> list[int]:
    """Process ids of the collectors at work on a run."""
    out = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"steno.collector" in command and os.fsencode(run_dir) in command:
                out.append(int(entry.name))
    return out


def wait_for_collector(run_dir: Path, timeout_secs: float = 120.0) -> dict[str, float]:
    """Wait until no collector works on the run; returns its CPU seconds and peak private memory as last seen."""
    seen = {"cpu": 0.0, "mib": 0.0}
    deadline = time.monotonic() + timeout_secs
    while time.monotonic() < deadline:
        alive = collectors(run_dir)
        if not alive:
            return seen
        for pid in alive:
            look(pid, seen)
        time.sleep(0.02)
    raise TimeoutError(f"the collector of {run_dir} is still at work")


def look(pid: int, seen: dict[str, float]) -> None:
    """Update the highest CPU seconds and private memory seen of a process."""
    try:
        seen["cpu"] = max(seen["cpu"], cpu_secs(pid))
        seen["mib"] = max(seen["mib"], private_mib(pid))
    except (OSError, ValueError):
        pass


def disk_bytes(path: Path) -> int:
    """What `du -s --block-size=1` says."""
    return int(
        subprocess.run(
            ["du", "-s", "--block-size=1", os.fspath(path)], capture_output=True, text=True, check=True
        ).stdout.split()[0]
    )


def in_child(script: str, name: str, *arguments: str) -> Any:
    """Run `name(*arguments)` of a benchmark in a fresh interpreter; its JSON result."""
    code = f"import json,sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(script))!r}); import {Path(script).stem} as b; print('\\n@@' + json.dumps(b.{name}(*sys.argv[1:])))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("@@"):
            return json.loads(line[2:])
    sys.stderr.write(done.stdout[-2000:] + done.stderr[-4000:])
    raise RuntimeError(f"{name}{arguments} failed with status {done.returncode}")


def scratch(prefix: str = "steno-bench-") -> Path:
    """A directory on the disk this file is on, not in memory."""
    base = os.environ.get("STENO_BENCH_DIR") or os.path.join(
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "runs"
    )
    os.makedirs(base, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=base))


def adopt_orphans() -> None:
    """Have what outlives a child of this process become this one's child, so that its CPU counts (Linux)."""
    import ctypes

    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def reap_orphans() -> None:
    """Wait for all of them."""
    import os

    while True:
        try:
            os.wait()
        except ChildProcessError:
            return
