"""The tables `runs` and `config` of a query, beside those of points and records."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys

import pytest
from store_runs import START_NS, Writer

import steno
from steno.errors import UsageError
from steno.store.query import sql
from steno.store.reader import RunReader

CONFIG = {
    "lr": 0.001, "batch": 32, "name": 'a "b"', "none": None, "on": True, "opt": {"beta": [0.9, 0.99], "": {}},
    "big": 2**70, "a.b": "ü\n",
}  # fmt: skip


def made(place, name, **run):
    """A run of ten points of `loss`, the mean of which is 10 times its learning rate."""
    run_dir = place / "tests" / name
    writer = Writer(run_dir, name=name, **run)
    lr = run.get("config", {}).get("lr", 0.0)
    writer.log(*((step, {"loss": 10 * lr + (step % 2) - 0.5}) for step in range(10)))
    writer.poster.end_stream("host-0-0-1", "finished")
    writer.finish()
    return run_dir


@pytest.fixture
def place(tmp_path):
    for number in range(6):
        made(
            tmp_path, f"r{number}", config={"lr": 0.1 * (1 + number % 2), "seed": number}, tags=["odd"] * (number % 2),
            group=None if number else "g", notes="it's",
        )  # fmt: skip
    return tmp_path


def test_a_row_per_run(place):
    rows = sql("select * from runs order by run", dir=place).to_arrow_table().to_pylist()
    assert [row["run"] for row in rows] == [f"tests/r{number}" for number in range(6)]
    first, second = rows[:2]
    assert (first["project"], first["name"], first["id"], first["state"]) == ("tests", "r0", "R1", "finished")
    assert (first["group"], second["group"]) == ("g", None)
    assert (first["tags"], second["tags"]) == ([], ["odd"])
    assert (first["notes"], first["archived"]) == ("it's", False)
    assert (first["records"], first["points"]) == (10, 10)
    assert first["path"] == str(place / "tests" / "r0")
    begun = dt.datetime.fromtimestamp(START_NS / 1e9, dt.UTC).replace(tzinfo=None)
    assert first["started"] == begun
    assert (first["ended"] - begun).total_seconds() == pytest.approx(first["duration"], abs=1e-6)
    listed = {one.name: one for one in steno.runs(place)}
    for row in rows:
        one = listed[row["name"]]
        assert (row["duration"], row["points"], row["state"]) == (one.duration, one.points, one.state)


def test_a_row_per_value_of_the_configuration(tmp_path):
    run_dir = made(tmp_path, "one", config=CONFIG)
    with RunReader(run_dir) as reader:
        for found in (reader.sql("select * from config order by key"), sql("from config order by key", dir=tmp_path)):
            rows = {key: value for run, key, value in found.fetchall() if run == "tests/one"}
            assert rows == {
                "lr": "0.001", "batch": "32", "name": 'a "b"', "none": None, "on": "true", "opt.beta": "[0.9, 0.99]",
                "opt.": "{}", "big": str(2**70), "a.b": "ü\n",
            }  # fmt: skip


def test_the_mean_of_a_key_by_a_value_of_the_configuration(place):
    rows = sql(
        """
        with means as (select run, avg(value) as mean from metrics where key = 'loss' group by run)
        select value::double as lr, avg(mean), stddev(mean), count(*)
        from means join config using (run) where config.key = 'lr' group by lr order by lr
        """,
        dir=place,
    ).fetchall()
    assert [(lr, n) for lr, _, _, n in rows] == [(0.1, 3), (0.2, 3)]
    assert [mean for _, mean, _, _ in rows] == pytest.approx([1.0, 2.0])
    assert [std for _, _, std, _ in rows] == pytest.approx([0.0, 0.0])


def test_runs_are_chosen_by_what_is_known_of_them(place):
    query = "select run, count(*) from metrics join runs using (run) where list_contains(tags, 'odd') group by run"
    assert sorted(sql(query, dir=place).fetchall()) == [(f"tests/r{number}", 10) for number in (1, 3, 5)]
    assert sql("select run from runs where state = ?", dir=place, values=["running"]).fetchall() == []
    assert sql("select count(*) from runs", [place / "tests" / "r1", place / "tests" / "r2"]).fetchall() == [(2,)]


def test_a_run_that_has_not_ended(tmp_path):
    run_dir = tmp_path / "tests" / "one"
    with Writer(run_dir, config={"lr": 1}) as writer, RunReader(run_dir) as reader:
        writer.log((0, {"loss": 1.0}))
        assert reader.sql("select points, config.key from runs join config using (run)").fetchall() == [(1, "lr")]
        writer.log((1, {"loss": 1.0}), (2, {"loss": 1.0}))
        assert reader.sql("select points from runs").fetchall() == [(3,)]
        assert sql("select points, ended from runs", dir=tmp_path).fetchall()[0][0] == 3
    (tmp_path / "tests" / "none").mkdir()
    (tmp_path / "tests" / "none" / "run.json").write_text(json.dumps({"config": {"a": 1}}))
    rows = sql("select run, started, duration, records from runs order by run", dir=tmp_path).fetchall()
    assert rows[0] == ("tests/none", None, None, 0)


def test_what_was_edited_is_shown(place):
    with steno.open(place / "tests" / "r3") as reader:
        reader.edit(name="better", add_tags="x", archived=True)
    rows = sql("select run, tags, archived from runs where name = 'better'", dir=place).fetchall()
    assert rows == [("tests/better", ["odd", "x"], True)]
    assert sql("select distinct run from metrics where run = 'tests/better'", dir=place).fetchall() == [rows[0][:1]]


def test_all_tables_are_there_whatever_the_query_says(place):
    shown = {row[0] for row in sql("show tables", dir=place).fetchall()}
    assert {"metrics", "metrics_all", "records", "runs", "config"} <= shown
    assert sql("select count(*) from METRICS, Config where config.key = 'seed'", dir=place).fetchall() == [(360,)]
    assert sql("with runs as (select 1 as a) select a from runs", dir=place).fetchall() == [(1,)]
    with pytest.raises(UsageError, match="The tables are metrics, metrics_all, records, runs, config"):
        sql("select * from metrix", dir=place)


def test_what_gives_no_pandas_frame_does_not_import_it(place):
    writer = Writer(place / "tests" / "live")
    writer.log(
        (0, {"loss": 1.0, "odd": "text"}), (1, {"odd": 2**60}), (2, {"odd": 2**70}), entries=[("note", {"a": 1})]
    )
    writer.close()
    program = """
