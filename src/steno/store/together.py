"""What waits for an object store, several at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from steno.objects.s3 import READS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

A = TypeVar("A")
T = TypeVar("T")


def each(call: Callable[[A], T], of: Sequence[A], at_once: int = READS_AT_ONCE) -> list[T]:
    """What `call` gives for each of these, in their order; at most `at_once` calls run at a time.

    What one of them raises is raised, and what has not started by then is not called.
    """
    if len(of) < 2:
        return [call(one) for one in of]
    with ThreadPoolExecutor(min(at_once, len(of)), thread_name_prefix="steno-fetch") as pool:
        return list(pool.map(call, of))
