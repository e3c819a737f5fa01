"""How long to wait before the next try."""

from __future__ import annotations


class Backoff:
    """Waits that grow with each failure and begin anew after `reset`. Not thread-safe.

    Args:
        first_secs: the first wait.
        last_secs: no wait is longer.
        factor: how much longer each wait is than the one before it.
    """

    __slots__ = ("_factor", "_secs", "first_secs", "last_secs")

    def __init__(self, first_secs: float, last_secs: float, factor: float = 2.0) -> None:
        self.first_secs = first_secs
        self.last_secs = last_secs
        self._factor = factor
        self._secs = first_secs

    def next(self) -> float:
        """Seconds to wait now; the next wait is longer."""
        now = min(self._secs, self.last_secs)
        self._secs = now * self._factor
        return now

    def reset(self) -> None:
        """Something went well: the next wait is the first again."""
        self._secs = self.first_secs
