"""`api/keys`: the keys of many runs are read once, and anew where a run has gone on."""

import os
import shutil

import pytest
from run_programs import put_away

import steno
from steno.store import card_metrics
from steno.viewer.catalogue import Catalogue
from steno.viewer.run import OneRun


def recorded(place, name, rows, **more):
    run = steno.init(project="p", name=name, dir=place, **more)
    for step, row in enumerate(rows):
        run.log(row, step=step)
    assert run.finish(60)
    put_away(run.dir)


@pytest.fixture
def place(tmp_path):
    recorded(tmp_path, "a", [{"loss": 1.0, "odd": "text"}, {"loss": 2.0}])
    recorded(tmp_path, "b", [{"loss": 1.0, "odd": 3.0}])
    return tmp_path


def rested(run_dir):
    """As if the run had been left two seconds ago: what is younger is never kept."""
    then = run_dir.stat().st_mtime_ns - 10_000_000_000
    for path in [*run_dir.rglob("*"), run_dir]:
        os.utime(path, ns=(then, then))


def test_keys_of_ended_runs_are_read_once_and_anew_once_they_change(place, monkeypatch):
    for name in "ab":
        rested(place / "p" / name)
    looked = []
    read = card_metrics.metrics
    monkeypatch.setattr(card_metrics, "metrics", lambda run_dir: looked.append(run_dir.name) or read(run_dir))
    keys = OneRun(Catalogue(place))
    asked = {"runs": ["p/a", "p/b"]}
    first = keys.keys_of(asked)
    assert (first["keys"], first["kinds"], first["points"]) == (["loss", "odd"], ["number", "text"], [3, 2])
    assert keys.keys_of({"runs": ["p/b", "p/a"]})["kinds"] == ["number", "number"]  # as the first run has it
    assert looked.count("a") == looked.count("b") == 1
    recorded(place, "b", [{"loss": 1.0, "more": 3.0}], resume=True)
    again = keys.keys_of(asked)
    assert (again["keys"], again["runs"], again["problems"]) == (["loss", "more", "odd"], [2, 1, 2], [])
    assert looked.count("a") == 1
    shutil.rmtree(place / "p" / "b")
    gone = keys.keys_of(asked)
    assert (gone["keys"], gone["points"]) == (["loss", "odd"], [2, 1])
    assert [one["run"] for one in gone["problems"]] == ["p/b"]
