"""Points as flat columns, one row per point."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from steno.ledger.arrow_columns import integers, strings, to_arrow, to_numpy, valid_rows
from steno.ledger.schema import read_ref, ref_text
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

Special = int | str | Ref
MOST_LEVEL = 127


@dataclass(frozen=True, slots=True)
class Points:
    """`n` points; all arrays have shape (n,).

    `special` holds by row what `value` cannot: an int beyond 2**53, a str or a `Ref`, as in `Batch`.
    """

    key: NDArray[np.int32]
    """Position in a list of names that the owner keeps."""
    record: NDArray[np.int64]
    step: NDArray[np.int64]
    time: NDArray[np.int64]
    """Nanoseconds since 1970, UTC."""
    rank: NDArray[np.int32]
    attempt: NDArray[np.int32]
    batch: NDArray[np.int64]
    node: NDArray[np.int64]
    level: NDArray[np.int8]
    """Of the record, 0 where it was given none; only of points that are not sealed."""
    value: NDArray[np.float64]
    special: Mapping[int, Special] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.value)

    def take(self, chosen: NDArray[Any]) -> Points:
        """The rows of a boolean mask, or of row numbers in the order given."""
        import numpy as np

        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in COLUMNS},
            special=taken(self.special, rows, len(self)),
        )


COLUMNS = ("key", "record", "step", "time", "rank", "attempt", "batch", "node", "level", "value")
_DTYPES = ("int32", "int64", "int64", "int64", "int32", "int32", "int64", "int64", "int8", "float64")


def taken(special: Mapping[int, Special], rows: NDArray[Any], length: int) -> dict[int, Special]:
    """`special` for the rows chosen out of `length`, under their new numbers."""
    import numpy as np

    if not special:
        return {}
    old = np.fromiter(special, np.int64, len(special))
    marked = np.zeros(length, bool)
    marked[old] = True
    places = np.flatnonzero(marked[rows])
    return {int(place): special[int(rows[place])] for place in places.tolist()}


def concat(pieces: Sequence[Points]) -> Points:
    """All pieces, one after the other."""
    import numpy as np

    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        empty: dict[str, Any] = {name: np.empty(0, dtype) for name, dtype in zip(COLUMNS, _DTYPES, strict=True)}
        return Points(**empty)
    special: dict[int, Special] = {}
    start = 0
    for piece in pieces:
        special.update({start + row: value for row, value in piece.special.items()})
        start += len(piece)
    columns: dict[str, Any] = {name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in COLUMNS}
    return Points(**columns, special=special)


SELECTED = "node, record, step, epoch_ns(time) as time, rank, attempt, value, exact, text, ref"
"""What is selected of a part for `of_arrow`; the key next to it where there are several."""


def of_arrow(table: pa.Table, ids: dict[str, int] | None = None, same: Mapping[str, int] | None = None) -> Points:
    """The points of a table with the columns of a part; without `ids` every point has the key number 0.

    The table's `time` is int64 ns, or as a part has it; a column that it lacks has its one value in `same`, or 0.
    `ids` grows by the keys it does not know.
    """
    import numpy as np

    count = len(table)
    whole = (
        ("node", "int64"),
        ("record", "int64"),
        ("step", "int64"),
        ("time", "int64"),
        ("rank", "int32"),
        ("attempt", "int32"),
    )
    there = set(table.column_names)
    columns: dict[str, Any] = {
        name: to_numpy(table[name], dtype) if name in there else np.full(count, (same or {}).get(name, 0), dtype)
        for name, dtype in whole
    }
    if "time" in there and is_in_micros(table["time"]):
        columns["time"] = columns["time"] * 1000
    value = to_numpy(table["value"], "float64")
    return Points(
        key=np.zeros(count, np.int32) if ids is None else numbered(table["key"], ids),
        batch=np.zeros(count, np.int64),
        level=np.zeros(count, np.int8),
        value=value,
        special=_specials(table, value),
        **columns,
    )


def is_in_micros(time: pa.ChunkedArray) -> bool:
    """Whether a column of times is one of a part."""
    return getattr(time.type, "unit", "") == "us"


def numbered(names: pa.ChunkedArray, ids: dict[str, int]) -> NDArray[np.int32]:
    """The numbers of names by `ids`, which grows by those that it does not know."""
    import numpy as np
    import pyarrow as pa

    coded = names if pa.types.is_dictionary(names.type) else names.dictionary_encode()
    pieces = [np.empty(0, np.int32)]
    for chunk in coded.chunks:
        known = np.array([ids.setdefault(name, len(ids)) for name in chunk.dictionary.to_pylist()], np.int32)
        indices = pa.chunked_array([chunk.indices])
        pieces.append(known[to_numpy(indices, f"int{chunk.indices.type.bit_width}")])
    return np.concatenate(pieces)


def _specials(table: pa.Table, value: NDArray[np.float64]) -> dict[int, Special]:
    import numpy as np
    import pyarrow as pa

    out: dict[int, Special] = {}
    there = set(table.column_names)
    for name in ("exact", "text", "ref"):
        column = table[name] if name in there else None
        if column is None or column.null_count == len(column):
            continue
        rows = valid_rows(column)
        for row, found in zip(rows.tolist(), column.take(to_arrow(rows, pa.int64())).to_pylist(), strict=True):
            if name == "exact":
                out[row] = found
            elif name == "ref":
                out[row] = read_ref(found)
            else:
                # An int beyond 64 bits is sealed as its digits, with its nearest float.
                out[row] = found if np.isnan(value[row]) else int(found)
    return out


def table_of(points: Points, names: Sequence[str]) -> pa.Table:
    """A table with the columns that the view `metrics` has; `time` as timestamp(ns), UTC."""
    import numpy as np
    import pyarrow as pa

    count = len(points)
    odd: dict[str, dict[int, Any]] = {"exact": {}, "text": {}, "ref": {}}
    unvalued = np.zeros(count, bool)
    for row, found in points.special.items():
        unvalued[row] = not isinstance(found, int)
        if isinstance(found, str):
            odd["text"][row] = found
        elif isinstance(found, Ref):
            odd["ref"][row] = ref_text(found)
        elif INT64_MIN <= found <= INT64_MAX:
            odd["exact"][row] = found
        else:
            odd["text"][row] = str(found)
    return pa.table(
        {
            "node": to_arrow(points.node, pa.int64()),
            "record": to_arrow(points.record, pa.int64()),
            "key": pa.DictionaryArray.from_arrays(to_arrow(points.key, pa.int32()), strings(names)),
            "step": to_arrow(points.step, pa.int64()),
            "time": to_arrow(points.time, pa.timestamp("ns")),
            "rank": to_arrow(points.rank, pa.int32()),
            "attempt": to_arrow(points.attempt, pa.int32()),
            "level": to_arrow(points.level.astype(np.int32), pa.int32(), points.level == 0),
            "value": to_arrow(points.value, pa.float64(), unvalued),
            "exact": _sparse(odd["exact"], count, pa.int64()),
            "text": _sparse(odd["text"], count, pa.string()),
            "ref": _sparse(odd["ref"], count, pa.string()),
        }
    )


def _sparse(found: Mapping[int, Any], length: int, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if not found:
        return pa.nulls(length, kind)
    out: list[Any] = [None] * length
    for row, value in found.items():
        out[row] = value
    return strings(out) if kind == pa.string() else integers(out, kind)
