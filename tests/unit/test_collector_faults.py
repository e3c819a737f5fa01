"""A ledger that refuses to be written for a while: nothing stays half done, and the collector goes on."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading

import pytest
from ledger_slices import info, piece

import steno
import steno.collector.service as service
from steno.capture.recorder import Recorder
from steno.collector.catalogue import claim
from steno.collector.service import Service
from steno.files import write_json
from steno.ledger import schema
from steno.ledger.post import Poster


@pytest.mark.parametrize(
    "act",
    [
        lambda poster: poster.forget_segments([("s-1", 0)]),
        lambda poster: poster.begin_attempt(2, 100),
        lambda poster: poster.end_stream("s-1"),
    ],
    ids=["forget", "attempt", "end"],
)
def test_a_change_that_fails_leaves_no_transaction_open(poster, act):
    poster.post([(info(), piece([(1, None, {"x": 1.0}, 100)]))])
    poster.connection.execute("pragma query_only=1")
    with pytest.raises(sqlite3.OperationalError):
        act(poster)
    poster.connection.execute("pragma query_only=0")

    assert not poster.connection.in_transaction
    batch = poster.post([(info(segment=1), piece([(2, None, {"x": 2.0}, 101)]))])
    assert batch.step.tolist() == [1]
    act(poster)


@pytest.mark.parametrize("name", ["begin_attempt", "end_stream"])
def test_the_collector_outlives_a_ledger_that_refuses_for_a_while(tmp_path, monkeypatch, name):
    run_dir = tmp_path / "p" / "r"
    (run_dir / ".steno" / "attempts").mkdir(parents=True)
    write_json(run_dir / ".steno" / "attempts" / "0001.json", {"attempt": 1, "rewind": None})
    write_json(run_dir / "run.json", {"id": "r", "name": "r", "project": "p"})
    recorder = Recorder(run_dir, run_id="r", report=lambda key, message: pytest.fail(f"{key}: {message}"))
    for i in range(10):
        recorder.log({"x": float(i)})
    recorder.close()
    real, refusals = getattr(Poster, name), [3]

    def refuse(*arguments):
        if refusals[0]:
            refusals[0] -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return real(*arguments)

    monkeypatch.setattr(Poster, name, refuse)
    monkeypatch.setattr(service, "_DISK_SECS", 0.01)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(Service(run_dir, once=True).run()))
    thread.start()
    thread.join(30)

    assert answers == [0]
    assert refusals == [0]
    with steno.open(run_dir) as book:
        assert book.series("x").value.tolist() == [float(i) for i in range(10)]


def test_once_waits_for_locks_of_processes_that_were_just_killed(tmp_path):
    """A killed group's locks go one after the other, when the kernel comes to it: writers and collector seem to live."""
    run_dir = tmp_path / "p" / "r"
    recorder = Recorder(run_dir, run_id="r", report=lambda key, message: pytest.fail(f"{key}: {message}"))
    for i in range(10):
        recorder.log({"x": float(i)})
    recorder.close()
    place = next((run_dir / ".steno" / "journal").iterdir())
    node = claim(run_dir)
    code = """
import fcntl, os, sys, time
for path in sys.argv[1:]:
    fcntl.lockf(os.open(path, os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(0.4)
"""
    dying = subprocess.Popen(
        [sys.executable, "-c", code, str(node.dir / "collector.lock"), str(place / "alive")], stdout=subprocess.PIPE
    )
    assert dying.stdout.readline() == b"held\n"
    assert Service(run_dir, once=True).run() == 0
    assert dying.wait(60) == 0
    dying.stdout.close()
    with steno.open(run_dir) as book:
        assert book.series("x").value.tolist() == [float(i) for i in range(10)]


def test_a_frame_that_cannot_be_posted_costs_itself_alone(tmp_path, monkeypatch, capfd):
    """Whatever raises while a batch is made: the frame is found and set aside, and all others are stored."""
    run_dir = tmp_path / "p" / "r"
    recorders = [
        Recorder(run_dir, run_id="r", report=lambda key, message: pytest.fail(f"{key}: {message}")) for _ in range(2)
    ]
    for i in range(500):
        for number, recorder in enumerate(recorders):
            recorder.log({f"x{number}": float(i), "word": "poison" if (i, number) == (250, 1) else "good"})
    for recorder in recorders:
        recorder.close()
    real = schema.encode

    def encode(columns):
        if "poison" in columns.special.values():
            raise TypeError("a fault of ours")
        return real(columns)

    monkeypatch.setattr(schema, "encode", encode)

    assert Service(run_dir, once=True).run() == 0
    with steno.open(run_dir) as book:
        assert book.series("x0").value.tolist() == [float(i) for i in range(500)]
        assert book.series("x1").value.tolist() == [float(i) for i in range(500) if i != 250]
        assert [loss.kind for loss in book.info.losses] == ["lost bytes"]
    assert len(list((run_dir / ".steno").glob("**/poison/*.frame"))) == 1


def test_an_entry_of_the_collectors_own_that_cannot_be_posted_costs_no_record(tmp_path, monkeypatch):
    run_dir = tmp_path / "p" / "r"
    recorder = Recorder(run_dir, run_id="r", report=lambda key, message: pytest.fail(f"{key}: {message}"))
    for i in range(10):
        recorder.log({"x": float(i)})
    recorder.close()
    real, real_text, noted = service.Service._scan, schema.json_text, []

    def scan(self, now):
        if not noted:
            noted.append(self.poster.note(broken=1))
        return real(self, now)

    def broken(payload):
        if "broken" in payload:
            raise TypeError("a fault of ours")
        return real_text(payload)

    monkeypatch.setattr(schema, "json_text", broken)
    monkeypatch.setattr(service.Service, "_scan", scan)
    assert Service(run_dir, once=True).run() == 0
    with steno.open(run_dir) as book:
        assert book.series("x").value.tolist() == [float(i) for i in range(10)]
