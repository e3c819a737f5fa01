"""Values that are kept up to a weight, as long as nobody needs the room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

T = TypeVar("T")


class WeightedCache(Generic[T]):
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
