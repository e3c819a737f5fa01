"""The state of a run in a store, out of what its nodes say there."""

from __future__ import annotations

import itertools
import json

import pytest

from steno.ledger import node_object

_RUN = itertools.count()


def node(number, *, world, attempts, ended=False, state="live", ranks=None):
    """What a node says that was in these attempts with these ranks."""
    streams = [
        {
            "node": number,
            "stream": f"{next(_RUN):04d}",
            "pid": 1,
            "host": "h",
            "boot": "b",
            "rank": rank,
            "attempt": own,
            "primary": True,
            "state": state,
            "started": 1,
            "last_time": 2,
            "last_seq": 3,
            "records": 3,
            "points": 3,
            "lost_bytes": 0,
            "unfilled": 0,
            "error": None,
        }
        for own in range(1, len(attempts) + 1)
        for rank in (ranks or [number])
    ]
    shared = {str(own): of_run for own, of_run in enumerate(attempts, 1)}
    said = {"node": number, "ended": ended, "world_size": world, "shared": shared, "streams": streams}
    empty = {"parts": [], "losses": [], "entries": [], "attempts": [], "config": {}, "summary": {}, "unsealed": ""}
    return json.loads(json.dumps({**empty, **said, "silent_secs": 50.0, "written": 1}))


def state(*said, ages=None):
    found = node_object.united(said, ages or {})
    return found["state"], len(found["silent"])


def done(number, **about):
    return node(number, ended=True, state="finished", **about)


def test_a_host_that_was_replaced_is_not_waited_for_even_for_a_moment():
    vanished = node(1, world=2, attempts=[1])
    first, new = done(0, world=2, attempts=[1, 2]), done(2, world=2, attempts=[2], ranks=[1])
    assert state(first, vanished, new) == ("finished", 0)
    assert state(first, vanished, new, ages={1: 200.0}) == ("finished", 0)
    # Its successor has ended, and the first host has not.
    assert state(node(0, world=2, attempts=[1, 2]), vanished, new) == ("running", 0)
    assert state(node(0, world=2, attempts=[1, 2]), vanished, new, ages={0: 200.0}) == ("running", 1)
    assert state(node(0, world=2, attempts=[1, 2]), vanished, new, ages={0: 4000.0}) == ("crashed", 1)


def test_hosts_that_a_smaller_world_has_no_room_for_are_not_waited_for():
    gone = [node(number, world=64, attempts=[1]) for number in range(48, 64)]
    rest = [done(number, world=48, attempts=[1, 2]) for number in range(48)]
    assert state(*rest, *gone) == ("finished", 0)
    assert state(*rest[1:], node(0, world=48, attempts=[1, 2]), *gone) == ("running", 0)


@pytest.mark.parametrize(("age", "found"), [(0.0, "running"), (60.0, "finished")])
def test_a_host_of_an_earlier_attempt_whose_rank_nobody_has_may_join_as_long_as_it_gives_news(age, found):
    late = node(1, world=2, attempts=[1])
    assert state(done(0, world=2, attempts=[1, 2]), late, ages={1: age}) == (found, 0)


def test_a_host_that_has_said_no_more_than_that_it_is_there_is_waited_for():
    new = node(1, world=2, attempts=[])
    assert state(done(0, world=2, attempts=[1]), new) == ("running", 0)
    assert state(done(0, world=2, attempts=[1]), new, ages={1: 100.0}) == ("running", 1)
