"""The destination `wandb` with the real package, offline: what its transaction logs hold.

The long variants, with every torn write, run in scripts/test-integrations wandb.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from foreign_runs import Points, compare, environment, health, plain_run, points, record, replay, stopped, sync
from run_programs import processes

import steno
import under_test
from nodes import node_dir
from steno.destinations import registry
from steno.destinations.services._wandb import AXIS
from steno.destinations.services.internals import wandb_row
from steno.destinations.services.rowlog import Log
from steno.errors import DestinationError
from steno.record import RunInfo
from steno.testing import check_destination

pb = pytest.importorskip("wandb.proto.wandb_internal_pb2", reason="pip install 'stenolog[wandb]'")
LONG = bool(os.environ.get("STENO_LONG_TESTS"))
LONG_ONLY = pytest.mark.skipif(not LONG, reason="half a minute each: scripts/test-integrations wandb")
OFFLINE = {"mode": "offline"}


def logged(run_dir: Path) -> list[pb.Record]:
    """All records of a run's transaction logs, decoded with W&B's own messages."""
    return [
        pb.Record.FromString(data)
        for path in sorted(run_dir.glob("wandb/offline-run-*/*.wandb"))
        for data in Log(path, wandb_row).records()
    ]


def rows(run_dir: Path) -> list[dict]:
    """Rows of history."""
    found = []
    for one in logged(run_dir):
        if one.WhichOneof("record_type") == "history":
            row: dict = {}
            for item in one.history.item:
                row.setdefault("/".join(item.nested_key[:1]) or item.key, item.value_json)
            found.append(row)
    return found


def read(run_dir: Path) -> Points:
    odd = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": -float("inf"), "-0": -0.0}
    return [
        (int(row[AXIS]), key, odd[text] if text in odd else json.loads(text))
        for row in rows(run_dir)
        for key, text in row.items()
        if key not in {AXIS, "_step", "_timestamp", "_runtime"}
    ]


def read_exam(run: RunInfo) -> Points:
    return [
        (step, key.split("/", 1)[1] if key.startswith("rank-") else key, value) for step, key, value in read(run.dir)
    ]


@pytest.fixture
def service(monkeypatch):
    """W&B's processes and threads end with the test that uses W&B in this process."""
    import wandb

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    yield
    wandb.teardown()


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("service")
def test_it_passes_the_exam():
    passed = check_destination(lambda: registry.create("wandb", OFFLINE), read=read_exam, once=LONG)
    assert len(passed) >= 14


def test_a_run_with_everything(tmp_path):
    run_dir = record(tmp_path, "wandb", OFFLINE)
    media = {"image", "sound", "bins", "table", "page", "text", "mesh"}
    compare(points(run_dir), [point for point in read(run_dir) if point[1] not in media])
    last = rows(run_dir)[-1]
    assert media - set(last) == {"mesh"}
    assert last["text"] == '"**words**"'
    files = {path.suffix for path in run_dir.glob("wandb/offline-run-*/files/media/**/*") if path.is_file()}
    assert files == {".png", ".wav", ".html", ".json"}
    assert health(run_dir, "wandb")["left_out"] == {"mesh": 1}
    assert "has no place for mesh" in (node_dir(run_dir) / "collector.log").read_text()
    # steno's own step is the axis, W&B's counts the rows: nothing is dropped, and `wandb sync` sends every row.
    assert [int(row["_step"]) for row in rows(run_dir)] == list(range(len(rows(run_dir))))
    kinds = {one.WhichOneof("record_type"): one for one in logged(run_dir)}
    (begun,) = (one.run for one in logged(run_dir) if one.WhichOneof("record_type") == "run")
    assert (begun.display_name, begun.project, begun.run_group, begun.notes) == ("r", "p", "g", "words")
    assert list(begun.tags) == ["one"]
    assert {item.key: item.value_json for item in begun.config.update}["lr"] == "0.5"
    assert {item.key: item.value_json for item in kinds["config"].config.update} == {"more": "7"}
    summary = {
        (item.key or "/".join(item.nested_key)): item.value_json
        for one in logged(run_dir)
        if one.WhichOneof("record_type") == "summary"
        for item in one.summary.update
    }
    assert summary["best"] == "0.25"
    assert {one.metric.step_metric for one in logged(run_dir) if one.metric.glob_name == "*"} == {AXIS}

    logged_artifacts = [one.artifact for one in logged(run_dir) if one.WhichOneof("record_type") == "artifact"]
    mine = [(one.name, sorted(one.aliases)) for one in logged_artifacts if one.type == "artifact"]
    assert mine == [("last_model", ["latest"]), ("last_model", ["latest", "newest"]), ("both", ["latest"])]
    held = {one.path: one.local_path for made in logged_artifacts for one in made.manifest.contents}
    assert Path(held["last model"]).read_bytes() == b"weights"
    assert Path(held["inner/b.txt"]).read_text() == "b"
    before = len(rows(run_dir))
    for _ in range(2):
        replay(run_dir, "wandb", OFFLINE)
    assert len(rows(run_dir)) == before == 31