import sys, steno
print(steno.sql("select count(*) from metrics, runs, config, records", dir=sys.argv[1]).fetchall())
for name in ("r1", "live"):
    reader = steno.open(sys.argv[1] + "/tests/" + name)
    reader.series("loss", over="mean"), reader.frame(as_="arrow"), reader.summary, reader.keys(), reader.records()
    reader.sql("from metrics").fetchall(), reader.info, reader.stragglers("loss"), list(reader.tail(follow=False))
    for form in ("csv", "jsonl", "parquet"):
        reader.export(form, sys.argv[1] + "/out")
assert "pandas" not in sys.modules, "pandas was imported"
"""
    done = subprocess.run([sys.executable, "-c", program, str(place)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_point_has_the_level_of_its_record(tmp_path):
    with steno.init(project="p", name="one", dir=tmp_path) as run:
        run.log({"a": 1.0, "b": 2.0}, step=0, level=steno.LogLevel.EPOCH)
        run.log({"a": 3.0, "word": "x"}, step=1)
        run.log({"a": 4.0}, step=2, level="fit")
        assert run.flush()
        wanted = [("a", 0, 2), ("a", 1, None), ("a", 2, 1), ("b", 0, 2), ("word", 1, None)]
        with steno.open(run.dir) as reader:
            assert reader.sql("select key, step, level from metrics order by all").fetchall() == wanted
    assert sql("select key, step, level from metrics order by all", dir=tmp_path).fetchall() == wanted
    assert sql("select count(*) from metrics where level <= 2", dir=tmp_path).fetchall() == [(3,)]


@pytest.mark.parametrize("query", [None, 7, b"select 1", ["select 1"]])
def test_what_is_no_text_is_no_query(place, query):
    with pytest.raises(UsageError, match="a query is a text such as"):
        sql(query, dir=place)
    with steno.open(place / "tests" / "r0") as reader, pytest.raises(UsageError, match="a query is a text such as"):
        reader.sql(query)
