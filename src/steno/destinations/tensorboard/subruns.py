"""Records that writers want shown apart: in a sub-run, under another tag, or as an event of their own.

A record's meta says so: {"run": a sub-run's name}, {"prefix", "suffix": taken from and put behind its keys to make
tags}, {"scalars": a tag that its keys share, which are `<sub-run>:<tag>`},
{"display": [name, description]} of a scalar.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno.destinations.tensorboard.eventfile import frame, mixed_event, varint
from steno.media import files
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.record import Batch

_MARKS: Final = frozenset({"run", "prefix", "suffix", "scalars", "display"})
_NAME_BYTES: Final = 200

Shown = tuple[str, int, bytes]
"""(sub-run, row of the batch, the event's record)."""


def rows_of(batch: Batch) -> list[int]:
    """The rows of a batch that are shown apart, in order."""
    return sorted(row for row, meta in batch.meta.items() if not _MARKS.isdisjoint(meta))


def folder(name: str) -> str:
    """A sub-run's name as a relative path that stays below, names nothing hidden, and fits a file system."""
    parts = [part.replace("\0", "_") for part in name.split("/") if part]
    parts = [f"_{part[1:]}" if part.startswith(".") else part for part in parts]
    return "/".join(_short(part) for part in parts)


def _short(part: str) -> str:
    data = part.encode("utf-8", "replace")
    if len(data) <= _NAME_BYTES:
        return data.decode()
    return f"{data[: _NAME_BYTES - 17].decode('utf-8', 'ignore')}-{files.digest_of_bytes(data)[:16]}"


def shown(
    batch: Batch,
    splits: NDArray[np.int64],
    row: int,
    media: Callable[[str, Ref], list[bytes]],
    run_dir: Path,
) -> Iterator[Shown]:
    """What one such record becomes; a record all of whose values belong to no event file becomes nothing."""
    meta = batch.meta[row]
    sub = str(meta.get("run", ""))
    time, step = int(batch.time[row]), int(batch.step[row])
    pairs = _pairs(batch, int(splits[row]), int(splits[row + 1]), row)
    main = meta.get("scalars")
    if main is not None:
        for key, value in pairs:
            yield f"{sub}/{key.removesuffix(f':{main}')}", row, mixed_event(time, step, [(str(main), value)], media)
        return
    prefix, suffix = str(meta.get("prefix", "")), str(meta.get("suffix", ""))
    tagged: list[tuple[str, Any]] = []
    for key, value in pairs:
        if isinstance(value, Ref) and value.kind == "graph":
            yield sub, row, _graph(time, value, run_dir)
        elif not (isinstance(value, Ref) and value.kind == "embedding"):  # the projector's, which has no events
            tagged.append((key.removeprefix(prefix) + suffix, value))
    display = meta.get("display")
    if display is not None:
        yield sub, row, _described(time, step, tagged, display)
    elif tagged:
        yield sub, row, mixed_event(time, step, tagged, media)


def _pairs(batch: Batch, start: int, stop: int, row: int) -> list[tuple[str, Any]]:
    values: list[Any] = batch.value[start:stop].tolist()
    for index in range(len(values)):
        values[index] = batch.special.get(start + index, values[index])
    return sorted(zip(batch.sets[batch.set[row]], values, strict=True), key=lambda pair: pair[0])


def _bytes(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def _described(time_nanos: int, step: int, pairs: list[tuple[str, Any]], display: Any) -> bytes:
    """Scalars with a title and a description: metadata { display_name, summary_description }."""
    name, words = (str(one).encode("utf-8", "replace") for one in display)
    about = _bytes(9, (_bytes(2, name) if name else b"") + (_bytes(3, words) if words else b""))
    summary = b""
    for tag, value in pairs:
        if not isinstance(value, float | int):
            continue
        with np.errstate(over="ignore"):
            number = np.float64(value).astype("<f4").tobytes()
        summary += _bytes(1, _bytes(1, tag.encode("utf-8", "replace")) + b"\x15" + number + about)
    return frame(b"\x09" + struct.pack("<d", time_nanos / 1e9) + b"\x10" + varint(step) + _bytes(5, summary))


def _graph(time_nanos: int, ref: Ref, run_dir: Path) -> bytes:
    """A model's graph, and how it ran: the events' fields 4 (graph_def) and 8 (tagged_run_metadata)."""
    from steno.media.bundle import from_file

    path = files.encoded(run_dir, ref, 60.0)
    if path is None:
        return b""
    arrays: Mapping[str, Any] = from_file(path)
    head = b"\x09" + struct.pack("<d", time_nanos / 1e9)
    out = frame(head + _bytes(4, arrays["graph"].tobytes()))
    if "trace" in arrays:
        out += frame(head + _bytes(8, _bytes(1, b"step1") + _bytes(2, arrays["trace"].tobytes())))
    return out
