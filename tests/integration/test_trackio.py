"""The destination `trackio` with the real package and its local store, read back by Trackio's own storage."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile

import pytest
from foreign_runs import Points, compare, health, plain_run, points, record, replay, sync

from steno.destinations import registry
from steno.destinations.services._trackio import Trackio
from steno.errors import DestinationError
from steno.record import RunInfo
from steno.testing import check_destination

# The package reads the variable when it is imported, once in a process.
PLACE = os.environ.setdefault("TRACKIO_DIR", tempfile.mkdtemp(prefix="steno-trackio-"))
storage = pytest.importorskip("trackio.sqlite_storage", reason="pip install 'stenolog[trackio]'").SQLiteStorage

pytestmark = pytest.mark.filterwarnings("ignore")  # its own, about its own parts

LONG_ONLY = pytest.mark.skipif(
    not os.environ.get("STENO_LONG_TESTS"), reason="half a minute: scripts/test-integrations trackio"
)


def project_of(place) -> str:
    return "p" + hashlib.sha256(os.fspath(place).encode()).hexdigest()[:12]


def rows(project: str) -> list[dict]:
    return [
        row
        for one in storage.get_run_records(project)
        for row in storage.get_logs(project, one["name"], run_id=one["id"])
    ]


def read(project: str) -> Points:
    return [
        (row["step"], key.removeprefix("__") if key == "__step" else key, value)
        for row in rows(project)
        for key, value in row.items()
        if key not in {"step", "timestamp"} and not isinstance(value, dict)
    ]


@LONG_ONLY
def test_it_passes_the_exam():
    class AtItsRun(Trackio):
        """A project for each run directory of the exam: the store is one for all."""

        def open(self, run: RunInfo) -> None:
            self._project = project_of(run.dir)
            super().open(run)

    def read_exam(run: RunInfo) -> Points:
        found = read(project_of(run.dir))
        return [(step, key.split("/", 1)[1] if key.startswith("rank-") else key, value) for step, key, value in found]

    assert len(check_destination(AtItsRun, read=read_exam)) == 16


def test_a_run_with_everything(tmp_path):
    project = project_of(tmp_path)
    run_dir = record(tmp_path, "trackio", {"dir": PLACE, "project": project})
    compare(points(run_dir), read(project))
    kinds = {key: value["_type"] for row in rows(project) for key, value in row.items() if isinstance(value, dict)}
    assert kinds == {
        "bins": "trackio.histogram", "image": "trackio.image", "sound": "trackio.audio", "text": "trackio.markdown",
    }  # fmt: skip
    assert health(run_dir, "trackio")["left_out"] == {"mesh": 1, "table": 1, "html": 1, "artifact": 2}
    (one,) = storage.get_run_records(project)
    assert one["name"] == "r"
    config = storage.get_run_config(project, "r", run_id=one["id"])
    assert {key: config[key] for key in ("lr", "more", "summary/best", "_Group")} == {
        "lr": 0.5, "more": 7, "summary/best": 0.25, "_Group": "g",
    }  # fmt: skip
    before = len(rows(project))
    for _ in range(2):
        replay(run_dir, "trackio", {"dir": PLACE, "project": project})
        assert len(rows(project)) == before == 31


def test_a_finished_run_is_synced_into_it_once(tmp_path):
    project = project_of(tmp_path)
    run_dir = plain_run(tmp_path)
    for _ in range(2):
        assert "trackio is complete" in sync(run_dir, "trackio", dir=PLACE, project=project)
        compare(points(run_dir), read(project))


def test_options_are_checked_at_once():
    with pytest.raises(DestinationError, match="is relative"):
        registry.normalise(("trackio", {"dir": "here"}))
    with pytest.raises(DestinationError, match="HF_TOKEN"):
        registry.normalise(("trackio", {"hf_token": "hf_secret"}))


@LONG_ONLY
def test_what_it_keeps_can_be_asked_for_with_its_own_command(tmp_path):
    project = project_of(tmp_path)
    run_dir = plain_run(tmp_path, 5)
    replay(run_dir, "trackio", {"dir": PLACE, "project": project})
    done = subprocess.run(
        [sys.executable, "-m", "trackio.cli", "list", "runs", "--project", project],
        env={**os.environ, "TRACKIO_DIR": PLACE}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "r" in done.stdout.split()
