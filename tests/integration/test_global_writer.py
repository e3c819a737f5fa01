"""GlobalSummaryWriter: steps that count themselves over threads, processes, kills and resumes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest

import steno
import under_test
from steno.writers import everywhere

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

PROGRAMS = Path(__file__).with_name("global_programs.py")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No writer of another test, no variable left behind."""
    monkeypatch.setenv("STENO_LINGER", "5")
    monkeypatch.setenv("STENO_WRITER", "")
    monkeypatch.setattr(everywhere, "_writer", None)


def steps(logdir, kinds=None):
    """{(sub-run, tag): steps in the order of the files}, as TensorBoard has them."""
    found = EventMultiplexer(tensor_size_guidance={"scalars": 0, **(kinds or {})}).AddRunsFromDirectory(str(logdir))
    found.Reload()
    return {
        (run, tag): [event.step for event in found.GetAccumulator(run).Tensors(tag)]
        for run in found.Runs()
        for tag in found.GetAccumulator(run).summary_metadata
    }


def until(check, seconds=60):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def program(folder, *arguments):
    env = {name: value for name, value in os.environ.items() if not name.startswith("STENO_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAMS), *arguments], cwd=folder, env=env,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, under_test.without_waits(done.stderr)) == (0, "", "")


# -- the seed's programs -----------------------------------------------------------------------------------


def test_five_threads_fifty_and_fifty_points(tmp_path):
    program(tmp_path, "threads")
    (logdir,) = (tmp_path / "runs").iterdir()
    assert steps(logdir) == {
        (".", f"Worker_{worker}/{metric}"): list(range(10)) for worker in range(5) for metric in ("Loss", "Accuracy")
    }


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_three_processes_sixty_points_each(tmp_path, method):
    program(tmp_path, "processes", method)
    assert steps(tmp_path / "logs/multiprocess") == {
        (".", f"Process_{process}/{metric}"): list(range(20))
        for process in range(3)
        for metric in ("loss", "accuracy", "learning_rate")
    }
    book = steno.open(tmp_path / "logs/multiprocess")
    assert sum(len(book.series(key).value) for key in book.keys()) == 180
    assert book.info.state == "finished"


def test_the_singleton_writes_to_one_place(tmp_path):
    program(tmp_path, "singleton")
    assert not (tmp_path / "runs").exists()
    assert steps(tmp_path / "logs/singleton_experiment") == {
        (".", "Training/Loss"): list(range(100)), (".", "Validation/Accuracy"): [0],
    }  # fmt: skip


def test_steps_count_themselves_per_tag(tmp_path):
    program(tmp_path, "steps")
    assert steps(tmp_path / "logs/auto_steps") == {
        (".", "Metric_A"): list(range(50)), (".", "Metric_B"): list(range(50)), (".", "Periodic_Metric"): list(range(10)),
    }  # fmt: skip


# -- unique and without a gap --------------------------------------------------------------------------------


def _storm(number, count):
    writer = steno.GlobalSummaryWriter.getSummaryWriter()

    def work(thread):
        for _ in range(count):
            writer.add_scalar("shared", float(number))
            writer.add_scalar(f"own {number}", float(thread))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_eight_threads_in_four_processes(tmp_path, method):
    count = 200
    writer = steno.GlobalSummaryWriter(tmp_path / "log")
    context = multiprocessing.get_context(method)
    children = [context.Process(target=_storm, args=(number, count)) for number in range(3)]
    for child in children:
        child.start()
    _storm(3, count)
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    until(lambda: len(steno.open(tmp_path / "log").series("shared").value) == 4 * 8 * count)
    assert writer.close()
    found = steps(tmp_path / "log")
    assert found[".", "shared"] == list(range(4 * 8 * count))
    assert all(found[".", f"own {number}"] == list(range(8 * count)) for number in range(4))
    series = steno.open(tmp_path / "log").series("shared")
    assert series.step.tolist() == list(range(4 * 8 * count))
    assert np.bincount(series.value.astype(int)).tolist() == [8 * count] * 4


def test_all_kinds_count_by_kind_and_tag(tmp_path):
    rng = np.random.default_rng(0)
    with steno.GlobalSummaryWriter(tmp_path / "log") as writer:
        for _ in range(3):
            writer.add_scalar("t/scalar", np.float32(1))
            writer.add_scalars("m", {"a": 1.0, "b": 2})
            writer.add_image("t/image", rng.random((3, 8, 8)))
            writer.add_image("t/hw", rng.random((8, 8)), None, "HW")
            writer.add_text("t/text", "words")
            writer.add_histogram("t/histogram", rng.random(30))
            writer.add_audio("t/audio", rng.random(30))
            writer.add_pr_curve("t/curve", [0, 1], [0.2, 0.7])
            writer.add_mesh("t/mesh", rng.random((1, 3, 3)))
            writer.add_embedding(np.eye(2))
        writer.add_text("same", "words")
        writer.add_scalar("same", 1.0)
        writer.add_scalar("t/scalar", 1.0, walltime=5.0)
        writer.add_hparams({"lr": 1}, {"acc": 0.5}, name="s")
        for misuse in (
            lambda: writer.add_scalar("t/scalar", "no"),
            lambda: writer.add_scalar("t/scalar", np.zeros(2)),
            lambda: writer.add_scalars("m", {"a": "no"}),
            lambda: writer.add_image("t/image", np.zeros((3, 0, 3))),
            lambda: writer.add_scalar(5, 1.0),
        ):
            with pytest.raises(steno.UsageError):
                misuse()
        writer.add_scalar("t/scalar", 2)
        writer.add_image("t/image", rng.random((3, 8, 8)))
    found = steps(tmp_path / "log", {"images": 0})
    assert {tag: one for (run, tag), one in found.items() if run == "."} == {
        "t/scalar": [0, 1, 2, 3, 4], "t/image": [0, 1, 2, 3], "t/hw": [0, 1, 2], "t/text/text_summary": [0, 1, 2],
        "t/histogram": [0, 1, 2], "t/audio": [0, 1, 2], "t/curve": [0, 1, 2], "t/mesh_VERTEX": [0, 1, 2],
        "same": [0], "same/text_summary": [0],
    }  # fmt: skip
    assert found["m/a", "m"] == found["m/b", "m"] == [0, 1, 2]
    assert sorted(path.name for path in (tmp_path / "log").glob("0000*")) == ["00000", "00001", "00002"]


def test_steps_go_on_after_a_resume_and_from_a_purge_step(tmp_path):
    for round in range(2):
        with steno.GlobalSummaryWriter(tmp_path / "log") as writer:
            for _ in range(10):
                writer.add_scalar("x", float(round))
    assert steps(tmp_path / "log") == {(".", "x"): list(range(20))}
    with steno.GlobalSummaryWriter(tmp_path / "log", purge_step=15) as writer:
        for _ in range(3):
            writer.add_scalar("x", 2.0)
            writer.add_scalar("new", 2.0)
            writer.add_text("words", "x")
    assert steps(tmp_path / "log") == {
        (".", "x"): list(range(18)), (".", "new"): [15, 16, 17], (".", "words/text_summary"): [15, 16, 17],
    }  # fmt: skip
    assert steno.open(tmp_path / "log").series("x").value.tolist() == [0.0] * 10 + [1.0] * 5 + [2.0] * 3


def test_a_purge_step_seeds_a_new_logdir(tmp_path):
    with steno.GlobalSummaryWriter(tmp_path / "log", purge_step=100) as writer:
        writer.add_scalar("x", 1.0)
        writer.add_scalar("x", 2.0)
    assert steps(tmp_path / "log") == {(".", "x"): [100, 101]}


def test_explicit_and_automatic_steps_of_one_tag(tmp_path):
    with steno.SummaryWriter(tmp_path / "log") as explicit, steno.GlobalSummaryWriter(tmp_path / "log") as automatic:
        explicit.add_scalar("x", 1.0, 41)
        automatic.add_scalar("x", 2.0)
        explicit.add_text("x", "other kind", 7)
        automatic.add_scalar("x", 3.0)
    assert steps(tmp_path / "log")[".", "x"] == [41, 42, 43]


def _some(count):
    writer = steno.GlobalSummaryWriter.getSummaryWriter()
    for _ in range(count):
        writer.add_scalar("x", 1.0)
        writer.add_scalars("m", {"a": 1.0})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_apart_each_process_has_a_stream_and_a_sequence(tmp_path, method):
    writer = steno.GlobalSummaryWriter(tmp_path / "log", coalesce_process=False)
    _some(5)
    context = multiprocessing.get_context(method)
    children = [context.Process(target=_some, args=(7 + number,)) for number in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    until(lambda: len(steno.open(tmp_path / "log").series("x").value) == 20)
    assert writer.close()
    found = steps(tmp_path / "log")
    lengths = sorted(len(one) for (run, tag), one in found.items() if tag == "x")
    assert lengths == [5, 7, 8]
    assert all(one == list(range(len(one))) for one in found.values())
    assert {run.split("/")[0].rpartition("-")[0] for run, _ in found} == {
        f"process-{pid}" for pid in (os.getpid(), *(child.pid for child in children))
    }


# -- one writer ----------------------------------------------------------------------------------------------


def test_the_constructor_makes_the_singleton(tmp_path, capfd):
    writer = steno.GlobalSummaryWriter(tmp_path / "log")
    assert steno.GlobalSummaryWriter.getSummaryWriter() is writer
    writer.add_scalar("x", 1.0)
    writer.close()
    assert steno.GlobalSummaryWriter.getSummaryWriter() is writer
    steno.GlobalSummaryWriter.getSummaryWriter().add_scalar("x", 2.0)
    assert writer.flush()
    assert pickle.loads(pickle.dumps(writer)) is writer
    writer.close()
    assert steps(tmp_path / "log") == {(".", "x"): [0, 1]}
    assert capfd.readouterr() == ("", "")


def test_threads_that_ask_at_once_get_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start, found = threading.Barrier(8), []

    def ask():
        start.wait()
        found.append(steno.GlobalSummaryWriter.getSummaryWriter())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in found}) == 1
    assert len(list((tmp_path / "runs").iterdir())) == 1
    found[0].close()


def test_no_process_but_the_collector(tmp_path):
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with steno.GlobalSummaryWriter(tmp_path / "log") as writer:
        writer.add_scalar("x", 1.0)
        assert writer.flush()
        new = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
        assert [("steno.collector" in child.cmdline()) for child in new if child.status() != "zombie"] == [True]


def _forever():
    writer = steno.GlobalSummaryWriter.getSummaryWriter()
    while True:
        writer.add_scalar("x", 1.0)


@pytest.mark.timing
def test_a_killed_child_blocks_nobody_and_takes_nothing_along(tmp_path):
    writer = steno.GlobalSummaryWriter(tmp_path / "log")
    writer.add_scalar("x", 0.0)
    child = multiprocessing.get_context("fork").Process(target=_forever)
    child.start()
    until(lambda: len(steno.open(tmp_path / "log").series("x").value) > 1000)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    began = time.monotonic()
    writer.add_scalar("x", 2.0)
    writer.add_scalar("last", 2.0)
    assert time.monotonic() - began < 1
    assert writer.close()
    series = steno.open(tmp_path / "log").series("x")
    assert series.step.tolist() == list(range(len(series.step)))
    assert sorted({*series.value.tolist()}) == [0.0, 1.0, 2.0]


def test_steps_of_a_killed_program_go_on(tmp_path):
    code = (
        "import os, signal, steno\n"
        "writer = steno.GlobalSummaryWriter('log')\n"
        "for step in range(25): writer.add_scalar('x', float(step))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("STENO_")}
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=False)
        assert done.returncode == -signal.SIGKILL
    until(lambda: len(steno.open(tmp_path / "log").series("x").value) == 50)
    assert steno.open(tmp_path / "log").series("x").step.tolist() == list(range(50))


def test_at_exit_everything_is_delivered_without_close(tmp_path):
    code = "import steno\nw = steno.GlobalSummaryWriter('log')\nfor _ in range(100): w.add_scalar('x', 1.0)\n"
    env = {name: value for name, value in os.environ.items() if not name.startswith("STENO_")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=False, capture_output=True)
    assert (done.returncode, under_test.without_waits(done.stderr.decode())) == (0, "")
    assert steps(tmp_path / "log") == {(".", "x"): list(range(100))}


def test_without_disk(tmp_path):
    with steno.GlobalSummaryWriter(tmp_path / "log", write_to_disk=False) as writer:
        writer.add_scalar("x", 1.0)
        writer.add_image("i", np.zeros((3, 4, 4)))
    assert not (tmp_path / "log").exists()


def test_more_tags_than_a_segment_announces(tmp_path, monkeypatch):
    """Beyond them, keys and counters travel with each record."""
    from steno.journal import format as fmt

    monkeypatch.setattr(fmt, "MAX_SETS", 6)
    with steno.GlobalSummaryWriter(tmp_path / "log") as writer:
        for _ in range(3):
            for tag in range(20):
                writer.add_scalar(f"t{tag}", 1.0)
                writer.add_scalars(f"m{tag}", {"a": 1.0, "b": 2.0})
    found = steps(tmp_path / "log")
    assert len(found) == 60
    assert all(one == [0, 1, 2] for one in found.values())


def _closes_and_goes_on(logdir):
    writer = steno.GlobalSummaryWriter.getSummaryWriter()
    for _ in range(3):
        writer.add_scalar("x", 1.0)
        assert writer.close()
    other = steno.GlobalSummaryWriter(logdir)
    other.add_scalar("x", 2.0)
    assert other.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_may_close_and_go_on(tmp_path, method):
    writer = steno.GlobalSummaryWriter(tmp_path / "log")
    writer.add_scalar("x", 1.0)
    child = multiprocessing.get_context(method).Process(target=_closes_and_goes_on, args=(tmp_path / "log",))
    child.start()
    child.join()
    assert child.exitcode == 0
    writer.add_scalar("x", 3.0)
    assert writer.close()
    assert steps(tmp_path / "log") == {(".", "x"): list(range(6))}
    assert steno.open(tmp_path / "log").series("x").value.tolist() == [1.0, 1.0, 1.0, 1.0, 2.0, 3.0]


def test_a_program_that_closed_its_pipes_and_forks_by_hand(tmp_path):
    code = (
        "import os, steno\n"
        "writer = steno.GlobalSummaryWriter('log')\n"
        "writer.add_scalar('x', 0.0)\n"
        "pid = os.fork()\n"
        "for _ in range(10): writer.add_scalar('x', float(pid == 0))\n"
        "if pid: os.waitpid(pid, 0)\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("STENO_")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=False, capture_output=True)
    assert (done.returncode, under_test.without_waits(done.stderr.decode())) == (0, "")
    assert steps(tmp_path / "log") == {(".", "x"): list(range(21))}
