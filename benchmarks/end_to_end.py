"""CPU of all processes and bytes on disk per scalar, from the first call to sealed Parquet.

    python benchmarks/end_to_end.py [--scalars 20000000] [--case NAME]

Random float64 values (they hardly compress), real times, 20 keys a record. The reference in the same run is a
JSON line per record, which is neither sealed nor safe. Targets: ≤ 0.4 µs and ≤ 12 bytes per scalar.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import threading
import time

import _measure as measure

POOL = 2_000_000
"""Different random values; more than a part holds, so that no part can compress a repetition."""


def steno_case(case: str, scalars: str) -> dict[str, float]:
    """One trainer process and its collector."""
    import steno

    total = int(scalars)
    base = measure.scratch()
    keys, destinations = 20, []
    if case == "tensorboard":
        destinations = ["tensorboard"]
    rnd = random.random
    if case == "100,000 keys":
        sets = [[f"layer{i:05d}/metric_{j}" for j in range(keys)] for i in range(5000)]
    elif case == "1,000 keys × 1,000 steps":
        keys, total = 1000, 1_000_000
        sets = [[f"metric_{j}" for j in range(keys)]]
    else:
        sets = [[f"train/metric_{j}" for j in range(keys)]]
    records = total // keys
    rows = [
        dict(zip(names, (rnd() for _ in names), strict=True))
        for names in sets
        for _ in range(max(1, POOL // (len(sets) * keys)))
    ]
    idle = measure.private_mib()
    run = steno.init(project="bench", dir=base, destinations=destinations)
    time.sleep(1.5)
    pids = measure.collectors(run.dir)
    began = sum(map(measure.cpu_secs, pids))
    seen = {"cpu": 0.0, "mib": 0.0}
    peak = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.25):
            peak[0] = max(peak[0], measure.private_mib())
            for pid in pids:
                measure.look(pid, seen)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start, cpu = time.perf_counter(), measure.cpu_secs()
    log, count = run.log, len(rows)
    for step in range(records):
        log(rows[step % count], step)
    called = time.perf_counter() - start
    own = measure.cpu_secs() - cpu
    run.finish(timeout=600)
    done.set()
    watcher.join()
    peak[0] = max(peak[0], measure.private_mib())
    last = measure.wait_for_collector(run.dir, 600)
    wall = time.perf_counter() - start
    theirs = max(seen["cpu"], last["cpu"]) - began
    size = measure.disk_bytes(run.dir)
    parts = sum(f.stat().st_size for f in (run.dir / "metrics").glob("*.parquet"))
    stored = len(steno.open(run.dir).series(next(iter(rows[0])), attempt="all"))
    expected = records if len(sets) == 1 else records // len(sets)
    assert abs(stored - expected) <= 1, (stored, expected)
    shutil.rmtree(base)
    return {
        "caller": own / total * 1e6,
        "collector": theirs / total * 1e6,
        "cpu": (own + theirs) / total * 1e6,
        "rate": total / wall / 1e6,
        "called": total / called / 1e6,
        "bytes": size / total,
        "parts": parts / total,
        "trainer_mib": peak[0] - idle,
        "collector_mib": max(seen["mib"], last["mib"]),
    }


def json_case(scalars: str) -> dict[str, float]:
    """A line of JSON per record, flushed at the end."""
    base = measure.scratch()
    rows = measure.floats(20)
    start, cpu = time.perf_counter(), measure.cpu_secs()
    with open(base / "lines.jsonl", "w") as file:
        file.writelines(
            json.dumps({**rows[step & 63], "step": step, "time": time.time()}) + "\n"
            for step in range(int(scalars) // 20)
        )
    spent, wall = measure.cpu_secs() - cpu, time.perf_counter() - start
    size = os.path.getsize(base / "lines.jsonl")
    shutil.rmtree(base)
    n = int(scalars)
    return {"cpu": spent / n * 1e6, "rate": n / wall / 1e6, "bytes": size / n}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scalars", type=int, default=20_000_000)
    parser.add_argument("--case", default="")
    options = parser.parse_args()
    print(measure.machine())
    rows = []
    for case in ("20 floats", "tensorboard", "100,000 keys", "1,000 keys × 1,000 steps"):
        if options.case in case:
            r = measure.in_child(__file__, "steno_case", case, str(options.scalars))
            rows.append(
                [
                    f"steno, {case}",
                    *(
                        r[k]
                        for k in (
                            "cpu",
                            "caller",
                            "collector",
                            "rate",
                            "bytes",
                            "parts",
                            "trainer_mib",
                            "collector_mib",
                        )
                    ),
                ]
            )
    r = measure.in_child(__file__, "json_case", str(options.scalars // 10))
    rows.append(["json.dumps + file.write", r["cpu"], r["cpu"], 0.0, r["rate"], r["bytes"], "", "", ""])
    measure.table(
        f"{options.scalars:,} scalars, from the first call to sealed Parquet",
        [
            "",
            "CPU µs/scalar, all",
            "caller",
            "collector",
            "M scalars/s",
            "bytes/scalar (du)",
            "in parts",
            "trainer MiB over idle",
            "collector MiB",
        ],
        rows,
    )
    print("\nTargets: 0.4 µs (0.9 with TensorBoard), 1 M scalars/s, 12 bytes, 64 MiB, 300 MiB")


if __name__ == "__main__":
    main()
