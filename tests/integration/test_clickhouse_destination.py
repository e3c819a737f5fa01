"""The destination `clickhouse`, in a process of its own, against the engine itself; see test_clickhouse_publish.py."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import os

import pytest

import steno
from clickhouse_front import front
from steno.clickhouse.connection import Connection
from steno.clickhouse.place import place_of
from steno.destinations.services._clickhouse import ClickHouse
from steno.errors import DestinationError
from steno.publish import clickhouse as publishing
from steno.record import Ref
from steno.store.stock import stock_of
from steno.testing import check_destination

if importlib.util.find_spec("chdb") is None:
    pytest.skip("chdb is not installed: scripts/test-integrations engines", allow_module_level=True)


@pytest.fixture
def url(clickhouse_gate, request):
    name = "".join(char if char.isalnum() else "_" for char in request.node.name)
    return f"clickhouse://default@127.0.0.1:{clickhouse_gate.port}/{name}"


def rows(url, query, **values):
    connection = Connection(place_of(url))
    try:
        return connection.rows(query, values).to_pylist()
    finally:
        connection.close()


class InItsDirectory(ClickHouse):
    """The exam's runs have one id in many directories."""

    def open(self, run):
        super().open(dataclasses.replace(run, id=str(run.dir)))


@pytest.mark.skipif(not os.environ.get("STENO_LONG_TESTS"), reason="minutes: scripts/test-integrations engines")
@pytest.mark.timeout(900)
def test_the_exam_of_destinations(url):
    def read(run):
        found = rows(url, "select * from {db}.points final where run = {run:String}", run=str(run.dir))
        return [(row["step"], row["key"], value_of(row)) for row in found]

    check_destination(lambda: InItsDirectory(url=url), read=read)


def value_of(row):
    if row["exact"] is not None:
        return row["exact"]
    if row["ref"] is not None:
        said = json.loads(row["ref"])
        return Ref(said["digest"], said["kind"], said["meta"])
    if row["text"] is not None:
        return row["text"] if row["value"] is None else int(row["text"])
    return row["value"]


def log(run, first, last):
    for step in range(first, last):
        run.log({"loss": step / 7, "odd": [math.nan, math.inf, 2**60, "text"][step % 4]}, step=step)


def test_a_live_run_is_there_as_it_goes_on_and_once(url, clickhouse_gate, tmp_path):
    """With inserts that are cut, unanswered and repeated; then its parts come beside."""
    clickhouse_gate.cut, clickhouse_gate.deaf, clickhouse_gate.times = 1, 1, 2
    with steno.init(
        project="p", name="r", dir=tmp_path / "runs", config={"lr": 0.1}, destinations=[("clickhouse", {"url": url})]
    ) as run:
        log(run, 0, 500)
        run.summary["best"] = 0.5
        assert run.finish(120)
    (known,) = rows(url, "select * from {db}.runs")
    assert (known["run"], known["id"], known["state"], known["records"], known["points"]) == (
        "p/r",
        run.id,
        "finished",
        500,
        1000,
    )
    assert rows(url, "select value from {db}.config where key = 'lr'") == [{"value": "0.1"}]
    of_live = rows(url, "select * from {db}.points final order by key, step")
    assert len(of_live) == 1000
    clickhouse_gate.times = 1
    steno.sync(run.dir)
    done = publishing.publish(stock_of(tmp_path / "runs"), place_of(url))
    assert done.rows >= 1000
    of_parts = rows(url, "select * from {db}.points final order by key, step")
    assert len(of_parts) == 1000
    for live, part in zip(of_live, of_parts, strict=True):
        assert {**live, "value": repr(live["value"])} == {**part, "value": repr(part["value"])}
    (known,) = rows(url, "select * from {db}.runs")
    assert (known["state"], known["points"], known["records"]) == ("finished", 1000, 500)
    kinds = rows(url, "select kind, count() as n from {db}.records group by kind order by kind")
    assert {"start": 1, "finish": 1}.items() <= {row["kind"]: row["n"] for row in kinds}.items()


def test_attempts_and_rewinds_come_along(url, tmp_path):
    to = [("clickhouse", {"url": url})]
    with steno.init(project="p", name="r", dir=tmp_path, destinations=to) as run:
        log(run, 0, 100)
        assert run.finish(60)
    with steno.init(project="p", name="r", dir=tmp_path, resume=True, rewind=50, destinations=to) as run:
        log(run, 50, 80)
        assert run.finish(60)
    assert rows(url, "select count() as n from {db}.metrics_all where key = 'loss'") == [{"n": 130}]
    left = rows(url, "select step, attempt from {db}.metrics where key = 'loss' order by step")
    assert [row["step"] for row in left] == list(range(80))
    assert {row["attempt"] for row in left if row["step"] >= 50} == {2}


def test_a_server_that_is_away_costs_nothing(tmp_path):
    with front(tmp_path / "clickhouse") as (server, gate):
        url = f"clickhouse://default@127.0.0.1:{gate.port}/away"
        with steno.init(
            project="p", name="r", dir=tmp_path / "runs", destinations=[("clickhouse", {"url": url})]
        ) as run:
            log(run, 0, 50)
            run.flush()
            server.kill()
            log(run, 50, 100)
            server.start()
            assert run.finish(120)
        assert rows(url, "select count() as n from {db}.points final") == [{"n": 200}]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": 7}, "url is text"),
        ({"url": "http://x"}, "clickhouse://user@host:port/database"),
        ({"url": "clickhouse://u:hush@h/db"}, "CLICKHOUSE_PASSWORD"),
    ],
)
def test_a_wrong_option_is_said_at_init(options, said, tmp_path):
    with pytest.raises(DestinationError, match=said) as caught:
        steno.init(project="p", dir=tmp_path, destinations=[("clickhouse", options)])
    assert "hush" not in str(caught.value)
