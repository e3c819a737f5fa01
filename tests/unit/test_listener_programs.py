"""Programs with destinations of Composer's kind: as the page shows them, with forks, and at their ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from run_programs import environment, ok, start, wait_for

import steno

SEED = """
    import steno
    from steno import Event, LoggerDestination, LogLevel

    class MyLogger(LoggerDestination):
        def log_data(self, state, log_level, data):
            print(f'Batch {int(state.timer.batch)}: {log_level} {data}')

    logger = MyLogger()
    run = steno.init(name="seed", destinations=[logger])
    batch = 0
    run.event(Event.FIT_START)
    for epoch in range(2):
        run.event(Event.EPOCH_START, epoch=epoch)
        for _ in range(3):
            data = {"loss": 1 / (batch + 1), "batch": batch}
            run.log(data, level=LogLevel.BATCH)
            data["loss"] = None
            batch += 1
            run.event(Event.BATCH_END, batch=batch, epoch=epoch)
        run.log({"epoch": epoch}, level=LogLevel.EPOCH)
        run.event(Event.EPOCH_END)
    run.event(Event.FIT_END)
    run.finish(40)
"""


def logged(place):
    book = steno.open(place / "runs" / "default" / "r")
    return book.series("x").value.tolist() if "x" in book.keys() else []


def test_the_pages_example_prints_each_call(tmp_path):
    lines = ok(SEED, tmp_path, STENO_COLLECTOR="on").splitlines()
    expected = []
    for batch in range(6):
        expected.append(f"Batch {batch}: 3 {{'loss': {1 / (batch + 1)!r}, 'batch': {batch}}}")
        if batch % 3 == 2:
            expected.append(f"Batch {batch + 1}: 2 {{'epoch': {batch // 3}}}")
    assert lines == expected
    book = steno.open(tmp_path / "runs" / "default" / "seed")
    assert book.series("loss").value.tolist() == [1 / (batch + 1) for batch in range(6)]
    assert [entry.payload["name"] for entry in book.records("event")].count("batch_end") == 6


def test_a_program_ends_in_time_whatever_its_destinations_do(tmp_path):
    """One hangs in a call and one at its end, three raise: the program's own end is still bounded."""
    out = ok(
        """
        import threading, time
        import steno
        from steno import Event, LoggerDestination

        class Hanging(LoggerDestination):
            def log_data(self, state, level, data):
                threading.Event().wait()

        class NeverEnding(steno.Callback):
            def close(self, state, logger):
                while True:
                    time.sleep(1000)

        class Raising(LoggerDestination):
            def log_data(self, state, level, data):
                raise SystemExit("no")
            batch_end = close = post_close = log_data

        class Kept(LoggerDestination):
            seen = 0
            def log_data(self, state, level, data):
                self.seen += 1
            def post_close(self):
                print("kept", self.seen, flush=True)

        steno.init(name="r", destinations=[Hanging(), NeverEnding(), Raising(), Raising(), Raising(), Kept()])
        slowest = 0.0
        for step in range(300):
            began = time.perf_counter()
            steno.log({"x": step})
            steno.event(Event.BATCH_END, batch=step)
            slowest = max(slowest, time.perf_counter() - began)
            time.sleep(0.001)
        print("slowest", slowest, time.time(), flush=True)
        """,
        tmp_path,
        STENO_COLLECTOR="on",
    )
    ended = time.time()
    lines = [line.split() for line in out.splitlines()]
    assert ["kept", "300"] in lines
    (said,) = [line for line in lines if line[0] == "slowest"]
    assert float(said[1]) < 0.5  # nothing in the loop waits for the hanging one; the machine may be busy
    assert ended - float(said[2]) < 4.0  # two seconds, and what a busy machine takes to end a process
    assert wait_for(lambda: len(logged(tmp_path)) == 300)


