"""ClickHouse over steno's tables: ingest by `steno publish`, one series, one key of 100 runs; `scripts/bench engines`.

The engine is chDB behind the loopback of the tests, in a process of its own; its CPU is what /proc says of it. It needs
chdb and clickhouse-connect: pip install chdb==4.4.0 clickhouse-connect.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "unit")]

from store_runs import Writer  # noqa: E402

import steno  # noqa: E402
from clickhouse_front import front  # noqa: E402
from steno.clickhouse import tables  # noqa: E402
from steno.clickhouse.connection import Connection  # noqa: E402
from steno.clickhouse.place import place_of  # noqa: E402
from steno.publish.clickhouse import publish  # noqa: E402
from steno.store.clickhouse.engine import parted  # noqa: E402
from steno.store.stock import stock_of  # noqa: E402

RUNS, KEYS, STEPS = 100, 10, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid):
    """Seconds of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def record(place):
    """Runs of random walks, sealed with their bins."""
    rng = np.random.default_rng(0)
    for number in range(RUNS):
        with Writer(place / "p" / f"r{number:03d}", format=2, project="p", id=f"ID{number:03d}") as writer:
            rows = rng.normal(size=(STEPS, KEYS)).cumsum(axis=0).tolist()
            keys = [f"g/metric{at}" for at in range(KEYS)]
            for begin in range(0, STEPS, 10_000):
                some = rows[begin : begin + 10_000]
                writer.log(*[(begin + at, dict(zip(keys, row, strict=True))) for at, row in enumerate(some)])
            writer.seal()
            writer.close()


def timed(name, call, pid, target=""):
    """Best of five, in wall and in the server's CPU."""
    found = []
    for _ in range(5):
        before, began = cpu(pid), time.perf_counter()
        answer = call()
        found.append((time.perf_counter() - began, cpu(pid) - before))
    wall, used = (min(column) for column in zip(*found, strict=True))
    print(f"| {name} | {1e3 * wall:.0f} ms | {1e3 * used:.0f} ms | {target} |", flush=True)
    return answer


BINNED = """
    select run, intDiv(step, {w}) as b, count(), min(value), max(value), argMin(step, value), argMax(step, value)
    from {{db}}.points {final} where project = 'p' and key = 'g/metric5' group by run, b"""
FROM_BINS = """
    select run, intDiv(start, {w}) as b, sum(count), min(min_value), max(max_value), argMin(min_step, min_value),
    argMax(max_step, max_value) from {{db}}.bins final where project = 'p' and key = 'g/metric5' group by run, b"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        record(place / "runs")
        points = RUNS * KEYS * STEPS
        with front(place / "clickhouse") as (server, gate):
            pid = server.process.pid
            print("| | wall | CPU of ClickHouse | target |\n|---|---|---|---|")
            for name, stopped in (("merges aside", True), ("with the merges meanwhile", False)):
                url = f"clickhouse://default@127.0.0.1:{server.port}/st{int(stopped)}"
                connection = Connection(place_of(url))
                connection.prepare()
                for table in tables.TABLES if stopped else ():
                    connection.command(f"system stop merges {connection.place.database}.{table}")
                connection.close()
                before, own, began = cpu(pid), time.process_time(), time.perf_counter()
                done = publish(stock_of(place / "runs"), place_of(url))
                wall, used = time.perf_counter() - began, cpu(pid) - before
                own = time.process_time() - own
                speed = f"{points / used / 1e6:.2f} M points a second of a core"
                print(
                    f"| ingest of {points:,} points, {name} | {wall:.1f} s | {used:.1f} s: {speed} | 1 M |", flush=True
                )
                print(f"| the publisher's own part | | {own:.1f} s | |")
            engine, _ = parted(url)
            width = 1 << int(np.ceil(np.log2(STEPS / 500)))
            coarse = max(width, 256)
            with steno.open(f"{url}/p/r042") as run:
                timed("one series", lambda: run.series("g/metric5"), pid, "15 ms")
            one = "select step, value from {db}.points final where project = 'p' and run = 'ID042' and key = 'g/metric5' order by step"
            timed("the same as a query alone", lambda: engine.rows(one), pid, "15 ms")
            raw = timed(
                "one key of 100 runs in bins, from points, final",
                lambda: engine.rows(BINNED.format(w=width, final="final")),
                pid,
                "160 ms",
            )
            timed("the same without final", lambda: engine.rows(BINNED.format(w=width, final="")), pid)
            print(f"|   its bins of {width} steps | {len(raw):,} | | |")
            few = timed(
                f"the same in bins of {coarse} steps, from bins",
                lambda: engine.rows(FROM_BINS.format(w=coarse)),
                pid,
                "60 ms",
            )
            print(f"|   bins | {len(few):,} | | |")
            timed("`steno.bins` of it", lambda: steno.bins("g/metric5", url, width=500), pid)
            size = engine.rows(
                "select sum(bytes_on_disk) as b from system.parts where active and database = 'st0' and table = 'points'"
            )
            print(f"| bytes per point | {size['b'][0].as_py() / points:.2f} | | |")
            assert done.rows == points


if __name__ == "__main__":
    main()
