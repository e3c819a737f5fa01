"""Configurations of every kind come back as what they were, at every depth."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import time
import types
from pathlib import Path
from typing import Any, NamedTuple

import attr
import msgspec
import numpy as np
import pydantic
import pytest
from omegaconf import OmegaConf
from run_programs import no_launcher

import steno
from steno.capture.config import as_config
from steno.capture.plain import plain
from steno.errors import UsageError


class Mode(enum.Enum):
    FAST = "fast"


class Model(pydantic.BaseModel):
    lr: float = 0.1
    where: Path = Path("/data")
    mode: Mode = Mode.FAST


class Nested(pydantic.BaseModel):
    inner: Model = Model()
    many: list[Model] = [Model(), Model(lr=0.2)]


@dataclasses.dataclass
class Data:
    since: dt.datetime = dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC)
    model: Model = dataclasses.field(default_factory=Model)


@attr.define
class Attrs:
    a: int = 1
    b: Any = None


class Struct(msgspec.Struct):
    a: int = 1
    b: Any = None


class Pair(NamedTuple):
    first: int
    second: Any


MODEL = {"lr": 0.1, "where": "/data", "mode": "fast"}
OMEGA = OmegaConf.create({"lr": 0.1, "betas": [0.9, 0.99], "layers": [{"w": 64}, {"w": 32}], "twice": "${lr}"})
PLAIN_OMEGA = {"lr": 0.1, "betas": [0.9, 0.99], "layers": [{"w": 64}, {"w": 32}], "twice": 0.1}
KINDS = [
    (OMEGA, PLAIN_OMEGA),
    (OMEGA.betas, [0.9, 0.99]),
    (Model(), MODEL),
    (Nested(), {"inner": MODEL, "many": [MODEL, {**MODEL, "lr": 0.2}]}),
    (Data(), {"since": "2026-01-02T03:00:00+00:00", "model": MODEL}),
    (Attrs(b=Mode.FAST), {"a": 1, "b": "fast"}),
    (Struct(b=(1, 2)), {"a": 1, "b": [1, 2]}),
    (Pair(1, {"x": Path("a")}), {"first": 1, "second": {"x": "a"}}),
    (argparse.Namespace(lr=0.1), {"lr": 0.1}),
    (types.SimpleNamespace(lr=Mode.FAST), {"lr": "fast"}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (collections.deque([1, 2.5]), [1, 2.5]),
    (range(3), [0, 1, 2]),
    (frozenset({2, 1}), [1, 2]),
    (dt.date(2026, 1, 2), "2026-01-02"),
    (dt.timedelta(seconds=3), "0:00:03"),
    (decimal.Decimal("1.5"), 1.5),
    (np.arange(3), [0, 1, 2]),
    (np.float32(0.5), 0.5),
    (Mode.FAST, "fast"),
    (math.inf, math.inf),
    (collections.OrderedDict, "collections.OrderedDict"),
    (b"x", "b'x'"),
    (10**5000, "<an integer of 16610 bits>"),
]


@pytest.mark.parametrize(("given", "kept"), KINDS, ids=[type(given).__name__ for given, _ in KINDS])
def test_it_is_kept_as_what_it_is_at_every_depth(given, kept):
    assert plain(given) == kept
    assert plain({"a": [{"b": given}]}) == {"a": [{"b": kept}]}
    assert plain(dataclasses.make_dataclass("Some", ["x"])([given])) == {"x": [kept]}


def test_a_number_of_torch_is_one():
    torch = pytest.importorskip("torch")
    assert plain({"a": torch.tensor(3.0), "b": torch.nn.ReLU}) == {"a": 3.0, "b": "torch.nn.modules.activation.ReLU"}


def test_nan_stays_nan_at_every_depth():
    found = plain({"a": [math.nan, {"b": np.float32("nan")}], "c": decimal.Decimal("NaN"), "d": np.array([math.nan])})
    assert math.isnan(found["a"][0])
    assert math.isnan(found["a"][1]["b"])
    assert math.isnan(found["c"])
    assert math.isnan(found["d"][0])


def test_what_omegaconf_cannot_resolve_costs_only_itself():
    given = OmegaConf.create(
        {"missing": "???", "nowhere": "${oops}", "n": {"missing": "???", "ok": 1}, "l": ["???", 2]}
    )
    kept = {"missing": "???", "nowhere": "${oops}", "n": {"missing": "???", "ok": 1}}
    assert {key: value for key, value in plain(given).items() if key != "l"} == kept
    assert as_config(given)["missing"] == "???"


def test_a_long_sequence_is_kept_as_text_not_written_out():
    assert plain(range(10**9)) == "range(0, 1000000000)"


@pytest.mark.parametrize("given", ["abc", [1], 3, Model, OMEGA.betas])
def test_a_configuration_without_names_is_refused(given):
    with pytest.raises(UsageError, match="config must be a mapping"):
        as_config(given)


def test_readers_get_it_back(tmp_path, monkeypatch, capfd):
    no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    config = {"omega": OMEGA, "model": Nested(), "data": Data(), "nan": math.nan, "deep": [{"inf": -math.inf}]}
    for turn in ("first", "again"):  # NaN is no change of the configuration
        with steno.init("p", "r", config, resume=None if turn == "first" else True) as run:
            run.config.later = Model()
            run.config.nan2 = [math.nan]
            run.event("set", model=Model(), nan=math.nan)
    assert "configuration" not in capfd.readouterr().err
    with steno.open(run.dir) as book:
        found = dict(book.info.config)
        assert math.isnan(found.pop("nan"))
        assert math.isnan(found.pop("nan2")[0])
        assert found == {
            "omega": PLAIN_OMEGA,
            "model": {"inner": MODEL, "many": [MODEL, {**MODEL, "lr": 0.2}]},
            "data": {"since": "2026-01-02T03:00:00+00:00", "model": MODEL},
            "deep": [{"inf": -math.inf}],
            "later": MODEL,
        }
        assert book.records("event")[0].payload["model"] == MODEL
        assert book.sql("select payload->>'$.nan' from records where kind = 'event'").fetchall()[0][0].lower() == "nan"
    assert json.loads((run.dir / "run.json").read_text())["config"]["omega"] == PLAIN_OMEGA


def test_a_configuration_may_be_any_of_these_as_a_whole(tmp_path, monkeypatch):
    no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STENO_COLLECTOR", "off")
    for number, (given, kept) in enumerate([(OMEGA, PLAIN_OMEGA), (Model(), MODEL), (Attrs(), {"a": 1, "b": None})]):
        with steno.init("p", f"r{number}", given) as run:
            pass
        assert json.loads((run.dir / "run.json").read_text())["config"] == kept


def test_a_small_tensor_is_its_numbers_and_a_large_one_text():
    torch = pytest.importorskip("torch")
    assert plain({"weights": torch.tensor([[1.0, 2.5]])}) == {"weights": [[1.0, 2.5]]}
    assert plain(torch.zeros(2000)).startswith("tensor(")


def test_a_key_that_has_no_text_costs_the_configuration_nothing():
    class Key:
        def __str__(self):
            raise RuntimeError

        __repr__ = __str__

    assert plain({Key(): 1, "a": 2, 10**5000: 3}) == {"<Key>": 1, "a": 2, "<an integer of 16610 bits>": 3}
    assert as_config({Key(): 1, "a": 2}) == {"<Key>": 1, "a": 2}


def test_seeds_of_64_bits_are_numbers_for_every_reader(monkeypatch, tmp_path):
    no_launcher(monkeypatch)
    seed, seeds = 2**64 - 1, [2**63, -(2**63)]
    with steno.init(project="p", name="r", dir=tmp_path, collector=False, config={"seed": seed, "seeds": seeds}) as run:
        run.config.later = np.uint64(seed)
        run.summary["best"] = seed
        run.event("seeded", seed=seed)
    steno.sync(run.dir)
    with steno.open(run.dir) as book:
        assert dict(book.info.config) == {"seed": seed, "seeds": seeds, "later": seed}
        assert book.info.summary["best"] == seed
        assert book.sql("select value::ubigint as v from config where key = 'seed'").fetchall() == [(seed,)]
        (event,) = book.records("event")
        assert event.payload["seed"] == seed
    assert len(steno.runs(tmp_path, where=f"config.seed == {seed} and config.later > {seed - 1}")) == 1
    assert [plain(2**64), plain(-(2**63) - 1)] == [str(2**64), str(-(2**63) - 1)]


def test_what_holds_itself_twice_is_gone_through_in_no_time(monkeypatch, tmp_path):
    """As children that know their parent do: a path through it never ends, and there are 2**32 of them."""
    no_launcher(monkeypatch)
    cyclic, node, many = [], types.SimpleNamespace(), [1]
    cyclic += [cyclic, cyclic]
    node.left = node.right = node
    for _ in range(40):
        many = [many, many]
    began = time.thread_time()
    with steno.init(project="p", dir=tmp_path, collector=False, config={"cyclic": cyclic, "node": node}) as run:
        run.config.many = many
        run.event("odd", cyclic=cyclic, node=node)
        for value in (cyclic, node):
            run.log({"x": {"y": value}, "good": 1.0})
        assert run.health()["reported"]["x"] == 2
    assert time.thread_time() - began < 20
    steno.sync(run.dir)
    with steno.open(run.dir) as book:
        assert book.keys() == ["good"]
    assert plain([[[[[[1.0]] * 10] * 10] * 10]]) == [[[[[[1.0]] * 10] * 10] * 10]]
