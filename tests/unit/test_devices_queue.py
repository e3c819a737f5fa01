"""The device queue: in order, bounded, counted; nobody waits who did not ask to."""

from __future__ import annotations

import os
import threading
import time

import pytest

from steno.capture.late import device_queue
from steno.capture.late.device_queue import Account, DeviceQueue
from steno.devices.base import Refused


class Value:
    """A late value that is there when it is told to be."""

    def __init__(self, value, lane="a", size_bytes=1, there=False):
        self.value, self.lane, self.size_bytes = value, lane, size_bytes
        self.places = [0]
        self.there = there
        self.dropped = False

    def ready(self):
        return self.there

    def read(self):
        if isinstance(self.value, Exception):
            raise self.value
        return [self.value]

    def drop(self):
        self.dropped = True


@pytest.fixture
def queue():
    """A queue whose thread ends with the test."""
    made = DeviceQueue()
    yield made
    made.end()


def test_values_of_a_lane_are_told_in_order_and_lanes_do_not_wait_for_each_other(queue):
    account, got = Account(), []
    slow, after, other = Value("slow"), Value("after", there=True), Value("other", lane="b", there=True)
    for value in (slow, after, other):
        queue.submit(value, got.append, account)
    assert not queue.drain(account, time.monotonic() + 0.05)
    assert got == [["other"]]
    slow.there = True
    assert queue.drain(account, time.monotonic() + 60)
    assert got == [["other"], ["slow"], ["after"]]
    assert (account.waiting, account.arrived, account.failed) == (0, 3, 0)


def test_a_value_that_cannot_be_read_and_a_sink_that_raises_stop_nothing(queue):
    account, got = Account(), []

    def broken(values):
        raise RuntimeError("a handler of the user's")

    queue.submit(Value(ValueError("deleted"), there=True), got.append, account)
    queue.submit(Value(1, there=True), broken, account)
    queue.submit(Value(2, there=True), got.append, account)
    assert queue.drain(account, time.monotonic() + 60)
    (told,), last = got
    # The sink is told why, for it knows the key to report.
    assert isinstance(told, Refused)
    assert "deleted" in str(told)
    assert last == [2]
    assert (account.failed, account.arrived) == (1, 2)


def test_beyond_the_bytes_the_oldest_is_given_up_and_counted(queue, monkeypatch):
    monkeypatch.setattr(device_queue, "MOST_BYTES", 100)
    account, got = Account(), []
    values = [Value(i, size_bytes=40) for i in range(5)]
    for value in values:
        queue.submit(value, got.append, account)
    assert account.given_up == 3
    assert [value.dropped for value in values] == [True, True, True, False, False]
    for value in values:
        value.there = True
    assert queue.drain(account, time.monotonic() + 60)
    assert got == [[3], [4]]


def test_beyond_the_count_the_newest_is_given_up_where_that_was_asked_for(queue, monkeypatch):
    monkeypatch.setattr(device_queue, "MOST", 2)
    account, got = Account(full="newest"), []
    values = [Value(i) for i in range(5)]
    for value in values:
        queue.submit(value, got.append, account)
    assert account.given_up == 3
    for value in values:
        value.there = True
    assert queue.drain(account, time.monotonic() + 60)
    assert got == [[0], [1]]


def test_waiting_for_room_loses_nothing_and_is_counted(queue, monkeypatch):
    monkeypatch.setattr(device_queue, "MOST", 1)
    account, got = Account(full="wait"), []
    first = Value(0)
    queue.submit(first, got.append, account)
    threading.Timer(0.05, lambda: setattr(first, "there", True)).start()
    queue.submit(Value(1, there=True), got.append, account)
    assert queue.drain(account, time.monotonic() + 60)
    assert got == [[0], [1]]
    assert account.waited_secs >= 0.03
    assert account.given_up == 0


def test_abandon_gives_up_one_owners_values_only(queue):
    mine, yours, got = Account(), Account(), []
    a, b = Value("mine"), Value("yours")
    queue.submit(a, got.append, mine)
    queue.submit(b, got.append, yours)
    queue.abandon(mine)
    assert a.dropped
    assert (mine.given_up, mine.waiting, yours.waiting) == (1, 0, 1)
    b.there = True
    assert queue.drain(yours, time.monotonic() + 60)
    assert got == [["yours"]]


def test_submit_from_many_threads_tells_each_value_once(queue):
    account, got = Account(), []

    def work(name):
        for index in range(200):
            queue.submit(Value((name, index), lane=name, there=True), got.append, account)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.drain(account, time.monotonic() + 60)
    assert account.arrived == 800
    for name in range(4):
        assert [value[0][1] for value in got if value[0][0] == name] == list(range(200))


def test_a_submit_that_a_handler_interrupts_while_it_holds_the_lock_does_not_hang(queue):
    account, got = Account(), []
    with queue._lock:
        queue.submit(Value(1, there=True), got.append, account)
    assert queue.drain(account, time.monotonic() + 60)
    assert got == [[1]]


def test_a_forked_child_begins_empty_and_works():
    account = Account()
    stuck = Value("parent")
    device_queue.QUEUE.submit(stuck, [].append, account)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            mine, got = Account(), []
            empty = device_queue.QUEUE._count == 0
            device_queue.QUEUE.submit(Value("child", there=True), got.append, mine)
            done = device_queue.QUEUE.drain(mine, time.monotonic() + 60)
            code = 0 if empty and done and got == [["child"]] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    device_queue.QUEUE.abandon(account)
    assert account.given_up == 1


def test_room_speaks_for_the_account(queue):
    account = Account(full="newest")
    with pytest.raises(Refused):
        queue.room(account).reuse("a")
    assert account.given_up == 1
