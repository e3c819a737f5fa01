"""Kills steno at random moments and looks for anything lost, torn, doubled or invented; seeded and printed.

    python tests/crash/siege.py --kills 1000 [--seed N] [--mode trainer|group|collector|all|catchup] [--jobs 3]
                                [--road native|python]

One round: a trainer logs as fast as it can from several threads and notes, in a shared map, the number of
each call that has returned. Something is killed with SIGKILL: the trainer; it, its group and the collector;
or the collector alone, again and again. Collectors that then catch up are killed too (counted apart), some
with small parts so that it hits them sealing; the last one may end. Then the run is read. A round fails when a
record whose call returned is missing, differs, comes twice or out of its thread's order, in the store, in
metrics.jsonl or in the event files as TensorBoard's own loader reads them. Mode "catchup": journals alone at first,
then collectors that post, seal in small parts and write event files are killed eight times on the way.

This process imports everything once and forks what it needs; the collector that a trainer starts is a
command of its own, as always.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from run_programs import processes

MODES = ("trainer", "group", "collector")
THREADS = 3
BEGUN, KILLS = THREADS, THREADS + 1
SMALL_PART = 5_000
_word = struct.Struct("<q")


def load() -> None:
    """Import now what every round needs; no thread may live in this process, which forks."""
    import duckdb
    import numpy as np
    import pyarrow.parquet
    from tensorboard.backend.event_processing import event_file_loader

    import steno.collector.service
    import steno.destinations.jsonl
    import steno.destinations.tensorboard.destination
    import steno.destinations.tensorboard.eventfile
    import steno.run
    import steno.store.reader

    del duckdb, np, pyarrow, event_file_loader, steno


# -- what is besieged ---------------------------------------------------------------------------------


def shared(marks: Path) -> mmap.mmap:
    with open(marks, "r+b") as file:
        return mmap.mmap(file.fileno(), 4096)


def trainer(base: Path, seed: int, seconds: float, *, catchup: bool = False) -> None:
    """Log until killed or the time is over."""
    import threading

    import steno

    rng = random.Random(seed)
    marks = shared(base / "marks")
    # Small segments are left for the next one, and unlinked, all the time.
    os.environ["STENO_SEGMENT_BYTES"] = rng.choice(("65536", "262144", "8388608"))
    run = steno.init(
        project="siege",
        name="run",
        dir=base,
        destinations=["tensorboard", "jsonl"] if seed % 4 == 0 or catchup else [],
        collector=not catchup,
    )
    widths = [rng.choice((1, 2, 5, 20)) for _ in range(THREADS)]
    pause = rng.choice((0.0, 0.0002, 0.0005, 0.001, 0.002, 0.005))
    _word.pack_into(marks, 8 * BEGUN, 1)
    end = time.monotonic() + seconds

    def work(thread: int) -> None:
        i = 0
        while time.monotonic() < end:
            run.log(record(thread, i, widths[thread]), i)
            # One copy of eight bytes: `pack_into` clears them first, and a kill may come in between.
            marks[8 * thread : 8 * thread + 8] = _word.pack(i + 1)
            i += 1
            if pause:
                time.sleep(pause)

    crew = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    run.finish(timeout=0.2)


def record(thread: int, i: int, width: int) -> dict[str, object]:
    """What thread `thread` logs as its call `i`: every value can be computed again."""
    row: dict[str, object] = {f"t{thread}/i": i}
    for key in range(1, width):
        row[f"t{thread}/v{key}"] = (i * 31 + key) / 7.0
    if i % 97 == 13:
        row[f"t{thread}/text"] = f"text {i}"
    if i % 89 == 7:
        row[f"t{thread}/big"] = 2**60 + i
    return row


def collector(run_dir: Path, small: bool) -> None:
    """`python -m steno.collector RUN_DIR --once`, without the interpreter's start."""
    from steno.collector import sealing
    from steno.collector.__main__ import main
    from steno.ledger import seal

    if small:
        sealing.PART_POINTS = seal.PART_POINTS = SMALL_PART
    main([str(run_dir), "--linger", "30", "--once"])


# -- what is looked for -------------------------------------------------------------------------------


