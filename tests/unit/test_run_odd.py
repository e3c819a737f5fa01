"""What programs pass that is not quite right, and machines that have nothing left: logging goes on."""

from __future__ import annotations

import os
import re
import shlex
import threading

import numpy as np
import pytest
from run_programs import journals

import steno
from steno.errors import RecordError, UsageError
from steno.examine import examine

pytestmark = pytest.mark.usefixtures("alone")


@pytest.mark.parametrize("level", [object(), 2**70, 1.5, "info", [1]])
def test_a_level_that_is_none_is_reported_and_the_record_kept(level, capsys):
    with steno.init() as run:
        run.log({"x": 1.0}, level=level)
        reported = run.health()["reported"]
    (journal,) = journals(run.dir)
    assert journal.records == [{"x": 1.0}]
    assert reported == {"level": 1}
    assert "steno.LogLevel" in capsys.readouterr().err


def test_a_level_of_numpy_is_a_level(capsys):
    with steno.init() as run:
        run.log({"x": 1.0}, level=np.int64(3))
    assert journals(run.dir)[0].records == [{"x": 1.0}]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arrays", [object(), 123, "lists", ["list"]])
def test_an_arrays_mode_that_is_none_is_reported_and_the_default_used(arrays, capsys):
    with steno.init(arrays="list") as run:
        run.log({"x": np.arange(20.0)}, arrays=arrays)
    assert journals(run.dir)[0].records == [{f"x/{i}": float(i) for i in range(20)}]
    assert "the run's default was used" in capsys.readouterr().err


# What is out of range, and what of it is told.
OUT_OF_RANGE = {
    "image": (lambda: steno.Image(np.array([[-1.0, 3.0]])), "clipped to [0, 1]"),
    "nan": (lambda: steno.Image(np.array([[np.nan, 0.5]])), "drawn black"),
    "video": (lambda: steno.Video(np.full((2, 4, 4), 300)), "clipped to 0..255"),
    "audio": (lambda: steno.Audio(np.array([1.5, 0.0])), "clipped to [-1, 1]"),
    "mesh": (lambda: steno.Object3D([[1, 2, 3]], [[0.5, 0.5, 0.5]]), "rounded"),
    "histogram": (lambda: steno.Histogram(counts=[-1.0], edges=[0, 1]), "taken as 0"),
}  # fmt: skip


@pytest.mark.parametrize("key", OUT_OF_RANGE)
def test_a_media_value_out_of_range_is_recorded_said_once_and_counted(key, capsys):
    make, words = OUT_OF_RANGE[key]
    with steno.init() as run:
        for _ in range(3):
            run.log({key: make(), "x": 1.0})
        reported = run.health()["reported"]
    (journal,) = journals(run.dir)
    assert [sorted(record) for record in journal.records] == [sorted([key, "x"])] * 3
    assert reported == {f"{key} adjusted": 3}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"steno: {key!r}: ")
    assert words in said[0]
    with steno.init(strict=True) as run, pytest.raises(RecordError, match=key):
        run.log({key: make()})


def test_under_strict_they_raise():
    with steno.init(strict=True) as run:
        with pytest.raises(RecordError):
            run.log({"x": 1.0}, level="info")
        with pytest.raises(RecordError):
            run.log({"x": 1.0}, arrays="lists")


@pytest.mark.parametrize("step", [np.int64(7), np.array(7), 2**70, 1.5, "seven"])
def test_an_event_is_kept_whatever_its_step(step):
    with steno.init() as run:
        run.event("epoch_end", step=step, epoch=3)
    (journal,) = journals(run.dir)
    (event,) = [payload for kind, payload in journal.entries if kind == "event"]
    assert event == {"name": "epoch_end", "epoch": 3}


def test_a_forked_child_that_can_start_no_thread_records_all_the_same(monkeypatch):
    with steno.init() as run:
        run.log({"x": 0.0})
        child = os.fork()
        if child == 0:
            status = 1
            try:

                def refuse(_):
                    raise RuntimeError("can't start new thread")

                monkeypatch.setattr(threading.Thread, "start", refuse)
                run.log({"x": 1.0})
                monkeypatch.undo()
                for i in range(20_000):
                    run.log({"x": 2.0, "y": float(i)})
                status = int(not any(one.name == "steno-keeper" for one in threading.enumerate()))
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
    records = [record for journal in journals(run.dir) for record in journal.records]
    assert {"x": 1.0} in records
    assert len(records) == 20_002


@pytest.mark.parametrize("resume", [1, np.True_])
def test_resume_as_a_command_line_gives_it_goes_on_with_the_run(resume):
    steno.init(name="r").finish(0)
    with steno.init(name="r", resume=resume) as run:
        assert run.name == "r"
        assert run.attempt == 2


def test_a_rewind_that_no_step_can_follow_is_refused():
    steno.init(name="r").finish(0)
    with pytest.raises(UsageError, match=r"2\*\*62"):
        steno.init(name="r", rewind=2**70)


def test_a_command_that_is_said_can_be_pasted_whatever_the_name_of_the_run(tmp_path, capsys):
    name = "$(touch a) b'c"
    run = steno.init(project="p", name=name, dir=tmp_path, collector=False)
    run.log({"a": 1.0})
    run.finish()
    (said,) = re.findall(r"`(steno sync .*)` does", capsys.readouterr().err)
    assert shlex.split(said) == ["steno", "sync", str(run.dir)]
    (advice,) = examine(run.dir).advice
    assert shlex.split(advice.partition(": ")[2]) == ["steno", "sync", str(run.dir)]


def _shared(kind, leaf, levels):
    """A few objects that unfold into 2**levels, or levels**3."""
    value = leaf
    for _ in range(levels):
        value = {"a": value, "b": value} if kind is dict else kind((value, value))
    return value


# Each would take hours and more memory than there is.
TANGLED = {
    "list": lambda: _shared(list, 1.0, 40),
    "tuple": lambda: _shared(tuple, "text", 40),
    "dict": lambda: _shared(dict, 1.0, 40),
    "wide": lambda: [[[1.0] * 9_000] * 9_000] * 9_000,
}


@pytest.mark.parametrize("kind", TANGLED)
@pytest.mark.parametrize("level", [None, 2])
def test_a_value_that_shares_its_parts_is_left_out_said_once_and_costs_the_rest_nothing(kind, level, capsys):
    value = TANGLED[kind]()
    with steno.init(config={"tangled": value}) as run:
        for step in range(3):
            run.log({"x": value, "loss": 1.0}, step=step, level=level)
        reported = run.health()["reported"]
    (journal,) = journals(run.dir)
    assert journal.records == [{"loss": 1.0}] * 3
    assert reported == {"x": 3}
    (line,) = capsys.readouterr().err.splitlines()
    assert "'x' was left out: it holds one thing over and over" in line


def test_rows_that_are_one_object_are_an_array_like_another():
    with steno.init() as run:
        run.log({"x": [[0.5] * 500] * 500})
    (journal,) = journals(run.dir)
    assert journal.records == [{"x/min": 0.5, "x/mean": 0.5, "x/max": 0.5, "x/std": 0.0}]
