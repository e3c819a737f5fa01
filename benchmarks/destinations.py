"""What destinations cost the caller of run.log: nothing, whichever they are; and what services cost beside it.

    python benchmarks/destinations.py [--rounds 20] [--calls 2000] [--services]

Each set of destinations has a process with a run of its own; they are asked in turn for a block of calls, so that
all meet the same load. "empty" is a loop without a call between the same two looks at the clock, in the same blocks.
With --services: CPU-bound time of each service's own package, offline or into its local store, per point.
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

SETS = {
    "none": "[]",
    "1: jsonl": "['jsonl']",
    "5: jsonl, csv, tensorboard, text, an object": "['jsonl', 'csv', 'tensorboard', 'text', MemoryDestination()]",
    "1 that sleeps 50 ms a batch": "[SlowDestination(0.05)]",
}
CHILD = """
import json, random, sys, time
import steno
from steno.testing import MemoryDestination, SlowDestination
run = steno.init(project="bench", dir=sys.argv[1], destinations=eval(sys.argv[2]))
rows = [{f"train/metric_{key}": random.random() for key in range(20)} for _ in range(64)]
clock, step = time.perf_counter_ns, 0
for line in sys.stdin:
    taken, empty = [], []
    for _ in range(int(line)):
        row = dict(rows[step & 63]); step += 1
        before = clock(); run.log(row, step); after = clock()
        taken.append(after - before); empty.append(clock() - after)
        if step % 100 == 0: time.sleep(0.002)
    print(json.dumps([taken, empty]), flush=True)
run.finish(20)
"""
RECORDS, KEYS = 1000, 20


def callers(rounds: int, calls: int) -> None:
    base = measure.scratch()
    children = {
        name: subprocess.Popen(
            [sys.executable, "-c", CHILD, str(base / str(at)), made],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for at, (name, made) in enumerate(SETS.items())
    }  # fmt: skip
    taken: dict[str, list[int]] = {name: [] for name in SETS}
    empty: dict[str, list[int]] = {name: [] for name in SETS}
    medians: dict[str, list[float]] = {name: [] for name in SETS}
    for turn in range(rounds + 1):
        for name in list(SETS)[:: 1 if turn % 2 else -1]:
            child = children[name]
            child.stdin.write(f"{calls}\n")
            child.stdin.flush()
            ours, idle = json.loads(child.stdout.readline())
            if turn:  # the first round warms
                taken[name] += ours
                empty[name] += idle
                medians[name].append(statistics.median(ours) / 1000)
    for child in children.values():
        child.stdin.close()
        child.wait()
    shutil.rmtree(base, ignore_errors=True)
    at = lambda values, share: sorted(values)[int(len(values) * share)] / 1000  # noqa: E731
    measure.table(
        f"run.log of 20 floats, µs: {rounds} blocks of {calls} calls each, in turn",
        ["destinations", "median", "blocks' medians", "p99", "p99.9", "empty p99.9", "over 1 ms", "empty over 1 ms"],
        [
            [
                name,
                at(taken[name], 0.5),
                f"{min(medians[name]):.2f} to {max(medians[name]):.2f}",
                at(taken[name], 0.99),
                at(taken[name], 0.999),
                at(empty[name], 0.999),
                sum(value > 1_000_000 for value in taken[name]),
                sum(value > 1_000_000 for value in empty[name]),
            ]
            for name in SETS
        ],
    )


def service(name: str) -> dict[str, float]:
    """Seconds of importing, opening and ending, and microseconds per point, of one service in this process."""
    place = tempfile.mkdtemp(prefix="steno-service-")
    os.environ["TRACKIO_DIR"] = place
    from steno.destinations import registry
    from steno.record import RunInfo
    from steno.testing import make_batch

    options = {"wandb": {"mode": "offline"}, "swanlab": {"mode": "offline"}}.get(name, {})
    run_dir = Path(place, "runs", "p", "r")
    run_dir.mkdir(parents=True)
    keys = [f"train/metric_{key}" for key in range(KEYS)]
    batches = [
        make_batch(
            [(100 * id + row, dict.fromkeys(keys, row / 7)) for row in range(100)], id=id + 1, first=100 * id + 1
        )
        for id in range(RECORDS // 100)
    ]
    made = registry.create(name, options)
    began = time.perf_counter()
    made.open(RunInfo(run_dir, "bench-1", "r", "p"))
    opened = time.perf_counter()
    for batch in batches:
        made.write(batch)
    made.flush()
    written = time.perf_counter()
    made.close()
    ended = time.perf_counter()
    shutil.rmtree(place, ignore_errors=True)
    return {"open": opened - began, "point": (written - opened) / (RECORDS * KEYS) * 1e6, "close": ended - written}


def services() -> None:
    rows = []
    for name in ("wandb", "mlflow", "swanlab", "trackio"):
        found = measure.in_child(__file__, "service", name)
        rows.append([name, found["point"], found["open"], found["close"]])
    measure.table(
        f"A service in its own process: {RECORDS} records of {KEYS} numbers in batches of 100, until they are on disk",
        ["destination", "µs per point", "import and open, s", "close, s"],
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--services", action="store_true")
    options = parser.parse_args()
    print(measure.machine())
    callers(options.rounds, options.calls)
    if options.services:
        services()


if __name__ == "__main__":
    main()
