"""The runs of one process together: each way in which it ends is theirs all."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import run_programs
from run_programs import entries, ok

import steno
from steno.capture.open_runs import RUNS
from steno.errors import ClosedError


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    run_programs.no_launcher(monkeypatch)
    monkeypatch.setenv("STENO_COLLECTOR", "off")
    monkeypatch.chdir(tmp_path)
    yield
    for one in RUNS.all():
        one.end("finished", timeout=0, announce=False)
    RUNS._hooks.uninstall()  # a run that ended in another thread leaves SIGTERM's


@pytest.mark.parametrize("first", ["writer", "run"])
def test_sigterm_is_written_down_in_all_runs_whichever_began_first(first, tmp_path):
    lines = {"writer": "writer = steno.SummaryWriter('logs')", "run": "run = steno.init(name='a')"}
    ordered = sorted(lines, key=lambda name: name != first)
    code = "\n".join(["import steno, time", *(lines[name] for name in ordered)])
    code += "\nlogger = steno.RunLogger('b', 'runs/default')\nrun.log({'a': 1.0})\nwriter.add_scalar('a', 1.0)\n"
    code += "print('ready', flush=True)\nwhile True: time.sleep(0.01)\n"
    with run_programs.start(code, tmp_path) as program:
        assert program.stdout.readline() == "ready\n"
        program.terminate()
        assert program.wait(60) == -signal.SIGTERM
    for place in ("logs", "runs/default/a", "runs/default/b"):
        assert entries(tmp_path / place, "finish") == [{"state": "failed", "error": "SIGTERM", "traceback": ""}]


def test_an_exception_fails_all_runs(tmp_path):
    code = """
    import steno
    writer = steno.SummaryWriter("logs")
    writer.add_scalar("x", 1.0)
    run = steno.init(name="a")
    raise ValueError("no luck")
    """
    run_programs.run(code, tmp_path)
    for place in ("logs", "runs/default/a"):
        (finish,) = entries(tmp_path / place, "finish")
        assert (finish["state"], finish["error"]) == ("failed", "ValueError: no luck")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize(
    ("end", "state", "error"),
    [
        ("pass", "finished", None),
        ("sys.exit(0)", "finished", None),
        ("sys.exit(3)", "failed", "SystemExit: 3"),
        ("raise KeyError('x')", "failed", "KeyError: 'x'"),
    ],
)
def test_a_child_of_multiprocessing_ends_the_runs_that_it_began(method, end, state, error, tmp_path):
    code = f"""
    import multiprocessing, sys, steno

    def work():
        steno.init(name="child").log({{"a": 1.0}})
        {end}

    if __name__ == "__main__":
        child = multiprocessing.get_context({method!r}).Process(target=work)
        child.start()
        child.join()
    """
    assert run_programs.run(code, tmp_path).returncode == 0
    (finish,) = entries(tmp_path / "runs/default/child", "finish")
    if error and sys.version_info >= (3, 13):
        error = f"exit status {3 if 'sys.exit' in end else 1}"  # the exception itself is gone by then
    assert (finish["state"], finish.get("error")) == (state, error)


def test_a_run_may_begin_while_another_thread_ends_the_current_one():
    """Neither holds what the other waits for."""
    for turn in range(5):
        run = steno.init(name=f"a{turn}")
        release = threading.Event()
        run.async_log(lambda release=release: release.wait(30) and {"late": 1.0})
        ends, begins = threading.Thread(target=run.finish), threading.Thread(target=steno.init)
        ends.start()
        begins.start()
        release.set()
        for thread in (ends, begins):
            thread.join(30)
            assert not thread.is_alive()
        steno.finish(0)


def test_a_run_that_begins_beside_does_not_wait_for_one_that_ends():
    run = steno.init(name="a")
    release = threading.Event()
    run.async_log(lambda: release.wait(60) and {"late": 1.0})
    ends = threading.Thread(target=steno.init)
    ends.start()
    run_programs.wait_for(lambda: run._ending.tasks._closing)
    beside = steno.RunLogger("b", "runs/default")
    beside.close(0)
    assert ends.is_alive()
    release.set()
    ends.join(30)
    assert steno.current() is not run


def test_the_list_knows_what_is_open():
    run = steno.init(name="a")
    writer = steno.SummaryWriter("logs")
    assert [one.run for one in RUNS.all()] == [writer.run, run]
    assert RUNS.of(run).owner == os.getpid()
    writer.close()
    run.finish(0)
    assert RUNS.all() == []
    with pytest.raises(ClosedError, match="has ended"):
        RUNS.of(run)


def test_a_logdir_whose_run_the_user_has_ended_is_opened_again():
    writer = steno.SummaryWriter("logs")
    writer.add_scalar("x", 1.0)
    writer.run.finish(0)
    again = steno.SummaryWriter("logs")
    assert not again.run.ended
    assert again.run.attempt == 2
    again.close()


def test_a_forked_child_that_began_no_run_ends_none(tmp_path):
    code = """
    import os, sys, steno
    run = steno.init(name="a")
    writer = steno.SummaryWriter("logs")
    writer.add_scalar("x", 1.0)
    if os.fork() == 0:
        steno.log({"child": 1.0})
        sys.exit(0)
    os.wait()
    print(run.ended, writer.run.ended)
    """
    assert ok(code, tmp_path).endswith("False False\n")
    for place in ("logs", "runs/default/a"):
        assert len(entries(Path(tmp_path / place), "finish")) == 1
