"""Checked frames to columns: like frames are decoded together as numpy views, odd ones one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from steno.journal import format as fmt
from steno.journal.decode import KeySet, RawEntry, RawFill, Slice
from steno.journal.flatten import Flattener, _text
from steno.journal.verbatim import as_logged
from steno.record import EXACT_FLOAT, LOGGED, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_decode: Final = msgspec.msgpack.decode
_VALUES_AT: Final = 24
"""Where the values begin in a planned record's body: after array, time, seq and set number."""
_FEW: Final = 4
"""Fewer like frames than this are decoded one by one."""
_MAX_LAYOUTS: Final = 64

# Class of a msgpack tag byte; 0 is what no column decodes.
_FLOAT64, _FLOAT32, _FIXPOS, _FIXNEG, _BOOL, _NIL = 1, 2, 3, 4, 5, 6
_INTS: Final = {0xCC: ("u1", 1), 0xCD: (">u2", 2), 0xCE: (">u4", 4), 0xCF: (">u8", 8)} | {
    0xD0: ("i1", 1),
    0xD1: (">i2", 2),
    0xD2: (">i4", 4),
    0xD3: (">i8", 8),
}
_CLASS: Final = np.zeros(256, np.uint8)
_CLASS[0x00:0x80] = _FIXPOS
_CLASS[0xE0:0x100] = _FIXNEG
_CLASS[0xC2:0xC4] = _BOOL
_CLASS[0xC0] = _NIL
_CLASS[0xCA] = _FLOAT32
_CLASS[0xCB] = _FLOAT64
for _tag in _INTS:
    _CLASS[_tag] = _tag
_SIZES: Final = {_FLOAT64: 9, _FLOAT32: 5, _FIXPOS: 1, _FIXNEG: 1, _BOOL: 1, _NIL: 1} | {
    tag: size + 1 for tag, (_, size) in _INTS.items()
}


@dataclass(slots=True)
class Context:
    """What a segment has announced so far; carried from one read to the next."""

    arrays: str
    offset: int
    """Wall clock minus monotonic clock, ns."""
    sets: dict[int, KeySet] = field(default_factory=dict)
    exact: bool = False
    """Whether records that are more than floats say in their meta, by LOGGED, what was logged."""
    last: _Layout | None = None
    """The layout of the last run of like frames: most likely the next one's too."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where floats of one announced set lie in a body, and the bytes that say so."""

    length: int
    number: int
    known: KeySet
    fixed_at: list[int]
    fixed: NDArray[np.uint8]
    tags: list[int]
    classes: list[int]

    @classmethod
    def read(cls, first: bytes, sets: dict[int, KeySet]) -> _Layout | None:
        """From one body; None if it is anything but floats of an announced set under an ordinary step."""
        number = int.from_bytes(first[20:_VALUES_AT], "big")
        known = sets.get(number)
        found = _layout(first, len(first)) if known is not None else None
        if known is None or found is None or (first[0], first[1], first[10], first[19]) != (0x95, 0xCF, 0xCF, 0xCE):
            return None
        tags, classes, heads = found
        width = len(tags) - 1
        if not width or width != len(known.keys) or classes[:-1] != [_FLOAT64] * width:
            return None
        if classes[-1] not in {_NIL, _FIXPOS, _FIXNEG, *_INTS} - {0xCF}:
            return None
        at = [0, 1, 10, *range(19, _VALUES_AT + heads)]
        return cls(len(first), number, known, at, np.array([first[place] for place in at], np.uint8), tags, classes)

    def fits(self, frames: _Frames) -> bool:
        """Whether all frames are laid out like this."""
        if frames.length != self.length:
            return False
        head = frames.table(0, "u1", self.fixed_at[-1] + 1, 1)[:, self.fixed_at]
        return bool((head == self.fixed).all()) and bool(_alike(frames, self.tags, self.classes, 0).all())


