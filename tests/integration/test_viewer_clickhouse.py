"""The viewer over ClickHouse: table, charts and records of runs without files here; nothing of a database is a path."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from starlette.testclient import TestClient

import steno
from steno.clickhouse.connection import Connection
from steno.publish import clickhouse as publishing
from steno.store.clickhouse.database import Database
from steno.store.stock import stock_of
from steno.viewer.app import Viewer
from steno.viewer.handed import hand_on
from steno.viewer.security import LOOPBACK, Rules

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from store_runs import Writer
from test_viewer_export import inside

if importlib.util.find_spec("chdb") is None:
    pytest.skip("chdb is not installed: scripts/test-integrations engines", allow_module_level=True)

STEPS = 3_000


@pytest.fixture
def published(database, tmp_path):
    for name, scale in (("a", 1.0), ("b", 2.0)):
        with Writer(tmp_path / "runs/p" / name, format=2, project="p", id=f"ID-{name}", config={"lr": scale}) as writer:
            rows = [(step, {"loss": value(step, scale)}) for step in range(STEPS)]
            writer.log(*rows, entries=[("note", {"text": "hello"})])
            writer.seal()
            writer.close()
    publishing.publish(stock_of(tmp_path / "runs"), database)
    return database.url


def value(step, scale):
    return float(np.sin(step / 7) * scale) if step != 1234 else 99.0 * scale


@pytest.fixture
def ask():
    clients = []

    def to(url):
        client = TestClient(Viewer(url, url, Rules(None, "test", LOOPBACK)).app, base_url="http://localhost")
        clients.append(client.__enter__())
        client.headers.update({"X-Steno": "1", "Sec-Fetch-Site": "same-origin"})
        return client

    yield to
    for client in clients:
        client.__exit__(None, None, None)


def test_runs_of_a_database_are_listed_and_drawn(published, ask):
    client = ask(published)
    told = client.post("/api/runs", json={"columns": ["config.lr", "loss.max"], "sort": "name"}).json()
    assert [(row["run"], row["values"]) for row in told["rows"]] == [("p/a", [1.0, 99.0]), ("p/b", [2.0, 198.0])]
    assert {row["state"] for row in told["rows"]} == {one.state for one in steno.runs(published)}
    assert told["store"]["problem"] == ""
    assert client.get("/api/keys").json()["keys"] == ["loss"]
    asked = {"runs": ["p/a", "p/b"], "cards": [{"id": "1", "key": "loss", "bins": 64}]}
    answer = client.post("/api/chart", json=asked)
    assert answer.status_code == 200, answer.text
    config = client.get("/api/config", params={"run": "p/b"}).json()
    assert config["config"] == {"lr": 2.0}
    records = client.get("/api/records", params={"run": "p/a"})
    assert "hello" in records.text
    series = client.get("/api/series", params={"run": "p/b", "key": "loss"})
    assert series.status_code == 200, series.text
    assert series.text.count("\n") >= STEPS


def test_the_metrics_of_all_runs_are_asked_for_once(published, ask, monkeypatch):
    asked = []
    rows = Database.rows
    monkeypatch.setattr(Database, "rows", lambda *given: asked.append(given[1]) or rows(*given))
    client = ask(published)
    for column in ("loss.max", "loss.last"):
        told = client.post("/api/runs", json={"columns": [column], "sort": "-loss.max"}).json()
        assert [row["run"] for row in told["rows"]] == ["p/b", "p/a"]
    assert [row["values"] for row in told["rows"]] == [[value(STEPS - 1, scale)] for scale in (2.0, 1.0)]
    assert sum(".points" in query for query in asked) == 1


def test_the_url_of_one_run_shows_that_run(published, ask):
    assert [row["run"] for row in ask(f"{published}/p/b").get("/api/runs").json()["rows"]] == ["p/b"]


def test_a_reader_shows_its_run(published, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with steno.open(f"{published}/p/b") as reader:
        viewer = reader.view(browser=False)
    try:
        assert viewer.url.endswith("#runs=none&show=p%2Fb")
        with urlopen(
            f"{viewer.url.partition('?')[0]}t/{viewer.url.partition('?token=')[2].partition('#')[0]}/api/runs"
        ) as told:
            assert {row["run"] for row in json.load(told)["rows"]} == {"p/a", "p/b"}
    finally:
        viewer.close()


def test_what_needs_files_says_where_they_are(published, ask):
    client = ask(published)
    for answer in (
        client.get("/api/artifacts", params={"run": "p/a"}),
        client.get("/api/media/p/a/media/00/00.png"),
        client.post("/api/media-table", json={"run": "p/a", "file": "media/00/" + "0" * 40 + ".parquet"}),
    ):
        assert answer.status_code in {400, 404, 422}, (answer.url, answer.status_code, answer.text)
        assert "database" in answer.text or answer.status_code == 404
    told = client.post("/api/media-index", json={"runs": ["p/a"], "cards": [{"id": "1", "key": "pic"}]}).json()
    assert "a database has no files" in str(told["cards"][0]["problems"])


def test_a_database_that_does_not_answer_shows_what_was_known(published, ask, clickhouse_gate, monkeypatch):
    client = ask(published)
    assert client.get("/api/runs").json()["total"] == 2
    clickhouse_gate.away = True
    monkeypatch.setattr("steno.viewer.database._FRESH_SECS", 0.0)
    time.sleep(2.1)
    told = client.get("/api/runs").json()
    clickhouse_gate.away = False
    assert told["total"] == 2
    assert told["store"]["problem"]


def test_a_database_that_never_answered_is_an_error_and_not_an_empty_list(published, ask, clickhouse_gate):
    client = ask(published)
    clickhouse_gate.away = True
    for _ in range(3):
        answer = client.get("/api/runs")
        assert (answer.status_code >= 400, "does not answer" in answer.text) == (True, True), answer.text


def test_a_name_in_a_database_becomes_no_path(published, ask, database, tmp_path):
    connection = Connection(database)
    try:
        cards = f"{database.database}.cards"
        odd = "'../../../../../etc' as project, 'ID-odd' as run, '../../../../../../etc' as name"
        connection.command(f"insert into {cards} select * replace ({odd}) from {cards} limit 1")
    finally:
        connection.close()
    client = ask(published)
    rows = client.get("/api/runs").json()["rows"]
    (odd,) = [row for row in rows if ".." in row["run"]]
    for answer in (client.get(f"/api/media/{odd['run']}/passwd"), client.get("/api/artifacts", params=odd["run"])):
        assert "root:" not in answer.text
    assert all(str(one).startswith("/dev/null/") for one in _paths(published))
    assert not any(os.path.lexists(one) for one in _paths(published))


def _paths(url):
    return [one.path for one in steno.runs(url, archived=True)]


@pytest.mark.parametrize("name", ["health", "output", "config", "records"])
def test_each_part_of_a_runs_page_answers_or_says_why_not(name, published, ask):
    answer = ask(published).get(f"/api/{name}", params={"run": "p/a"})
    assert answer.status_code < 500, answer.text
    assert answer.status_code == 200 or "database" in answer.json()["error"]


def test_a_run_that_goes_on_is_news(published, ask, database, monkeypatch):
    monkeypatch.setattr("steno.viewer.database._FRESH_SECS", 0.2)
    cards, client, connection = f"{database.database}.cards", ask(published), Connection(database)
    try:
        more = "records + 100 as records, 'running' as state, now64(6) as updated"
        connection.command(f"insert into {cards} select * replace ({more}) from {cards} where name = 'a'")
        client.get("/api/runs")
        known = client.get("/api/news").json()["id"]
        until = time.monotonic() + 60
        while time.monotonic() < until:
            told = client.get("/api/news", params={"since": known, "runs": "p/a"}).json()
            if "p/a" in str(told):
                break
            connection.command(f"insert into {cards} select * replace ({more}) from {cards} final where name = 'a'")
            time.sleep(0.3)
        assert "p/a" in str(told)
    finally:
        connection.close()


def test_a_view_of_a_database_is_one_file(published, tmp_path):
    size, left_out = hand_on(published, str(tmp_path / "view.html"), where="config.lr > 1", view=None)
    made = (tmp_path / "view.html").read_bytes()
    assert (size, left_out) == (len(made), [])
    head, charts = inside(made)
    assert charts
    assert '"p/b"' in json.dumps(head)
    assert '"p/a"' not in json.dumps(head)
