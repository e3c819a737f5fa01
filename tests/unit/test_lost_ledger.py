"""A ledger that begins below what others know of the run: a loss, counted, noted and said."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import run_programs

import steno
from nodes import node_dir
from steno.collector import ledgers
from steno.collector.catalogue import claim
from steno.collector.known import known
from steno.collector.ledgers import Expectation
from steno.ledger import cursors, schema
from steno.ledger.fence import Superseded
from steno.ledger.post import Poster
from steno.ledger.read import Reader
from steno.ledger.snapshot import LOST_LEDGER, Loss
from steno.record import node_name

pytestmark = pytest.mark.usefixtures("kept_ledger")

RECORDS = 300


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    run_programs.no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run_dir(tmp_path):
    """A run that has ended, everything posted, and whose ledger is gone."""
    with steno.init(project="p", name="r", dir=tmp_path, destinations=["csv", "jsonl"]) as run:
        for number in range(RECORDS):
            run.log({"n": number})
        assert run.flush(60)
    steno.sync(run.dir)
    for path in node_dir(run.dir).glob("ledger.sqlite*"):
        path.unlink()
    return run.dir


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "steno", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=run_programs.environment(),
    )


def _forget(run_dir, *kept: str) -> None:
    """Remove everything that knows of the records but what is kept."""
    for name in ("metrics", "records"):
        if name not in kept:
            shutil.rmtree(run_dir / name, ignore_errors=True)
    node = node_dir(run_dir)
    places = (
        *node.glob("*.json*"),
        *run_dir.glob("metrics*.csv"),
        run_dir / "metrics.jsonl",
        run_dir / "manifest.json",
    )
    for path in places:
        if path.name not in {"node.json", *kept}:
            path.unlink(missing_ok=True)


@pytest.mark.parametrize("witness", ["status.json", "metrics.csv", "metrics.jsonl", "parts.jsonl", "manifest.json"])
def test_whoever_knows_of_the_records_is_a_witness(run_dir, witness):
    _forget(run_dir, witness)
    assert steno.sync(run_dir, timeout=30).error == ""
    with steno.open(run_dir) as book:
        (loss,) = [one for one in book.info.losses if one.kind == LOST_LEDGER]
        assert RECORDS <= loss.count <= RECORDS + 3
        assert witness in loss.reason or "parts" in loss.reason or "metrics/" in loss.reason
        assert book.info.state == "crashed"
        (note,) = book.records("note")
        assert note.payload["records"] == loss.count
        assert note.record > RECORDS
    (log,) = node_dir(run_dir).glob("collector.log")
    assert "records are lost" in log.read_text()
    doctor = command("doctor", str(run_dir))
    assert doctor.returncode == 1
    assert "lost ledger" in doctor.stdout
    assert "all is well" not in doctor.stdout
    assert json.loads(command("doctor", str(run_dir), "--json").stdout)["damage"]
    sql = command("sql", "select count(*) from metrics", "--run", str(run_dir))
    assert sql.returncode == 1
    assert "lost ledger" in sql.stderr


def test_before_anybody_looks_the_ledger_is_said_to_be_gone(run_dir):
    _forget(run_dir, "status.json")
    assert command("doctor", str(run_dir)).returncode == 1
    done = command("sql", "select count(*) from metrics", "--run", str(run_dir), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"count_star()": 0}
    assert "the ledger is gone" in done.stderr


def test_what_parts_have_is_no_loss_and_the_rest_is(run_dir):
    with steno.open(run_dir) as book:
        assert len(book.series("n").value) == RECORDS
    assert steno.sync(run_dir).complete
    with steno.open(run_dir) as book:
        assert len(book.series("n").value) == RECORDS
        assert [loss for loss in book.info.losses if loss.kind == LOST_LEDGER] == []
        assert [note.payload["lost_ledger"] for note in book.records("note")]
    # Nothing that was recorded is lost, but its end is not known any more.
    assert command("doctor", str(run_dir)).returncode == 0


def test_a_run_that_goes_on_takes_no_number_anew(run_dir, tmp_path):
    _forget(run_dir, "status.json", "metrics.csv")
    before = (run_dir / "metrics.csv").read_text()
    with steno.init(project="p", name="r", dir=tmp_path, resume=True) as run:
        for number in range(10):
            run.log({"n": 1000 + number})
        assert run.finish(60)
    with steno.open(run_dir) as book:
        found = book.series("n")
        assert found.value.tolist() == [1000.0 + number for number in range(10)]
        assert found.step.tolist() == list(range(RECORDS, RECORDS + 10))
        assert min(record for batch in book.batches() for record in batch.record.tolist()) > RECORDS
    after = (run_dir / "metrics.csv").read_text()
    assert after.startswith(before)
    assert after.count("\n") == before.count("\n") + 10


def test_a_ledger_that_is_older_than_what_is_known_is_a_loss_too(run_dir, tmp_path):
    with steno.init(project="p", name="r", dir=tmp_path, resume=True) as run:
        assert run.flush(60)
        kept = {path.name: path.read_bytes() for path in node_dir(run_dir).glob("ledger.sqlite*")}
        for number in range(50):
            run.log({"n": number})
        assert run.finish(60)
    steno.sync(run_dir)
    for path in node_dir(run_dir).glob("ledger.sqlite*"):
        path.unlink()
    for name, data in kept.items():
        if not name.endswith("-shm"):
            (node_dir(run_dir) / name).write_bytes(data)
    shutil.rmtree(run_dir / "metrics")
    steno.sync(run_dir)
    with steno.open(run_dir) as book:
        (loss,) = [one for one in book.info.losses if one.kind == LOST_LEDGER]
        assert 50 <= loss.count <= 53
    steno.sync(run_dir)
    with steno.open(run_dir) as book:
        assert [one.count for one in book.info.losses if one.kind == LOST_LEDGER] == [loss.count]


def test_a_loss_is_noted_although_nothing_else_keeps_the_collector(tmp_path):
    with steno.init(project="p", name="r", dir=tmp_path) as run:
        run.log({"n": 0})
        assert run.flush(60)
        kept = {path: path.read_bytes() for path in node_dir(run.dir).glob("ledger.sqlite*")}
        for number in range(50):
            run.log({"n": number})
        assert run.finish(60)
    steno.sync(run.dir)
    for path in node_dir(run.dir).glob("ledger.sqlite*"):
        path.unlink()
    for path, data in kept.items():
        if not path.name.endswith("-shm"):
            path.write_bytes(data)
    shutil.rmtree(run.dir / "metrics")
    assert steno.sync(run.dir).complete
    with steno.open(run.dir) as book:
        (loss,) = [one for one in book.info.losses if one.kind == LOST_LEDGER]
        (note,) = book.records("note")
    assert note.payload["records"] == loss.count >= 50


def test_a_sound_run_has_nothing_of_it(tmp_path):
    with steno.init(project="p", name="r", dir=tmp_path, destinations=["csv"]) as run:
        run.log({"n": 1})
    steno.sync(run.dir)
    steno.sync(run.dir)
    assert known(run.dir, claim(run.dir)).record == 3
    with steno.open(run.dir) as book:
        assert book.info.losses == ()
        assert book.records("note") == []
        assert book.info.state == "finished"
    assert command("doctor", str(run.dir)).returncode == 0
    assert command("sql", "select 1", "--run", str(run.dir)).returncode == 0


def test_other_nodes_files_are_no_witnesses(tmp_path):
    run_dir = tmp_path / "p" / "r"
    (run_dir / ".steno").mkdir(parents=True)
    (run_dir / "run.json").write_text("{}")
    (run_dir / f"metrics-node-{node_name(1)}.csv").write_text("record,step,time,rank,attempt,n\n7,0,t,0,1,1.0\n")
    (run_dir / "metrics.csv").write_text("record\n7,torn")
    assert known(run_dir, claim(run_dir)).record == 0


def test_a_poster_that_another_one_has_followed_posts_nothing(tmp_path):
    first = Poster(schema.begin(tmp_path / "ledger.sqlite", 0), 0)
    second = Poster(schema.begin(tmp_path / "ledger.sqlite", 0), 0)
    second.note(said="second")
    second.post([])
    first.note(said="first")
    with pytest.raises(Superseded):
        first.post([])
    with pytest.raises(Superseded):
        first.end_stream("s")
    second.note(said="again")
    assert second.post([]) is not None
    count = second.connection.execute("select count(*) from entries").fetchone()[0]
    assert count == 2
    for one in (first, second):
        one.connection.close()


def test_a_destination_goes_on_behind_batches_that_are_lost(tmp_path):
    node = node_dir(tmp_path, 0)
    node.mkdir(parents=True)
    poster = Poster(schema.begin(node / "ledger.sqlite", 0), 0)
    poster.note(said="one")
    poster.post([])
    poster.skip_to(100, 50, {}, Loss(0, LOST_LEDGER, "node", 98, "why"), said="two")
    reader = Reader(tmp_path)
    assert [reader.next_batch(0, number).id for number in (1, 2, 49, 50)] == [1, 50, 50, 50]
    assert reader.next_batch(0, 51) is None
    assert reader.batch(0, 2) is None
    assert cursors.load(poster.connection, "none") == {}
    poster.connection.close()
    assert os.path.exists(node / "ledger.sqlite")


def test_a_run_whose_machinery_was_removed_goes_on_behind_its_parts(run_dir, tmp_path):
    """A new ledger is a new node: the parts of the one that is gone are read on, and its files are left as they are."""
    before = (run_dir / "metrics.csv").read_text()
    old = {path.name for path in (run_dir / "metrics").glob("*.parquet")}
    shutil.rmtree(run_dir / ".steno")
    for turn in range(2):
        with steno.init(project="p", name="r", dir=tmp_path, resume=True, destinations=["csv"]) as run:
            run.log({"n": 1000 + turn})
            with steno.open(run_dir) as book:  # while it goes on too
                assert len(book.series("n")) >= RECORDS
            assert run.finish(60)
        steno.sync(run_dir)
        with steno.open(run_dir) as book:
            series = book.series("n")
            assert sorted(series.value.tolist()) == [*range(RECORDS), *range(1000, 1001 + turn)]
            assert len(set(zip(series.node.tolist(), series.record.tolist(), strict=True))) == len(series)
            assert book.info.losses == ()
            assert book.info.state == "finished"
            assert book.summary["n"]["count"] == len(series)
            assert book.sql("select count(*) from metrics").fetchall() == [(len(series),)]
        assert old <= {path.name for path in (run_dir / "metrics").glob("*.parquet")}
    assert (run_dir / "metrics.csv").read_text() == before
    (mine,) = run_dir.glob("metrics-node-*.csv")
    assert mine.read_text().count("\n") == 3
    shutil.rmtree(run_dir / ".steno")  # and by the manifest alone
    with steno.open(run_dir) as book:
        assert len(book.series("n")) == RECORDS + 2


@pytest.mark.parametrize("is_judged", [False, True])
def test_whenever_a_collector_dies_as_it_finds_a_loss_the_next_one_tells_it_once_and_nobody_waits(tmp_path, is_judged):
    """Killed before each statement in turn: numbers that are left out and of which nothing is told are waited for."""
    run_dir = tmp_path / "p" / "r"
    (run_dir / ".steno").mkdir(parents=True)
    (run_dir / "run.json").write_text("{}")
    (run_dir / "metrics.csv").write_text(f"record,n\n{RECORDS},1.0\n")
    node = claim(run_dir)

    def find(statements: int) -> None:
        """Find the loss, and die before that statement."""
        connection = schema.begin(node.ledger, node.number)
        poster = Poster(connection, node.number)
        expected = Expectation(run_dir, node, poster, poster.lock, lambda *_: None)
        left = itertools.count(statements, -1)
        connection.set_trace_callback(lambda _: next(left) > 0 or os.kill(os.getpid(), signal.SIGKILL))
        if is_judged:
            expected.judge()
        else:
            expected.begin()
        os._exit(0)

    for statements in range(100):
        for path in node.ledger.parent.glob("ledger.sqlite*"):
            path.unlink()
        if (child := os.fork()) == 0:
            find(statements)
        died = os.waitpid(child, 0)[1]
        poster = Poster(ledgers.begin(node), node.number)
        expected = Expectation(run_dir, node, poster, poster.lock, lambda *_: None)
        expected.begin()
        if expected.open:
            expected.judge()
        fetch = poster.connection.execute
        assert fetch("select kind, count from losses").fetchall() == [(LOST_LEDGER, RECORDS)]
        notes = [json.loads(text)["records"] for (text,) in fetch("select payload from entries")]
        assert notes == [RECORDS]
        assert fetch("select id, last from batches").fetchall() == [(poster.next_batch - 1, poster.next_record - 1)]
        poster.connection.close()
        if not died:
            break
    assert statements > 5
