"""The collector's side: names judged in order, content stored once, taken up where the last collector died."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
import time

import pytest

from nodes import node_dir
from steno import files, host
from steno.artifacts import content, index
from steno.artifacts.content import DirectoryFile, Manifest
from steno.artifacts.index import IndexReader, IndexWriter
from steno.collector import artifacts as artifacts_
from steno.collector.artifacts import ArtifactKeeper
from steno.collector.catalogue import Node
from steno.ledger import artifacts as table
from steno.ledger import schema
from steno.ledger.incoming import Own
from steno.ledger.post import Poster
from steno.record import ARTIFACT, Entry, node_name
from steno.store.artifacts import index_artifacts

STREAM = "elsewhere-1-abcdef01"


class Place:
    """A run with a ledger, and a collector's artifacts over it that can be killed and begun again."""

    def __init__(self, tmp_path):
        self.run_dir = tmp_path / "run"
        self.node = Node(0, node_dir(self.run_dir, 0), node_dir(self.run_dir, 0) / "ledger.sqlite")
        self.node.dir.mkdir(parents=True)
        self.staging = self.run_dir / content.STAGING / STREAM
        self.staging.mkdir(parents=True)
        self.said = []
        self.numbers = itertools.count(1)
        self.connection = None
        self.begin()

    def begin(self):
        if self.connection is not None:
            self.artifacts.close()
            self.connection.close()
        self.connection = schema.begin(self.node.ledger, 0)
        self.poster = Poster(self.connection, 0)
        say = lambda key, message: self.said.append(message)  # noqa: E731
        self.artifacts = ArtifactKeeper(self.run_dir, self.node, self.connection, self.poster, say)

    def post(self, *payloads, step=None, attempt=1):
        """Entries as a process journals them."""
        for payload in payloads:
            self.poster.add(Own(ARTIFACT, payload, step, 0, attempt))
        batch = self.poster.post([])
        self.artifacts.posted(batch)

    def file(self, name, data=b"data", **more):
        number = next(self.numbers)
        (self.staging / f"{number}").write_bytes(data)
        place = f"{content.STAGING}/{STREAM}/{number}"
        return {"op": "file", "id": f"{STREAM}/{number}", "name": name, "file": place, "size": len(data), **more}

    def link(self, name, target, **more):
        id = f"{STREAM}/{next(self.numbers)}"
        return {"op": "link", "id": id, "name": name, "target": target, "overwrite": True, **more}

    def settle(self):
        """Go on until all has an outcome in the ledger, which is synced."""
        deadline = time.monotonic() + 60
        while self.artifacts.waiting and time.monotonic() < deadline:
            self.artifacts.add_outcomes()
            self.artifacts.posted(self.poster.post([]))
            time.sleep(0.002)
        assert not self.artifacts.waiting
        self.artifacts.release(self.poster.generation)

    def entries(self):
        rows = self.connection.execute("select record, time, step, rank, attempt, kind, payload from entries")
        return [Entry(*row[:6], json.loads(row[6])) for row in rows if row[5] == ARTIFACT]

    def outcomes(self):
        return [one.payload for one in self.entries() if one.payload["op"] in table.OUTCOMES]

    def index(self):
        return index_artifacts(self.run_dir, self.entries(), [])

    def contents(self):
        return sorted(path.read_bytes() for path in (self.run_dir / "artifacts").rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.artifacts.close()
    made.connection.close()


def test_content_is_stored_once_and_the_snapshots_go(place):
    place.post(place.file("a"), place.file("b"), place.file("c", b"other"))
    place.settle()
    assert place.contents() == [b"data", b"other"]
    assert os.listdir(place.staging) == []
    assert [one["digest"] for one in place.outcomes() if one["name"] == "a"] == [hashlib.sha256(b"data").hexdigest()]
    assert place.artifacts.health()["duplicates"] == 1


def test_a_snapshot_stays_until_its_outcome_is_synced(place):
    place.post(place.file("a"))
    deadline = time.monotonic() + 60
    while place.artifacts.waiting and time.monotonic() < deadline:
        place.artifacts.add_outcomes()
        place.artifacts.posted(place.poster.post([]))
    place.artifacts.release(place.poster.generation - 1)
    assert os.listdir(place.staging) == ["1"]
    place.artifacts.sweep([], now=True)
    assert os.listdir(place.staging) == ["1"]
    place.artifacts.release(place.poster.generation)
    assert os.listdir(place.staging) == []


@pytest.mark.parametrize("kill", range(4))
def test_a_collector_that_dies_anywhere_is_succeeded(place, kill):
    place.post(place.file("a", b"one"), place.file("b", b"two"), place.link("latest", "b"))
    if kill >= 1:
        deadline = time.monotonic() + 60
        while place.artifacts.done < 2 and time.monotonic() < deadline:
            time.sleep(0.002)
    if kill >= 2:
        place.artifacts.add_outcomes()
        place.poster.post([])  # and dies before it tells anybody
    if kill >= 3:
        place.begin()
    place.begin()
    place.settle()
    assert sorted(one["op"] for one in place.outcomes()) == ["linked", "stored", "stored"]
    assert place.contents() == [b"one", b"two"]
    assert place.index().find("latest").path.read_bytes() == b"two"
    lines = []
    IndexReader(place.run_dir, lines.append).look()
    assert {line["id"] for line in lines if "digest" in line or "linked" in line} == {
        f"{STREAM}/{number}" for number in (1, 2, 3)
    }


def test_names_are_judged_in_order_of_record(place):
    first, second, third = place.file("a", b"1"), place.file("a", b"2"), place.file("a", b"3", overwrite=True)
    place.post(first, second, third)
    place.settle()
    came = {one["id"]: one for one in place.outcomes()}
    assert came[second["id"]]["error"] == "FileExistsError"
    assert [one.path.read_bytes() for one in place.index().find("a").versions] == [b"1", b"3"]
    assert place.contents() == [b"1", b"3"]
    assert os.listdir(place.staging) == []


def test_links_are_judged_published_and_refused(place):
    place.post(
        place.link("early", "a"),
        place.file("a", b"1"),
        place.link("one", "a"),
        place.link("two", "one"),
        place.link("a", "two"),
        place.link("one", "a", overwrite=False),
        place.link("self", "self"),
    )
    place.settle()
    errors = [one.get("error") for one in sorted(place.outcomes(), key=lambda one: int(one["id"].rpartition("/")[2]))]
    assert errors == ["FileNotFoundError", None, None, None, "UsageError", "FileExistsError", "UsageError"]
    assert place.index().find("two").path.read_bytes() == b"1"
    order = [one["op"] for one in place.outcomes() if one["op"] != "failed"]
    assert order == ["stored", "linked", "linked"]


def test_a_lost_snapshot_is_told_with_the_aliases_that_were_to_mean_it(place):
    gone, alias = place.file("a"), place.link("latest", "a")
    (place.run_dir / gone["file"]).unlink()
    place.post(gone, alias)
    place.settle()
    assert [one["error"] for one in place.outcomes()] == ["OSError", "FileNotFoundError"]
    assert place.index().current == {}
    place.post(place.file("a"))
    place.settle()
    assert place.index().find("a").path.read_bytes() == b"data"


def test_a_full_disk_is_waited_out(place, monkeypatch):
    monkeypatch.setattr(artifacts_, "_PAUSE_SECS", 0.01)
    left = [3]
    link = os.link

    def full(*arguments):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        link(*arguments)

    monkeypatch.setattr(files.system, "link", full)
    place.post(place.file("a"))
    place.settle()
    assert place.contents() == [b"data"]
    assert [message for message in place.said if "waits" in message]


@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_where_nothing_can_be_linked_it_is_copied(place, monkeypatch, error):
    def refuse(*_):
        raise OSError(error, "no")

    monkeypatch.setattr(files.system, "link", refuse)
    (place.staging / "77").mkdir()
    (place.staging / "77" / "0").write_bytes(b"in it")
    manifest = Manifest((DirectoryFile("x", "0", 5, 0o644),))
    (place.staging / "77" / content.MANIFEST).write_bytes(manifest.encode())
    tree = {"op": "dir", "id": f"{STREAM}/77", "name": "d", "file": f"{content.STAGING}/{STREAM}/77/{content.MANIFEST}"}
    place.post(place.file("a"), tree)
    place.settle()
    digest = hashlib.sha256(b"in it").hexdigest()
    stored = Manifest((DirectoryFile("x", digest, 5, 0o644),)).encode()
    assert place.contents() == sorted([b"data", b"in it", stored])
    assert place.index().find("d").files == {"x": content.place(place.run_dir, digest)}
    place.artifacts.close()
    assert not (place.run_dir / content.STAGING / ".store-00").exists()


@pytest.mark.parametrize("inside", ["../../secret", "..", "", "a/b", content.MANIFEST])
def test_a_manifest_that_leads_elsewhere_stores_nothing(place, inside):
    (place.run_dir / "secret").write_bytes(b"secret")
    (place.staging / "77").mkdir()
    (place.staging / "77" / content.MANIFEST).write_bytes(Manifest((DirectoryFile("x", inside, 1, 0o644),)).encode())
    tree = {"op": "dir", "id": f"{STREAM}/77", "name": "d", "file": f"{content.STAGING}/{STREAM}/77/{content.MANIFEST}"}
    place.post(tree)
    place.settle()
    assert [one["op"] for one in place.outcomes()] == ["failed"]
    assert not (place.run_dir / "artifacts").exists()


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"op": "file"},
        {"op": "file", "id": 3, "name": "a", "file": "x"},
        {"op": "file", "id": "x", "name": "a"},
        {"op": "link", "id": "x", "name": "a"},
        {"op": "nonsense", "id": "x", "name": "a"},
        {"op": "stored", "name": "a"},
    ],
)
def test_what_is_no_entry_of_ours_is_left_alone(place, payload):
    place.post(payload, place.file("a"))
    place.settle()
    assert place.index().find("a").path.read_bytes() == b"data"


