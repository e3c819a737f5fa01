"""What one sample of the system metrics costs the collector, and how many numbers it brings."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from steno.collector.system.gpus import Gpus
from steno.collector.system.host import Host

SAMPLES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8, help="processes that log, each of a rank of its own")
    given = parser.parse_args()
    idle = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(given.processes)]
    processes = {rank: frozenset({one.pid}) for rank, one in enumerate(idle)}
    probes = [Host(Path(tempfile.gettempdir())), Gpus(lambda _, message: print(message))]
    for probe in probes:
        if not probe.open():
            print(f"{probe.name}: nothing to measure here")
            continue
        probe.sample(1.0, processes)
        costs = []
        for _ in range(SAMPLES):
            began = time.thread_time()
            found = probe.sample(1.0, processes)
            costs.append((time.thread_time() - began) * 1e3)
        numbers = sum(len(values) for _, values in found)
        print(
            f"{probe.name}: {numbers} numbers in {len(found)} records, {statistics.median(costs):.2f} ms of CPU a "
            f"sample, p99 {statistics.quantiles(costs, n=100)[98]:.2f}; load {os.getloadavg()[0]:.1f}"
        )
    for one in idle:
        one.communicate(b"\n")


if __name__ == "__main__":
    main()
