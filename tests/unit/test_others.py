"""Programs that come from other loggers say `init` and `finish` in those loggers' words."""

from __future__ import annotations

import argparse
import re

import pytest
import run_programs

import steno
from steno import habits

pytestmark = pytest.mark.usefixtures("alone")


def end_of(run):
    (journal,) = run_programs.journals(run.dir)
    (found,) = [payload for kind, payload in journal.entries if kind == "finish"]
    return found


def test_what_means_the_same_is_taken(tmp_path, capsys):
    run = steno.init(
        project="p", experiment_name="exp", description="words", log_dir=tmp_path / "logs", job_type="train", tags=["a"],
        mode="offline", workspace=None,
    )  # fmt: skip
    assert run.dir == tmp_path / "logs" / "p" / "exp"
    about = steno.open(run.dir).info
    assert about.state
    assert (run.dir / "run.json").read_text().count('"words"') == 1
    assert '"train"' in (run.dir / "run.json").read_text()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mode", ["local", "offline"])
def test_modes_of_this_machine_record(mode):
    assert steno.init(mode=mode).dir.is_dir()


def test_disabled_is_off(tmp_path):
    steno.init(mode="disabled").log({"x": 1.0})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["off", "disabled"])
def test_a_run_that_records_nothing_says_so(mode, tmp_path):
    run = steno.init(mode=mode)
    assert "off: it records nothing" in repr(run)
    assert str(tmp_path) not in repr(run)


def test_online_is_answered_with_the_destination():
    with pytest.raises(steno.UsageError, match="destinations=.*swanlab"):
        steno.init(mode="online")


@pytest.mark.parametrize("word", ["workspace", "public", "color", "parallel", "callbacks"])
def test_what_means_nothing_here_is_said(word, capsys):
    assert steno.init(**{word: "x"}).dir.is_dir()
    assert f"init: {word}= means nothing here; " in capsys.readouterr().err


def test_a_name_that_nobody_knows_is_still_refused():
    with pytest.raises(steno.UsageError, match="did you mean 'project'"):
        steno.init(projct="p")


@pytest.mark.parametrize(
    ("arguments", "named", "end"),
    [
        ((), {}, {"state": "finished"}),
        (("success",), {}, {"state": "finished"}),
        ((), {"state": "success", "async_log_timeout": 5}, {"state": "finished"}),
        (("crashed", "out of memory"), {}, {"state": "failed", "error": "out of memory", "traceback": ""}),
        ((), {"state": "crashed", "error": ValueError("no")}, {"state": "failed", "error": "no", "traceback": ""}),
        (("aborted",), {}, {"state": "failed", "error": "aborted", "traceback": ""}),
        ((0.5,), {"error": "why"}, {"state": "failed", "error": "why", "traceback": ""}),
    ],
)
def test_finish_says_how_it_ended(arguments, named, end):
    run = steno.init()
    steno.finish(*arguments, **named)
    assert end_of(run) == end


@pytest.mark.parametrize("wrong", [("done",), ([1],), (True,)])
def test_another_state_or_time_is_a_clear_error(wrong):
    run = steno.init()
    with pytest.raises(steno.UsageError, match="finish: "):
        run.finish(*wrong)
    assert steno.current() is run


def test_a_bound_of_tasks_alone_leaves_the_rest_its_time():
    import time

    run = steno.init()
    done = run.async_log(lambda: {"x": 1.0})
    slow = run.async_log(lambda: time.sleep(5))
    assert done.result(5) == {"x": 1.0}
    assert run.finish(async_log_timeout=0.2) is False
    assert isinstance(slow.exception(0), steno.TaskError)


def test_finish_without_a_run_warns(tmp_path):
    code = """
    import steno, warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert steno.finish() is True
    (one,) = caught
    print(one.category.__name__, one.message)
    """
    assert (
        "RuntimeWarning steno.finish needs a run: call steno.init(...) first" in run_programs.run(code, tmp_path).stdout
    )


@pytest.mark.parametrize("word", ["entity", "anonymous", "save_code", "force"])
def test_words_of_a_hosted_service_are_said_and_left_out(word, capsys):
    assert steno.init(**{word: "x"}).dir.is_dir()
    assert f"init: {word}= means nothing here; " in capsys.readouterr().err


@pytest.mark.parametrize("word", sorted(habits.INIT))
def test_words_that_would_change_the_record_are_refused_with_what_to_write(word):
    with pytest.raises(steno.UsageError, match=re.escape(habits.INIT[word])):
        steno.init(**{word: True})
    assert steno.current() is None


@pytest.mark.parametrize("word", sorted(habits.RUN))
def test_a_name_that_a_run_of_another_logger_has_is_answered(word):
    run = steno.init()
    assert not hasattr(run, word)
    assert word not in dir(run)
    assert word not in dir(steno.Run)
    with pytest.raises(AttributeError, match=re.escape(habits.RUN[word])):
        getattr(run, word)
    with pytest.raises(AttributeError, match=re.escape(habits.RUN[word])):
        setattr(run, word, 1)


@pytest.mark.parametrize("word", sorted(set(habits.MODULE) - {"run"}))
def test_a_name_that_another_module_has_is_answered(word):
    assert not hasattr(steno, word)
    assert word not in dir(steno)
    with pytest.raises(AttributeError, match=re.escape(habits.MODULE[word])):
        getattr(steno, word)


def test_a_name_that_is_set_is_answered():
    with pytest.raises(AttributeError, match=r"edit\(name=…\)"):
        steno.init().name = "x"


def test_the_current_run_of_another_module_is_answered():
    from steno import run

    with pytest.raises(AttributeError, match="steno.current"):
        run.log({"x": 1.0})
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'$"):
        _ = run.nonsense


@pytest.mark.parametrize("word", sorted(habits.ARTIFACT))
def test_words_for_an_artifact_are_answered(word):
    run = steno.init()
    for log_artifact in (run.log_artifact, steno.log_artifact):
        with pytest.raises(steno.UsageError, match=re.escape(habits.ARTIFACT[word])):
            log_artifact(__file__, **{word: "x"})


@pytest.mark.parametrize(("code", "state"), [(0, "finished"), (None, "finished"), (3, "failed")])
def test_an_exit_code_is_understood(code, state):
    run = steno.init()
    run.finish(0, exit_code=code, quiet=True)
    assert end_of(run)["state"] == state


def test_log_takes_commit_true_and_names_itself_in_an_error(capsys):
    run = steno.init()
    run.log({"x": 1.0}, commit=True)
    assert capsys.readouterr().err == ""
    run.log({"x": 1.0}, commit=False)
    assert "log has no commit=" in capsys.readouterr().err
    with pytest.raises(TypeError, match=r"^Run\.log\(\) got an unexpected keyword argument 'sync'"):
        run.log({"x": 1.0}, sync=False)


def test_a_configuration_is_updated_by_all_that_init_takes():
    run = steno.init(config={"a": 1})
    run.config.update(argparse.Namespace(b=2), allow_val_change=True)
    steno.config.update({"c": 3}, allow_val_change=False)
    run.config.update([("d", 4)], e=5)
    assert dict(run.config) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    with pytest.raises(steno.UsageError, match="config must be"):
        run.config.update(3)
    with pytest.raises(AttributeError, match=r"dict\(run.config\)"):
        run.config.as_dict()
