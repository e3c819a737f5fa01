"""Runs of one program that come one after another: one collector process, with a lock, a backlog and faults per run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import steno
import under_test


def collectors():
    """The collectors below this process that are at work, by process id."""
    return {
        child.pid
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "steno.collector" in child.cmdline()
    }


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def record(tmp_path, name, **more):
    run = steno.init(project="p", name=name, dir=tmp_path, destinations=["jsonl"], **more)
    for step in range(20):
        run.log({"x": float(step)}, step)
    pid = run.health()["collector"]["pid"]
    assert run.finish(60)
    return pid


def test_a_collector_that_has_sealed_nothing_yet_has_no_pyarrow(tmp_path):
    """Of 64 runs that begin at once each has one, and pyarrow would take 6 MiB of each."""
    code = """
        import pathlib, steno
        run = steno.init(dir="runs")
        run.log({"x": 1.0})
        assert run.flush(60)
        print(pathlib.Path(f"/proc/{run.health()['collector']['pid']}/maps").read_text())
        assert run.finish(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    maps = subprocess.run(
        command, cwd=tmp_path, env=under_test.environment(), capture_output=True, text=True, check=True
    ).stdout
    assert "sqlite" in maps
    assert "libarrow" not in maps


def check(tmp_path, name, rows=20):
    with steno.open(tmp_path / "p" / name) as book:
        assert book.series("x").value.tolist() == [float(step) for step in range(20)] * (rows // 20)
        until(lambda: steno.open(tmp_path / "p" / name).info.state == "finished")


def test_one_process_serves_runs_that_come_one_after_another(tmp_path):
    pids = [record(tmp_path, f"r{number}") for number in range(5)]
    assert len(set(pids)) == 1
    for number in range(5):
        check(tmp_path, f"r{number}")
        lines = [line for path in (tmp_path / "p" / f"r{number}").rglob("*.jsonl") for line in path.open()]
        assert sum('"x"' in line for line in lines) == 20
        assert (tmp_path / "p" / f"r{number}" / ".steno" / "collector.log").read_text() == ""
        # Each is sealed and left by its own service, as by a process of its own.
        until((tmp_path / "p" / f"r{number}" / "manifest.json").exists)


def test_a_run_that_goes_on_at_once_is_served_again(tmp_path):
    record(tmp_path, "r")
    record(tmp_path, "r", resume=True)
    until((tmp_path / "p" / "r" / "manifest.json").exists)
    with steno.open(tmp_path / "p" / "r") as book:
        assert len(book.series("x", attempt="all").value) == 40


def test_runs_side_by_side_have_processes_of_their_own(tmp_path):
    writers = [steno.SummaryWriter(tmp_path / f"w{number}") for number in range(3)]
    for number, writer in enumerate(writers):
        writer.add_scalar("x", float(number), 0)
        assert writer.flush()
    assert len({writer.run.health()["collector"]["pid"] for writer in writers}) == 3
    for writer in writers:
        assert writer.close()


def test_another_environment_is_another_process(tmp_path, monkeypatch):
    first = record(tmp_path, "a")
    monkeypatch.setenv("SOME_SERVICE_KEY", "new")
    assert record(tmp_path, "b") != first
    check(tmp_path, "b")


def test_a_death_costs_no_run_anything(tmp_path):
    """The process dies while it serves a second run: both are whole, and the second has a process of its own then."""
    first = record(tmp_path, "a")
    run = steno.init(project="p", name="b", dir=tmp_path)
    for step in range(20):
        run.log({"x": float(step)}, step)
        if step == 10:
            assert run.flush(30)
            assert run.health()["collector"]["pid"] == first
            os.kill(first, signal.SIGKILL)
    assert run.finish(60)
    for name in "ab":
        check(tmp_path, name)
        until((tmp_path / "p" / name / "manifest.json").exists)
    assert record(tmp_path, "c") != first
    check(tmp_path, "c")


def test_it_leaves_when_the_program_does(tmp_path):
    code = f"""
import steno
for name in "ab":
    run = steno.init(project="p", name=name, dir={str(tmp_path)!r})
    run.log({{"x": 1.0}}, 0)
    pid = run.health()["collector"]["pid"]
    assert run.finish(60)
print(pid)
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, check=True, timeout=90
    )
    assert under_test.without_waits(done.stderr) == ""
    until(lambda: not psutil.pid_exists(int(done.stdout)), 8)  # it need not wait for a further run


def test_it_costs_nothing_while_it_stays_for_a_later_run_of_a_program_that_has_ended(tmp_path):
    code = f"""
import steno, time
from steno.capture.start.collector_process import is_running
run = steno.init(project="p", name="a", dir={str(tmp_path)!r})
run.log({{"x": 1.0}}, 0)
assert run.finish(60)
while is_running(run.dir):
    time.sleep(0.05)
run = steno.init(project="p", name="b", dir={str(tmp_path)!r}, destinations=["csv"], linger=20)
(run.dir / "metrics.csv").mkdir()
run.log({{"x": 1.0}}, 0)
print(run.health()["collector"]["pid"])
run.finish(0.5)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=90)
    collector = psutil.Process(int(done.stdout))
    before = sum(collector.cpu_times()[:2])
    time.sleep(2)
    spent = sum(collector.cpu_times()[:2]) - before
    collector.kill()
    assert spent < 0.2


@pytest.mark.parametrize("kind", [steno.SummaryWriter, steno.GlobalSummaryWriter])
def test_a_writer_to_which_nothing_was_added_starts_nothing_and_leaves_nothing(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("STENO_WRITER", "")  # what the global writer tells children; taken back at the end
    before = collectors()
    for number in range(20):
        writer = kind(tmp_path / f"w{number}")
        assert writer.flush()
        assert writer.close() is not False
    assert collectors() <= before  # one of an earlier test may have left meanwhile
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_a_writer_that_forks_before_it_adds_is_collected(tmp_path):
    writer = steno.SummaryWriter(tmp_path / "w")
    pid = os.fork()
    if pid == 0:
        writer.add_scalar("child", 1.0, 0)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    until(lambda: "child" in steno.open(tmp_path / "w").keys())
    writer.close()
    assert steno.open(tmp_path / "w").series("child").value.tolist() == [1.0]


def test_what_lies_in_a_logdir_stays_when_nothing_is_added(tmp_path):
    place = tmp_path / "w"
    with steno.SummaryWriter(place) as writer:
        writer.add_scalar("x", 1.0, 0)
    until((place / "manifest.json").exists)
    steno.SummaryWriter(place).close()
    (Path(place) / "mine.txt").write_text("mine")
    assert steno.open(place).series("x").value.tolist() == [1.0]
