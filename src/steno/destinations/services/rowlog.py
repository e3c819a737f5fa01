"""Reads how far the transaction logs of W&B and SwanLab have got.

    file     ":W&B" or ":SWL", magic u16, version u8; then blocks of 32 KiB of chunks
    chunk    crc32 u32 | length u16 | type u8 | data      type: 1 whole, 2 first, 3 middle, 4 last
    block    fewer than 7 bytes at its end are padding

The writer's buffer is lost when its process is killed, so the end may be torn: reading stops there.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_BLOCK: Final = 32768
_HEAD: Final = struct.Struct("<IHB")
_WHOLE, _FIRST, _LAST = 1, 2, 4
_POLL_SECS: Final = 0.02
_QUIET_SECS: Final = 2.0
"""A log that is not written to for so long, at a flush every 0.2 to 0.5 s, has lost its writer."""


class Log:
    """One log, read on from where the last reading stopped. Not thread-safe.

    Args:
        path: the file; need not be there yet.
        decode: of a record, the rows that there are up to it (0 where it is no row), and whether it is the last one.
    """

    def __init__(self, path: Path, decode: Callable[[bytes], tuple[int, bool]]) -> None:
        self.path = path
        self._decode = decode
        self.rows = 0
        """Rows so far: the number of the last one, and one."""
        self.ended = False
        """Its writer has closed it."""
        self._at = 0

    def records(self) -> Iterator[bytes]:
        """New whole records, serialized. Raises OSError."""
        with open(self.path, "rb") as file:
            if self._at == 0:
                if file.read(_HEAD.size)[:4] not in {b":W&B", b":SWL"}:
                    return
                self._at = _HEAD.size
            file.seek(self._at)
            at, parts = self._at, b""
            while True:
                left = _BLOCK - at % _BLOCK
                if left < _HEAD.size:
                    file.read(left)
                    at += left
                head = file.read(_HEAD.size)
                if len(head) < _HEAD.size:
                    return
                checksum, length, kind = _HEAD.unpack(head)
                data = file.read(length)
                if len(data) < length or zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum:
                    return
                at += _HEAD.size + length
                parts = data if kind in {_WHOLE, _FIRST} else parts + data
                if kind in {_WHOLE, _LAST}:
                    self._at = at
                    yield parts

    def look(self) -> int:
        """Read on; rows so far. A log that is not there has none."""
        try:
            for data in self.records():
                rows, self.ended = self._decode(data)
                self.rows = max(self.rows, rows)
        except FileNotFoundError:
            pass
        return self.rows

    def wait(self, rows: int, timeout_secs: float) -> bool:
        """Whether it holds so many rows before the time is up."""
        deadline = time.monotonic() + timeout_secs
        while self.look() < rows:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECS)
        return True


def rows_held(logs: Iterable[Log], timeout_secs: float) -> int:
    """Rows that all logs of a run hold, once their writers have ended: one may outlive the process that used it."""
    held, deadline = 0, time.monotonic() + timeout_secs
    for log in logs:
        while True:
            held = max(held, log.look())
            if log.ended or time.time() - os.stat(log.path).st_mtime > _QUIET_SECS or time.monotonic() >= deadline:
                break
            time.sleep(_POLL_SECS)
    return held
