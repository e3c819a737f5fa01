"""Batches again, out of the parts they were sealed into."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steno import bounds as bounds_
from steno.errors import CorruptError
from steno.ledger import arrow_columns, format1, verify
from steno.ledger.layout import NS_PER_TICK
from steno.ledger.schema import read_ref
from steno.record import Batch, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_ENTRY_POINTS = 16
"""An entry takes about as much memory as so many points."""
_COLUMNS = ("batch", "record", "step", "time", "rank", "attempt", "value")
_ALL = (0, 1 << 62)
FACTS = b"steno"
"""Footer key of a part: JSON of what its row in the ledger says, and the journal offsets its batches consumed."""


def part_facts(path: Path, noted: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """first_batch, last_batch, first, last, rows, bytes and crc of a part, as noted, or else from its footer.

    Raises:
        OSError, ValueError, KeyError, CorruptError: not a whole part of ours.
    """
    facts = _footer(path) if noted is None else noted
    return {name: facts[name] for name in ("first_batch", "last_batch", "first", "last", "rows")} | {
        "bytes": path.stat().st_size,
        "crc": None if noted is None else noted["crc"],
    }


def part_took(path: Path) -> list[list[Any]]:
    """[stream, segment, end] for the journal bytes that went into the part or into an older one."""
    took: list[list[Any]] = _footer(path)["took"]
    if not verify.are_offsets(took):
        raise ValueError(f"{path} says that it took {str(took)[:100]}")
    return took


def part_names(path: Path) -> int:
    """How many different keys the part has."""
    return int(_footer(path).get("names") or 0)


def _footer(path: Path) -> dict[str, Any]:
    found = json.loads((bounds_.parquet(path).metadata or {})[FACTS])
    if not isinstance(found, dict):
        raise CorruptError(f"the footer of {path} is none of ours")
    return found


def stretches(
    run_dir: Path, names: tuple[str, ...], crcs: Mapping[str, str | None], first: int, last: int, most: int
) -> NDArray[np.int64]:
    """The first batches of stretches of about `most` points each, in parts of the batches `first` to `last`.

    Raises:
        FileNotFoundError: one of the parts is gone.
    """
    import numpy as np

    size = np.zeros(last - first + 1, np.int64)
    with _usable(run_dir, names, crcs) as paths:
        for name, path in paths.items():
            weight = 1 if name.startswith("metrics/") else _ENTRY_POINTS
            for group in _groups(name, path, ["batch"]):
                batch = arrow_columns.numbers(group["batch"]) - first
                size += weight * np.bincount(batch[(batch >= 0) & (batch < len(size))], minlength=len(size))
    before = np.cumsum(size) - size
    return first + np.flatnonzero(np.diff(before // most, prepend=-1))


@contextlib.contextmanager
def _usable(
    run_dir: Path, names: tuple[str, ...], crcs: Mapping[str, str | None] | None
) -> Iterator[dict[str, Path | None]]:
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(verify.usable(run_dir / name, (crcs or {}).get(name))) for name in names}


def _groups(
    name: str, path: Path | None, columns: list[str] | None = None, within: tuple[int, int] = _ALL
) -> Iterator[Any]:
    """A part's row groups as tables, one after another; only those that may have a batch within the bounds."""
    import pyarrow.parquet as pq

    if path is None:
        return
    bounds_.parquet(path)
    dictionaries = ["key"] if name.startswith("metrics/") else None
    with pq.ParquetFile(path, read_dictionary=dictionaries, memory_map=False) as file:
        names = file.schema_arrow.names
        at = names.index("batch")
        is_old = format1.is_of(names)
        for number in range(file.num_row_groups):
            known = file.metadata.row_group(number).column(at).statistics
            if known is None or (known.min <= within[1] and known.max >= within[0]):
                group = file.read_row_group(number, columns, use_threads=False)
                yield format1.modern(group) if is_old else group


