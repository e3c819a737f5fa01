"""One JSON object per record, in a file that any program can follow."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from steno.destinations.file import Tail, name_on_node
from steno.record import ARTIFACT, CONFIG, EVENT, FINISH, NOTE, OUTPUT, RAW, SOME, START, SUMMARY, TASK, Record, Ref

if TYPE_CHECKING:
    from collections.abc import Iterator

    from steno.record import Batch, RunInfo


class Jsonl:
    """Records and entries as lines of `metrics.jsonl`, exactly once.

    A record is `{"record", "step", "time", "rank", "attempt", "values"}`, with `"level"` if one was given; an entry has
    `"kind"` and `"payload"` in place of the values. Floats are the shortest text that gives the same float; NaN and the
    infinities, which JSON has not, are the strings "NaN", "Infinity" and "-Infinity". Used by one thread. Nothing is
    lost if the process dies: the collector gives the unsaved batches again, and lines that are there already are not
    written twice.

    Args:
        entries: False leaves out everything that is not a record of values.
    """

    def __init__(self, *, entries: bool = True) -> None:
        if not isinstance(entries, bool):
            raise TypeError(f"entries is True or False, not {entries!r}")
        everything = {"points", START, FINISH, CONFIG, SUMMARY, EVENT, TASK, ARTIFACT, OUTPUT, NOTE}
        self.kinds = frozenset(everything if entries else {"points"})
        self._tail: Tail | None = None

    @property
    def position(self) -> dict[str, Any]:
        """The file and its delivered bytes."""
        return {} if self._tail is None else {"name": self._tail.path.name, "size": self._tail.at}

    def open(self, run: RunInfo) -> None:
        """Begin, or go on from `run.position`; makes no file before the first record."""
        self.close()
        saved = run.position or {}
        name = saved.get("name") or name_on_node("metrics.jsonl", run.node_suffix)
        self._tail = Tail(run.dir, name, saved.get("size", 0))

    def write(self, batch: Batch) -> None:
        """Append the batch; OSError when the file cannot be written."""
        import msgspec

        if self._tail is None or not (len(batch) or batch.entries):
            return
        encode, lines, data = msgspec.json.Encoder().encode_lines, _lines(batch), bytearray()
        while some := [*itertools.islice(lines, SOME)]:
            data += encode(some)
        if not data:
            return
        self._tail.reopen()
        self._tail.append(data)
        self._tail.commit()

    def flush(self) -> None:
        """Nothing: what `write` returned from can be read."""

    def close(self) -> None:
        """Sync and close the file."""
        if self._tail is not None:
            self._tail.close()


def _lines(batch: Batch) -> Iterator[dict[str, Any]]:
    import numpy as np

    from steno.destinations.order import merged

    times = iso_times(batch)
    odd = bool(batch.special) or not bool(np.isfinite(batch.value).all())
    index = -1
    for one in merged(batch):
        if isinstance(one, Record):
            index, time = index + 1, next(times)
            if not one.values:
                continue  # a part does not keep it: the same bytes must come out when it is read from there
            values: Any = {key: plain(value) for key, value in one.values.items()} if odd else one.values
            line = {"record": one.record, "step": one.step, "time": time, "rank": one.rank, "attempt": one.attempt}
            level = batch.meta.get(index, {}).get("level")
            if level is not None:
                line["level"] = level
            yield {**line, "values": values}
        else:
            time = str(np.datetime64(one.time, "ns")) + "Z"
            line = {"record": one.record, "step": one.step, "time": time, "rank": one.rank, "attempt": one.attempt}
            yield {**line, "kind": one.kind, "payload": plain(one.payload)}


def iso_times(batch: Batch) -> Iterator[str]:
    """The records' times as ISO 8601 in UTC, to the nanosecond."""
    import numpy as np

    for begin in range(0, len(batch), SOME):
        some = batch.time[begin : begin + SOME].view("datetime64[ns]")
        yield from np.char.add(np.datetime_as_string(some, unit="ns"), "Z").tolist()


def plain(value: Any) -> Any:
    """The value as JSON can hold it exactly: see `Jsonl`."""
    if isinstance(value, float):
        if value - value == 0:
            return value
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124
    if isinstance(value, Ref):
        if value.digest == "":
            return {"kind": value.kind, **{name: plain(one) for name, one in value.meta.items() if name != RAW}}
        return {"ref": value.digest, "kind": value.kind}
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value
