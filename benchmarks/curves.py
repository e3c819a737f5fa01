"""Curves of many runs by steno.bins, beside DuckDB's SQL over the same files: first in a process, and again.

    python benchmarks/curves.py [--runs 100] [--points 10000] [--width 500] [--group 1000]

The runs are copies of one that was really recorded, of one key of random float64. DuckDB gives count, first, last,
min and max by the same bins, and reads nothing else. `--group N`: mean ± std over N runs of 100 points by a value of
their configuration, in place of the curves. Imports are not counted; the median of 11 calls is `again`.
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

OURS = """
import json, sys, time
import numpy, pyarrow.parquet, duckdb, pyarrow.compute
import steno
arguments = json.loads(sys.argv[2])
runs = [sys.argv[1]] if arguments.pop("by_dir") else steno.runs(sys.argv[1])
steno.bins, spent = steno.bins, []
for _ in range(arguments.pop("times")):
    begun, cpu = time.perf_counter(), time.process_time()
    curves = steno.bins("loss", runs, **arguments)
    spent.append((time.perf_counter() - begun, time.process_time() - cpu))
print(json.dumps([spent, len(curves), curves.total, curves.width]))
"""
DUCKDB = """
import json, sys, time
import duckdb
begun, cpu = time.perf_counter(), time.process_time()
width = json.loads(sys.argv[2])
database = duckdb.connect()
database.sql('set enable_progress_bar = false')
database.sql(f'''select filename, step // {width} as bin, count(*), arg_min(value, step), arg_max(value, step),
    min(value), max(value) from read_parquet('{sys.argv[1]}/*/*/metrics/*.parquet', filename=true)
    where key = 'loss' group by all''').to_arrow_table()
print(json.dumps([time.perf_counter() - begun, time.process_time() - cpu]))
"""


def build(place: Path, runs: int, points: int) -> None:
    """Finished runs of one key under a directory."""
    import numpy as np

    import steno

    rng = np.random.default_rng(0)
    with steno.init(project="bench", name="0", dir=place, config={"lr": 0}, system_metrics=False) as run:
        for step, value in enumerate(rng.random(points).tolist()):
            run.log({"loss": value}, step=step)
    first = place / "bench" / "0"
    deadline = time.monotonic() + 60
    journals = first / ".steno" / "journal"
    while not (first / "manifest.json").exists() or (journals.exists() and any(journals.iterdir())):
        if time.monotonic() > deadline:
            raise SystemExit("the collector does not end the run")
        time.sleep(0.1)
    time.sleep(1.0)  # what it removes last
    about = json.loads((first / "run.json").read_text())
    for number in range(1, runs):
        copy = place / "bench" / str(number)
        shutil.copytree(first, copy, copy_function=os.link)
        (copy / "run.json").unlink()
        changed = {**about, "name": str(number), "id": f"copy{number}", "config": {"lr": number % 10}}
        (copy / "run.json").write_text(json.dumps(changed))


def fresh(code: str, place: Path, arguments: object) -> list:
    """What a program prints, in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(place), json.dumps(arguments)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def curves(place: Path, *, times: int = 11, by_dir: bool = False, **arguments) -> dict[str, float]:
    """Milliseconds (and of CPU) of the first call in a process, the median of the others, and what came."""
    spent, lines, total, width = fresh(OURS, place, {"times": times + 1, "by_dir": by_dir, **arguments})
    return {
        "first": spent[0][0] * 1e3,
        "first_cpu": spent[0][1] * 1e3,
        "again": statistics.median(one[0] for one in spent[1:]) * 1e3,
        "again_cpu": statistics.median(one[1] for one in spent[1:]) * 1e3,
        "curves": lines,
        "points": total,
        "width": width,
    }


def duckdb(place: Path, width: int) -> tuple[float, float]:
    """Milliseconds, and of CPU, of the same bins by SQL over the files, in a fresh process."""
    wall, cpu = fresh(DUCKDB, place, width)
    return wall * 1e3, cpu * 1e3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--group", type=int, default=0)
    parser.add_argument("--dir", type=Path, help="where the runs are, or are made; kept")
    given = parser.parse_args()
    place = given.dir or Path(tempfile.mkdtemp(prefix="steno-curves-"))
    try:
        if not (place / "bench").exists():
            begun = time.perf_counter()
            build(place, given.group or given.runs, 100 if given.group else given.points)
            print(f"built in {time.perf_counter() - begun:.0f} s")
        found = curves(place, group=["config.lr"]) if given.group else curves(place, width=given.width)
        print(f"steno.bins: first {found['first']:,.0f} ms (CPU {found['first_cpu']:,.0f}), again {found['again']:,.0f} ms "
              f"(CPU {found['again_cpu']:,.0f}); {found['curves']} curves of {found['points']:,} points, width {found['width']}")  # fmt: skip
        if not given.group:
            wall, cpu = duckdb(place, int(found["width"]))
            print(f"DuckDB: {wall:,.0f} ms (CPU {cpu:,.0f})")
    finally:
        if given.dir is None:
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
