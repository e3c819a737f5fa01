"""The cost of one `log` call to its caller: steno beside json and a file, tensorboardX, wandb and swanlab.

    python benchmarks/hot_path.py [--calls 100000] [--no-peers] [--roads]

First both roads of the call beside an empty function and a JSON line, in turns (`--roads`: nothing else). Then every row is a process of its own. A fresh dict per call; the timer's own cost is subtracted. `busy disk`
runs beside `dd` writing with fsync. Targets stand beside the rows that have one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import _measure as measure

KINDS = {"float": float}
TARGETS = {
    "steno, 20 floats": 1.2,
    "steno, 1 float": 0.8,
    "steno, 100 floats": 3.5,
    "steno, 20 numpy float32": 4.0,
    "steno, 8 threads × 20 floats": 2.5,
}


def steno_row(keys: str, kind: str, calls: str, place: str) -> dict[str, float]:
    """One process that logs with a collector at work."""
    import steno

    if place == "shm":
        os.environ["STENO_JOURNAL_DIR"] = tempfile.mkdtemp(dir="/dev/shm")
    base = measure.scratch()
    convert = float
    if kind == "numpy":
        import numpy as np

        convert = np.float32
    run = steno.init(project="bench", dir=base)
    time.sleep(1.0)  # the collector's own start is not what is measured
    rows = measure.floats(int(keys), convert)
    if kind == "two sets":
        rows = [
            {key.replace("train", "val"): row[key] for key in row} if at % 2 else row for at, row in enumerate(rows)
        ]
    if kind == "alike":
        # As a loop logs that begins every record with its epoch and ends it with its time.
        rows = [{"epoch": 1.0, **dict([*row.items()][2:]), "secs": 0.5} for row in rows]
        rows[1::2] = [{key.replace("train", "val"): row[key] for key in row} for row in rows[1::2]]
    result = measure.per_call(run.log, rows, int(calls))
    run.finish(timeout=60)
    measure.wait_for_collector(run.dir)
    shutil.rmtree(base)
    if place == "shm":
        shutil.rmtree(os.environ["STENO_JOURNAL_DIR"], ignore_errors=True)
    return result


def bare_row(keys: str, calls: str) -> dict[str, float]:
    """The limit of this road on this machine, in turn with `log`: look up, encode, check and copy, no question asked."""
    import itertools
    import mmap
    from operator import itemgetter

    import crc32c
    import msgspec

    import steno

    rows, base, blocks = measure.floats(int(keys)), measure.scratch(), 20
    size = blocks * (int(calls) + 2000) * (64 + 9 * int(keys))
    with open(base / "bare", "wb+") as file:
        os.posix_fallocate(file.fileno(), 0, size)
        mapped = mmap.mmap(file.fileno(), size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    header, getter, buffer = struct.Struct("<II").pack, itemgetter(*rows[0]), bytearray(4096)
    encode, crc, number = msgspec.msgpack.Encoder().encode_into, crc32c.crc32c, itertools.count(1 << 40).__next__
    clock, write = time.monotonic_ns, mapped.write

    def bare(data, step):
        encode((clock(), number(), 65536, getter(data), step), buffer)
        write(header(len(buffer), crc(buffer, 1)) + buffer)

    run = steno.init(project="bench", dir=base)
    time.sleep(1.0)
    pairs = []
    for block in range(blocks):
        found = {}
        for log in (bare, run.log) if block % 2 else (run.log, bare):
            found[log is bare] = measure.per_call(log, rows, int(calls))["median"]
        pairs.append((found[False], found[True]))
    run.finish(timeout=60)
    measure.wait_for_collector(run.dir)
    shutil.rmtree(base)
    ratios = sorted(ours / limit for ours, limit in pairs)
    return {
        "ours": min(ours for ours, _ in pairs),
        "bare": min(limit for _, limit in pairs),
        "ratio": ratios[len(ratios) // 2],
    }


def threads_row(threads: str, calls: str) -> dict[str, float]:
    """Several threads logging into one run at once; the worst thread's figures."""
    import steno

    base = measure.scratch()
    run = steno.init(project="bench", dir=base)
    time.sleep(1.0)
    out: list[dict[str, float]] = []
    work = lambda: out.append(measure.per_call(run.log, measure.floats(20), int(calls)))  # noqa: E731
    crew = [threading.Thread(target=work) for _ in range(int(threads))]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    run.finish(timeout=60)
    measure.wait_for_collector(run.dir)
    shutil.rmtree(base)
    return {name: max(row[name] for row in out) for name in out[0]}


