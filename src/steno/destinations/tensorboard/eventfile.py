"""The bytes of TensorBoard event files.

    record    u64 length | u32 masked crc32c(length) | event | u32 masked crc32c(event)
    event     09 wall_time f64 | 10 step varint | 2a length summary        (fields 1, 2, 5)
    summary   0a length value, once per key in order of key                (field 1)
    value     0a length tag | 15 f32                                       (fields 1, 2)

One event holds all numbers of one record. Everything but the time, the step and the floats is the same for all
records with the same keys: it is built once as a template and filled by numpy, many records at a time. The
encoding of a record depends on that record alone, so it is the same after a crash, in any batch.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import crc32c
import numpy as np

from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from steno.record import Batch

_LENGTH = struct.Struct("<QI")
_TIME_AT = 13
_STEP_AT = 22
_FEW = 3
_CACHE_BYTES = 32 << 20
_VARINT_LIMITS = np.array([1 << (7 * n) for n in range(1, 10)], np.uint64)
_TEXT = b"\x4a\x08\x0a\x06\x0a\x04text"  # metadata { plugin_data { plugin_name: "text" } }


def masked_crc(data: bytes | bytearray | memoryview) -> int:
    """The checksum of a TFRecord: crc32c, rotated and offset so that it may stand inside checked data."""
    crc = int(crc32c.crc32c(data))
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    """A protobuf varint; a negative one as 64 bits."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def frame(event: bytes) -> bytes:
    """An event as a record of the file."""
    length = struct.pack("<Q", len(event))
    return b"".join(
        (length, struct.pack("<I", masked_crc(length)), event, struct.pack("<I", masked_crc(event))),
    )


def file_version(time_nanos: int) -> bytes:
    """The first record of every file."""
    return frame(b"\x09" + struct.pack("<d", time_nanos / 1e9) + b"\x1a\x0dbrain.Event:2")


def session_start(time_nanos: int, step: int) -> bytes:
    """A record that makes TensorBoard forget this directory's points from `step` on."""
    return frame(b"\x09" + struct.pack("<d", time_nanos / 1e9) + b"\x10" + varint(step) + b"\x3a\x02\x08\x01")


