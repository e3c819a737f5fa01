"""A store's parts in an Iceberg catalogue: each exactly once, whoever publishes, and whatever kills it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Barrier, Thread

import pyarrow.parquet as pq
import pytest
from publishers import lossy, publish
from store_runs import Writer

import steno
from object_stores import client, environment, moto_server, objects
from steno.errors import StenoError, UsageError
from steno.publish import catalogue as catalogues
from steno.publish.entering import PartTable
from steno.publish.iceberg import Publisher
from steno.store.stock import stock_of

ROUNDS = 100 if os.environ.get("STENO_LONG_TESTS") else 3
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pyiceberg")


@pytest.fixture
def place(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path}/catalog.db"


def write(place, name="r", batches=3, project="p", **more):
    """A run with a part for each batch of a hundred points."""
    with Writer(place / project / name, format=2, project=project, id=f"ID-{name}", **more) as writer:
        for at in range(batches):
            add(writer, at)
        writer.close()


def add(writer, at):
    writer.log(*[(100 * at + step, {"loss": step / 7}) for step in range(100)], entries=[("note", {"at": at})])
    writer.seal()


def parts(place, kind="metrics"):
    return sorted(f"file://{path}" for path in place.glob(f"*/*/{kind}/*.parquet"))


def table(place, uri, name="metrics"):
    return catalogues.table(catalogues.open_catalogue(uri), name, f"file://{place}")


def files(place, uri, kind="metrics"):
    """Every entry of the table's files, one that is there twice twice."""
    found = table(place, uri, kind).inspect.files()
    return sorted(found["file_path"].to_pylist())


def test_all_parts_are_in_the_tables_and_the_runs_beside(place, uri):
    write(place, "a")
    write(place, "b", project="q ä")
    done = publish(place, uri)
    assert (done.runs, done.entered, done.removed, done.lost, done.left_out) == (2, 12, 0, (), {})
    assert files(place, uri) == parts(place)
    assert files(place, uri, "records") == parts(place, "records")
    found = table(place, uri).scan().to_arrow()
    assert Counter(found["run"].to_pylist()) == {"ID-a": 300, "ID-b": 300}
    assert sum(found["value"].to_pylist()) == pytest.approx(2 * 3 * sum(step / 7 for step in range(100)))
    payloads = table(place, uri, "records").scan().to_arrow()["payload"].to_pylist()
    assert sorted(json.loads(one)["at"] for one in payloads) == [0, 0, 1, 1, 2, 2]
    rows = table(place, uri, "runs").scan().to_arrow().to_pylist()
    assert sorted((row["project"], row["run"], row["place"], row["points"]) for row in rows) == [
        ("p", "ID-a", "p/a", 300),
        ("q ä", "ID-b", "q ä/b", 300),
    ]
    again = publish(place, uri)
    assert (again.runs, again.entered, again.removed) == (2, 0, 0)
    assert len(table(place, uri).snapshots()) == len(table(place, uri, "runs").snapshots()) == 1


def test_a_table_says_what_engines_need_to_know(place, uri):
    write(place)
    publish(place, uri)
    for name in ("metrics", "records"):
        one = table(place, uri, name)
        assert one.location() == f"file://{place}"
        assert one.metadata_location.startswith(f"file://{place}/_iceberg/{name}/")
        assert [field.name for field in one.spec().fields] == ["project", "bucket"]
        assert one.properties["gc.enabled"] == "false"
        assert one.properties["commit.retry.num-retries"] == "0"
        (path, *_) = files(place, uri, name)
        in_part = {field.name: int(field.metadata[b"PARQUET:field_id"]) for field in pq.read_schema(path[7:])}
        assert {field.name: field.field_id for field in one.schema().fields} == in_part


def test_only_the_partition_of_a_run_is_read(place, uri):
    from pyiceberg.expressions import EqualTo

    for name in "abcdef":
        write(place, name, batches=1)
    publish(place, uri)
    found = table(place, uri).scan().to_arrow()
    buckets = dict(zip(found["run"].to_pylist(), found["bucket"].to_pylist(), strict=True))
    scan = table(place, uri).scan(row_filter=EqualTo("bucket", buckets["ID-a"]))
    assert len(list(scan.plan_files())) == Counter(buckets.values())[buckets["ID-a"]]


def test_parts_that_a_larger_one_replaced_leave_as_it_comes(place, uri):
    write(place, batches=4)
    publish(place, uri)
    before = files(place, uri)
    with Writer(place / "p" / "r") as writer:
        writer.finish()
    assert len(parts(place)) == 1
    assert not set(parts(place)) & set(before)
    done = publish(place, uri)
    assert (done.entered, done.removed, done.lost) == (2, 8, ())
    assert files(place, uri) == parts(place)
    assert table(place, uri).scan().count() == 400


