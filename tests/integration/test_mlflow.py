"""The destination `mlflow` with the real package and an SQLite store, read back by MLflow's own client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from foreign_runs import SECRETS, Points, compare, health, no_secret_below, plain_run, points, record, replay, sync
from run_programs import wait_for

import steno
from steno.destinations import registry
from steno.destinations.services._mlflow import TAG, Mlflow, metric_name
from steno.errors import DestinationError
from steno.record import RunInfo
from steno.testing import check_destination

mlflow = pytest.importorskip("mlflow", reason="pip install 'stenolog[mlflow]'")

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's and SQLAlchemy's own
LONG_ONLY = pytest.mark.skipif(
    not os.environ.get("STENO_LONG_TESTS"), reason="a minute: scripts/test-integrations mlflow"
)
LARGEST = 1.7976931348623157e308


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A database with MLflow's tables, which take it seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def kept_as(number: float) -> float:
    """MLflow's values are float64; its SQL stores have no infinity, and SQLite no negative zero."""
    number = float(number)
    if abs(number) == float("inf"):
        return LARGEST if number > 0 else -LARGEST
    return 0.0 if number == 0 else number


def the_run(uri: str, project: str = "p"):
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name(project).experiment_id])
    return client, run


def read(uri: str, project: str = "p") -> Points:
    client, run = the_run(uri, project)
    return [
        (one.step, key, one.value)
        for key in run.data.metrics
        for one in client.get_metric_history(run.info.run_id, key)
    ]


def numbers(run_dir: Path) -> Points:
    return [
        (step, metric_name(key), kept_as(value)) for step, key, value in points(run_dir) if not isinstance(value, str)
    ]


@LONG_ONLY
@pytest.mark.timeout(300)
def test_it_passes_the_exam(empty_store, tmp_path):
    stores: list[Path] = []

    class AtItsRun(Mlflow):
        """A store for each new run of the exam, which takes the run's directory away between crashes."""

        def open(self, run: RunInfo) -> None:
            if not (run.dir / "store").exists():
                stores.append(tmp_path / f"{len(stores)}/mlflow.db")
                stores[-1].parent.mkdir()
                shutil.copy(empty_store, stores[-1])
                (run.dir / "store").write_text(f"sqlite:///{stores[-1]}")
            self._uri = (run.dir / "store").read_text()
            super().open(run)

    def read_exam(run: RunInfo) -> Points:
        found = read((run.dir / "store").read_text(), "steno")
        return [(step, key.split("/", 1)[1] if key.startswith("rank-") else key, value) for step, key, value in found]

    passed = check_destination(AtItsRun, read=read_exam, named=metric_name, kept_as=kept_as)
    assert len(passed) == 16


def test_a_run_with_everything(empty_store, tmp_path):
    store = tmp_path / "store/mlflow.db"
    store.parent.mkdir()
    shutil.copy(empty_store, store)
    uri = f"sqlite:///{store}"
    run_dir = record(tmp_path, "mlflow", {"tracking_uri": uri})
    compare(numbers(run_dir), read(uri))
    client, run = the_run(uri)
    assert (run.info.run_name, run.info.status) == ("r", "FINISHED")
    assert run.data.params == {"lr": "0.5", "more": "7"}
    tags = run.data.tags
    assert (tags["one"], tags["mlflow.note.content"], tags["steno.group"], tags["summary/best"]) == (
        "true", "words", "g", "0.25",
    )  # fmt: skip
    assert tags[TAG] == steno.open(run_dir).info.id
    media = {one.path.split("/")[1] for one in client.list_artifacts(run.info.run_id, "media")}
    assert media == {"image", "sound", "bins", "table", "page", "text", "mesh"}
    (image,) = client.list_artifacts(run.info.run_id, "media/image")
    got = client.download_artifacts(run.info.run_id, image.path, str(tmp_path))
    assert Path(got).read_bytes() == steno.open(run_dir).media("image")[0].path.read_bytes()
    assert health(run_dir, "mlflow")["left_out"] == {"text": 1}
    for path, content in {"artifacts/last model": b"weights", "artifacts/both/inner/b.txt": b"b"}.items():
        assert Path(run.info.artifact_uri.removeprefix("file://"), path).read_bytes() == content
    assert tags["artifact/newest"] == "last model"

    for _ in range(2):
        replay(run_dir, "mlflow", {"tracking_uri": uri})
        compare(numbers(run_dir), read(uri))
    no_secret_below(tmp_path)


@LONG_ONLY
def test_a_finished_run_is_synced_into_it_once(empty_store, tmp_path):
    run_dir = plain_run(tmp_path)
    shutil.copy(empty_store, tmp_path / "runs/mlflow.db")  # the place when none is named
    for _ in range(2):
        assert "mlflow is complete" in sync(run_dir, "mlflow", experiment="other")
        compare(numbers(run_dir), read(f"sqlite:///{tmp_path}/runs/mlflow.db", "other"))


def test_a_server_that_is_not_there_is_an_error_without_its_password(tmp_path):
    import subprocess
    import sys

    from run_programs import environment

    code = (
        "import steno\nrun = steno.init(project='p', name='r', destinations=['mlflow'], linger=0)\n"
        "run.log({'loss': 1.0}, 0)\nassert not run.finish(12)\nprint(run.health())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
        env=environment(STENO_COLLECTOR="on", **SECRETS, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
            MLFLOW_TRACKING_URI=f"http://me:{SECRETS['MLFLOW_TRACKING_PASSWORD']}@127.0.0.1:9"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1" in done.stdout, "the error says where it failed"
    assert not any(marker in done.stdout + done.stderr for marker in SECRETS.values())
    no_secret_below(tmp_path)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tracking_uri": "http://me:hunter22@host"}, "a password within the option 'tracking_uri'"),
        ({"tracking_uri": "sqlite:///mlflow.db"}, "is relative"),
        ({"tracking_uri": "mlruns"}, "is relative"),
        ({"token": "hunter22"}, "MLFLOW_TRACKING_PASSWORD"),
        ({"experiment": 3}, "experiment is text"),
    ],
)
def test_an_option_is_refused_at_once(options, why):
    with pytest.raises(DestinationError, match=why) as caught:
        registry.normalise(("mlflow", options))
    assert "hunter22" not in str(caught.value)


def test_names_are_what_mlflow_takes():
    from mlflow.utils.validation import _validate_metric_name

    keys = ["a/b c:d", "λ", "acc@1", "acc#1", "../x", "/abs", "a//b", ".", "k" * 300, "a/", "two\nlines", " "]
    for key in keys:
        _validate_metric_name(metric_name(key))
        assert len(metric_name(key)) <= 250
    assert len({metric_name(key) for key in keys}) == len(keys)
    assert [metric_name(key) for key in keys[:2]] == keys[:2]


def test_a_database_has_its_name_once_it_has_its_tables_so_that_a_kill_meanwhile_breaks_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code = f"""
from pathlib import Path
from steno.destinations.services._mlflow import Mlflow
from steno.record import RunInfo
Mlflow().open(RunInfo(dir=Path({str(tmp_path / "p" / "r")!r}), id="{"x" * 26}", name="r", project="p"))
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as killed:
        wait_for(lambda: [path for path in tmp_path.glob("*mlflow.db*") if path.exists() and path.stat().st_size])
        killed.kill()
    assert not (tmp_path / "mlflow.db").exists()

    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    the_run(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert [path.name for path in tmp_path.glob("*mlflow.db*")] == ["mlflow.db"]
