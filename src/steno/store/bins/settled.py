"""What was read of ended runs and of their parts, kept as long as their files are the same."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

_YOUNG_NANOS: Final = 2_000_000_000
"""A file that was changed so shortly ago may change again within one tick of its file system's clock."""
_WATCHED: Final = (
    "", "run.json", "manifest.json", "edits.jsonl", ".steno", ".steno/journal", ".steno/attempts", ".steno/nodes",
)  # fmt: skip

T = TypeVar("T")


def stamps(run_dir: Path) -> tuple[Any, ...] | None:
    """What tells whether an ended run is as it was; None: too young to be told."""
    now = time.time_ns()
    found: list[tuple[int, int, int] | None] = []
    place = os.fspath(run_dir)
    for name in _WATCHED:
        try:
            state = os.lstat(f"{place}/{name}")
        except OSError:
            found.append(None)
            continue
        if state.st_mtime_ns > now - _YOUNG_NANOS:
            return None
        found.append((state.st_size, state.st_mtime_ns, state.st_ino))
    return tuple(found)


class Kept(Generic[T]):
    """Values by key, the last used ones, up to a total weight. Thread-safe; a forked child makes its own."""

    def __init__(self, most: int) -> None:
        self._most, self._weight = most, 0
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        """The value of a key, if it is kept."""
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: T, weight: int) -> None:
        """Keep a value; one that weighs too much alone is not kept."""
        if weight > self._most:
            return
        with self._lock:
            old = self._held.pop(key, None)
            self._weight += weight - (0 if old is None else old[1])
            self._held[key] = (value, weight)
            while self._weight > self._most:
                self._weight -= self._held.popitem(last=False)[1][1]

    def __len__(self) -> int:
        return len(self._held)
