"""What may stand before a segment's `write`: a lock, or the question whose process it is."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class OwnerOnly:
    """A segment's `write` around a fork: refuses in the child, by ValueError.

    Args:
        on_foreign_fork: called in the child before that.
        raw: the `write` itself.
    """

    __slots__ = ("_on_foreign_fork", "_pid", "raw")

    def __init__(self, on_foreign_fork: Callable[[], None], raw: Callable[[bytes], Any]) -> None:
        self._on_foreign_fork = on_foreign_fork
        self._pid = os.getpid()
        self.raw = raw

    def __call__(self, frame: bytes) -> None:
        if os.getpid() != self._pid:
            self._on_foreign_fork()
            raise ValueError
        self.raw(frame)


def guarded(write: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """The `write` with a lock, for builds without a GIL."""
    lock = threading.RLock()

    def locked(frame: bytes) -> None:
        with lock:
            write(frame)

    return locked
