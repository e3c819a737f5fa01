"""Time and modules of `import steno`, beside an empty interpreter, msgspec alone and numpy.

python benchmarks/import_cost.py [--runs 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

import _measure as measure

CODE = "import time,sys; n=len(sys.modules); t=time.perf_counter(); {what}; print(time.perf_counter()-t, len(sys.modules)-n, [m for m in ('numpy','duckdb','pyarrow','torch','jax','rich') if m in sys.modules])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    print(measure.machine())
    rows = []
    for what in ("import steno", "import steno; steno.init", "import msgspec", "import numpy"):
        outs = [
            subprocess.run(
                [sys.executable, "-c", CODE.format(what=what)], capture_output=True, text=True, check=True
            ).stdout.split(maxsplit=2)
            for _ in range(options.runs)
        ]
        rows.append(
            [what, statistics.median(float(out[0]) for out in outs) * 1000, int(outs[0][1]), outs[0][2].strip()]
        )
    measure.table("Fresh interpreters", ["", "ms (median)", "modules", "heavy ones loaded"], rows)
    print("\nTarget: ≤ 30 ms, none of numpy, duckdb, torch, jax")


if __name__ == "__main__":
    main()
