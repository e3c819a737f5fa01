"""async_log beside swanlab 0.10.3, in one run: cost of a call, and the whole time until `finish` returns.

    python benchmarks/async_log.py [--tasks 600] [--rounds 3] [--no-peer]

swanlab lives in a virtual environment of its own under the temporary directory, made when it is missing.
Both are run in turn, so that a busy machine troubles both alike. Each task returns 100 keys, as in swanlab's own
benchmark. Then steno alone: spawn, fork beside a bare `os.fork`, 10,000 coroutines, and what a training loop
loses while four threads wait and log.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _measure as measure

PEER = "swanlab==0.10.3"
PEER_VENV = Path(tempfile.gettempdir()) / "steno-bench-swanlab-0.10.3"
PEER_PROGRAM = """
import json, os, sys, tempfile, time
import swanlab
keys, tasks, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
names = [f"train/metric_{i}" for i in range(keys)]
def func(i):
    return {name: float(i) for name in names}
swanlab.init(project="bench", mode="local", log_dir=folder)
swanlab.async_log(func, 0).result()
taken, began = [], time.perf_counter()
for i in range(1, tasks):
    start = time.perf_counter_ns()
    swanlab.async_log(func, i)
    taken.append(time.perf_counter_ns() - start)
submitted = time.perf_counter() - began
swanlab.finish()
whole = time.perf_counter() - began
taken.sort()
print("@@" + json.dumps({"median": taken[len(taken) // 2] / 1000, "p99": taken[int(len(taken) * 0.99)] / 1000, "submit": submitted, "whole": whole}))
"""
NAMES = [f"train/metric_{i}" for i in range(100)]


def full(i: int) -> dict[str, float]:
    return {name: float(i) for name in NAMES}


def tiny(i: int) -> dict[str, float]:
    return {"x": float(i)}


def peer_python() -> Path:
    """The other's interpreter, its environment made at the first time."""
    python = PEER_VENV / "bin" / "python"
    if not (PEER_VENV / "made").exists():
        print(f"making an environment with {PEER} in {PEER_VENV}", file=sys.stderr)
        shutil.rmtree(PEER_VENV, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(PEER_VENV)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PEER], check=True
        )
        (PEER_VENV / "made").touch()
    return python


def peer_threads(keys: str, tasks: str) -> dict[str, float]:
    """The other's figures, in its own environment."""
    folder = measure.scratch()
    env = {**os.environ, "SWANLAB_SAVE_DIR": str(folder), "HOME": str(folder)}
    done = subprocess.run(
        [str(peer_python()), "-W", "ignore", "-c", PEER_PROGRAM, keys, tasks, str(folder)],
        capture_output=True, text=True, check=False, env=env, cwd=folder, timeout=600,
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("@@"):
            return json.loads(line[2:])
    raise RuntimeError(done.stdout[-2000:] + done.stderr[-4000:])


def submit(run, func, tasks: int, **more) -> tuple[list[int], list, float]:
    """Nanoseconds of each call, the Futures, seconds in all."""
    taken, futures, began = [], [], time.perf_counter()
    for i in range(1, tasks):
        start = time.perf_counter_ns()
        future = run.async_log(func, i, **more)
        taken.append(time.perf_counter_ns() - start)
        futures.append(future)
    return sorted(taken), futures, time.perf_counter() - began


def figures(taken: list[int]) -> dict[str, float]:
    return {"median": taken[len(taken) // 2] / 1000, "p99": taken[int(len(taken) * 0.99)] / 1000}


def begin(**more):
    import steno

    base = measure.scratch()
    run = steno.init(project="bench", dir=base, **more)
    time.sleep(1.0)  # the collector's own start is not what is measured
    return run, base


def end(run, base) -> None:
    run.finish(timeout=60)
    measure.wait_for_collector(run.dir)
    shutil.rmtree(base)


def our_threads(keys: str, tasks: str) -> dict[str, float]:
    run, base = begin()
    func = full if keys == "100" else tiny
    run.async_log(func, 0).result()
    began = time.perf_counter()
    taken, _, submitted = submit(run, func, int(tasks))
    assert run.finish() is True
    whole = time.perf_counter() - began
    end(run, base)
    return {**figures(taken), "submit": submitted, "whole": whole}


def our_spawn(tasks: str) -> dict[str, float]:
    run, base = begin()
    for future in [run.async_log(tiny, i, mode="spawn") for i in range(20)]:
        future.result()  # both children are warm
    began = time.perf_counter()
    taken, futures, _ = submit(run, tiny, int(tasks), mode="spawn")
    for future in futures:
        future.result()
    rate = len(futures) / (time.perf_counter() - began)
    end(run, base)
    return {**figures(taken), "rate": rate}


def bare_forks(count: int) -> float:
    """Milliseconds of a fork and its wait, without any of ours."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


def our_fork(tasks: str, kind: str) -> dict[str, float]:
    """Milliseconds per task one after the other, beside a bare fork of the same process."""
    run, base = begin()
    if kind == "arrays":
        import numpy as np

        ballast = np.ones(128 << 20)  # 1 GiB, as model weights lie
    elif kind == "pages":
        ballast = bytearray(os.urandom(1 << 20)) * 1024  # 1 GiB in small pages
    else:
        ballast = None
    run.async_log(tiny, 0, mode="fork").result()
    bare = bare_forks(10)
    calls, whole = [], []
    for i in range(int(tasks)):
        start = time.perf_counter()
        future = run.async_log(tiny, i, mode="fork")
        calls.append(time.perf_counter() - start)
        future.result()
        whole.append(time.perf_counter() - start)
    bare = (bare + bare_forks(10)) / 2
    del ballast
    end(run, base)
    return {"call": statistics.median(calls) * 1000, "whole": statistics.median(whole) * 1000, "bare": bare}


def our_coroutines(tasks: str) -> dict[str, float]:
    import asyncio

    run, base = begin()

    async def wait(i):
        await asyncio.sleep(0.5)
        return {"x": float(i)}

    async def main():
        began = time.perf_counter()
        taken, futures, _ = submit(run, wait, int(tasks) + 1, mode="asyncio")
        await asyncio.gather(*map(asyncio.wrap_future, futures))
        return taken, time.perf_counter() - began

    taken, whole = asyncio.run(main())
    end(run, base)
    return {**figures(taken), "whole": whole}


def step_block(steps: int, call=None) -> float:
    """Seconds of `steps` training steps of 2 to 3 ms; at every fifth one `call` has a thread wait 20 ms."""
    began = time.perf_counter()
    for step in range(steps):
        if call is not None and step % 5 == 0:
            call(wait_io, step)
        x = 0.0
        for i in range(50_000):
            x += i * 0.5
    return time.perf_counter() - began


def wait_io(i: int) -> dict[str, float]:
    time.sleep(0.02)
    return {name: float(i) for name in NAMES[:20]}


def our_loop(rounds: str, steps: str) -> dict[str, list[float]]:
    """Ratios of a loop's time to the same loop alone, in turn: alone again, with bare threads, with async_log."""
    from concurrent.futures import ThreadPoolExecutor

    run, base = begin()
    bare = ThreadPoolExecutor(4)
    arms = {"A/A": None, "bare thread pool": bare.submit, "async_log": run.async_log}
    out = {name: [] for name in arms}
    for call in arms.values():
        step_block(int(steps), call)
    for turn in range(int(rounds)):
        for name in list(arms) if turn % 2 else list(arms)[::-1]:
            before = step_block(int(steps))
            taken = step_block(int(steps), arms[name])
            time.sleep(0.1)  # the last tasks end
            after = step_block(int(steps))
            out[name].append(2 * taken / (before + after))
    bare.shutdown()
    end(run, base)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    print(measure.machine())
    child = lambda name, *args: measure.in_child(__file__, name, *args)  # noqa: E731

    ours, theirs = [], []
    for _ in range(options.rounds):
        ours.append(child("our_threads", "100", str(options.tasks)))
        if not options.no_peer:
            theirs.append(peer_threads("100", str(options.tasks)))
    rows = [["steno", *(statistics.median(row[name] for row in ours) for name in ("median", "p99", "submit", "whole"))]]
    if theirs:
        rows.append(
            [PEER, *(statistics.median(row[name] for row in theirs) for name in ("median", "p99", "submit", "whole"))]
        )
        rows.append(["ratio", *(theirs_ / ours_ for ours_, theirs_ in zip(rows[0][1:], rows[1][1:], strict=True))])
    measure.table(
        f"threading, {options.tasks} tasks of 100 keys (targets: median ≤ 10 µs, ratio of the whole ≥ 20)",
        ["", "call µs, median", "p99", "all calls s", "until finish returned s"], rows,
    )  # fmt: skip

    spawn = child("our_spawn", "5000")
    measure.table("spawn, 2 children (targets: ≥ 1,000 tasks/s, call ≤ 30 µs)", ["call µs, median", "p99", "tasks/s"],
                  [[spawn["median"], spawn["p99"], spawn["rate"]]])  # fmt: skip

    forks = [[name, *child("our_fork", "30", kind).values()] for name, kind in
             (("small parent", ""), ("1 GiB of numpy arrays", "arrays"), ("1 GiB in 4 KiB pages", "pages"))]  # fmt: skip
    measure.table("fork (target: ≤ 15 ms per task with a 1 GB parent)",
                  ["", "call ms, median", "until its result ms", "bare os.fork and wait ms"], forks)  # fmt: skip

    loop = child("our_coroutines", "10000")
    measure.table("asyncio, 10,000 tasks at once, each waiting 0.5 s", ["call µs, median", "p99", "until all are logged s"],
                  [[loop["median"], loop["p99"], loop["whole"]]])  # fmt: skip

    steps = child("our_loop", "16", "100")
    quartiles = lambda some: [f"{(value - 1) * 100:+.2f} %" for value in statistics.quantiles(some, n=4)]  # noqa: E731
    measure.table("a training loop while 4 threads wait on I/O (target: median ≤ +2 % or within A/A)",
                  ["", "lower quartile", "median", "upper quartile"], [[name, *quartiles(some)] for name, some in steps.items()])  # fmt: skip


if __name__ == "__main__":
    main()
