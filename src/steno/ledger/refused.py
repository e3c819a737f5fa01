"""What an attempt's records had that no column can hold: counted by key, for the line at the end of the run."""

from __future__ import annotations

from typing import Any, Final

_KEYS: Final = 1000
_SHOWN: Final = 3


class RefusedCounts:
    """Counts of the latest attempt since this process began. Used by one thread."""

    def __init__(self) -> None:
        self._attempt = 0
        self._keys: dict[str, tuple[int, str]] = {}
        self.values = 0
        """All of them."""

    def add(self, attempt: int, key: str, times: int, reason: str) -> None:
        """Values of so many records under a key."""
        if attempt > self._attempt:
            self._attempt, self._keys, self.values = attempt, {}, 0
        if attempt < self._attempt:
            return
        self.values += times
        if key in self._keys or len(self._keys) < _KEYS:
            self._keys[key] = self._keys.get(key, (0, ""))[0] + times, reason

    def as_data(self) -> dict[str, Any]:
        """For the status: how many values of how many keys, and the keys that have most."""
        most = sorted(self._keys.items(), key=lambda item: -item[1][0])[:_SHOWN]
        return {
            "attempt": self._attempt,
            "values": self.values,
            "keys": len(self._keys),
            "most": [[key, times, reason] for key, (times, reason) in most],
        }
