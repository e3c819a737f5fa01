"""Readers racing posting, sealing and finishing: each point exactly once at every look, never going back.

Once with two writers on the ledger itself (two nodes of one run) that post, seal, merge, leave and come back
as fast as they can; once with a training process that logs, finishes and resumes, and its collector. This
process reads meanwhile, through a book that it keeps and through fresh ones. STENO_RACE_SECONDS sets how long
each takes (5).

    python tests/integration/test_read_race.py ledger RUN_DIR NODE SECONDS PROGRESS    is one writer
    python tests/integration/test_read_race.py train RUN_DIR 0 SECONDS PROGRESS        is the training process
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import under_test

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from store_runs import Writer

from steno.store.query import sql
from steno.store.reader import RunReader

KEYS = ("loss", "opt/lr", "acc", "grad norm", "ü")
SECONDS = float(os.environ.get("STENO_RACE_SECONDS") or 5)
RECORDS = 40
SEAL_EVERY = 9
LEAVE_EVERY = 40
SLOT = struct.Struct("<q")


def value(key: str, node: int, step):
    """What a point must be: no two points of the run that share a step are alike."""
    return np.asarray(step) * 10.0 + KEYS.index(key) + node / 4


def write(run_dir: Path, node: int, seconds: float, progress: Path) -> None:
    """Post, seal, finish and come back until the time is over; say in `progress` how many steps are in."""
    with open(progress, "r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
        end, posted, round_, writer = time.monotonic() + seconds, 0, 0, Writer(run_dir, node=node)
        while time.monotonic() < end:
            # Another order of keys after each return, so that the ledger numbers them anew.
            keys = np.roll(KEYS, round_).tolist()
            rows = [
                (step, {key: float(value(key, node, step)) for key in keys}) for step in range(posted, posted + RECORDS)
            ]
            writer.log(*rows, rank=node, entries=[("event", {"name": "posted", "at": posted})])
            posted += RECORDS
            SLOT.pack_into(shared, node * SLOT.size, posted)
            batches = posted // RECORDS
            if batches % SEAL_EVERY == 0:
                writer.sealer.seal()
            if batches % LEAVE_EVERY == 0:
                ends, mono = writer.ends, writer.mono
                writer.finish()
                round_ += 1
                writer = Writer(run_dir, node=node)
                writer.ends, writer.mono = ends, mono
        writer.finish()


TRAIN_KEYS = tuple(f"metric/{number:02d}" for number in range(20))
BURST = 2_000


def train(run_dir: Path, _: int, seconds: float, progress: Path) -> None:
    """Log, finish and resume until the time is over; say in `progress` how many steps are readable."""
    import steno

    end, step = time.monotonic() + seconds, 0
    with open(progress, "r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
        while time.monotonic() < end:
            run = steno.init(project="tests", name=run_dir.name, dir=run_dir.parents[1], resume=step > 0 or None)
            leave = min(time.monotonic() + 1.5, end)
            while time.monotonic() < leave:
                for step in range(step, step + BURST):
                    run.log({key: step + number / 32 for number, key in enumerate(TRAIN_KEYS)}, step=step)
                step += 1
                if run.flush(10):
                    SLOT.pack_into(shared, 0, step)
            begun = time.monotonic()
            assert run.finish(60), f"finish took {time.monotonic() - begun:.1f} s: {run.health()}"
            SLOT.pack_into(shared, 0, step)


def check(book: RunReader, least: list[int], seen: dict, ways: tuple[str, ...]) -> None:
    """One look in each of the ways; `least` steps of each node were posted before it."""
    for way in ways:
        if way in KEYS:
            series = book.series(way)
            for node in (0, 1):
                mine = series.rank == node
                steps = series.step[mine]
                count = len(steps)
                assert np.array_equal(steps, np.arange(count)), f"{way} of node {node}: {_odd(steps)}"
                assert np.array_equal(series.value[mine], value(way, node, steps)), (
                    f"{way} of node {node}: wrong values"
                )
                _grew(seen, (way, node), count, least[node])
        elif way == "frame":
            frame = book.frame(KEYS, as_="arrow")
            assert all(frame[key].null_count == 0 for key in KEYS), "a record was seen in part"
            _grew(seen, way, len(frame), sum(least))
        elif way == "sql":
            counts = "select rank, key, count(*), count(distinct step), max(step) from metrics group by all"
            rows = book.sql(counts).fetchall()
            assert all(count == distinct == last + 1 for _, _, count, distinct, last in rows), rows
            _grew(seen, way, sum(row[2] for row in rows), sum(least) * len(KEYS))
        elif way == "over":
            ranks = book.series(KEYS[0], over="count")
            assert np.array_equal(ranks.step, np.arange(len(ranks))), _odd(ranks.step)
            _grew(seen, way, int(ranks.value.sum()), sum(least))
        elif way == "many":
            rows = sql("select count(*), count(distinct (rank, key, step)) from metrics", [book.dir]).fetchall()
            assert rows[0][0] == rows[0][1], rows
            _grew(seen, way, rows[0][0], sum(least) * len(KEYS))
        elif way == "summary":
            _grew(seen, way, sum(found["count"] for found in book.summary.values()), sum(least) * len(KEYS))
        else:
            events = [(entry.rank, entry.payload["at"]) for entry in book.records("event")]
            assert len(events) == len(set(events))
            _grew(seen, way, len(events), sum(least) // RECORDS)


WAYS = (*KEYS, "frame", "over", "sql", "many", "summary", "records")


def _grew(seen: dict, what, count: int, least: int) -> None:
    assert count >= least, f"{what}: {least} were posted, {count} were read"
    assert count >= seen.get(what, 0), f"{what}: went back from {seen[what]} to {count}"
    seen[what] = count


def _odd(steps) -> str:
    found, counts = np.unique(steps, return_counts=True)
    missing = np.setdiff1d(np.arange(found[-1] + 1), found) if len(found) else []
    return f"{(counts > 1).sum()} steps twice, {len(missing)} missing, first {missing[:3]} of {len(steps)}"


@contextlib.contextmanager
def writing(kind: str, run_dir: Path, count: int):
    """Start the writers; yields (still at work?, steps that each has posted) and checks that all ended well."""
    progress = run_dir.parents[1] / "progress"
    run_dir.mkdir(parents=True) if kind == "ledger" else None
    progress.write_bytes(bytes(count * SLOT.size))
    writers = [
        subprocess.Popen(
            [sys.executable, __file__, kind, str(run_dir), str(node), str(SECONDS), str(progress)],
            env={**os.environ, "PYTHONPATH": under_test.import_path(Path(__file__).parents[1])},
        )
        for node in range(count)
    ]
    try:
        with open(progress, "rb") as file:

            def posted() -> list[int]:
                return [SLOT.unpack_from(os.pread(file.fileno(), 16, 0), node * SLOT.size)[0] for node in range(count)]

            def at_work() -> bool:
                return any(writer.poll() is None for writer in writers)

            give_up = time.monotonic() + 30
            while min(posted()) == 0:
                assert time.monotonic() < give_up, "a writer posted nothing"
                assert at_work()
                time.sleep(0.005)
            yield at_work, posted
    finally:
        for writer in writers:
            writer.kill() if writer.poll() is None else None
            writer.wait()
    assert [writer.returncode for writer in writers] == [0] * count


@pytest.mark.timeout(SECONDS * 2 + 60)
def test_each_point_is_read_exactly_once_while_runs_are_written_sealed_and_finished(tmp_path):
    run_dir = tmp_path / "tests" / "race"
    looks, seen, turn = 0, {}, random.Random(0)
    with writing("ledger", run_dir, 2) as (at_work, posted), RunReader(run_dir) as kept:
        while at_work():
            check(kept, posted(), seen, tuple(turn.sample(WAYS, 3)))
            with RunReader(run_dir) as fresh:
                check(fresh, posted(), seen, (turn.choice(WAYS),))
            looks += 4
        check(kept, posted(), seen, WAYS)
        assert kept.sql("select count(*) from metrics").fetchall() == [(sum(posted()) * len(KEYS),)]
        print(f"{looks} looks, {sum(posted()) * len(KEYS):,} points in the end")
    assert looks >= 8


@pytest.mark.timeout(SECONDS * 2 + 120)
def test_a_training_process_is_read_exactly_once_while_it_logs_finishes_and_resumes(tmp_path):
    run_dir = tmp_path / "tests" / "race"
    looks, seen, turn = 0, 0, random.Random(0)
    with writing("train", run_dir, 1) as (at_work, posted), RunReader(run_dir) as kept:
        going = True
        while going:
            going = at_work()
            with RunReader(run_dir) as fresh:
                for book in (kept, kept, kept, fresh):
                    number, least = turn.randrange(len(TRAIN_KEYS)), posted()[0]
                    series = book.series(TRAIN_KEYS[number])
                    count = len(series)
                    assert np.array_equal(series.step, np.arange(count)), _odd(series.step)
                    assert np.array_equal(series.value, np.arange(count) + number / 32)
                    assert count >= max(least, seen), f"{least} were posted, {seen} seen, {count} are read"
                    looks, seen = looks + 1, count
        last, info = posted()[0], kept.info
        print(f"{looks} looks, {seen * len(TRAIN_KEYS):,} points, {len(info.attempts)} attempts in the end")
    # After `writing` has said how the trainer ended: one that failed has not told its last steps.
    assert seen == last
    assert info.state == "finished"
    assert looks >= 8


if __name__ == "__main__":
    {"ledger": write, "train": train}[sys.argv[1]](
        Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5])
    )
