"""A journal that leaves a full segment for the next one, as other threads meet it in the midst of that."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

import pytest
from run_programs import wait_for

from steno.capture.recorder import Recorder
from steno.capture.stream import SegmentMaker
from steno.collector.journals import _is_started
from steno.journal.segment import Segment


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_SEGMENT_BYTES", str(64 << 10))
    made = Recorder(tmp_path, run_id="r", report=lambda *_: None)
    yield made
    made.close()


def fill(recorder):
    """Log until the next segment is in use."""
    segment = recorder.appender.current
    while recorder.appender.current is segment:
        recorder.log({"x": 1.0})


def in_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join(60)
    return found[0]


def test_a_flush_while_a_segment_is_left_waits_for_it(recorder, monkeypatch):
    flushed, unposted, seal = [], [], Segment.seal

    def sealed(segment):
        flushed.append(in_thread(lambda: recorder.flush(0)))
        unposted.append(in_thread(recorder.unposted))
        return seal(segment)

    with monkeypatch.context() as patched:
        patched.setattr(Segment, "seal", sealed)
        fill(recorder)

    assert flushed == [False]
    assert unposted[0] > 50_000


def test_a_segment_that_is_just_sealed_says_how_much_of_it_was_used(recorder, monkeypatch):
    said, written = [], Segment._written

    def asked(segment, end):
        if not said:
            said.append(-1)
            said.append(segment.tell())
        return written(segment, end)

    segment = recorder.appender.current
    with monkeypatch.context() as patched:
        patched.setattr(Segment, "_written", asked)
        fill(recorder)

    assert said[1] == segment.tell() == segment.end < segment.size


def test_while_a_handler_interrupts_a_roll_nothing_is_written_behind_the_segment_that_it_fetches(recorder, monkeypatch):
    """A reader that saw a later one used would pass this one over, and what comes into it would be lost."""
    started, take = [], SegmentMaker.take
    wait_for(lambda: len(recorder._stream.spares) == 3)

    def interrupted(stream):
        segment = take(stream)
        recorder.log({"handler": 1.0})
        assert recorder.appender.waiting
        keeper = threading.Thread(target=recorder.appender.recover)
        keeper.start()
        keeper.join(0.2)
        later = [path for path in stream.directory.glob("*.seg") if int(path.stem) > segment.number]
        started.extend(_is_started(path) for path in later)
        return segment

    with monkeypatch.context() as patched:
        patched.setattr(SegmentMaker, "take", interrupted)
        fill(recorder)
        assert started
        assert not any(started)


def test_a_segment_fetched_as_recording_ends_is_not_taken_into_use(recorder, monkeypatch):
    take = SegmentMaker.take

    def closing(stream):
        segment = take(stream)
        recorder.appender.close()
        return segment

    recorder._keeper.stop()
    assert recorder._keeper.join(60)
    recorder.appender._set(recorder.appender._keeping, 0)
    recorder.log({"kept": 1.0})
    with monkeypatch.context() as patched:
        patched.setattr(SegmentMaker, "take", closing)
        recorder.appender.recover()

    assert recorder.appender.current is None
    recorder.log({"late": 1.0})
    assert "finish" in recorder.health()["reported"]
    recorder.appender.sealed = False  # the rest is to be closed, too


def test_a_flush_is_not_done_while_records_wait_in_memory(recorder):
    recorder._keeper.stop()
    assert recorder._keeper.join(60)
    with_room = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, with_room[1]))
    try:
        while not recorder.appender.waiting:
            recorder.log({"x": 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, with_room)
    recorder.log({"x": 1.0})
    recorder.appender._take(recorder._stream.take())  # as a roll ends that a handler has interrupted

    assert not recorder.appender.waiting
    assert recorder.health()["kept_in_memory"]
    for segment in [*recorder._posting.retired]:
        segment.end = 0  # as if posted
    recorder.appender.current.map[16:24] = (1 << 20).to_bytes(8, "little")
    assert not recorder.flush(0)
    assert recorder.appender.recover()
    assert not recorder.health()["kept_in_memory"]


@pytest.mark.parametrize("count", [4, 40])
def test_full_segments_whose_files_somebody_removes_are_not_posted_but_written_again(recorder, count):
    recorder._upkeep._next_kept = float("inf")
    for _ in range(count):
        fill(recorder)
    full = [segment.path for segment in recorder._posting.retired]
    assert len(full) == count
    wait_for(lambda: len(recorder._stream.spares) == 3)
    held = {path: path.read_bytes() for path in full}
    before = recorder.unposted()
    reader = full[1].open("r+b")
    for path in full:
        path.unlink()

    assert not recorder.flush(0)
    assert recorder.unposted() == before
    wait_for(lambda: all(path.exists() for path in full))
    assert {path: path.read_bytes() for path in full} == held
    # A collector says it in the new file, or in the one that it had opened before; then it removes what is there.
    for file, path in ((full[0].open("r+b"), full[0]), (reader, full[1])):
        with file:
            file.seek(16)
            file.write((1 << 20).to_bytes(8, "little"))
        path.unlink()
    wait_for(lambda: len(recorder._posting.retired) == count - 2)
    assert not any(path.exists() for path in full[:2])
    assert recorder.unposted() < before


def test_full_segments_that_wait_take_neither_memory_nor_descriptors(recorder):
    fds = len(os.listdir("/proc/self/fd"))
    for _ in range(60):
        fill(recorder)
    assert len(recorder._posting.retired) == 60
    maps = f"{recorder._stream.directory}/"

    def resident_kb():
        found, inside = [0], False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            inside = maps in line if "-" in line.split(" ")[0] else inside
            found += [int(line.split()[1])] if inside and line.startswith("Rss:") else []
        return sum(found)

    wait_for(lambda: resident_kb() < 30 * 64)
    assert len(os.listdir("/proc/self/fd")) < fds + 40
