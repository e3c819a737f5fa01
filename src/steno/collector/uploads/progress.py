"""The numbers of an upload: how much there is, how much has gone, how fast, what went wrong last."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Final

_WINDOW_SECS: Final = 10.0


class UploadCounts:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files = self._bytes = 0
        self._left: dict[str, int] = {}
        self._flying: dict[str, int] = {}
        self._moves: deque[tuple[float, int]] = deque()
        self.retries = 0
        self.error: str | None = None

    def plan(self, files: int, size: int, left: dict[str, int]) -> None:
        """All there is, and by key the bytes of what has not arrived yet."""
        with self._lock:
            self._files, self._bytes, self._left = files, size, dict(left)
            self._flying.clear()

    def moved(self, key: str, count: int) -> None:
        """Bytes of an object have gone."""
        now = time.monotonic()
        with self._lock:
            self._flying[key] = self._flying.get(key, 0) + count
            self._moves.append((now, count))
            while self._moves[0][0] < now - _WINDOW_SECS:
                self._moves.popleft()

    def arrived(self, key: str) -> None:
        """An object is there."""
        with self._lock:
            self._flying.pop(key, None)
            self._left.pop(key, None)

    def failed(self, key: str, error: str) -> None:
        """An object is not there, and will be tried again."""
        with self._lock:
            self._flying.pop(key, None)
            self.retries += 1
            self.error = error

    def numbers(self) -> dict[str, Any]:
        """files, files_left, bytes, bytes_left, rate (bytes/s of the last seconds), eta_secs, retries, error."""
        now = time.monotonic()
        with self._lock:
            left = max(sum(self._left.values()) - sum(self._flying.values()), 0)
            recent = [(at, count) for at, count in self._moves if at >= now - _WINDOW_SECS]
            spent = max(now - recent[0][0], 0.5) if recent else 0.0
            rate = sum(count for _, count in recent) / spent if spent else 0.0
            return {
                "files": self._files,
                "files_left": len(self._left),
                "bytes": self._bytes,
                "bytes_left": left,
                "rate": round(rate) if self._left else 0,
                "eta_secs": round(left / rate, 1) if self._left and rate else None,
                "retries": self.retries,
                "error": self.error,
            }
