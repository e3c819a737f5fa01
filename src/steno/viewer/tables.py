"""`api/media-table`: a logged table by pages, sorted and filtered here, each number as it is."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool

from steno import bounds, inside
from steno.errors import UsageError
from steno.store.media import ref_of, value_of
from steno.viewer import answers, asked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa
    from starlette.requests import Request
    from starlette.responses import Response

    from steno.viewer.catalogue import Catalogue

_MOST_ROWS: Final = 1000
_MOST_COLUMNS: Final = 200
_LARGEST_BYTES: Final = 256 << 20
"""Of a table in memory: sorting needs all of it."""
_KEPT: Final = 4
_LONGEST: Final = 1000
_CONDITION: Final = re.compile(r"\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", re.DOTALL)


class Tables:
    """The tables that runs have logged. Thread-safe."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._tables: dict[tuple[str, str], pa.Table] = {}
        self._orders: dict[tuple[Any, ...], pa.Array | None] = {}

    async def table(self, request: Request) -> Response:
        """`api/media-table`."""
        given = await asked.body(request)
        return answers.data(await run_in_threadpool(self._page, given))

    def _page(self, given: Mapping[str, Any]) -> dict[str, Any]:
        run, file = asked.text(given, "run"), asked.text(given, "file")
        if run is None or file is None:
            raise UsageError("run and file are needed: api/media-index has them")
        offset, limit = asked.whole(given, "offset", 0, 0, 2**53), asked.whole(given, "limit", 200, 1, _MOST_ROWS)
        table = self._table(run, file)
        rows = self._order(table, run, file, given)
        total = table.num_rows if rows is None else len(rows)
        part = table.slice(offset, limit) if rows is None else table.take(rows.slice(offset, limit))
        shown = part.select(range(min(table.num_columns, _MOST_COLUMNS)))
        columns = [_cells(column) for column in shown.columns]
        return {
            "columns": [{"name": field.name, "type": str(field.type)[:200]} for field in shown.schema],
            "columns_left_out": table.num_columns - shown.num_columns,
            "all": table.num_rows, "total": total, "offset": offset,
            "rows": [list(row) for row in zip(*columns, strict=True)],
        }  # fmt: skip

    def _table(self, run: str, file: str) -> pa.Table:
        """The table, kept for the next page.

        Raises:
            UsageError: there is no such table, or it is too large.
            CorruptError: it is damaged.
        """
        root, ref = self._catalogue.path(run), ref_of(file, "table")
        with self._lock:
            found = self._tables.pop((run, file), None)
        if found is None:
            path = inside.path(root, file)
            self._catalogue.have(run, file)
            if path.exists():
                size = _unpacked(path)
                if size > _LARGEST_BYTES:
                    raise asked.TooMuchError(
                        f"this table has {size >> 20:,} MiB, and at most {_LARGEST_BYTES >> 20} are shown: "
                        f"save it, or read it with pyarrow.parquet.read_table"
                    )
            found = value_of(root, ref)
        with self._lock:
            self._tables[run, file] = found
            while len(self._tables) > _KEPT:
                self._tables.pop(next(iter(self._tables)))
        return found

    def _order(self, table: pa.Table, run: str, file: str, given: Mapping[str, Any]) -> pa.Array | None:
        """The rows that match, in their order; None: all as they stand."""
        sort = asked.text(given, "sort")
        match = (asked.text(given, "match") or "").casefold()
        filters = given.get("filters") or {}
        if not isinstance(filters, dict) or not all(isinstance(text, str) for text in filters.values()):
            raise UsageError("filters is no object of texts by number of column")
        conditions = {_column(table, name): text for name, text in filters.items() if text.strip()}
        place = (run, file, sort, match, tuple(sorted(conditions.items())))
        with self._lock:
            if place in self._orders:
                return self._orders[place]
        found = _rows(table, sort, match, conditions)
        with self._lock:
            self._orders[place] = found
            while len(self._orders) > 2 * _KEPT:
                self._orders.pop(next(iter(self._orders)))
        return found


