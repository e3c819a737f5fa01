"""Lists of ten thousand runs: the first time, again, the last twenty, and what a fresh process needs of one long run.

    python benchmarks/run_list.py [--runs 10000] [--check]

Three runs are recorded, with 5, 100 and 1,000 keys; the others are copies of them under names, ids and times of their
own, their parts hard links. Each figure is of a fresh process, without its imports; `CPU` is what that process used.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KEYS = (5, 100, 1000)
TARGETS = {"first": 2.5, "again": 0.4, "last 20": 0.25, "last 20, no index": 0.25}
TIMED = """
import os, sys, time
import steno
from steno.store import listing
import msgspec, crc32c
cpu, begun = time.process_time(), time.perf_counter()
found = steno.runs(sys.argv[1], limit=int(sys.argv[2]) or None)
print(time.perf_counter() - begun, time.process_time() - cpu, len(found))
"""


def generate(place: Path, count: int) -> None:
    """So many runs below `place`, as if they had been recorded one minute after another."""
    import steno
    from steno.ledger import card

    recorded = []
    for keys in KEYS:
        run = steno.init(project="recorded", name=f"keys{keys}", dir=place.parent, config={"lr": 0.1, "keys": keys})
        for step in range(20):
            run.log({f"train/metric_{number:04d}": step / (number + 1) for number in range(keys)}, step)
        run.finish(60)
        recorded.append(Path(run.dir))
    for run_dir in recorded:
        _wait(lambda: bool(found := card.read(run_dir)) and all(one.ended for one in found.values()))  # noqa: B023
    now = time.time_ns()
    for number in range(count):
        _copy(recorded[number % len(recorded)], place / f"r{number:05d}", now - (count - number + 5) * 60 * 10**9)


def _wait(holds, secs: float = 60.0) -> None:
    deadline = time.monotonic() + secs
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the collector did not leave")
        time.sleep(0.05)


def _copy(source: Path, target: Path, started: int) -> None:
    from steno.ledger import card

    target.mkdir(parents=True)
    for folder in ("metrics", "records"):
        (target / folder).mkdir()
        for part in (source / folder).iterdir():
            os.link(part, target / folder / part.name)
    for path in source.iterdir():
        if not path.is_file():
            continue
        data = path.read_bytes()
        if path.name == "run.json":
            data = json.dumps({**json.loads(data), "name": target.name, "id": target.name}).encode()
        elif path.name.startswith("card-"):
            facts = json.loads(data)
            del facts["crc"]
            facts["identity"] |= {"name": target.name, "id": target.name}
            facts |= {"started": started, "last_time": started + 30 * 10**9}
            data = card.encode(facts)
        (target / path.name).write_bytes(data)
        os.utime(target / path.name, ns=(started, started + 31 * 10**9))
    os.utime(target, ns=(started, started + 31 * 10**9))


def listed(place: Path, limit: int, cache: Path) -> tuple[float, float]:
    """(seconds, seconds of CPU) of a list in a fresh process."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", TIMED, str(place), str(limit)]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
    return float(said[0]), float(said[1])


def measure(place: Path) -> list[tuple[str, float, float]]:
    """(what, seconds, seconds of CPU) of lists of the runs below `place`."""
    with tempfile.TemporaryDirectory(prefix="steno-cache-") as cache, tempfile.TemporaryDirectory() as none:
        return [
            ("last 20, no index", *listed(place, 20, Path(none))),
            ("first", *listed(place, 0, Path(cache))),
            ("again", *listed(place, 0, Path(cache))),
            ("last 20", *listed(place, 20, Path(cache))),
        ]


def main() -> int:
    """Print the table; 1 where `--check` is given and a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--place", type=Path, help="Runs that are there already.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="steno-run-list-") as made:
        place = chosen.place
        if place is None:
            place = Path(made) / "runs"
            began = time.perf_counter()
            generate(place / "p", chosen.runs)
            print(f"{chosen.runs:,} runs made in {time.perf_counter() - began:.1f} s")
        rows = measure(place)
    print(f"\n| list of {chosen.runs:,} runs | s | CPU s | target |\n|---|---|---|---|")
    missed = False
    for what, wall, cpu in rows:
        missed |= cpu > TARGETS[what]
        print(f"| {what} | {wall:.2f} | {cpu:.2f} | ≤ {TARGETS[what]} |")
    return 1 if chosen.check and missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