def paced_row(destination: str, calls: str) -> dict[str, float]:
    """`log` at 1,000 a second beside an empty loop of the same shape, interleaved: calls over 1 ms of each."""
    import steno

    base = measure.scratch()
    run = steno.init(project="bench", dir=base, destinations=[] if destination == "none" else [destination])
    time.sleep(1.0)
    stopped = measure.collectors(run.dir) if destination == "none" else []
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    rows = measure.floats(20)
    taken: list[int] = []
    empty: list[int] = []
    for step in range(int(calls)):
        row = dict(rows[step % 64])
        start = measure.clock()
        run.log(row, step)
        middle = measure.clock()
        taken.append(middle - start)
        time.sleep(0.0005)
        start = measure.clock()
        middle = measure.clock()
        empty.append(middle - start)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    run.finish(timeout=60)
    measure.wait_for_collector(run.dir)
    shutil.rmtree(base)
    taken.sort()
    empty.sort()
    count = len(taken)
    return {
        "median": taken[count // 2] / 1e3,
        "p99": taken[int(count * 0.99)] / 1e3,
        "p99.9": taken[int(count * 0.999)] / 1e3,
        "max": taken[-1] / 1e3,
        "over": sum(value > 1_000_000 for value in taken),
        "empty_over": sum(value > 1_000_000 for value in empty),
    }


def json_row(keys: str, calls: str) -> dict[str, float]:
    """The reference: a line of JSON into a buffered file."""
    with tempfile.TemporaryFile("w", dir=os.path.dirname(os.path.abspath(__file__))) as file:
        return measure.per_call(
            lambda row, step: file.write(json.dumps({**row, "step": step}) + "\n"),
            measure.floats(int(keys)),
            int(calls),
        )


def peer_row(name: str, calls: str) -> dict[str, float]:
    """A peer, offline, 20 floats a call."""
    base = tempfile.mkdtemp()
    os.chdir(base)
    rows = measure.floats(20)
    if name == "tensorboardX":
        from tensorboardX import SummaryWriter

        writer = SummaryWriter(os.path.join(base, "tb"))

        def log(row, step):
            for key, value in row.items():
                writer.add_scalar(key, value, step)

        result = measure.per_call(log, rows, int(calls), warm=50)
        writer.close()
    elif name == "wandb":
        os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_CONSOLE": "off"}
        import wandb

        run = wandb.init(project="bench", dir=base, settings=wandb.Settings(x_disable_stats=True))
        result = measure.per_call(lambda row, step: run.log(row, step=step), rows, int(calls), warm=0)
        run.finish()
    else:
        import swanlab

        swanlab.init(
            project="bench", mode="offline", logdir=base
        ) if "logdir" in swanlab.init.__doc__ else swanlab.init(project="bench", mode="offline", log_dir=base)
        result = measure.per_call(lambda row, step: swanlab.log(row, step=step), rows, int(calls), warm=0)
        swanlab.finish()
    shutil.rmtree(base, ignore_errors=True)
    return result


@contextlib.contextmanager
def busy_disk():
    """`dd` writing and syncing on the same disk."""
    target = Path(__file__).resolve().parent / f".dd-{os.getpid()}"
    script = f"while :; do dd if=/dev/zero of={target} bs=1M count=256 conv=fsync 2>/dev/null; done"
    writer = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    try:
        yield
    finally:
        os.killpg(writer.pid, signal.SIGKILL)
        writer.wait()
        target.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--roads", action="store_true", help="the two roads in turns, and nothing else")
    parser.add_argument("--rounds", type=int, default=40, help="of the roads")
    options = parser.parse_args()
    calls, few = str(options.calls), str(options.calls // 4)
    child = lambda name, *args: measure.in_child(__file__, name, *args)  # noqa: E731
    print(measure.machine())
    subprocess.run(
        [sys.executable, "-c", f"import _roads; _roads.table({options.rounds})"],
        cwd=Path(__file__).parent,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        check=True,
    )
    if options.roads:
        return
    rows: list[list[object]] = []

    def add(name: str, result: dict[str, float]) -> float:
        target = TARGETS.get(name)
        rows.append(
            [
                name,
                *(result[column] for column in ("median", "p99", "p99.9", "max")),
                "" if target is None else f"≤ {target}",
            ]
        )
        return result["median"]

    ours = add("steno, 20 floats", child("steno_row", "20", "float", calls, "run"))
    add("steno, 1 float", child("steno_row", "1", "float", calls, "run"))
    add("steno, 100 floats", child("steno_row", "100", "float", few, "run"))
    add("steno, 20 floats, two key sets in turn", child("steno_row", "20", "two sets", calls, "run"))
    add("steno, 20 floats, two key sets that begin and end alike", child("steno_row", "20", "alike", calls, "run"))
    add("steno, 20 numpy float32", child("steno_row", "20", "numpy", few, "run"))
    add("steno, 8 threads × 20 floats", child("threads_row", "8", str(options.calls // 8)))
    add("steno, journal in /dev/shm", child("steno_row", "20", "float", calls, "shm"))
    with busy_disk():
        add("steno, beside a busy disk", child("steno_row", "20", "float", calls, "run"))
        add("steno, /dev/shm, busy disk", child("steno_row", "20", "float", calls, "shm"))
    line = add("json.dumps + file.write", child("json_row", "20", few))
    if not options.no_peers:
        for name, count in (("tensorboardX", 1000), ("wandb", 3000), ("swanlab", 3000)):
            try:
                add(name, child("peer_row", name, str(count)))
            except RuntimeError as error:
                print(f"{name}: not measured ({error})", file=sys.stderr)
    measure.table("One `log` call, µs on the caller's thread", ["", "median", "p99", "p99.9", "max", "target"], rows)
    print(f"\nsteno is {line / ours:.1f} times cheaper than a JSON line (target: 8)")
    pair = child("bare_row", "20", str(options.calls // 20))
    print(
        f"in turn with the bare road, 20 floats: {pair['ours']:.2f} µs in the fastest block, the bare road "
        f"{pair['bare']:.2f}; median of the ratios {pair['ratio']:.2f}"
    )

    paced = []
    for name in ("none", "tensorboard"):
        result = child("paced_row", name, str(min(options.calls, 20_000)))
        label = "collector stopped (SIGSTOP)" if name == "none" else "tensorboard destination"
        paced.append(
            [
                label,
                *(result[column] for column in ("median", "p99", "p99.9", "max")),
                int(result["over"]),
                int(result["empty_over"]),
            ]
        )
    measure.table(
        "At about 1,500 calls a second, an empty loop interleaved",
        ["", "median", "p99", "p99.9", "max", "calls over 1 ms", "empty loop over 1 ms"],
        paced,
    )


if __name__ == "__main__":
    main()
