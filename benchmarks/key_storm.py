"""Memory of both processes under a million calls, each with a new key set.

    python benchmarks/key_storm.py [--calls 1000000]

The reference is the same loop with one key set. Memory is sampled at each tenth of the way.
"""

from __future__ import annotations

import argparse
import shutil
import time

import _measure as measure


def storm(kind: str, calls: str) -> dict[str, object]:
    """Log `calls` records; returns private MiB of trainer and collector at each tenth."""
    import steno

    base = measure.scratch()
    run = steno.init(project="bench", dir=base)
    time.sleep(1.5)
    pids = measure.collectors(run.dir)
    count = int(calls)
    trainer, helper = [], []
    start = time.perf_counter()
    for step in range(count):
        if kind == "storm":
            run.log({f"key_{step}": 1.0, f"other_{step}": 2.0}, step)
        else:
            run.log({"key": 1.0, "other": 2.0}, step)
        if step % (count // 10) == 0:
            trainer.append(measure.private_mib())
            helper.append(sum(map(measure.private_mib, pids)))
    called = time.perf_counter() - start
    while not run.flush(1.0):
        trainer.append(measure.private_mib())
        helper.append(sum(map(measure.private_mib, measure.collectors(run.dir))))
    posted = time.perf_counter() - start
    run.finish(timeout=120)
    last = measure.wait_for_collector(run.dir, 600)
    shutil.rmtree(base)
    return {"trainer": trainer, "collector": [*helper, last["mib"]], "call": called / count * 1e6, "posted": posted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    options = parser.parse_args()
    print(measure.machine())
    rows = []
    for kind, label in (("storm", "a new key set each call"), ("one", "one key set")):
        r = measure.in_child(__file__, "storm", kind, str(options.calls))
        for name in ("trainer", "collector"):
            values = r[name]
            rows.append(
                [label, name, values[1], values[len(values) // 2], values[-1], max(values), r["call"], r["posted"]]
            )
    measure.table(
        f"{options.calls:,} calls: private MiB",
        ["", "process", "at 10 %", "half way", "last", "peak", "µs per call", "s until posted"],
        rows,
    )


if __name__ == "__main__":
    main()
