"""The writers beside tensorboardX and torch.utils.tensorboard, in one run: a call, and the whole way to the disk.

    python benchmarks/writers.py [--calls 20000] [--rounds 3] [--exact 10000]

Each writer runs in fresh processes, in turn, so that a busy machine troubles all alike; figures are medians over the
rounds. CPU is that of all processes until the last has left, less that of a writer with one value: event file, and for steno
Parquet too.
At the end 8 threads × 4 processes × `--exact` automatic steps are checked to be exact.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import statistics
import threading
import time
import warnings

import _measure as measure

WRITERS = ("steno", "tensorboardX", "torch")


def writer_of(name: str, folder: str, *, shared: bool = False):
    warnings.simplefilter("ignore")
    if name == "steno":
        import steno

        return steno.GlobalSummaryWriter(folder) if shared else steno.SummaryWriter(folder)
    if name == "torch":
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(folder)
    import tensorboardX

    return tensorboardX.GlobalSummaryWriter(folder) if shared else tensorboardX.SummaryWriter(folder)


def timed(call, calls: int) -> dict[str, float]:
    """Microseconds of one call, the timer's own cost subtracted."""
    clock = time.perf_counter_ns
    for step in range(min(500, calls)):
        call(step)
    taken, empty = [0] * calls, [0] * calls
    for step in range(calls):
        start = clock()
        call(step)
        stop = clock()
        taken[step] = stop - start
        empty[step] = clock() - stop
    taken.sort()
    timer = sorted(empty)[calls // 2]
    at = lambda share: max(0, taken[min(calls - 1, int(calls * share))] - timer) / 1000  # noqa: E731
    return {"mean": max(0, sum(taken) / calls - timer) / 1000, "median": at(0.5), "p99": at(0.99), "p99.9": at(0.999)}


def calls_of(name: str, kind: str, calls: str) -> dict[str, float]:
    """One writer, one kind of call."""
    import numpy as np

    folder = measure.scratch()
    writer = writer_of(name, str(folder / "log"), shared=kind == "global")
    value, count = 0.125, int(calls)
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    if kind == "global":
        found = timed(lambda _: writer.add_scalar("train/loss", value), count if name == "steno" else count // 10)
    elif kind == "scalar":
        found = timed(lambda step: writer.add_scalar("train/loss", value, step), count)
    else:
        found = timed(lambda step: writer.add_image("image", pixels, step, dataformats="HWC"), 100)
    writer.close()
    if name == "steno":
        measure.wait_for_collector(folder / "log")
    shutil.rmtree(folder, ignore_errors=True)
    return found


def whole_way(name: str, calls: str) -> dict[str, float]:
    """CPU seconds of this process and its collector for so many add_scalar, from before the writer is made."""
    folder = measure.scratch()
    before = measure.cpu_secs()
    writer = writer_of(name, str(folder / "log"))
    for step in range(int(calls)):
        writer.add_scalar("train/loss", step * 0.5, step)
    writer.close()
    if name == "steno":
        measure.wait_for_collector(folder / "log")
        # The collector is our child: once it is reaped, by us or by its watchdog, its time is counted with ours.
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(folder, ignore_errors=True)
    return {"secs": measure.cpu_secs() - before + used.ru_utime + used.ru_stime}


def exact(per_thread: str) -> dict[str, float]:
    """8 threads × 4 processes on one tag: unique, gap-free, complete."""
    import steno

    folder, count = measure.scratch(), int(per_thread)
    writer = steno.GlobalSummaryWriter(folder / "log")
    began = time.perf_counter()
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_storm, args=(count,)) for _ in range(3)]
    for child in children:
        child.start()
    _storm(count)
    for child in children:
        child.join()
    logged = time.perf_counter() - began
    writer.close(120)
    measure.wait_for_collector(folder / "log")
    steps = steno.open(folder / "log").series("shared").step
    total = 4 * 8 * count
    right = len(steps) == total and bool((steps == range(total)).all())
    shutil.rmtree(folder, ignore_errors=True)
    return {"wanted": total, "found": len(steps), "exact": right, "secs": logged}


def _storm(count: int) -> None:
    import steno

    writer = steno.GlobalSummaryWriter.getSummaryWriter()

    def work() -> None:
        for _ in range(count):
            writer.add_scalar("shared", 0.5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--exact", type=int, default=10_000)
    options = parser.parse_args()
    print(measure.machine())
    kinds = {"scalar": "add_scalar", "global": "GlobalSummaryWriter.add_scalar", "image": "add_image 256×256×3"}
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for kind in kinds:
            for name in WRITERS:
                if kind == "global" and name == "torch":
                    continue
                found.setdefault((kind, name), []).append(
                    measure.in_child(__file__, "calls_of", name, kind, str(options.calls))
                )
        for name in WRITERS:
            # The calls must cost more than the starts of two processes differ by.
            count = options.calls * 20 if name == "steno" else options.calls
            many, one = (measure.in_child(__file__, "whole_way", name, str(some))["secs"] for some in (count, 1))
            found.setdefault(("cpu", name), []).append({"cpu": (many - one) / (count - 1) * 1e6})

    def middle(kind: str, name: str, figure: str) -> float:
        return statistics.median(one[figure] for one in found[kind, name])

    rows = []
    for kind, title in kinds.items():
        ours = middle(kind, "steno", "mean")
        for name in WRITERS:
            if (kind, name) in found:
                row = [title, name, *(middle(kind, name, figure) for figure in ("mean", "median", "p99", "p99.9"))]
                rows.append([*row, "" if name == "steno" else middle(kind, name, "mean") / ours])
    measure.table(
        "One call, µs for the caller", ["call", "writer", "mean", "median", "p99", "p99.9", "mean × steno"], rows
    )
    ours = middle("cpu", "steno", "cpu")
    rows = [
        [name, middle("cpu", name, "cpu"), "" if name == "steno" else middle("cpu", name, "cpu") / ours]
        for name in WRITERS
    ]
    measure.table("CPU of all processes per add_scalar, µs", ["writer", "µs", "× steno"], rows)
    result = measure.in_child(__file__, "exact", str(options.exact))
    measure.table(
        "8 threads × 4 processes, automatic steps of one tag",
        ["wanted", "found", "exact", "logged in s"],
        [[result["wanted"], result["found"], result["exact"], result["secs"]]],
    )


if __name__ == "__main__":
    main()
