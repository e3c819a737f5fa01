"""Files of a run that somebody removes while it goes on: nothing that was recorded is lost, and it is said."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import run_programs

import steno
from nodes import node_dir
from steno import files, host
from steno.capture.recorder import Recorder
from steno.journal import life

pytestmark = pytest.mark.usefixtures("kept_ledger")

PROGRAM = """
import os, sys, time, steno
run = steno.init(project="p", name="r", dir={root!r}, destinations=["csv"], config={{"a": 1}}, {more})
number = 0
def log(count):
    global number
    for _ in range(count):
        run.log({{"n": number}}, step=number)
        number += 1
        time.sleep(0.001)
log(200)
run.flush(20)
print(run.dir, flush=True)
for line in sys.stdin:
    log(int(line))
    print(number, flush=True)
print(run.finish(20), flush=True)
"""


class Program:
    """A training that logs as many records as it is told, one after the other."""

    def __init__(self, root: Path, more: str = "") -> None:
        code = PROGRAM.format(root=str(root), more=more)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(root / "stderr", "w"),  # noqa: SIM115 - the process has it
            text=True,
            env=run_programs.environment(STENO_COLLECTOR="on"),
        )
        self.dir = Path(self.process.stdout.readline().strip())
        self._stderr = root / "stderr"

    def log(self, count: int) -> int:
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def said(self) -> str:
        return self._stderr.read_text()

    def hears(self, words: str, secs: float) -> bool:
        """Whether the words are said within so many seconds."""
        deadline = time.monotonic() + secs
        while time.monotonic() < deadline:
            if words in self.said():
                return True
            time.sleep(0.02)
        return False

    def end(self) -> str:
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.said()
        return out.strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


def stored(run_dir: Path) -> list[int]:
    """All that can be read, once all is posted."""
    steno.sync(run_dir, timeout=30)
    with steno.open(run_dir) as book:
        return [int(value) for value in book.series("n").value]


SMALL = {
    "alive": "journal/*/alive",
    "writer": "journal/*/writer.json",
    "lock": "nodes/*/collector.lock",
    "node": "nodes/*/node.json",
    "status": "nodes/*/status.json",
    "attempt": "attempts/*.json",
    "destination": "destinations/*.json",
    "run": "../run.json",
}


@pytest.mark.parametrize("which", ["alive", "*.seg", "all small", "pointer"])
def test_small_files_and_segments_are_made_again_and_nothing_is_lost(tmp_path, which):
    (tmp_path / "away").mkdir()
    more = f"journal_dir={str(tmp_path / 'away')!r}" if which == "pointer" else ""
    with Program(tmp_path, more) as program:
        machinery = program.dir / ".steno"
        patterns = {
            "alive": ["journal/*/alive"],
            "*.seg": ["journal/*/*.seg"],
            "all small": list(SMALL.values()),
            "pointer": ["journal/*.pointer"],
        }[which]
        deadline = time.monotonic() + 60
        gone: list[Path] = []
        while len(gone) < len(patterns) and time.monotonic() < deadline:
            gone = [path for pattern in patterns for path in machinery.glob(pattern)]
        assert len(gone) >= len(patterns)
        for path in gone:
            path.unlink()
        program.log(300)
        assert program.hears("it is there again", 60)
        deadline = time.monotonic() + 60
        wanted = [path for path in gone if path.suffix != ".seg"]
        while not all(path.exists() for path in wanted) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert all(path.exists() for path in wanted), [path for path in wanted if not path.exists()]
        total = program.log(500)
        assert program.end() == "True"
        assert stored(program.dir) == list(range(total))
        with steno.open(program.dir) as book:
            assert book.info.state == "finished"
            assert book.info.losses == ()
            assert book.info.config == {"a": 1}
        assert len(list((machinery / "nodes").iterdir())) == 1


def test_a_run_that_is_not_posted_yet_keeps_its_segments(tmp_path):
    with Program(tmp_path, "collector=False") as program:
        total = program.log(300)
        for path in program.dir.glob(".steno/journal/*/*"):
            path.unlink()
        assert program.hears("it is there again", 60)
        total = program.log(300)
        program.end()
        assert stored(program.dir) == list(range(total))


def test_a_journal_that_is_removed_whole_comes_again_with_what_is_mapped(tmp_path):
    with Program(tmp_path, "collector=False") as program:
        program.log(300)
        shutil.rmtree(program.dir / ".steno" / "journal")
        assert program.hears("the journal", 60)
        total = program.log(300)
        program.end()
        assert stored(program.dir) == list(range(total))


def test_a_ledger_that_is_removed_is_written_again_by_its_collector(tmp_path):
    with Program(tmp_path) as program:
        for path in program.dir.glob(".steno/nodes/*/ledger.sqlite*"):
            path.unlink()
        assert program.hears("the ledger", 60)
        total = program.log(500)
        assert program.end() == "False"
        assert stored(program.dir) == list(range(total))
        (log,) = program.dir.glob(".steno/nodes/*/collector.log")
        assert "it is there again and nothing of it is lost" in log.read_text()
        rows = (program.dir / "metrics.csv").read_text().splitlines()[1:]
        assert [int(row.split(",")[1]) for row in rows] == list(range(total))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_run_directory_that_is_removed_whole_is_begun_again_with_what_is_held(tmp_path, at_once):
    with Program(tmp_path) as program:
        if at_once:
            program.dir.rename(tmp_path / "gone")
            shutil.rmtree(tmp_path / "gone", ignore_errors=True)
        else:  # in a race with those who make it again
            shutil.rmtree(program.dir, ignore_errors=True)
        assert program.hears("the run's directory" if at_once else "was removed", 60)
        total = program.log(500)
        assert program.end() == "False"
        assert stored(program.dir) == list(range(total))
        assert json.loads((program.dir / "run.json").read_text())["config"] == {"a": 1}


@pytest.fixture
def recorder(tmp_path):
    made = Recorder(tmp_path, run_id="r", report=lambda *_: None)
    yield made
    made.close()


@pytest.mark.parametrize("gone", ["ledger", "run"])
def test_whether_something_is_lost_is_asked_at_the_end_and_not_known_from_the_last_look(tmp_path, gone):
    run_dir = tmp_path / "run"
    ledger = node_dir(run_dir) / "ledger.sqlite"
    ledger.parent.mkdir(parents=True)
    files.write_json(ledger.parent / "node.json", host.describe())
    ledger.touch()
    recorder = Recorder(run_dir, run_id="r", report=lambda *_: None)
    run_programs.wait_for(lambda: recorder._upkeep._ledger_inode)
    recorder._keeper.stop()
    assert recorder._keeper.join(60)
    assert not recorder.lost
    if gone == "ledger":
        ledger.rename(tmp_path / "ledger")
        ledger.touch()
    else:
        run_dir.rename(tmp_path / "gone")
        shutil.copytree(tmp_path / "gone", run_dir)
    assert recorder.lost
    recorder.close()


def journal_of(tmp_path: Path) -> Path:
    (found,) = (tmp_path / ".steno" / "journal").iterdir()
    return found


def _outside(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=run_programs.environment()
    ).stdout.strip()


def alive(place: Path) -> bool:
    code = f"from pathlib import Path; from steno.journal import life; print(life.is_alive(Path({str(place)!r})))"
    return _outside(code) == "True"


def test_a_writer_that_dropped_its_lock_by_a_copy_lives_and_the_copy_does_not(tmp_path, recorder):
    place = journal_of(tmp_path)
    assert alive(place)
    shutil.copytree(tmp_path / ".steno", tmp_path / "copy")  # closes the file that is locked
    assert not life.holds_lock(place, own=os.getpid()) or files.inode(place) is not None
    assert alive(place)
    assert not alive(tmp_path / "copy" / "journal" / place.name)
    (place / life.ALIVE).unlink()
    assert alive(place)
    recorder.close()
    assert not alive(place)


def test_a_killed_writer_does_not_live_without_its_files_either(tmp_path):
    code = f"""
