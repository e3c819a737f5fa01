"""The tables that a query over runs sees, and the query itself."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steno.errors import UsageError
from steno.ledger.arrow_columns import integers, strings, to_arrow
from steno.store.asked import ANYTHING, QueryScope, asked
from steno.store.engine import quoted, require, scan
from steno.store.gathered import FEWEST, gathered, worth
from steno.store.points import table_of
from steno.store.runtables import CONFIG, CONFIG_EMPTY, RUNS, RUNS_EMPTY, config_table, runs_table
from steno.utf8 import escaped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import duckdb
    import pyarrow as pa

    from steno.store.engine import Engine
    from steno.store.source import Source

_COLUMNS = "node, record, key, step, time::timestamp_ns as time, rank, attempt, {} as level, value, exact, text, ref"
COLUMNS = _COLUMNS.format("level")
"""Of the points that are not sealed."""
OF_PART = _COLUMNS.format("try_cast(try(json_extract_string(meta, '$.level')) as integer)")
ENTRY_COLUMNS = "node, record, time::timestamp_ns as time, step, rank, attempt, kind, payload"
EMPTY = (
    "select 0 as source, ''::varchar as run, null::bigint as node, null::bigint as record, null::varchar as key, "
    "null::bigint as step, null::timestamp_ns as time, null::integer as rank, null::integer as attempt, "
    "null::integer as level, null::double as value, null::bigint as exact, null::varchar as text, "
    "null::varchar as ref where false"
)
ENTRY_EMPTY = (
    "select 0 as source, ''::varchar as run, null::bigint as node, null::bigint as record, null::timestamp_ns as time, "
    "null::bigint as step, null::integer as rank, null::integer as attempt, null::varchar as kind, "
    "null::varchar as payload where false"
)


_FEW_KEYS = 4
TABLES = ("metrics", "metrics_all", "records", "runs", "config")


def named(text: str) -> set[str]:
    """The tables that a query may speak of: what no word of it is need not be there."""
    words = {word.lower() for word in re.findall(r"\w+", text)}
    found = words.intersection(TABLES)
    # A word that is not there as such may be spelt otherwise, or the query lists the tables.
    return found or set(TABLES)


@contextlib.contextmanager
def views(
    engine: Engine,
    sources: Sequence[Source],
    wanted: Collection[str] = ("metrics", "metrics_all", "records"),
    what: QueryScope = ANYTHING,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the tables that are wanted, of the sources; what they show is fixed until it is closed.

    See `steno.sql` for their columns. Points that `what` does not ask for may be absent.
    """
    cursor = engine.cursor()
    try:
        cursor.execute("set TimeZone='UTC'")
        if not {"metrics", "metrics_all"}.isdisjoint(wanted):
            _points(cursor, engine, sources, what)
        if "records" in wanted:
            columns = f"source, run, {ENTRY_COLUMNS}"
            entries = _sealed(cursor, "records", ENTRY_COLUMNS, engine, sources)
            tables = [_entries(place, source) for place, source in enumerate(sources)]
            entries += _registered(cursor, "entries", columns, tables)
            union = " union all ".join(entries or [ENTRY_EMPTY])
            cursor.execute(f"create temp view records as select * exclude (source) from ({union})")
        if not {"runs", "config"}.isdisjoint(wanted):
            known = [(source.run, Path(source.path), source.about()) for source in sources]
            for name, columns, table in (("runs", RUNS, runs_table), ("config", CONFIG, config_table)):
                if name in wanted:
                    cursor.register(f"{name}_known", table(known))
                    cursor.execute(f"create temp view {name} as select {columns} from {name}_known")
        yield cursor
    finally:
        cursor.close()


def _points(cursor: duckdb.DuckDBPyConnection, engine: Engine, every: Sequence[Source], what: QueryScope) -> None:
    columns = f"source, run, {COLUMNS}"
    sources = every if what.runs is None else [source for source in every if escaped(source.run) in what.runs]
    kept = _kept(engine, sources, every, what.keys or ())
    pieces = _registered(cursor, "kept", columns, list(kept.values()))
    places = set(range(len(sources))) - (set(worth(sources)) if kept else set())
    pieces += _sealed(cursor, "metrics", OF_PART, engine, sources, places)
    tables = [table for place, source in enumerate(sources) for table in _unsealed(place, source)]
    pieces += _registered(cursor, "unsealed", columns, tables)
    union = " union all ".join(pieces or [EMPTY])
    cursor.execute(f"create temp view steno_points as {union}")
    cursor.execute("create temp view metrics_all as select * exclude (source) from steno_points")
    cursor.execute(f"create temp view metrics as {_left(sources, pieces)}")


def _kept(
    engine: Engine, sources: Sequence[Source], every: Sequence[Source], keys: Collection[str]
) -> dict[str, pa.Table]:
    """By key the points of the runs that are `worth` it; none where not all of them can be kept."""
    import pyarrow as pa

    found: dict[str, pa.Table] = {}
    places = worth(sources) if 0 < len(keys) <= _FEW_KEYS else []
    runs = strings([escaped(source.run) for source in sources])
    for key in keys if places else ():
        table = gathered(engine, key, OF_PART, sources, places, every)
        if table is None:
            return {}
        of_run = pa.DictionaryArray.from_arrays(table["source"].combine_chunks(), runs)
        found[key] = table.append_column("run", of_run)
    return found


