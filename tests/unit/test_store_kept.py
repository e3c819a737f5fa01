"""A query over many ended runs has the same result whether their points are kept in the cache or read from their files."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

import steno
from steno.store import asked as asked_
from steno.store import cache, cards, gathered
from steno.store import sql as sql_
from steno.store.engine import Engine
from steno.store.query import sql

MANY = 70
QUERIES = [
    "select run, avg(value), count(*) from metrics where key = 'loss' group by run",
    "select run, step, value, text, exact, ref, level, rank, attempt, node, record, time from metrics where key = 'odd'",
    (
        "select a.run, a.step, b.value - a.value from metrics a join metrics b using (run, step) where a.key = 'loss' "
        "and b.key = 'acc'"
    ),
    "select run, key, count(*) from metrics_all where key in ('loss', 'acc') group by all",
    "select run, max(step) from metrics where key = 'loss' and run = 'p/r03' group by run",
    (
        "select c.value, avg(m.value) from metrics m join config c using (run) where m.key = 'loss' and c.key = 'seed' "
        "group by all"
    ),
    "select run, count(*) from metrics_all where key = 'loss' group by run",
    "select count(*) from metrics where key = 'none such'",
    "select key, count(*) from metrics group by key",
    "select run, count(*) from metrics where key like 'lo%' group by run",
    "select count(*) from metrics where key = 'loss' or value > 5",
    "select count(*) from metrics where key = 'loss' and exact is null and text is null",
    "select run from runs where not exists (from metrics where metrics.run = runs.run and key = 'late')",
    "select count(*) from metrics, runs where key = 'it''s' and metrics.run = runs.run",
    (
        "select (select max(value) from metrics where key = 'acc' and run = r.run) from "
        "(select distinct run from metrics where key = 'loss') r"
    ),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An ended run of two attempts, the second of which rewinds the first."""
    place = tmp_path_factory.mktemp("template")
    for attempt in range(2):
        resume = {"resume": "must", "rewind": 15} if attempt else {}
        with steno.init(project="p", name="t", dir=place, config={"seed": 0}, **resume) as run:
            for step in range(15 * attempt, 20):
                run.log({"loss": step + 0.5 + attempt, "acc": step / 20, "it's": 1.0}, step=step, level=1 + step % 3)
            run.log({"odd": "text"}, step=20)
            run.log({"odd": 2**60}, step=21)
    deadline = time.monotonic() + 60
    while cards.look(Path(run.dir)).stamps is None and time.monotonic() < deadline:
        time.sleep(0.05)  # its collector is still at work
    return Path(run.dir)


def age(run_dir: Path) -> None:
    """As if it had ended a minute ago."""
    then = time.time() - 60
    for path in [run_dir, *run_dir.rglob("*")]:
        os.utime(path, (then, then))


def copied(template: Path, place: Path, number: int) -> Path:
    target = place / "p" / f"r{number:02d}"
    shutil.copytree(template, target)
    about = json.loads((target / "run.json").read_text())
    about |= {"name": target.name, "config": {"seed": number % 3}}
    (target / "run.json").write_text(json.dumps(about))
    age(target)
    return target


