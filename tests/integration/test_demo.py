"""The main job, for real: processes that train, read back by steno and by TensorBoard."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import psutil
import pytest

import steno

STEPS, WORKERS = 12, 2
KEYS = ["gradient_norm", "learning_rate", "test/accuracy", "test/loss", "train/accuracy", "train/loss"]


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("STENO_")}


def command(*arguments, cwd, **options):
    return subprocess.run(
        [sys.executable, "-m", "steno", *arguments],
        check=False,
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        **options,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory where `steno demo` ran, and what it printed."""
    place = tmp_path_factory.mktemp("demo")
    done = command("demo", "--steps", str(STEPS), "--workers", str(WORKERS), cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place, done.stdout


@pytest.fixture
def run_dir(trained):
    (found,) = (path for path in (trained[0] / "runs" / "digits").iterdir() if path.is_dir())
    return found


def test_demo_says_where_the_run_is_and_how_to_go_on(trained, run_dir):
    shown = trained[1]
    assert f"runs/digits/{run_dir.name}" in shown
    assert f"step {STEPS}/{STEPS}" in shown
    assert re.search(r"steno show runs/digits/", shown)
    assert re.search(r"tensorboard --logdir runs/digits/", shown)
    assert re.search(r"steno export runs/digits/", shown)
    assert re.search(r"steno view runs/digits$", shown.rstrip()), "it ends with the viewer's command"
    assert "rank 0" in shown
    assert "rank 1" in shown
    assert re.search(r"[0-9.]+┤.*[x+]", shown), "no chart"
    assert "\x1b" not in shown, "colours where there is no terminal"


def test_each_rank_logged_each_step_once(run_dir):
    with steno.open(run_dir) as book:
        assert book.info.state == "finished"
        assert book.info.ranks == tuple(range(WORKERS))
        assert book.info.config["workers"] == WORKERS
        assert book.keys() == KEYS
        for rank in range(WORKERS):
            for key in ("train/loss", "train/accuracy", "learning_rate", "gradient_norm"):
                series = book.series(key, rank=rank)
                assert series.step.tolist() == list(range(STEPS))
                assert np.isfinite(series.value).all()


def test_it_really_trains(run_dir):
    with steno.open(run_dir) as book:
        loss = book.series("train/loss", rank=0).value
        assert math.log(10) * 0.8 < loss[0] < math.log(10) * 1.6, "an untrained guess among ten digits"
        assert loss[-1] < loss[0]
        norms = [book.series("gradient_norm", rank=rank).value for rank in range(WORKERS)]
        assert np.array_equal(*norms), "the ranks average their gradients, so all have the same norm"


def test_tensorboard_reads_the_same_values(run_dir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with steno.open(run_dir) as book:
        for rank in range(WORKERS):
            place = run_dir / "tensorboard" / (f"rank-{rank}" if rank else "")
            files = [path for path in place.iterdir() if path.is_file()]
            assert len(files) == 1
            accumulator = EventAccumulator(str(files[0]), size_guidance={"scalars": 0})
            accumulator.Reload()
            assert sorted(accumulator.Tags()["scalars"]) == KEYS
            for key in KEYS:
                events = accumulator.Scalars(key)
                series = book.series(key, rank=rank)
                assert [event.step for event in events] == series.step.tolist()
                assert [event.value for event in events] == series.value.astype(np.float32).tolist()


def test_the_commands_it_names_work(trained, run_dir):
    place = trained[0]
    shown = command("show", f"digits/{run_dir.name}", cwd=place)
    assert shown.returncode == 0, shown.stderr
    assert "finished" in shown.stdout
    exported = command("export", str(run_dir), "--to", "csv", "--out", "digits.csv", cwd=place)
    assert exported.returncode == 0, exported.stderr
    rows = (place / "digits.csv").read_text().splitlines()
    assert len(rows) == 1 + WORKERS * (STEPS + 1), "a row per record: each step, and the test at the end"
    exported = command("export", str(run_dir), "--to", "csv", "--long", "--out", "long.csv", cwd=place)
    assert exported.returncode == 0, exported.stderr
    assert len((place / "long.csv").read_text().splitlines()) == 1 + WORKERS * (4 * STEPS + 2)


def test_the_demo_is_seen_in_a_browser_until_ctrl_c(tmp_path):
    """The browser is opened before the training, and the viewer goes on after it."""
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    arguments = [sys.executable, "-m", "steno", "demo", "--steps", "8", "--workers", "1", "--view"]
    env = {**clean_environment(), "BROWSER": str(browser)}
    with subprocess.Popen(arguments, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as demo:
        try:
            lines = []
            for line in demo.stdout:
                lines.append(line)
                if "Ctrl-C ends it" in line:
                    break
            (said,) = [line for line in lines if "steno shows the runs" in line]
            address = re.search(r"http://\S+", said)[0]
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(address, timeout=20)
            assert opened.read_text().startswith("file:///")
            demo.send_signal(signal.SIGINT)
            assert demo.wait(60) == 0
        finally:
            demo.kill()
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(address, timeout=20)


def test_too_many_workers_is_said_in_a_line(tmp_path):
    done = command("demo", "--workers", "64", cwd=tmp_path)
    assert done.returncode == 2
    assert "--workers" in done.stderr
    assert not list(tmp_path.iterdir())


def _group(number):
    """Command lines of the processes of a process group that still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
        except (psutil.Error, OSError):
            continue
    return found


def test_ctrl_c_ends_it_all(tmp_path):
    """Ctrl-C reaches the whole group: every process leaves, the run is marked, and nobody prints a traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "steno", "demo", "--steps", "5000", "--workers", "2"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        while not demo.stdout.readline().startswith("step "):
            assert demo.poll() is None
        os.killpg(demo.pid, signal.SIGINT)
        _, errors = demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert "Traceback" not in errors
    deadline = time.monotonic() + 60
    while (left := _group(demo.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)  # multiprocessing's resource tracker leaves when it has seen the end
    assert left == []
    (run_dir,) = (path for path in (tmp_path / "runs" / "digits").iterdir() if path.is_dir())
    with steno.open(run_dir) as book:
        deadline = time.monotonic() + 60
        while book.info.state == "running" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert book.info.state == "failed"
        assert len(book.series("train/loss", rank=0)) > 0


def test_a_dead_rank_ends_the_others(tmp_path):
    """One rank killed: the demo says so with exit status 1, soon, and the run is marked as crashed or failed."""
    with subprocess.Popen(
        [sys.executable, "-m", "steno", "demo", "--steps", "5000", "--workers", "2"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        while not demo.stdout.readline().startswith("step "):
            assert demo.poll() is None
        ranks = [child for child in psutil.Process(demo.pid).children() if "spawn_main" in " ".join(child.cmdline())]
        assert len(ranks) == 2
        ranks[0].kill()
        _, errors = demo.communicate(timeout=40)
    assert demo.returncode == 1
    assert "did not train to its end" in errors
    assert "ended with -9" in errors
