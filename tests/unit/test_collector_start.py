"""Of many processes that want a collector for one run at once, one starts it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import steno
import under_test
from nodes import node_dir
from steno.capture.start import collector_process
from steno.capture.start.collector_process import COLLECTORS, is_running
from steno.capture.start.watchdog import Watchdog

RANKS = 6
COUNT = """
import os, sys
if "steno.collector" in sys.orig_argv:
    with open(os.environ["COUNTED"], "a") as file:
        file.write(f"{os.getpid()}\\n")
"""
RANK = """
import sys, time, steno
from steno.capture.start import watchdog
watchdog._JOIN_SECS = 0.0  # no rank leaves it to another one
sys.stdin.readline()
run = steno.init("p", "many", dir=sys.argv[1])
run.log({"a": 1.0}, step=0)
print("begun", flush=True)
sys.stdin.readline()
sys.exit(not run.flush(60))
"""


def test_of_ranks_that_join_at_once_one_starts_a_collector(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(COUNT)
    ranks = []
    for rank in range(RANKS):
        torch = {"RANK": rank, "WORLD_SIZE": RANKS, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": RANKS}
        env = under_test.environment(
            PYTHONPATH=under_test.import_path(tmp_path),
            TORCHELASTIC_RUN_ID="job",
            MASTER_ADDR="x",
            MASTER_PORT="1",
            COUNTED=str(tmp_path / "started"),
            **{name: str(value) for name, value in torch.items()},
        )
        words = [sys.executable, "-c", RANK, str(tmp_path / "runs")]
        ranks.append(subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for told in range(2):
        for one in ranks:
            one.stdin.write("\n")
            one.stdin.flush()
        for one in ranks if not told else ():
            assert one.stdout.readline() == "begun\n"
    for one in ranks:
        one.communicate(timeout=90)
        assert one.returncode == 0
    assert len((tmp_path / "started").read_text().split()) == 1


def test_who_finds_that_another_one_starts_a_collector_looks_again(tmp_path):
    (tmp_path / ".steno").mkdir()
    door = collector_process._enter(tmp_path)
    assert door is not None
    try:
        dog = Watchdog(tmp_path, linger_secs=None, report=lambda key, text: None)
        dog.start()
        assert (dog.pid, dog.deaths, dog.given_up) == (None, 0, False)
        assert dog.hopeful()
    finally:
        os.close(door)


def test_a_collector_lets_go_of_the_door_when_it_has_its_lock(tmp_path):
    with steno.init("p", "a", dir=tmp_path) as run:
        run.log({"x": 1.0}, step=0)
        assert run.flush(30)
        assert is_running(run.dir)
        (path,) = (run.dir / ".steno").glob("door-*")
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert collector_process._enter(run.dir) is None  # one is there
        assert COLLECTORS.begin(run.dir, None, None, alone=True) is None
        assert Path(node_dir(run.dir), "collector.lock").exists()
