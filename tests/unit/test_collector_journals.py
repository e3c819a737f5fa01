"""Reading journals in pieces of any size."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
from run_programs import wait_for

from steno.capture.recorder import Recorder
from steno.capture.stream import SegmentMaker
from steno.collector import catalogue, journals, roster
from steno.collector.elsewhere import Elsewhere
from steno.collector.journals import JournalReader, segments
from steno.collector.reading import PIECE_BYTES, Marker
from steno.collector.service import Service
from steno.journal import format as fmt
from steno.journal.tailer import Tailer
from steno.ledger import schema, streams
from steno.ledger.read import Reader


@pytest.fixture
def journal(tmp_path, poster, monkeypatch):
    """A dead writer's journal of 2,000 records in several segments."""
    monkeypatch.setenv("STENO_SEGMENT_BYTES", str(64 << 10))
    recorder = Recorder(tmp_path, run_id="r", report=lambda key, message: pytest.fail(f"{key}: {message}"))
    for i in range(2000):
        recorder.log({"x": float(i), "y": i})
    recorder.close()
    marker = Marker(tmp_path / "reading")
    said = []
    made = JournalReader(
        streams.find(tmp_path)[0], poster, marker, say=lambda *line: said.append(line), poison=tmp_path
    )
    made.said = said
    yield made
    made.close()
    marker.close()


@pytest.mark.parametrize("limit", [1, 7, 8, 9, 100, 4096 + 3, 20_000, 1 << 20])
def test_whatever_the_limit_nothing_is_lost(journal, poster, limit):
    seen = []
    for _ in range(10_000):
        journal.look(time.monotonic())
        slices = list(journal.read(limit, time.monotonic_ns()))
        batch = poster.post(slices)
        journal.posted(poster.next_record - 1)
        if batch is not None:
            seen += [one.values["x"] for one in batch.records()]
        if journal.drained:
            break

    assert seen == [float(i) for i in range(2000)]
    assert poster.connection.execute("select count(*) from losses").fetchone()[0] == 0
    assert journal.said == []


@pytest.mark.parametrize("act", [None, "rewind"])
@pytest.mark.parametrize("used", ["not yet", "as well", "between two looks", "behind the listing", "closed"])
def test_a_segment_that_appears_after_the_one_behind_it_is_read_before_it(tmp_path, poster, monkeypatch, used, act):
    """Both threads of a writer make segments: the caller's 1 may come into sight after the keeper's 2."""
    monkeypatch.setenv("STENO_SEGMENT_BYTES", str(64 << 10))
    monkeypatch.setattr(SegmentMaker, "mend", lambda _: [])
    recorder = Recorder(tmp_path, run_id="r", report=lambda *line: pytest.fail(str(line)))
    logged = []

    def log(count):
        for _ in range(count):
            recorder.log({"x": float(len(logged))})
            logged.append(float(len(logged)))

    log(1)
    found = streams.find(tmp_path)[0]
    wait_for(lambda: (found.dir / "000003.seg").exists())
    late, aside = found.dir / "000001.seg", found.dir / "late"
    late.rename(aside)
    while recorder.appender.current.number == 0:
        log(1)
    marker = Marker(tmp_path / "reading")
    journal = JournalReader(found, poster, marker, say=lambda *line: pytest.fail(str(line)), poison=tmp_path)
    seen = []

    def read(look=True):
        if look:
            journal.look(time.monotonic())
        batch = poster.post(list(journal.read(1 << 20, time.monotonic_ns())))
        journal.posted(poster.next_record - 1)
        seen.extend(one.values["x"] for one in (batch.records() if batch else ()))

    for _ in range(3):
        read()
    assert seen == logged[: len(seen)]
    if act == "rewind":
        journal.rewind()
    if used in {"between two looks", "behind the listing"}:
        journal.look(time.monotonic())

    def appear():
        aside.rename(late)
        while recorder.appender.current.number == 1 and used in {"as well", "between two looks", "behind the listing"}:
            log(1)

    if used == "behind the listing":

        def stale(place):
            listed = segments(place)
            if aside.exists():
                appear()
            return listed

        monkeypatch.setattr(journals, "segments", stale)
        read(look=False)
    else:
        appear()
    if used == "closed":
        recorder.close()
        journal.hurry()
    if used == "between two looks":
        read(look=False)
    for _ in range(10):
        read()
    assert seen == logged
    assert journal.drained == (used == "closed")
    recorder.close()
    journal.close()
    marker.close()


