"""What a short run costs: a sweep of runs in one program, and writers opened and closed, beside other loggers.

    python benchmarks/start.py [--runs 20] [--no-peers]

Each row is a program of its own. CPU is that of all its processes, a collector's to its end too, above the same
program without a logger, per run. Wall is what the program's own thread waits, per run, without its first.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import _measure as measure

STEPS = 100
BEGINS = {
    "nothing": ("", "", "", ""),
    "steno": (
        "import steno",
        "run = steno.init(project='p', name=f'r{number}', dir=place)",
        "run.log({'loss': step / 7, 'accuracy': step / 9}, step)",
        "run.finish()",
    ),
    "trackio": (
        "import trackio",
        "trackio.init(project='p', name=f'r{number}')",
        "trackio.log({'loss': step / 7, 'accuracy': step / 9}, step=step)",
        "trackio.finish()",
    ),
    "wandb, offline": (
        "import wandb",
        "run = wandb.init(project='p', name=f'r{number}', dir=place, mode='offline')",
        "run.log({'loss': step / 7, 'accuracy': step / 9}, step=step)",
        "run.finish()",
    ),
    "steno.SummaryWriter": (
        "import steno",
        "writer = steno.SummaryWriter(f'{place}/w{number}')",
        "writer.add_scalar('loss', step / 7, step)",
        "writer.close()",
    ),
    "tensorboardX.SummaryWriter": (
        "import tensorboardX",
        "writer = tensorboardX.SummaryWriter(f'{place}/w{number}')",
        "writer.add_scalar('loss', step / 7, step)",
        "writer.close()",
    ),
}
PROGRAM = """
import sys, time
place, runs, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
{load}
for number in range(runs):
    begin = time.perf_counter()
    {begin}
    for step in range(steps):
        {log}
    {end}
    print(time.perf_counter() - begin)
"""


def sweep(name: str, runs: int, steps: int) -> tuple[float, float]:
    """(CPU seconds of all processes, median wall seconds of a run)."""
    load, begin, log, end = BEGINS[name]
    code = PROGRAM.format(load=load, begin=begin or "pass", log=log or "pass", end=end or "pass")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        env = {**os.environ, "TRACKIO_DIR": place, "WANDB_SILENT": "true", "WANDB_DIR": place}
        # A subreaper is given what outlives the program, and its CPU with it.
        measure.adopt_orphans()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", code, place, str(runs), str(steps)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, env=env,
        )  # fmt: skip
        measure.reap_orphans()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    walls = [float(line) for line in done.stdout.splitlines() if line.replace(".", "", 1).replace("e-", "").isdigit()]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, statistics.median(walls[1:] or walls)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    empty = sweep("nothing", options.runs, STEPS)[0]
    rows = []
    for name in list(BEGINS)[1:]:
        if options.no_peers and not name.startswith("steno"):
            continue
        for what, steps in (("100 records each", STEPS), ("nothing recorded", 0)):
            try:
                one = sweep(name, 1, steps)[0] - empty
                cpu, wall = sweep(name, options.runs, steps)
            except subprocess.CalledProcessError as error:
                print(f"{name}: not measured ({error.returncode})", file=sys.stderr)
                break
            rows.append([f"{name}, {what}", one, (cpu - empty - one) / (options.runs - 1), wall * 1000])
            time.sleep(0.2)
    measure.table(
        f"A sweep of {options.runs} runs in one program",
        ["", "first run, CPU s", "each further one, CPU s", "wall, ms"],
        rows,
    )
    print("\ntargets: a run of `init` at most 0.15 s CPU; a writer 20 ms wall with nothing recorded, 60 with a scalar")


if __name__ == "__main__":
    main()
