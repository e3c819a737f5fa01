"""Entries, summaries, exports and following."""

from __future__ import annotations

import csv
import json
import math
import threading

import pyarrow.parquet as pq
import pytest
from store_runs import Writer

import steno
from steno.errors import UsageError
from steno.record import Entry, Record
from steno.store.reader import RunReader


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "tests" / "run"


@pytest.fixture(params=[False, True], ids=["unsealed", "sealed"])
def sealed(request):
    return request.param


def test_entries_are_read_in_order_by_kind(run_dir, sealed):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log((0, {"x": 1.0}), entries=[("event", {"name": "a"}), ("config", {"lr": 0.1, "n": {"deep": [1]}})])
        if sealed:
            writer.seal()
        writer.log(entries=[("event", {"name": "b"}), ("summary", {"best": 0.9, "x": "mine"})])
        assert [entry.payload["name"] for entry in book.records("event")] == ["a", "b"]
        everything = book.records()
        assert [entry.record for entry in everything] == sorted(entry.record for entry in everything)
        assert len(everything) == 4
        assert book.info.config == {"lr": 0.1, "n": {"deep": [1]}}
        assert book.info.summary == {"best": 0.9, "x": "mine"}
        assert list(book.summary) == ["x"]
        assert row(book, "x") == {"last": 1.0, "min": 1.0, "max": 1.0, "count": 1}
        rows = book.sql("select kind, payload->>'name' from records where kind = 'event' order by record").fetchall()
        assert rows == [("event", "a"), ("event", "b")]


def test_summaries_unite_parts_and_what_is_unsealed(run_dir):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        assert book.summary == {}
        writer.log((0, {"x": 5.0, "t": "a", "n": math.nan}), (9, {"x": -1.0, "big": 2**60 + 1}))
        writer.seal()
        assert row(book, "x") == {"last": -1.0, "min": -1.0, "max": 5.0, "count": 2}
        writer.log((3, {"x": 7.0, "t": "b", "n": math.inf}), (4, {"x": math.nan}))
        assert row(book, "x") == {"last": -1.0, "min": -1.0, "max": 7.0, "count": 4}
        assert row(book, "t") == {"last": "b", "min": None, "max": None, "count": 2}
        assert row(book, "n") == {"last": math.inf, "min": math.inf, "max": math.inf, "count": 2}
        assert book.summary["big"]["last"] == 2**60 + 1
        writer.log((10, {"x": math.nan}))
        writer.seal()
        assert math.isnan(book.summary["x"]["last"])
        for key in book.keys():  # noqa: SIM118
            series = book.series(key)
            last = book.summary[key]["last"]
            assert last == series.exact[-1] or math.isnan(last), key


def row(book, key):
    """What a summary says of a key, without the steps and ranks."""
    return {name: book.summary[key][name] for name in ("last", "min", "max", "count")}


ROWS = [(0, {"a": 0.1, 'b,"\n': 'te,x"t\n'}), (1, {"a": math.nan, "c": 2**70}), (2, {"a": -math.inf, "c": 2**60 + 1})]


def test_csv_has_a_row_per_record(run_dir, sealed, tmp_path):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log(*ROWS)
        if sealed:
            writer.seal()
        assert book.export("csv", tmp_path / "out.csv") == 6
        assert book.export("csv", tmp_path / "some.csv", keys=["c"]) == 2
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["node", "record", "step", "time", "rank", "attempt", "a", 'b,"\n', "c"]
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    assert [row["a"] for row in rows] == ["0.1", "nan", "-inf"]
    assert [row['b,"\n'] for row in rows] == ['te,x"t\n', "", ""]
    assert [row["c"] for row in rows] == ["", str(2**70), str(2**60 + 1)]
    assert rows[0]["time"].startswith("2023-11-14T22:13:20")
    assert rows[0]["time"].endswith("Z")
    with open(tmp_path / "some.csv", newline="", encoding="utf-8") as file:
        assert [(row["step"], row["c"]) for row in csv.DictReader(file)] == [("1", str(2**70)), ("2", str(2**60 + 1))]


def test_a_key_of_the_name_of_a_column_has_it(run_dir, tmp_path):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log((7, {"step": 0.5, "time": 1.5}))
        assert book.export("csv", tmp_path / "out.csv") == 2
    head, row = (tmp_path / "out.csv").read_text().splitlines()
    assert head == "node,record,_step,_time,rank,attempt,step,time"
    assert row.endswith(",0.5,1.5")


def test_what_is_exported_can_be_chosen(run_dir, sealed, tmp_path):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log(*ROWS)
        if sealed:
            writer.seal()
            writer.finish()
            with pytest.raises(UsageError, match="has no key 'd'"):
                book.export("csv", tmp_path / "out.csv", keys="d")
        for to in ("csv", "jsonl", "parquet"):
            assert book.export(to, tmp_path / to, keys=["a"]) == 3
        assert book.export("csv", tmp_path / "long", keys="a", long=True) == 3
        with pytest.raises(UsageError, match="long is a form of csv"):
            book.export("jsonl", tmp_path / "out", long=True)


