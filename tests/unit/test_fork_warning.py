"""A fork in a program that records: no more warnings than without steno, and a child that waits as its parent does."""

from __future__ import annotations

import sys

import pytest
import run_programs

FORK = """
def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 does not warn")
@pytest.mark.parametrize("way", ["steno", "writer"])
def test_no_warning_that_the_same_program_without_steno_has_not(tmp_path, way):
    begin = "steno.init(project='p')" if way == "steno" else "steno.SummaryWriter('logs')"
    code = f"""
    import os, steno, time, warnings
    warnings.simplefilter("error")
    {FORK.replace(chr(10), chr(10) + "    ")}
    run = {begin}
    log = run.log if hasattr(run, "log") else lambda data, step: run.add_scalar("a", data["a"], step)
    for step in range(5):
        log({{"a": float(step)}}, step)
        time.sleep(0.2 * (step == 0))  # the keeper has made its spares
        fork()
    (run.finish if hasattr(run, "finish") else run.close)()
    """
    done = run_programs.run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_keeper_comes_back_after_a_fork(tmp_path):
    """With a call that leaves the hot path, a flush, and a segment that is full."""
    code = f"""
    import os, signal, steno, threading, time
    {FORK.replace(chr(10), chr(10) + "    ")}
    def keepers():
        return sum(thread.name == "steno-keeper" for thread in threading.enumerate())
    run = steno.init(project="p")
    run.log({{"a": 1.0}})
    time.sleep(0.3)
    assert keepers() == 1
    fork()
    ended = keepers() == 0
    run.log({{"b": 1.0}})   # a call that leaves the hot path
    assert keepers() == 1
    fork()
    run.flush(0.1)
    assert keepers() == 1
    fork()
    blob = "x" * 40_000
    for _ in range(400):
        run.log({{"text": blob}})
    assert keepers() == 1
    run.finish(1)
    assert ended
    """
    done = run_programs.run(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_child_that_flushes_before_the_collector_is_up_waits_for_it(tmp_path):
    code = """
    import os, steno
    run = steno.init(project="p", name="n")
    run.log({"a": 1.0})
    pid = os.fork()
    if pid == 0:
        run.log({"a": 2.0})
        os._exit(0 if run.flush(60) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    run.finish(60)
    """
    done = run_programs.run(code, tmp_path, STENO_COLLECTOR="on")
    assert done.returncode == 0, done.stderr


def test_a_child_of_a_run_without_a_collector_waits_for_none(tmp_path):
    code = """
    import os, steno, time
    run = steno.init(project="p", name="n", collector=False)
    pid = os.fork()
    if pid == 0:
        run.log({"a": 2.0})
        began = time.monotonic()
        os._exit(0 if not run.flush(60) and time.monotonic() - began < 30 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    """
    done = run_programs.run(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_fork_of_a_process_that_has_joined_waits_for_the_collector_that_another_one_starts(tmp_path):
    code = """
    import multiprocessing, os, signal, sys, steno

    def join():
        steno.log({"a": 1.0})
        pid = os.fork()
        if pid == 0:
            steno.log({"a": 2.0})
            os._exit(0 if steno.flush(60) else 1)
        sys.exit(os.waitpid(pid, 0)[1] != 0)

    if __name__ == "__main__":
        run = steno.init(project="p", name="n")
        collector = run._ending.started.watchdog.pid
        os.kill(collector, signal.SIGSTOP)  # it comes up late
        joined = multiprocessing.get_context("spawn").Process(target=join)
        joined.start()
        while len(os.listdir(run.dir / ".steno" / "journal")) < 3:
            assert joined.exitcode is None
        os.kill(collector, signal.SIGCONT)
        joined.join()
        assert joined.exitcode == 0
        assert run.finish(60)
    """
    done = run_programs.run(code, tmp_path, STENO_COLLECTOR="on")
    assert done.returncode == 0, done.stderr
