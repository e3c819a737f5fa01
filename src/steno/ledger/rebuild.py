"""Batches again, out of the parts they were sealed into."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steno.ledger import verify
from steno.ledger.schema import read_ref
from steno.record import Batch, Entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FACTS = b"steno"
"""Footer key of a part: JSON of what its row in the ledger says, and the journal offsets its batches consumed."""


def part_facts(path: Path, noted: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """first_batch, last_batch, first, last, rows, bytes and crc of a part, as noted, or else from its footer.

    Raises:
        OSError, ValueError, KeyError: not a whole part of ours.
    """
    facts = _footer(path) if noted is None else noted
    return {name: facts[name] for name in ("first_batch", "last_batch", "first", "last", "rows")} | {
        "bytes": path.stat().st_size,
        "crc": None if noted is None else noted["crc"],
    }


def part_took(path: Path) -> list[list[Any]]:
    """[stream, segment, end] for the journal bytes that went into the part or into an older one."""
    took: list[list[Any]] = _footer(path)["took"]
    return took


def part_names(path: Path) -> int:
    """How many different keys the part has."""
    return int(_footer(path).get("names", 0))


def _footer(path: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    found: dict[str, Any] = json.loads(pq.read_metadata(path).metadata[FACTS])
    return found


@dataclass(frozen=True, slots=True)
class PartBatches:
    """The points and entries of a few parts, in memory, in order of batch, record and key."""

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
        cls, run_dir: Path, names: tuple[str, ...], node: int, crcs: Mapping[str, str | None] | None = None
    ) -> PartBatches:
        """Read the parts, of a damaged one what is good (RuntimeWarning); FileNotFoundError when one is gone.

        `crcs` by name: their checksums, where known.
        """
        with contextlib.ExitStack() as stack:
            paths = {
                name: stack.enter_context(verify.readable(run_dir / name, (crcs or {}).get(name))) for name in names
            }
            return cls._load(paths, node)

    @classmethod
    def _load(cls, paths: Mapping[str, Path | None], node: int) -> PartBatches:
        import numpy as np
        import pyarrow.parquet as pq

        bounds: dict[int, tuple[int, int]] = {}
        columns: dict[str, NDArray[Any]] = {}
        keys: tuple[str, ...] = ()
        odd: dict[int, Any] = {}
        meta: dict[int, Mapping[str, Any]] = {}
        entries: dict[int, list[Entry]] = {}
        for name, path in paths.items():
            if path is None:
                continue
            if name.startswith("metrics/"):
                table = pq.read_table(path, read_dictionary=["key"], memory_map=False)
                key = table["key"].unify_dictionaries().combine_chunks()
                key = key.chunk(0) if hasattr(key, "chunk") else key  # an array, or chunked, by the version
                keys = tuple(key.dictionary.to_pylist())
                rank_of = np.argsort(np.argsort(np.array(keys, object))) if keys else np.empty(0, np.int64)
                ids = key.indices.to_numpy(zero_copy_only=False).astype(np.int64)
                whole = {column: table[column].to_numpy() for column in ("batch", "record", "step", "rank", "attempt")}
                whole["time"] = table["time"].to_numpy().view(np.int64)
                whole["value"] = table["value"].to_numpy()
                order = np.lexsort((rank_of[ids], whole["record"], whole["batch"]))
                columns = {column: array[order] for column, array in whole.items()}
                columns["key"] = ids[order]
                place = np.empty(len(order), np.int64)
                place[order] = np.arange(len(order))
                for kind in ("exact", "text", "ref", "meta"):
                    column = table[kind].combine_chunks() if table[kind].null_count < len(table) else None
                    if column is None:
                        continue
                    for at in np.flatnonzero(np.asarray(column.is_valid())).tolist():
                        value = column[at].as_py()
                        where = int(place[at])
                        if kind == "meta":
                            meta[where] = json.loads(value)
                        elif kind == "exact":
                            odd[where] = value
                        elif kind == "ref":
                            odd[where] = read_ref(value)
                        else:
                            odd[where] = value if np.isnan(columns["value"][where]) else int(value)
                batch = columns.pop("batch")
                starts = np.flatnonzero(np.r_[True, batch[1:] != batch[:-1]]) if len(batch) else np.empty(0, np.int64)
                ends = np.r_[starts[1:], len(batch)]
                bounds = {int(batch[a]): (int(a), int(b)) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)}
            else:
                for row in pq.read_table(path).to_pylist():
                    entries.setdefault(row["batch"], []).append(entry_of(row))
        whole_entries = {id: tuple(found) for id, found in entries.items()}
        return cls(tuple(paths), node, bounds, columns, keys, odd, meta, whole_entries)

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


def entry_of(row: Mapping[str, Any]) -> Entry:
    """The `Entry` of a row of a records part; its time as an integer of ns or a timestamp with `.value`."""
    time = row["time"]
    return Entry(
        row["record"],
        time if isinstance(time, int) else int(time.value),
        row["step"],
        row["rank"],
        row["attempt"],
        row["kind"],
        json.loads(row["payload"]),
    )
