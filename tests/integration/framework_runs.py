"""Opens the runs that trainings made, once everything is there: this machine may be slow."""

from __future__ import annotations

import time

import steno


def settled(run_dir):
    """A run that has ended, with all that it owes."""
    steno.sync(run_dir)
    return steno.open(run_dir)


def with_points(run_dir, key, count, timeout=30.0):
    """A run that goes on, with that many points."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            book = steno.open(run_dir)
            if len(book.series(key).value) >= count:
                return book
        except (KeyError, ValueError, steno.UsageError):
            pass
        assert time.monotonic() < deadline, f"{key} cannot be read"
        time.sleep(0.05)
