"""`steno compare` as a real process: what differs, last and best values, curves over each other."""

from __future__ import annotations

import math

import pytest
from cli_process import answer, steno
from store_runs import Writer

from steno.cli.compare import best
from steno.cli.differing import MISSING, differing


@pytest.fixture
def place(tmp_path):
    """Three runs of a sweep: config.lr and opt.name differ, `same` does not."""
    for number, name in enumerate(("first", "second", "third")):
        config = {"lr": 10.0**-number, "opt": {"name": "adam" if number else "sgd"}, "same": [1, 2], "nan": math.nan}
        with Writer(tmp_path / "p" / name, config=config, tags=["sweep"]) as writer:
            for step in range(20):
                more = {} if number else {"only/first": 1.0}
                values = {"train/loss": 1 / (step + 1 + number), "val/acc": (step + number) / 30, "speed": 5.0 + step}
                writer.log((step, {**values, **more}))
            writer.log((20, {"val/acc": 0.1, "caption": "text"}))
            writer.finish()
    return tmp_path


def rows(out: str) -> dict[str, list[str]]:
    table = out.partition("\n\n ")[0].splitlines()
    return {line.split()[0]: line.split()[1:] for line in table if line.split()}


def test_the_table_has_what_differs_and_last_and_best_values(place):
    out = steno("compare", "first", "second", "third", "--dir", place).stdout
    found = rows(out)
    assert found["config.lr"] == ["1", "0.1", "0.01"]
    assert found["config.opt.name"] == ["sgd", "adam", "adam"]
    assert "config.same" not in out
    assert "config.nan" not in out
    assert found["train/loss"] == ["0.05", "0.047619", "0.0454545"]
    assert found["train/loss.min"] == ["0.05", "0.047619", "0.0454545", "*"]
    assert found["val/acc"] == ["0.1", "0.1", "0.1"]
    assert found["val/acc.max"] == ["0.633333", "0.666667", "0.7", "*"]
    assert found["only/first"] == ["1"]
    assert "speed.min" not in out
    assert "caption" not in out


def test_curves_lie_over_each_other(place):
    out = steno("compare", "first", "second", "--dir", place, "--key", "val/*").stdout
    assert out.count("┌") == 1
    assert "x first  + second" in out
    assert "train/loss" not in out


def test_json_has_the_same(place):
    found = answer("compare", "first", "second", "--dir", place, "--key", "val/acc")
    assert found["differing"] == ["lr", "opt.name"]
    assert found["keys"] == ["val/acc"]
    assert [one["config"] for one in found["runs"]] == [{"lr": 1.0, "opt.name": "sgd"}, {"lr": 0.1, "opt.name": "adam"}]
    assert found["runs"][0]["metrics"]["val/acc"]["max"] == 19 / 30
    assert list(found["runs"][0]["metrics"]) == ["val/acc"]


def test_runs_are_chosen_by_a_query(place):
    found = answer("compare", "--dir", place, "--where", "config.lr < 0.5", "--sort", "config.lr")
    assert [one["name"] for one in found["runs"]] == ["third", "second"]
    found = answer("compare", "--dir", place, "--sort", "-val/acc.max", "--last", "1")
    assert [one["name"] for one in found["runs"]] == ["third"]


def test_runs_of_one_name_are_told_apart(place):
    with Writer(place / "q" / "first", project="q") as writer:
        writer.log((0, {"train/loss": 1.0}))
        writer.finish()
    out = steno("compare", "tests/first", "q/first", "--dir", place).stdout
    assert "tests/first" in out
    assert "q/first" in out


def test_many_runs_are_several_tables_in_eighty_columns(place):
    for number in range(9):
        with Writer(place / "p" / f"a-rather-long-name-{number}", config={"lr": number}) as writer:
            writer.log((0, {"train/loss": float(number)}))
            writer.finish()
    out = steno("compare", "--last", "9", "--where", '"rather" in name', "--dir", place, COLUMNS="80").stdout
    assert max(map(len, out.splitlines())) <= 80
    for number in range(9):
        assert f"a-rather-long-name-{number}" in out
    assert out.count("config.lr") >= 3
    assert "1 more lines are not drawn" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "which runs?"),
        (["first", "--last", "2"], "not both"),
        (["first", "--where", "x > 1"], "not both"),
        (["first", "nothing-like-it"], "no run 'nothing-like-it'"),
        (["first", "second", "--key", "nothing*"], "no key matches"),
        (["--where", "name == 'none'"], "no run of"),
        (["--where", "a ="], "where:"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(place, arguments, said):
    done = steno("compare", *arguments, "--dir", place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_runs_that_have_nothing_in_common_are_compared(tmp_path):
    for name, key in (("a", "x"), ("b", "y"), ("empty", None)):
        with Writer(tmp_path / "p" / name) as writer:
            if key:
                writer.log((0, {key: 1.0}))
            writer.finish()
    done = steno("compare", "a", "b", "empty", "--dir", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the configurations are the same" in done.stdout


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("train/loss", ("min",)),
        ("val/top5_acc", ("max",)),
        ("reward/mean", ("max",)),
        ("speed", ("min", "max")),
        ("loss_of_accuracy", ("min", "max")),
    ],
)
def test_which_value_is_the_best_is_told_by_the_name(key, wanted):
    assert best(key) == wanted


def test_what_differs_is_told_by_type_and_value():
    rows = differing(
        [{"a": 1, "b": True, "c": {"d": [1], "e": {}}, "n": math.nan}, {"a": 1.0, "b": 1, "c": {"d": [1]}}]
    )
    assert rows == {"a": [1, 1.0], "b": [True, 1], "c.e": [{}, MISSING], "n": [rows["n"][0], MISSING]}


def test_bytes_have_a_unit(tmp_path):
    for name in ("a", "b"):
        with Writer(tmp_path / "p" / name) as writer:
            writer.log((0, {"system/disk_free_bytes": 68_316_200_000.0, "bytes": 12.0}))
            writer.finish()
    assert "63.6 GiB" in steno("compare", "a", "b", "--dir", tmp_path).stdout
    out = steno("show", "a", "--dir", tmp_path).stdout
    assert "63.6 GiB" in out
    assert "12" in rows(out)["bytes"]
