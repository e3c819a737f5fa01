"""Runs in ClickHouse, the engine itself behind a loopback that cuts, repeats and slows: counts, sums and bins are numpy's.

chDB, the engine in process, is 534 MB: `scripts/test-integrations engines` installs it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from clickhouse_front import front
from steno.clickhouse.connection import Connection, RefusedError, UnreachableError
from steno.clickhouse.place import place_of
from steno.publish import clickhouse as publishing
from steno.store.stock import stock_of

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from store_runs import Writer

if importlib.util.find_spec("chdb") is None:
    pytest.skip("chdb is not installed: scripts/test-integrations engines", allow_module_level=True)

STEPS = 5_000


@pytest.fixture
def runs(tmp_path):
    """A run of two nodes that number their records alike, and one of two attempts; each in two parts and more."""
    place = tmp_path / "runs"
    for node in (1, 2):
        with Writer(place / "p" / "two", node=node, format=2, project="p", id="ID-two") as writer:
            for piece in range(2):
                at = range(piece * STEPS, (piece + 1) * STEPS)
                writer.log(*[(step, {"loss": value(step, node)}) for step in at], rank=node - 1)
                writer.seal()
            writer.close()
    with Writer(place / "p" / "again", format=2, project="p", id="ID-again", config={"lr": 0.1}, tags=["t"]) as writer:
        writer.attempt(1)
        writer.log(*[(step, {"loss": 1.0}) for step in range(100)], entries=[("note", {"text": "x"})])
        writer.seal()
        writer.attempt(2, rewind=50)
        writer.log(*[(step, {"loss": 2.0}) for step in range(50, 120)], attempt=2)
        writer.seal()
        writer.close()
    return place


def value(step, node):
    return float(np.sin(step / 7) * node)


def rows(database, query, **values):
    connection = Connection(database)
    try:
        return connection.rows(query, values).to_pylist()
    finally:
        connection.close()


def is_numpys(database):
    """Counts, sums and bins of both runs, out of the tables as their readers have them."""
    found = rows(
        database,
        "select node, rank, count() as n, sum(value) as s from {db}.points final where run = 'ID-two' group by node, rank order by node",
    )
    assert [(row["node"], row["rank"], row["n"]) for row in found] == [(1, 0, 2 * STEPS), (2, 1, 2 * STEPS)]
    for row in found:
        assert row["s"] == pytest.approx(sum(value(step, row["node"]) for step in range(2 * STEPS)), abs=1e-6)
    bins = rows(database, "select * from {db}.bins final where run = 'ID-two' order by node, start, first_batch")
    assert sum(row["count"] for row in bins) == 4 * STEPS
    for row in bins:
        part = range((row["first_batch"] - 1) * STEPS, row["first_batch"] * STEPS)
        steps = [step for step in range(row["start"], row["start"] + row["width"]) if step in part]
        values = np.array([value(step, row["node"]) for step in steps])
        assert row["count"] == len(values)
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-9, abs=1e-12)
        assert (row["min_value"], row["max_value"]) == (values.min(), values.max())
        assert (row["min_step"], row["max_step"]) == (steps[values.argmin()], steps[values.argmax()])
    left = rows(database, "select step, value from {db}.metrics where run = 'p/again' order by step")
    assert [row["step"] for row in left] == list(range(120))
    assert [row["value"] for row in left] == [1.0] * 50 + [2.0] * 70
    assert rows(database, "select count() as n from {db}.metrics_all where run = 'p/again'") == [{"n": 170}]


def test_a_store_is_there_once(runs, database):
    done = publishing.publish(stock_of(runs), database)
    assert (done.runs, done.parts, done.left_out) == (2, 7, {})
    assert done.rows == 4 * STEPS + 170 + 1
    is_numpys(database)
    (run,) = rows(database, "select * from {db}.runs where name = 'again'")
    assert (run["run"], run["id"], run["tags"], run["points"]) == ("p/again", "ID-again", ["t"], 170)
    assert rows(database, "select key, value from {db}.config where run = 'p/again'") == [{"key": "lr", "value": "0.1"}]
    (note,) = rows(database, "select run, kind, payload from {db}.records where kind = 'note'")
    assert (note["run"], json.loads(note["payload"])) == ("p/again", {"text": "x"})
    again = publishing.publish(stock_of(runs), database)
    assert (again.parts, again.rows) == (0, 0)
    is_numpys(database)


@pytest.mark.parametrize("times", [2, 3])
def test_inserts_that_come_several_times_count_once(runs, database, clickhouse_gate, times):
    clickhouse_gate.times = times
    publishing.publish(stock_of(runs), database)
    is_numpys(database)


def test_inserts_that_are_cut_or_whose_answers_are_lost_come_again(runs, database, clickhouse_gate):
    connection = Connection(database)
    connection.prepare()
    connection.close()
    for number in range(3):
        clickhouse_gate.cut, clickhouse_gate.deaf = 1 + number, 2
        done = publishing.publish(stock_of(runs), database)
        assert not done.left_out
        is_numpys(database)
        rows(database, "select 1")
        if number < 2:
            connection = Connection(database)
            connection.command(f"truncate table {database.database}.parts")  # as if nobody had got that far
            connection.close()


def test_rows_without_a_token_replace_themselves(runs, database, clickhouse_gate):
    """The window of tokens may have passed, or the table be another's: the key is what counts."""
    stock = stock_of(runs)
    publishing.publish(stock, database)
    connection = Connection(database)
    for table in ("points", "entries", "bins"):
        connection.command(f"insert into {database.database}.{table} select * from {database.database}.{table}")
    connection.close()
    (raw,) = rows(database, "select count() as n from {db}.points")
    assert raw["n"] >= 4 * STEPS
    is_numpys(database)


