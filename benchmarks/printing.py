"""What a printed line costs more when the run records it."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time

import steno

LINES, ROUNDS = 1_000, 9


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    costs = {name: lap(name) for name in (None, "stdout", None, "stdout")}
    busy = os.getloadavg()[0]
    plain, recorded = costs[None], costs["stdout"]
    print(
        f"print to /dev/null {plain:.1f} us of CPU a line, recorded too {recorded:.1f} us; load {busy:.1f}, {os.cpu_count()} cores"
    )


def lap(capture: str | None) -> float:
    """Microseconds of CPU a line, so that what else runs on the machine counts less: the median of some rounds within what may be printed at once."""
    kept = sys.stdout
    with tempfile.TemporaryDirectory() as place, open(os.devnull, "w") as sys.stdout:
        with steno.init(dir=place, capture=capture) as run:
            rounds = []
            for _ in range(ROUNDS):
                began = time.thread_time()
                for index in range(LINES):
                    print("line", index)
                rounds.append((time.thread_time() - began) / LINES * 1e6)
            assert capture is None or run.health()["output"] == {"lines": LINES * ROUNDS, "left_out": 0}
        sys.stdout = kept
    return statistics.median(rounds)


if __name__ == "__main__":
    main()
