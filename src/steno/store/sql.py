"""The tables that a query over runs sees, and the query itself."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steno.errors import UsageError
from steno.store.columns import integers, strings, to_arrow
from steno.store.engine import quoted, require, scan
from steno.store.points import table_of
from steno.store.runtables import CONFIG, RUNS, config_table, runs_table
from steno.utf8 import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from steno.store.attempts import Choice
    from steno.store.engine import Engine
    from steno.store.runtables import About
    from steno.store.unsealed import View

_COLUMNS = "node, record, key, step, time::timestamp_ns as time, rank, attempt, {} as level, value, exact, text, ref"
COLUMNS = _COLUMNS.format("level")
"""Of the points that are not sealed."""
OF_PART = _COLUMNS.format("try_cast(try(json_extract_string(meta, '$.level')) as integer)")
ENTRY_COLUMNS = "node, record, time::timestamp_ns as time, step, rank, attempt, kind, payload"
EMPTY = (
    "select ''::varchar as run, null::bigint as node, null::bigint as record, null::varchar as key, "
    "null::bigint as step, null::timestamp_ns as time, null::integer as rank, null::integer as attempt, "
    "null::integer as level, null::double as value, null::bigint as exact, null::varchar as text, "
    "null::varchar as ref where false"
)
ENTRY_EMPTY = (
    "select ''::varchar as run, null::bigint as node, null::bigint as record, null::timestamp_ns as time, "
    "null::bigint as step, null::integer as rank, null::integer as attempt, null::varchar as kind, "
    "null::varchar as payload where false"
)


@dataclass(frozen=True, slots=True)
class Source:
    """One run in a query: what is readable of it at one moment, and which of its points are meant."""

    run: str
    """The column `run` of the views: `project/name`."""
    dir: Path
    view: View
    choice: Choice
    about: Callable[[], About]
    """What is known of it beside its points; asked where a query names the tables of that."""

    def parts(self, engine: Engine, kind: str) -> list[Path]:
        """The files to read for the parts of a kind. Raises PartGone."""
        return engine.files(self.dir, (part for part in self.view.snapshot.parts if part.kind == kind))


TABLES = ("metrics", "metrics_all", "records", "runs", "config")


def named(text: str) -> set[str]:
    """The tables that a query may speak of: what no word of it is need not be there."""
    words = {word.lower() for word in re.findall(r"\w+", text)}
    found = words.intersection(TABLES)
    # A word that is not there as such may be spelt otherwise, or the query lists the tables.
    return found or set(TABLES)


@contextlib.contextmanager
def views(
    engine: Engine, sources: Sequence[Source], wanted: Collection[str] = ("metrics", "metrics_all", "records")
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the tables that are wanted, of the sources; what they show is fixed until it is closed.

    See `steno.sql` for their columns.
    """
    cursor = engine.cursor()
    try:
        cursor.execute("set TimeZone='UTC'")
        if not {"metrics", "metrics_all"}.isdisjoint(wanted):
            _points(cursor, engine, sources)
        if "records" in wanted:
            entries = _sealed(cursor, "records", ENTRY_COLUMNS, _paths(engine, sources, "records"))
            entries += _registered(cursor, "entries", ENTRY_COLUMNS, [_entries(source) for source in sources])
            cursor.execute(f"create temp view records as {' union all '.join(entries or [ENTRY_EMPTY])}")
        if not {"runs", "config"}.isdisjoint(wanted):
            known = [(source.run, source.dir, source.about()) for source in sources]
            for name, columns, table in (("runs", RUNS, runs_table), ("config", CONFIG, config_table)):
                if name in wanted:
                    cursor.register(f"{name}_known", table(known))
                    cursor.execute(f"create temp view {name} as select {columns} from {name}_known")
        yield cursor
    finally:
        cursor.close()


def _points(cursor: duckdb.DuckDBPyConnection, engine: Engine, sources: Sequence[Source]) -> None:
    points = _sealed(cursor, "metrics", OF_PART, _paths(engine, sources, "metrics"))
    unsealed = [table for source in sources for table in _unsealed(source)]
    points += _registered(cursor, "unsealed", COLUMNS, unsealed)
    rewinds = [(source.run, *hidden) for source in sources for hidden in source.choice.hidden]
    union = " union all ".join(points or [EMPTY])
    cursor.execute(f"create temp view metrics_all as {union}")
    cursor.execute(f"create temp view metrics as {_left(rewinds, sources, points)}")


