"""Couriers: in order, with patience, one destination's trouble its own."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from steno.delivery import retry
from steno.delivery.courier import Courier
from steno.delivery.progress import Progress
from steno.errors import CorruptError, Retry, Skip, Stop
from steno.record import Batch, Entry, RunInfo
from steno.testing.fakes import FailingDestination, HangingDestination, MemoryDestination


def batch(id, count=4, kind="event"):
    first = (id - 1) * 10 + 1
    zeros = np.zeros(count, np.int32)
    records = np.arange(first, first + count)
    entry = Entry(first + count, 0, None, 0, 1, kind, {"n": id})
    return Batch(
        id, 0, records, records, records, zeros, zeros, zeros, (("a", "b"),) if count else (), np.arange(2.0 * count), entries=(entry,),
        special={1: "text"} if count else {}, meta={0: {"level": id}} if count else {},
    )  # fmt: skip


class Ledger:
    """Batches, and the cursor as it is saved."""

    def __init__(self, batches):
        self.batches = {one.id: one for one in batches}
        self.saved = []
        self.said = {}

    def newest(self):
        last = max(self.batches, default=0)
        return last, last * 10

    def fetch(self, id):
        return self.batches[id] if id in [*self.batches] else None

    def courier(self, factory, tmp_path, **more):
        made = Courier(
            "dest", factory, RunInfo(tmp_path, "id", "name", "project"), fetch=self.fetch, newest=self.newest,
            save=self.saved.append, say=lambda key, message: self.said.setdefault(key, message), first_wait_secs=0.001, last_wait_secs=0.004, **more,
        )  # fmt: skip
        made.start()
        return made


def until(condition, timeout_secs=10.0):
    deadline = time.monotonic() + timeout_secs
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


@pytest.fixture
def follow(tmp_path):
    couriers = []

    def begin(ledger, factory, **more):
        made = ledger.courier(factory, tmp_path, **more)
        couriers.append(made)
        return made

    yield begin
    for one in couriers:
        one.leave()
        one.join(2)


def test_delivered_is_what_the_destinations_readers_see(follow):
    """What was written and not flushed yet is no reason for `finish` to return."""
    gate = threading.Event()

    class Buffered(MemoryDestination):
        def flush(self):
            gate.wait(20)
            super().flush()

    ledger, buffered = Ledger([batch(1), batch(2)]), Buffered()
    courier = follow(ledger, lambda: buffered)
    until(lambda: courier.progress.batch == 2)
    assert (courier.health()["delivered"], courier.health()["lag"], courier.health()["batch"]) == (0, 20, 2)
    gate.set()
    until(lambda: courier.health()["delivered"] == 20)


def given(destination):
    return [number for one in destination.batches for number in one.record.tolist()]


def test_batches_come_in_order_and_the_cursor_after_them(follow):
    ledger, memory = Ledger([batch(1), batch(2), batch(3)]), MemoryDestination()
    courier = follow(ledger, lambda: memory)

    until(lambda: courier.caught_up)

    assert [one.id for one in memory.batches] == [1, 2, 3]
    assert [one.batch for one in ledger.saved] == [1, 2, 3]
    assert courier.health()["delivered"] == 30
    assert courier.health()["lag"] == 0
    assert memory.flushes

    ledger.batches[4] = batch(4)
    courier.wake()
    until(lambda: len(memory.batches) == 4)


def test_a_follower_goes_on_behind_its_cursor(follow):
    ledger, memory = Ledger([batch(1), batch(2), batch(3)]), MemoryDestination()

    courier = follow(ledger, lambda: memory, progress=Progress(batch=2, record=20, position={"x": 1}))
    until(lambda: courier.caught_up)

    assert [one.id for one in memory.batches] == [3]
    assert memory.run.position == {"x": 1}


def test_only_the_kinds_it_takes_are_given(follow):
    ledger, memory = Ledger([batch(1), batch(2, kind="task")]), MemoryDestination()
    memory.kinds = frozenset({"task"})

    courier = follow(ledger, lambda: memory)
    until(lambda: courier.caught_up)

    assert [one.id for one in memory.batches] == [2]
    assert len(memory.batches[0]) == 0
    assert [one.kind for one in memory.batches[0].entries] == ["task"]


@pytest.mark.parametrize("error", [Retry("later"), OSError("down"), ZeroDivisionError()])
def test_a_failure_is_tried_again_with_the_same_batch(follow, error):
    failing = FailingDestination(error, times=5)
    ledger = Ledger([batch(1), batch(2)])

    courier = follow(ledger, lambda: failing)
    until(lambda: courier.caught_up)

    assert [one.id for one in failing.kept.batches] == [1, 2]
    assert [len(one) for one in failing.kept.batches] == [4, 4]
    assert courier.health()["retries"] == 5
    assert courier.health()["skipped"] == 0
    assert courier.error is None


def test_a_destination_that_is_down_loses_nothing_however_long(follow):
    failing = FailingDestination(OSError("down"), times=80)
    ledger = Ledger([batch(1), batch(2)])

    courier = follow(ledger, lambda: failing)
    until(lambda: courier.health()["retries"] > 30)
    assert ledger.saved == []
    assert courier.state == "retrying"
    until(lambda: courier.caught_up, 60)

    assert courier.health()["skipped"] == 0
    assert given(failing.kept) == [1, 2, 3, 4, 11, 12, 13, 14]


class Picky(MemoryDestination):
    """Refuses the batches that have one of these records."""

    def __init__(self, bad, error=ValueError("bad record")):
        super().__init__()
        self.bad = set(bad)
        self.failure = error
        self.tries = 0

    def write(self, batch):
        self.tries += 1
        numbers = {*batch.record.tolist(), *(entry.record for entry in batch.entries)}
        if numbers & self.bad:
            raise self.failure
        super().write(batch)


@pytest.mark.parametrize("bad", [{3}, {1}, {4, 11}, {15}, {1, 2}, {25}])
def test_a_bad_record_is_found_by_halving_and_given_up_alone(follow, bad):
    picky = Picky(bad)
    ledger = Ledger([batch(1), batch(2), batch(3)])

    courier = follow(ledger, lambda: picky)
    until(lambda: courier.caught_up, 30)

    wanted = [number for one in ledger.batches.values() for number in one.record.tolist()]
    assert [number for number in wanted if number not in bad] == given(picky)
    assert [1 + number // 10 for number in (5, 15, 25) if number not in bad] == [
        entry.payload["n"] for one in picky.batches for entry in one.entries
    ]
    assert len(bad) == courier.health()["skipped"]
    assert ledger.saved[-1].batch == 3


def test_values_stay_with_their_records_when_a_batch_is_halved(follow):
    picky = Picky({2})
    ledger = Ledger([batch(1, 6), batch(2)])

    courier = follow(ledger, lambda: picky)
    until(lambda: courier.caught_up, 30)

    whole = [one for one in ledger.batches[1].records() if one.record != 2]
    assert whole == [one for piece in picky.batches if piece.id == 1 for one in piece.records()]
    assert [piece.meta for piece in picky.batches if piece.id == 1 and piece.meta] == [{0: {"level": 1}}]


def test_a_lone_bad_record_is_given_up_once_the_next_batch_shows_it(follow, monkeypatch):
    monkeypatch.setattr(retry, "_RISK_SECS", 0.02)
    picky = Picky({1})
    picky.kinds = frozenset({"points"})
    ledger = Ledger([batch(1, 1)])

    courier = follow(ledger, lambda: picky)
    until(lambda: picky.tries > 25)
    assert ledger.saved == []
    ledger.batches[2] = batch(2)
    courier.wake()
    until(lambda: courier.caught_up, 30)

    assert given(picky) == [11, 12, 13, 14]
    assert courier.health()["skipped"] == 1
    assert [one.batch for one in ledger.saved] == [2]


def test_skip_gives_records_up_and_counts_them(follow):
    class Skipping(MemoryDestination):
        def write(self, batch):
            super().write(batch)
            if batch.id == 1:
                raise Skip((2, 3, 999), "too odd")
            if batch.id == 2:
                raise Skip

    ledger, skipping = Ledger([batch(1), batch(2), batch(3)]), Skipping()
    courier = follow(ledger, lambda: skipping)
    until(lambda: courier.caught_up)

    assert [one.id for one in skipping.batches] == [1, 2, 3]
    assert courier.health()["skipped"] == 2 + 5
    assert "skip dest" in ledger.said


def test_stop_is_said_once_and_ends_only_this_destination(follow):
    ledger = Ledger([batch(1)])
    stopping = follow(ledger, lambda: FailingDestination(Stop("no such project")))
    other = MemoryDestination()
    courier = follow(ledger, lambda: other)

    until(lambda: stopping.state == "stopped" and courier.caught_up)

    assert stopping.caught_up
    assert stopping.health()["error"] == "no such project"
    assert stopping.health()["lag"] == 10
    assert [one for one in ledger.saved if one.batch == 1][1:] == []
    assert [one.id for one in other.batches] == [1]


def test_a_destination_that_cannot_be_opened_is_tried_again(follow):
    tries = []

    def factory():
        tries.append(1)
        if len(tries) < 4:
            raise ConnectionError("not yet")
        return MemoryDestination()

    courier = follow(Ledger([batch(1)]), factory)
    until(lambda: courier.caught_up)

    assert courier.health()["retries"] == 3


def test_a_hanging_destination_delays_only_itself(follow):
    ledger, hanging, memory = Ledger([batch(1), batch(2)]), HangingDestination(), MemoryDestination()
    stuck, fine = follow(ledger, lambda: hanging), follow(ledger, lambda: memory)
    until(lambda: fine.caught_up)
    assert hanging.entered.wait(5)

    stuck.leave()

    assert not stuck.join(0.05)
    assert not stuck.caught_up
    assert [one.id for one in memory.batches] == [1, 2]
    hanging.release()
    assert stuck.join(5)


def test_a_cursor_that_cannot_be_saved_holds_everything(follow):
    ledger, memory = Ledger([batch(1), batch(2)]), MemoryDestination()
    fails = [OSError("full")] * 3
    save = ledger.saved.append

    def failing_save(progress):
        if fails:
            raise fails.pop()
        save(progress)

    ledger.saved = type("Saved", (list,), {"append": lambda _, progress: failing_save(progress)})()
    courier = follow(ledger, lambda: memory)
    until(lambda: courier.caught_up)

    assert [one.id for one in memory.batches] == [1, 2]
    assert courier.progress.batch == 2


def test_a_damaged_batch_is_passed_over_and_counted(follow):
    ledger, memory = Ledger([batch(1), batch(2), batch(3)]), MemoryDestination()

    class Damaged(dict):
        def __getitem__(self, id):
            if id == 2:
                raise CorruptError("flipped")
            return super().__getitem__(id)

    ledger.batches = Damaged(ledger.batches)
    courier = follow(ledger, lambda: memory)
    until(lambda: courier.caught_up)

    assert [one.id for one in memory.batches] == [1, 3]
    assert courier.health()["skipped"] == 1


def test_the_position_is_saved_with_the_cursor(follow):
    class Positioned(MemoryDestination):
        position: dict | None = None

        def write(self, batch):
            super().write(batch)
            self.position = {"size": batch.id * 100}

    ledger = Ledger([batch(1), batch(2)])
    courier = follow(ledger, Positioned)
    until(lambda: courier.caught_up)

    assert [(one.batch, one.position) for one in ledger.saved] == [(1, {"size": 100}), (2, {"size": 200})]


def test_no_thread_is_left_when_followers_leave(follow):
    courier = follow(Ledger([batch(1)]), MemoryDestination)
    until(lambda: courier.caught_up)

    courier.leave()

    assert courier.join(5)
    assert courier.state == "closed"
    assert not [
        one
        for one in threading.enumerate()
        if one.name == "steno-deliver-dest" and one.is_alive() and one is courier._thread
    ]
