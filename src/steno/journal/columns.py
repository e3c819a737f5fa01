"""Checked frames to columns: like frames are decoded together as numpy views, odd ones one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from steno.journal import format as fmt
from steno.journal.decode import KeySet, RawEntry, RawFill, Slice
from steno.journal.flatten import Flattener, _text
from steno.journal.like_frames import (
    BOOL,
    FLOAT32,
    FLOAT64,
    NIL,
    VALUES_AT,
    EqualFrames,
    Layout,
    alike,
    column_of,
    layout_of,
)
from steno.journal.rows import FrameRows, assembled
from steno.journal.verbatim import as_logged
from steno.record import LOGGED

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_decode: Final = msgspec.msgpack.decode
_FEW: Final = 4
"""Fewer like frames than this are decoded one by one."""
_MAX_LAYOUTS: Final = 64


@dataclass(slots=True)
class Context:
    """What a segment has announced so far; carried from one read to the next."""

    arrays: str
    offset: int
    """Wall clock minus monotonic clock, ns."""
    sets: dict[int, KeySet] = field(default_factory=dict)
    exact: bool = False
    """Whether records that are more than floats say in their meta, by LOGGED, what was logged."""
    last: Layout | None = None
    """The layout of the last run of like frames: most likely the next one's too."""


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
    rows = FrameRows(len(positions))
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
    result = assembled(rows, context.sets, offsets[positions])
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
    if length <= VALUES_AT or int(bodies[-1]) - start != (count - 1) * stride or (lengths != length).any():
        return None
    frames = EqualFrames(data, start, stride, count, length)
    layout = context.last
    if layout is None or context.sets.get(layout.number) is not layout.known or not layout.fits(frames):
        layout = context.last = Layout.read(frames.body(0), context.sets)
        if layout is None or not layout.fits(frames):
            return None
    kind, width = layout.classes[-1], len(layout.known.keys)
    mono = frames.field(2, ">u8").astype(np.int64)
    auto = kind == NIL
    return Slice(
        0, 0, 0, mono, mono + context.offset, frames.field(11, ">u8").astype(np.int64),
        np.zeros(count, np.int64) if auto else column_of(frames, layout.tags[-1], kind, 0, {}).astype(np.int64),
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
    planned = plain & (heads == 0x95) & (lengths > VALUES_AT)
    at = np.where(planned, bodies, 0)
    fixed: NDArray[np.bool_] = planned & (data[at + 10] == 0xCF) & (data[at + 19] == 0xCE)
    return fixed


def _decode_planned(
    data: NDArray[np.uint8],
    bodies: NDArray[np.int64],
    lengths: NDArray[np.int64],
    planned: NDArray[np.bool_],
    context: Context,
    rows: FrameRows,
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
        frames = EqualFrames.gather(data, bodies[members], length)
        for _ in range(_MAX_LAYOUTS):
            if frames.count < _FEW:
                break
            layout = layout_of(frames.body(0))
            if layout is None:
                # One odd value (a string, a nested dict) speaks for itself only: go on with the rest.
                like = np.zeros(frames.count, np.bool_)
                like[0] = True
            else:
                like = alike(frames, *layout)
                match, here = (frames, members) if like.all() else (frames.select(np.flatnonzero(like)), members[like])
                if _fill_rows(match, here, *layout[:2], context, rows):
                    done[here] = True
                if match is frames:
                    break
            rest = np.flatnonzero(~like)
            frames, members = frames.select(rest), members[rest]


def _fill_rows(
    match: EqualFrames,
    members: NDArray[np.int64],
    tags: list[int],
    classes: list[int],
    context: Context,
    rows: FrameRows,
) -> bool:
    """Decode frames of one layout into `rows`; False when their sets do not fit it."""
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
    if count and classes[:-1] == [FLOAT64] * count:
        values = match.table(tags[0] + 1, ">f8", count, 9).astype(np.float64)
    else:
        values = np.empty((match.count, count), np.float64)
        for column, (at, kind) in enumerate(zip(tags[:-1], classes[:-1], strict=True)):
            values[:, column] = column_of(match, at, kind, column, special)
    _steps(match, tags[-1], classes[-1], members, rows)
    rows.blocks.append((members, values, special))
    return True


def _steps(match: EqualFrames, at: int, kind: int, members: NDArray[np.int64], rows: FrameRows) -> None:
    if kind == NIL:
        rows.auto[members] = True
        return
    if kind in {FLOAT64, FLOAT32, BOOL}:
        rows.auto[members] = True
        rows.refuse("step", "a step must be an integer; the record was numbered automatically", len(members))
        return
    steps = column_of(match, at, kind, 0, {})
    if kind == 0xCF:
        beyond = steps > np.uint64(2**63 - 1)
        if beyond.any():
            rows.refuse("step", "a step must fit 64 bits; the record was numbered automatically", int(beyond.sum()))
            rows.auto[members[beyond]] = True
            steps = np.where(beyond, np.uint64(0), steps)
    rows.step[members] = steps.astype(np.int64)


def _decode_odd(message: Any, row: int, context: Context, rows: FrameRows) -> None:
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
