"""Several keys side by side: one row per step, time or record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.errors import UsageError
from steno.record import Ref
from steno.store.columns import integers, strings, to_arrow
from steno.store.points import INT64_MAX, INT64_MIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from steno.store.points import Points, Special

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


def join(points: Points, keys: Sequence[str], on: str) -> pa.Table:
    """The outer join of the keys' points; where a key has several in one row, that of the last record.

    `Points.key` counts in `keys`. A value that is missing is null, a NaN that was logged is NaN.
    """
    import numpy as np
    import pyarrow as pa

    columns = [getattr(points, name) for name in JOINS[on]]
    order = np.lexsort((points.record, points.node, *reversed(columns)))
    points = points.take(order)
    columns = [column[order] for column in columns]
    row = np.zeros(len(points), np.int64)
    if len(points):
        fresh = np.zeros(len(points) - 1, bool)
        for column in columns:
            fresh |= column[1:] != column[:-1]
        np.cumsum(fresh, out=row[1:])
    heads = np.flatnonzero(np.r_[True, np.diff(row) > 0]) if len(row) else row
    out: dict[str, pa.Array] = {}
    for name in JOINS[on]:
        data = getattr(points, name)[heads]
        # A user's own key of that name keeps it; ours steps aside.
        kind = pa.timestamp("ns") if name == "time" else pa.int32() if data.dtype == np.int32 else pa.int64()
        out[f"_{name}" if name in keys else name] = to_arrow(data, kind)
    for number, key in enumerate(keys):
        out[key] = _column(points, np.flatnonzero(points.key == number), row, len(heads))
    return pa.table(out)


def _column(points: Points, mine: NDArray[np.int64], row: NDArray[np.int64], rows: int) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    # In order of record within a row, so that of several assignments the last record's stays.
    value = np.zeros(rows)
    source = np.full(rows, -1, np.int64)
    value[row[mine]] = points.value[mine]
    source[row[mine]] = mine
    missing = source < 0
    special: dict[int, Special] = {}
    if points.special:
        special = {at: points.special[point] for at, point in enumerate(source.tolist()) if point in points.special}
    if not special:
        return to_arrow(value, pa.float64(), missing)
    objects: list[Any] = [None if gone else one for one, gone in zip(value.tolist(), missing.tolist(), strict=True)]
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
