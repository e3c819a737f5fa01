"""What the doctor sees: live writers, journals nobody posted, journals that lie elsewhere, a destination that fails."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

import steno
from nodes import node_dir
from steno.examine import examine

pytestmark = pytest.mark.usefixtures("kept_ledger")


def test_a_live_run_has_a_living_writer_and_a_collector(tmp_path):
    with steno.init(project="live", name="one", dir=tmp_path, destinations=["csv"]) as run:
        run.log({"x": 1.0})
        assert run.flush(60)
        found = examine(run.dir)
        assert found.state == "running"
        assert [journal.alive for journal in found.journals] == [True]
        assert [node["collector"] for node in found.nodes] == ["running"]
        assert found.unposted_bytes == 0
        deadline = time.monotonic() + 60
        while examine(run.dir).destinations[0].get("delivered", 0) < 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        (csv,) = examine(run.dir).destinations
        assert csv["name"] == "csv"
        assert csv["lag"] == 0
        assert csv["error"] is None


def test_what_collectors_said_is_shown(tmp_path):
    with steno.init(project="quiet", name="one", dir=tmp_path, collector=False) as run:
        run.log({"x": 1.0})
    (node_dir(run.dir, 0)).mkdir(parents=True)
    (run.dir / ".steno/collector.log").write_text("why it ended\n")
    (node_dir(run.dir, 0) / "collector.log").write_text("what it met\n")
    outside = [sys.executable, "-m", "steno", "doctor", str(run.dir)]
    found = subprocess.run(outside, check=True, capture_output=True, text=True, timeout=60).stdout
    assert "why it ended" in found
    assert "what it met" in found


def test_looking_changes_nothing(tmp_path):
    with steno.init(project="quiet", name="one", dir=tmp_path, collector=False) as run:
        run.log({"x": 1.0})
    before = {path: path.stat().st_mtime_ns for path in run.dir.rglob("*")}
    assert examine(run.dir).unposted_bytes > 0
    assert {path: path.stat().st_mtime_ns for path in run.dir.rglob("*")} == before


def test_looking_from_inside_does_not_let_go_of_the_lock(tmp_path):
    with steno.init(project="quiet", name="one", dir=tmp_path, collector=False) as run:
        run.log({"x": 1.0})
        assert examine(run.dir).journals[0].alive
        outside = [sys.executable, "-m", "steno", "doctor", str(run.dir), "--json"]
        found = json.loads(subprocess.run(outside, check=True, capture_output=True, timeout=60).stdout)
        assert found["journals"][0]["alive"]


def test_unposted_bytes_grow_with_what_is_logged(tmp_path):
    with steno.init(project="quiet", name="one", dir=tmp_path, collector=False) as run:
        before = examine(run.dir).unposted_bytes
        for _ in range(100):
            run.log({"x": 1.0})
        assert examine(run.dir).unposted_bytes - before >= 100 * 9


@pytest.mark.parametrize(
    ("pointer", "problem"),
    [
        ({"host": "elsewhere", "boot": "b", "path": "/somewhere"}, "on host elsewhere"),
        ({"host": None, "boot": "b", "path": "/nowhere/at/all"}, "is gone"),
        (None, "is no pointer: remove it"),
    ],
)
def test_a_journal_that_lies_elsewhere(tmp_path, pointer, problem):
    with steno.init(project="far", name="one", dir=tmp_path, collector=False) as run:
        run.log({"x": 1.0})
    steno.sync(run.dir)
    if pointer is not None and pointer["host"] is None:
        import socket

        pointer = {**pointer, "host": socket.gethostname()}
    text = "{torn" if pointer is None else json.dumps(pointer)
    (run.dir / ".steno" / "journal" / "far-1-abc.pointer").write_text(text)
    found = examine(run.dir)
    (journal,) = found.journals
    assert journal.stream == "far-1-abc"
    assert problem in journal.problem
    assert any("far-1-abc" in line for line in found.advice)
    assert any("lies on host elsewhere" in line and "there" in line for line in found.advice) == ("on host" in problem)


def test_a_journal_in_another_directory_is_found(tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    with steno.init(project="far", name="one", dir=tmp_path / "runs", collector=False, journal_dir=away) as run:
        run.log({"x": 1.0})
        found = examine(run.dir)
    (journal,) = found.journals
    assert journal.place.startswith(str(away))
    assert journal.alive
    assert journal.unposted_bytes > 0
    assert str(away) in [one.path for one in found.filesystems]


def test_a_destination_that_cannot_write_is_named_with_its_error(tmp_path):
    with steno.init(project="ill", name="one", dir=tmp_path, destinations=["csv"], linger=0.5) as run:
        (run.dir / "metrics.csv").mkdir()
        run.log({"x": 1.0})
        run.finish(0.5)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        (csv,) = examine(run.dir).destinations
        if csv.get("error"):
            break
        time.sleep(0.05)
    found = examine(run.dir)
    (csv,) = found.destinations
    assert csv["lag"] > 0
    assert "directory" in csv["error"]
    assert any("csv" in line for line in found.advice)


def test_a_segment_whose_identity_is_unreadable_is_told(tmp_path):
    with steno.init(project="ill", name="one", dir=tmp_path, collector=False) as run:
        run.log({"x": 1.0})
    (segment,) = run.dir.glob(".steno/journal/*/000000.seg")
    with open(segment, "r+b") as file:
        file.seek(8)
        file.write(b"\xff" * 4000)
    found = examine(run.dir)
    assert "identity" in found.journals[0].problem
    assert found.advice


@pytest.mark.parametrize("what", ["header", "all but the header", "a spare"])
def test_a_segment_that_cannot_be_read_is_a_loss(tmp_path, what):
    code = (
        f"import os, steno\nrun = steno.init('p', 'x', dir={str(tmp_path)!r}, collector=False)\n"
        "for i in range(2000): run.log({'n': i})\nos._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    run_dir = tmp_path / "p" / "x"
    path = min((run_dir / ".steno/journal").glob("*/[0-9]*.seg"))  # a spare may lie beside it, or be being made
    data = path.read_bytes()
    if what == "header":
        path.write_bytes(b"\xa5" * 4096 + data[4096:])
    elif what == "all but the header":
        path.write_bytes(data[:4096] + b"\xa5" * 1000 + data[5096:])
    else:  # made ahead of need; its header was not on the disk yet
        path.with_name("000009.seg").write_bytes(bytes(len(data)))
    report = steno.sync(run_dir)
    outside = [sys.executable, "-m", "steno", "doctor", str(run_dir)]
    done = subprocess.run(outside, capture_output=True, text=True, timeout=60)
    info = steno.open(run_dir).info
    if what == "a spare":
        assert report.complete
        assert (done.returncode, info.losses, info.points) == (0, (), 2000)
        return
    assert done.returncode == 1, done.stdout
    (loss,) = info.losses
    assert loss.kind == "lost bytes"
    assert 500 < loss.count < len(data)
    assert "lost bytes" in done.stdout