def check(run_dir: Path, returned: list[int]) -> list[str]:
    """What is wrong with the run, in words; [] when nothing is."""
    import numpy as np

    import steno

    book = steno.open(run_dir)
    keys = set(book.keys())
    faults: list[str] = []
    counts: list[int] = []
    for thread, calls in enumerate(returned):
        series = book.series(f"t{thread}/i", attempt="all") if f"t{thread}/i" in keys else None
        steps = series.step if series is not None else np.zeros(0, np.int64)
        values = series.value if series is not None else np.zeros(0)
        count = len(steps)
        counts.append(count)
        if not calls <= count <= calls + 1:
            faults.append(f"thread {thread}: {calls} calls returned, {count} records found")
        if not (np.array_equal(steps, np.arange(count)) and np.array_equal(values, np.arange(count))):
            faults.append(f"thread {thread}: steps or values are not 0…{count - 1} once each")
        if series is not None and not (np.diff(series.record) > 0).all():
            faults.append(f"thread {thread}: records are out of order")
        for key in sorted(key for key in keys if key.startswith(f"t{thread}/v")):
            got = book.series(key, attempt="all")
            wanted = (np.arange(count) * 31 + int(key.rpartition("v")[2])) / 7.0
            if not (np.array_equal(got.step, steps) and np.array_equal(got.value, wanted)):
                faults.append(f"{key}: wrong values, or {len(got.step)} of {count}")
        for key, rest, text in ((f"t{thread}/text", (97, 13), True), (f"t{thread}/big", (89, 7), False)):
            due = [i for i in range(count) if i % rest[0] == rest[1]]
            got = book.series(key, attempt="all") if key in keys else None
            found = [] if got is None else [*(got.text if text else got.exact)]
            if found != [f"text {i}" if text else 2**60 + i for i in due]:
                faults.append(f"{key}: {len(found)} of {len(due)}, or not exact")
    book.close()
    lines = run_dir / "metrics.jsonl"
    if (run_dir / ".steno" / "destinations" / "jsonl.json").exists():
        text = lines.read_text() if lines.exists() else ""
        numbers = [json.loads(line)["record"] for line in text.splitlines() if '"values"' in line]
        if len(numbers) != len(set(numbers)) or len(numbers) != sum(counts):
            faults.append(f"metrics.jsonl: {len(numbers)} records, {len(set(numbers))} different, of {sum(counts)}")
        faults += events(run_dir / "tensorboard", counts)
    return faults


def events(directory: Path, counts: list[int]) -> list[str]:
    """What is wrong with the event files, as TensorBoard's loader reads them."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    steps: dict[str, list[int]] = {}
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                steps.setdefault(value.tag, []).append(event.step)
    return [
        f"event files: t{thread}/i has {len(steps.get(f't{thread}/i', []))} points of {count}, or not each once"
        for thread, count in enumerate(counts)
        if steps.get(f"t{thread}/i", []) != [*range(count)]
    ]


# -- one round ----------------------------------------------------------------------------------------


def fork(work: Callable[[], object], *, session: bool = False) -> int:
    """A child that does `work` and exits; 0, or 99 with the traceback on stderr."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        if session:
            os.setsid()
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def ended(pid: int, timeout_secs: float) -> int | None:
    """The exit status of a child within the time; None: it is still there."""
    deadline = time.monotonic() + timeout_secs
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def kill(pid: int, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)


def collectors(base: Path) -> list[int]:
    """The collectors of the runs in `base` that were started by command line."""
    return processes("steno.collector", base)


def one_round(seed: int, mode: str, base: Path) -> tuple[list[str], int, int]:
    """One siege; what is wrong, the number of records, and of kills beyond the first."""
    rng = random.Random(seed)
    (base / "marks").write_bytes(bytes(4096))
    marks = shared(base / "marks")
    os.chdir(base)
    more = 0
    catchup = mode == "catchup"
    seconds = 0.7 if mode in {"collector", "catchup"} else 30.0
    child = fork(lambda: trainer(base, seed, seconds, catchup=catchup), session=True)
    try:
        deadline = time.monotonic() + 60
        while not _word.unpack_from(marks, 8 * BEGUN)[0]:
            if time.monotonic() > deadline or os.waitpid(child, os.WNOHANG)[0]:
                return ["the trainer did not begin"], 0, 0
            time.sleep(0.002)
        if catchup:
            if ended(child, 60):
                return ["the trainer failed"], 0, 0
        elif mode == "collector":
            while (status := ended(child, rng.uniform(0.02, 0.5))) is None:
                for pid in collectors(base):
                    kill(pid)
                    more += 1
            more -= 1
            if status:
                return [f"the trainer ended with exit status {status}"], 0, 0
        else:
            time.sleep(rng.uniform(0.0, 0.7) ** 2 * 2)
            kill(child, group=mode == "group")
            if mode == "group":
                for pid in collectors(base):
                    kill(pid)
            os.waitpid(child, 0)
    finally:
        kill(child, group=True)
    returned = [_word.unpack_from(marks, 8 * thread)[0] for thread in range(THREADS)]
    run_dir = base / "siege" / "run"
    end_collectors(base, at_once=mode == "collector")
    small = bool(seed % 2) or catchup
    if mode != "trainer":
        for _ in range(8 if catchup else rng.randrange(3)):
            # It is hit in mid-post, mid-seal, mid-write of a destination, or when it has left already.
            one = fork(lambda: collector(run_dir, small))
            if ended(one, rng.uniform(0.0, 0.6) ** 1.5) is None:
                kill(one)
                os.waitpid(one, 0)
                more += 1
    faults = concluded(base, lambda: collector(run_dir, small), lambda: check(run_dir, returned), 240)
    return faults, sum(returned), more


