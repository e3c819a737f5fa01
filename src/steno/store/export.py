"""A run's points as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from steno import files
from steno.errors import UsageError
from steno.record import Ref
from steno.store.engine import quoted, require
from steno.store.points import Points, concat, of_arrow
from steno.store.records import records_of
from steno.store.sql import views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

    from steno.record import Record
    from steno.store.engine import Engine
    from steno.store.sql import Source

FORMATS = ("csv", "jsonl", "parquet")
_CSV = """
select node, record, step, replace(time::varchar, ' ', 'T') || 'Z' as time, rank, attempt, key,
    case when exact is not null then exact::varchar when text is not null then text when ref is not null then ref
    else value::varchar end as value
from metrics order by node, record, key
"""
_JSONL = """
select node, record, key, step, epoch_ns(time) as time, rank, attempt, value, exact, text, ref
from metrics order by node, record, key
"""


def export(engine: Engine, source: Source, to: str, path: Path) -> int:
    """Write the points that rewinds leave to `path`, replacing it at once when all is written; returns points.

    csv      one row per point: node, record, step, time, rank, attempt, key, value
    jsonl    one object per record: node, record, step, time (ns), rank, attempt, values; NaN and infinities as strings
    parquet  one row per point, with the columns of a part

    Raises:
        UsageError: unknown format, or the file cannot be written.
        PartGone: a part was merged away meanwhile.
    """
    import duckdb

    if to not in FORMATS:
        msg = f"cannot export to {to!r}: the formats are {', '.join(FORMATS)}"
        raise UsageError(msg)
    path = Path(path)
    if not path.parent.is_dir() or path.is_dir():
        what = "is a directory" if path.is_dir() else f"lies in {path.parent}, which is not there"
        msg = f"cannot export to {path}: it {what}; name a file in an existing directory"
        raise UsageError(msg)
    write: Callable[[duckdb.DuckDBPyConnection, Path], int] = _jsonl if to == "jsonl" else _copy(to)
    try:
        with files.aside(path) as hidden:
            return _written(engine, source, write, hidden)
    except (duckdb.Error, OSError) as error:
        msg = f"cannot export to {path}: {error}"
        raise UsageError(msg) from error


def _written(
    engine: Engine, source: Source, write: Callable[[duckdb.DuckDBPyConnection, Path], int], path: Path
) -> int:
    import duckdb

    parts = source.parts(engine, "metrics")
    try:
        with views(engine, [source]) as cursor:
            return write(cursor, path)
    except duckdb.Error:
        require(part for part in parts if str(part) not in engine.damaged)
        before = len(engine.damaged)
        engine.sound(parts)
        if len(engine.damaged) == before:
            raise
    with views(engine, [source]) as cursor:
        return write(cursor, path)


def _copy(to: str) -> Callable[[duckdb.DuckDBPyConnection, Path], int]:
    if to == "csv":
        select, options = _CSV, "format csv, header"
    else:
        select = "select * exclude (run) from metrics order by key, rank, attempt, step, node, record"
        options = "format parquet, compression zstd"

    def write(cursor: duckdb.DuckDBPyConnection, path: Path) -> int:
        cursor.execute(f"copy ({select}) to {quoted(str(path))} ({options})")
        return int(cursor.fetchall()[0][0])

    return write


def _jsonl(cursor: duckdb.DuckDBPyConnection, path: Path) -> int:
    encode = msgspec.json.Encoder().encode
    points = 0
    with open(path, "wb") as file:
        for record in _records(cursor):
            points += len(record.values)
            line = {name: getattr(record, name) for name in ("node", "record", "step", "time", "rank", "attempt")}
            file.write(encode({**line, "values": {key: plain(value) for key, value in record.values.items()}}) + b"\n")
    return points


def _records(cursor: duckdb.DuckDBPyConnection) -> Iterator[Record]:
    """All records by number, streamed; one that is cut by the edge of a chunk waits for its rest."""
    ids: dict[str, int] = {}
    held: Points = concat([])
    relation = cursor.sql(_JSONL)
    for chunk in _chunks(relation):
        points = concat([held, of_arrow(chunk, ids)])
        whole = (points.record != points.record[-1]) | (points.node != points.node[-1])
        yield from records_of(points.take(whole), list(ids))
        held = points.take(~whole)
    yield from records_of(held, list(ids))


def _chunks(relation: Any) -> Iterator[Any]:
    import pyarrow as pa

    reader = relation.to_arrow_reader() if hasattr(relation, "to_arrow_reader") else relation.fetch_arrow_reader()
    for batch in reader:
        if len(batch):
            yield pa.Table.from_batches([batch])


def plain(value: float | str | Ref) -> Any:
    """A value as JSON can say it: what is not finite as "NaN", "Infinity" or "-Infinity"."""
    if isinstance(value, float):
        if value != value:  # noqa: PLR0124 - NaN
            return "NaN"
        if value in {float("inf"), float("-inf")}:
            return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return msgspec.Raw(str(value).encode())
    return str(value) if isinstance(value, Ref) else value
