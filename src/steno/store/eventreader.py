"""Reads TensorBoard's event files, whoever wrote them, without TensorBoard.

    file    { u64 length | u32 masked crc of it | record | u32 masked crc of it } …
    record  an Event:  09 wall time | 10 step | 2a summary { 0a value … } | 3a session log { 08 status }
    value   0a tag | 15 simple | 22 image | 2a histogram | 32 audio | 42 tensor | 4a metadata { 0a plugin { 0a name } }

A length that fails its checksum cannot be trusted, and nothing marks where the next record begins: reading ends
there. A record that fails only its own is passed over. Both are counted.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import crc32c

from steno.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEAD: Final = struct.Struct("<QI")
_CRC: Final = struct.Struct("<I")
_DOUBLE: Final = struct.Struct("<d")
_FLOAT: Final = struct.Struct("<f")
_LATEST_SECS: Final = 2**63 / 1e9
_START: Final = 1
_DTYPES: Final = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "|u1", 5: "<i2", 6: "|i1", 9: "<i8", 10: "|b1", 17: "<u2", 19: "<f2",
    22: "<u4", 23: "<u8",
}  # fmt: skip
_STRING: Final = 7
_NUMBERS: Final = {5: "<f4", 6: "<f8"}
"""Fields of a tensor whose packed numbers have a fixed width; the others are varints."""
_VARINTS: Final = frozenset({7, 10, 11, 16, 17})


@dataclass(frozen=True, slots=True)
class ReadHistogram:
    """Counts of n bins between n + 1 rising edges, and what the writer knew of the data."""

    counts: list[float]
    edges: list[float]
    statistics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an event.

    `kind` and `data`: "scalar" float · "text" str · "image", "audio" the encoded file's bytes · "histogram" a
    `ReadHistogram` · "hparams" a dict · any other is a plugin whose data is not read: None.
    """

    tag: str
    kind: str
    data: Any


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """One event: `time` in ns since 1970, None if the file's makes no sense."""

    time: int | None
    step: int
    values: tuple[Value, ...]
    restart: bool = False
    """The writer began again at this step: what it wrote before from there on is void."""


class EventFile:
    """One event file, read once from its beginning to its end, or to where it can be read no further.

    Not thread-safe. A file that is being written is read as far as it goes.

    Args:
        path: the file.
        plugins: by tag, whose values they are; some writers say it in a tag's first event only, so files of one
            directory share it.
    """

    def __init__(self, path: Path, plugins: dict[str, str] | None = None) -> None:
        self._path = path
        self._plugins = {} if plugins is None else plugins
        self.lost_bytes = 0
        """What could not be read, so far: a torn tail, damaged records."""

    def __iter__(self) -> Iterator[ReadEvent]:
        """The events that say something, in order.

        Raises:
            OSError: the file cannot be read.
        """
        with open(self._path, "rb") as file:
            for record in self._records(file):
                try:
                    event = _event(record, self._plugins)
                except (CorruptError, struct.error, LookupError, TypeError, ValueError, AttributeError, OverflowError):
                    self.lost_bytes += len(record) + _HEAD.size + _CRC.size
                    continue
                if event.values or event.restart:
                    yield event

    def _records(self, file: BinaryIO) -> Iterator[bytes]:
        at, end = 0, file.seek(0, 2)
        file.seek(0)
        while at < end:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                break
            length, check = _HEAD.unpack(head)
            size = _HEAD.size + length + _CRC.size
            if masked_crc(head[:8]) != check or at + size > end:
                break
            record = file.read(length)
            tail = file.read(_CRC.size)
            if len(tail) < _CRC.size:
                break
            at += size
            if masked_crc(record) == _CRC.unpack(tail)[0]:
                yield record
            else:
                self.lost_bytes += size
        self.lost_bytes += end - at