@pytest.fixture
def place(template, tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    for number in range(MANY):
        copied(template, tmp_path / "runs", number)
    return tmp_path / "runs"


def rows(query: str, place: Path) -> list:
    return sorted(map(repr, sql(query, dir=place).fetchall()))


def test_what_is_kept_is_what_the_files_hold(place, monkeypatch):
    first = {query: rows(query, place) for query in QUERIES}
    again = {query: rows(query, place) for query in QUERIES}
    assert any(name.startswith("points-") for name in os.listdir(cache.cache_dir() / "kept"))
    monkeypatch.setattr(sql_, "FEWEST", 10**9)
    for query in QUERIES:
        plain = rows(query, place)
        assert first[query] == plain, query
        assert again[query] == plain, query
    assert len(first[QUERIES[0]]) == MANY
    assert first[QUERIES[0]][0] == repr(("p/r00", 10.25, 20))


def test_files_of_kept_points_are_not_read_again(place, monkeypatch):
    wanted = rows(QUERIES[0], place)
    read = []
    files = Engine.files
    monkeypatch.setattr(
        Engine, "files", lambda self, run_dir, *some: read.append(run_dir) or files(self, run_dir, *some)
    )
    assert rows(QUERIES[0], place) == wanted
    assert read == []
    assert rows("select run, count(*) from metrics where run in ('p/r01', 'p/r02') group by run", place)
    assert {path.name for path in read} == {"r01", "r02"}


def test_what_changes_is_seen(place, template):
    query = "select run, count(*) from metrics where key = 'loss' group by run"
    assert len(rows(query, place)) == MANY
    shutil.rmtree(place / "p" / "r05")
    copied(template, place, 90)
    (place / "p" / "r06" / "run.json").write_text(json.dumps({"project": "p", "name": "renamed"}))
    found = {row.split("'")[1] for row in rows(query, place)}
    assert found == {f"p/r{number:02d}" for number in (*range(5), *range(7, MANY), 90)} | {"p/renamed"}
    with steno.init(project="p", name="r07", dir=place, resume="must") as run:
        run.log({"loss": 1.0}, step=50)
    assert repr(("p/r07", 21)) in rows(query, place)


def test_a_damaged_file_is_said_and_not_kept(place):
    query = "select run, count(*) from metrics where key = 'loss' group by run"
    part = next((place / "p" / "r09" / "metrics").glob("*.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 255
    part.write_bytes(data)
    age(place / "p" / "r09")
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="damaged"):
            rows(query, place)


def test_a_damaged_cache_is_no_cache(place):
    wanted = rows(QUERIES[1], place)
    kept = [path for path in (cache.cache_dir() / "kept").iterdir() if path.name.startswith(("points-", "sources-"))]
    assert len(kept) == 2
    for path in kept:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    assert rows(QUERIES[1], place) == wanted
    for path in kept:
        path.write_bytes(b"")
    assert rows(QUERIES[1], place) == wanted


def test_without_a_place_for_a_cache_all_is_read(place, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert len(rows(QUERIES[0], place)) == MANY
    assert len(rows(QUERIES[0], place)) == MANY


def test_too_many_points_are_not_kept(place, monkeypatch):
    monkeypatch.setattr(gathered, "_MOST_ROWS", 100)
    assert len(rows(QUERIES[0], place)) == MANY
    assert not any(name.startswith("points-") for name in os.listdir(cache.cache_dir() / "kept"))


@pytest.mark.parametrize(
    ("query", "keys", "runs"),
    [
        ("select value from metrics where key = 'a'", {"a"}, None),
        ("select value from metrics where key in ('a', 'b''c') and run = 'p/x'", {"a", "b'c"}, {"p/x"}),
        ("select 1 from metrics m, metrics n where m.key = 'a' and n.key = 'b'", {"a", "b"}, None),
        ("select 1 from metrics m, metrics n where m.key = 'a'", None, None),
        ("select 1 from metrics where key = ?", {"v"}, None),
        ("select count(*) from metrics where key <> 'a'", None, None),
        ("select count(*) from metrics where not (key = 'a')", None, None),
        ("select count(*) from metrics where key = 'a' and key = 'b'", None, None),
        ("select * from metrics left join runs using (run) where key = 'a'", {"a"}, None),
        ("select * from runs left join (from metrics where key = 'a') using (run)", {"a"}, None),
        ("select * from runs left join metrics on runs.run = metrics.run and key = 'a'", {"a"}, None),
        ("select * from metrics join config using (key)", None, None),
        ("select count(*) from metrics where step > 5 and value is null", None, None),
        (
            "select value from metrics where key = 'a' union all select value from metrics_all where key = 'b'",
            {"a", "b"},
            None,
        ),
        ("from metrics; from metrics where key = 'a'", None, None),
        ("copy (select * from metrics where key = 'a') to '/nonexistent/x'", None, None),
        ("with metrics as (select 'a' as key) select * from metrics where key = 'a'", None, None),
        ("nonsense", None, None),
    ],
)
def test_what_a_query_asks_for(query, keys, runs):
    found = sql_._asked(Engine(), query, ["v"] if "?" in query else None)
    assert found == asked_.QueryScope(
        None if keys is None else frozenset(keys), None if runs is None else frozenset(runs)
    )
