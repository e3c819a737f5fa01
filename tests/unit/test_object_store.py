"""Objects in stores that need no server, and the account of what has been sent."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from steno.capture.start import uploading
from steno.cli import terminal
from steno.collector.uploads.progress import UploadCounts
from steno.objects.sending import DifferentError, Sending
from steno.objects.sent import Arrived, Sent
from steno.objects.store import ObjectStore, sha256_of


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    place = f"{tmp_path}/store" if request.param == "file" else f"/{uuid.uuid4()}/store"
    return ObjectStore(f"{request.param}://{place}")


@pytest.fixture
def one(tmp_path):
    path = tmp_path / "one"
    path.write_bytes(os.urandom(3 << 20))
    return Sending("a/b/one", path, path.stat().st_size, sha256_of(path))


def test_what_is_sent_is_there_and_comes_back(store, one, tmp_path):
    assert store.listing() == {}
    store.send(one)
    store.write("a/small", b"x")
    assert store.listing() == {"a/b/one": one.size, "a/small": 1}
    assert store.listing("a/b") == {"a/b/one": one.size}
    assert store.read("a/small") == b"x"
    store.fetch("a/b/one", tmp_path / "back" / "one", lambda path: "")
    assert sha256_of(tmp_path / "back" / "one") == one.sha256
    assert store.holds("a/b/one", one.size, one.sha256)
    assert not store.holds("a/b/one", one.size, "another")
    store.remove("a/b/one")
    store.remove("a/b/one")
    assert store.listing() == {"a/small": 1}
    with pytest.raises(FileNotFoundError):
        store.read("a/b/one")


def test_ranges_come_in_the_order_asked_for_and_are_cut_at_the_end(store):
    data = os.urandom(400_000)
    store.write("a/b", data)
    ranges = [(300_000, 300_010), (0, 10), (20, 30), (5, 25), (7, 7), (399_990, 400_020)]
    assert store.read("a/b", ranges) == [data[begin:end] for begin, end in ranges]
    assert store.read("a/b", []) == []
    with pytest.raises(FileNotFoundError):
        store.read("a/c", [(0, 1)])


def test_of_many_who_create_an_object_one_does(store):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: store.create("a/b", b"%d" % number), range(8)))
    assert store.creates()
    assert store.creates()
    assert not store.create("a/b", b"x")
    if store.protocol == "file":  # a memory store is one thread's matter
        assert made.count(True) == 1
        assert store.read("a/b") == b"%d" % made.index(True)


def test_the_clock_of_a_store_is_compared_with_its_objects_dates(store):
    store.write("a", b"x")
    if store.protocol == "memory":
        assert store.now() is None
    else:
        assert 0 <= store.now() - store.look("a").modified < 60


def test_what_arrives_changed_is_an_error(store, one):
    with pytest.raises(DifferentError):
        store.send(Sending(one.key, one.path, one.size, "0" * 64))


def test_what_comes_back_changed_is_an_error_and_leaves_no_file(store, one, tmp_path):
    store.send(one)
    with pytest.raises(DifferentError, match="it is bad"):
        store.fetch(one.key, tmp_path / "back" / "one", lambda path: "it is bad")
    assert not list((tmp_path / "back").iterdir())


def test_what_a_killed_process_left_half_written_is_swept(tmp_path):
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom steno.objects.store import aside\n"
        "with aside(Path(sys.argv[1]) / 'x' / 'one') as hidden:\n"
        "    hidden.write_bytes(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert len(list((tmp_path / "x").iterdir())) == 1
    store = ObjectStore(f"file://{tmp_path}")
    assert store.listing() == {}
    store.sweep()
    assert not list((tmp_path / "x").iterdir())


def test_the_account_outlives_a_torn_line_and_forgets_what_the_store_lost(tmp_path):
    path = tmp_path / "sent.jsonl"
    sent = Sent(path, "s3://b/x")
    sent.add("a", Arrived(1, "aa", 5))
    sent.add("b", Arrived(2, "bb", 6))
    with open(path, "ab") as file:
        file.write(b'\n{"place": "s3://b/x", "key": "c", "si')
    Sent(path, "s3://b/x").add("d", Arrived(4, "dd", 7))
    again = Sent(path, "s3://b/x")
    assert sorted(again.keys()) == ["a", "b", "d"]
    assert again.get("b") == Arrived(2, "bb", 6)
    again.compare({"a": 1, "b": 3, "d": 4})
    assert sorted(again.keys()) == ["a", "d"]
    assert Sent(path, "s3://elsewhere").keys() == []


def test_the_counts_are_of_what_is_left():
    counts = UploadCounts()
    counts.plan(3, 60, {"a": 10, "b": 20})
    counts.moved("b", 5)
    assert (counts.numbers()["files_left"], counts.numbers()["bytes_left"]) == (2, 25)
    assert counts.numbers()["eta_secs"] > 0
    counts.failed("b", "broken")
    counts.arrived("a")
    found = counts.numbers()
    assert (found["files_left"], found["bytes_left"], found["retries"], found["error"]) == (1, 20, 1, "broken")
    counts.arrived("b")
    assert (counts.numbers()["bytes_left"], counts.numbers()["eta_secs"]) == (0, None)


def test_an_upload_at_work_is_told_with_its_pace():
    facts = {
        "state": "uploading", "stores": {"store": "s3://b/p/r", "artifacts": "s3://c/p/r"}, "files": 5, "files_left": 2,
        "bytes": 3 << 20, "bytes_left": 1 << 20, "rate": 1 << 20, "eta_secs": 1.0, "retries": 3, "error": "it was down",
    }  # fmt: skip
    told = terminal.uploads(facts)
    assert told.startswith("upload to s3://b/p/r, s3://c/p/r: uploading, 3 of 5 files, 2.0 MiB of 3.0 MiB, 1.0 MiB/s, ")
    assert told.endswith(" to go, 3 retries; last error: it was down")
    said = uploading.line(Path("runs/r"), facts, running=True)
    assert "2 of 5 files (1.0 MB) are to go at 1.0 MB/s, about 1 s; last error: it was down. It goes on" in said
    assert "goes on" not in uploading.line(Path("runs/r"), facts, running=False)
    assert "steno sync runs/r" in uploading.line(Path("runs/r"), facts, running=False)


def test_readers_of_s3_share_a_client_as_long_as_the_environment_is_the_same(monkeypatch):
    """It keeps the credentials that it was made with; uploaders retry by themselves and have their own."""
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    first, second = (ObjectStore(f"s3://bucket/{name}", patient=True) for name in ("a", "b/c"))
    assert second.fs is first.fs
    assert (first.root, second.root) == ("bucket/a", "bucket/b/c")
    assert ObjectStore("s3://bucket/a").fs is not first.fs
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "two")
    assert ObjectStore("s3://bucket/a", patient=True).fs is not first.fs