def test_long_csv_has_a_row_per_point(run_dir, sealed, tmp_path):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log(*ROWS)
        if sealed:
            writer.seal()
        assert book.export("csv", tmp_path / "out.csv", long=True) == 6
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {(int(row["step"]), row["key"]): row["value"] for row in rows}
    assert float(found[0, "a"]) == 0.1
    assert found[0, 'b,"\n'] == 'te,x"t\n'
    assert math.isnan(float(found[1, "a"]))
    assert float(found[2, "a"]) == -math.inf
    assert (int(found[1, "c"]), int(found[2, "c"])) == (2**70, 2**60 + 1)
    assert rows[0]["time"].startswith("2023-11-14T22:13:20")


def test_jsonl_has_an_object_per_record(run_dir, sealed, tmp_path):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log(*ROWS)
        if sealed:
            writer.seal()
        assert book.export("jsonl", tmp_path / "out.jsonl") == 6
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert rows[0]["time"].startswith("2023-11-14T22:13:20")
    assert rows[0]["values"] == {"a": 0.1, 'b,"\n': 'te,x"t\n'}
    assert rows[1]["values"] == {"a": "NaN", "c": 2**70}
    assert rows[2]["values"] == {"a": "-Infinity", "c": 2**60 + 1}


def test_a_record_that_lies_across_chunks_is_one_line(run_dir, tmp_path):
    keys = [f"k{number:04d}" for number in range(700)]
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        for _ in range(4):
            writer.log(*[(None, dict.fromkeys(keys, 1.0)) for _ in range(10)])
        assert book.export("jsonl", tmp_path / "out.jsonl") == 28_000
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["values"]) for line in lines] == [700] * 40


def test_parquet_is_one_file_with_the_columns_of_a_part(run_dir, sealed, tmp_path):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log(*ROWS)
        if sealed:
            writer.seal()
        (tmp_path / "out.parquet").write_text("an older file")
        assert book.export("parquet", tmp_path / "out.parquet") == 6
    table = pq.read_table(tmp_path / "out.parquet")
    assert set(table.column_names) == {
        "node", "record", "key", "step", "time", "rank", "attempt", "level", "value", "exact", "text", "ref",
    }  # fmt: skip
    assert table["key"].to_pylist() == ["a", "a", "a", 'b,"\n', "c", "c"]
    assert 2**60 + 1 in table["exact"].to_pylist()


def test_an_export_that_cannot_be_is_said_and_leaves_nothing(run_dir, tmp_path):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log((0, {"x": 1.0}))
        with pytest.raises(UsageError, match="the formats are csv, jsonl, parquet"):
            book.export("xlsx", tmp_path / "out")
        with pytest.raises(UsageError, match="which is not there"):
            book.export("csv", tmp_path / "no" / "out.csv")
        with pytest.raises(UsageError, match="is a directory"):
            book.export("csv", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tests"]


def test_tail_begins_with_the_newest(run_dir, sealed):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log(*[(step, {"b": 1.0, "a": "x"}) for step in range(20)], entries=[("event", {"name": "e"})])
        if sealed:
            writer.seal()
        writer.log((20, {"a": 0.0}))
        found = list(book.tail(last=4, follow=False))
        assert [type(one) for one in found] == [Record, Record, Entry, Record]
        assert found[0].values == {"a": "x", "b": 1.0}
        assert list(found[0].values) == ["a", "b"]
        assert found[-1].step == 20
        assert list(book.tail(last=0, follow=False)) == []


def test_tail_gives_each_new_record_once_across_seals_until_the_run_has_ended(run_dir):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log((0, {"x": 0.0}))
        ready, said = threading.Event(), []

        def write() -> None:
            ready.wait(10)
            for step in range(1, 200):
                writer.log((step, {"x": float(step)}), entries=[("event", {"at": step})] if step % 10 == 0 else ())
                if step % 7 == 0:
                    writer.seal()
            writer.poster.end_stream("host-0-0-1", "finished")

        thread = threading.Thread(target=write)
        thread.start()
        for one in book.tail(last=1, poll_secs=0.001):
            said.append(one)
            ready.set()
        thread.join()
        assert [one.step for one in said if isinstance(one, Record)] == list(range(200))
        assert [one.payload["at"] for one in said if isinstance(one, Entry)] == list(range(10, 200, 10))
        assert [one.record for one in said] == sorted(one.record for one in said)


def test_a_run_without_a_point_has_entries_only(tmp_path):
    with steno.init("p", "events", dir=tmp_path, collector=False) as run:
        run.event("alone")
    steno.sync(run.dir)
    with steno.open(run.dir) as book:
        assert [one.kind for one in book.tail(last=10, follow=False)] == ["start", "event", "finish"]
