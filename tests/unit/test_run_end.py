"""The end with a collector: waiting for it, giving it up, starting it again."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import run_programs
from run_programs import wait_for

import steno
from nodes import node_dir
from steno.capture.start.collector_process import COLLECTORS, is_running
from steno.capture.start.watchdog import Watchdog
from steno.host import is_locked
from steno.journal.tailer import Tailer


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    run_programs.no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    COLLECTORS.forget()  # one that an earlier test killed is replaced when the next is started, by this test's script
    yield
    if steno.current() is not None:
        steno.current().finish(0)


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Makes a shell script the interpreter that the collector is started with."""

    def make(script: str) -> None:
        path = tmp_path / "interpreter"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))

    return make


class Poster:
    """Marks journals as posted and destinations as delivered, as a collector does."""

    def __init__(self, run_dir: Path, delivered: int, *, post: bool = True) -> None:
        self.run_dir = run_dir
        self.post = post
        node = node_dir(run_dir, 0)
        node.mkdir(parents=True, exist_ok=True)
        (node / "node.json").write_text(json.dumps({"host": os.uname().nodename}))
        self.status = node / "status.json"
        self.deliver(delivered)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def deliver(self, number: int) -> None:
        self.status.write_text(json.dumps({"destinations": {"csv": {"delivered": number}}, "counters": {"run": 7}}))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        tailers: dict[Path, Tailer] = {}
        while not self._stop.is_set():
            for path in self.run_dir.glob(".steno/journal/*/[0-9]*.seg"):
                if path not in tailers and self.post:
                    tailers[path] = Tailer(path)
            for tailer in tailers.values():
                if tailer.read() is not None:
                    tailer.mark_posted(5)
            time.sleep(0.005)
        for tailer in tailers.values():
            tailer.close()


def test_finish_is_true_when_all_is_posted_and_delivered(program):
    program("exec sleep 60")
    run = steno.init(name="a", destinations=["csv"])
    pid = run._started.watchdog.pid
    with Poster(run.dir, delivered=5):
        run.log({"a": 1.0}, step=0)
        assert run.flush(10) is True
        assert run.step == 7
        run.log({"a": 1.0}, step=20)
        assert run.finish() is True
    assert run.finish() is True
    os.kill(pid, signal.SIGKILL)


@pytest.mark.timing
def test_a_destination_that_lags_makes_finish_false_within_its_limit(program):
    program("exec sleep 60")
    run = steno.init(name="a", destinations=["csv"])
    pid = run._started.watchdog.pid
    with Poster(run.dir, delivered=4):
        run.log({"a": 1.0}, step=0)
        began = time.monotonic()
        assert run.finish(timeout=0.3) is False
        assert time.monotonic() - began < 1
    os.kill(pid, signal.SIGKILL)


def test_finish_waits_for_a_destination_that_comes_in_time(program):
    program("exec sleep 60")
    run = steno.init(name="a", destinations=["csv"])
    pid = run._started.watchdog.pid
    with Poster(run.dir, delivered=4) as poster:
        run.log({"a": 1.0}, step=0)
        threading.Timer(0.2, poster.deliver, (5,)).start()
        assert run.finish(timeout=20) is True
    os.kill(pid, signal.SIGKILL)


@pytest.mark.timing
def test_a_destination_that_has_stopped_is_not_waited_for(program):
    program("exec sleep 60")
    run = steno.init(name="a", destinations=["csv"])
    pid = run._started.watchdog.pid
    with Poster(run.dir, delivered=0) as poster:
        poster.status.write_text(json.dumps({"destinations": {"csv": {"delivered": 0, "state": "stopped"}}}))
        run.log({"a": 1.0}, step=0)
        assert run.flush(10)
        began = time.monotonic()
        assert run.finish() is False
        assert time.monotonic() - began < 1
    os.kill(pid, signal.SIGKILL)


def test_a_collector_that_leaves_as_the_next_attempt_begins_is_replaced_at_once(program, tmp_path):
    """init found the lock held and started none; finish does not wait for the keeper's next look."""
    (tmp_path / ".steno").mkdir()
    node = node_dir(tmp_path, 0)
    node.mkdir(parents=True)
    (node / "node.json").write_text(json.dumps({"host": os.uname().nodename}))
    lock = node / "collector.lock"
    lock.write_text("")
    code = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    dog = Watchdog(tmp_path, linger_secs=None, report=lambda key, text: None)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        dog.start()
        dog.watch()
        assert dog.pid is None
        holder.stdin.close()
        holder.wait()
    program("exec sleep 60")
    assert dog.hopeful()
    assert dog.pid is not None
    os.kill(dog.pid, signal.SIGKILL)
    dog._process.wait()