@dataclass(frozen=True, slots=True)
class _Frames:
    """Bodies of one length at equal distances in a buffer: fields are strided views, whatever their alignment."""

    buffer: NDArray[np.uint8]
    start: int
    stride: int
    count: int
    length: int

    @classmethod
    def gather(cls, data: NDArray[np.uint8], starts: NDArray[np.int64], length: int) -> _Frames:
        """Frames at `starts`; copied together unless they lie at equal distances already."""
        if len(starts) > 1:
            stride = int(starts[1] - starts[0])
            if (np.diff(starts) == stride).all():
                return cls(data, int(starts[0]), stride, len(starts), length)
        return cls(data[starts[:, None] + np.arange(length)].reshape(-1), 0, length, len(starts), length)

    def select(self, rows: NDArray[np.int64]) -> _Frames:
        starts = self.start + rows * self.stride
        return _Frames.gather(self.buffer, starts, self.length)

    def field(self, at: int, dtype: str) -> NDArray[Any]:
        """One field of every frame, shape (count,)."""
        return np.ndarray((self.count,), dtype, self.buffer, self.start + at, (self.stride,))

    def table(self, at: int, dtype: str, columns: int, step: int) -> NDArray[Any]:
        """Fields `step` bytes apart, shape (count, columns)."""
        return np.ndarray((self.count, columns), dtype, self.buffer, self.start + at, (self.stride, step))

    def body(self, row: int) -> bytes:
        at = self.start + row * self.stride
        return self.buffer[at : at + self.length].tobytes()


class _Rows:
    """Columns being filled, one row per record frame."""

    def __init__(self, count: int) -> None:
        self.mono = np.zeros(count, np.int64)
        self.seq = np.zeros(count, np.int64)
        self.step = np.zeros(count, np.int64)
        self.auto = np.zeros(count, np.bool_)
        self.number = np.zeros(count, np.int64)
        self.width = np.zeros(count, np.int64)
        self.bad = np.zeros(count, np.bool_)
        self.blocks: list[tuple[NDArray[np.int64], NDArray[np.float64], dict[tuple[int, int], int]]] = []
        self.odd: list[tuple[int, list[Any]]] = []
        self.inline: dict[tuple[tuple[str, ...], Any], int] = {}
        """(keys, number of the announced set they came under, or how a RICH record is numbered, or 0) → place"""
        self.wall: dict[int, int] = {}
        self.meta: dict[int, dict[str, Any]] = {}
        self.refused: dict[str, str] = {}
        self.times: dict[str, int] = {}

    def refuse(self, key: str, reason: str, times: int = 1) -> None:
        """Values of so many records under this key are in no column."""
        self.refused[key] = reason
        self.times[key] = self.times.get(key, 0) + times