def _paths(engine: Engine, sources: Sequence[Source], kind: str) -> dict[Path, str]:
    """Part → its run, of the parts that are not known to be damaged."""
    found = {path: source.run for source in sources for path in source.parts(engine, kind)}
    return {path: run for path, run in found.items() if str(path) not in engine.damaged}


def _sealed(cursor: duckdb.DuckDBPyConnection, kind: str, columns: str, paths: dict[Path, str]) -> list[str]:
    """The select over the parts: one scan of all, however many runs; planning a thousand takes minutes."""
    import pyarrow as pa

    if not paths:
        return []
    if len(set(paths.values())) == 1:
        return [f"select {quoted(next(iter(paths.values())))} as run, {columns} from {scan(paths)}"]
    table = pa.table({"filename": strings(list(map(str, paths))), "of_run": strings(list(paths.values()))})
    cursor.register(f"{kind}_parts", table)
    return [f"select of_run as run, {columns} from {scan(paths, 'filename = true')} join {kind}_parts using (filename)"]


def _registered(cursor: duckdb.DuckDBPyConnection, name: str, columns: str, tables: list[pa.Table]) -> list[str]:
    import pyarrow as pa

    found = [table for table in tables if len(table)]
    if not found:
        return []
    cursor.register(name, pa.concat_tables(found).unify_dictionaries())
    return [f"select run, {columns} from {name}"]


def _unsealed(source: Source) -> Iterator[pa.Table]:
    names = list(source.view.ids)
    for chunk in source.view.chunks:
        yield _of_run(source.run, table_of(chunk, names))


def _of_run(run: str, table: pa.Table) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    same = to_arrow(np.zeros(len(table), np.int32), pa.int32())
    return table.append_column("run", pa.DictionaryArray.from_arrays(same, strings([run])))


def _left(rewinds: list[tuple[str, int, int]], sources: Sequence[Source], points: list[str]) -> str:
    """The points that rewinds leave: by a plain condition, which parts are pruned by, if there is one run."""
    if not rewinds:
        return "select * from metrics_all"
    if len(sources) == 1:
        return " union all ".join(f"{piece} where {sources[0].choice.sql()}" for piece in points or [EMPTY])
    hidden = ", ".join(f"({quoted(run)}, {attempt}, {step})" for run, attempt, step in rewinds)
    return (
        f"select * from metrics_all anti join (values {hidden}) as hidden(run, attempt, step) "
        "on metrics_all.run = hidden.run and metrics_all.attempt < hidden.attempt and metrics_all.step >= hidden.step"
    )


def _entries(source: Source) -> pa.Table:
    import pyarrow as pa

    entries = source.view.snapshot.entries
    table = pa.table(
        {
            "node": integers([entry.node for entry in entries], pa.int64()),
            "record": integers([entry.record for entry in entries], pa.int64()),
            "time": integers([entry.time for entry in entries], pa.timestamp("ns")),
            "step": integers([entry.step for entry in entries], pa.int64()),
            "rank": integers([entry.rank for entry in entries], pa.int32()),
            "attempt": integers([entry.attempt for entry in entries], pa.int32()),
            "kind": strings([entry.kind for entry in entries]),
            "payload": strings([json.dumps(dict(entry.payload), default=str) for entry in entries]),
        }
    )
    return _of_run(source.run, table)


def query(engine: Engine, sources: Sequence[Source], text: str, values: Sequence[Any] | None = None) -> pa.Table:
    """The whole result of a query over the views.

    Raises:
        UsageError: the query is wrong; the message is DuckDB's.
        PartGone: a part was merged away meanwhile.
    """
    import duckdb

    wanted = named(text)
    try:
        with views(engine, sources, wanted) as cursor:
            return _run(cursor, text, values)
    except duckdb.Error as error:
        paths = [path for source in sources for kind in ("metrics", "records") for path in source.parts(engine, kind)]
        require(path for path in paths if str(path) not in engine.damaged)
        before = len(engine.damaged)
        engine.sound(paths)
        if len(engine.damaged) == before:
            unknown = isinstance(error, duckdb.CatalogException)
            tables = f". The tables are {', '.join(TABLES)}" if unknown else ""
            msg = f"the query failed: {error}{tables}"
            raise UsageError(msg) from error
    with views(engine, sources, wanted) as cursor:
        return _run(cursor, text, values)


def _run(cursor: duckdb.DuckDBPyConnection, text: str, values: Sequence[Any] | None) -> pa.Table:
    text = escaped(text)  # as keys and texts are
    relation = cursor.sql(text, params=list(values)) if values else cursor.sql(text)
    if relation is None:
        msg = "the query gives no rows: ask with select, describe or summarize"
        raise UsageError(msg)
    return relation.to_arrow_table()
