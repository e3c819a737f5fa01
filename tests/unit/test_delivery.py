"""One law on both roads: the same bad destinations by name, under a collector, and as objects in the program."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from steno.capture.inprocess import feed as feeds
from steno.capture.recorder import Recorder
from steno.collector import catalogue
from steno.collector.followers import Delivery
from steno.collector.journals import JournalReader
from steno.collector.reading import Marker
from steno.delivery import retry
from steno.delivery.courier import Courier
from steno.destinations import registry
from steno.errors import Retry, Skip, Stop
from steno.ledger import schema, streams
from steno.ledger.post import Poster
from steno.ledger.read import Reader
from steno.record import RunInfo
from steno.testing import FailingDestination, HangingDestination, MemoryDestination, SlowDestination

POINTS = frozenset({"points"})


def until(condition, timeout_secs=60.0):
    deadline = time.monotonic() + timeout_secs
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


class Road:
    """Records on their way into one destination, along a real journal."""

    def __init__(self, place, destination):
        self.dir = place
        self.destination = destination
        self.recorder = Recorder(place, run_id="r", report=lambda key, message: pytest.fail(f"{key}: {message}"))

    def log(self, *numbers):
        for number in numbers:
            self.recorder.log({"x": float(number)})

    def health(self):
        return self.courier.health()


class AsObject(Road):
    def __init__(self, place, destination):
        super().__init__(place, destination)
        self._said = {}
        self.feed = feeds.Feed(
            self.recorder, destination, RunInfo(place, "r", "r", "p"), name="dest", report=self._said.setdefault
        )
        self.feed.start()
        self.courier = self.feed.courier

    def said(self):
        return "\n".join(self._said.values())

    def end(self, timeout_secs):
        """As `finish` does; whether all was delivered."""
        return feeds.end_all([self.feed], time.monotonic() + timeout_secs, timeout_secs)

    def close(self):
        self.courier.leave()
        self.recorder.close()
        assert self.courier.join(60)


class ByName(Road):
    """What a collector does for one process: it posts the journal into the ledger, and followers follow it."""

    def __init__(self, place, destination):
        super().__init__(place, destination)
        asked = place / ".steno" / "destinations"
        asked.mkdir(parents=True)
        (asked / "dest.json").write_text(json.dumps({"name": "dest", "kind": "file", "options": {}}))
        self._said = {}
        self.node = catalogue.claim(place)
        self.connection, self.lock = schema.begin(self.node.ledger, 0), threading.RLock()
        self.poster = Poster(self.connection, self.node.number, self.lock)
        (found,) = streams.find(place)
        self.marker = Marker(place / "reading")
        self.journal = JournalReader(
            found, self.poster, self.marker, say=self._said.setdefault, poison=place / "poison"
        )
        self.delivery = Delivery(
            place, self.node, connection=self.connection, lock=self.lock, reader=Reader(place),
            say=self._said.setdefault,
        )  # fmt: skip
        self.delivery.look(time.monotonic())
        self.courier = self.delivery.followers["dest"]
        self.left = threading.Event()
        self.thread = threading.Thread(target=self.collect)
        self.thread.start()

    def collect(self):
        while not self.left.wait(0.01):
            self.post()

    def post(self):
        self.journal.look(time.monotonic())
        self.journal.alive = True  # its lock is this process's own, which sees none
        batch = self.poster.post([*self.journal.read(1 << 20, time.monotonic_ns())])
        self.delivery.publish(self.poster.next_batch - 1, self.poster.next_record - 1, batch)

    def said(self):
        return "\n".join(self._said.values())

    def end(self, timeout_secs):
        """As `finish` does, and then the collector; whether all was delivered."""
        self.stop()
        self.post()
        deadline = time.monotonic() + timeout_secs
        while not self.delivery.caught_up and time.monotonic() < deadline:
            time.sleep(0.002)
        return self.delivery.close(1.0, 1.0)

    def stop(self):
        self.left.set()
        self.thread.join()

    def close(self):
        self.stop()
        self.recorder.close()
        self.delivery.close(5.0, 5.0)
        assert self.courier.join(60)
        self.journal.close()
        self.marker.close()
        self.connection.close()


@pytest.fixture(params=[AsObject, ByName])
def road(request, tmp_path, monkeypatch):
    """Begins a road into a destination; failures are tried again soon."""
    monkeypatch.setattr(feeds, "FIRST_WAIT_SECS", 0.001)
    monkeypatch.setattr(feeds, "LAST_WAIT_SECS", 0.004)
    monkeypatch.setitem(Courier.__init__.__kwdefaults__, "first_wait_secs", 0.001)
    monkeypatch.setitem(Courier.__init__.__kwdefaults__, "last_wait_secs", 0.004)
    monkeypatch.setitem(registry.BUILT_IN, "dest", (f"{__name__}:made", "file"))
    roads = []

    def begin(destination):
        monkeypatch.setattr(sys.modules[__name__], "made", lambda: destination, raising=False)
        roads.append(request.param(tmp_path / "run", destination))
        return roads[-1]

    (tmp_path / "run").mkdir()
    yield begin
    for one in roads:
        release = getattr(one.destination, "release", None)
        if release is not None:
            release()
        one.close()


@pytest.fixture
def impatient(monkeypatch):
    """What comes behind a refused record is tried soon."""
    monkeypatch.setattr(retry, "_RISK_SECS", 0.02)


class Keeping(MemoryDestination):
    """Keeps the numbers it took, in order, and of each write what it was given."""

    kinds = POINTS

    def __init__(self):
        super().__init__()
        self.taken = []
        self.given = []

    def write(self, batch):
        numbers = [int(record.values["x"]) for record in batch.records()]
        self.given.append((batch.id, numbers))
        self.refuse(numbers)
        super().write(batch)
        self.taken += numbers

    def refuse(self, numbers):
        """Raise what is to be raised."""


class Picky(Keeping):
    def __init__(self, bad, error=ValueError):
        super().__init__()
        self.bad, self.error = set(bad), error

    def refuse(self, numbers):
        if self.bad.intersection(numbers):
            raise self.error(f"cannot take one of {len(numbers)} at {time.monotonic()}")


class Down(Keeping):
    """Fails a number of times, from its first write on or when it has taken some."""

    def __init__(self, error, times, after=0):
        super().__init__()
        self.error, self.times, self.after = error, times, after
        self.failed = 0

    def refuse(self, numbers):
        if self.failed < self.times and len(self.taken) >= self.after:
            self.failed += 1
            raise self.error


def test_everything_comes_once_in_order_and_is_flushed_while_the_run_goes_on(road):
    kept = Keeping()
    way = road(kept)
    way.log(*range(100))
    until(lambda: kept.taken == [*range(100)])
    until(lambda: kept.flushes)
    way.log(*range(100, 200))
    assert way.end(10)
    assert kept.taken == [*range(200)]
    assert kept.closed


def test_health_has_the_same_names_on_both_roads(road):
    kept = Keeping()
    way = road(kept)
    way.log(*range(10))
    until(lambda: way.health()["lag"] == 0 and len(kept.taken) == 10)
    assert way.health() == {
        "state": "waiting", "delivered": way.health()["record"], "lag": 0, "batch": way.health()["batch"],
        "record": way.health()["record"], "count": 10, "skipped": 0, "retries": 0, "errors": 0, "error": None,
        "position": None,
    }  # fmt: skip


BAD = {
    "one": {500},
    "the first": {0},
    "the last": {999},
    "two together": {500, 501},
    "the first two": {0, 1},
    "many": {*range(3, 1000, 50)},
    "a stretch": {*range(300, 400)},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_records_are_given_up_alone_counted_and_said_once(road, impatient, bad):
    picky = Picky(bad)
    way = road(picky)
    way.log(*range(1000))
    until(lambda: way.health()["count"] + way.health()["skipped"] >= 1000)
    assert picky.taken == [number for number in range(1000) if number not in bad]
    health = way.health()
    assert (health["count"], health["skipped"]) == (1000 - len(bad), len(bad))
    assert way.said().count("gave up") == 1
    way.log(1000)
    until(lambda: picky.taken[-1] == 1000)
    assert way.end(10)
    assert way.health()["error"] is None


def test_records_that_are_bad_one_after_the_other_do_not_stop_those_that_are_logged_later(road, impatient):
    """Each in a batch of its own, where nothing beside it shows that the destination works."""
    picky = Picky({1, 2})
    way = road(picky)
    for number in range(3):
        way.log(number)
        until(lambda: picky.given and number in picky.given[-1][1])
    way.log(*range(3, 50))
    until(lambda: picky.taken[-1:] == [49])
    until(lambda: way.health()["skipped"])
    assert picky.taken == [0, *range(3, 50)]
    assert way.health()["skipped"] == 2


ERRORS = [Retry("later"), OSError("down"), KeyboardInterrupt(), SystemExit(3), type("Own", (BaseException,), {})()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_failure_of_any_kind_is_the_same_batch_again(road, error):
    down = Down(error, 9)
    way = road(down)
    way.log(*range(50))
    until(lambda: len(down.taken) == 50)
    assert down.taken == [*range(50)]
    first = down.given[0]
    assert down.given[:10] == [first] * 10
    until(lambda: way.health()["error"] is None)
    assert (way.health()["retries"], way.health()["skipped"]) == (9, 0)
    assert way.said().count("trying again") == 1


def test_an_outage_that_says_retry_never_halves_a_batch_however_long(road):
    down = Down(Retry("service down"), 300)
    way = road(down)
    way.log(*range(100))
    until(lambda: down.failed > 50)
    way.log(*range(100, 200))
    until(lambda: len(down.taken) == 200)
    assert down.taken == [*range(200)]
    assert down.given[:301] == [down.given[0]] * 301
    assert way.health()["skipped"] == 0


@pytest.mark.parametrize("times", [10, 15, 40, 80, 200])
def test_an_outage_that_looks_like_a_bad_record_loses_nothing(road, times):
    down = Down(OSError("down"), times)
    way = road(down)
    way.log(*range(100))
    until(lambda: down.given)
    way.log(*range(100, 200))
    until(lambda: len(down.taken) == 200)
    assert down.taken == [*range(200)]
    assert way.health()["skipped"] == 0


@pytest.mark.parametrize("times", [1, 9, 30, 100])
def test_an_outage_while_a_batch_is_halved_loses_nothing(road, times):
    class Both(Down):
        def refuse(self, numbers):
            super().refuse(numbers)
            if 70 in numbers:
                raise ValueError("bad")

    both = Both(ValueError("down"), times, after=50)
    way = road(both)
    way.log(*range(100))
    until(lambda: both.failed == times and len(both.taken) >= 98)
    way.log(*range(100, 200))
    until(lambda: way.health()["count"] + way.health()["skipped"] == 200)
    assert sorted(both.taken) == [number for number in range(200) if number != 70]
    assert way.health()["skipped"] == 1


def test_retry_amid_a_batch_that_is_halved_halves_no_further(road):
    class Both(Down):
        def refuse(self, numbers):
            if 70 in numbers and len(numbers) > 20:
                raise ValueError("bad")
            super().refuse(numbers)

    both = Both(Retry("down"), 40, after=50)
    way = road(both)
    way.log(*range(100))
    until(lambda: len(both.taken) == 100)
    assert both.taken == [*range(100)]
    assert way.health()["skipped"] == 0
    refused = [given for given in both.given if given[1] and given[1][0] >= 50 and len(given[1]) <= 20]
    assert max(refused.count(one) for one in refused) > 40


def test_failures_of_several_kinds_are_no_sign_of_a_bad_record(road):
    errors = [*[OSError] * 9, *[Retry] * 10, *[TimeoutError] * 9, *[Retry] * 30, *[ValueError] * 9]

    class Changing(Keeping):
        tries = 0

        def refuse(self, numbers):
            self.tries += 1
            if self.tries <= len(errors):
                raise errors[self.tries - 1]("down")

    changing = Changing()
    way = road(changing)
    way.log(*range(50))
    until(lambda: len(changing.taken) == 50)
    assert changing.given[: len(errors) + 1] == [changing.given[0]] * (len(errors) + 1)


def test_a_good_record_that_is_refused_by_chance_is_kept(road):
    class Shaky(Keeping):
        tries = 0

        def refuse(self, numbers):
            self.tries += 1
            if self.tries <= 12 or (self.tries < 200 and self.tries % 3):
                raise OSError("shaky")

    shaky = Shaky()
    way = road(shaky)
    way.log(*range(64))
    until(lambda: len(shaky.taken) == 64)
    assert sorted(shaky.taken) == [*range(64)]
    assert way.health()["skipped"] == 0


def test_skip_gives_up_what_it_names_and_nothing_else(road):
    class Skipping(Keeping):
        def write(self, batch):
            super().write(batch)
            wanted = [
                number for number, record in zip(batch.record, batch.records(), strict=True) if record.values["x"] < 3
            ]
            if wanted:
                raise Skip([*wanted, 10**9], "too odd")

    skipping = Skipping()
    way = road(skipping)
    way.log(*range(100))
    until(lambda: way.health()["count"] == 97)
    assert way.health()["skipped"] == 3
    assert skipping.taken == [*range(100)]  # given once, and dealt with
    assert way.said().count("too odd") == 1


def test_skip_without_records_gives_up_the_batch(road):
    class Skipping(Keeping):
        def refuse(self, numbers):
            if 0 in numbers:
                raise Skip

    skipping = Skipping()
    way = road(skipping)
    way.log(*range(10))
    until(lambda: skipping.given and way.health()["skipped"] == len(skipping.given[0][1]))
    way.log(*range(10, 20))
    until(lambda: skipping.taken[-1:] == [19])
    assert skipping.taken == [*range(skipping.given[0][1][-1] + 1, 20)]


def test_skip_of_a_half_counts_for_that_half_alone(road):
    class Both(Picky):
        def refuse(self, numbers):
            super().refuse(numbers)
            if 0 in numbers:
                raise Skip((), "the first piece")

    both = Both({900})
    way = road(both)
    way.log(*range(1000))
    until(lambda: way.health()["count"] + way.health()["skipped"] == 1000)
    assert sorted(
        {900, *both.taken, *next(numbers for _, numbers in both.given if 0 in numbers and 900 not in numbers)}
    ) == [*range(1000)]
    assert way.health()["count"] == len(both.taken)


@pytest.mark.parametrize("where", ["open", "write", "flush"])
def test_stop_is_said_once_and_its_destination_closed(road, where):
    class Stopping(Keeping):
        closes = 0

        def open(self, run):
            self.at("open")
            super().open(run)

        def refuse(self, numbers):
            self.at("write")

        def flush(self):
            self.at("flush")

        def close(self):
            self.closes += 1

        def at(self, here):
            if where == here:
                raise Stop("no such project")

    stopping = Stopping()
    way = road(stopping)
    way.log(*range(10))
    until(lambda: way.health()["state"] == "stopped")
    way.log(*range(10, 20))
    time.sleep(0.1)
    assert way.health()["error"] == "no such project"
    assert way.said().count("no such project") == 1
    assert stopping.closes == (where != "open")
    assert len(stopping.given) <= 1


def test_one_that_cannot_be_opened_is_tried_again(road):
    class Late(Keeping):
        opens = 0

        def open(self, run):
            self.opens += 1
            if self.opens < 4:
                raise ConnectionError("not yet")
            super().open(run)

    late = Late()
    way = road(late)
    way.log(*range(10))
    until(lambda: len(late.taken) == 10)
    assert way.health()["retries"] == 3


@pytest.mark.timing
def test_one_that_hangs_is_left_when_its_time_is_up(road):
    hanging = HangingDestination()
    way = road(hanging)
    way.log(1)
    assert hanging.entered.wait(10)
    assert way.health()["lag"] >= 1
    began = time.monotonic()
    if isinstance(way, ByName):
        assert not way.courier.join(0.3)
    else:
        assert not way.end(0.3)
    assert time.monotonic() - began < 2.0


def test_one_that_is_slow_gets_everything_there_is_time_for(road):
    slow = SlowDestination(0.05)
    slow.kept.kinds = slow.kinds = POINTS
    way = road(slow)
    for number in range(5):
        way.log(*range(number * 10, number * 10 + 10))
        time.sleep(0.06)
    assert way.end(10)
    assert [record.values["x"] for record in slow.kept.records()] == [*map(float, range(50))]


@pytest.mark.timing
def test_an_end_is_bounded_however_long_the_outage(road):
    down = FailingDestination(Retry("down"))
    down.kinds = POINTS
    way = road(down)
    way.log(*range(10))
    until(lambda: down.raised)
    began = time.monotonic()
    assert not way.end(0.5)
    assert time.monotonic() - began < 3.0
    assert way.courier.join(60)
    assert down.kept.closed
    assert way.health()["skipped"] == 0
    assert way.health()["lag"] >= 10


def test_what_was_delivered_is_flushed_before_the_end(road):
    """Where the end comes amid batches, before there was time to flush."""
    order = []

    class Ordered(Keeping):
        def refuse(self, numbers):
            order.append("write")
            if len(order) == 1:
                way.courier.leave()

        def flush(self):
            order.append("flush")

        def close(self):
            order.append("close")

    way = None
    ordered = Ordered()
    way = road(ordered)
    way.log(*range(10))
    assert way.courier.join(60)
    assert order == ["write", "flush", "close"]
    assert way.health()["delivered"] == way.health()["record"]


def test_a_flush_that_fails_is_tried_again_and_what_it_owes_counts_as_lag(road):
    class Stubborn(Keeping):
        def flush(self):
            super().flush()
            if self.flushes < 20:
                raise OSError("no room")

    stubborn = Stubborn()
    way = road(stubborn)
    way.log(*range(10))
    until(lambda: stubborn.flushes > 5)
    if stubborn.flushes < 20:
        assert way.health()["lag"] > 0 or stubborn.flushes >= 20
    assert way.end(10)
    assert stubborn.flushes >= 20
    assert stubborn.taken == [*range(10)]


def test_close_comes_once_also_when_flush_and_close_raise(road):
    class Raising(Keeping):
        closes = 0

        def flush(self):
            raise SystemExit(1)

        def close(self):
            self.closes += 1
            raise KeyboardInterrupt

    raising = Raising()
    way = road(raising)
    way.log(*range(10))
    until(lambda: len(raising.taken) == 10)
    way.courier.leave()
    assert way.courier.join(60)
    assert raising.closes == 1
    assert "KeyboardInterrupt" in way.health()["error"] or "SystemExit" in way.health()["error"]


def test_an_error_that_cannot_be_shown_is_a_failure_like_others(road):
    class Evil(Exception):
        def __repr__(self):
            raise SystemExit

        __str__ = __repr__

    down = Down(Evil(), 25)
    way = road(down)
    way.log(*range(100))
    until(lambda: len(down.taken) == 100)
    assert down.taken == [*range(100)]


def test_only_the_kinds_that_it_takes_are_given(road):
    memory = MemoryDestination()
    memory.kinds = frozenset({"event"})
    way = road(memory)
    way.log(*range(10))
    way.recorder.entry("event", {"name": "tick"})
    way.log(*range(10))
    until(lambda: memory.entries())
    assert way.end(10)
    assert [entry.payload["name"] for entry in memory.entries()] == ["tick"]
    assert memory.records() == []


def test_what_it_has_no_place_for_is_said_once_and_counted(road):
    class Narrow(Keeping):
        def __init__(self):
            super().__init__()
            self.left_out = {}

        def write(self, batch):
            super().write(batch)
            self.left_out["text"] = self.left_out.get("text", 0) + 1

    narrow = Narrow()
    way = road(narrow)
    way.log(1)
    until(lambda: narrow.taken == [1])
    way.log(2)
    until(lambda: narrow.taken == [1, 2])
    assert way.health()["left_out"]["text"] >= 2
    assert way.said().count("no place for text") == 1


@pytest.mark.parametrize("other", [3, "words", {"text": "many"}, RuntimeError("no")], ids=repr)
def test_an_attribute_of_that_name_that_means_something_else_costs_nothing(road, other):
    class Other(Keeping):
        @property
        def left_out(self):
            if isinstance(other, Exception):
                raise other
            return other

    there = Other()
    way = road(there)
    way.log(1)
    until(lambda: there.taken == [1])
    assert "left_out" not in way.health()
    assert way.end(10)


# -- an object alone: its journal is not kept for ever ------------------------------------------------------------


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setenv("STENO_SEGMENT_BYTES", str(64 << 10))
    monkeypatch.setattr(feeds, "BOUND_BYTES", 512 << 10)


@pytest.mark.parametrize("road", [AsObject], indirect=True)
@pytest.mark.parametrize("error", [Retry("down"), OSError("down")], ids=["Retry", "OSError"])
def test_an_object_that_is_down_too_long_skips_the_oldest_and_goes_on(road, narrow, error):
    down = Down(error, 10**9)
    way = road(down)
    for start in range(0, 60_000, 1000):
        way.log(*range(start, start + 1000))
        time.sleep(0.001)
    health = way.health()
    assert health["lag"] + health["skipped"] >= 60_000
    assert way.feed._kept_bytes - way.feed._done_bytes <= feeds.BOUND_BYTES
    until(lambda: way.health()["skipped"] > 0)  # while it is down, too: the oldest is what is being given
    down.times = 0
    assert way.end(20)
    assert down.taken == sorted(set(down.taken))
    assert down.taken[-1] == 59_999
    missing = 60_000 - len(down.taken)
    assert 0 < missing <= way.health()["skipped"] <= missing + 100  # numbers that full segments burnt count too
    # The newest are there without a gap, as many as are kept.
    gaps = [b for a, b in pairwise(down.taken) if b != a + 1]
    assert 60_000 - max(gaps, default=0) >= 5_000
    assert "skipping records" in way.said()


@pytest.mark.parametrize("road", [AsObject], indirect=True)
def test_an_object_within_the_bound_gets_everything_after_an_outage(road, narrow):
    down = Down(Retry("down"), 10**9)
    way = road(down)
    way.log(*range(5_000))
    until(lambda: down.failed > 20)
    down.times = 0
    assert way.end(20)
    assert down.taken == [*range(5_000)]
    assert way.health()["skipped"] == 0


@pytest.mark.parametrize("road", [AsObject], indirect=True)
@pytest.mark.parametrize("bad", [{0}, {0, 1, 2}, {700}, {999}, {*range(0, 1000, 100)}], ids=str)
def test_bad_records_are_found_within_the_time_of_the_end(road, monkeypatch, bad):
    monkeypatch.setattr(feeds, "FIRST_WAIT_SECS", 0.05)
    monkeypatch.setattr(feeds, "LAST_WAIT_SECS", 2.0)
    picky = Picky(bad)
    way = road(picky)
    way.log(*range(1000))
    assert way.end(2.0)
    assert picky.taken == [number for number in range(1000) if number not in bad]


@pytest.mark.parametrize("road", [AsObject], indirect=True)
@pytest.mark.parametrize("stops", [False, True])
def test_no_handle_is_left_when_an_object_has_ended(road, narrow, stops):
    def held():
        """Handles and maps of segments that are read; those of the recorder can be written."""
        found = []
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                flags = Path(f"/proc/self/fdinfo/{name}").read_text().split("flags:")[1].split()[0]
                if int(flags, 8) & os.O_ACCMODE == os.O_RDONLY:
                    found.append(os.readlink(f"/proc/self/fd/{name}"))
        return [path for path in found if str(way.dir) in path and ".seg" in path]

    class Ending(HangingDestination):
        def write(self, batch):
            super().write(batch)
            if stops:
                raise Stop("no more")

    hanging = Ending()
    way = road(hanging)
    for start in range(0, 20_000, 1000):
        way.log(*range(start, start + 1000))
    assert len(held()) > 3
    hanging.release()
    assert way.end(20) is not stops
    way.log(*range(20_000))
    assert held() == []
