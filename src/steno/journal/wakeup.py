"""Wakes a collector that sleeps between two postings, for a process that waits for its journal to be posted.

A name in Linux's abstract namespace, made of the node directory's identity: no file that a copy of the run would trip
over, and gone with the collector. It is a courtesy: where there is none (another network namespace, another system), a
wake-up is lost and the next posting comes when it comes.

Everybody on the machine can send to such a name, so the kernel says who did: another user's wake-up is ignored, and
however many of them come, they cost no more than one look per posting.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_SIGNALS: Final = 64
_CREDENTIALS: Final = struct.Struct("3i")
"""`struct ucred`: process, user, group."""


class Wakeup:
    """The collector's side. Use it from one thread.

    Args:
        node_dir: the node's directory, which must exist.

    """

    def __init__(self, node_dir: Path) -> None:
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError, AttributeError):
            held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                held.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                held.bind(_name(node_dir))
            except BaseException:
                held.close()
                raise
            self._socket = held

    def wait(self, secs: float) -> bool:
        """Sleep that long, or until this user wakes it; whether that was so."""
        began = time.monotonic()
        if self._socket is not None:
            # Not `select`, which cannot take a file number above 1,023: a collector of many processes has more.
            with contextlib.suppress(TimeoutError, BlockingIOError):
                self._socket.settimeout(secs)
                woken = self._receive(self._socket)
                with contextlib.suppress(OSError):
                    self._socket.setblocking(False)
                    for _ in range(_SIGNALS):
                        woken = self._receive(self._socket) or woken
                if woken:
                    return True
        # Another user woke it, or there is no socket: that does not shorten the wait.
        time.sleep(max(secs - (time.monotonic() - began), 0.0))
        return False

    @staticmethod
    def _receive(held: socket.socket) -> bool:
        """Take one wake-up; whether it is from this user, or from root."""
        _, ancillary, _, _ = held.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
                return _CREDENTIALS.unpack_from(data)[1] in {os.geteuid(), 0}
        return False

    def close(self) -> None:
        """Take it down."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def wake(node_dir: Path) -> None:
    """Have the collector of that node post now, if there is one; never waits, never raises an OSError."""
    with contextlib.suppress(OSError, AttributeError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine:
        mine.setblocking(False)
        mine.sendto(b"!", _name(node_dir))


def _name(node_dir: Path) -> bytes:
    facts = os.stat(node_dir)
    return b"\0steno-%d-%d" % (facts.st_dev, facts.st_ino)
