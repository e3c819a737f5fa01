"""What the integrations share, without their frameworks: whose run it is, and what a missing package says."""

from __future__ import annotations

import importlib
import os
import pickle
import sys

import pytest

import steno
from steno.integrations.target_run import TargetRun


@pytest.mark.parametrize(
    ("name", "package", "remedy"),
    [
        ("composer", "composer", "pip install mosaicml"),
        ("lightning", "lightning", "pip install lightning"),
        ("transformers", "transformers", "pip install transformers"),
        ("accelerate", "accelerate", "pip install accelerate"),
        ("keras", "keras", "pip install keras, and a backend: jax, torch or tensorflow"),
        ("stable_baselines3", "stable_baselines3", "pip install stable-baselines3"),
    ],
)
def test_a_missing_package_says_what_to_install(monkeypatch, name, package, remedy):
    for missing in (package, "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, f"steno.integrations.{name}", raising=False)
    with pytest.raises(
        ImportError, match=rf"steno.integrations.{name} needs a package that cannot be imported"
    ) as error:
        importlib.import_module(f"steno.integrations.{name}")
    assert str(error.value).endswith(remedy)
    assert isinstance(error.value.__cause__, ImportError)


@pytest.fixture
def held(tmp_path):
    made = []

    def make(**options):
        made.append(
            TargetRun(None, {"dir": tmp_path, "project": "p", "collector": False, **options} if options else {})
        )
        return made[-1]

    yield make
    for one in made:
        one.end()


def test_without_options_it_is_the_current_run_and_stays_the_callers(held, tmp_path):
    one = held()
    with steno.init(dir=tmp_path, collector=False) as run:
        assert one.take() is run
        one.end()
        assert not run.ended
    with steno.init(dir=tmp_path, collector=False) as run:
        assert one.take() is run, "always the current one"


def test_with_options_it_is_one_of_its_own_beside_the_callers(held, tmp_path):
    with steno.init(dir=tmp_path, collector=False) as run:
        one = held(name="own")
        assert one.seen() is None
        assert one.take() is one.take() is one.seen()
        assert one.take() is not run
        assert steno.current() is run
        one.end()
        assert one.take().attempt == 2
        first = one.take()
        one.leave()
        assert first.ended
        assert one.take(name="not asked for").name == "own-2"


def test_its_own_run_is_no_callers_run_for_another(held, tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_DIR", str(tmp_path))
    monkeypatch.setenv("STENO_COLLECTOR", "off")
    one, two = held(), held()
    assert one.take() is not two.take()
    assert one.take() is one.take()
    assert steno.current() is one.take()


def test_a_run_and_options_contradict(held, tmp_path):
    with (
        steno.init(dir=tmp_path, collector=False) as run,
        pytest.raises(steno.UsageError, match="run= is there already and dir, project"),
    ):
        TargetRun(run, {"dir": tmp_path, "project": "p"})


def test_an_error_is_the_runs_failure(held, tmp_path):
    one = held(name="bad", collector=True)
    run = one.take()
    try:
        raise ValueError("the data is bad")
    except ValueError as error:
        one.end(error)
        one.end(error)
    info = steno.open(run.dir).info
    assert info.state == "failed"
    assert "the data is bad" in info.error


def test_a_pickled_one_goes_on_in_the_run(held):
    one = held(name="sent", config={"a": 1}, tags=["x"])
    copy = pickle.loads(pickle.dumps(one))
    assert copy.take().name == "sent"
    copy.end()
    one = held(name="seen", config={"a": 1}, tags=["x"])
    run = one.take()
    copy = pickle.loads(pickle.dumps(one))
    assert copy.take().dir == run.dir
    assert copy.take() is not run
    copy.end()
    assert not run.ended
    assert pickle.loads(pickle.dumps(held())).seen() is None


def test_what_a_forked_child_has_made_its_parent_goes_on_with(held):
    one = held(name="forked")
    child = os.fork()
    if child == 0:
        try:
            one.take().log({"x": 1.0}, 0)
            one.flush()
            os._exit(0 if one.take().attempt == 2 else 3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert one.seen() is None
    assert one.take().name == "forked", "not forked-2"