def decode_frames(
    data: NDArray[np.uint8],
    view: memoryview,
    bodies: NDArray[np.int64],
    lengths: NDArray[np.int64],
    context: Context,
    side: Callable[[str, int, int], bytes | None],
) -> tuple[Slice, int]:
    """Decode frames whose checksums are right.

    Args:
        data, view: the whole segment, twice.
        bodies, lengths: where each frame's body lies.
        context: updated with the announcements met.
        side: reads a side file's body: (name, length, crc32c) → bytes, or None when it is lost.

    Returns:
        A slice with `start`, `end`, `lost_bytes` still 0, and the bytes of frames that made no sense.

    """
    whole = _decode_run(data, bodies, lengths, context)
    if whole is not None:
        return whole, 0
    heads = data[bodies]
    kinds = data[bodies + 1]
    plain = (kinds == 0xCF) & ((heads == 0x94) | (heads == 0x95))
    records = plain.copy()
    clocks: list[tuple[int, int]] = []
    entries: list[tuple[int, Any]] = []
    fills: list[RawFill] = []
    odd: dict[int, Any] = {}
    lost = 0
    for index in np.flatnonzero(~plain).tolist():
        start = int(bodies[index])
        try:
            message = _decode(view[start : start + int(lengths[index])])
            if message[0] == fmt.SIDE:
                body = side(message[1], message[2], message[3])
                if body is None:
                    lost += int(message[2])
                    continue
                message = _decode(body)
            code = message[0]
            if code == fmt.SET:
                context.sets[message[1]] = KeySet(tuple(_text(key) for key in message[2]), message[3])
            elif code == fmt.CLOCK:
                clocks.append((index, message[2] - message[1]))
            elif code == fmt.RICH or code > fmt.SIDE:
                records[index] = True
                odd[index] = message
            elif code == fmt.ENTRY:
                entries.append((index, message))
            elif code == fmt.FILL:
                fills.append(_fill(message, context))
            else:
                lost += int(lengths[index])
        except (msgspec.MsgspecError, TypeError, ValueError, IndexError, KeyError, UnicodeDecodeError):
            lost += int(lengths[index])

    positions = np.flatnonzero(records)
    rows = _Rows(len(positions))
    planned = _planned(data, bodies[positions], lengths[positions], plain[positions], heads[positions])
    row_bodies, row_lengths = bodies[positions], lengths[positions]
    done = np.zeros(len(positions), np.bool_)
    if planned.any() and not context.exact:
        _decode_planned(data, row_bodies, row_lengths, planned, context, rows, done)
    for row in np.flatnonzero(~done).tolist():
        try:
            message = odd.get(int(positions[row]))
            if message is None:
                at = int(row_bodies[row])
                message = _decode(view[at : at + int(row_lengths[row])])
            _decode_odd(message, row, context, rows)
        except Exception:  # a frame must not cost its neighbours
            rows.bad[row] = True
    lost += int(row_lengths[rows.bad].sum())
    offsets = _offsets(clocks, context, len(bodies))
    result = _assemble(rows, context, offsets[positions])
    result.entries = [entry for index, message in entries if (entry := _entry(message, int(offsets[index])))]
    result.fills = fills
    return result, lost


def _decode_run(
    data: NDArray[np.uint8], bodies: NDArray[np.int64], lengths: NDArray[np.int64], context: Context
) -> Slice | None:
    """What nearly every reading brings: floats of one announced set, frame after frame. None if it is not so."""
    count = len(bodies)
    length = int(lengths[0]) if count else 0
    stride = length + fmt.FRAME_BYTES
    start = int(bodies[0]) if count else 0
    if length <= _VALUES_AT or int(bodies[-1]) - start != (count - 1) * stride or (lengths != length).any():
        return None
    frames = _Frames(data, start, stride, count, length)
    layout = context.last
    if layout is None or context.sets.get(layout.number) is not layout.known or not layout.fits(frames):
        layout = context.last = _Layout.read(frames.body(0), context.sets)
        if layout is None or not layout.fits(frames):
            return None
    kind, width = layout.classes[-1], len(layout.known.keys)
    mono = frames.field(2, ">u8").astype(np.int64)
    auto = kind == _NIL
    return Slice(
        0, 0, 0, mono, mono + context.offset, frames.field(11, ">u8").astype(np.int64),
        np.zeros(count, np.int64) if auto else _column(frames, layout.tags[-1], kind, 0, {}).astype(np.int64),
        np.full(count, auto), np.zeros(count, np.int32), [layout.known],
        frames.table(layout.tags[0] + 1, ">f8", width, 9).astype(np.float64).reshape(-1),
    )  # fmt: skip


def _planned(
    data: NDArray[np.uint8],
    bodies: NDArray[np.int64],
    lengths: NDArray[np.int64],
    plain: NDArray[np.bool_],
    heads: NDArray[np.uint8],
) -> NDArray[np.bool_]:
    """Which records have the fixed prefix: array of 5, u64 time, u64 seq, u32 set number."""
    planned = plain & (heads == 0x95) & (lengths > _VALUES_AT)
    at = np.where(planned, bodies, 0)
    fixed: NDArray[np.bool_] = planned & (data[at + 10] == 0xCF) & (data[at + 19] == 0xCE)
    return fixed