def masked_crc(data: bytes) -> int:
    """TFRecord's checksum."""
    crc = crc32c.crc32c(data)
    return int(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


# -- protocol buffers ----------------------------------------------------------------------------------------


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            msg = "a number of more than ten bytes"
            raise CorruptError(msg)


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """(field, wire type, value): an int for a varint, bytes for all others."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            number, at = _varint(data, at)
            yield key >> 3, wire, number
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in {1, 5}:
            size = 8 if wire == 1 else 4
        else:
            msg = f"wire type {wire}"
            raise CorruptError(msg)
        if at + size > end:
            msg = "a field that is longer than what it stands in"
            raise CorruptError(msg)
        yield key >> 3, wire, data[at : at + size]
        at += size


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


# -- events --------------------------------------------------------------------------------------------------


def _event(record: bytes, plugins: dict[str, str]) -> ReadEvent:
    time: int | None = None
    step, restart = 0, False
    values: list[Value] = []
    for number, wire, data in _fields(record):
        if number == 1 and wire == 1:
            secs = _DOUBLE.unpack(data)[0]
            time = int(secs * 1e9) if math.isfinite(secs) and 0 <= secs < _LATEST_SECS else None
        elif number == 2 and wire == 0:
            step = _signed(data)
        elif number == 5 and wire == 2:
            for inner, kind, one in _fields(data):
                if inner == 1 and kind == 2:
                    values += _split_up(_value(one, plugins))
        elif number == 7 and wire == 2:
            restart = any(inner == 1 and one == _START for inner, _, one in _fields(data))
    return ReadEvent(time, step, tuple(values), restart)


def _split_up(value: Value) -> list[Value]:
    """A value of several pictures or sounds as several values, numbered behind the tag."""
    if not isinstance(value.data, tuple):
        return [value]
    if len(value.data) == 1:
        return [Value(value.tag, value.kind, value.data[0])]
    return [Value(f"{value.tag}/{index}", value.kind, one) for index, one in enumerate(value.data)]


def _value(data: bytes, plugins: dict[str, str]) -> Value:
    found = {number: value for number, _, value in _fields(data)}
    tag = _text(found.get(1, b""))
    content = b""
    if 9 in found:
        for number, wire, about in _fields(found[9]):
            if number == 1 and wire == 2:
                plugin = {inner: one for inner, _, one in _fields(about)}
                if 1 in plugin:
                    plugins[tag] = _text(plugin[1])
                content = plugin.get(2, b"")
    plugin_name = plugins.get(tag, "")
    if 2 in found:
        return Value(tag, "scalar", _FLOAT.unpack(found[2])[0])
    if 4 in found:
        return Value(tag, "image", {n: one for n, _, one in _fields(found[4])}.get(4, b""))
    if 5 in found:
        return Value(tag, "histogram", _histogram(found[5]))
    if 6 in found:
        return Value(tag, "audio", {n: one for n, _, one in _fields(found[6])}.get(4, b""))
    if plugin_name == "hparams":
        return Value(tag, "hparams", _hparams(content))
    if 8 in found:
        kind, value = _of_tensor(found[8], plugin_name)
        # tensorboardX and torch add this to the tag of every text.
        return Value(tag.removesuffix("/text_summary") if kind == "text" else tag, kind, value)
    return Value(tag, plugin_name or "unknown", None)


def _histogram(data: bytes) -> ReadHistogram:
    """TensorBoard's first form: upper limits only, the lowest edge is the minimum or an empty first bin's limit."""
    numbers: dict[int, float] = {}
    limits: list[float] = []
    counts: list[float] = []
    for number, wire, value in _fields(data):
        if number in {6, 7} and wire in {1, 2}:
            (limits if number == 6 else counts).extend(struct.unpack(f"<{len(value) // 8}d", value))
        elif wire == 1:
            numbers[number] = _DOUBLE.unpack(value)[0]
    if not counts or len(limits) != len(counts):
        msg = "a histogram without bins"
        raise CorruptError(msg)
    low, high = numbers.get(1, limits[0]), numbers.get(2, limits[-1])
    if len(counts) > 1 and counts[0] == 0:
        edges, counts = limits, counts[1:]
    else:
        edges = [min(low, limits[0]), *limits]
    if edges[-1] > 1e300:
        edges[-1] = max(high, edges[-2])
    names = {1: "min", 2: "max", 4: "sum", 5: "sum_squares"}
    return ReadHistogram(counts, edges, {names[n]: one for n, one in numbers.items() if n in names})


def _of_tensor(data: bytes, plugin: str) -> tuple[str, Any]:
    dtype, shape, numbers, strings = _tensor(data)
    if plugin == "text" or (dtype == _STRING and not plugin):
        return "text", "\n".join(map(_text, strings))
    if plugin == "images" and len(strings) > 2:
        return "image", tuple(strings[2:])
    if plugin == "audio" and strings:
        # Sound and label in turn.
        return "audio", tuple(strings[0::2] if shape[-1:] == [2] else strings)
    if plugin in {"scalars", ""} and len(numbers) == 1:
        return "scalar", float(numbers[0])
    if plugin == "histograms" and len(shape) == 2 and shape[1] == 3 and numbers:
        # Rows of (left, right, count); neighbours share an edge.
        return "histogram", ReadHistogram(numbers[2::3], [*numbers[0::3], numbers[-2]])
    return plugin or "tensor", None


def _tensor(data: bytes) -> tuple[int, list[int], list[float], list[bytes]]:
    """(dtype, shape, numbers, strings) of a TensorProto."""
    import numpy as np

    dtype, content = 0, b""
    shape: list[int] = []
    numbers: list[float] = []
    strings: list[bytes] = []
    for number, wire, value in _fields(data):
        if number == 1:
            dtype = value
        elif number == 2:
            dims = [one for inner, kind, one in _fields(value) if inner == 2 and kind == 2]
            shape = [next((_signed(one) for n, _, one in _fields(dim) if n == 1), 0) for dim in dims]
        elif number == 4:
            content = value
        elif number == 8:
            strings.append(value)
        elif number in _NUMBERS:
            numbers += np.frombuffer(value, _NUMBERS[number]).tolist()
        elif number in _VARINTS:
            packed = [value] if wire == 0 else _varints(value)
            numbers += [_signed(one) for one in packed]
    if content and dtype in _DTYPES:
        numbers = np.frombuffer(content, _DTYPES[dtype]).astype(np.float64).tolist()
    size = math.prod(shape)
    if len(numbers) == 1 < size <= 1 << 20:
        numbers *= size  # a tensor of equal numbers is written as one
    return dtype, shape, numbers, strings


def _varints(data: bytes) -> list[int]:
    at, found = 0, []
    while at < len(data):
        number, at = _varint(data, at)
        found.append(number)
    return found


def _hparams(content: bytes) -> dict[str, Any]:
    """The hyperparameters of a session, {} where the value says something else of the experiment."""
    found: dict[str, Any] = {}
    for number, wire, session in _fields(content):
        if number != 3 or wire != 2:
            continue
        for inner, _, entry in _fields(session):
            if inner == 1:
                pair = {n: one for n, _, one in _fields(entry)}
                for kind, _, one in _fields(pair.get(2, b"")):
                    readers = {2: lambda raw: _DOUBLE.unpack(raw)[0], 3: _text, 4: bool}
                    if kind in readers:
                        found[_text(pair.get(1, b""))] = readers[kind](one)
    return found