@pytest.fixture
def two_scans(tmp_path, poster):
    """A roster that has scanned, then the journal of a process that comes in the same tick of the file system."""
    place = catalogue.claim(tmp_path)
    marker = Marker(tmp_path / "reading")
    elsewhere = Elsewhere(tmp_path, place, poster, lease_secs=0.0, at_once=False, once=False, say=lambda *_: None)
    made = roster.Roster(tmp_path, 0, poster, marker, elsewhere, lambda *_: None)
    writers = [Recorder(tmp_path, run_id="r", report=lambda *line: pytest.fail(str(line)))]
    folder = tmp_path / ".steno" / "journal"
    before = folder.stat()

    def come():
        writers.append(Recorder(tmp_path, run_id="r", report=lambda *line: pytest.fail(str(line))))
        os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
        return writers[-1].stream

    yield made, come
    made.close()
    marker.close()
    for writer in writers:
        writer.close()


def test_a_journal_that_comes_in_the_same_tick_as_one_that_was_seen_is_found(two_scans):
    made, come = two_scans
    assert made.scan(100.0)
    made.scanned()
    assert not made.scan(100.2)
    stream = come()
    assert made.scan(100.4)
    made.scanned()
    assert stream in made.journals
    assert not made.scan(100.6)
    assert not made.scan(200.0)


def test_before_a_collector_leaves_it_looks_for_journals_whatever_the_stamp_says(two_scans):
    made, come = two_scans
    assert made.scan(100.0)
    made.scanned()
    assert not made.scan(200.0)
    assert made.is_whole()
    stream = come()
    assert not made.scan(300.0)
    assert not made.is_whole()
    assert made.scan(300.0)
    assert stream in made.journals
    made.scanned()
    assert made.is_whole()


def test_a_tailer_takes_one_frame_where_the_limit_has_room_for_none(journal):
    path = journal.found.dir / "000000.seg"
    tailer = Tailer(path)
    stamps, lost = [], 0
    while (piece := tailer.read(1, live=False)) is not None:
        stamps += piece.mono.tolist()
        lost += piece.lost_bytes
    tailer.close()
    whole = Tailer(path)
    expected = whole.read(live=False)
    whole.close()

    assert lost == 0
    assert np.array_equal(expected.mono, stamps)


def test_what_was_read_and_not_posted_is_read_again(journal, poster):
    journal.look(time.monotonic())
    first = [piece.mono.tolist() for _, piece in journal.read(30_000, time.monotonic_ns())]
    journal.rewind()
    again = [piece.mono.tolist() for _, piece in journal.read(30_000, time.monotonic_ns())]

    assert first == again
    assert first


def test_frames_stamped_after_the_cut_wait(journal, poster):
    journal.look(time.monotonic())

    assert sum(len(piece.mono) for _, piece in journal.read(1 << 20, 1)) == 0

    whole = np.concatenate([piece.mono for _, piece in journal.read(1 << 20, time.monotonic_ns())])
    assert len(whole) == 2000


