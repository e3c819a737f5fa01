"""A recorder that records nothing: `mode="off"`."""

from __future__ import annotations

from typing import Any


def _log(data: Any, step: Any = None, level: Any = None, arrays: Any = None, commit: Any = None) -> None:
    pass


def _put(data: Any, value: Any = None, step: Any = None) -> None:
    pass


class Nothing:
    """Has what a `Recorder` has, and does nothing. Thread-safe, fork-safe."""

    def __init__(self) -> None:
        self.log = _log
        self.last_record = 0
        self.has_media = False
        self.refusal = ""
        self.lost = False

    def scope(self, options: dict[str, Any], check: Any = None) -> tuple[Any, Any]:  # noqa: ARG002 - the recorder's signature
        """Two functions that do nothing."""
        return _put, _put

    def entry(self, kind: str, payload: dict[str, Any], step: int | None = None) -> None:
        """Nothing."""

    def flush(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - the recorder's signature
        """True: nothing is waiting."""
        return True

    is_bare = False

    def unposted(self) -> int:
        """Nothing is waiting."""
        return 0

    def drain(self, deadline: float | None) -> bool:  # noqa: ARG002 - the recorder's signature
        """True: no device value is on its way."""
        return True

    def health(self) -> dict[str, Any]:
        """No counts."""
        return {}

    def close(self) -> None:
        """Nothing."""
