"""The bell at a collector's door: rung by who waits for its journal to be posted.

A name in Linux's abstract namespace, made of the node directory's identity: no file that a copy of the run would trip
over, and gone with the collector. It is a courtesy: where it cannot be had (another network namespace, another
system), a ring is lost and the next posting comes when it comes.

Everybody on the machine can send to such a name, so the kernel tells who did: another user's ring is not heard, and
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

_RINGS: Final = 64
_CREDENTIALS: Final = struct.Struct("3i")
"""`struct ucred`: process, user, group."""


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
                held.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                held.bind(_name(node_dir))
            except BaseException:
                held.close()
                raise
            self._socket = held

    def wait(self, secs: float) -> bool:
        """Sleep that long, or until this user rings; whether he did."""
        began = time.monotonic()
        if self._socket is not None:
            # Not `select`, which cannot take a file number above 1,023: a collector of many processes has more.
            with contextlib.suppress(TimeoutError, BlockingIOError):
                self._socket.settimeout(secs)
                rung = self._hear(self._socket)
                with contextlib.suppress(OSError):
                    self._socket.setblocking(False)
                    for _ in range(_RINGS):
                        rung = self._hear(self._socket) or rung
                if rung:
                    return True
        # Others have rung, or there is no bell: they do not shorten the wait, and are not listened to in it.
        time.sleep(max(secs - (time.monotonic() - began), 0.0))
        return False

    @staticmethod
    def _hear(held: socket.socket) -> bool:
        """Take one ring; whether it is from this user, or from root."""
        _, told, _, _ = held.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
        for level, kind, data in told:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
                return _CREDENTIALS.unpack_from(data)[1] in {os.geteuid(), 0}
        return False

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
