"""A destination object in the user's process: nothing is missed at the end, and nothing is made up."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest
from run_programs import wait_for

from steno.capture.inprocess.feed import Feed, end_all
from steno.capture.inprocess.numbering import Numbering
from steno.capture.recorder import Recorder
from steno.journal import format as fmt
from steno.journal.decode import HOLE, KeySet, RawFill, Slice
from steno.record import LAST_STEP, RunInfo

WRITER = fmt.SegmentIdentity(nonce=1, size=1, number=0, stream="s", mono=0, wall=0, pid=1, rank=3, attempt=2)


class Keeping:
    def __init__(self):
        self.values = []

    def open(self, run):
        pass

    def write(self, batch):
        self.values += [one.values["x"] for one in batch.records()]

    def flush(self):
        pass

    def close(self):
        pass


@pytest.fixture
def recorder(tmp_path):
    made = Recorder(tmp_path, run_id="r", report=lambda key, message: pytest.fail(f"{key}: {message}"))
    yield made
    made.close()


@pytest.fixture
def feed(recorder, tmp_path):
    kept = Keeping()
    made = Feed(
        recorder,
        kept,
        RunInfo(tmp_path, "r", "r", "p"),
        name="keeping",
        report=lambda key, message: pytest.fail(f"{key}: {message}"),
    )
    made.kept = kept
    yield made
    assert end_all([made], time.monotonic() + 2, 2)


def between_look_and_rest(feed, act):
    """Have `act` happen right after a look that found nothing; looks after it are slow."""
    look, done = feed.courier._step, []

    def step():
        if done:
            time.sleep(0.05)
        moved = look()
        if not moved and not done:
            done.append(True)
            act()
        return moved

    feed.courier._step = step


def test_what_is_logged_before_close_is_delivered_though_the_courier_has_just_looked(recorder, feed):
    def act():
        recorder.log({"x": 1.0})
        feed.courier.ending = True  # as `end` does, on the thread that has logged

    between_look_and_rest(feed, act)
    feed.start()
    assert feed.courier.join(60)
    assert feed.kept.values == [1.0]


def test_what_is_logged_while_no_descriptor_is_left_reaches_the_destination(recorder, feed):
    recorder.log({"x": 1.0})
    wait_for(lambda: len(recorder._stream.spares) == 3)
    feed.start()
    wait_for(lambda: feed.kept.values)  # all that is imported by then is
    first, count = recorder.appender.current, 1
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        while recorder.appender.current is first:
            recorder.log({"x": 1.0})
            count += 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert end_all([feed], time.monotonic() + 60, 60)
    assert len(feed.kept.values) == count
    assert feed.courier.progress.errors == 0


def piece(seqs=(), steps=(), autos=(), *, fills=(), special=None):
    count = len(seqs)
    seq = np.array([fmt.FIRST_SEQ + one for one in seqs], np.int64)
    return Slice(
        0, 0, 0, seq.copy(), seq.copy(), seq, np.array(steps, np.int64), np.array(autos, np.bool_),
        np.zeros(count, np.int32), [KeySet(("x",))] if count else [], np.full(count, 1.0),
        special=special or {}, fills=list(fills),
    )  # fmt: skip


def test_automatic_steps_go_on_behind_the_largest_step_there_is():
    numbering = Numbering()
    assert numbering.batch(piece([0], [2**63 - 1], [False]), WRITER).step.tolist() == [2**63 - 1]
    batch = numbering.batch(piece([1, 2, 3], [0, 2**63 - 1, 0], [True, False, True]), WRITER)
    assert batch.step.tolist() == [LAST_STEP + 1, 2**63 - 1, LAST_STEP + 2]


def test_a_late_value_keeps_its_record_and_its_digits():
    numbering = Numbering()
    numbering.batch(piece([4], [7], [False], special={0: HOLE}), WRITER)
    batch = numbering.batch(piece(fills=[RawFill(fmt.FIRST_SEQ + 4, {"x": 2**60 + 1, "y": 10**400, "z": 3})]), WRITER)
    (record,) = batch.records()
    assert (record.step, record.rank, record.attempt) == (7, 3, 2)
    assert record.values == {"x": 2**60 + 1, "y": 10**400, "z": 3.0}


def test_a_late_value_of_a_record_that_was_skipped_is_skipped_too():
    batch = Numbering().batch(piece(fills=[RawFill(fmt.FIRST_SEQ + 4, {"x": 1.0})]), WRITER)
    assert len(batch) == 0
