"""A run's points as one file for other programs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from steno import files
from steno.errors import UsageError
from steno.moments import iso
from steno.record import Ref
from steno.store.engine import quoted, require
from steno.store.points import Points, concat, of_arrow
from steno.store.records import records_of
from steno.store.sql import views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import duckdb

    from steno.record import Record
    from steno.store.engine import Engine
    from steno.store.source import Source

    Write = Callable[["_Chosen", Path], int]

FORMATS = ("csv", "jsonl", "parquet")
_CSV = """
select node, record, step, replace(time::varchar, ' ', 'T') || 'Z' as time, rank, attempt, key,
    case when exact is not null then exact::varchar when text is not null then text when ref is not null then ref
    else value::varchar end as value
from metrics where WANTED order by node, record, key
"""
_JSONL = """
select node, record, key, step, epoch_ns(time) as time, rank, attempt, value, exact, text, ref
from metrics where WANTED order by node, record, key
"""
_FIXED = ("node", "record", "step", "time", "rank", "attempt")


def export(
    engine: Engine, source: Source, to: str, path: Path, *, keys: Iterable[str] | None = None, long: bool = False
) -> int:
    """Write the points that rewinds leave to `path`, replacing it atomically when all is written; returns points.

    csv      one row per record: node, record, step, time, rank, attempt, a column for each key in their order;
             a column of ours steps aside as `_step` for a key of its name
    csv, long  one row per point: node, record, step, time, rank, attempt, key, value
    jsonl    one object per record: node, record, step, time (ISO 8601), rank, attempt, values; NaN and infinities
             as strings
    parquet  one row per point, with the columns of a part

    Raises:
        UsageError: unknown format, or the file cannot be written.
        PartGone: a part was merged away meanwhile.
    """
    import duckdb

    if to not in FORMATS:
        msg = f"cannot export to {to!r}: the formats are {', '.join(FORMATS)}"
        raise UsageError(msg)
    if long and to != "csv":
        raise UsageError(f"long is a form of csv: {to} has one")
    path = Path(path)
    if not path.parent.is_dir() or path.is_dir():
        what = "is a directory" if path.is_dir() else f"lies in {path.parent}, which is not there"
        msg = f"cannot export to {path}: it {what}; name a file in an existing directory"
        raise UsageError(msg)
    write: Write = _jsonl if to == "jsonl" else _wide if to == "csv" and not long else _copy(to)
    try:
        with files.aside(path) as hidden:
            return _written(engine, source, write, hidden, None if keys is None else list(keys))
    except (duckdb.Error, OSError) as error:
        msg = f"cannot export to {path}: {error}"
        raise UsageError(msg) from error


def _written(engine: Engine, source: Source, write: Write, path: Path, keys: list[str] | None) -> int:
    import duckdb

    parts = source.parts(engine, "metrics")
    try:
        with views(engine, [source]) as cursor:
            return write(_Chosen(cursor, keys), path)
    except duckdb.Error:
        require(part for part in parts if str(part) not in engine.damaged)
        before = len(engine.damaged)
        engine.intact(parts)
        if len(engine.damaged) == before:
            raise
    with views(engine, [source]) as cursor:
        return write(_Chosen(cursor, keys), path)


class _Chosen:
    """The points of some keys, or of all, behind a cursor."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, keys: list[str] | None) -> None:
        import pyarrow as pa

        self.cursor = cursor
        self._where = "true"
        if keys is not None:
            cursor.register("wanted", pa.table({"key": pa.array(keys, pa.string())}))
            self._where = "key in (select key from wanted)"

    def query(self, text: str) -> str:
        return text.replace("WANTED", self._where)

    def keys(self) -> list[str]:
        found = self.cursor.execute(self.query("select distinct key::varchar from metrics where WANTED"))
        return sorted(row[0] for row in found.fetchall())


def _copy(to: str) -> Write:
    if to == "csv":
        select, options = _CSV, "format csv, header"
    else:
        select = "select * exclude (run) from metrics where WANTED order by key, rank, attempt, step, node, record"
        options = "format parquet, compression zstd"

    def write(chosen: _Chosen, path: Path) -> int:
        chosen.cursor.execute(f"copy ({chosen.query(select)}) to {quoted(str(path))} ({options})")
        return int(chosen.cursor.fetchall()[0][0])

    return write


def _wide(chosen: _Chosen, path: Path) -> int:
    columns = {key: number for number, key in enumerate(chosen.keys())}
    points = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        write = csv.writer(file, lineterminator="\n").writerow
        write([*(f"_{name}" if name in columns else name for name in _FIXED), *columns])
        for record in _records(chosen):
            points += len(record.values)
            cells = [""] * len(columns)
            for key, value in record.values.items():
                cells[columns[key]] = repr(value) if isinstance(value, float | int) else str(value)
            step = "" if record.step is None else record.step
            write([record.node, record.record, step, iso(record.time), record.rank, record.attempt, *cells])
    return points


def _jsonl(chosen: _Chosen, path: Path) -> int:
    encode = msgspec.json.Encoder().encode
    points = 0
    with open(path, "wb") as file:
        for record in _records(chosen):
            points += len(record.values)
            line = {**{name: getattr(record, name) for name in _FIXED}, "time": iso(record.time)}
            file.write(encode({**line, "values": {key: plain(value) for key, value in record.values.items()}}) + b"\n")
    return points


def _records(chosen: _Chosen) -> Iterator[Record]:
    """All records by number, streamed; one that is cut by the edge of a chunk waits for its rest."""
    ids: dict[str, int] = {}
    held: Points = concat([])
    relation = chosen.cursor.sql(chosen.query(_JSONL))
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
