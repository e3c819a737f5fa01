"""`steno sync --all` as a real process: each run with something left, and no other."""

from __future__ import annotations

import json

import pytest
from cli_process import recorded, steno

import steno as steno_


@pytest.fixture
def place(tmp_path):
    """Two runs that nobody collected, and one that owes nothing."""
    for name in ("late-1", "late-2"):
        with steno_.init(project="p", name=name, dir=tmp_path, collector=False) as run:
            run.log({"x": 1.0}, 0)
    with steno_.init(project="p", name="done", dir=tmp_path) as run:
        run.log({"x": 1.0}, 0)
        assert run.finish(60)
    return tmp_path


def synced(out):
    return {json.loads(line)["dir"].rpartition("/")[2] for line in out.splitlines()}


def test_each_run_with_something_left_is_synced_once(place):
    done = steno("sync", "--all", "--json", "--dir", place)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert synced(done.stdout) >= {"late-1", "late-2"}
    for name in ("late-1", "late-2"):
        assert steno_.open(place / "p" / name).series("x").value.tolist() == [1.0]
    done = steno("sync", "--all", "--dir", place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no run has anything left\n", "")


def test_a_run_that_is_recorded_is_left_to_its_collector(tmp_path):
    with recorded(tmp_path):
        assert steno("sync", "--all", "--dir", tmp_path).stdout == "no run has anything left\n"


def test_one_that_fails_does_not_stop_the_others(place):
    poisoned = place / "p" / "late-1" / ".steno" / "nodes"
    poisoned.rmdir() if poisoned.is_dir() else None
    poisoned.symlink_to(place)
    done = steno("sync", "--all", "--dir", place)
    assert done.returncode == 1
    assert "late-1" in done.stderr
    assert "Traceback" not in done.stderr
    assert steno_.open(place / "p" / "late-2").series("x").value.tolist() == [1.0]


@pytest.mark.parametrize("arguments", [[], ["late-1", "--all"], ["--all", "--confirm", "s3://b/p"]])
def test_wrong_usage_is_one_line(place, arguments):
    done = steno("sync", *arguments, "--dir", place)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
