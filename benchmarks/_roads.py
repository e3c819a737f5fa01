"""The two roads of the hot path beside an empty function and a JSON line: in turns, pinned to one core, hot and cold."""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import threading
import time
from pathlib import Path

import numpy as np

import _measure as measure

ROUNDS = 40
CALLS = 2000
COLD = 12
"""Calls of each kind in a round, each behind other work."""
cpu = time.thread_time_ns
clock = time.perf_counter_ns


def empty(data, step=None, more=None):
    """What a call costs that does nothing."""


class Roads:
    """A recorder, a writer and a global writer for each road, without a collector, in directories of their own."""

    def __init__(self) -> None:
        from steno import GlobalSummaryWriter, SummaryWriter
        from steno.capture.recorder import Recorder

        self.base = measure.scratch()
        self.recorders, self.writers, self.globals = {}, {}, {}
        os.environ["STENO_COLLECTOR"] = "off"
        for road, wish in (("Python", "0"), ("native", "require")):
            os.environ["STENO_NATIVE"] = wish
            place = Path(self.base) / road
            (place / ".steno").mkdir(parents=True)
            self.recorders[road] = Recorder(place, run_id=road, report=lambda *_: None)
            self.writers[road] = SummaryWriter(str(place / "log"))
            self.writers[road].add_scalar("train/loss", 0.5, 0)
            self.globals[road] = GlobalSummaryWriter(str(place / "global"))
            self.globals[road].add_scalar("train/loss", 0.5)
        del os.environ["STENO_NATIVE"]

    def close(self) -> None:
        for one in self.recorders.values():
            one.close()
        for one in (*self.writers.values(), *self.globals.values()):
            one.close(0.0)
        shutil.rmtree(self.base, ignore_errors=True)


