"""The mark of what is being decoded, so that a frame that kills the collector is found."""

from __future__ import annotations

import json
import mmap
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_BYTES = 4096
_DEADLY = 2
"""Deaths at exactly one frame; one while a longer stretch was decoded does not count."""


class Marker:
    """A few bytes in a mapped file: written before decoding, cleared after it, read by the next collector.

    A death while a stretch was decoded makes the next collector read that segment frame by frame; two
    deaths at the same frame make it poison. A mere kill does not: it would have to hit the same frame's
    few microseconds twice.

    Args:
        path: the file, made if need be.

    """

    def __init__(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(handle, _BYTES)
            self._map = mmap.mmap(handle, _BYTES)
        finally:
            os.close(handle)
        self._suspects: dict[tuple[str, int], tuple[int, int]] = {}
        """(stream, segment) → (offset, deaths at exactly that frame)"""
        self.poison: tuple[str, int, int] | None = None
        self._learn()

    def _learn(self) -> None:
        raw = bytes(self._map[:]).partition(b"\0")[0]
        try:
            left: dict[str, Any] = json.loads(raw) if raw else {}
            for stream, segment, offset, deaths in left.get("suspects", ()):
                self._suspects[stream, segment] = (offset, deaths)
            if "at" in left:
                stream, segment, offset = left["at"]
                held = self._suspects.get((stream, segment))
                deaths = (held[1] if held is not None and held[0] == offset else 0) + int(bool(left.get("careful")))
                self._suspects[stream, segment] = (offset, deaths)
                if deaths >= _DEADLY:
                    self.poison = (stream, segment, offset)
                    self._suspects[stream, segment] = (offset, 0)
        except (ValueError, TypeError, KeyError):
            self._suspects = {}
        self._write(None)

    def suspects(self, stream: str, segment: int, offset: int) -> bool:
        """Whether the segment is to be read frame by frame: a collector died in it, here or further on."""
        held = self._suspects.get((stream, segment))
        return held is not None and offset <= held[0] + (8 << 20)

    def suspect(self, stream: str, segment: int, offset: int) -> None:
        """Read this segment frame by frame from now on."""
        self._suspects[stream, segment] = (offset, 0)

    def begin(self, stream: str, segment: int, offset: int) -> None:
        """About to decode from there."""
        self._write((stream, segment, offset))

    def clear(self) -> None:
        """Decoding is done."""
        self._write(None)

    def _write(self, at: tuple[str, int, int] | None) -> None:
        if not self._suspects:
            # The usual case, many times a second.
            raw = b"" if at is None else b'{"at":["%s",%d,%d],"careful":false}' % (at[0].encode(), at[1], at[2])
            self._map[: len(raw) + 1] = raw + b"\0"
            return
        facts: dict[str, Any] = {"suspects": [(*key, *value) for key, value in list(self._suspects.items())[-8:]]}
        if at is not None:
            facts["at"] = at
            facts["careful"] = (at[0], at[1]) in self._suspects
        raw = json.dumps(facts).encode()
        self._map[: len(raw) + 1] = raw + b"\0"

    def close(self) -> None:
        """Unmap; nothing is being decoded."""
        self._write(None)
        self._map.close()
