"""What of a journal is not posted, by its segments' own headers."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import crc32c

from steno import files, inside
from steno.errors import CorruptError
from steno.journal import format as fmt
from steno.journal.segment import read_identity

if TYPE_CHECKING:
    from pathlib import Path


def has_unposted(place: Path) -> bool:
    """Whether the journal in that directory has a frame that is not in a ledger."""
    return any(_has_unposted(path) for path in segments(place))


def segments(place: Path) -> list[str]:
    """The paths of its segments, in order."""
    found = (entry.path for entry in files.scan(place) if entry.name.endswith(".seg") and entry.name[0] != ".")
    return sorted(found)


def identity(place: Path) -> fmt.SegmentIdentity | None:
    """Whose journal it is, as its first segment says; None: it has none that can be read."""
    for path in segments(place):
        with contextlib.suppress(OSError, CorruptError), open(inside.opened(path), "rb") as file:
            found = read_identity(os.pread(file.fileno(), fmt.HEADER_BYTES, 0))
            if found is not None:
                return found
    return None


def is_closed(path: str) -> bool:
    """Whether the writer has left that segment: nothing more can come."""
    try:
        with open(inside.opened(path), "rb") as file:
            return any(os.pread(file.fileno(), 4, fmt.CLOSED_AT))
    except (OSError, CorruptError):
        return False


def _has_unposted(path: str) -> bool:
    try:
        with open(inside.opened(path), "rb") as file:
            head = os.pread(file.fileno(), fmt.HEADER_BYTES, 0)
            identity = read_identity(head)
            if identity is None:
                return False
            at = max(fmt.U64.unpack_from(head, fmt.POSTED_AT)[0], fmt.HEADER_BYTES)
            frame = os.pread(file.fileno(), fmt.FRAME_BYTES, at)
            if len(frame) < fmt.FRAME_BYTES:
                return False
            length, check = fmt.FRAME.unpack(frame)
            if not 0 < length <= identity.size:
                return False
            # A torn frame is none that `log` has returned from.
            body = os.pread(file.fileno(), length, at + fmt.FRAME_BYTES)
            return len(body) == length and bool(crc32c.crc32c(body, identity.nonce) == check)
    except (OSError, CorruptError):
        return False