def table(rounds: int = ROUNDS) -> None:
    """Measure all rows and print them."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    roads = Roads()
    rows = hot(roads, rounds)
    measure.table(
        f"Hot: µs of CPU a call, the loop's own cost taken off; best of {rounds} rounds in turns, ratios by round",
        ["", "empty", "native", "Python", "JSON line", "native / Python", "target"],
        rows,
    )
    rows = [
        row
        for name, work in (("1 ms of matmul", matmul), ("16 MiB touched", touch))
        for row in cold(roads, name, work, rounds)
    ]
    measure.table(
        f"Cold: one call of 20 floats after other work, µs; best of the medians of {rounds} rounds, ratios by round",
        ["after", "empty", "native", "Python", "JSON line", "native / empty", "native / Python", "native / JSON"],
        rows,
    )
    measure.table("Tail of 20 floats, µs, the timer's cost taken off", ["", "median", "p99", "p99.9"], tails(roads))
    print(f"\n{crowd(roads)}\n{steps(roads, rounds)}")
    roads.close()


def hot(roads: Roads, rounds: int) -> list[list[object]]:
    def kinds(keys, convert=float):
        return [dict(row) for row in measure.floats(keys, convert) for _ in range(8)]

    floats = kinds(20)
    two = [{key.replace("train", "val"): row[key] for key in row} if at % 2 else row for at, row in enumerate(floats)]
    with open(os.devnull, "w") as out:

        def line(row, step):
            out.write(json.dumps({**row, "step": step}) + "\n")

        logs = {"empty": empty, **{road: one.log for road, one in roads.recorders.items()}, "JSON": line}
        found = []
        for name, rows, target in (
            ("1 float", kinds(1), "≤ 0.12"),
            ("20 floats", floats, "≤ 0.35, ≤ 0.2"),
            ("100 floats", kinds(100), "≤ 1.2"),
            ("20 numpy float32", kinds(20, np.float32), "≤ 0.8"),
            ("20 floats, two key sets in turn", two, ""),
        ):
            some = {one: log for one, log in logs.items() if one != "JSON" or convertible(rows)}
            found.append([name, *in_turns(some, rows, rounds), target])
    for name, writers, arguments in (
        ("`SummaryWriter.add_scalar`", roads.writers, ("train/loss", 0.5, 7)),
        ("`GlobalSummaryWriter.add_scalar`", roads.globals, ("train/loss", 0.5)),
    ):
        calls = {"empty": empty} | {road: one.add_scalar for road, one in writers.items()}
        found.append([name, *in_turns(calls, arguments, rounds), "≤ 0.3"])
    return found


def convertible(rows) -> bool:
    return all(isinstance(value, float) for value in rows[0].values())


def in_turns(calls, given, rounds: int) -> list[object]:
    taken = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(block(call, given, CALLS if name != "JSON" else CALLS // 10))
    best = {name: min(times) for name, times in taken.items()}
    ratios = sorted(ours / theirs for ours, theirs in zip(taken["native"], taken["Python"], strict=True))
    return [best["empty"], best["native"], best["Python"], best.get("JSON", ""), ratios[len(ratios) // 2]]


def block(call, given, count: int) -> float:
    """Microseconds of CPU a call."""
    if isinstance(given, tuple):
        several = range(count)
        if len(given) == 3:
            tag, value, step = given
            for _ in range(50):
                call(tag, value, step)
            start = cpu()
            for _ in several:
                call(tag, value, step)
        else:
            tag, value = given
            for _ in range(50):
                call(tag, value)
            start = cpu()
            for _ in several:
                call(tag, value)
        stop = cpu()
        for _ in several:
            pass
        return max(stop - start - (cpu() - stop), 0) / count / 1000
    rows = (given * (count // len(given) + 1))[:count]
    for row in rows[:50]:
        call(row, 0)
    start = cpu()
    for step, row in enumerate(rows):
        call(row, step)
    stop = cpu()
    for step, row in enumerate(rows):
        pass
    return max(stop - start - (cpu() - stop), 0) / count / 1000


SQUARE = np.random.default_rng(0).random((160, 160), np.float32)
BIG = np.random.default_rng(0).random(4 << 20, np.float32)


def matmul() -> None:
    end = clock() + 1_000_000
    while clock() < end:
        SQUARE @ SQUARE


def touch() -> None:
    np.multiply(BIG, 1.0000001, out=BIG)


def cold(roads: Roads, name: str, work, rounds: int) -> list[list[object]]:
    keys = [f"train/metric_{key}" for key in range(20)]
    with open(os.devnull, "w") as out:

        def line(row, step):
            out.write(json.dumps({**row, "step": step}) + "\n")

        calls = {"empty": empty, **{road: one.log for road, one in roads.recorders.items()}, "JSON": line}
        medians = {one: [] for one in calls}
        for _ in range(rounds):
            taken = {one: [] for one in calls}
            for step in range(COLD):
                for one in random.sample(sorted(calls), len(calls)):
                    call, values = calls[one], [random.random() for _ in keys]
                    work()
                    row = dict(zip(keys, values, strict=True))
                    start = clock()
                    call(row, step)
                    taken[one].append(clock() - start)
            for one, times in taken.items():
                medians[one].append(statistics.median(times) / 1000)
    best = {one: min(times) for one, times in medians.items()}
    ratio = lambda other: statistics.median(a / b for a, b in zip(medians["native"], medians[other], strict=True))  # noqa: E731
    return [
        [
            name,
            best["empty"],
            best["native"],
            best["Python"],
            best["JSON"],
            ratio("empty"),
            ratio("Python"),
            ratio("JSON"),
        ]
    ]


def tails(roads: Roads) -> list[list[object]]:
    rows, out = measure.floats(20), []
    for name, call in {"empty": empty, **{road: one.log for road, one in roads.recorders.items()}}.items():
        found = [measure.per_call(call, rows, 20_000) for _ in range(5)]
        out.append([name, *(min(one[column] for one in found) for column in ("median", "p99", "p99.9"))])
    return out


def crowd(roads: Roads) -> str:
    """CPU of a call by one thread and by each of eight at once, native."""
    log, rows, count = roads.recorders["native"].log, measure.floats(20), 20_000

    def work(taken):
        start = cpu()
        for step in range(count):
            log(rows[step % 64], step)
        taken.append((cpu() - start) / count / 1000)

    alone, together = [], []
    for _ in range(5):
        work(alone)
        taken: list[float] = []
        crew = [threading.Thread(target=work, args=(taken,)) for _ in range(8)]
        for one in crew:
            one.start()
        for one in crew:
            one.join()
        together.append(statistics.mean(taken))
    ratio = statistics.median(many / one for many, one in zip(together, alone, strict=True))
    return f"8 threads × 20 floats: {min(together):.2f} µs of CPU a call, one thread {min(alone):.2f}: {ratio:.2f} times (target: 1.3)"


def steps(roads: Roads, rounds: int) -> str:
    """Two loops of steps of 1 ms in turns, with and without a record of 20 floats made and logged in each."""
    keys = [f"train/metric_{key}" for key in range(20)]
    times = {"without": [], **{road: [] for road in roads.recorders}}
    for _ in range(rounds):
        for name, taken in times.items():
            log = None if name == "without" else roads.recorders[name].log
            start = cpu()
            for step in range(100):
                for _ in range(24):
                    SQUARE @ SQUARE
                if log is not None:
                    log(dict.fromkeys(keys, step / 7), step)
            taken.append((cpu() - start) / 100_000)
    plain = statistics.median(times["without"])
    said = [
        f"{name} +{100 * (statistics.median(a / b for a, b in zip(taken, times['without'], strict=True)) - 1):.2f} %"
        for name, taken in times.items()
        if name != "without"
    ]
    return f"a loop of {plain / 1000:.2f} ms of matmul a step, CPU with a record of 20 floats in each: {', '.join(said)} (target: 0.4 %)"