def _sealed(
    cursor: duckdb.DuckDBPyConnection,
    kind: str,
    columns: str,
    engine: Engine,
    sources: Sequence[Source],
    among: Collection[int] | None = None,
) -> list[str]:
    """The select over the parts: one scan of all, however many runs; planning a thousand takes minutes."""
    import numpy as np
    import pyarrow as pa

    wanted = range(len(sources)) if among is None else sorted(among)
    found = [(str(path), place) for place in wanted for path in sources[place].parts(engine, kind)]
    # Of two ways to one run, one is read.
    of_file = {path: place for path, place in found if path not in engine.damaged}
    if not of_file:
        return []
    places = list(of_file.values())
    if min(places) == max(places):
        run = quoted(escaped(sources[places[0]].run))
        return [f"select {places[0]}::integer as source, {run} as run, {columns} from {scan(of_file)}"]
    table = pa.table(
        {
            "filename": strings(list(of_file)),
            "source": to_arrow(np.array(places, np.int32), pa.int32()),
            "of_run": strings([escaped(sources[place].run) for place in places]),
        }
    )
    cursor.register(f"{kind}_parts", table)
    files = scan(of_file, "filename = true")
    return [f"select source, of_run as run, {columns} from {files} join {kind}_parts using (filename)"]


def _registered(cursor: duckdb.DuckDBPyConnection, name: str, columns: str, tables: list[pa.Table]) -> list[str]:
    import pyarrow as pa

    found = [table for table in tables if len(table)]
    if not found:
        return []
    cursor.register(name, pa.concat_tables(found).unify_dictionaries())
    return [f"select {columns} from {name}"]


def _unsealed(place: int, source: Source) -> Iterator[pa.Table]:
    if source.view is not None:
        names = list(source.view.ids)
        for chunk in source.view.chunks:
            yield _of_run(place, source.run, table_of(chunk.points(), names))


def _of_run(place: int, run: str, table: pa.Table) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    same = to_arrow(np.zeros(len(table), np.int32), pa.int32())
    table = table.append_column("run", pa.DictionaryArray.from_arrays(same, strings([escaped(run)])))
    return table.append_column("source", to_arrow(np.full(len(table), place, np.int32), pa.int32()))


def _left(sources: Sequence[Source], pieces: list[str]) -> str:
    """The points that rewinds leave: by a plain condition, which parts are pruned by, if there is one run."""
    rewinds = [(place, *hidden) for place, source in enumerate(sources) for hidden in source.hidden]
    if not rewinds:
        return "select * from metrics_all"
    if len(sources) == 1:
        left = " union all ".join(f"{piece} where {sources[0].choice.sql()}" for piece in pieces or [EMPTY])
        return f"select * exclude (source) from ({left})"
    hidden = ", ".join(str(one) for one in rewinds)
    return (
        f"select * exclude (source) from steno_points anti join (values {hidden}) as hidden(source, attempt, step) "
        "on steno_points.source = hidden.source and steno_points.attempt < hidden.attempt "
        "and steno_points.step >= hidden.step"
    )


def _entries(place: int, source: Source) -> pa.Table:
    import pyarrow as pa

    entries = () if source.view is None else source.view.snapshot.entries
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
    return _of_run(place, source.run, table)


def query(engine: Engine, sources: Sequence[Source], text: str, values: Sequence[Any] | None = None) -> pa.Table:
    """The whole result of a query over the views.

    Raises:
        UsageError: the query is wrong; the message is DuckDB's.
        PartGone: a part was merged away meanwhile.
    """
    import duckdb

    if not isinstance(text, str):
        raise UsageError(f"a query is a text such as 'select * from metrics', not {type(text).__name__}")
    wanted = named(text)
    what = _asked(engine, text, values) if len(sources) >= FEWEST else ANYTHING
    try:
        with views(engine, sources, wanted, what) as cursor:
            return _run(cursor, text, values)
    except duckdb.Error as error:
        paths = [path for source in sources for kind in ("metrics", "records") for path in source.parts(engine, kind)]
        require(path for path in paths if str(path) not in engine.damaged)
        before = len(engine.damaged)
        engine.intact(paths)
        if len(engine.damaged) == before:
            unknown = isinstance(error, duckdb.CatalogException)
            tables = f". The tables are {', '.join(TABLES)}" if unknown else ""
            msg = f"the query failed: {error}{tables}"
            raise UsageError(msg) from error
    with views(engine, sources, wanted) as cursor:
        return _run(cursor, text, values)


def _asked(engine: Engine, text: str, values: Sequence[Any] | None) -> QueryScope:
    cursor = engine.cursor()
    try:
        others = {"records": ENTRY_EMPTY, "runs": RUNS_EMPTY, "config": CONFIG_EMPTY}
        return asked(cursor, escaped(text), values, EMPTY, others)
    finally:
        cursor.close()


def _run(cursor: duckdb.DuckDBPyConnection, text: str, values: Sequence[Any] | None) -> pa.Table:
    text = escaped(text)  # as keys and texts are
    relation = cursor.sql(text, params=list(values)) if values else cursor.sql(text)
    if relation is None:
        msg = "the query gives no rows: ask with select, describe or summarize"
        raise UsageError(msg)
    return relation.to_arrow_table()