import os
from pathlib import Path
from steno.capture.recorder import Recorder
Recorder(Path({str(tmp_path)!r}), run_id="r", report=print).log({{"a": 1}})
print("begun", flush=True)
os.kill(os.getpid(), 9)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=run_programs.environment())
    assert process.stdout.readline() == b"begun\n"
    place = journal_of(tmp_path)
    deadline = time.monotonic() + 60
    while life.is_alive(place) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not life.is_alive(place)  # a zombie: nobody has waited for it
    (place / life.ALIVE).unlink()
    assert not life.is_alive(place)
    process.wait()


def test_what_must_stay_young_is_touched(tmp_path, recorder):
    place = journal_of(tmp_path)
    old = time.time() - 40 * 86_400
    deadline = time.monotonic() + 60
    stamp = life.stamp(place)
    while life.stamp(place) == stamp and time.monotonic() < deadline:
        time.sleep(0.05)
    stream = recorder._stream
    for path in place.iterdir():
        os.utime(path, (old, old))
    recorder._upkeep._next_stamp = recorder._upkeep._next_touch = 0.0
    while min(path.stat().st_mtime for path in place.iterdir()) < old + 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert min(path.stat().st_mtime for path in place.iterdir()) > time.time() - 60
    assert stream.stamp_secs <= 10


