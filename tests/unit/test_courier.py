"""Couriers: in order, with patience, one destination's trouble its own."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from steno.delivery import retry
from steno.delivery.courier import Courier
from steno.delivery.progress import DeliveryProgress
from steno.errors import CorruptError
from steno.record import Batch, Entry, RunInfo
from steno.testing.fakes import MemoryDestination


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


def until(condition, timeout_secs=60.0):
    deadline = time.monotonic() + timeout_secs
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


@pytest.fixture
def follow(tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "_RISK_SECS", 0.02)
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


def test_a_cursor_is_saved_behind_what_the_destination_has_and_never_before(follow):
    """A process that dies in a write gives that batch again."""
    ledger = Ledger([batch(1), batch(2), batch(3)])
    ahead = []

    class Watching(MemoryDestination):
        def write(self, one):
            ahead.extend(saved.batch for saved in ledger.saved if saved.batch >= one.id)
            super().write(one)

    memory = Watching()
    courier = follow(ledger, lambda: memory)
    until(lambda: courier.caught_up)
    assert [one.id for one in memory.batches] == [1, 2, 3]
    assert ahead == []


def test_a_courier_goes_on_behind_its_cursor(follow):
    ledger, memory = Ledger([batch(1), batch(2), batch(3)]), MemoryDestination()

    courier = follow(ledger, lambda: memory, progress=DeliveryProgress(batch=2, record=20, position={"x": 1}))
    until(lambda: courier.caught_up)

    assert [one.id for one in memory.batches] == [3]
    assert memory.run.position == {"x": 1}


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


def test_a_lone_bad_record_is_given_up_once_the_next_batch_shows_it(follow):
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


def test_no_thread_is_left_when_couriers_leave(follow):
    courier = follow(Ledger([batch(1)]), MemoryDestination)
    until(lambda: courier.caught_up)

    courier.leave()

    assert courier.join(60)
    assert courier.state == "closed"
    assert not [
        one
        for one in threading.enumerate()
        if one.name == "steno-deliver-dest" and one.is_alive() and one is courier._thread
    ]


def test_what_comes_without_a_pause_is_flushed_every_second(follow):
    class Endless(dict):
        def __contains__(self, id):
            return True

        def __getitem__(self, id):
            time.sleep(0.01)
            return batch(id)

        def __iter__(self):
            return iter([10**6])

    ledger, memory = Ledger([]), MemoryDestination()
    ledger.batches = Endless()
    ledger.fetch = lambda id: ledger.batches[id]
    follow(ledger, lambda: memory)
    until(lambda: memory.flushes >= 2)
    assert len(memory.batches) > 2 * memory.flushes
