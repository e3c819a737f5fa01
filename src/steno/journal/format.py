"""The bytes of a journal segment; docs/journal-format.md is the normative prose.

     0               1               2               3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------------------------------+-------------------------------+
    |                  magic "STENOJ01"  (8 bytes)                  |   0
    +-------------------------------+-------------------------------+
    |  closed (u32, by the writer)  |           reserved            |   8
    +-------------------------------+-------------------------------+
    |    posted: bytes of this segment in the ledger (u64)          |  16   by the collector
    |    record: number of the last record posted from it (u64)     |  24   by the collector
    +---------------------------------------------------------------+
    |    identity, as a frame seeded with 0, at 64 and again at 2080|
    +---------------------------------------------------------------+
    |    frames from 4096 on, back to back; a zero length ends them |
    |    u32 length | u32 crc32c(body, seed = nonce) | body         |
    +---------------------------------------------------------------+

All integers outside msgpack are little-endian. A body is one msgpack array. Its second byte tells the
kind: a record begins with a u64 (0xcf), everything else with a small positive integer, the code.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

MAGIC = b"STENOJ01"
HEADER_BYTES = 4096
LARGEST_BYTES = 1 << 30
"""No segment is larger: a reader looks through all of it."""
CLOSED_AT = 8
POSTED_AT = 16
RECORD_AT = 24
IDENTITY_AT = (64, 2080)
IDENTITY_ROOM = 2016

FRAME = struct.Struct("<II")
FRAME_BYTES = FRAME.size
U64 = struct.Struct("<Q")

FIRST_SEQ = 2**40
"""Sequence numbers count from here, so that each one takes nine bytes."""
FIRST_SET = 2**16
"""Key-set numbers count from here, so that each one takes five bytes."""
MAX_SETS = 8192
"""Key sets announced in one segment; beyond them keys travel inline."""

LIST_SUMMARY = 16
"""`arrays="summary"` lists arrays up to this size element by element."""
LIST_MAX = 1024
"""Elements that are kept of one list."""

# Codes of frames that are not plain records.
SET = 1  # [SET, number, [key, ...], options | nil]
CLOCK = 2  # [CLOCK, monotonic ns, wall ns]: wall = monotonic + offset from here on
RICH = 3  # [RICH, monotonic ns, seq, {key: value}, step | nil, meta]: a record with more to say
ENTRY = 4  # [ENTRY, monotonic ns, seq, kind, payload, step | nil]
FILL = 5  # [FILL, seq of the record, {key: value}], and the journal that has the record, if another one
SIDE = 6  # [SIDE, file name, length, crc32c of the body]: the body lies in a file next to the segment

RESERVED = "\0reserved"
"""The one key, a hole, of a record that only holds a place: any FILL of it, an empty one too, closes it."""

# Codes of msgpack extension values inside a record.
EXT_HOLE = 1  # empty: a device value, a FILL brings it
EXT_BIG = 2  # decimal digits of an integer beyond 64 bits
EXT_ARRAY = 3  # msgpack [dtype, [dimension, ...], bytes, arrays mode | nil, mask bits?], C order
EXT_MEDIA = 4  # msgpack {kind, ...}: a media value; large bytes in a side file named in it
EXT_LOST = 5  # utf-8 reason: a value that could not be recorded; its place is kept


class SegmentIdentity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a segment says about itself and the process that writes it."""

    nonce: int
    """Seed of every frame checksum in this segment, so that no stale or embedded bytes pass for a frame."""
    size: int
    number: int
    """0, 1, 2, … within the stream."""
    stream: str
    """Name of the process's journal, unique in the run."""
    mono: int
    wall: int
    pid: int
    host: str = ""
    machine: str = ""
    boot: str = ""
    space: int = 0
    """The namespace in which `pid` means something."""
    born: int = 0
    """When that process started, in clock ticks since boot: ids come again."""
    run: str = ""
    rank: int = 0
    attempt: int = 1
    primary: bool = True
    """False for a child of a process that already logs: its death is not a crash of the run."""
    arrays: str = "summary"
    extra: dict[str, Any] = {}
