"""Tells a child that its parent is gone: a pipe whose one writing end only the parent holds."""

from __future__ import annotations

import contextlib
import os
import threading

_lock = threading.Lock()
_ends: tuple[int, int] | None = None


def read_end() -> int:
    """The end a child reads: it meets the end of file when this process is gone, however it went.

    Raises:
        OSError: no file handle.
    """
    global _ends
    with _lock:
        if _ends is None:
            _ends = os.pipe()
        return _ends[0]


def follow(read: int) -> None:
    """In a child: leave when the parent is gone, whatever runs."""
    threading.Thread(target=_wait, args=(read,), name="steno-parent", daemon=True).start()


def _wait(read: int) -> None:
    with contextlib.suppress(OSError):
        os.read(read, 1)
        os._exit(1)


def _forked() -> None:
    """Close the writing end, or every sibling would keep its parent alive in the others' eyes."""
    global _lock, _ends
    _lock = threading.Lock()
    if _ends is not None:
        with contextlib.suppress(OSError):
            os.close(_ends[1])
        _ends = None


os.register_at_fork(after_in_child=_forked)
