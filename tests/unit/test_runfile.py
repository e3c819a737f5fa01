"""A `run.json` of wrong types, and a manifest of wrong types: one line that says what is wrong, and the rest is read."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import run_programs
from store_runs import Writer

import steno
from nodes import node_dir
from steno import runfile, statusfile
from steno.ledger import manifest
from steno.record import node_name
from steno.store.listing import runs
from steno.store.reader import open_run

WRONG = {
    "id": 5,
    "name": ["x"],
    "project": {"a": 1},
    "created": "yesterday",
    "config": [1],
    "tags": 7,
    "notes": {},
    "group": ["g"],
    "command": 3,
    "git": "main",
    "environment": [],
    "layout": 1,
}
BYTES = [b"", b"\xff\xfe", b"[" * 100_000, b"[1]", b"5", b'{"id": ', b'"text"', b"9" * 5000]
COMMANDS = (
    ("runs", "--dir", "{place}"),
    ("runs", "--dir", "{place}", "--json"),
    ("show", "{run}"),
    ("show", "{run}", "--json"),
    ("tail", "{run}", "--no-follow"),
    ("export", "{run}", "--to", "csv", "--out", "{place}/out.csv"),
    ("get", "{run}"),
    ("doctor", "{run}"),
    ("sql", "select count(*) from metrics", "--run", "{run}"),
    ("sync", "{run}"),
)


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    run_programs.no_launcher(monkeypatch)
    place = tmp_path / "p" / "x"
    with Writer(place, project="p", name="x", id="i", config={"a": 1}, tags=["t"]) as writer:
        writer.log(*[(step, {"n": float(step)}) for step in range(3)])
        writer.poster.end_stream("host-0-0-1", "finished")
        writer.finish()
    manifest.write(place, node_dir(place))
    with Writer(tmp_path / "p" / "sound", project="p", name="sound") as writer:
        writer.log((0, {"n": 0.0}))
        writer.finish()
    return place


def _spoil(run_dir, **wrong):
    found = json.loads((run_dir / "run.json").read_bytes())
    (run_dir / "run.json").write_text(json.dumps({**found, **wrong}))


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize(
    "value", [True, 5, 1.5, -1, 10**400, float("inf"), float("nan"), "x", [], [1], {}, {"a": [1]}, None]
)
def test_each_field_of_each_type_is_read_or_left_out_and_said(run_dir, name, value):
    _spoil(run_dir, **{name: value})
    good, wrong = runfile.read(run_dir)
    with open_run(run_dir) as book:
        info = book.info
        assert book.series("n").step.tolist() == [0, 1, 2]
    assert (name in good) == (not wrong and value is not None)
    assert info.unreadable == ({"run.json": wrong} if wrong else {})
    assert not wrong or (str(run_dir) in wrong and repr(name) in wrong)
    assert {one.path.name for one in runs(run_dir.parent.parent)} == {"x", "sound"}


@pytest.mark.parametrize("data", BYTES)
def test_a_file_that_is_none_is_said(run_dir, data):
    (run_dir / "run.json").write_bytes(data)
    good, wrong = runfile.read(run_dir)
    assert good == {}
    assert "put an intact copy in its place" in wrong
    assert open_run(run_dir).info.unreadable == {"run.json": wrong}
    assert [bool(one.problem) for one in sorted(runs(run_dir.parent.parent), key=lambda one: one.path.name)] == [
        False,
        True,
    ]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command)[:12])
def test_no_command_has_a_traceback(run_dir, command):
    _spoil(run_dir, **WRONG)
    arguments = [part.format(run=run_dir, place=run_dir.parent.parent) for part in command]
    done = subprocess.run(
        [sys.executable, "-m", "steno", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=run_programs.environment(),
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout
    log = run_dir / ".steno" / "collector.log"
    assert not log.exists() or "Traceback" not in log.read_text()


def test_a_run_that_goes_on_says_it_once_and_is_recorded(run_dir, capsys):
    _spoil(run_dir, **{name: value for name, value in WRONG.items() if name != "id"})
    with steno.init(project="p", name="x", dir=run_dir.parent.parent, resume=True, tags=["u"], config={"b": 2}) as run:
        run.log({"n": 3.0})
        assert run.flush(60)
    said = capsys.readouterr().err
    assert said.count("run.json") == 1
    assert "'tags' is a number and must be a list of texts" in said
    with steno.open(run_dir) as book:
        assert len(book.series("n").step) == 4
        assert book.info.unreadable == {}
        assert book.info.tags == ("u",)
        assert book.info.config["b"] == 2


@pytest.mark.parametrize(
    "spoiled", [{"parts": True}, {"parts": [True]}, {"streams": [{"node": 0}]}, {"state": 1}, [], 5]
)
def test_a_manifest_of_wrong_types_is_said_and_the_parts_are_read(run_dir, spoiled):
    path = run_dir / "manifest.json"
    found = json.loads(path.read_bytes())
    path.write_text(json.dumps({**found, **spoiled} if isinstance(spoiled, dict) else spoiled))
    for ledger in run_dir.glob(".steno/nodes/*/ledger.sqlite"):
        ledger.unlink()
    with open_run(run_dir) as book:
        assert book.series("n").step.tolist() == [0, 1, 2]
        assert list(book.info.unreadable) == ["manifest.json", f"node {node_name(0)}"]


@pytest.mark.parametrize("data", [*BYTES, b'{"destinations": {"csv": 5}}', b'{"uploads": 1.5}', b'{"record": "x"}'])
def test_a_status_that_is_none_says_nothing(tmp_path, data):
    (tmp_path / statusfile.FILE).write_bytes(data)
    assert statusfile.read(tmp_path) == {}