def test_a_collector_keeps_its_machinery_young_but_no_stamp_of_a_writer(tmp_path, monkeypatch):
    run_programs.no_launcher(monkeypatch)
    with steno.init(project="p", name="r", dir=tmp_path, collector=False) as run:
        run.log({"n": 1})
        other = run.dir / ".steno" / "journal" / "other-1-abc"
        other.mkdir()
        theirs = run.dir / ".steno" / "nodes" / "07" / "status.json"
        theirs.parent.mkdir(parents=True)
        for path in (other / "writer.json", theirs):
            path.write_text("{}")
        old = time.time() - 40 * 86_400
        everything = [path for path in run.dir.rglob("*") if path.is_file()]
        for path in everything:
            with contextlib.suppress(FileNotFoundError):  # a stamp, replaced by its writer meanwhile
                os.utime(path, (old, old))
        subprocess.run(
            [sys.executable, "-m", "steno.collector", str(run.dir), "--once"],
            check=True,
            timeout=30,
            env=run_programs.environment(),
        )
        young = set()
        for path in everything:
            with contextlib.suppress(FileNotFoundError):  # posted, and removed meanwhile
                if path.stat().st_mtime > time.time() - 60:
                    young.add(path)
    assert run.dir / "run.json" in young
    assert run.dir / ".steno" / "attempts" / "0001.json" in young
    assert not young & {other / "writer.json", theirs}


def test_of_two_collectors_on_one_ledger_the_first_leaves(tmp_path, monkeypatch):
    run_programs.no_launcher(monkeypatch)
    with Program(tmp_path) as program:
        (lock,) = program.dir.glob(".steno/nodes/*/collector.lock")
        (first,) = run_programs.processes("steno.collector", tmp_path)
        os.kill(first, signal.SIGSTOP)
        lock.unlink()
        second = subprocess.Popen(
            [sys.executable, "-m", "steno.collector", str(program.dir)],
            env=run_programs.environment(),
        )
        assert program.log(200) == 400
        deadline = time.monotonic() + 60
        while len(_points(program.dir)) < 400 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(first, signal.SIGCONT)
        total = program.log(500)
        assert program.end() == "True"
        second.wait(60)
        assert stored(program.dir) == list(range(total))
        log = lock.with_name("collector.log").read_text()
        assert "another collector works on this run now" in log


def _points(run_dir: Path) -> list[float]:
    with steno.open(run_dir) as book:
        return list(book.series("n").value)