class _Template:
    """The constant bytes of the records of one key set, and where the rest goes."""

    __slots__ = ("by_width", "head", "order", "places", "size_bytes", "summary")

    def __init__(self, keys: Sequence[str]) -> None:
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self.order = np.array(order, np.int64)
        summary, ends = bytearray(), []
        for index in order:
            tag = keys[index].encode("utf-8", "replace")
            value = b"\x0a" + varint(len(tag)) + tag + b"\x15\x00\x00\x00\x00"
            summary += b"\x0a" + varint(len(value)) + value
            ends.append(len(summary))
        self.head = b"\x2a" + varint(len(summary))
        self.summary = bytes(summary)
        self.places = (np.array(ends, np.int64)[:, None] + np.arange(-4, 0)).ravel()
        self.by_width: dict[int, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
        self.size_bytes = len(summary) + 40 * len(keys) + 200

    def of_width(self, width: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """A whole record whose step takes `width` bytes, and the positions of the bytes of its floats."""
        made = self.by_width.get(width)
        if made is None:
            event = b"\x09" + bytes(8) + b"\x10" + bytes(width) + self.head + self.summary
            length = struct.pack("<Q", len(event))
            whole = _LENGTH.pack(len(event), masked_crc(length)) + event + bytes(4)
            places = self.places + (_STEP_AT + width + len(self.head))
            made = self.by_width[width] = np.frombuffer(whole, np.uint8), places
            self.size_bytes += len(whole) + 8 * len(places)
        return made


class Encoder:
    """Encodes batches as event records. Keeps the templates of recent key sets, ≤ 32 MiB. Not thread-safe.

    Args:
        media: the summary values of a media point; None leaves media out.
    """

    def __init__(self, media: Callable[[str, Ref], list[bytes]] | None = None) -> None:
        self._media = media
        self._templates: dict[tuple[str, ...], _Template] = {}
        self._held_bytes = 0

    def encode(self, batch: Batch, splits: NDArray[np.int64], rows: NDArray[np.int64]) -> bytearray:
        """The records `rows` (int64, rising) of the batch, in that order; `splits` is `batch.splits()`.

        Numbers become float32 as in TensorBoard: beyond its range they are infinite. Text becomes a text
        summary, a `Ref` what `media` makes of it. A record without values is left out.
        """
        starts = splits[rows]
        sets = batch.set[rows].astype(np.int64)
        steps = batch.step[rows].view(np.uint64)
        width = np.searchsorted(_VARINT_LIMITS, steps, side="right").astype(np.int64) + 1
        separate = self._separate(batch, splits, rows)
        groups: dict[int, tuple[_Template, int]] = {}
        code = sets * 16 + width
        lengths = np.zeros(len(rows), np.int64)
        used, inverse = np.unique(code, return_inverse=True)
        sizes = np.zeros(len(used), np.int64)
        for index, one in enumerate(used.tolist()):
            keys = batch.sets[one >> 4]
            if keys:
                groups[index] = (template := self._template(keys)), one & 15
                sizes[index] = len(template.of_width(one & 15)[0])
        lengths = sizes[inverse]
        for at, event in separate.items():
            lengths[at] = len(event)
            inverse[at] = -1
        ends = np.cumsum(lengths)
        out = bytearray(int(ends[-1]) if len(ends) else 0)
        flat = np.frombuffer(out, np.uint8)
        offsets = ends - lengths
        for at, event in separate.items():
            out[offsets[at] : ends[at]] = event
        with np.errstate(over="ignore", invalid="ignore"):
            values = batch.value.astype("<f4")
        times = batch.time[rows] / 1e9
        by_group = np.argsort(inverse, kind="stable")
        edges = np.searchsorted(inverse[by_group], np.arange(len(used) + 1))
        for index, (template, step_width) in groups.items():
            members = by_group[edges[index] : edges[index + 1]]
            if len(members) > _FEW:
                _fill(
                    template,
                    step_width,
                    flat,
                    offsets[members],
                    times[members],
                    steps[members],
                    starts[members],
                    values,
                )
                continue
            for at in members.tolist():
                _fill_one(template, step_width, flat, int(offsets[at]), times[at], steps[at], int(starts[at]), values)
        return out

    def _template(self, keys: tuple[str, ...]) -> _Template:
        template = self._templates.get(keys)
        if template is None:
            if self._held_bytes > _CACHE_BYTES:
                self._templates.clear()
                self._held_bytes = 0
            template = self._templates[keys] = _Template(keys)
            self._held_bytes += 2 * template.size_bytes
        return template

    def _separate(self, batch: Batch, splits: NDArray[np.int64], rows: NDArray[np.int64]) -> dict[int, bytes]:
        """The few records with values that no float holds, by position in `rows`."""
        if not batch.special:
            return {}
        points = np.fromiter(batch.special, np.int64, len(batch.special))
        owners = np.unique(np.searchsorted(splits, points, side="right") - 1)
        # A zero-width record shares its split with the next one: side="right" finds the one that has points.
        where = np.searchsorted(rows, owners)
        found: dict[int, bytes] = {}
        for at, owner in zip(where.tolist(), owners.tolist(), strict=True):
            if at < len(rows) and rows[at] == owner:
                start = int(splits[owner])
                values: list[Any] = batch.value[start : int(splits[owner + 1])].tolist()
                for index in range(len(values)):
                    values[index] = batch.special.get(start + index, values[index])
                pairs = sorted(zip(batch.sets[batch.set[owner]], values, strict=True), key=lambda pair: pair[0])
                found[at] = mixed_event(int(batch.time[owner]), int(batch.step[owner]), pairs, self._media)
        return found


def _fill(
    template: _Template,
    width: int,
    flat: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    times: NDArray[np.float64],
    steps: NDArray[np.uint64],
    starts: NDArray[np.int64],
    values: NDArray[np.float32],
) -> None:
    """Write many like records, at their offsets in `flat`."""
    model, places = template.of_width(width)
    count, size = len(offsets), len(model)
    together = int(offsets[-1] - offsets[0]) == (count - 1) * size
    if together:
        table = flat[int(offsets[0]) : int(offsets[0]) + count * size].reshape(count, size)
    else:
        table = np.empty((count, size), np.uint8)
    table[:] = model
    table[:, _TIME_AT : _TIME_AT + 8] = times.astype("<f8").view(np.uint8).reshape(count, 8)
    for index in range(width):
        septet = (steps >> np.uint64(7 * index)).astype(np.uint8) & np.uint8(0x7F)
        table[:, _STEP_AT + index] = septet | np.uint8(0x80 if index < width - 1 else 0)
    taken = values[starts[:, None] + template.order]
    table[:, places] = taken.view(np.uint8).reshape(count, -1)
    payload = table.reshape(-1).data
    check = crc32c.crc32c
    crcs = np.array([check(payload[at : at + size - 16]) for at in range(12, count * size, size)], np.uint32)
    masked = ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(0xA282EAD8)
    table[:, size - 4 :] = masked.astype("<u4").view(np.uint8).reshape(count, 4)
    if not together:
        flat[offsets[:, None] + np.arange(size)] = table


def _fill_one(
    template: _Template,
    width: int,
    flat: NDArray[np.uint8],
    offset: int,
    time_secs: float,
    step: int,
    start: int,
    values: NDArray[np.float32],
) -> None:
    """Write one record: what `_fill` does, cheaper for a few."""
    model, places = template.of_width(width)
    row = flat[offset : offset + len(model)]
    row[:] = model
    view = row.data
    struct.pack_into("<d", view, _TIME_AT, time_secs)
    view[_STEP_AT : _STEP_AT + width] = varint(int(step))
    row[places] = values[template.order + start].view(np.uint8)
    struct.pack_into("<I", view, len(model) - 4, masked_crc(view[12 : len(model) - 4]))


def text_value(text: str) -> bytes:
    """What follows the tag in the value of a text summary: a string tensor."""
    data = text.encode("utf-8", "replace")
    tensor = b"\x08\x07\x12\x00\x42" + varint(len(data)) + data  # DT_STRING, scalar shape, string_val
    return _TEXT + b"\x42" + varint(len(tensor)) + tensor


def mixed_event(
    time_nanos: int,
    step: int,
    pairs: Iterable[tuple[str, Any]],
    media: Callable[[str, Ref], list[bytes]] | None,
) -> bytes:
    """The event of a record some of whose values are text, media or big integers; nothing when none can be shown.

    Args:
        time_nanos: since 1970, UTC.
        step: int64.
        pairs: tags and values, in the order they are to have.
        media: see `Encoder`.
    """
    summary = bytearray()
    for key, given in pairs:
        if isinstance(given, Ref):
            for value in media(key, given) if media is not None else ():
                summary += b"\x0a" + varint(len(value)) + value
            continue
        name = key.encode("utf-8", "replace")
        value = b"\x0a" + varint(len(name)) + name
        if isinstance(given, str):
            value += text_value(given)
        else:
            with np.errstate(over="ignore"):
                value += b"\x15" + np.array(_float(given)).astype("<f4").tobytes()
        summary += b"\x0a" + varint(len(value)) + value
    if not summary:
        return b""
    return frame(
        b"\x09"
        + struct.pack("<d", time_nanos / 1e9)
        + b"\x10"
        + varint(step)
        + b"\x2a"
        + varint(len(summary))
        + summary
    )


def _float(given: float) -> float:
    try:
        return float(given)
    except OverflowError:
        return float("inf") if given > 0 else float("-inf")