def end_collectors(base: Path, *, at_once: bool) -> None:
    """Wait for a minute, or not at all, until the collectors have left, and kill them then."""
    deadline = time.monotonic() + (0 if at_once else 60)
    while collectors(base):
        if time.monotonic() > deadline:
            for pid in collectors(base):
                kill(pid)
        time.sleep(0.02)


def concluded(base: Path, collect: Callable[[], None], check: Callable[[], list[str]], limit_secs: float) -> list[str]:
    """What is wrong when a last collector has come to its end, each part in a process of its own."""
    last = fork(collect)
    status = ended(last, limit_secs)
    if status is None:
        kill(last)
        os.waitpid(last, 0)
    if status != 0:
        return [f"the last collector ended with exit status {status}"]
    answer = base / "answer"
    checker = fork(lambda: answer.write_text(json.dumps(check())))
    if ended(checker, limit_secs) != 0:
        kill(checker)
        return ["reading failed"]
    return json.loads(answer.read_text())


def prepare(road: str | None = None) -> None:
    """Nothing of the caller's environment reaches a round, and what all rounds need is imported."""
    os.environ.update(PYTHONWARNINGS="ignore", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    for name in [name for name in os.environ if name.startswith("STENO_")]:
        del os.environ[name]
    if road is not None:
        os.environ["STENO_NATIVE"] = {"native": "require", "python": "0"}[road]
    load()


# -- the siege ----------------------------------------------------------------------------------------


def siege(kills: int, seed: int, mode: str = "all", jobs: int = 3, road: str | None = None) -> list[str]:
    """`kills` rounds from `seed` on; returns the faults of all, each with its seed."""
    prepare(road)
    print(f"seeds {seed}…{seed + kills - 1}, {mode}, {jobs} at a time, {road or 'the built'} road", flush=True)
    faults: list[str] = []
    records = more = done = 0
    begun = time.monotonic()
    waiting = [*range(kills)]
    working: dict[int, tuple[int, str, Path]] = {}
    while waiting or working:
        while waiting and len(working) < jobs:
            number = waiting.pop(0)
            chosen = MODES[number % len(MODES)] if mode == "all" else mode
            base = Path(tempfile.mkdtemp(prefix="siege-"))

            def work(number: int = number, chosen: str = chosen, base: Path = base) -> None:
                (base / "result").write_text(json.dumps(one_round(seed + number, chosen, base)))

            working[fork(work)] = (seed + number, chosen, base)
        pid, status = os.wait()
        number, chosen, base = working.pop(pid)
        wrong, count, extra = ["the round failed"], 0, 0
        if status == 0:
            wrong, count, extra = json.loads((base / "result").read_text())
        done, records, more = done + 1, records + count, more + extra
        faults += [f"seed {number}, {chosen}: {fault}" for fault in wrong]
        if wrong:
            print(f"seed {number}, {chosen}: {wrong} (kept in {base})", flush=True)
        else:
            shutil.rmtree(base, ignore_errors=True)
        if done % 50 == 0 or done == kills:
            print(
                f"{done} kills and {more} more of collectors, {records:,} acknowledged records, "
                f"{len(faults)} faults, {time.monotonic() - begun:.0f} s",
                flush=True,
            )
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--mode", choices=(*MODES, "all", "catchup"), default="all")
    parser.add_argument("--jobs", type=int, default=3, help="rounds at a time")
    parser.add_argument(
        "--road", choices=("native", "python"), help="of the hot path; without it the one that is built"
    )
    options = parser.parse_args()
    return 1 if siege(options.kills, options.seed, options.mode, options.jobs, options.road) else 0


if __name__ == "__main__":
    sys.exit(main())
