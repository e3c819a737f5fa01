"""The mark of what is being decoded, so that a frame that kills the collector is found."""

from __future__ import annotations

import json
import mmap
import os
from typing import TYPE_CHECKING, Any

from steno.journal import format as fmt

if TYPE_CHECKING:
    from pathlib import Path

_BYTES = 4096
_DEADLY = 2
"""Deaths at exactly one frame; one while a longer stretch was decoded does not count."""
PIECE_BYTES = 64 << 10
"""What is read in one go of a stretch that a collector died in: frame by frame, megabytes would take minutes."""


class Marker:
    """A few bytes in a mapped file: written before decoding, cleared after it, read by the next collector.

    A death while a stretch was decoded makes the next collector read that stretch in pieces, a death in a piece
    makes the next one read the piece frame by frame; two deaths at the same frame make it poison. A mere kill
    does not: it would have to hit the same frame's few microseconds twice.

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
        self._suspects: dict[tuple[str, int], tuple[int, int, int]] = {}
        """(stream, segment) → (offset, bytes read in one go there, deaths if that was one frame)"""
        self.poison: tuple[str, int, int] | None = None
        self._learn()

    def _learn(self) -> None:
        raw = bytes(self._map[:]).partition(b"\0")[0]
        try:
            left: dict[str, Any] = json.loads(raw) if raw else {}
            for stream, segment, offset, size, deaths in left.get("suspects", ()):
                self._suspects[stream, segment] = (offset, size, deaths)
            if "at" in left:
                stream, segment, offset, size = left["at"]
                held = self._suspects.get((stream, segment))
                deaths = 0
                if size <= fmt.FRAME_BYTES:
                    deaths = (held[2] if held is not None and held[0] == offset else 0) + 1
                if deaths >= _DEADLY:
                    self.poison = (stream, segment, offset)
                    deaths = 0
                self._suspects[stream, segment] = (offset, size, deaths)
        except (ValueError, TypeError, KeyError):
            self._suspects = {}
        self._write(None)

    def limit(self, stream: str, segment: int, offset: int) -> int | None:
        """How many bytes to read at most, since a collector died here or further on; None: as many as there are."""
        held = self._suspects.get((stream, segment))
        if held is None or offset >= held[0] + held[1]:
            return None
        if offset < held[0]:
            return held[0] - offset
        return PIECE_BYTES if held[1] > PIECE_BYTES else fmt.FRAME_BYTES

    def suspect(self, stream: str, segment: int, offset: int, size: int) -> None:
        """Read that many bytes from there in smaller pieces from now on."""
        self._suspects[stream, segment] = (offset, size, 0)

    def begin(self, stream: str, segment: int, offset: int, size: int) -> None:
        """About to decode about that many bytes from there."""
        self._write((stream, segment, offset, size))

    def clear(self) -> None:
        """Decoding is done."""
        self._write(None)

    def _write(self, at: tuple[str, int, int, int] | None) -> None:
        if not self._suspects:
            # The usual case, many times a second.
            raw = b"" if at is None else b'{"at":["%s",%d,%d,%d]}' % (at[0].encode(), *at[1:])
            self._map[: len(raw) + 1] = raw + b"\0"
            return
        facts: dict[str, Any] = {"suspects": [(*key, *value) for key, value in list(self._suspects.items())[-8:]]}
        if at is not None:
            facts["at"] = at
        raw = json.dumps(facts).encode()
        self._map[: len(raw) + 1] = raw + b"\0"

    def close(self) -> None:
        """Unmap; nothing is being decoded."""
        self._write(None)
        self._map.close()
