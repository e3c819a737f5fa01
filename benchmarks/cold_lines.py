"""What a cold call of `log` touches, line by line of the caches, by valgrind's cachegrind: both roads beside an empty function.

    python benchmarks/cold_lines.py [--calls 200]

Each variant is a process under cachegrind with a last-level cache of 1 MiB. Before each call 2 MiB are written, so that
nothing of the call is in that cache. What the empty variant misses is taken off, and what is left is shared out by function.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

UNIT = Path(__file__).resolve().parents[1] / "tests" / "unit"
CODE = """
import gc
import os
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from journal_language import Book
road, calls = sys.argv[2], int(sys.argv[3])
book = Book(Path(sys.argv[4]), size=4 << 20)
def empty(data, step=None): pass
log = empty if road == "empty" else book.log
keys = [f"train/metric_{key}" for key in range(20)]
for step in range(5):
    log({key: step / 7 for key in keys}, step)
gc.disable()
cache, zeros = bytearray(2 << 20), bytes(2 << 20)
for step in range(calls):
    values = [step / (7 + at) for at in range(20)]
    cache[:] = zeros
    row = dict(zip(keys, values))
    log(row, 1000 + step)
os._exit(0)
"""


def misses(road: str, calls: int) -> dict[tuple[str, str], tuple[int, int]]:
    """(file, function) → lines of code and of data that were not in the cache, over all calls."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out"
        wish = {"native": "require"}.get(road, "0")
        subprocess.run(
            ["valgrind", "--tool=cachegrind", "--cache-sim=yes", "--LL=1048576,16,64", f"--cachegrind-out-file={out}",
             sys.executable, "-c", CODE, str(UNIT), road, str(calls), place],
            check=True, env=os.environ | {"STENO_NATIVE": wish, "PYTHONHASHSEED": "0"}, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return read(out)


def read(out: Path) -> dict[tuple[str, str], tuple[int, int]]:
    found: dict[tuple[str, str], tuple[int, int]] = {}
    file = function = ""
    names: list[str] = []
    for line in out.read_text(errors="replace").splitlines():
        if line.startswith("events:"):
            names = line.split()[1:]
        elif line.startswith("fl="):
            file = line[3:]
        elif line.startswith("fn="):
            function = line[3:]
        elif re.match(r"\d", line):
            counts = dict(zip(names, map(int, line.split()[1:]), strict=False))
            code, data = found.get((file, function), (0, 0))
            found[file, function] = code + counts["ILmr"], data + counts["DLmr"] + counts["DLmw"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200)
    calls = parser.parse_args().calls
    base = misses("empty", calls)
    for road in ("native", "Python"):
        found = misses(road.lower(), calls)
        rows = []
        for where in found.keys() | base.keys():
            code, data = (a - b for a, b in zip(found.get(where, (0, 0)), base.get(where, (0, 0)), strict=True))
            rows.append((round(code / calls, 1), round(data / calls, 1), where))
        print(
            f"\n{road}: {sum(row[0] for row in rows):.0f} lines of code and {sum(row[1] for row in rows):.0f} of data a call, beyond the empty function's\n"
        )
        print("| code | data | function |\n|---|---|---|")
        for code, data, (file, function) in sorted(rows, key=lambda row: -(row[0] + row[1]))[:14]:
            if code + data >= 0.5:
                print(f"| {code} | {data} | `{function}` ({Path(file).name}) |")


if __name__ == "__main__":
    main()