def test_a_marker_narrows_down_and_condemns_after_two_deaths_at_the_same_frame(tmp_path):
    def life(*reads):
        marker = Marker(tmp_path / "reading")
        limits = [marker.limit("s", 1, offset) for offset in reads]
        marker.begin("s", 1, reads[-1], limits[-1] or 1 << 20)
        return limits, marker.poison  # dies here: not cleared, not closed

    frame, piece = fmt.FRAME_BYTES, PIECE_BYTES
    assert life(4096) == ([None], None)
    assert life(4096, 2 << 20, 4096 + piece) == ([piece, None, piece], None)
    bad = 4096 + piece + 1000
    assert life(4096, 4096 + 2 * piece, 4096 + piece, bad) == ([piece, None, frame, frame], None)
    assert life(4096, bad - 8, bad + frame, bad) == ([bad - 4096, 8, None, frame], None)
    assert life(bad + frame) == ([None], ("s", 1, bad))
    last = Marker(tmp_path / "reading")
    last.begin("s", 1, 7000, frame)
    last.clear()
    last.close()
    assert Marker(tmp_path / "reading").poison is None


@pytest.mark.parametrize("begun", ["the quiet one", "the busy one"])
def test_while_one_process_lags_nothing_of_another_is_posted_before_what_it_logged_earlier(
    tmp_path, monkeypatch, begun
):
    """A posting has room for a part of what the busy one has; the quiet one has been read to its end."""
    monkeypatch.setattr(roster, "POST_BYTES", 1)  # shares are as small as they get: 256 KiB
    run_dir = tmp_path / "p" / "r"
    order = []

    def log(recorder, count, note=""):
        for _ in range(count):
            recorder.log({"x": float(len(order)), "note": note})
            order.append(float(len(order)))

    recorders = {}
    for name in (begun, *({"the quiet one", "the busy one"} - {begun})):
        recorders[name] = Recorder(
            run_dir, run_id="r", rank=len(recorders), report=lambda *line: pytest.fail(str(line))
        )
        recorders[name].ensure_stream()
    quiet, busy = recorders["the quiet one"], recorders["the busy one"]
    log(quiet, 1)
    collector = Service(run_dir)
    collector.node = catalogue.claim(run_dir)
    collector._locks = []
    collector._open()
    try:
        assert collector._tick() == (True, False)
        log(busy, 400, "x" * 2000)
        assert collector._tick() == (True, True)
        log(quiet, 1)
        log(busy, 400, "x" * 2000)
        log(quiet, 1)
        while collector._tick()[1]:
            pass
        collector._tick()
    finally:
        for recorder in recorders.values():
            recorder.close()
        collector._abandon()

    batches = Reader(run_dir).snapshot().batches
    assert [one.values["x"] for batch in batches for one in batch.records()] == order


def test_a_node_is_known_by_its_ledger_where_its_file_was_taken_away(tmp_path):
    """A cleaner may take a small file; a machine that did not know its node again would post all a second time."""
    run_dir = tmp_path / "p" / "r"
    run_dir.mkdir(parents=True)
    node = catalogue.claim(run_dir)
    schema.end(schema.begin(node.ledger, node.number))
    (node.dir / "node.json").unlink()
    assert catalogue.claim(run_dir).number == node.number
    assert (node.dir / "node.json").exists()

    # Of another machine it stays: two that write one ledger would mix their records.
    (node.dir / "node.json").unlink()
    ledger = schema.begin(node.ledger, node.number)
    ledger.execute("update meta set value=? where key='host'", (json.dumps({"host": "another", "machine": "x" * 32}),))
    schema.end(ledger)
    assert catalogue.claim(run_dir).number != node.number


@pytest.mark.parametrize("said", ["[]", "{", '"x"', '{"host": 3}', "null"])
def test_a_ledger_from_a_stranger_says_nothing_of_this_machine(tmp_path, said):
    run_dir = tmp_path / "p" / "r"
    run_dir.mkdir(parents=True)
    node = catalogue.claim(run_dir)
    ledger = schema.begin(node.ledger, node.number)
    ledger.execute("update meta set value=? where key='host'", (said,))
    schema.end(ledger)
    (node.dir / "node.json").unlink()
    assert catalogue.claim(run_dir).number != node.number
