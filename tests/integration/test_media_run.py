"""Media from `run.log` to the book and to TensorBoard, with the real collector, threads and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import psutil
import pytest
from foreign_runs import health
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import steno
from nodes import node_dir

RNG = np.random.default_rng(11)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_LINGER", "20")
    made = steno.init(project="media", name="run", dir=tmp_path, destinations=["tensorboard"])
    yield made
    made.finish(20)
    for process in _collectors(made.dir):
        if (made.dir / "keep-none").exists():  # encoding what the test left would take its time
            process.kill()
            process.wait(10)


def settled(run_dir, seconds=60):
    """Wait until the collector has left: all is encoded, delivered and sealed."""
    deadline = time.monotonic() + seconds
    done = run_dir / "manifest.json", *run_dir.glob(".steno/nodes/*/manifest.json")
    while time.monotonic() < deadline:
        if any(path.exists() for path in (*done, *run_dir.glob(".steno/nodes/*/manifest.json"))):
            return
        time.sleep(0.05)
    raise AssertionError((node_dir(run_dir) / "status.json").read_text())


def test_every_kind_comes_back_decoded(run):
    pixels = RNG.integers(0, 255, (60, 50, 3), np.uint8)
    mask = (pixels[..., 0] > 99).astype(int)
    frames = RNG.integers(0, 255, (4, 32, 48, 3), np.uint8)
    sound = np.sin(np.arange(2000) / 7)
    run.log(
        {
            "loss": 0.5,
            "picture": steno.Image(pixels, "one", boxes=[(1, 2, 3, 4)], masks={"truth": mask}),
            "many": [steno.Image(pixels), steno.Image(pixels[:9])],
            "nested": {"sound": steno.Audio(sound, 8000)},
            "film": steno.Video(frames, 8),
            "moving": steno.Video(frames, 8, "gif"),
            "weights": steno.Histogram(np.arange(1000)),
            "words": steno.Text("**bold**"),
            "table": steno.Table({"a": [1, 2]}),
            "cloud": steno.Object3D(np.eye(3)),
            "page": steno.Html("<b>b</b>"),
        },
        step=7,
    )
    assert run.flush(60)
    book = steno.open(run.dir)

    def check():
        (picture,) = book.media("picture")
        assert (picture.step, picture.kind, picture.caption, picture.rank) == (7, "image", "one", 0)
        assert np.array_equal(picture.value, pixels)
        assert picture.meta["boxes"] == [{"box": [1.0, 2.0, 3.0, 4.0]}]
        assert np.array_equal(picture.attached["truth"].value[..., 0], mask)
        assert [item.value.shape for item in book.media("many")] == [(60, 50, 3), (9, 50, 3)]
        assert [item.key for item in book.media("many")] == ["many/0", "many/1"]
        assert np.abs(book.media("nested/sound")[0].value[:, 0] - sound).max() < 1 / 32767
        assert book.media("film")[0].value.shape == frames.shape
        assert book.media("moving")[0].value.shape == frames.shape
        assert sum(book.media("weights")[0].value["counts"]) == 1000
        assert book.media("words")[0].value == "**bold**"
        assert book.media("table")[0].value.to_pydict() == {"a": [1, 2]}
        assert book.media("cloud")[0].value["vertices"].tolist() == [np.eye(3).tolist()]
        assert book.media("page")[0].value == "<b>b</b>"
        assert book.series("loss").value.tolist() == [0.5]
        assert book.media("loss") == []

    check()  # posted, perhaps not encoded
    assert run.finish(60)
    settled(run.dir)
    check()  # encoded and sealed
    assert all(
        item.path.exists() for key in ("picture", "film", "moving", "table", "cloud") for item in book.media(key)
    )
    assert not list(run.dir.rglob("*.raw"))
    board = EventAccumulator(str(run.dir / "tensorboard"))
    board.Reload()
    tags = board.Tags()
    assert set(tags["images"]) == {"picture", "many/0", "many/1", "film", "moving"}
    assert (tags["audio"], tags["histograms"]) == (["nested/sound"], ["weights"])
    assert set(tags["tensors"]) == {"words", "table", "cloud_VERTEX"}
    assert board.Scalars("loss")[0].step == 7
    # The page is in no event file, and the run's health says so.
    assert health(run.dir, "tensorboard")["left_out"] == {"html": 1}


def test_a_value_is_as_it_was_at_the_call_a_thousand_times(run):
    image = np.zeros((100, 100, 3), np.uint8)
    value = steno.Image(image)
    for step in range(1000):
        image[...] = step % 251
        run.log({"picture": value, "mean": float(step)}, step=step)
        image[...] = 255
    assert run.flush(60)
    found = steno.open(run.dir).media("picture")
    assert [item.step for item in found] == list(range(1000))
    for item in found[:: 1 if os.environ.get("STENO_FULL") else 7]:
        assert (item.value == item.step % 251).all()
    assert len({item.ref.digest for item in found}) == 251


def test_bad_values_raise_in_the_caller_and_neighbours_of_lost_ones_are_kept(run, tmp_path):
    from PIL import Image as Pil

    path = tmp_path / "a.png"
    Pil.new("RGB", (9, 9)).save(path)
    value = steno.Image(path)
    path.unlink()  # the file goes between the making and the logging
    run.log({"loss": 1.0, "picture": value, "good": steno.Text("x")}, step=0)
    assert run.flush(60)
    assert sorted(steno.open(run.dir).keys()) == ["good", "loss"]
    assert "picture" in str(run.health())


def test_threads_and_forks_log_media_into_one_run(run):
    def work(name, count=40):
        for step in range(count):
            run.log({name: steno.Image(np.full((64, 64, 3), step, np.uint8))}, step=step)

    run.log({"first": steno.Image(np.zeros((64, 64, 3), np.uint8))})
    threads = [threading.Thread(target=work, args=(f"thread{index}",)) for index in range(3)]
    for thread in threads:
        thread.start()
    pids = []
    for index in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                work(f"fork{index}")
            finally:
                os._exit(0)
        pids.append(pid)
    for thread in threads:
        thread.join()
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    assert run.finish(30)
    settled(run.dir)
    book = steno.open(run.dir)
    for name in ("thread0", "thread1", "thread2", "fork0", "fork1"):
        found = book.media(name)
        assert [item.step for item in found] == list(range(40)), name
        assert all((item.value == item.step).all() for item in found)


KILLED = """
    import os, signal, sys
    import numpy as np
    import steno
    run = steno.init(project="media", name="run", dir=sys.argv[1])
    for step in range(100):
        run.log({"picture": steno.Image(np.full((80, 80, 3), step, np.uint8)), "n": float(step)}, step=step)
        run.log({"big": steno.Image(np.full((1300, 1300, 3), step, np.uint8))}, step=step) if step % 25 == 0 else None
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_logged_survives_the_death_of_the_process_and_of_the_collector(tmp_path):
    environment = {**os.environ, "STENO_LINGER": "20"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], env=environment, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    run_dir = tmp_path / "media" / "run"
    for collector in _collectors(run_dir):
        collector.kill()
        collector.wait(10)
    steno.sync(run_dir)
    book = steno.open(run_dir)
    assert [item.step for item in book.media("picture")] == list(range(100))
    assert all((item.value == item.step).all() for item in book.media("picture"))
    assert [int(item.value[0, 0, 0]) for item in book.media("big")] == [0, 25, 50, 75]
    assert len(book.series("n")) == 100


