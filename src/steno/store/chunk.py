"""Points that no part has yet, held once: sorted by key, and what a record's points share once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno.store.points import MOST_LEVEL, Points, taken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from steno.record import Batch
    from steno.store.points import Special

SHARED: Final = ("record", "step", "time", "rank", "attempt", "batch", "node", "level")
"""What all points of a record have in common."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Some records' points by key, those of a key in the order that they came in. Its arrays are never written to.

    A point takes the 8 bytes of its value where its key is in all records from its first to its last one, else 4 more.
    """

    shared: Mapping[str, NDArray[Any]]
    """By record, each of `SHARED`; of stride 0 where all records have the same."""
    keys: NDArray[np.int32]
    """Which it has points of, rising; each is the position in a list of names that the owner keeps."""
    edges: NDArray[np.int64]
    """Where the points of each key begin, and their number at the end."""
    first: NDArray[np.int64]
    """By key, the row of its first record in `shared`."""
    rows: NDArray[np.int32]
    """The records of the points of those keys that are not in each record from their first to their last."""
    at: NDArray[np.int64]
    """Where those of each key begin in `rows`, and their number at the end."""
    value: NDArray[np.float64]
    special: Mapping[int, Mapping[int, Special]]
    """By place in `keys`, as in `Points`."""

    def __len__(self) -> int:
        return len(self.value)

    @property
    def bytes(self) -> int:
        """Of its arrays."""
        import numpy as np

        shared = sum(column.nbytes if column.strides[0] else column.itemsize for column in self.shared.values())
        own = (self.keys, self.edges, self.first, self.rows, self.at, self.value)
        return int(shared + np.sum([column.nbytes for column in own]))

    def of(self, key: int) -> Points | None:
        """The points of one key, without a copy where its records lie one after the other."""
        import numpy as np

        place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            return None
        begin, end = self.edges[place : place + 2].tolist()
        low, high = self.at[place : place + 2].tolist()
        first = int(self.first[place])
        rows: Any = self.rows[low:high] if low < high else slice(first, first + end - begin)
        return Points(
            key=np.full(end - begin, key, np.int32),
            value=self.value[begin:end],
            special=self.special.get(place, {}),
            **{name: column[rows] for name, column in self.shared.items()},
        )

    def points(self, wanted: NDArray[np.bool_] | None = None) -> Points:
        """The points of all keys, or of those that a mask over `keys` chooses; a copy."""
        import numpy as np

        places = np.arange(len(self.keys)) if wanted is None else np.flatnonzero(wanted)
        sizes = np.diff(self.edges)[places]
        begins = np.cumsum(sizes) - sizes
        place = np.repeat(places, sizes)
        offset = np.arange(len(place)) - np.repeat(begins, sizes)
        rows = self.first[place] + offset
        odd = np.flatnonzero((self.at[1:] > self.at[:-1])[place])
        rows[odd] = self.rows[self.at[place[odd]] + offset[odd]]
        return Points(
            key=self.keys[place],
            value=self.value[self.edges[place] + offset],
            special={
                begin + row: found
                for at, begin in zip(places.tolist(), begins.tolist(), strict=True)
                for row, found in self.special.get(at, {}).items()
            },
            **{name: column[rows] for name, column in self.shared.items()},
        )

    def take(self, records: NDArray[np.bool_]) -> Chunk:
        """The points of the records that a mask chooses."""
        import numpy as np

        if records.all():
            return self
        rows = self.rows_of_points()
        chosen = np.flatnonzero(records[rows])
        key = np.repeat(self.keys, np.diff(self.edges))[chosen]
        special = {
            int(self.edges[place]) + row: found for place, some in self.special.items() for row, found in some.items()
        }
        renumbered = np.cumsum(records) - 1
        shared = {name: column[records] for name, column in self.shared.items()}
        return _made(shared, key, renumbered[rows[chosen]], self.value[chosen], taken(special, chosen, len(self)))

    def last(self) -> NDArray[np.int64]:
        """By key, the row of its last record in `shared`."""
        import numpy as np

        found = self.first + np.diff(self.edges) - 1
        odd = self.at[1:] > self.at[:-1]
        found[odd] = self.rows[self.at[1:][odd] - 1]
        return found

    def rows_of_points(self) -> NDArray[np.int64]:
        """The row in `shared` of each point."""
        import numpy as np

        sizes = np.diff(self.edges)
        rows = np.arange(len(self)) + np.repeat(self.first - self.edges[:-1], sizes)
        rows[np.repeat(self.at[1:] > self.at[:-1], sizes)] = self.rows
        return rows


def of_batches(batches: Sequence[Batch], ids: dict[str, int]) -> Chunk:
    """The points of batches in their order; `ids` (name → number) grows by the keys it does not know."""
    return concat([_of_batch(batch, ids) for batch in batches])


def _of_batch(batch: Batch, ids: dict[str, int]) -> Chunk:
    import numpy as np

    widths, splits, count = batch.widths(), batch.splits(), len(batch)
    sizes = [len(keys) for keys in batch.sets]
    flat = np.fromiter((ids.setdefault(key, len(ids)) for keys in batch.sets for key in keys), np.int32, sum(sizes))
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    # Point p of record i has the key flat[start of its set + (p - start of the record)].
    shift = np.repeat(starts[batch.set] - splits[:-1], widths) if count else np.empty(0, np.int64)
    shared = {name: getattr(batch, name) for name in ("record", "step", "time", "rank", "attempt")}
    shared["batch"], shared["node"] = np.full(count, batch.id, np.int64), np.full(count, batch.node, np.int64)
    shared["level"] = _levels(batch)
    key = flat[shift + np.arange(len(batch.value))]
    return _made(shared, key, np.repeat(np.arange(count), widths), batch.value, batch.special)


def _levels(batch: Batch) -> NDArray[np.int8]:
    import numpy as np

    found = np.zeros(len(batch), np.int8)
    for row, what in batch.meta.items():
        level = what.get("level")
        if isinstance(level, int) and 0 < level <= MOST_LEVEL:
            found[row] = level
    return found


def concat(chunks: Sequence[Chunk]) -> Chunk:
    """The points of all chunks, of which there is at least one, in their order."""
    import numpy as np

    if len(chunks) == 1:
        return chunks[0]
    keys = np.unique(np.concatenate([chunk.keys for chunk in chunks]))
    places = [np.searchsorted(keys, chunk.keys) for chunk in chunks]
    befores = np.cumsum([0, *(len(chunk.shared["record"]) for chunk in chunks)]).tolist()
    sizes, first, last = np.zeros(len(keys), np.int64), np.full(len(keys), befores[-1]), np.zeros(len(keys), np.int64)
    starts: list[NDArray[np.int64]] = []
    for chunk, place, before in zip(chunks, places, befores, strict=False):
        starts.append(sizes[place])
        sizes[place] += np.diff(chunk.edges)
        first[place] = np.minimum(first[place], before + chunk.first)
        last[place] = before + chunk.last()
    edges, is_odd = np.r_[0, np.cumsum(sizes)], last - first + 1 != sizes
    at = np.r_[0, np.cumsum(np.where(is_odd, sizes, 0))]
    # Each point goes to its place: to sort them all anew would take several times the memory that they have.
    value, rows = np.empty(edges[-1]), np.empty(at[-1], np.int32)
    special: dict[int, dict[int, Special]] = {}
    for chunk, place, start, before in zip(chunks, places, starts, befores, strict=False):
        mine = np.diff(chunk.edges)
        value[np.arange(len(chunk)) + np.repeat(edges[place] + start - chunk.edges[:-1], mine)] = chunk.value
        odd = np.flatnonzero(np.repeat(is_odd[place], mine))
        if len(odd):
            to = np.arange(len(chunk)) + np.repeat(at[place] + start - chunk.edges[:-1], mine)
            rows[to[odd]] = chunk.rows_of_points()[odd] + before
        for number, some in chunk.special.items():
            moved = {int(start[number]) + row: found for row, found in some.items()}
            special.setdefault(int(place[number]), {}).update(moved)
    shared = {name: narrow(np.concatenate([chunk.shared[name] for chunk in chunks])) for name in SHARED}
    return Chunk(shared, keys, edges, first, rows, at, value, special)


def _made(
    shared: Mapping[str, NDArray[Any]],
    key: NDArray[np.int32],
    row: NDArray[np.int64],
    value: NDArray[np.float64],
    special: Mapping[int, Special],
) -> Chunk:
    """A chunk of points in the order of their records: of each its key, the row of its record, and its value."""
    import numpy as np

    order = np.argsort(key, kind="stable")
    key, row = key[order], row[order]
    begins = np.flatnonzero(np.r_[True, key[1:] != key[:-1]][: len(key)])
    edges = np.r_[begins, len(key)]
    sizes = np.diff(edges)
    first = row[begins]
    is_odd = row[edges[1:] - 1] - first + 1 != sizes
    by_place: dict[int, dict[int, Special]] = {}
    if special:
        new = np.empty(len(order), np.int64)
        new[order] = np.arange(len(order))
        for at, found in special.items():
            place = int(np.searchsorted(begins, new[at], side="right")) - 1
            by_place.setdefault(place, {})[int(new[at] - begins[place])] = found
    return Chunk(
        {name: narrow(column) for name, column in shared.items()},
        key[begins],
        edges,
        first,
        row[np.repeat(is_odd, sizes)].astype(np.int32),
        np.r_[0, np.cumsum(np.where(is_odd, sizes, 0))],
        value[order],
        by_place,
    )


def narrow(column: NDArray[Any]) -> NDArray[Any]:
    """The column, as one value where all are the same, or NaN."""
    import numpy as np

    if len(column) and ((column == column[0]).all() or np.isnan(column).all()):
        return np.broadcast_to(column[:1].copy(), len(column))
    return column