def _decode_planned(
    data: NDArray[np.uint8],
    bodies: NDArray[np.int64],
    lengths: NDArray[np.int64],
    planned: NDArray[np.bool_],
    context: Context,
    rows: _Rows,
    done: NDArray[np.bool_],
) -> None:
    chosen = np.flatnonzero(planned)
    sizes = lengths[chosen]
    if len(sizes) and (sizes == sizes[0]).all():
        groups = [(int(sizes[0]), chosen)]
    else:
        order = np.argsort(sizes, kind="stable")
        values, starts = np.unique(sizes[order], return_index=True)
        groups = [(int(size), chosen[part]) for size, part in zip(values, np.split(order, starts[1:]), strict=True)]
    for length, members in groups:
        if len(members) < _FEW:
            continue
        frames = _Frames.gather(data, bodies[members], length)
        for _ in range(_MAX_LAYOUTS):
            if frames.count < _FEW:
                break
            layout = _layout(frames.body(0), length)
            if layout is None:
                # One odd value (a string, a nested dict) speaks for itself only: go on with the rest.
                like = np.zeros(frames.count, np.bool_)
                like[0] = True
            else:
                like = _alike(frames, *layout)
                match, here = (frames, members) if like.all() else (frames.select(np.flatnonzero(like)), members[like])
                if _fill_rows(match, here, *layout, context=context, rows=rows):
                    done[here] = True
                if match is frames:
                    break
            rest = np.flatnonzero(~like)
            frames, members = frames.select(rest), members[rest]


def _alike(frames: _Frames, tags: list[int], classes: list[int], heads: int) -> NDArray[np.bool_]:
    """Which frames have these type bytes; an array head must agree to the byte."""
    like = np.ones(frames.count, np.bool_)
    for at in range(_VALUES_AT, _VALUES_AT + heads):
        column = frames.field(at, "u1")
        like &= column == column[0]
    floats = len(classes) - 1
    if floats and classes[:-1] == [_FLOAT64] * floats:
        like &= (frames.table(tags[0], "u1", floats, 9) == 0xCB).all(axis=1)
        tags, classes = tags[-1:], classes[-1:]
    for at, kind in zip(tags, classes, strict=True):
        like &= _CLASS[frames.field(at, "u1")] == kind
    return like


def _layout(raw: bytes, length: int) -> tuple[list[int], list[int], int] | None:
    """Where the type bytes of the values and the step lie, their classes, and the array head's length.

    None when something in the body is no number.
    """
    at, count = _VALUES_AT, 1
    head = raw[at]
    if 0x90 <= head <= 0x9F:
        count, at = head & 0x0F, at + 1
    elif head == 0xDC:
        count, at = int.from_bytes(raw[at + 1 : at + 3], "big"), at + 3
    elif head == 0xDD:
        count, at = int.from_bytes(raw[at + 1 : at + 5], "big"), at + 5
    if count > length:
        return None
    heads = at - _VALUES_AT
    tags: list[int] = []
    classes: list[int] = []
    for _ in range(count + 1):
        if at >= length:
            return None
        kind = int(_CLASS[raw[at]])
        if kind == 0 or (kind == _NIL and len(tags) < count):
            return None
        tags.append(at)
        classes.append(kind)
        at += _SIZES[kind]
    return (tags, classes, heads) if at == length else None