def test_a_server_that_is_killed_in_mid_insert_is_waited_for(runs, tmp_path):
    with front(tmp_path / "clickhouse") as (server, gate):
        database = place_of(f"clickhouse://default@127.0.0.1:{gate.port}/killed")
        gate.delay = 0.2

        def kill():
            for at in (2, 5):
                while len(gate.inserts) < at:
                    time.sleep(0.01)
                time.sleep(0.21)  # it is at it
                server.kill()
                server.start()

        killer = threading.Thread(target=kill)
        killer.start()
        done = publishing.publish(stock_of(runs), database)
        killer.join(60)
        assert not done.left_out
        gate.delay = 0.0
        is_numpys(database)


def test_a_publisher_that_is_killed_is_gone_on_from(runs, database, clickhouse_gate):
    clickhouse_gate.delay = 0.3
    command = [sys.executable, "-m", "steno", "publish", str(runs), "--to", database.url]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while len(clickhouse_gate.inserts) < 4:
        time.sleep(0.02)
        assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    clickhouse_gate.delay = 0.0
    done = subprocess.run([*command, "--json"], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"] == 2
    is_numpys(database)


def test_parts_that_were_merged_are_not_sent_again(runs, database, clickhouse_gate):
    publishing.publish(stock_of(runs), database)
    for node in (1, 2):
        with Writer(runs / "p" / "two", node=node) as writer:
            writer.finish()
    assert publishing.publish(stock_of(runs), database).parts == 0
    is_numpys(database)


def test_two_publishers_at_once(runs, database):
    command = [sys.executable, "-m", "steno", "publish", str(runs), "--to", database.url]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for one in both:
        _, said = one.communicate(timeout=120)
        assert one.returncode == 0, said
    is_numpys(database)


@pytest.mark.timeout(300)
def test_commands_read_it_by_its_url(runs, database):
    publishing.publish(stock_of(runs), database)

    def said(*words):
        command = [sys.executable, "-m", "steno", *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = json.loads(said("runs", "--dir", database.url, "--json"))
    assert sorted(one["name"] for one in listed) == ["again", "two"]
    assert "p/again" in said("show", f"{database.url}/p/again")
    assert '"points": 170' in said("show", f"{database.url}/p/again", "--json")
    assert said("compare", f"{database.url}/p/again", f"{database.url}/p/two")
    query = "select run, count() as n from metrics_all group by run order by run"
    counted = said("sql", query, "--run", database.url, "--json")
    assert "170" in counted
    assert str(4 * STEPS) in counted


def test_what_is_wrong_is_said_without_the_password(runs, database, monkeypatch):
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "s3cr3t-of-the-database")
    connection = Connection(database)
    with pytest.raises(RefusedError, match="Database nowhere") as caught:
        connection.rows("select * from nowhere.at_all")
    connection.close()
    assert "s3cr3t" not in str(caught.value)
    monkeypatch.setattr(publishing, "PATIENCE_SECS", 0.3)
    with pytest.raises(UnreachableError, match="does not answer"):
        publishing.publish(stock_of(runs), place_of("clickhouse://u@127.0.0.1:1/d"))
    assert os.environ["CLICKHOUSE_PASSWORD"] not in database.url