def test_a_part_that_was_replaced_while_another_published_is_not_entered(place, uri):
    """Two publishers: the one looks, the parts are merged, the other publishes, then the first goes on."""
    write(place, batches=4)
    first = Publisher(stock_of(place), catalogues.open_catalogue(uri), repair=False)
    load = first._load
    asked = []

    def slow(name):
        found = load(name)
        asked.append(name)
        if asked.count("metrics") == 2:  # it has looked, and loads the table to commit
            with Writer(place / "p" / "r") as writer:
                writer.finish()
            publish(place, uri)
            found = load(name)
        return found

    first._load = slow
    first.publish()
    assert files(place, uri) == parts(place)
    assert table(place, uri).scan().count() == 400


def test_what_is_gone_is_said_and_taken_out_when_asked(place, uri):
    write(place, "a")
    write(place, "b")
    publish(place, uri)
    gone = parts(place)[0]
    os.unlink(gone[7:])
    shutil.rmtree(place / "p" / "b")
    done = publish(place, uri)
    assert gone in done.lost
    assert len(done.lost) == 1 + 6
    assert len(files(place, uri)) == 6
    repaired = Publisher(stock_of(place), catalogues.open_catalogue(uri), repair=True).publish()
    assert (repaired.entered, repaired.removed, repaired.lost) == (0, 7, ())
    assert files(place, uri) == parts(place)
    assert table(place, uri).scan().count() == 200
    assert [row["place"] for row in table(place, uri, "runs").scan().to_arrow().to_pylist()] == ["p/a"]


def test_an_answer_that_is_lost_is_no_second_entry(place, uri):
    write(place)
    publisher = Publisher(stock_of(place), lossy(uri, then=[True, True, True]), repair=False)
    publisher.publish()
    assert files(place, uri) == parts(place)
    assert table(place, uri).scan().count() == 300
    assert len(table(place, uri, "runs").scan().to_arrow()) == 1


def test_a_publisher_that_dies_after_its_commit_leaves_the_rest_to_the_next(place, uri):
    write(place)
    catalogues.table(catalogues.open_catalogue(uri), "metrics", f"file://{place}")
    with crew(place, uri, 1) as (child,):
        say(child, "killed")
        assert child.wait(60) == -signal.SIGKILL
    assert files(place, uri) == parts(place)
    done = publish(place, uri)
    assert done.entered == 3  # entries
    assert files(place, uri) == parts(place)
    assert files(place, uri, "records") == parts(place, "records")


@contextmanager
def crew(place, uri, number):
    """Processes that publish when they are told to."""
    program = [sys.executable, str(Path(__file__).with_name("publishers.py")), str(place), uri]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    found = [subprocess.Popen(program, **pipes) for _ in range(number)]
    try:
        yield found
    finally:
        for one in found:
            one.kill()
            one.wait()
            for pipe in (one.stdin, one.stdout):
                with suppress(BrokenPipeError):
                    pipe.close()


def say(one, manner):
    one.stdin.write(f"{manner}\n")
    one.stdin.flush()


@pytest.mark.timeout(3600 if ROUNDS > 10 else 300)
def test_four_publishers_at_once_enter_each_part_once(place, uri):
    """Round by round, one of them losing the answers to its commits, and a fifth one killed after its commit."""
    with crew(place, uri, 4) as four, Writer(place / "p" / "r", format=2) as writer, ExitStack() as others:
        dying = others.enter_context(crew(place, uri, 1))
        for at in range(ROUNDS):
            add(writer, 2 * at)
            add(writer, 2 * at + 1)
            if at % 3 == 1:
                say(dying[0], "killed")
            for number, one in enumerate(four):
                say(one, "lossy" if (number + at) % 4 == 0 else "plain")
            for one in four:
                assert one.stdout.readline() == "done\n"
            if at % 3 == 1:
                dying[0].stdin.close()
                assert dying[0].wait(60) in {0, -signal.SIGKILL}
                dying = others.enter_context(crew(place, uri, 1))
            assert files(place, uri) == parts(place)
            assert files(place, uri, "records") == parts(place, "records")
    assert table(place, uri).scan().count() == 200 * ROUNDS
    assert len(table(place, uri, "runs").scan().to_arrow()) == 1


def test_a_new_catalogue_is_made_by_several_publishers_at_the_same_time(place, tmp_path):
    def make(uri):
        met.wait()
        catalogue = catalogues.open_catalogue(uri)
        met.wait()
        return [str(catalogues.table(catalogue, name, f"file://{place}").location()) for name in ("metrics", "runs")]

    met = Barrier(6, timeout=60)
    with ThreadPoolExecutor(6) as pool:
        for at in range(8):
            made = list(pool.map(make, [f"sqlite:///{tmp_path}/{at}.db"] * 6))
            assert made == [[f"file://{place}"] * 2] * 6