def _collectors(run_dir):
    lines = [(process, process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    return [process for process, line in lines if "steno.collector" in line and str(run_dir) in line]


KILLS = int(os.environ.get("STENO_MEDIA_KILLS", "6"))


def test_a_collector_killed_again_and_again_loses_and_doubles_nothing(tmp_path, monkeypatch):
    """What was given up after two deaths while it was encoded is kept raw, and reads the same."""
    monkeypatch.setenv("STENO_LINGER", "20")
    run = steno.init(project="media", name="killed", dir=tmp_path, destinations=["tensorboard"])
    step = 0
    for kill in range(KILLS):
        for _ in range(20):
            run.log({"picture": steno.Image(np.full((150, 150, 3), step % 256, np.uint8)), "n": float(step)}, step=step)
            step += 1
        time.sleep(0.05 + 0.04 * (kill % 4))
        for process in _collectors(run.dir):
            process.kill()
            process.wait(10)
    run.finish(30)
    for process in _collectors(run.dir):
        process.wait(30)
    steno.sync(run.dir)
    book = steno.open(run.dir)
    found = book.media("picture")
    assert [item.step for item in found] == list(range(step))
    assert all((item.value == item.step % 256).all() for item in found)
    assert book.series("n").value.tolist() == list(range(step))
    assert not list(run.dir.rglob("*.raw"))
    board = EventAccumulator(str(run.dir / "tensorboard"), {"images": 0})
    board.Reload()
    shown = [event.step for event in board.Images("picture")]
    kept = {item.step for item in found if item.path is None}
    assert set(shown) | kept == set(range(step))
    assert len(shown) == len(set(shown))


LARGE_BYTES = int(os.environ.get("STENO_LARGE_BYTES", 200 << 20))


def test_a_large_value_fills_no_memory_and_holds_up_no_scalars(run):
    """1 GB with STENO_LARGE_BYTES=1000000000."""
    side = 1000
    frames = np.zeros((LARGE_BYTES // (3 * side * side), side, side, 3), np.uint8)
    frames[:, :, 0] = 7
    run.log({"ready": 1.0, "small": steno.Image(frames[0])}, step=0)
    assert run.flush(60)
    (collector,) = _collectors(run.dir)
    mine, its = psutil.Process().memory_info().rss, collector.memory_info().rss
    began = time.monotonic()
    run.log({"film": steno.Video(frames, format="gif")}, step=1)
    copied = time.monotonic() - began
    run.log({"after": 1.0}, step=2)
    began = time.monotonic()
    assert run.flush(60)
    posted = time.monotonic() - began
    assert len(steno.open(run.dir).series("after")) == 1
    assert posted < max(copied, 1.0)
    assert psutil.Process().memory_info().rss - mine < 50 << 20
    peak = 0
    for _ in range(40):
        peak = max(peak, collector.memory_info().rss - its)
        time.sleep(0.05)
    assert peak < 150 << 20
    (item,) = steno.open(run.dir).media("film")
    assert item.meta["shape"][0] == len(frames)
    (run.dir / "keep-none").touch()
