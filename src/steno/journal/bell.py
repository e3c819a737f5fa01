"""The bell at a collector's door: rung by who waits for its journal to be posted.

A name in Linux's abstract namespace, made of the node directory's identity: no file that a copy of the run would trip
over, and gone with the collector. It is a courtesy: where it cannot be had (another network namespace, another
system), a ring is lost and the next posting comes when it comes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_RINGS = 64


class Bell:
    """The collector's side. Use it from one thread.

    Args:
        node_dir: the node's directory, which must exist.

    """

    def __init__(self, node_dir: Path) -> None:
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError, AttributeError):
            held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                held.bind(_name(node_dir))
            except BaseException:
                held.close()
                raise
            self._socket = held

    def wait(self, secs: float) -> bool:
        """Sleep that long, or until somebody rings; whether somebody did."""
        if self._socket is None:
            time.sleep(secs)
            return False
        # Not `select`, which cannot take a file number above 1,023: a collector of many processes has more.
        try:
            self._socket.settimeout(secs)
            self._socket.recv(1)
        except (TimeoutError, BlockingIOError):
            return False
        with contextlib.suppress(OSError):
            self._socket.setblocking(False)
            for _ in range(_RINGS):
                self._socket.recv(1)
        return True

    def close(self) -> None:
        """Take it down."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def ring(node_dir: Path) -> None:
    """Have the collector of that node post now, if there is one; never waits, never raises an OSError."""
    with contextlib.suppress(OSError, AttributeError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine:
        mine.setblocking(False)
        mine.sendto(b"!", _name(node_dir))


def _name(node_dir: Path) -> bytes:
    facts = os.stat(node_dir)
    return b"\0steno-%d-%d" % (facts.st_dev, facts.st_ino)
