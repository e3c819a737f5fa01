"""A destination that hangs or raises, and a collector that stands still: the program goes on as before."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from besieged import TIMED, kill_collectors, no_collector, start
from run_programs import processes, wait_for

import steno
import under_test
from nodes import node_dir

SINK = '''
import json, os, time
class Sink:
    """Hangs or raises while the file `down` says so; else writes down what it gets."""
    kinds = frozenset({"points"})
    def open(self, run):
        self.place = os.path.dirname(__file__)
    def write(self, batch):
        try:
            how = open(self.place + "/down").read()
        except FileNotFoundError:
            how = ""
        if how == "hang":
            time.sleep(3600)
        elif how:
            raise RuntimeError(how)
        with open(self.place + "/got", "a") as file:
            file.write(json.dumps([batch.id, batch.record.tolist()]) + "\\n")
    def flush(self): pass
    def close(self): pass
'''
PROGRAM = (
    TIMED
    + """
import os, sys
import steno
run = steno.init(name="a", destinations=["sink", "jsonl", "tensorboard"], linger=0.5)
run.log({"i": 0.0}); run.flush(30)
ours, empty = timed(run.log)
print(ours[len(ours) // 2], ours[len(ours) * 99 // 100], empty[len(empty) * 99 // 100], flush=True)
run.event("end")
print(time.monotonic(), flush=True)
"""
)
RECORDS = 4001


@pytest.fixture
def installed(tmp_path):
    """A package that is installed and adds the destination `sink`; the directory it lies in."""
    site = tmp_path / "site"
    (site / "sink-1.0.dist-info").mkdir(parents=True)
    (site / "sink-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: sink\nVersion: 1.0\n")
    (site / "sink-1.0.dist-info/entry_points.txt").write_text("[steno.destinations]\nsink = sink_of_a_test:Sink\n")
    (site / "sink_of_a_test.py").write_text(SINK)
    return site


def got(site: Path) -> list[int]:
    """The records that the sink took, each once, in order of delivery."""
    batches = dict(json.loads(line) for line in (site / "got").read_text().splitlines())
    return [record for batch in sorted(batches) for record in batches[batch]]


def ended(program, began: float) -> float:
    """Seconds from the program's last line to its end."""
    out, err = program.communicate(timeout=60)
    assert (program.returncode, out, err) == (0, "", "")
    return time.monotonic() - began


def check_speed(line: str) -> None:
    middle, rare, idle = map(int, line.split())
    # Microseconds as a rule; wide, since the machine may be busy. A wait for a destination would be seconds.
    assert middle < 200_000, line
    assert rare < idle + 20_000_000, line


@pytest.mark.timing
@pytest.mark.parametrize("how", ["hang", "no such host"])
def test_a_destination_that_is_down_delays_only_itself(installed, tmp_path, monkeypatch, how):
    path = under_test.import_path(installed)
    (installed / "down").write_text(how)
    with start(PROGRAM, tmp_path, PYTHONPATH=path) as program:
        check_speed(program.stdout.readline())
        assert ended(program, float(program.stdout.readline())) < 2 + 2
    run_dir = tmp_path / "runs/default/a"
    # The rest is delivered while the sink is down, and the collector leaves when it has lingered.
    no_collector(tmp_path, 60)
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    assert sum('"values"' in line for line in lines) == RECORDS
    assert not (installed / "got").exists()
    status = json.loads((node_dir(run_dir) / "status.json").read_text())["destinations"]
    assert status["jsonl"]["lag"] == status["tensorboard"]["lag"] == 0 < status["sink"]["lag"]
    if how != "hang":
        assert how in status["sink"]["error"]
    assert steno.open(run_dir).info.state == "finished"

    (installed / "down").unlink()
    monkeypatch.setenv("PYTHONPATH", path)
    report = steno.sync(run_dir, timeout=60)
    assert report.complete, report
    numbers = got(installed)
    assert len(numbers) == len(set(numbers)) == RECORDS
    assert numbers == sorted(numbers)


def test_a_destination_that_comes_back_is_caught_up_while_training_goes_on(installed, tmp_path):
    path = under_test.import_path(installed)
    (installed / "down").write_text("not yet")
    code = """
    import steno, sys
    run = steno.init(name="a", destinations=["sink"])
    for i in range(500): run.log({"i": float(i)})
    assert run.flush(30)
    print("logged", flush=True)
    sys.stdin.readline()
    for i in range(500): run.log({"i": float(i)})
    assert run.finish(50), run.health()
    """
    with start(code, tmp_path, PYTHONPATH=path) as program:
        assert program.stdout.readline() == "logged\n"
        (installed / "down").unlink()
        _, err = program.communicate("\n", timeout=60)
        assert (program.returncode, under_test.without_waits(err)) == (0, "")
    numbers = got(installed)
    assert len(numbers) == len(set(numbers)) == 1000
    assert numbers == sorted(numbers)


@pytest.mark.timing
@pytest.mark.parametrize("way", ["goes on", "is killed"])
def test_a_collector_that_stands_still_stops_nobody(tmp_path, way):
    code = TIMED + (
        """
import os, signal, sys
import steno
run = steno.init(name="a", destinations=["jsonl"])
run.log({"i": 0.0}); assert run.flush(30)
os.kill(run._started.watchdog.pid, signal.SIGSTOP)
print(run._started.watchdog.pid, flush=True)
ours, empty = timed(run.log)
print(ours[len(ours) // 2], ours[len(ours) * 99 // 100], empty[len(empty) * 99 // 100], flush=True)
before = time.monotonic()
assert run.flush(0.3) is False
assert time.monotonic() - before < 2
print(time.monotonic(), flush=True)
"""
    )
    with start(code, tmp_path) as program:
        pid = int(program.stdout.readline())
        try:
            check_speed(program.stdout.readline())
            assert ended(program, float(program.stdout.readline())) < 2 + 2
        finally:
            if way == "goes on":
                os.kill(pid, signal.SIGCONT)
    run_dir = tmp_path / "runs/default/a"
    if way == "goes on":
        no_collector(tmp_path)
    else:
        kill_collectors(tmp_path)
        assert steno.sync(run_dir, timeout=60).complete
    book = steno.open(run_dir)
    assert len(book.series("i").value) == RECORDS
    assert book.info.state == "finished"
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    assert sum('"values"' in line for line in lines) == RECORDS


@pytest.mark.timing
def test_an_object_that_hangs_in_this_process_does_not_hold_its_end(tmp_path):
    code = (
        TIMED
        + """
import steno
class Hole:
    def open(self, run): pass
    def write(self, batch): time.sleep(3600)
    def flush(self): pass
    def close(self): pass
run = steno.init(name="a", destinations=[Hole(), "jsonl"])
run.log({"i": 0.0}); assert run.flush(30)
ours, empty = timed(run.log)
print(ours[len(ours) // 2], ours[len(ours) * 99 // 100], empty[len(empty) * 99 // 100], flush=True)
print(time.monotonic(), flush=True)
"""
    )
    with start(code, tmp_path) as program:
        check_speed(program.stdout.readline())
        assert ended(program, float(program.stdout.readline())) < 2 + 2
    no_collector(tmp_path)
    lines = (tmp_path / "runs/default/a/metrics.jsonl").read_text().splitlines()
    assert sum('"values"' in line for line in lines) == RECORDS


@pytest.mark.timing
def test_a_pipe_ends_when_training_ends_whatever_its_children_do(installed, tmp_path):
    """`python train.py | cat`: no process of ours holds the pipe."""
    import subprocess
    import sys

    from run_programs import environment

    (installed / "down").write_text("hang")
    (tmp_path / "train.py").write_text(
        "import steno\nrun = steno.init(name='a', destinations=['sink', 'tensorboard'], linger=30)\n"
        "for i in range(100): run.log({'i': i}, i)\nrun.flush(20)\nprint('trained', flush=True)\n"
    )
    path = under_test.import_path(installed)
    began = time.monotonic()
    done = subprocess.run(
        f"{sys.executable} train.py 2>&1 | cat",
        shell=True, cwd=tmp_path, env=environment(STENO_COLLECTOR="on", PYTHONPATH=path),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "trained\n"
    assert time.monotonic() - began < 20
    # The collector is still there, waiting for the sink.
    wait_for(lambda: json.loads((node_dir(tmp_path / "runs/default/a") / "status.json").read_text())["destinations"])
    from siege import collectors

    assert collectors(tmp_path)


def test_a_hanging_destination_does_not_outlive_a_killed_collector(installed, tmp_path):
    path = under_test.import_path(installed)
    (installed / "down").write_text("hang")
    lines = "import steno\nrun = steno.init(name='a', destinations=['sink'], linger=30)\nrun.log({'i': 0.0})\nrun.flush(30)\n"
    with start(lines, tmp_path, PYTHONPATH=path) as program:
        program.communicate(timeout=60)
    wait_for(lambda: processes("steno.follow", tmp_path))
    kill_collectors(tmp_path)
    wait_for(lambda: not processes("steno.follow", tmp_path), 30)
