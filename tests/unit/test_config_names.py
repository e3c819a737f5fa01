"""`run.config.lr` is `run.config["lr"]`, and so for the summary; what cannot be a name is refused aloud."""

from __future__ import annotations

import pytest
from run_programs import no_launcher

import steno


@pytest.fixture
def run(tmp_path, monkeypatch):
    no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    with steno.init("p", "r", {"seed": 1}) as made:
        yield made


def test_attributes_are_recorded_as_keys_are(run):
    run.config.lr = 0.1
    steno.config.batch = 32
    run.summary.best = 0.9
    steno.summary.worst = 0.1
    run.config["ok"] = 1
    assert (run.config.lr, steno.config.lr, run.config["batch"], steno.summary.best) == (0.1, 0.1, 32, 0.9)
    assert run.finish(30)
    with steno.open(run.dir) as book:
        assert book.info.config == {"seed": 1, "lr": 0.1, "batch": 32, "ok": 1}
        assert book.info.summary == {"best": 0.9, "worst": 0.1}
        assert book.summary == {}


@pytest.mark.parametrize("of", ["config", "summary"])
@pytest.mark.parametrize("name", ["update", "keys", "items", "get", "pop"])
def test_a_method_is_not_overwritten(run, of, name):
    for mapping in (getattr(run, of), getattr(steno, of)):
        with pytest.raises(AttributeError, match=rf"method.*\['{name}'\]"):
            setattr(mapping, name, 3)
        mapping[name] = 3
        assert mapping[name] == 3


@pytest.mark.parametrize("of", ["config", "summary"])
def test_what_is_not_there_is_an_attribute_error(run, of):
    for mapping in (getattr(run, of), getattr(steno, of)):
        with pytest.raises(AttributeError, match="no 'nothing'"):
            _ = mapping.nothing
        assert getattr(mapping, "nothing", 5) == 5
        assert not hasattr(mapping, "__array__")
        mapping.there = 1
        assert "there" in dir(mapping)
        with pytest.raises(TypeError, match="on record"):
            del mapping.there


def test_the_mappings_themselves_are_not_replaced(run):
    for name in ("config", "summary"):
        with pytest.raises(AttributeError):
            setattr(run, name, {"lost": 1})


def test_a_summary_stands_beside_the_metric_of_its_name(run):
    for step, value in enumerate([0.1, 0.9, 0.5]):
        run.log({"val/acc": value}, step=step)
    run.summary["val/acc"] = 0.95
    assert run.finish(30)
    with steno.open(run.dir) as book:
        found = book.summary["val/acc"]
        assert (found["last"], found["min"], found["max"], found["count"]) == (0.5, 0.1, 0.9, 3)
        assert (found["last_step"], found["min_step"], found["max_step"]) == (2, 0, 1)
        assert book.info.summary == {"val/acc": 0.95}
