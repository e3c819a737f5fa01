"""Tables: `steno.Table`, kept as Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from steno import bounds
from steno.errors import UsageError
from steno.media.arguments import named
from steno.media.arrays import captioned, text_of
from steno.media.raw import Captured, Raw, capture_bytes
from steno.utf8 import brief, escaped, text_of_any

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from pathlib import Path

    import pyarrow as pa

_DEEPEST: Final = 32


class Table:
    """A table for `run.log`; it is copied here, and kept by the collector as Parquet.

    Args:
        data: a pandas or polars frame, a pyarrow table, {column: values}, a sequence of {column: value}, or, with
            `columns`, a sequence of rows.
        columns: names of the columns of rows.
        caption: shown with it.

    A column whose values are of several types, or of a type that Parquet has not, is kept as text.

    Raises:
        UsageError: none of these, no columns, or rows of another length than `columns`.

    Imports pyarrow at its first use. When `log` has returned, the table survives the process.
    """

    __slots__ = ("_caption", "_columns", "_data", "_rows")

    @named
    def __init__(self, data: Any, columns: Sequence[str] | None = None, caption: str | None = None) -> None:
        import pyarrow as pa

        self._caption = captioned(caption)
        table = _table(data, columns)
        if not table.num_columns:
            msg = "Table: it has no columns"
            raise UsageError(msg)
        self._columns = [text_of(name, "the name of a column") for name in table.column_names]
        self._rows = table.num_rows
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        self._data = sink.getvalue()

    def __repr__(self) -> str:
        return f"steno.Table({self._rows} rows, {self._columns})"

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        meta = {"ext": "parquet", "rows": self._rows, "columns": self._columns[:1000], **self._caption}
        return capture_bytes("table", {"ext": "arrow"}, memoryview(self._data), meta)


def _table(data: Any, columns: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

    libraries = {base.__module__.partition(".")[0] for base in type(data).__mro__}
    try:
        if isinstance(data, pa.Table):
            return _storable(data)
        if libraries & {"pandas", "polars"}:
            data = data if hasattr(data, "columns") else data.to_frame()
            return _of_pandas(data) if "pandas" in libraries else _of_polars(data)
        if names := getattr(getattr(data, "dtype", None), "names", None):  # numpy's structured arrays
            data = {name: data[name].tolist() for name in names}
        if isinstance(data, dict):
            for name, values in data.items():
                if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
                    msg = f"Table: the column {name!r} is {brief(values)}, not a sequence of values"
                    raise UsageError(msg)
            return pa.table({text_of_any(name): _column(list(values)) for name, values in data.items()})
        rows = list(data)
        if columns is not None:
            names = [text_of_any(name) for name in columns]
            for index, row in enumerate(rows):
                if isinstance(row, (str, bytes, dict)) or len(row) != len(names):
                    msg = f"Table: row {index} is {brief(row)}, not a sequence of {len(names)} values"
                    raise UsageError(msg)
            found = zip(*rows, strict=True) if rows else [()] * len(names)
            return pa.table({name: _column(list(values)) for name, values in zip(names, found, strict=True)})
        if rows and all(isinstance(row, dict) for row in rows):
            names = list(dict.fromkeys(name for row in rows for name in row))
            return pa.table({text_of_any(name): _column([row.get(name) for row in rows]) for name in names})
    except UsageError:
        raise
    except Exception as error:
        msg = f"Table: {type(data).__name__} cannot be read: {error}"
        raise UsageError(msg) from error
    msg = f"Table: {type(data).__name__} is not a frame, a dict of columns or a sequence of dicts; rows need columns="
    raise UsageError(msg)


def _of_pandas(frame: Any) -> pa.Table:
    import pyarrow as pa

    if frame.columns.inferred_type.startswith("mixed"):
        frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    try:
        if any(
            _is_too_deep(frame.iloc[:, at].tolist()) for at, kind in enumerate(frame.dtypes) if str(kind) == "object"
        ):
            raise ValueError("text is made of what is nested so deeply")
        return _storable(pa.Table.from_pandas(frame))
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        columns: dict[str, pa.Array] = {}
        for place, name in enumerate(frame.columns):
            columns[_unused(str(name), columns)] = _column(frame.iloc[:, place].tolist())
        if type(frame.index).__name__ != "RangeIndex":
            columns[_unused(str(frame.index.name or "index"), columns)] = _column(frame.index.tolist())
        return pa.table(columns)


def _of_polars(frame: Any) -> pa.Table:
    # Of Python's objects Arrow would get the addresses.
    columns = frame.get_columns()
    objects = [place for place, column in enumerate(columns) if "Object" in str(column.dtype)]
    table = type(frame)([column for place, column in enumerate(columns) if place not in objects]).to_arrow()
    for place in objects:
        table = table.add_column(place, columns[place].name, _texts(columns[place].to_list()))
    return _storable(table)


def _storable(table: pa.Table) -> pa.Table:
    """The table, with text for columns that Parquet has no type for, or whose type only pandas reads."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for place, field in enumerate(table.schema):
        is_pandas = _is_pandas(field.type)
        is_runs = pa.types.is_run_end_encoded(field.type)
        if is_runs or (pa.types.is_dictionary(field.type) and pa.types.is_nested(field.type.value_type)):
            field = field.with_type(field.type.value_type)
            chunks = [pc.run_end_decode(one) if is_runs else one.dictionary_decode() for one in table[place].chunks]
            table = table.set_column(place, field, pa.chunked_array(chunks, field.type))
        if is_pandas or not _has_parquet(field):
            column = table.column(place)
            values = column.to_pandas().tolist() if is_pandas else column.to_pylist()
            # What pandas wrote about the columns' types is true no longer.
            table = table.set_column(place, pa.field(field.name, pa.string()), _texts(values)).replace_schema_metadata()
    return table