def test_torn_content_of_a_power_loss_is_replaced(place):
    digest = hashlib.sha256(b"data").hexdigest()
    torn = content.place(place.run_dir, digest)
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"da")
    place.post(place.file("a"))
    place.settle()
    assert place.contents() == [b"data"]


def test_what_a_lost_ledger_knew_is_found_in_the_index(place):
    posted = place.file("a")
    place.post(posted)
    place.settle()
    place.connection.execute("update artifacts set outcome=null")
    place.begin()
    place.settle()
    assert place.index().find("a").path.read_bytes() == b"data"
    assert {one["op"] for one in place.outcomes()} == {"stored"}


def test_the_sweep_spares_the_living_the_owed_and_other_machines(place, monkeypatch):
    monkeypatch.setattr(host, "name", lambda: "here")
    staging = place.run_dir / content.STAGING
    for name in ("here-1-dead", "here-2-live", "here-3-listed", "there-4-dead"):
        (staging / name).mkdir()
        (staging / name / "7").write_bytes(b"half")
    (place.run_dir / ".steno/journal/here-3-listed").mkdir(parents=True)
    place.artifacts.sweep(["here-2-live"], now=True)
    assert sorted(os.listdir(staging)) == [STREAM, "here-2-live", "here-3-listed", "there-4-dead"]


