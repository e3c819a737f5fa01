"""Kills steno at random moments and looks for anything lost, torn, doubled or invented; seeded and printed.

    python tests/crash/siege.py --kills 1000 [--seed N] [--mode trainer|group|collector|all]

One round: a trainer logs as fast as it can from several threads and notes, in a shared map, the number of
each call that has returned. Something is killed with SIGKILL. Then `python -m steno.collector --once`
posts what the journals hold, and another process reads the run. A round fails when a record whose call
returned is missing, differs, comes twice or out of its thread's order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODES = ("trainer", "group", "collector")
THREADS = 3
_word = struct.Struct("<q")


def trainer(base: str, marks: str, seed: int, seconds: float) -> None:
    """Log until killed or the time is over."""
    import threading

    import steno

    rng = random.Random(seed)
    with open(marks, "r+b") as file:
        shared = mmap.mmap(file.fileno(), 4096)
    run = steno.init(project="siege", name="run", dir=base, destinations=["tensorboard", "jsonl"] if seed % 4 == 0 else [])
    widths = [rng.choice((1, 2, 5, 20)) for _ in range(THREADS)]
    pause = rng.choice((0.0, 0.0, 0.0002, 0.002))
    _word.pack_into(shared, 8 * THREADS, 1)
    end = time.monotonic() + seconds

    def work(thread: int) -> None:
        i = 0
        while time.monotonic() < end:
            run.log(record(thread, i, widths[thread]), i)
            _word.pack_into(shared, 8 * thread, i + 1)
            i += 1
            if pause:
                time.sleep(pause)

    crew = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    run.finish(timeout=20)


def record(thread: int, i: int, width: int) -> dict[str, object]:
    """What thread `thread` logs as its call `i`: every value can be computed again."""
    row: dict[str, object] = {f"t{thread}/i": i}
    for key in range(1, width):
        row[f"t{thread}/v{key}"] = math.sin(i * 31 + key)
    if i % 97 == 13:
        row[f"t{thread}/text"] = f"text {i}"
    if i % 89 == 7:
        row[f"t{thread}/big"] = 2**60 + i
    return row


def check(run_dir: str, marks: list[int]) -> list[str]:
    """What is wrong with the run, in words; [] when nothing is."""
    import numpy as np

    import steno

    book = steno.open(run_dir)
    faults: list[str] = []
    for thread, returned in enumerate(marks):
        series = book.series(f"t{thread}/i", attempt="all") if f"t{thread}/i" in book.keys() else None  # noqa: SIM118
        steps = series.step if series is not None else np.zeros(0, np.int64)
        values = series.value if series is not None else np.zeros(0)
        count = len(steps)
        if count < returned:
            faults.append(f"thread {thread}: {returned} calls returned, {count} records found")
        if count > returned + 1:
            faults.append(f"thread {thread}: {count} records found, only {returned} calls returned")
        if not (np.array_equal(steps, np.arange(count)) and np.array_equal(values, np.arange(count))):
            faults.append(f"thread {thread}: steps or values are not 0…{count - 1} once each")
        if series is not None and not (np.diff(series.record) > 0).all():
            faults.append(f"thread {thread}: records are out of order")
        for key in [key for key in book.keys() if key.startswith(f"t{thread}/v")]:  # noqa: SIM118
            got = book.series(key, attempt="all")
            number = int(key.rpartition("v")[2])
            if len(got.step) < returned or not all(
                value == math.sin(step * 31 + number) for step, value in zip(got.step.tolist(), got.value.tolist(), strict=True)
            ):
                faults.append(f"{key}: wrong values, or {len(got.step)} of {returned}")
        for key, wanted in ((f"t{thread}/text", lambda i: f"text {i}"), (f"t{thread}/big", lambda i: 2**60 + i)):
            if key in book.keys():  # noqa: SIM118
                got = book.series(key, attempt="all")
                exact = got.text if key.endswith("text") else got.exact
                if [*exact] != [wanted(i) for i in got.step.tolist()]:
                    faults.append(f"{key}: not exact")
    lines = Path(run_dir) / "metrics.jsonl"
    if lines.exists() and not faults:
        numbers = [json.loads(line)["record"] for line in lines.read_text().splitlines() if '"values"' in line]
        if len(numbers) != len(set(numbers)):
            faults.append(f"metrics.jsonl: {len(numbers) - len(set(numbers))} records twice")
        if len(numbers) < sum(marks):
            faults.append(f"metrics.jsonl: {len(numbers)} of {sum(marks)} records")
    return faults


def collectors(base: Path) -> list[int]:
    out = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                if b"steno.collector" in command and os.fsencode(base) in command:
                    out.append(int(entry.name))
    return out


def kill(pid: int, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)


def one_round(seed: int, mode: str, base: Path, environment: dict[str, str]) -> tuple[list[str], int]:
    """One siege; returns what is wrong and the number of records."""
    rng = random.Random(seed)
    marks = base / "marks"
    marks.write_bytes(bytes(4096))
    with open(marks, "r+b") as file:
        shared = mmap.mmap(file.fileno(), 4096)
    seconds = 0.9 if mode == "collector" else 30.0
    child = subprocess.Popen(
        [sys.executable, __file__, "--trainer", str(base), str(marks), str(seed), str(seconds)],
        start_new_session=True, env=environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not _word.unpack_from(shared, 8 * THREADS)[0]:
            if child.poll() is not None or time.monotonic() > deadline:
                return ["the trainer did not begin"], 0
            time.sleep(0.002)
        if mode == "collector":
            while child.poll() is None:
                time.sleep(rng.uniform(0.05, 0.4))
                for pid in collectors(base):
                    kill(pid)
        else:
            time.sleep(rng.uniform(0.0, 0.7) ** 2 * 2)
            if mode == "group":
                kill(child.pid, group=True)
                for pid in collectors(base):
                    kill(pid)
            else:
                kill(child.pid)
        child.wait(timeout=60)
    finally:
        kill(child.pid, group=True)
        child.wait()
    returned = [_word.unpack_from(shared, 8 * thread)[0] for thread in range(THREADS)]
    shared.close()
    run_dir = base / "siege" / "run"
    for _ in range(100):
        if mode != "trainer" or not collectors(base):
            break
        time.sleep(0.05)
    done = subprocess.run(
        [sys.executable, "-m", "steno.collector", str(run_dir), "--once"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    for _ in range(600):
        if not collectors(base):
            break
        time.sleep(0.05)
    found = subprocess.run(
        [sys.executable, __file__, "--check", str(run_dir), json.dumps(returned)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if found.returncode:
        return [f"reading failed: {found.stderr[-1500:]}", done.stderr[-500:]], sum(returned)
    return json.loads(found.stdout), sum(returned)


def siege(kills: int, seed: int, mode: str = "all", *, keep: Path | None = None, quiet: bool = False) -> list[str]:
    """`kills` rounds from `seed` on; returns the faults of all, each with its seed."""
    faults: list[str] = []
    records = 0
    source = Path(__file__).resolve().parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")]), "PYTHONWARNINGS": "ignore"}
    begun = time.monotonic()
    for number in range(kills):
        chosen = MODES[number % len(MODES)] if mode == "all" else mode
        base = Path(tempfile.mkdtemp(prefix="siege-", dir=keep))
        wrong, count = one_round(seed + number, chosen, base, environment)
        records += count
        faults += [f"seed {seed + number}, {chosen}: {fault}" for fault in wrong]
        if wrong:
            print(f"seed {seed + number}, {chosen}: {wrong} (kept in {base})", flush=True)
        else:
            shutil.rmtree(base, ignore_errors=True)
        if not quiet and (number + 1) % 50 == 0:
            print(f"{number + 1} kills, {records:,} acknowledged records, {len(faults)} faults, {time.monotonic() - begun:.0f} s", flush=True)
    print(f"seeds {seed}…{seed + kills - 1}: {kills} kills ({mode}), {records:,} acknowledged records, {len(faults)} faults, {time.monotonic() - begun:.0f} s", flush=True)
    return faults


if __name__ == "__main__":
    if sys.argv[1:2] == ["--trainer"]:
        trainer(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
    elif sys.argv[1:2] == ["--check"]:
        print(json.dumps(check(sys.argv[2], json.loads(sys.argv[3]))))
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--kills", type=int, default=30)
        parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
        parser.add_argument("--mode", choices=(*MODES, "all"), default="all")
        options = parser.parse_args()
        sys.exit(1 if siege(options.kills, options.seed, options.mode) else 0)