@dataclass(frozen=True, slots=True)
class PartBatches:
    """The points and entries of a few parts, or of a stretch of their batches, in order of batch, record and key."""

    names: tuple[str, ...]
    node: int
    bounds: Mapping[int, tuple[int, int]]
    columns: Mapping[str, NDArray[Any]]
    keys: tuple[str, ...]
    odd: Mapping[int, Any]
    meta: Mapping[int, Mapping[str, Any]]
    entries: Mapping[int, tuple[Entry, ...]]

    @classmethod
    def load(
        cls,
        run_dir: Path,
        names: tuple[str, ...],
        node: int,
        crcs: Mapping[str, str | None] | None = None,
        within: tuple[int, int] = _ALL,
    ) -> PartBatches:
        """Read the parts, of a damaged one what is good (RuntimeWarning); FileNotFoundError when one is gone.

        Args:
            run_dir: the run's directory.
            names: of the parts.
            node: theirs.
            crcs: by name, their checksums, where known.
            within: the first and the last batch that is wanted. Beside those, one row group is in memory.
        """
        import numpy as np

        points = _Points()
        entries: dict[int, list[Entry]] = {}
        with _usable(run_dir, names, crcs) as paths:
            for name, path in paths.items():
                for group in _groups(name, path, None, within):
                    batch = arrow_columns.numbers(group["batch"])
                    wanted = np.flatnonzero((batch >= within[0]) & (batch <= within[1]))
                    if name.startswith("metrics/"):
                        points.add(group, wanted)
                    else:
                        for at in wanted.tolist():
                            entries.setdefault(int(batch[at]), []).append(_entry(group, at, node))
        return points.arranged(names, node, {id: tuple(found) for id, found in entries.items()})

    def batch(self, id: int) -> Batch:
        """The batch of that number; empty if the parts have nothing of it."""
        import numpy as np

        start, end = self.bounds.get(id, (0, 0))
        if start == end:
            none, short = np.empty(0, np.int64), np.empty(0, np.int32)
            return Batch(
                id, self.node, none, none, none, short, short, short, (), np.empty(0), entries=self.entries.get(id, ())
            )
        record = self.columns["record"][start:end]
        heads = np.flatnonzero(np.r_[True, record[1:] != record[:-1]])
        widths = np.diff(np.r_[heads, len(record)])
        ids = self.columns["key"][start:end]
        sets: dict[bytes, int] = {}
        names: list[tuple[str, ...]] = []
        chosen = np.empty(len(heads), np.int32)
        for row, (head, width) in enumerate(zip(heads.tolist(), widths.tolist(), strict=True)):
            some = ids[head : head + width]
            mark = some.tobytes()
            number = sets.get(mark)
            if number is None:
                number = sets[mark] = len(names)
                names.append(tuple(self.keys[key] for key in some.tolist()))
            chosen[row] = number
        whole = {name: self.columns[name][start:end][heads] for name in ("time", "step", "rank", "attempt")}
        return Batch(
            id=id,
            node=self.node,
            record=record[heads],
            time=whole["time"],
            step=whole["step"],
            rank=whole["rank"].astype(np.int32, copy=False),
            attempt=whole["attempt"].astype(np.int32, copy=False),
            set=chosen,
            sets=tuple(names),
            value=self.columns["value"][start:end],
            special=self._special(start, end),
            entries=self.entries.get(id, ()),
            meta={row: self.meta[start + head] for row, head in enumerate(heads.tolist()) if start + head in self.meta},
        )

    def _special(self, start: int, end: int) -> dict[int, Any]:
        if len(self.odd) <= end - start:
            return {at - start: value for at, value in self.odd.items() if start <= at < end}
        return {at - start: self.odd[at] for at in range(start, end) if at in self.odd}


def _entry(table: Any, row: int, node: int) -> Entry:
    said = {name: table[name][row].as_py() for name in ("record", "step", "rank", "attempt", "kind")}
    time = table["time"][row].value * NS_PER_TICK
    return Entry(time=time, payload=json.loads(table["payload"][row].as_py()), node=node, **said)


class _Points:
    """Gathers the rows of metrics parts, and puts them in order."""

    def __init__(self) -> None:
        self._pieces: list[dict[str, NDArray[Any]]] = []
        self._keys: dict[str, int] = {}
        self._odd: dict[int, Any] = {}
        self._meta: dict[int, Mapping[str, Any]] = {}
        self._count = 0

    def add(self, table: Any, rows: NDArray[np.int64]) -> None:
        """Take some rows of a table over."""
        import numpy as np

        if not len(rows):
            return
        piece = {name: arrow_columns.numbers(table[name])[rows] for name in _COLUMNS}
        piece["time"] = piece["time"] * NS_PER_TICK
        keys = []
        for chunk in table["key"].chunks:  # each with a dictionary of its own
            own = [self._keys.setdefault(name, len(self._keys)) for name in chunk.dictionary.to_pylist()]
            keys.append(np.array(own, np.int32)[arrow_columns.of_array(chunk.indices)])
        piece["key"] = np.concatenate(keys)[rows]
        for kind in ("exact", "text", "ref", "meta"):
            column = table[kind]
            if column.null_count == len(table):
                continue
            for at in np.flatnonzero(arrow_columns.given(column)[rows]).tolist():
                value, where = column[int(rows[at])].as_py(), self._count + at
                if kind == "meta":
                    self._meta[where] = json.loads(value)
                elif kind == "ref":
                    self._odd[where] = read_ref(value)
                elif kind == "text" and not np.isnan(piece["value"][at]):
                    self._odd[where] = int(value)  # beyond 64 bits: digits, and the nearest float
                else:
                    self._odd[where] = value
        self._pieces.append(piece)
        self._count += len(rows)

    def arranged(self, names: tuple[str, ...], node: int, entries: Mapping[int, tuple[Entry, ...]]) -> PartBatches:
        """All that was taken over, in order of batch, record and key."""
        import numpy as np

        if not self._pieces:
            return PartBatches(names, node, {}, {}, (), {}, {}, entries)
        whole = {name: np.concatenate([piece.pop(name) for piece in self._pieces]) for name in [*self._pieces[0]]}
        keys = tuple(self._keys)
        rank_of = np.argsort(np.argsort(np.array(keys, object))).astype(np.int32)
        order = np.lexsort((rank_of[whole["key"]], whole["record"], whole["batch"]))
        columns = {name: whole.pop(name)[order] for name in [*whole]}
        batch = columns.pop("batch")
        starts = np.flatnonzero(np.diff(batch, prepend=batch[0] - 1))
        ends = [*starts[1:].tolist(), len(batch)]
        bounds = dict(zip(batch[starts].tolist(), zip(starts.tolist(), ends, strict=True), strict=True))
        odd, meta = self._odd, self._meta
        if odd or meta:
            place = np.empty(len(order), np.int64)
            place[order] = np.arange(len(order))
            odd = {int(place[at]): value for at, value in odd.items()}
            meta = {int(place[at]): what for at, what in meta.items()}
        return PartBatches(names, node, bounds, columns, keys, odd, meta, entries)