def test_a_name_that_engines_cannot_read_is_left_out_and_said(place, uri):
    write(place, "a")
    write(place, "b#1")
    done = publish(place, uri)
    assert list(done.left_out) == ["p/b#1"]
    assert len(files(place, uri)) == 3


def test_a_catalogue_is_of_one_store(place, uri, tmp_path):
    write(place)
    publish(place, uri)
    (tmp_path / "others").mkdir()
    with pytest.raises(StenoError, match="a catalogue is for one store"):
        publish(tmp_path / "others", uri)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("catalog.db", "a URI is needed"),
        ("sqlite:////nowhere/at/all/c.db", "cannot be opened"),
        ("", "a URI is needed"),
    ],
)
def test_a_catalogue_that_is_none(given, said):
    with pytest.raises(UsageError, match=said):
        catalogues.open_catalogue(given)


class _Refusing(BaseHTTPRequestHandler):
    """A REST catalogue that gives tables their places itself, as lakana-server 0.20 does."""

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self):
        if self.path.startswith("/v1/config"):
            self._answer(200, {"defaults": {}, "overrides": {}})
        else:
            self._answer(404, {"error": {"message": "no such table", "type": "NoSuchTableException", "code": 404}})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/tables"):
            error = {"message": "table locations are assigned; do not supply one", "type": "ValidationError"}
            self._answer(422, {"error": {**error, "code": 422}})
        else:
            self._answer(200, {"namespace": ["steno"], "properties": {}})

    def log_message(self, *_):
        pass


def test_a_catalogue_that_refuses_a_tables_place_is_one_error(place):
    write(place)
    with HTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(StenoError, match="refuses the table steno.metrics at .*do not supply one"):
                publish(place, f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


def test_a_place_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="there is no directory"):
        stock_of(tmp_path / "nowhere")


def test_the_table_is_read_once_for_each_manifest(place, uri):
    write(place)
    publish(place, uri)
    one = PartTable(lambda: table(place, uri))
    first = one.held()
    assert one.held()[parts(place)[0]] is first[parts(place)[0]]


def test_a_store_is_published_as_the_runs_that_it_was_sent_from(tmp_path, uri):
    """The real way: a run with a store, ended; its parts in the store are entered, and its own machine's are not."""
    store = tmp_path / "store"
    with steno.init(project="p", name="r", dir=tmp_path / "own", store=f"file://{store}", destinations=[]) as run:
        for step in range(500):
            run.log({"loss": step / 7}, step=step)
        assert run.finish(60)
    done = publish(f"file://{store}", uri)
    assert done.runs == 1
    assert files(store, uri) == parts(store)
    assert table(store, uri).scan().count() == 500
    (row,) = table(store, uri, "runs").scan().to_arrow().to_pylist()
    assert (row["state"], row["points"]) == ("finished", 500)
    assert publish(f"file://{store}", uri).entered == 0


def test_a_store_in_s3(tmp_path, uri, monkeypatch):
    """A real S3 API, of which pyiceberg learns as the rest of steno does."""
    with moto_server() as port:
        for name, value in environment(f"http://127.0.0.1:{port}").items():
            monkeypatch.setenv(name, value)
        client(port).create_bucket(Bucket="bucket")
        with steno.init(project="p", name="r", dir=tmp_path / "own", store="s3://bucket/x", destinations=[]) as run:
            for step in range(500):
                run.log({"loss": step / 7}, step=step)
            assert run.finish(60)
        counts = [json.loads(said("publish", "s3://bucket/x", "--catalog", uri, "--json"))["entered"] for _ in range(2)]
        assert counts == [2, 0]
        steps = said(program=READ, given=[uri, "s3://bucket/x"])
        assert sorted(map(int, steps.split())) == list(range(500))
        names = sorted(objects(client(port), "bucket"))
        assert any(name.startswith("x/_iceberg/metrics/") for name in names)
        assert sum(name.startswith("x/p/r/metrics/") and name.endswith(".parquet") for name in names) == 1


READ = """
import sys
from steno.publish import catalogue
uri, root = sys.argv[1:]
print(*catalogue.table(catalogue.open_catalogue(uri), "metrics", root).scan().to_arrow()["step"].to_pylist())
"""


def said(*command, program="", given=()):
    """What a command of steno prints, or a program: in a process of its own, for AWS's library keeps files open."""
    called = ["-c", program, *given] if program else ["-m", "steno", *command]
    done = subprocess.run([sys.executable, *called], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