@LONG_ONLY
def test_a_finished_run_is_synced_into_it_once(tmp_path):
    run_dir = plain_run(tmp_path)
    for _ in range(2):
        assert "wandb is complete" in sync(run_dir, "wandb", mode="offline")
        compare(points(run_dir), read(run_dir))
        assert len([*run_dir.glob("wandb/offline-run-*")]) == 1
    with pytest.raises(DestinationError, match="which stay: leave options out"):
        steno.sync(run_dir, to=("wandb", {"mode": "online"}))


@LONG_ONLY
def test_rows_that_died_with_it_are_given_again(tmp_path):
    """W&B's process buffers: killed with everything else, it takes the last rows with it."""
    run_dir = plain_run(tmp_path, 300)
    sync(run_dir, "wandb", mode="offline")
    (log,) = run_dir.glob("wandb/offline-run-*/*.wandb")
    os.truncate(log, log.stat().st_size * 2 // 3)
    os.utime(log, (time.time() - 60, time.time() - 60))
    assert len(read(run_dir)) < 600
    (node_dir(run_dir) / "open-wandb").touch()  # as the killed one left it
    sync(run_dir, "wandb", mode="offline")
    compare(points(run_dir), read(run_dir))
    assert "lacks what it had taken" in (node_dir(run_dir) / "collector.log").read_text()


@LONG_ONLY
def test_the_child_is_killed_while_training_goes_on(tmp_path):
    code = """
    import steno, sys
    run = steno.init(project="p", name="r", destinations=[("wandb", {"mode": "offline"})])
    for i in range(2000): run.log({"i": float(i)}, i)
    run.flush(30); print("half", flush=True); sys.stdin.readline()
    for i in range(2000, 4000): run.log({"i": float(i)}, i)
    assert run.finish(80), run.health()["destinations"]
    """.replace("\n    ", "\n")
    program = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(STENO_COLLECTOR="on"), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    run_dir = tmp_path / "runs/p/r"
    with program:
        assert program.stdout.readline() == "half\n"
        deadline = time.monotonic() + 60
        while not rows(run_dir) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in processes("steno.follow", tmp_path):
            os.kill(pid, signal.SIGKILL)
        out, err = program.communicate("\n", timeout=100)
        assert (program.returncode, under_test.without_waits(err)) == (0, ""), out
    compare(points(run_dir), read(run_dir))
    assert len(points(run_dir)) == 4000


def test_a_secret_is_refused_and_not_repeated(tmp_path):
    with pytest.raises(DestinationError, match="WANDB_API_KEY") as caught:
        steno.init(dir=tmp_path, destinations=[("wandb", {"api_key": "abcdef123456"})])
    assert "abcdef" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_clear_error(tmp_path):
    code = f"""
import sys
sys.modules["wandb"] = None
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "wandb" else found(name, *rest)
import steno
try:
    steno.init(dir={str(tmp_path)!r}, destinations=["wandb"])
except steno.DestinationError as error:
    assert "pip install 'stenolog[wandb]'" in str(error), error
else:
    sys.exit("no error")
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_asking_for_it_does_not_load_it():
    code = (
        "import sys, steno\nfrom steno.destinations import registry\n"
        "registry.normalise(('wandb', {'mode': 'offline'}))\nassert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


@LONG_ONLY
def test_without_an_account_it_stops_and_says_what_to_set(tmp_path):
    assert "WANDB_API_KEY" in stopped(tmp_path, "wandb")
