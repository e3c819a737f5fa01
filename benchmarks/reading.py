"""Every figure that reading promises: ours, DuckDB on the same files, and TensorBoard's reader, in turns.

    python benchmarks/reading.py [--runs 10000] [--keys 100] [--points 1000000] [--one 100000000] [--rounds 3]
                                 [--dir PLACE] [--check]

`--runs`: in the lists and in SQL over many (a third each with 5, 100 and 1,000 keys); `--points`: of each key of the one
long run; `--one`: of the one key of another; all smaller for a quick look. "floor" is what no reader of these files can
do without: to open and read them, or to have pyarrow parse their footers. Each figure is of a fresh process, without its imports, and the smallest of the
rounds: seconds, and of CPU in brackets. "first" has an empty cache directory, "again" the one that "first" has left.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import _measure
import curves
import read_back
import run_list
import steno

TODAY_AND_TARGET = {
    "runs(), first": ("24.8", 2.5),
    "runs(), again": ("", 0.4),
    "steno runs --last 20": ("24.8", 0.25),
    "mean ± std of a key over 1,000 runs by a config value": ("by hand", 0.3),
    "steno runs --last 20, command line beyond its imports": ("24.8", 0.25),
    "sql: a key's mean by run, first": ("> 360", 1.0),
    "sql: a key's mean by run, again": ("", 1.0),
    "sql: a query over 20 of the runs": ("", 1.0),
    "summary of a recorded run": ("13.9", 0.05),
    "keys() of a recorded run": ("1.2", 0.05),
    "first series of the long run": ("1.0", 0.3),
    "frame of 4 keys": ("3.4", None),
    "series(points=2000) of one key": ("0.3", 0.025),
    "series(points=2000) of one key of its own run": ("", 0.06),
    "bins, 1 key × 100 runs × 10,000 points, first": ("", 0.08),
    "bins, 1 key × 100 runs × 10,000 points, again": ("", 0.04),
    "bins, 1 key × 100 runs × 1,000,000 points, first": ("", 0.1),
    "bins, 1 key × 100 runs × 1,000,000 points, again": ("", 0.1),
}
SQL = "select run, avg(value) from metrics where key = 'train/metric_0001' group by run"
HEAD = """
import json, os, sys, time
import numpy, pyarrow.parquet, duckdb, msgspec, crc32c
import steno, steno.store.reader, steno.store.query, steno.store.summary
place, keys = sys.argv[1], [f"train/metric_{number:03d}" for number in (10, 20, 30, 40)]
def said(work):
    begun, cpu = time.perf_counter(), time.process_time()
    found = work()
    print(json.dumps([time.perf_counter() - begun, time.process_time() - cpu, len(found)]))
"""
OURS = {
    "sql: a key's mean by run, first": f'said(lambda: steno.sql("{SQL}", dir=place).fetchall())',
    "sql: a key's mean by run, again": f'said(lambda: steno.sql("{SQL}", dir=place).fetchall())',
    "sql: a query over 20 of the runs": f'said(lambda: steno.sql("{SQL}", json.loads(sys.argv[2])).fetchall())',
    "summary of a recorded run": "said(lambda: steno.open(place).summary)",
    "keys() of a recorded run": "said(lambda: steno.open(place).keys())",
    "first series of the long run": "said(lambda: steno.open(place).series(keys[0]))",
    "frame of 4 keys": "said(lambda: steno.open(place).frame(keys, as_='arrow'))",
    "series(points=2000) of one key of its own run": "said(lambda: steno.open(place).series(keys[0], points=2000))",
    "series(points=2000) of one key": "said(lambda: steno.open(place).series(keys[0], points=2000))",
}
FILES = "read_parquet({files}, filename = true)"
PIVOT = (
    "pivot (select step, rank, attempt, key, value from {source} where key in ({names})) on key using last(value) "
    "group by step, rank, attempt order by step"
)
DUCKDB = {
    "sql: a key's mean by run, again": "select filename, avg(value) from {source} where key = 'train/metric_0001' group by all",
    "sql: a query over 20 of the runs": "select filename, avg(value) from {source} where key = 'train/metric_0001' group by all",
    "summary of a recorded run": "select key, count(*), min(value), max(value), arg_max(value, step) from {source} group by key",
    "keys() of a recorded run": "select distinct key from {source}",
    "first series of the long run": "select step, time, value, rank, record from {source} where key = 'train/metric_010'",
    "frame of 4 keys": PIVOT,
}


@dataclass(frozen=True)
class Took:
    """The smallest of some rounds."""

    wall: float = float("inf")
    cpu: float = float("inf")

    def beside(self, wall: float, cpu: float) -> Took:
        return Took(min(wall, self.wall), min(cpu, self.cpu))

    def __str__(self) -> str:
        return "" if self.wall == float("inf") else f"{self.wall:.3g} ({self.cpu:.3g})"


def fresh(code: str, place: Path, more: object = None, cache: Path | None = None) -> tuple[float, float]:
    """(seconds, of CPU) that a program prints, in an interpreter of its own."""
    environment = {**os.environ, "STENO_CACHE_DIR": str(cache or place / "no cache")}
    command = [sys.executable, "-W", "ignore", "-c", HEAD + code, str(place), json.dumps(more)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    wall, cpu, _ = json.loads(done.stdout[done.stdout.rindex("[") :])  # behind DuckDB's bar of progress
    return wall, cpu


def duckdb(query: str, place: Path, files: str) -> tuple[float, float]:
    """The same of DuckDB alone."""
    names = ", ".join(f"'train/metric_{number:03d}'" for number in (10, 20, 30, 40))
    text = query.format(source=FILES.format(files=files), names=names)
    return fresh(f"said(lambda: duckdb.connect().sql({text!r}).to_arrow_table())", place)


FLOOR = """
import glob, os
files = glob.glob(place)
def opened():
    for path in files:
        with open(path, "rb", buffering=0) as file:
            file.read()
    return files