def _fill_rows(
    match: _Frames,
    members: NDArray[np.int64],
    tags: list[int],
    classes: list[int],
    heads: int,
    *,
    context: Context,
    rows: _Rows,
) -> bool:
    """Decode frames of one layout into `rows`; False when their sets do not fit it."""
    del heads
    count = len(tags) - 1
    numbers = match.field(20, ">u4").astype(np.int64)
    unique = np.unique(numbers) if (numbers != numbers[0]).any() else numbers[:1]
    for number in unique.tolist():
        known = context.sets.get(number)
        if known is None or len(known.keys) != count:
            return False
    rows.mono[members] = match.field(2, ">u8")
    rows.seq[members] = match.field(11, ">u8")
    rows.number[members] = numbers
    rows.width[members] = count
    special: dict[tuple[int, int], int] = {}
    if count and classes[:-1] == [_FLOAT64] * count:
        values = match.table(tags[0] + 1, ">f8", count, 9).astype(np.float64)
    else:
        values = np.empty((match.count, count), np.float64)
        for column, (at, kind) in enumerate(zip(tags[:-1], classes[:-1], strict=True)):
            values[:, column] = _column(match, at, kind, column, special)
    _steps(match, tags[-1], classes[-1], members, rows)
    rows.blocks.append((members, values, special))
    return True


def _column(match: _Frames, at: int, kind: int, column: int, special: dict[tuple[int, int], int]) -> NDArray[Any]:
    if kind == _FLOAT64:
        return match.field(at + 1, ">f8")
    if kind == _FLOAT32:
        return match.field(at + 1, ">f4")
    if kind == _FIXPOS:
        return match.field(at, "u1")
    if kind == _FIXNEG:
        return match.field(at, "i1")
    if kind == _BOOL:
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


def _steps(match: _Frames, at: int, kind: int, members: NDArray[np.int64], rows: _Rows) -> None:
    if kind == _NIL:
        rows.auto[members] = True
        return
    if kind in {_FLOAT64, _FLOAT32, _BOOL}:
        rows.auto[members] = True
        rows.refuse("step", "a step must be an integer; the record was numbered automatically", len(members))
        return
    steps = _column(match, at, kind, 0, {})
    if kind == 0xCF:
        beyond = steps > np.uint64(2**63 - 1)
        if beyond.any():
            rows.refuse("step", "a step must fit 64 bits; the record was numbered automatically", int(beyond.sum()))
            rows.auto[members[beyond]] = True
            steps = np.where(beyond, np.uint64(0), steps)
    rows.step[members] = steps.astype(np.int64)


def _decode_odd(message: Any, row: int, context: Context, rows: _Rows) -> None:
    """One record, decoded by itself: inline keys, nested values, strings, arrays, a record with meta."""
    arrays = context.arrays
    under: Any = 0
    meta: dict[str, Any] | None = None
    if message[0] == fmt.RICH:
        _, mono, seq, values, step, meta = message
        meta = dict(meta or {})
        arrays = meta.get("arrays", arrays)
        under = tuple((name, str(meta.pop(name))) for name in ("counter", "per") if name in meta)
        if meta.get("wall").__class__ is int and -(2**63) <= meta["wall"] < 2**63:
            rows.wall[row] = meta.pop("wall")
    elif len(message) == 4:
        mono, seq, values, step = message
    else:
        mono, seq, number, values, step = message
        known, under = context.sets[number], number
        if len(known.keys) == 1:
            values = [values]  # a single key's value is journalled bare
        if len(values) != len(known.keys):
            msg = "a record has more or fewer values than its key set"
            raise ValueError(msg)
        values = dict(zip(known.keys, values, strict=True))
    flat = Flattener(arrays)
    for key, value in values.items():
        flat.add(_text(key), value)
    for key, reason in flat.refused.items():
        rows.refuse(key, reason)
    rows.mono[row] = mono
    rows.seq[row] = seq
    if step.__class__ is int and -(2**63) <= step < 2**63:
        rows.step[row] = step
    else:
        rows.auto[row] = True
        if step is not None:
            rows.refuse("step", "a step must be an integer of 64 bits; the record was numbered automatically")
    keys = tuple(flat.keys)
    rows.number[row] = -1 - rows.inline.setdefault((keys, under), len(rows.inline))
    rows.width[row] = len(keys)
    rows.odd.append((row, flat.values))
    if context.exact:
        meta = {**(meta or {}), LOGGED: as_logged(values)}
    if meta:
        rows.meta[row] = meta


