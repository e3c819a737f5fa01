"""What the viewer's watching thread tells: the end of a run comes with the record that says it, not with the next round."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from steno.viewer import watch
from steno.viewer.catalogue import Catalogue

PROGRAM = """
    import sys, steno
    run = steno.init(project="p", name="one", dir=sys.argv[1])
    for line in sys.stdin:
        run.log({"loss": 1.0})
        run.flush(30)
        print("logged", flush=True)
    run.finish(60)
"""


@pytest.fixture
def told(tmp_path, monkeypatch):
    """(all that is told, in order), where rounds over all runs are a minute apart."""
    monkeypatch.setattr(watch, "_LIST_SECS", 60.0)
    monkeypatch.setattr(watch, "_STATES_SECS", 60.0)
    found = queue.Queue()
    watching = watch.RunWatch(Catalogue(tmp_path), lambda _, runs: found.put(runs), lambda: True)
    yield watching, found
    watching.close()


@pytest.mark.parametrize("killed", [False, True])
def test_the_end_of_a_run_is_told_with_what_says_it(told, tmp_path, killed):
    watching, found = told
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        for _ in range(2):
            print(file=program.stdin, flush=True)
            assert program.stdout.readline() == "logged\n"
        watching.start()
        states = [found.get(timeout=30)["p/one"].state]
        assert states == ["running"]
        print(file=program.stdin, flush=True)  # from here on its ledger is followed
        assert program.stdout.readline() == "logged\n"
        began = time.monotonic()
        if killed:
            os.kill(program.pid, signal.SIGKILL)
        else:
            program.stdin.close()
        while states[-1] == "running":
            states.append(found.get(timeout=45)["p/one"].state)
        assert time.monotonic() - began < 50, "by what the run's files say, before the next round"
        assert states[-1] == ("crashed" if killed else "finished")
