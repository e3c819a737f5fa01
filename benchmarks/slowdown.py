"""What a training loop of 1 ms steps loses: blocks with and without logging, interleaved in one process.

    python benchmarks/slowdown.py [--pairs 12] [--steps 500]

The reference is the same loop without logging: A/A pairs (neither logs) give the spread that the A/B pairs
(one logs 20 floats a step, the collector at work) are judged by. CPU counts the trainer and the collector.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time

import _measure as measure


def steps_block(log, rows, steps: int) -> tuple[float, float]:
    """Wall seconds and own CPU seconds of a block of 1 ms steps."""
    start, cpu = time.perf_counter(), measure.cpu_secs()
    for step in range(steps):
        end = time.perf_counter() + 0.001
        x = 0.0
        while time.perf_counter() < end:
            x += sum(i * 0.5 for i in range(40))
        if log is not None:
            log(dict(rows[step & 63]), None)
    return time.perf_counter() - start, measure.cpu_secs() - cpu


def run_pairs(pairs: str, steps: str) -> dict[str, object]:
    """A/A and A/B pairs in turn, the order within a pair alternating."""
    import steno

    base = measure.scratch()
    rows = measure.floats(20)
    run = steno.init(project="bench", dir=base)
    time.sleep(2.0)
    pids = measure.collectors(run.dir)
    count = int(steps)
    steps_block(run.log, rows, count)
    plain, ours, helper = [], [], []
    for pair in range(int(pairs)):
        time.sleep(0.3)
        blocks = {}
        for name in ("a", "b") if pair % 2 else ("b", "a"):
            blocks[name] = steps_block(None, rows, count)
        plain.append(blocks["b"][0] / blocks["a"][0])
        time.sleep(0.3)
        for name in ("a", "b") if pair % 2 else ("b", "a"):
            before = sum(map(measure.cpu_secs, pids))
            blocks[name] = steps_block(run.log if name == "b" else None, rows, count)
            if name == "b":
                time.sleep(0.3)
                helper.append((sum(map(measure.cpu_secs, pids)) - before) / count * 1e6)
        ours.append(blocks["b"][0] / blocks["a"][0])
    call = measure.per_call(lambda row, step: run.log(row, None), rows, 20_000)["median"]
    run.finish(timeout=30)
    measure.wait_for_collector(run.dir)
    shutil.rmtree(base)
    return {"plain": plain, "ours": ours, "helper": statistics.median(helper), "call": call}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    print(measure.machine())
    r = measure.in_child(__file__, "run_pairs", str(options.pairs), str(options.steps))
    spread = lambda values: [statistics.median(values), min(values), max(values)]  # noqa: E731
    measure.table(
        "Wall clock of a block of 1 ms steps, as a ratio",
        ["pair", "median", "min", "max"],
        [
            ["neither logs (A/A)", *(f"{v:.4f}" for v in spread(r["plain"]))],
            ["one logs 20 floats a step (A/B)", *(f"{v:.4f}" for v in spread(r["ours"]))],
        ],
    )
    measure.table(
        "CPU per step, µs",
        ["", "µs"],
        [["the call", r["call"]], ["the collector", r["helper"]], ["all (target ≤ 15)", r["call"] + r["helper"]]],
    )


if __name__ == "__main__":
    main()
