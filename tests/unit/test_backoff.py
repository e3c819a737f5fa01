"""Waits between tries: they grow to a bound, and begin anew when something went well."""

from __future__ import annotations

import pytest

from steno.delivery.backoff import Backoff


@pytest.mark.parametrize(
    ("factor", "waits"), [(2.0, [0.5, 1.0, 2.0, 3.0, 3.0]), (4.0, [0.5, 2.0, 3.0, 3.0, 3.0]), (1.0, [0.5] * 5)]
)
def test_waits_grow_to_the_last_one_and_begin_anew(factor, waits):
    backoff = Backoff(0.5, 3.0, factor)
    assert [backoff.next() for _ in waits] == waits
    backoff.reset()
    assert [backoff.next() for _ in waits] == waits


def test_a_million_failures_do_not_overflow_the_wait():
    backoff = Backoff(0.1, 30.0)
    assert all(backoff.next() <= 30.0 for _ in range(1_000_000))
    assert backoff.next() == 30.0
