"""Runs in directories whose names are patterns, columns or too long: read as they are, or refused at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import run_programs
from store_runs import Writer

import steno
from steno.errors import UsageError
from steno.store.query import sql
from steno.store.reader import open_run

ODD = (
    "a*b\\c",
    "a[\\",
    "?\\?",
    "[!a]\\*\\",
    "step=5",
    "value=3/key=k",
    "rank=7/attempt=2",
    "run=q",
    "a\nb",
    "'",
    "%20{}",
)


def _sealed(run_dir):
    with Writer(run_dir, project=run_dir.parent.name, name=run_dir.name) as writer:
        writer.log(*[(step, {"x": float(step)}) for step in range(100)], entries=[("event", {"name": "e"})])
        writer.poster.end_stream("host-0-0-1", "finished")
        writer.finish()
    return run_dir


@pytest.mark.parametrize("odd", ODD)
def test_parts_are_read_whatever_their_directory_is_called(tmp_path, odd):
    # What the odd name would match as a pattern lies beside it, and must not be read in its place.
    for other in ("aXb/c", "axxb-c", "x"):
        shutil.rmtree(_sealed(tmp_path / other / "p" / "x") / ".steno")
    run_dir = _sealed(tmp_path / odd / "p" / "x")
    with open_run(run_dir) as book:
        series = book.series("x")
        assert series.step.tolist() == series.value.tolist() == list(range(100))
        assert set(series.rank.tolist()) == {0}
        assert book.keys() == ["x"]
        assert [entry.payload["name"] for entry in book.records("event")] == ["e"]
        assert book.info.unreadable == {}
        assert book.frame("x").shape[0] == 100
    found = sql("select run, count(*), sum(value), max(step) from metrics group by run", [run_dir]).fetchall()
    assert found == [("p/x", 100, 4950.0, 99)]


def test_many_odd_directories_are_read_together(tmp_path):
    runs = [_sealed(tmp_path / odd / "p" / f"x{number}") for number, odd in enumerate(ODD)]
    found = sql("select run, count(*), max(step) from metrics group by run order by run", runs).fetchall()
    assert found == sorted((f"p/x{number}", 100, 99) for number in range(len(ODD)))


def test_a_relative_odd_directory_is_read(tmp_path, monkeypatch):
    _sealed(tmp_path / "a*b\\c" / "p" / "x")
    monkeypatch.chdir(tmp_path)
    assert len(open_run("a*b\\c/p/x").series("x").value) == 100


def _deep(place, length):
    """A directory whose path has that many bytes."""
    while len(os.fsencode(place)) < length:
        left = length - len(os.fsencode(place)) - 1
        place = place / ("d" * (left if left <= 200 else min(200, left - 2)))
    place.mkdir(parents=True)
    assert len(os.fsencode(place)) == length
    return place


@pytest.fixture
def _alone(monkeypatch):
    run_programs.no_launcher(monkeypatch)


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("length", [440, 467, 468, 469, 480, 520, 1500])
def test_a_run_is_kept_or_refused_at_init(tmp_path, length):
    root = _deep(tmp_path, length)
    if length + len("/p/x/.steno/nodes/0123456789abcdef/ledger.sqlite") > 504:
        with pytest.raises(UsageError, match="pass a shorter dir="):
            steno.init(project="p", name="x", dir=root)
        assert list(root.rglob("run.json")) == []
        return
    run = steno.init(project="p", name="x", dir=root)
    run.log({"n": 1})
    assert run.finish(60)
    assert len(steno.open(run.dir).series("n").value) == 1


@pytest.mark.usefixtures("_alone")
def test_what_counts_is_where_links_lead_in_bytes(tmp_path):
    (tmp_path / "short").symlink_to(_deep(tmp_path / "far", 600))
    with pytest.raises(UsageError, match="more than SQLite"):
        steno.init(project="p", name="x", dir=tmp_path / "short")
    with pytest.raises(UsageError, match="more than SQLite"):
        steno.init(project="p", name="é" * 90, dir=_deep(tmp_path / "near", 320))
    with pytest.raises(UsageError, match="more than SQLite"):
        steno.SummaryWriter(_deep(tmp_path / "logs", 500))
    (tmp_path / "home").mkdir()
    back = _deep(tmp_path / "away", 600) / "back"
    back.symlink_to(tmp_path / "home")
    with steno.init(project="p", name="x", dir=back) as run:
        run.log({"n": 1})
    assert len(steno.open(run.dir).series("n").value) == 1


@pytest.mark.usefixtures("_alone")
def test_a_run_that_was_moved_to_a_long_path_is_read_and_sync_says_why_not(tmp_path):
    with steno.init(project="p", name="x", dir=tmp_path / "runs") as run:
        run.log({"n": 1})
    away = _deep(tmp_path / "away", 600) / "x"
    shutil.move(run.dir, away)
    assert len(steno.open(away).series("n").value) == 1
    done = subprocess.run(
        [sys.executable, "-m", "steno", "sync", str(away)],
        check=False,
        capture_output=True,
        text=True,
        env=run_programs.environment(),
    )
    assert done.returncode == 1
    assert "move the run to a shorter path" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