def _unpacked(path: Path) -> int:
    """Bytes in memory, as the footer says; 0 for what is no Parquet file, which its reader says in full."""
    try:
        footer = bounds.footer(path, 1 << 31)
    except ValueError:
        return 0
    return sum(footer.row_group(at).total_byte_size for at in range(footer.num_row_groups))


def _column(table: pa.Table, name: str) -> int:
    at = inside.number(name)
    if at is None or at >= table.num_columns:
        raise UsageError(f"column {name!r}: a number from 0 to {table.num_columns - 1} is needed")
    return at


def _rows(table: pa.Table, sort: str | None, match: str, conditions: Mapping[int, str]) -> pa.Array | None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = None
    for at, text in conditions.items():
        mask = _condition(table.column(at), text)
        kept = mask if kept is None else kept & mask
    if match:
        any_ = np.zeros(table.num_rows, bool)
        for column in table.columns[:_MOST_COLUMNS]:
            any_ |= _holds(column, match)
        kept = any_ if kept is None else kept & any_
    rows = None if kept is None else pa.array(np.flatnonzero(kept))
    if sort is None:
        return rows
    at = _column(table, sort.removeprefix("-"))
    column = table.column(at).combine_chunks()
    column = column if rows is None else column.take(rows)
    order = "descending" if sort.startswith("-") else "ascending"
    try:
        indices = pc.array_sort_indices(column, order=order, null_placement="at_end")
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        indices = pc.array_sort_indices(_words(column), order=order, null_placement="at_end")
    return indices if rows is None else rows.take(indices)


def _condition(column: pa.ChunkedArray, text: str) -> Any:
    """Which rows fulfil `< 5`, `>= 2`, `= x`, `!= x`; any other text: those that hold it."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    found = _CONDITION.fullmatch(text)
    if found is None:
        return _holds(column, text.strip().casefold())
    act = {
        "<": pc.less,
        "<=": pc.less_equal,
        ">": pc.greater,
        ">=": pc.greater_equal,
        "=": pc.equal,
        "!=": pc.not_equal,
    }
    value: Any = found[2]
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        value = _number(value)
        if isinstance(value, int) and pa.types.is_integer(column.type):
            column, value = _comparable(column, value)
        elif pa.types.is_integer(column.type):
            column = column.cast(pa.float64(), safe=False)
    elif not pa.types.is_string(column.type):
        column = _words(column)
    mask = act[found[1]](column, value)
    return np.asarray(pc.fill_null(mask, found[1] == "!="))


def _comparable(column: pa.ChunkedArray, value: int) -> tuple[pa.ChunkedArray, Any]:
    """The column and the number in one type that holds both exactly."""
    import pyarrow as pa

    wide = pa.uint64() if pa.types.is_uint64(column.type) and value >= 0 else pa.int64()
    try:
        return column.cast(wide), pa.scalar(value, wide)
    except (pa.ArrowInvalid, OverflowError):
        return column.cast(pa.decimal128(38)), pa.scalar(value, pa.decimal128(38))


def _number(text: str) -> int | float:
    try:
        return int(text) if len(text) < 30 else float(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text!r} is no number, and the column holds numbers") from None


def _holds(column: pa.ChunkedArray, text: str) -> Any:
    import numpy as np
    import pyarrow.compute as pc

    found = pc.match_substring(pc.utf8_lower(_words(column)), text.lower())
    return np.asarray(pc.fill_null(found, False))


def _words(column: Any) -> Any:
    """The column as texts, as they are shown."""
    import pyarrow as pa

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.chunked_array(
            [pa.array([None if one is None else str(one) for one in column.to_pylist()], pa.string())]
        )


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """The values for JSON: numbers and texts as they are, others as texts; very long texts say how long they are."""
    import pyarrow as pa

    kind = column.type
    plain = (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
    )
    values = column.to_pylist() if plain else _words(column).to_pylist()
    return [
        f"{one[:_LONGEST]}… ({len(one):,} characters)" if isinstance(one, str) and len(one) > _LONGEST else one
        for one in values
    ]