def test_the_collector_has_its_own_session_and_none_of_our_descriptors(program, tmp_path):
    program(
        # A second start, after the first one has ended at once, must not write over what is read.
        f"[ -e {tmp_path}/done ] && exit 0; "
        'echo "$@" > args; env > env; ls -l /proc/$$/fd > fds; cut -d" " -f6 /proc/$$/stat > session; pwd > cwd; echo done > done'
    )
    # cwd is "/": write beside the script.
    script = tmp_path / "interpreter"
    script.write_text(script.read_text().replace("> ", f"> {tmp_path}/"))
    reader, writer = os.pipe()
    inode = os.fstat(writer).st_ino
    os.set_inheritable(writer, True)
    try:
        steno.init(name="a", linger=7)
        wait_for((tmp_path / "done").exists)
    finally:
        os.close(reader)
        os.close(writer)
    args = (tmp_path / "args").read_text().split()
    assert args[-2] == "--door"
    assert args[:-2] == [
        "-P",
        "-m",
        "steno.collector",
        str(tmp_path / "runs/default/a"),
        "--more",
        "--linger",
        "7.0",
        "--adopt-secs",
        "120.0",
    ]
    # Standard input is a pipe, by which further runs are told; it has no other one, and none of ours.
    targets = [line.rpartition(" -> ")[2] for line in (tmp_path / "fds").read_text().splitlines() if "->" in line]
    assert [target for target in targets if target.startswith("pipe:")] == targets[:1]
    assert f"pipe:[{inode}]" not in targets
    assert (tmp_path / "session").read_text().strip() != str(os.getsid(0))
    assert (tmp_path / "cwd").read_text() == "/\n"
    env = (tmp_path / "env").read_text()
    assert f"PYTHONPATH={Path(steno.__file__).parents[1]}" in env
    assert "STENO_RUN_DIR" not in env


def test_a_dead_collector_is_started_again_with_growing_waits_and_given_up_after_five(program, tmp_path, monkeypatch):
    program("exit 3")
    (tmp_path / ".steno").mkdir()
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    said = []
    dog = Watchdog(tmp_path, linger_secs=None, report=lambda key, text: said.append(text))
    dog.start()
    starts = [clock[0]]
    for _ in range(2000):
        process = dog._process
        if process is not None:
            process.wait()
        dog.watch()
        if dog._process is not None and dog._process is not process:
            starts.append(clock[0])
        if dog.given_up:
            break
        clock[0] += 1
    assert dog.given_up
    assert len(starts) == 5
    waits = [b - a for a, b in zip(starts, starts[1:], strict=False)]
    assert waits == sorted(waits)
    assert waits[0] <= 2
    assert len(said) == 1
    assert "steno sync" in said[0]
    assert not dog.hopeful()


def test_a_collector_that_cannot_be_started_is_counted_too(monkeypatch, tmp_path):
    (tmp_path / ".steno").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    dog = Watchdog(tmp_path, linger_secs=None, report=lambda key, text: None)
    dog.start()
    assert dog.deaths == 1


@pytest.mark.parametrize("sort", ["posix", "flock"])
def test_a_collector_of_another_process_is_seen_by_its_lock(tmp_path, sort):
    node = node_dir(tmp_path, 0)
    node.mkdir(parents=True)
    (node / "node.json").write_text(json.dumps({"host": os.uname().nodename}))
    lock = node / "collector.lock"
    lock.write_text("")
    assert not is_running(tmp_path)
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+');"
        "(fcntl.lockf if sys.argv[2] == 'posix' else fcntl.flock)(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock), sort], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        assert is_locked(lock)
        assert is_running(tmp_path)
        dog = Watchdog(tmp_path, linger_secs=None, report=lambda key, text: None)
        dog.start()
        assert dog.pid is None
        holder.stdin.close()
        holder.wait()
    assert not is_running(tmp_path)


def test_many_runs_in_one_program_leave_no_zombie(program):
    program("exit 0")
    pids = []
    for _ in range(3):
        run = steno.init(name="a")
        pids.append(run._started.watchdog.pid)
        run.finish(0)
    wait_for(lambda: not any(pid and Path(f"/proc/{pid}").exists() for pid in pids))


@pytest.mark.timing
def test_exit_with_a_hung_collector_is_bounded(tmp_path):
    script = tmp_path / "interpreter"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    script.chmod(0o755)
    code = f"import sys, steno\nsys.executable = {str(script)!r}\nsteno.init(name='a').log({{'a': 1.0}})\nprint('end', flush=True)"
    with run_programs.start(code, tmp_path, STENO_COLLECTOR="on") as program_:
        assert program_.stdout.readline() == "end\n"
        began = time.monotonic()
        # The pipe ends with the program, though the collector goes on.
        assert program_.stdout.read() == ""
        assert program_.wait() == 0
        assert time.monotonic() - began < 4
        assert "Warning" not in program_.stderr.read()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_what_a_collector_that_cannot_start_said_last_is_in_the_line(program, capsys):
    program('echo "sqlite3.OperationalError: database or disk is full" >&2\nexec sleep 30')
    run = steno.init(project="p", name="r")
    run.log({"x": 1.0})
    wait_for(lambda: (run.dir / ".steno" / "collector.log").stat().st_size)
    assert not run.finish(0.2)
    assert "which has not started and whose log ends with 'sqlite3.OperationalError: database or disk is full'" in (
        capsys.readouterr().err
    )
