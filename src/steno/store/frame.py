"""Several keys side by side: one row per step, time or record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.ledger.arrow_columns import integers, strings, to_arrow
from steno.record import Ref
from steno.store.points import INT64_MAX, INT64_MIN
from steno.store.series import is_sorted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from steno.store.points import Points

    JoinKey = list[NDArray[Any]]

JOINS: Mapping[str, tuple[str, ...]] = {
    "step": ("step", "rank", "attempt"),
    "time": ("time", "rank", "attempt"),
    "record": ("node", "record", "step", "time", "rank", "attempt"),
}
"""`on` → the columns that stand before the keys, in the order the rows are sorted by."""

LIBRARIES = ("pandas", "polars", "arrow")


def check(on: str, as_: str) -> None:
    """Raise UsageError for an unknown `on` or `as_`."""
    if on not in JOINS:
        msg = f"on={on!r}: rows are joined on {', '.join(map(repr, JOINS))}"
        raise UsageError(msg)
    if as_ not in LIBRARIES:
        msg = f"as_={as_!r}: a frame comes as {', '.join(map(repr, LIBRARIES))}"
        raise UsageError(msg)


def unused(on: str) -> tuple[str, ...]:
    """Columns of points that a join on this makes nothing of."""
    return () if "time" in JOINS[on] else ("time",)


def join(points: Sequence[Points], keys: Sequence[str], on: str) -> pa.Table:
    """The outer join of the keys' points; where a key has several in one row, that of the last record.

    A value that is missing is null, a NaN that was logged is NaN.
    """
    import numpy as np
    import pyarrow as pa

    own = [_in_place(some, JOINS[on]) for some in points]
    heads, places = _united([place for _, place in own], JOINS[on])
    out: dict[str, pa.Array] = {}
    for name, data in zip(JOINS[on], heads, strict=True):
        # A user's own key of that name keeps it; ours steps aside.
        kind = pa.timestamp("ns") if name == "time" else pa.int32() if data.dtype == np.int32 else pa.int64()
        out[f"_{name}" if name in keys else name] = to_arrow(data, kind)
    for key, (some, _), place in zip(keys, own, places, strict=True):
        out[key] = _column(some, place, len(heads[0]))
    return pa.table(out)


def _in_place(points: Points, names: Sequence[str]) -> tuple[Points, JoinKey]:
    """One key's points, one for each place, in the order of the places; and these, by column of the join."""
    import numpy as np

    place = [getattr(points, name) for name in names]
    if is_sorted(place, strictly=True):
        return points, place
    # In order of record within a place: of several points there, that of the last record stays.
    order = np.lexsort((points.record, points.node, *reversed(place)))
    stays = np.ones(len(order), bool)
    if len(order):
        stays[:-1] = _differs([column[order] for column in place])
    points = points.take(order[stays])
    return points, [getattr(points, name) for name in names]


def _differs(place: JoinKey) -> NDArray[np.bool_]:
    """Whether each row's place is another than that of the row before."""
    import numpy as np

    differs = np.zeros(len(place[0]) - 1, bool)
    for column in place:
        differs |= column[1:] != column[:-1]
    return differs


def _united(places: list[JoinKey], names: Sequence[str]) -> tuple[JoinKey, list[NDArray[np.int64] | None]]:
    """The places of all keys in order, and by key where its own are in them; None: it has exactly these."""
    import numpy as np

    if not places:
        return [np.empty(0, _DTYPES.get(name, "int64")) for name in names], []
    first = places[0]
    if all(all(map(np.array_equal, place, first)) for place in places[1:]):
        return first, [None] * len(places)
    codes = _codes(places)
    if codes is None:
        columns = [np.concatenate(column) for column in zip(*places, strict=True)]
        order = np.lexsort(columns[::-1])
        columns = [column[order] for column in columns]
        fresh = np.ones(len(order), bool)
        fresh[1:] = _differs(columns)
        number = np.empty(len(order), np.int64)
        number[order] = np.cumsum(fresh) - 1
        ends = np.cumsum([len(place[0]) for place in places])
        return [column[fresh] for column in columns], list(np.split(number, ends[:-1]))
    # Sorted runs one after the other: the stable sort merges them.
    every = np.sort(np.concatenate(codes), kind="stable")
    fresh = np.ones(len(every), bool)
    fresh[1:] = every[1:] != every[:-1]
    every = every[fresh]
    found = [np.searchsorted(every, code) for code in codes]
    heads = [np.empty(len(every), column.dtype) for column in first]
    for place, at in zip(places, found, strict=True):
        for head, column in zip(heads, place, strict=True):
            head[at] = column
    return heads, list(found)


def _codes(places: list[JoinKey]) -> list[NDArray[np.int64]] | None:
    """A number for each place, in the order of the places; None where 63 bits do not hold them."""
    import numpy as np

    held = [place for place in places if len(place[0])]
    lows = [min(int(place[at].min()) for place in held) for at in range(len(held[0]))]
    spans = [max(int(place[at].max()) for place in held) - lows[at] + 1 for at in range(len(lows))]
    if math.prod(spans) >= 2**63:
        return None
    found = []
    for place in places:
        code = np.zeros(len(place[0]), np.int64)
        for column, low, span in zip(place, lows, spans, strict=True):
            code *= span
            code += column.astype(np.int64) - low
        found.append(code)
    return found


_DTYPES: Final = {"rank": "int32", "attempt": "int32"}


def _column(points: Points, place: NDArray[np.int64] | None, rows: int) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    value, missing, special = points.value, None, points.special
    if place is not None:
        value = np.zeros(rows)
        value[place] = points.value
        missing = np.ones(rows, bool)
        missing[place] = False
        special = {int(place[row]): found for row, found in special.items()}
    if not special:
        return to_arrow(value, pa.float64(), missing)
    objects: list[Any] = value.tolist()
    for at in [] if missing is None else np.flatnonzero(missing).tolist():
        objects[at] = None
    for at, found in special.items():
        objects[at] = found
    return _objects(objects)


def _objects(objects: list[Any]) -> pa.Array:
    """Integers as int64 if every value is one that fits; else everything as text, floats by their repr."""
    import pyarrow as pa

    present = [one for one in objects if one is not None]
    if all(isinstance(one, int) or (isinstance(one, float) and one.is_integer()) for one in present):
        whole = [None if one is None else int(one) for one in objects]
        if all(INT64_MIN <= one <= INT64_MAX for one in whole if one is not None):
            return integers(whole, pa.int64())
    return strings(
        [
            one if one is None or isinstance(one, str) else str(one) if isinstance(one, Ref) else repr(one)
            for one in objects
        ]
    )


def convert(table: pa.Table, as_: str) -> Any:
    """The table as a pandas or polars frame, or as it is.

    Raises:
        UsageError: the library is not installed.
    """
    if as_ == "arrow":
        return table
    try:
        if as_ == "pandas":
            import pandas as pd  # noqa: F401

            return table.to_pandas()
        import polars as pl
    except ImportError as error:
        msg = f"as_={as_!r} needs {as_}: pip install 'stenolog[frames]', or ask for as_=\"arrow\""
        raise UsageError(msg) from error
    return pl.from_arrow(table)
