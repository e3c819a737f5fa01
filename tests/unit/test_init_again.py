"""`init` where a run is there already: current, beside, ended, or of another thread."""

from __future__ import annotations

import concurrent.futures
import json
import threading

import pytest
import run_programs
from run_programs import journals, ok

import steno
from steno.capture.open_runs import RUNS
from steno.errors import ClosedError, RecordError, RunExistsError, RunNotFoundError


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    run_programs.no_launcher(monkeypatch)
    monkeypatch.setenv("STENO_COLLECTOR", "off")
    monkeypatch.chdir(tmp_path)
    RUNS.last = None
    yield
    for one in RUNS.all():
        one.end("finished", timeout=0, announce=False)
    RUNS._hooks.uninstall()  # a run that ended in another thread leaves SIGTERM's


def values(run: steno.Run) -> list[dict]:
    return [record for journal in journals(run.dir) for record in journal.records]


# -- beside the current one ------------------------------------------------------------------------------------


def test_create_new_leaves_the_current_run_as_it_is(capsys):
    train = steno.init(name="train")
    evaluation = steno.init(name="eval", reinit="create_new")
    assert (train.ended, evaluation.ended, steno.current()) == (False, False, train)
    train.log({"x": 1.0})
    steno.log({"x": 2.0})
    evaluation.log({"y": 3.0})
    assert values(train) == [{"x": 1.0}, {"x": 2.0}]
    assert values(evaluation) == [{"y": 3.0}]
    evaluation.finish(0)
    assert (steno.current(), train.ended) == (train, False)
    train.finish(0)
    assert "is finished now" not in capsys.readouterr().err


def test_create_new_is_never_the_current_run():
    run = steno.init(name="a", reinit="create_new")
    assert steno.current() is None
    with pytest.raises(steno.NoRunError):
        steno.flush()
    logger = steno.RunLogger("b", "logs")
    assert steno.current() is logger.experiment
    assert not run.ended


def test_a_sweep_in_threads_has_a_run_for_each():
    barrier = threading.Barrier(4)

    def one(number: int) -> steno.Run:
        run = steno.init(name=f"trial{number}", reinit="create_new", config={"number": number})
        barrier.wait(30)
        for step in range(50):
            run.log({"x": float(number * step)}, step=step)
        run.finish(0)
        return run

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(one, range(4)))
    for number, run in enumerate(runs):
        assert [record["x"] for record in values(run)] == [float(number * step) for step in range(50)]


def test_children_of_multiprocessing_join_the_current_run_and_not_one_beside(tmp_path):
    code = """
    import multiprocessing, steno

    def work():
        steno.log({"child": 1.0})

    if __name__ == "__main__":
        current = steno.init(name="a")
        beside = steno.init(name="b", reinit="create_new")
        child = multiprocessing.get_context("spawn").Process(target=work)
        child.start(); child.join()
    """
    ok(code, tmp_path)
    records = {name: [r for j in journals(tmp_path / "runs/default" / name) for r in j.records] for name in "ab"}
    assert records == {"a": [{"child": 1.0}], "b": []}


@pytest.mark.parametrize("way", ["return_previous", False])
def test_the_current_run_may_be_returned(way):
    run = steno.init(name="a")
    assert steno.init(name="b", reinit=way) is run
    assert not run.ended
    run.finish(0)
    assert steno.init(name="b", reinit=way).name == "b"


# -- instead of the current one ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [None, True, "finish_previous"])
def test_a_second_init_says_which_run_it_ends_and_who_logs_on_is_told(way, capsys):
    first = steno.init(name="train")
    second = steno.init(name="eval", reinit=way)
    assert (first.ended, steno.current()) == (True, second)
    said = capsys.readouterr().err
    assert "steno: the run 'train' is finished now, since init is called again. To keep both, call init(reinit=" in said
    threads = [threading.Thread(target=first.log, args=({"x": float(i)},)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "steno: log was called on the run 'train', which another steno.init has ended: nothing was recorded. To keep "
        "both, call init(reinit='create_new') and log into the run that it returns"
    )
    assert first.health()["reports"] == 4
    for call in (lambda: first.log_artifact(__file__), lambda: first.async_log(dict)):
        with pytest.raises(ClosedError, match="was called on the run 'train', which another steno.init has ended"):
            call()
    assert values(first) == []


def test_strict_says_it_too():
    first = steno.init(name="train", strict=True)
    steno.init(name="eval")
    with pytest.raises(RecordError, match="which another steno.init has ended"):
        first.log({"x": 1.0})


def test_after_finish_the_word_is_finish(capsys):
    run = steno.init(name="a")
    run.finish(0)
    capsys.readouterr()
    run.log({"x": 1.0})
    assert "log was called after finish" in capsys.readouterr().err


# -- runs that are there -------------------------------------------------------------------------------------------


def test_allow_begins_a_run_and_then_goes_on_with_it():
    for attempt in (1, 2, 3):
        run = steno.init(name="job", resume="allow")
        assert (run.name, run.attempt) == ("job", attempt)
        run.log({"x": float(attempt)})
        run.finish(0)


def test_allow_joins_a_live_run():
    first = steno.init(name="job")
    again = steno.init(name="job", resume="allow", reinit="create_new")
    assert (again.dir, again.attempt) == (first.dir, first.attempt)


def test_two_of_one_name_at_once_are_two(capsys):
    names = [steno.init(name="job", reinit="create_new").name for _ in range(3)]
    assert names == ["job", "job-2", "job-3"]
    assert "the run 'job' is open in this process: this one is 'job-2'" in capsys.readouterr().err


def test_allow_with_rewind_begins_where_there_is_nothing_to_rewind():
    for attempt, rewind in ((1, None), (2, 5)):
        run = steno.init(name="job", resume="allow", rewind=5)
        assert run.attempt == attempt
        assert json.loads((run.dir / f".steno/attempts/000{attempt}.json").read_text())["rewind"] == rewind
        run.finish(0)


@pytest.mark.parametrize(("word", "flag"), [("must", True), ("never", False)])
def test_words_of_resume_mean_what_the_flags_mean(word, flag):
    outcomes = []
    for value in (word, flag, int(flag)):
        for name in (f"new-{value}", "there"):
            if name == "there":
                steno.init(name="there", resume="allow").finish(0)
            try:
                run = steno.init(name=name, resume=value)
                outcomes.append((name == "there", run.name == name, run.attempt > 1))
                run.finish(0)
            except (RunNotFoundError, RunExistsError) as error:
                outcomes.append((name == "there", type(error)))
    assert outcomes[:2] == outcomes[2:4] == outcomes[4:]
    assert outcomes[:2] == (
        [(False, RunNotFoundError), (True, True, True)] if flag else [(False, True, False), (True, RunExistsError)]
    )