def test_a_forked_child_logs_into_the_run_and_not_into_the_parents_object(tmp_path):
    out = ok(
        """
        import json, os, warnings
        import steno
        from steno import Event, LoggerDestination

        # Python 3.12 warns of threads, and an object is served by one.
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)

        class Kept(LoggerDestination):
            def __init__(self):
                self.seen = []
            def log_data(self, state, level, data):
                self.seen.append([os.getpid(), data["x"], int(state.timestamp.batch)])

        kept = Kept()
        run = steno.init(name="r", destinations=[kept])
        run.log({"x": 1})
        run.event(Event.BATCH_END)
        child = os.fork()
        if not child:
            run.log({"x": 2})
            run.event(Event.BATCH_END)
            run.finish(10)
            os._exit(len(kept.seen[1:]))
        assert os.waitpid(child, 0)[1] == 0
        run.log({"x": 3})
        run.finish(40)
        print(json.dumps([os.getpid(), kept.seen]))
        """,
        tmp_path,
        STENO_COLLECTOR="on",
    )
    parent, seen = json.loads(out)
    assert seen == [[parent, 1, 0], [parent, 3, 1]]
    assert wait_for(lambda: sorted(logged(tmp_path)) == [1, 2, 3])


def test_what_is_outstanding_when_the_process_is_killed_is_in_the_run(tmp_path):
    program = start(
        """
        import sys, time
        import steno

        class Slow(steno.LoggerDestination):
            def log_data(self, state, level, data):
                time.sleep(1000)

        steno.init(name="r", destinations=[Slow()])
        for step in range(1000):
            steno.log({"x": step})
        print("logged", flush=True)
        sys.stdin.read()
        """,
        tmp_path,
    )
    with program:
        assert program.stdout.readline() == "logged\n"
        program.kill()
    done = subprocess.run(
        [sys.executable, "-m", "steno", "sync", str(tmp_path / "runs" / "default" / "r")],
        check=False, capture_output=True, text=True, env=environment(), cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(logged(tmp_path)) == 1000


@pytest.mark.parametrize("collector", ["on", "off"])
def test_a_slow_destination_gets_all_there_is_time_for_and_counts_nothing_as_an_error(tmp_path, collector):
    out = ok(
        """
        import time
        import steno

        class Slow(steno.LoggerDestination):
            seen = 0
            def log_data(self, state, level, data):
                time.sleep(0.01)
                self.seen += 1

        slow = Slow()
        run = steno.init(destinations=[slow])
        for step in range(40):
            run.log({"x": step, "image": steno.Image([[[step] * 3] * 80] * 80)} if step % 8 == 0 else {"x": step})
        run.finish(20)
        print(slow.seen, run.health()["feeds"]["Slow"]["errors"])
        """,
        tmp_path,
        STENO_COLLECTOR=collector,
    )
    assert out.split() == ["40", "0"]


def test_files_and_media_come_whole_to_one_that_is_far_behind(tmp_path):
    """The collector has taken both away long before the destination looks."""
    out = ok(
        """
        import json, pathlib, threading, time
        import numpy as np
        import steno

        seen, held = {}, threading.Event()

        class Behind(steno.LoggerDestination):
            def init(self, state, logger):
                held.wait(60)
            def log_data(self, state, level, data):
                for key, media in data.items():
                    value = media.value
                    seen[key] = value["sum"] if media.kind == "histogram" else np.asarray(value).sum().item()
            def log_file_artifact(self, state, level, name, path, *, overwrite):
                seen[name] = path.read_text()

        run = steno.init(name="r", destinations=[Behind()])
        picture = np.arange(64 * 80 * 3, dtype=np.uint8).reshape(64, 80, 3)
        large = np.arange(1500 * 1000 * 3, dtype=np.uint8).reshape(1500, 1000, 3)
        counts = np.arange(5000.0)
        expected = {"picture": picture.sum().item(), "large": large.sum().item(), "counts": counts.sum().item()}
        run.log({"picture": steno.Image(picture)})
        run.log({"large": steno.Image(large)})
        run.log({"counts": steno.Histogram(counts)})
        source = pathlib.Path("weights")
        for version in range(3):
            source.write_text(f"version {version}")
            run.log_artifact(source, f"v{version}")
            expected[f"v{version}"] = f"version {version}"
        source.unlink()
        journal = run.dir / ".steno" / "journal"
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and (
            len([*journal.glob("*/*.ref")]) < 3 or [*run.dir.glob(".steno/staging/*/[0-9]*")]
        ):
            time.sleep(0.05)
        (arena,) = [path for path in journal.glob("*/raw-*") if path.suffix == ""] or [None]
        while time.monotonic() < deadline and arena and any(arena.read_bytes()[:64]):
            time.sleep(0.05)
        held.set()
        run.finish(40)
        assert seen == expected, (seen, expected)
        assert not run.health()["feeds"]["Behind"]["errors"]
        print(len(seen))
        """,
        tmp_path,
        STENO_COLLECTOR="on",
    )
    assert out == "6\n"
