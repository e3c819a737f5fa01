"""Disks that are full, small, read-only or out of handles: training goes on, what was kept arrives."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from besieged import disk, no_collector, ok, run

import steno
import under_test

FILL = """
import errno, os, resource, sys, time
import steno

def fill(path):
    "Take every byte that is left."
    with open(path, "wb", buffering=0) as file:
        piece = 1 << 20
        while piece >= 1:
            try:
                if file.write(bytes(piece)) < piece:
                    piece //= 2
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
                piece //= 2

def until(what, secs=40):
    end = time.monotonic() + secs
    while not what():
        assert time.monotonic() < end, run.health()
        time.sleep(0.02)

def log(upto):
    global i
    slow = 0
    while i < upto:
        before = time.perf_counter()
        run.log({"i": i, "loss": i / 7.0, "note": "x" * 100}, i)
        slow += time.perf_counter() - before > 0.1
        i += 1
    return slow

i = 0
"""


@pytest.mark.timing
def test_a_full_disk_is_said_once_training_goes_on_and_what_was_kept_arrives(tmp_path):
    # With room for all that was kept in journals, ledger and its log at once: how much of it lies in two of them at a
    # time depends on how fast the collector is.
    with disk(tmp_path / "disk", "96m") as place:
        code = FILL + (
            """
run = steno.init(name="a", dir=os.environ["PLACE"], destinations=["jsonl"])
log(500)
assert run.flush(30)
until(lambda: len(run._started.recorder._stream.spares) == 3)
fill(os.environ["PLACE"] + "/filler")
slow = log(20_000)
health = run.health()
assert health["kept_in_memory"] > 1000 and health["dropped"] == 0, health
# More than memory may take: the rest is dropped, and counted.
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
slow += log(160_000)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
health = run.health()
assert health["dropped"] > 0 and grown < 64 << 10, (health, grown)
os.unlink(os.environ["PLACE"] + "/filler")
until(lambda: run.health()["kept_in_memory"] == 0)
log(i + 1000)
assert slow < 20, slow
assert run.flush(30)
print(i, run.health()["dropped"], flush=True)
run.finish(20)
"""
        )
        done = run(code, tmp_path, PLACE=str(place), STENO_SEGMENT_BYTES="262144")
        assert done.returncode == 0, done.stderr
        logged, dropped = map(int, done.stdout.split())
        assert done.stderr.count("bytes are needed") == 1, done.stderr
        assert f"{place}/default/a/.steno/journal/" in done.stderr
        assert "65536 bytes are needed" in done.stderr
        no_collector(place)
        report = steno.sync(place / "default/a", timeout=60)
        assert (report.error, report.unposted, report.lacking) == ("", (), ())
        book = steno.open(place / "default/a")
        series = book.series("i")
        assert (np.diff(series.step) > 0).all()
        assert np.array_equal(series.step, series.value)
        assert len(series.step) == logged - dropped
        assert {0, 499, logged - 1000, logged - 1} <= set(series.step.tolist())
        lines = (place / "default/a/metrics.jsonl").read_text().splitlines()
        assert sum('"values"' in line for line in lines) == logged - dropped


@pytest.mark.timing
def test_what_waits_in_memory_as_the_program_ends_is_written_or_said(tmp_path):
    with disk(tmp_path / "disk", "16m") as place:
        code = (
            FILL
            + """
run = steno.init(name='a', dir=os.environ['PLACE'])
log(500)
assert run.flush(30)
until(lambda: len(run._started.recorder._stream.spares) == 3)
fill(os.environ["PLACE"] + "/filler")
log(20_000)
print(run.health()["kept_in_memory"], flush=True)
before = time.monotonic()
run.finish(2)
assert time.monotonic() - before < 4
print(run.health()["dropped"], flush=True)
"""
        )
        done = run(code, tmp_path, PLACE=str(place), STENO_SEGMENT_BYTES="262144")
        assert done.returncode == 0, done.stderr
        kept, dropped = map(int, done.stdout.split())
        assert kept > 1000
        assert dropped >= kept
        assert "were lost" in done.stderr


@pytest.mark.parametrize("size", ["2m", "300k"])
def test_a_tiny_journal_place_is_used_as_far_as_it_goes(tmp_path, size):
    """Segments grow with the rate of logging, and must not outgrow the place they lie in."""
    with disk(tmp_path / "shm", size) as shm:
        code = (
            FILL
            + """