def footers():
    return [pyarrow.parquet.read_metadata(path) for path in files]
said({})
"""


def floors(place: Path, long: Path) -> list[list[str]]:
    """Rows of what no reader can do without."""
    rows = []
    for what, pattern in (
        ("the many runs", f"{place}/*/*/metrics/*.parquet"),
        ("the long run", f"{long}/metrics/*.parquet"),
    ):
        count = len(list(Path("/").glob(pattern.lstrip("/"))))
        for how, name in (("open and read", "opened"), ("parse the footers", "footers")):
            wall, cpu = fresh(FLOOR.replace("{}", name), Path(pattern), cache=place / "no cache")
            rows.append([f"{how} of {what}, {count:,} parts", "", "", str(Took(wall, cpu)), "", ""])
    return rows


def spent(command: list[str], cache: Path) -> tuple[float, float]:
    """(seconds, of CPU) of a whole process."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env={**os.environ, "STENO_CACHE_DIR": str(cache)}, text=True
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - begun, used.ru_utime + used.ru_stime


def command_line(place: Path) -> tuple[float, float]:
    """(seconds, of CPU) of `steno runs --last 20` with no index, beyond those of the same on an empty directory."""
    with tempfile.TemporaryDirectory(prefix="steno-cache-") as cache, tempfile.TemporaryDirectory() as empty:
        command = [sys.executable, "-m", "steno", "runs", "--last", "20", "--dir"]
        whole, start = (spent([*command, str(one)], Path(cache)) for one in (place, empty))
    return whole[0] - start[0], whole[1] - start[1]


def many(place: Path, rounds: int, took: dict[str, Took], other: dict[str, Took]) -> None:
    """The rows over many runs."""
    names = {"first": "runs(), first", "again": "runs(), again", "last 20, no index": "steno runs --last 20"}
    runs = sorted(str(path) for path in (place / "p").iterdir())[:20]
    listed = "[" + ", ".join(f"'{run}/metrics/*.parquet'" for run in runs) + "]"
    for _ in range(rounds):
        for name, wall, cpu in run_list.measure(place):
            if name in names:
                took[names[name]] = took.get(names[name], Took()).beside(wall, cpu)
        name = "steno runs --last 20, command line beyond its imports"
        took[name] = took.get(name, Took()).beside(*command_line(place))
        with tempfile.TemporaryDirectory(prefix="steno-cache-") as cache:
            for name in [name for name in OURS if name.startswith("sql")]:
                took[name] = took.get(name, Took()).beside(*fresh(OURS[name], place, runs, Path(cache)))
                if name in DUCKDB:
                    files = listed if "20 of" in name else f"'{place}/*/*/metrics/*.parquet'"
                    other[name] = other.get(name, Took()).beside(*duckdb(DUCKDB[name], place, files))


def record(place: Path, keys: int, records: int = 20_000) -> None:
    """A run that was really recorded: the long one is posted without a collector, which writes the card of a run."""
    with steno.init(project="p", name="recorded", dir=place, system_metrics=False) as run:
        names = [f"train/metric_{number:03d}" for number in range(keys)]
        for step in range(records):
            run.log({name: step / (number + 1) for number, name in enumerate(names)}, step=step)


