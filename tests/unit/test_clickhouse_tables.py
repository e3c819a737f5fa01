"""ClickHouse's URLs, and tables that are those of parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from steno.clickhouse import tables
from steno.clickhouse.place import DatabaseUrl, parted, place_of
from steno.clickhouse.rows import schema, table
from steno.errors import UsageError
from steno.ledger import layout


@pytest.mark.parametrize(
    ("url", "place", "run"),
    [
        ("clickhouse://u@h:9000/db", DatabaseUrl("h", 9000, "u", "db"), ""),
        ("clickhouse://h/db/", DatabaseUrl("h", 8123, "default", "db"), ""),
        ("ClickHouse://u%40x@[::1]:8443/db/p%20q/a", DatabaseUrl("::1", 8443, "u@x", "db"), "p q/a"),
    ],
)
def test_a_url_names_a_database_and_a_run(url, place, run, monkeypatch):
    monkeypatch.delenv("CLICKHOUSE_USER", raising=False)
    assert parted(url) == (place, run)
    assert place.is_secure == (place.port == 8443)


@pytest.mark.parametrize(
    "url",
    [
        "clickhouse://u@h", "clickhouse://u@h/", "clickhouse:///db", "http://u@h/db", "clickhouse://u@h:x/db",
        "clickhouse://u@h/d;drop", "clickhouse://u@h/db?secure=1", "", "clickhouse://u@h/a-b",
    ],
)  # fmt: skip
def test_what_names_none_is_said(url):
    with pytest.raises(UsageError, match="clickhouse://user@host:port/database"):
        parted(url)


def test_a_password_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="CLICKHOUSE_PASSWORD") as caught:
        parted("clickhouse://u:hush-hush@h/db")
    assert "hush" not in str(caught.value)
    with pytest.raises(UsageError, match="more than a database"):
        place_of("clickhouse://u@h/db/p/r")


def test_a_user_of_the_environment(monkeypatch):
    monkeypatch.setenv("CLICKHOUSE_USER", "me")
    assert parted("clickhouse://h/db")[0].user == "me"


@pytest.mark.parametrize(("columns", "part"), [(tables.POINTS, layout.METRICS), (tables.ENTRIES, layout.RECORDS)])
def test_a_table_has_the_columns_of_a_part(columns, part):
    assert [name for name, *_ in columns] == [name for name, *_ in part if name != "bucket"]
    nullable = {name for name, kind, _ in columns if "Nullable" in kind}
    assert nullable == {name for name, _, _, null in part if null}


def test_what_identifies_a_row_is_its_order():
    columns, order, _ = tables.TABLES["points"]
    assert order == "project, run, key, rank, attempt, step, node, record"
    for columns, order, version in tables.TABLES.values():
        names = [name for name, *_ in columns]
        assert set(order.split(", ")) <= set(names)
        assert not version or version in names
        assert not any("Nullable" in kind for name, kind, _ in columns if name in order.split(", "))


def test_no_view_is_kept_up_by_inserts():
    for statement in tables.statements("db"):
        assert "materialized" not in statement.lower()
        assert statement.startswith(
            ("create database if not exists db", "create table if not exists db.", "create or replace view db.")
        )


def test_the_statements_of_a_cluster_are_written_down():
    """`STENO_GOLDEN=1` writes deploy/clickhouse/schema.sql anew."""
    path = Path(__file__).parents[2] / "deploy" / "clickhouse" / "schema.sql"
    found = ";\n\n".join(tables.statements("steno", "steno")) + ";\n"
    if os.environ.get("STENO_GOLDEN"):
        path.write_text(f"{path.read_text().partition('create database')[0]}{found}")
    assert path.read_text().partition("create database")[2] == found.partition("create database")[2]
    assert "Replicated" not in " ".join(tables.statements("steno"))


def test_rows_have_the_types_of_their_table():
    row = {name: None for name, *_ in tables.PARTS} | {
        "project": "p",
        "run": "r",
        "kind": "metrics",
        "name": "n",
        "crc": "",
    }
    made = table(tables.PARTS, [{**row, "node": -1, "first_batch": 1, "last_batch": 2, "rows": 3}])
    assert made.schema == schema(tables.PARTS)
    assert made.to_pylist()[0]["node"] == -1


@pytest.mark.parametrize("url", ["clickhouse://u:hush-hush@h/db", "clickhouse://h", "clickhouse://h/d;drop"])
def test_the_viewer_refuses_a_url_of_no_database(url):
    command = [sys.executable, "-m", "steno", "view", url, "--port", "0", "--no-browser"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "the URL" in done.stderr
    assert "hush-hush" not in done.stdout + done.stderr