run = steno.init(name='a')
for turn in range(8):
    log(i + 1500)
    until(lambda: run.health()["kept_in_memory"] == 0)
assert run.flush(40), run.health()
assert run.finish(20)
print(i, run.health()["dropped"])
"""
        )
        out = ok(code, tmp_path, STENO_JOURNAL_DIR=str(shm))
        assert out.split() == ["12000", "0"]
        assert steno.open(tmp_path / "runs/default/a").series("i").value.tolist() == [float(i) for i in range(12_000)]
        no_collector(tmp_path)
        assert list(shm.iterdir()) == []


def test_a_read_only_directory_is_one_clear_error(tmp_path):
    with disk(tmp_path / "disk", "1m") as place:
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        with pytest.raises(steno.UsageError, match=r"Read-only file system.*STENO_DIR"):
            steno.init(dir=place / "runs")
        assert steno.current() is None


def test_a_full_disk_of_the_run_is_nothing_to_a_journal_on_another_one(tmp_path):
    """What the ledger cannot take waits in the journal."""
    with disk(tmp_path / "disk", "32m") as place:
        code = (
            FILL
            + """
run = steno.init(name='a', dir=os.environ['PLACE'])
log(100)
assert run.flush(30)
fill(os.environ["PLACE"] + "/filler")
log(5000)
assert run.health()["kept_in_memory"] == 0
run.finish(1.0)
print("end", flush=True)
"""
        )
        out = ok(code, tmp_path, PLACE=str(place), STENO_JOURNAL_DIR=str(tmp_path / "journals"))
        assert out == "end\n"
        (place / "filler").unlink()
        no_collector(place, 60)
        assert steno.sync(place / "default/a", timeout=60).complete
        assert steno.open(place / "default/a").series("i").value.tolist() == [float(i) for i in range(5000)]


def test_out_of_file_handles_is_survived(tmp_path):
    code = (
        FILL
        + """
run = steno.init(name='a', destinations=['jsonl'])
log(100)
assert run.flush(30)
until(lambda: len(run._started.recorder._stream.spares) == 3)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
log(20_000)
health = run.health()
assert health["kept_in_memory"] > 1000, health
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
until(lambda: run.health()["kept_in_memory"] == 0)
log(i + 100)
assert run.flush(30)
print(i, run.health()["dropped"], flush=True)
assert run.finish(30)
"""
    )
    done = run(code, tmp_path, STENO_SEGMENT_BYTES="262144")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["20100", "0"]
    assert done.stderr.count("Too many open files") == 1, done.stderr
    book = steno.open(tmp_path / "runs/default/a")
    assert book.series("i").value.tolist() == [float(i) for i in range(20_100)]
    lines = (tmp_path / "runs/default/a/metrics.jsonl").read_text().splitlines()
    assert sum('"values"' in line for line in lines) == 20_100


def test_a_collector_out_of_file_handles_goes_on_when_there_are_some(tmp_path):
    """It is limited from outside, as `prlimit` does, while it works."""
    import resource

    code = (
        FILL
        + """
run = steno.init(name='a', destinations=['jsonl', 'tensorboard'])
log(100)
assert run.flush(30)
print(run._started.watchdog.pid, flush=True)
sys.stdin.readline()
log(30_000)
print("logged", flush=True)
sys.stdin.readline()
assert run.finish(40), run.health()
"""
    )
    from besieged import start

    with start(code, tmp_path, STENO_SEGMENT_BYTES="262144") as program:
        pid = int(program.stdout.readline())
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "logged\n"
        assert Path(f"/proc/{pid}").exists()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        _, err = program.communicate("\n", timeout=60)
        assert (program.returncode, under_test.without_waits(err)) == (0, "")
    run_dir = tmp_path / "runs/default/a"
    assert steno.open(run_dir).series("i").value.tolist() == [float(i) for i in range(30_000)]
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    assert sum('"values"' in line for line in lines) == 30_000
