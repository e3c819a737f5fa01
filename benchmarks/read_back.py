"""One series out of 100 × 100,000 points: steno's store beside TensorBoard's EventAccumulator.

    python benchmarks/read_back.py [--keys 100] [--points 100000] [--live] [--check]

The run is written through the real ledger (posting and sealing; no journal), random float64, 5 ms apart.
TensorBoard gets 1/50 of the steps, all keys, because it takes about 16 s per million scalars; its time for
all of it is that times 50 (its loading is linear), and is marked so. `--check` fails where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SCALE = 50
BATCH_RECORDS = 1_000
TARGETS_MS = {"series, warm": 30.0, "points=2000, warm": 50.0}

COLD = """
import json, sys, time
begun = time.perf_counter()
from steno.store.reader import RunReader
imported = time.perf_counter()
series = RunReader(sys.argv[1]).series(sys.argv[2])
first = time.perf_counter()
print(json.dumps([imported - begun, first - imported, len(series)]))
"""


def build(run_dir: Path, keys: list[str], points: int, *, live: bool) -> None:
    """A run in which every key has `points` points; `live`: its last postings are not sealed."""
    import numpy as np

    from steno.journal.decode import KeySet, Slice
    from steno.journal.place import LEDGER
    from steno.ledger import schema
    from steno.ledger.incoming import StreamInfo
    from steno.ledger.post import Poster
    from steno.ledger.seal import PART_POINTS, Sealer
    from steno.record import node_name

    place = run_dir / ".steno" / "nodes" / node_name(0)
    place.mkdir(parents=True)
    (run_dir / "run.json").write_text(json.dumps({"name": run_dir.name, "project": "bench", "id": "bench"}))
    connection = schema.begin(place / LEDGER, 0)
    lock = threading.RLock()
    poster, sealer = Poster(connection, 0, lock), Sealer(run_dir, connection, lock, 0)
    rng = np.random.default_rng(0)
    start_ns, sets = 1_700_000_000_000_000_000, [KeySet(tuple(keys))]
    for first in range(0, points, BATCH_RECORDS):
        steps = np.arange(first, min(points, first + BATCH_RECORDS))
        mono = steps * 5_000_000 + rng.integers(0, 2_000_000, len(steps))
        piece = Slice(
            start=4096 + first,
            end=4096 + first + len(steps),
            lost_bytes=0,
            mono=mono,
            wall=mono + start_ns,
            seq=steps,
            step=steps,
            auto=np.zeros(len(steps), bool),
            set=np.zeros(len(steps), np.int32),
            sets=sets,
            value=rng.random(len(steps) * len(keys)),
        )
        poster.post([(StreamInfo("bench-1-0", 0, 1, started=start_ns), piece)])
        if sealer.unsealed()[0] >= PART_POINTS:
            sealer.seal()
    if not live:
        sealer.finish()
    schema.end(connection)


def build_tensorboard(logdir: Path, keys: list[str], steps: int) -> None:
    """The same data, `steps` steps of it, by TensorBoard's own writer."""
    import numpy as np
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    rng = np.random.default_rng(0)
    writer = EventFileWriter(str(logdir))
    for step in range(steps):
        values = [Summary.Value(tag=key, simple_value=value) for key, value in zip(keys, rng.random(len(keys)))]
        writer.add_event(Event(wall_time=1.7e9 + step * 0.005, step=step, summary=Summary(value=values)))
    writer.close()


def read_tensorboard(logdir: Path, key: str) -> tuple[float, int]:
    """Seconds to load and to have one series, and its points."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    begun = time.perf_counter()
    accumulator = EventAccumulator(str(logdir), size_guidance={"scalars": 0})
    accumulator.Reload()
    events = accumulator.Scalars(key)
    return time.perf_counter() - begun, len(events)


def timed(work, times: int = 21) -> tuple[float, float]:
    """(median, worst) milliseconds of `times` calls."""
    spent = []
    for number in range(times):
        begun = time.perf_counter()
        work(number)
        spent.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(spent), max(spent)


def cold(run_dir: Path, key: str) -> tuple[float, float]:
    """(imports, first series) in ms, in a fresh interpreter, the parts dropped from the page cache."""
    for path in (run_dir / "metrics").glob("*.parquet"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)
    done = subprocess.run(
        [sys.executable, "-c", COLD, str(run_dir), key],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    imports, first, _ = json.loads(done.stdout)
    return imports * 1e3, first * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--points", type=int, default=100_000, help="per key")
    parser.add_argument("--live", action="store_true", help="leave the last postings unsealed")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    chosen = parser.parse_args()
    keys = [f"train/metric_{number:03d}" for number in range(chosen.keys)]
    total = chosen.keys * chosen.points

    from steno.store.reader import RunReader

    with tempfile.TemporaryDirectory(prefix="steno-read-back-") as place:
        run_dir = Path(place) / "bench"
        begun = time.perf_counter()
        build(run_dir, keys, chosen.points, live=chosen.live)
        size = sum(path.stat().st_size for path in run_dir.rglob("*") if path.is_file())
        parts = len(list((run_dir / "metrics").glob("*.parquet")))
        print(
            f"{chosen.keys} keys x {chosen.points:,} points: {parts} parts, {size / total:.1f} bytes per point, "
            f"posted and sealed in {time.perf_counter() - begun:.1f} s{', the rest unsealed' if chosen.live else ''}"
        )
        middle = keys[len(keys) // 2]
        imports, first = cold(run_dir, middle)
        reader = RunReader(run_dir)
        series = reader.series(middle)
        assert len(series) == chosen.points
        assert (series.step[1:] > series.step[:-1]).all()

        def any_key(number: int) -> str:
            return keys[number * 37 % len(keys)]

        rows = {
            "series, cold (fresh process, no page cache)": (first, first),
            "  imports before it": (imports, imports),
            "series, warm": timed(lambda number: reader.series(any_key(number))),
            "points=2000, warm": timed(lambda number: reader.series(any_key(number), points=2000)),
            "steps=(50000, 50999), warm": timed(lambda number: reader.series(any_key(number), steps=(50_000, 50_999))),
            "frame of 4 keys, arrow": timed(lambda number: reader.frame(keys[number : number + 4], as_="arrow"), 5),
            "keys, warm": timed(lambda _: reader.keys(), 5),
            "summary, first": timed(lambda _: reader.summary, 1),
            "summary, warm": timed(lambda _: reader.summary, 5),
        }
        reader.close()

        steps = max(chosen.points // SCALE, 1)
        logdir = Path(place) / "tensorboard"
        build_tensorboard(logdir, keys, steps)
        spent, events = read_tensorboard(logdir, middle)
        assert events == steps
    scaled_ms = spent * chosen.points / steps * 1e3
    print(
        f"TensorBoard EventAccumulator: {spent:.2f} s for 1/{chosen.points // steps} of the data "
        f"({spent / (steps * chosen.keys) * 1e6:.1f} s per million scalars); all of it scaled: {scaled_ms / 1e3:.0f} s\n"
    )
    print(f"{'steno':<46}{'median ms':>10}{'worst ms':>10}{'target ms':>11}{'TensorBoard / steno':>21}")
    missed = False
    for name, (median, worst) in rows.items():
        target = TARGETS_MS.get(name)
        missed = missed or (target is not None and median > target)
        compared = f"{scaled_ms / median:,.0f} x" if name.startswith(("series", "points")) else ""
        print(f"{name:<46}{median:>10.1f}{worst:>10.1f}{target or '':>11}{compared:>21}")
    return 1 if missed and chosen.check else 0


if __name__ == "__main__":
    sys.exit(main())
