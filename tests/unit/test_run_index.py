"""Lists of runs from cards and from the index in the user's cache directory: always what the runs themselves say."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest
from run_programs import put_away

import steno
from steno.ledger import card, read
from steno.store import cache, cards

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    found = tmp_path_factory.mktemp("cache")
    monkeypatch.delenv("STENO_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(found))
    return found


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    where = tmp_path_factory.mktemp("runs")
    for number in range(6):
        run = steno.init(project="p", name=f"r{number}", dir=where, config={"lr": 0.1 * number}, tags=[str(number)])
        for step in range(4):
            run.log({"val/acc": number / 10 + step / 100, f"only{number}": float(step)}, step)
        run.summary["best"] = number
        assert run.finish(60)
        put_away(run.dir)
    return where


@pytest.fixture
def place(recorded, tmp_path):
    """A copy that was changed long ago, as most runs were."""
    where = tmp_path / "runs"
    shutil.copytree(recorded, where)
    for folder, _, names in os.walk(where, topdown=False):
        for name in (*names, "."):
            os.utime(os.path.join(folder, name), (time.time() - 100, time.time() - 100))
    return where


def lines(found):
    return [(one.path.name, one.state, one.name, one.started, one.ended, one.records, one.points, one.attempts, one.tags,
             dict(one.config), dict(one.summary), one.notes, one.archived, one.problem) for one in found]  # fmt: skip


def index_of(home: Path) -> list[Path]:
    return list((home / "steno" / "kept").glob("runs-*"))


def test_an_ended_run_is_read_without_sqlite_and_as_its_ledger_has_it(place, monkeypatch):
    by_ledger = [cards._of_ledger(path, *cards._run_json(path, [])) for path in sorted((place / "p").iterdir())]
    monkeypatch.setattr(sqlite3, "connect", lambda *_, **__: pytest.fail("a ledger was opened"))
    monkeypatch.setattr(read, "read_manifest", lambda *_: pytest.fail("a manifest was read"))
    for _ in range(3):
        assert sorted(lines(steno.runs(place))) == sorted(lines(by_ledger))
    assert [dict(one.metrics)["val/acc"]["max"] for one in steno.runs(place, sort="name")] == [
        pytest.approx(number / 10 + 0.03) for number in range(6)
    ]


def test_metrics_are_those_of_the_reader(place):
    for one in steno.runs(place):
        with steno.open(one.path) as reader:
            assert dict(one.metrics) == reader.summary


def test_the_second_call_reads_no_run(place, home, monkeypatch):
    first = lines(steno.runs(place))
    assert len(index_of(home)) == 1
    assert (home / "steno" / "kept").stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(cards, "look", lambda path: pytest.fail(f"{path} was read"))
    assert lines(steno.runs(place)) == first
    assert lines(steno.runs(place, limit=2)) == first[:2]


def change_run_json(run_dir):
    path = run_dir / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "notes": "changed"}))


def change_in_place_of_the_same_size_and_time(run_dir):
    path = run_dir / "run.json"
    old = path.stat()
    hidden = run_dir / "other"
    hidden.write_bytes(path.read_bytes().replace(b'"r', b'"x', 1))
    os.replace(hidden, path)
    os.utime(path, ns=(old.st_mtime_ns, old.st_mtime_ns))


def edit(run_dir):
    with steno.open(run_dir) as reader:
        reader.edit(notes="edited")


def edit_again(run_dir):
    edit(run_dir)
    steno.runs(run_dir.parent.parent)
    with steno.open(run_dir) as reader:
        reader.edit(notes="edited again")


def go_on(run_dir):
    run = steno.init(project="p", name=run_dir.name, dir=run_dir.parent.parent, resume=True)
    run.log({"val/acc": 7.0})
    assert run.flush(60)
    assert next(one for one in steno.runs(run_dir.parent.parent) if one.path == run_dir).state == "running"
    assert run.finish(30)


def lose(run_dir):
    shutil.rmtree(run_dir)


def damage(run_dir):
    path = next(run_dir.glob("card-*.json"))
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize(
    "change", [change_run_json, change_in_place_of_the_same_size_and_time, edit, edit_again, go_on, lose, damage]
)
def test_whatever_changes_a_run_changes_the_list(place, change):
    steno.runs(place)
    change(place / "p" / "r3")
    found = lines(steno.runs(place))
    assert found == lines(sorted(map(cards.summarise, (place / "p").iterdir()), key=lambda one: -one.started))
    assert found == lines(steno.runs(place))


def test_a_file_that_is_young_is_read_again(place, home, monkeypatch):
    (place / "p" / "r0" / "run.json").touch()
    steno.runs(place)
    read_again = []
    look = cards.look
    monkeypatch.setattr(cards, "look", lambda path: read_again.append(path.name) or look(path))
    steno.runs(place)
    assert read_again == ["r0"]


@pytest.mark.parametrize("harm", ["torn", "noise", "open to others", "a link", "no home", "unwritable"])
def test_an_index_that_cannot_be_had_costs_time_alone(place, home, tmp_path, monkeypatch, harm):
    wanted = lines(steno.runs(place))
    kept, index = home / "steno" / "kept", index_of(home)[0]
    if harm == "torn":
        index.write_bytes(index.read_bytes()[:-20])
    elif harm == "noise":
        index.write_bytes(os.urandom(1000))
    elif harm == "open to others":
        kept.chmod(0o777)
        assert cache.get(index.name) is None
    elif harm == "a link":
        index.rename(tmp_path / "elsewhere")
        index.symlink_to(tmp_path / "elsewhere")
        assert cache.get(index.name) is None
    elif harm == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    else:
        shutil.rmtree(home / "steno")
        (home / "steno").write_text("a file is in the way")
    assert lines(steno.runs(place)) == wanted


def test_the_cache_is_bounded_and_what_was_used_last_stays(home, monkeypatch):
    monkeypatch.setattr(cache, "MOST_BYTES", 2500)
    for number in range(4):
        cache.put(f"one{number}", bytes(1000))
        os.utime(home / "steno" / "kept" / f"one{number}", (number, number))
    cache.put("last", bytes(10))
    assert cache.get("last") == bytes(10)
    assert cache.get("one0") is cache.get("one1") is None
    assert cache.get("one3") == bytes(1000)


def test_the_last_few_runs_are_found_without_reading_all(place, monkeypatch):
    for number, path in enumerate(sorted((place / "p").iterdir())):
        os.utime(path, (time.time() - 100_000 * (10 - number),) * 2)
        harm = next(path.glob("card-*.json"))
        facts = json.loads(harm.read_bytes())
        del facts["crc"]
        harm.write_bytes(
            card.encode({**facts, "started": (time.time_ns() // 10**9 - 100_000 * (10 - number) - 50) * 10**9})
        )
        os.utime(path, (time.time() - 100_000 * (10 - number),) * 2)
    wanted = [one.name for one in steno.runs(place)]
    assert wanted == ["r5", "r4", "r3", "r2", "r1", "r0"]
    seen = []
    look = cards.look
    monkeypatch.setattr(cards, "look", lambda path: seen.append(path.name) or look(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(place.parent / "none"))
    assert [one.name for one in steno.runs(place, limit=2)] == wanted[:2]
    assert seen == ["r5", "r4"]
    assert steno.runs(place, limit=0) == []
    with steno.open(place / "p" / "r5") as reader:
        reader.edit(archived=True)
    assert [one.name for one in steno.runs(place, limit=2)] == wanted[1:3]
    assert [one.name for one in steno.runs(place, limit=2, archived=True)] == wanted[:2]


def test_runs_with_too_large_a_configuration_have_it_whole(tmp_path):
    config = {f"c{number}": "x" * 1000 for number in range(50)}
    run = steno.init(project="p", name="r", dir=tmp_path, config=config)
    run.log({"x": 1.0})
    assert run.finish(30)
    deadline = time.monotonic() + 60
    while not any(one.ended for one in card.read(run.dir).values()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for _ in range(2):
        assert steno.runs(tmp_path)[0].config == config