def test_the_index_is_read_as_it_grows_whole_lines_only_and_again_when_written_anew(tmp_path):
    nodes = tmp_path / ".steno/nodes"
    (nodes / node_name(0)).mkdir(parents=True)
    path = nodes / node_name(0) / index.NAME
    told = []
    reader = IndexReader(tmp_path, lambda line: told.append(line["id"]))
    reader.look()
    writer = IndexWriter(path, [{"id": "a"}])
    reader.look()
    writer.add({"id": "b"})
    writer.add({"id": "c"})
    writer.write()
    with open(path, "ab") as file:
        file.write(b'{"id": "half')
    reader.look()
    reader.look()
    assert told == ["a", "b", "c"]
    with open(path, "ab") as file:
        file.write(b'"}\nnonsense\n{"no": "id"}\n{"id": "d"}\n')
    reader.look()
    assert told == ["a", "b", "c", "half", "d"]
    IndexWriter(path, [{"id": "a"}])
    reader.look()
    assert told[-1] == "a"
    assert index.outcome(tmp_path, "a") == {"id": "a"}
    assert index.outcome(tmp_path, "b") is None
    shutil.rmtree(nodes)
    reader.look()


def test_a_full_disk_delays_the_index_only(place, monkeypatch):
    place.post(place.file("a"))
    place.settle()
    full = [True]
    write = IndexWriter

    def writer(*arguments):
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(artifacts_, "IndexWriter", writer)
    place.begin()
    place.post(place.file("b"))
    place.settle()
    full[0] = False
    place.post(place.file("c"))
    place.settle()
    lines = []
    IndexReader(place.run_dir, lines.append).look()
    assert [line["name"] for line in lines if "name" in line] == ["a", "b", "c"]
    assert sum("digest" in line for line in lines) == 3
