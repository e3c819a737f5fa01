"""For those who write destinations: the exam, hand-made batches, and fakes."""

from __future__ import annotations

from steno.testing.batches import make_batch
from steno.testing.exam import ExamError, check_destination
from steno.testing.fakes import FailingDestination, HangingDestination, MemoryDestination, SlowDestination

__all__ = [
    "ExamError",
    "FailingDestination",
    "HangingDestination",
    "MemoryDestination",
    "SlowDestination",
    "check_destination",
    "make_batch",
]
