"""Runs whose records go to another service's own storage: real programs, real packages, read back by their readers."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import files_below
import under_test

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from run_programs import environment

import steno
from nodes import node_dir, node_of
from steno.collector import catalogue
from steno.delivery import pieces
from steno.destinations import registry
from steno.record import Ref

SECRETS = {
    name: f"marker-of-{name.lower()}-3f9c"
    for name in ("WANDB_API_KEY", "SWANLAB_API_KEY", "MLFLOW_TRACKING_PASSWORD", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY")
}
PROGRAM = """
import sys, time
import numpy as np
import steno
run = steno.init(
    project="p", name="r", config={"lr": 0.5}, tags=["one"], notes="words", group="g",
    destinations=[(sys.argv[1], __import__("json").loads(sys.argv[2]))],
)
run.log({"big": 2**60, "nan": float("nan"), "inf": float("inf"), "minus": -float("inf"), "words": "hello"}, step=0)
for step in [*range(20), 3, 3, *range(9, 2, -1)]:
    time.sleep(0.002)  # to MLflow the same value at the same step within a millisecond is one point, as the manual says
    run.log({"train/loss": 1 / (step + 1), "deep": {"er": float(run.step or 0)}}, step=step)
run.log({
    "image": steno.Image(np.zeros((8, 8, 3), np.uint8), "caption"), "sound": steno.Audio(np.zeros(800, np.float32), 8000),
    "bins": steno.Histogram(np.arange(100.0)), "table": steno.Table({"a": [1, 2]}), "page": steno.Html("<b>x</b>"),
    "text": steno.Text("**words**"), "mesh": steno.Object3D(np.eye(3)), "beside": 1.5,
}, step=20)
run.config["more"] = 7
import pathlib
pathlib.Path("model.bin").write_bytes(b"weights")
pathlib.Path("both/inner").mkdir(parents=True); pathlib.Path("both/inner/b.txt").write_text("b")
assert run.log_artifact("model.bin", "last model", link="newest").wait(60)
assert run.log_artifact("both").wait(60)
run.summary["best"] = 0.25
sys.exit(0 if run.finish(100) else str(run.health()["destinations"]))
"""

Points = list[tuple[int, str, Any]]


def record(place: Path, name: str, options: dict[str, Any], **env: str) -> Path:
    """Run the program to its end; it says nothing but that it waits, and none of its environment's secrets is kept."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, name, json.dumps(options)],
        cwd=place, env=environment(STENO_COLLECTOR="on", **SECRETS, **env), capture_output=True, text=True,
        timeout=110, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, under_test.without_waits(done.stderr)) == (0, "", ""), (
        done.stdout,
        done.stderr,
    )
    no_secret_below(place)
    return place / "runs/p/r"


def no_secret_below(place: Path) -> None:
    for path, data in files_below.contents(place).items():
        found = [name for name, marker in SECRETS.items() if marker.encode() in data]
        assert not found, f"{found} in {path}"


def points(run_dir: Path) -> Points:
    """What the run holds, references aside."""
    return [
        (one.step, f"rank-{one.rank}/{key}" if one.rank else key, value)
        for batch in batches(run_dir)
        for one in batch.records()
        for key, value in one.values.items()
        if not isinstance(value, Ref)
    ]


def batches(run_dir: Path) -> list[Any]:
    with steno.open(run_dir) as reader:
        return list(reader.batches())


def compare(want: Points, have: Points, same: Callable[[Any], Any] = lambda value: value) -> None:
    """Each point as often as it was logged, and no other."""
    count = lambda all: Counter((step, key, _comparable(same(value))) for step, key, value in all)  # noqa: E731
    wanted, found = count(want), count(have)
    assert not (wanted - found), f"missing: {list((wanted - found).items())[:5]}"
    assert not (found - wanted), f"too many: {list((found - wanted).items())[:5]}"


def _comparable(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return "nan" if math.isnan(value) else float(value)


def replay(run_dir: Path, name: str, options: dict[str, Any]) -> None:
    """Give a destination the whole run again, as when its cursor is lost; in a process of its own, as in a run."""
    code = "import json, sys; from foreign_runs import _replay; _replay(*json.loads(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([os.fspath(run_dir), name, options])],
        env={**os.environ, "PYTHONPATH": under_test.import_path(*Path(__file__).parents[:2])},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def _replay(run_dir: str, name: str, options: dict[str, Any]) -> None:
    made = registry.create(name, options)
    made.open(catalogue.run_info(Path(run_dir), node_of(run_dir), {}, options))
    for batch in batches(Path(run_dir)):
        made.write(pieces.of_kinds(batch, made.kinds))
    made.flush()
    made.close()


def health(run_dir: Path, name: str) -> dict[str, Any]:
    return json.loads((node_dir(run_dir) / "status.json").read_text())["destinations"][name]


def sync(run_dir: Path, name: str, **options: str) -> str:
    """`steno sync RUN --to NAME --option …`: its output; it succeeds."""
    arguments = [part for key, value in options.items() for part in ("--option", f"{key}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "steno", "sync", os.fspath(run_dir), "--to", name, *arguments],
        env=environment(STENO_COLLECTOR="on", **SECRETS), capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def plain_run(place: Path, steps: int = 50) -> Path:
    """A finished run that has no destination yet."""
    code = (
        "import steno, sys\nrun = steno.init(project='p', name='r')\n"
        "for step in range(int(sys.argv[1])): run.log({'loss': 1 / (step + 1), 'acc': step / 100}, step)\n"
        "assert run.finish(60)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(steps)],
        cwd=place, env=environment(STENO_COLLECTOR="on"), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run_dir = place / "runs/p/r"
    assert steno.sync(run_dir, timeout=60).complete
    return run_dir


def stopped(place: Path, name: str) -> str:
    """What a destination says that cannot begin; the run's other records are there all the same."""
    code = (
        "import steno, sys\nrun = steno.init(project='p', name='r', destinations=[sys.argv[1]], linger=0)\n"
        "run.log({'loss': 1.0}, 0)\nassert not run.finish(60)\n"
    )
    env = {key: value for key, value in environment(STENO_COLLECTOR="on").items() if key not in SECRETS}
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        cwd=place, env={**env, "HOME": str(place)}, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(points(place / "runs/p/r")) == 1
    assert health(place / "runs/p/r", name)["state"] == "stopped"
    return str(health(place / "runs/p/r", name)["error"])
