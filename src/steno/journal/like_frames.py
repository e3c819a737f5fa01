"""Frames that are laid out alike: where their numbers lie, and all of one place as a numpy view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno.record import EXACT_FLOAT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from steno.journal.decode import KeySet

VALUES_AT: Final = 24
"""Where the values begin in a planned record's body: after array, time, seq and set number."""

# Class of a msgpack tag byte; 0 is what no column decodes.
FLOAT64, FLOAT32, FIXPOS, FIXNEG, BOOL, NIL = 1, 2, 3, 4, 5, 6
_INTS: Final = {0xCC: ("u1", 1), 0xCD: (">u2", 2), 0xCE: (">u4", 4), 0xCF: (">u8", 8)} | {
    0xD0: ("i1", 1),
    0xD1: (">i2", 2),
    0xD2: (">i4", 4),
    0xD3: (">i8", 8),
}
_CLASS: Final = np.zeros(256, np.uint8)
_CLASS[0x00:0x80] = FIXPOS
_CLASS[0xE0:0x100] = FIXNEG
_CLASS[0xC2:0xC4] = BOOL
_CLASS[0xC0] = NIL
_CLASS[0xCA] = FLOAT32
_CLASS[0xCB] = FLOAT64
for _tag in _INTS:
    _CLASS[_tag] = _tag
_SIZES: Final = {FLOAT64: 9, FLOAT32: 5, FIXPOS: 1, FIXNEG: 1, BOOL: 1, NIL: 1} | {
    tag: size + 1 for tag, (_, size) in _INTS.items()
}


@dataclass(frozen=True, slots=True)
class EqualFrames:
    """Bodies of one length at equal distances in a buffer: fields are strided views, whatever their alignment."""

    buffer: NDArray[np.uint8]
    start: int
    stride: int
    count: int
    length: int

    @classmethod
    def gather(cls, data: NDArray[np.uint8], starts: NDArray[np.int64], length: int) -> EqualFrames:
        """Frames at `starts`; copied together unless they lie at equal distances already."""
        if len(starts) > 1:
            stride = int(starts[1] - starts[0])
            if (np.diff(starts) == stride).all():
                return cls(data, int(starts[0]), stride, len(starts), length)
        return cls(data[starts[:, None] + np.arange(length)].reshape(-1), 0, length, len(starts), length)

    def select(self, rows: NDArray[np.int64]) -> EqualFrames:
        starts = self.start + rows * self.stride
        return EqualFrames.gather(self.buffer, starts, self.length)

    def field(self, at: int, dtype: str) -> NDArray[Any]:
        """One field of every frame, shape (count,)."""
        return np.ndarray((self.count,), dtype, self.buffer, self.start + at, (self.stride,))

    def table(self, at: int, dtype: str, columns: int, step: int) -> NDArray[Any]:
        """Fields `step` bytes apart, shape (count, columns)."""
        return np.ndarray((self.count, columns), dtype, self.buffer, self.start + at, (self.stride, step))

    def body(self, row: int) -> bytes:
        at = self.start + row * self.stride
        return self.buffer[at : at + self.length].tobytes()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where floats of one announced set lie in a body, and the bytes that say so."""

    length: int
    number: int
    known: KeySet
    fixed_at: list[int]
    fixed: NDArray[np.uint8]
    tags: list[int]
    classes: list[int]

    @classmethod
    def read(cls, first: bytes, sets: dict[int, KeySet]) -> Layout | None:
        """From one body; None if it is anything but floats of an announced set under an ordinary step."""
        number = int.from_bytes(first[20:VALUES_AT], "big")
        known = sets.get(number)
        found = layout_of(first) if known is not None else None
        if known is None or found is None or (first[0], first[1], first[10], first[19]) != (0x95, 0xCF, 0xCF, 0xCE):
            return None
        tags, classes, heads = found
        width = len(tags) - 1
        if not width or width != len(known.keys) or classes[:-1] != [FLOAT64] * width:
            return None
        if classes[-1] not in {NIL, FIXPOS, FIXNEG, *_INTS} - {0xCF}:
            return None
        at = [0, 1, 10, *range(19, VALUES_AT + heads)]
        return cls(len(first), number, known, at, np.array([first[place] for place in at], np.uint8), tags, classes)

    def fits(self, frames: EqualFrames) -> bool:
        """Whether all frames are laid out like this."""
        if frames.length != self.length:
            return False
        head = frames.table(0, "u1", self.fixed_at[-1] + 1, 1)[:, self.fixed_at]
        return bool((head == self.fixed).all()) and bool(alike(frames, self.tags, self.classes, 0).all())


def alike(frames: EqualFrames, tags: list[int], classes: list[int], heads: int) -> NDArray[np.bool_]:
    """Which frames have these type bytes; an array head must agree to the byte."""
    like = np.ones(frames.count, np.bool_)
    for at in range(VALUES_AT, VALUES_AT + heads):
        column = frames.field(at, "u1")
        like &= column == column[0]
    floats = len(classes) - 1
    if floats and classes[:-1] == [FLOAT64] * floats:
        like &= (frames.table(tags[0], "u1", floats, 9) == 0xCB).all(axis=1)
        tags, classes = tags[-1:], classes[-1:]
    for at, kind in zip(tags, classes, strict=True):
        like &= _CLASS[frames.field(at, "u1")] == kind
    return like


def layout_of(raw: bytes) -> tuple[list[int], list[int], int] | None:
    """Where the type bytes of the values and the step lie, their classes, and the array head's length.

    None when something in the body is no number.
    """
    length, at, count = len(raw), VALUES_AT, 1
    head = raw[at]
    if 0x90 <= head <= 0x9F:
        count, at = head & 0x0F, at + 1
    elif head == 0xDC:
        count, at = int.from_bytes(raw[at + 1 : at + 3], "big"), at + 3
    elif head == 0xDD:
        count, at = int.from_bytes(raw[at + 1 : at + 5], "big"), at + 5
    if count > length:
        return None
    heads = at - VALUES_AT
    tags: list[int] = []
    classes: list[int] = []
    for _ in range(count + 1):
        if at >= length:
            return None
        kind = int(_CLASS[raw[at]])
        if kind == 0 or (kind == NIL and len(tags) < count):
            return None
        tags.append(at)
        classes.append(kind)
        at += _SIZES[kind]
    return (tags, classes, heads) if at == length else None


def column_of(match: EqualFrames, at: int, kind: int, column: int, special: dict[tuple[int, int], int]) -> NDArray[Any]:
    """The numbers of one place; ints that a float does not hold go into `special` too, by frame and column."""
    if kind == FLOAT64:
        return match.field(at + 1, ">f8")
    if kind == FLOAT32:
        return match.field(at + 1, ">f4")
    if kind == FIXPOS:
        return match.field(at, "u1")
    if kind == FIXNEG:
        return match.field(at, "i1")
    if kind == BOOL:
        truth: NDArray[Any] = match.field(at, "u1") == 0xC3
        return truth
    dtype, size = _INTS[kind]
    integers = match.field(at + 1, dtype)
    if size == 8:
        inexact = integers > EXACT_FLOAT
        if kind == 0xD3:
            inexact |= integers < -EXACT_FLOAT
        for row in np.flatnonzero(inexact).tolist():
            special[row, column] = int(integers[row])
    return integers