def _fill(message: Any, context: Context) -> RawFill:
    flat = Flattener(context.arrays)
    for key, value in message[2].items():
        flat.add(_text(key), value)
    logged = as_logged(message[2]) if context.exact else None
    stream = str(message[3]) if len(message) > 3 else ""
    return RawFill(int(message[1]), dict(zip(flat.keys, flat.values, strict=True)), logged, stream)


def _entry(message: Any, offset: int) -> RawEntry | None:
    try:
        _, mono, seq, kind, payload, step = message
        if step.__class__ is not int or not -(2**63) <= step < 2**63:
            step = None
        return RawEntry(int(mono), int(mono) + offset, int(seq), str(kind), dict(payload), step)
    except (TypeError, ValueError):
        return None


def _offsets(clocks: list[tuple[int, int]], context: Context, count: int) -> NDArray[np.int64]:
    """Wall minus monotonic, by frame."""
    out = np.full(count, context.offset, np.int64)
    for index, offset in clocks:
        out[index:] = offset
        context.offset = offset
    return out


def _assemble(rows: _Rows, context: Context, offsets: NDArray[np.int64]) -> Slice:
    keep = None
    rows.width[rows.bad] = 0
    if not rows.width.all():
        # A record of which nothing could be kept is none: it takes no number and no automatic step.
        keep = rows.width > 0
    splits = np.zeros(len(rows.width) + 1, np.int64)
    np.cumsum(rows.width, out=splits[1:])
    value = np.empty(int(splits[-1]), np.float64)
    special: dict[int, Any] = {}
    for members, block, exact in rows.blocks:
        starts = splits[members]
        width = block.shape[1]
        if len(members) == len(rows.width):
            value[:] = block.reshape(-1)
        else:
            value[starts[:, None] + np.arange(width)] = block
        for (row, column), number in exact.items():
            special[int(starts[row]) + column] = number
    for row, items in rows.odd:
        at = int(splits[row])
        for place, item in enumerate(items, at):
            if item.__class__ is float:
                value[place] = item
            elif isinstance(item, int):
                value[place] = nearest(item)
                if abs(item) > EXACT_FLOAT:
                    special[place] = item
            else:
                value[place] = np.nan
                special[place] = item
    sets, index = _local_sets(rows, context)
    times = rows.mono + offsets
    for row, given in rows.wall.items():
        times[row] = given
    columns: list[NDArray[Any]] = [rows.mono, times, rows.seq, rows.step, rows.auto, index]
    meta = rows.meta
    if keep is not None:
        columns = [column[keep] for column in columns]
        renumber = np.cumsum(keep) - 1
        meta = {int(renumber[row]): what for row, what in meta.items()}
    mono, wall, seq, step, auto, chosen = columns
    return Slice(
        0, 0, 0, mono, wall, seq, step, auto, chosen.astype(np.int32), sets, value, special, meta,
        refused=rows.refused, refused_times=rows.times,
    )  # fmt: skip


def _local_sets(rows: _Rows, context: Context) -> tuple[list[KeySet], NDArray[np.int64]]:
    """The key sets of this slice, and each row's place among them."""
    numbers = rows.number
    if len(numbers) == 0:
        return [], numbers
    if (numbers == numbers[0]).all():
        unique, index = numbers[:1], np.zeros(len(numbers), np.int64)
    else:
        unique, index = np.unique(numbers, return_inverse=True)
    inline = list(rows.inline)
    sets: list[KeySet] = []
    for number in unique.tolist():
        if number >= fmt.FIRST_SET:
            sets.append(context.sets[number])
        elif number < 0:
            keys, under = inline[-1 - number]
            options = dict(under) if under.__class__ is tuple else context.sets[under].options if under else None
            sets.append(KeySet(keys, options or None))
        else:
            sets.append(KeySet(()))
    return sets, index