def _is_pandas(kind: pa.DataType) -> bool:
    """Whether it is a type of pandas' own (period, interval), or a category of such."""
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name.startswith("pandas.")


def _has_parquet(field: pa.Field) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not pa.types.is_nested(field.type) and not pa.types.is_interval(field.type):
        return True
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
    except pa.ArrowException:
        return False
    return True


def _unused(name: str, taken: Container[str]) -> str:
    """The name, with a number if another column has it."""
    name, count = escaped(name), 1
    found = name
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    return found


def _column(values: list[Any]) -> pa.Array:
    import pyarrow as pa

    if _is_too_deep(values):
        return _texts(values)
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _texts(values)


def _texts(values: list[Any]) -> pa.Array:
    import pyarrow as pa

    return pa.array([None if value is None else text_of_any(value) for value in values], pa.string())


def _is_too_deep(values: Any) -> bool:
    """Whether lists lie in lists without end: Arrow goes down in them until the process dies."""
    import numpy as np

    nesting = (list, tuple, dict, set, frozenset, np.ndarray)
    if not any(issubclass(kind, nesting) for kind in set(map(type, values))):
        return False
    level = [values]
    for _ in range(_DEEPEST):
        items = (item for one in level for item in one if isinstance(item, nesting))
        below = {id(item): item for item in items if str(getattr(item, "dtype", "object")) == "object"}
        if not below:
            return False
        level = [one.values() if isinstance(one, dict) else getattr(one, "flat", one) for one in below.values()]
    return True


def encode(raw: Raw, path: Path) -> None:
    """Write the table as Parquet."""
    import pyarrow.parquet as pq

    with open(path, "xb") as file:
        pq.write_table(from_raw(raw), file, compression="zstd")


def from_raw(raw: Raw) -> pa.Table:
    """The table."""
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(raw.body)) as reader:
        return reader.read_all()


def from_file(path: Path) -> pa.Table:
    """The table of its file."""
    import pyarrow.parquet as pq

    bounds.parquet(path, most_rows=1 << 31)
    # A path would be taken as a URL where it looks like one, and must be valid unicode. Threads of Arrow's would let go
    # of what Python read while the interpreter ends, which aborts the process.
    with open(path, "rb") as file, pq.ParquetFile(file, pre_buffer=False) as table:
        return table.read(use_threads=False)
