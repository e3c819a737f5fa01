"""An error of the system is no answer: who cannot look this moment takes nothing for gone, dead or empty."""

from __future__ import annotations

import contextlib
import errno
import resource
import time

import pytest

from steno import files, host, inside, machinery
from steno.capture.recorder import Recorder
from steno.collector import catalogue
from steno.collector.elsewhere import Elsewhere
from steno.collector.journals import JournalReader
from steno.collector.reading import Marker
from steno.collector.roster import Roster
from steno.journal import life
from steno.ledger import streams
from steno.ledger.listed import found_parts
from steno.settings import Settings


@contextlib.contextmanager
def no_descriptors():
    """For the body, this process can open nothing."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def refused():
    return pytest.raises(OSError, match="Too many open files")


@pytest.fixture
def marker(tmp_path):
    made = Marker(tmp_path / "reading")
    yield made
    made.close()


@pytest.fixture
def recorder(tmp_path):
    made = Recorder(tmp_path, run_id="r", report=lambda *line: pytest.fail(str(line)))
    made.log({"x": 1.0})
    yield made
    made.close()


@pytest.fixture
def journal(tmp_path, poster, marker, recorder):
    made = JournalReader(streams.find(tmp_path)[0], poster, marker, say=lambda *_: None, poison=tmp_path)
    yield made
    made.close()


def read(journal, poster):
    journal.look(time.monotonic())
    batch = poster.post(list(journal.read(1 << 20, time.monotonic_ns())))
    journal.posted(poster.next_record - 1)
    return [one.values["x"] for one in (batch.records() if batch else ())]


def test_a_writer_that_cannot_be_asked_for_is_not_taken_for_dead(journal, poster, recorder):
    assert read(journal, poster) == [1.0]
    journal.hurry()
    with no_descriptors(), refused():
        journal.look(time.monotonic())

    assert journal.alive
    assert not journal.drained
    recorder.log({"x": 2.0})
    assert read(journal, poster) == [2.0]


def test_a_dead_writers_segments_that_cannot_be_listed_are_not_taken_for_read(journal, poster, recorder):
    read(journal, poster)
    recorder.log({"x": 2.0})
    recorder.close()
    journal.hurry()
    with no_descriptors(), refused():
        journal.look(time.monotonic())

    assert not journal.drained
    assert read(journal, poster) == [2.0]
    assert journal.drained


def test_offsets_of_segments_that_cannot_be_removed_stay(journal, poster, recorder, monkeypatch):
    read(journal, poster)
    recorder.close()
    journal.hurry()
    read(journal, poster)
    journal.ended, journal.retired = True, []

    def fail(path):
        raise OSError(errno.EIO, "Input/output error", path)

    with monkeypatch.context() as patched:
        patched.setattr(files.system, "unlink", fail, raising=False)
        assert not journal.remove(journal.found.dir.parent)

    assert poster.reached(journal.name) == 0
    assert journal.remove(journal.found.dir.parent)
    assert poster.reached(journal.name) is None


def test_journals_that_cannot_be_listed_are_looked_for_again(tmp_path, poster, marker, recorder):
    place = catalogue.claim(tmp_path)
    elsewhere = Elsewhere(tmp_path, place, poster, lease_secs=0.0, at_once=False, once=False, say=lambda *_: None)
    roster = Roster(tmp_path, 0, poster, marker, elsewhere, lambda *_: None)
    with no_descriptors(), refused():
        roster.scan(time.monotonic())

    assert roster.scan(time.monotonic())
    assert list(roster.journals) == [recorder.stream]
    roster.close()


def test_a_large_record_whose_file_cannot_be_opened_is_read_later(journal, poster, recorder):
    assert read(journal, poster) == [1.0]
    recorder.log({"x": 2.0, "text": "x" * (1 << 20)})
    assert list(journal.found.dir.glob("side-*"))
    journal.look(time.monotonic())
    with no_descriptors(), refused():
        list(journal.read(1 << 24, time.monotonic_ns()))

    journal.rewind()
    assert read(journal, poster) == [2.0]
    assert poster.connection.execute("select * from losses").fetchall() == []


def test_a_machine_that_cannot_read_whose_a_node_is_makes_no_second_one(tmp_path, monkeypatch):
    mine = catalogue.claim(tmp_path)
    opened = inside.opened

    def fail(place, *flags):
        if str(place).endswith("node.json"):
            raise OSError(errno.ENFILE, "Too many open files in system", place)
        return opened(place, *flags)

    with monkeypatch.context() as patched:
        patched.setattr(inside, "opened", fail)
        with refused():
            catalogue.claim(tmp_path)

    assert catalogue.claim(tmp_path).number == mine.number
    assert len(list((tmp_path / ".steno" / "nodes").iterdir())) == 1


@pytest.mark.parametrize("file", ["pointer", "owner.json"])
def test_a_journal_elsewhere_whose_pointer_cannot_be_read_is_not_left_out(tmp_path, monkeypatch, file):
    settings = Settings(journal_dir=tmp_path / "elsewhere")
    recorder = Recorder(tmp_path, run_id="r", report=lambda *line: pytest.fail(str(line)), settings=settings)
    opened = inside.opened

    def fail(place, *flags):
        if str(place).endswith(file):
            raise OSError(errno.ENFILE, "Too many open files in system", place)
        return opened(place, *flags)

    with monkeypatch.context() as patched:
        patched.setattr(inside, "opened", fail)
        with refused():
            streams.find(tmp_path)

    assert [one.stream for one in streams.find(tmp_path)] == [recorder.stream]
    recorder.close()


def test_attempts_that_cannot_be_read_are_not_left_out(tmp_path):
    (tmp_path / ".steno" / "attempts").mkdir(parents=True)
    files.write_json(tmp_path / ".steno" / "attempts" / "0002.json", {"attempt": 2, "rewind": 7})
    with no_descriptors(), refused():
        catalogue.attempts(tmp_path)

    assert catalogue.attempts(tmp_path) == [(2, 7)]


def test_machinery_that_cannot_be_read_is_not_put_away(tmp_path):
    (tmp_path / ".steno" / "attempts").mkdir(parents=True)
    files.write_json(tmp_path / ".steno" / "attempts" / "0001.json", {"attempt": 1})
    with no_descriptors(), refused():
        machinery.pack(tmp_path)

    assert list(machinery.pack(tmp_path)) == ["attempts/0001.json"]


def test_a_lock_that_cannot_be_asked_for_may_be_held(tmp_path):
    with no_descriptors():
        with refused():
            host.holder(tmp_path)
        assert host.is_locked(tmp_path)
        with refused():
            life.is_alive(tmp_path)

    assert host.holder(tmp_path / "absent") is None
    assert not host.is_locked(tmp_path / "absent")


def test_parts_that_a_collector_cannot_read_are_not_left_out_of_its_new_ledger(tmp_path):
    """Those that the ledger does not know are removed."""
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / f"{5:016x}-part-000001.parquet").write_bytes(b"PAR1 and no footer")
    assert list(found_parts(tmp_path, 5)) == []
    with no_descriptors(), refused():
        list(found_parts(tmp_path, 5))