def long(place: Path, rounds: int, took: dict[str, Took], other: dict[str, Took]) -> None:
    """The rows over one run."""
    for _ in range(rounds):
        for name in [name for name in OURS if not name.startswith("sql")]:
            run_dir = place / ("recorded/p/recorded" if "recorded" in name else "one" if "its own" in name else "long")
            took[name] = took.get(name, Took()).beside(*fresh(OURS[name], run_dir))
            if name in DUCKDB:
                found = duckdb(DUCKDB[name], run_dir, f"'{run_dir}/metrics/*.parquet'")
                other[name] = other.get(name, Took()).beside(*found)


def over_bins(place: Path, took: dict[str, Took], other: dict[str, Took], count: int) -> None:
    """The rows of `steno.bins`."""
    for points in (10_000, 1_000_000):
        there = place / f"curves-{points}"
        if not there.exists():
            curves.build(there, 100, points)
        found = curves.curves(there, width=500)
        name = f"bins, 1 key × 100 runs × {points:,} points, "
        took[name + "first"] = Took(found["first"] / 1e3, found["first_cpu"] / 1e3)
        took[name + "again"] = Took(found["again"] / 1e3, found["again_cpu"] / 1e3)
        wall, cpu = curves.duckdb(there, int(found["width"]))
        other[name + "first"] = Took(wall / 1e3, cpu / 1e3)
    if not (place / "groups").exists():
        curves.build(place / "groups", count, 100)
    found = curves.curves(place / "groups", group=["config.lr"])
    took["mean ± std of a key over 1,000 runs by a config value"] = Took(found["again"] / 1e3, found["again_cpu"] / 1e3)


def peer(place: Path, keys: int, points: int) -> float:
    """Seconds of TensorBoard's reader for one series of a run, by its time for a small one of as many keys."""
    names, steps = [f"train/metric_{number:03d}" for number in range(keys)], 2_000
    read_back.build_tensorboard(place, names, steps)
    spent, _ = read_back.read_tensorboard(place, names[0])
    return spent * points / steps


def main() -> int:
    """Print the table; 1 where `--check` is given and a target is missed by CPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--one", type=int, default=100_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, help="where the data is, or is made; kept")
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    place = (chosen.dir or _measure.scratch("steno-reading-")).absolute()
    took: dict[str, Took] = {}
    other: dict[str, Took] = {}
    try:
        begun = time.perf_counter()
        if not (place / "runs").exists():
            run_list.generate(place / "runs" / "p", chosen.runs)
        if not (place / "long").exists():
            names = [f"train/metric_{number:03d}" for number in range(chosen.keys)]
            read_back.build(place / "long", names, chosen.points, live=False)
        if not (place / "one").exists():
            read_back.build(place / "one", ["train/metric_010"], chosen.one, live=False)
        if not (place / "recorded").exists():
            record(place / "recorded", chosen.keys)
        print(f"{_measure.machine()}; data made in {time.perf_counter() - begun:.0f} s")
        many(place / "runs", chosen.rounds, took, other)
        long(place, chosen.rounds, took, other)
        over_bins(place / "bins", took, other, min(chosen.runs, 1000))
        limits = floors(place / "runs", place / "long")
        with tempfile.TemporaryDirectory(prefix="steno-reading-") as more:
            board = peer(Path(more) / "tensorboard", chosen.keys, chosen.points)
    finally:
        if chosen.dir is None:
            shutil.rmtree(place, ignore_errors=True)
    missed, rows = False, []
    for name, (today, target) in TODAY_AND_TARGET.items():
        ours, theirs = took.get(name, Took()), other.get(name, Took())
        said = "≤ 1.1 × DuckDB" if target is None else f"≤ {target}"
        missed |= ours.cpu > (1.1 * theirs.cpu if target is None else target)
        ratio = f"{ours.cpu / theirs.cpu:.2f}" if theirs.cpu < float("inf") else ""
        rows.append([name, today, said, str(ours), str(theirs), ratio])
    rows += limits
    columns = ["s (of CPU)", "before", "target", "steno", "DuckDB on the files", "CPU ratio"]
    _measure.table(f"{chosen.runs:,} runs; one run of {chosen.keys} keys × {chosen.points:,} points", columns, rows)
    print(f"\nTensorBoard's EventAccumulator, one series of the long run, scaled from 2,000 steps: {board:,.0f} s")
    return 1 if chosen.check and missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
