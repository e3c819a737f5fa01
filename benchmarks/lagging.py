"""The collector's memory while csv and jsonl are far behind a run that goes on: its peak, and how fast they catch up.

    python benchmarks/lagging.py [--records 3000000] [--keys 1 20] [--hertz 10000] [--secs 60]

The records are logged and sealed first, by a run without destinations. It is resumed with both, and logs on at the
given rate for the given time while they catch up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _measure as measure

FIRST = """
import sys, steno
place, records, keys = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
run = steno.init(project="p", name="r", dir=place)
names = [f"train/metric_{key}" for key in range(keys)]
for step in range(records):
    run.log(dict.fromkeys(names, step / 7), step=step)
    if step % 200_000 == 199_999:
        run.flush(300)
run.finish(300)
"""
THEN = """
import sys, time, steno
place, keys, hertz, secs = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
run = steno.init(project="p", name="r", dir=place, resume=True, destinations=["csv", "jsonl"])
names = [f"train/metric_{key}" for key in range(keys)]
began, step = time.monotonic(), 10_000_000
print("logs", flush=True)
while time.monotonic() - began < secs:
    while step - 10_000_000 < (time.monotonic() - began) * hertz:
        run.log(dict.fromkeys(names, step / 7), step=step)
        step += 1
    time.sleep(0.001)
print("done", flush=True)
sys.stdin.readline()
"""


def status(run: Path) -> dict:
    try:
        return json.loads(next((run / ".steno" / "nodes").glob("*/status.json")).read_bytes())
    except OSError:
        return {}


def memory_mib(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


def lag(records: int, keys: int, hertz: float, secs: float) -> list:
    place = tempfile.mkdtemp(prefix="steno-lagging-", dir=measure.scratch())
    subprocess.run([sys.executable, "-c", FIRST, place, str(records), str(keys)], check=True)
    run = Path(place, "p", "r")
    subprocess.run([sys.executable, "-m", "steno.cli", "sync", str(run)], check=True, stdout=subprocess.DEVNULL)
    old = status(run).get("pid")
    trainer = subprocess.Popen(
        [sys.executable, "-c", THEN, place, str(keys), str(hertz), str(secs)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    trainer.stdout.readline()
    began = time.monotonic()
    while (pid := status(run).get("pid")) in {None, old}:
        time.sleep(0.05)
    while time.monotonic() - began < secs:
        time.sleep(0.5)
    found = status(run)
    peak, used = memory_mib(pid, "VmHWM"), measure.cpu_secs(pid)
    took = {name: found["destinations"][name]["count"] for name in ("csv", "jsonl")}
    trainer.kill()
    trainer.wait()
    subprocess.run(["kill", "-9", str(pid)], check=False)
    return [f"{records:,} × {keys}", peak, used / secs, took["csv"] / secs, took["jsonl"] / secs]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=3_000_000)
    parser.add_argument("--keys", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--hertz", type=float, default=10_000)
    parser.add_argument("--secs", type=float, default=60)
    given = parser.parse_args()
    print(measure.machine())
    rows = [
        lag(given.records // max(keys // 5, 1), keys, given.hertz / max(keys // 5, 1), given.secs)
        for keys in given.keys
    ]
    measure.table(
        f"csv and jsonl behind, while the run logs on for {given.secs:.0f} s",
        [
            "behind, records × keys",
            "peak memory of the collector, MiB",
            "CPU, cores",
            "csv, records/s",
            "jsonl, records/s",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
