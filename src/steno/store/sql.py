"""SQL over one run or many: the views `metrics` and `records`."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steno.errors import UsageError
from steno.store.engine import quoted, require, scan
from steno.store.points import table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from steno.store.attempts import Choice
    from steno.store.engine import Engine
    from steno.store.unsealed import View

COLUMNS = "record, key, step, time::timestamp_ns as time, rank, attempt, value, exact, text, ref"
ENTRY_COLUMNS = "record, time::timestamp_ns as time, step, rank, attempt, kind, payload"
EMPTY = (
    "select null::bigint as record, null::varchar as key, null::bigint as step, null::timestamp_ns as time, "
    "null::integer as rank, null::integer as attempt, null::double as value, null::bigint as exact, "
    "null::varchar as text, null::varchar as ref where false"
)
ENTRY_EMPTY = (
    "select null::bigint as record, null::timestamp_ns as time, null::bigint as step, null::integer as rank, "
    "null::integer as attempt, null::varchar as kind, null::varchar as payload where false"
)


@dataclass(frozen=True, slots=True)
class Source:
    """One run in a query: what is readable of it at one moment, and which of its points are meant."""

    run: str
    """The column `run` of the views: `project/name`."""
    dir: Path
    view: View
    choice: Choice

    def parts(self, kind: str) -> list[Path]:
        """Paths of the parts of a kind."""
        return [self.dir / part.name for part in self.view.snapshot.parts if part.kind == kind]


@contextlib.contextmanager
def views(engine: Engine, sources: Sequence[Source]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the views over the sources; what they show is fixed until it is closed.

    metrics      run, record, key, step, time (UTC), rank, attempt, value, exact, text, ref: the points
                 that rewinds leave
    metrics_all  the same with the points that rewinds hide
    records      run, record, time (UTC), step, rank, attempt, kind, payload (JSON): what is not a point
    """
    cursor = engine.cursor()
    try:
        cursor.execute("set TimeZone='UTC'")
        pieces: dict[str, list[str]] = {"metrics": [], "metrics_all": [], "records": []}
        for number, source in enumerate(sources):
            run = f"select {quoted(source.run)} as run, * from "
            metrics = [path for path in source.parts("metrics") if str(path) not in engine.damaged]
            points = [f"(select {COLUMNS} from {scan(metrics)})"] if metrics else []
            names = list(source.view.ids)
            for index, chunk in enumerate(source.view.chunks):
                table = f"unsealed_{number}_{index}"
                cursor.register(table, table_of(chunk, names))
                points.append(f"(select {COLUMNS} from {table})")
            for piece in points:
                pieces["metrics"].append(f"{run}{piece} where {source.choice.sql()}")
                pieces["metrics_all"].append(run + piece)
            records = [path for path in source.parts("records") if str(path) not in engine.damaged]
            if records:
                pieces["records"].append(f"{run}(select {ENTRY_COLUMNS} from {scan(records)})")
            if source.view.snapshot.entries:
                cursor.register(f"entries_{number}", _entries(source.view))
                pieces["records"].append(f"{run}(select {ENTRY_COLUMNS} from entries_{number})")
        for name, selects in pieces.items():
            empty = ENTRY_EMPTY if name == "records" else EMPTY
            union = " union all ".join(selects or [f"select ''::varchar as run, * from ({empty})"])
            cursor.execute(f"create temp view {name} as {union}")
        yield cursor
    finally:
        cursor.close()


def _entries(view: View) -> pa.Table:
    import pyarrow as pa

    entries = view.snapshot.entries
    return pa.table(
        {
            "record": pa.array([entry.record for entry in entries], pa.int64()),
            "time": pa.array([entry.time for entry in entries], pa.int64()).cast(pa.timestamp("ns")),
            "step": pa.array([entry.step for entry in entries], pa.int64()),
            "rank": pa.array([entry.rank for entry in entries], pa.int32()),
            "attempt": pa.array([entry.attempt for entry in entries], pa.int32()),
            "kind": pa.array([entry.kind for entry in entries], pa.string()),
            "payload": pa.array([json.dumps(dict(entry.payload), default=str) for entry in entries], pa.string()),
        }
    )


def query(engine: Engine, sources: Sequence[Source], text: str, values: Sequence[Any] | None = None) -> pa.Table:
    """The whole result of a query over the views.

    Raises:
        UsageError: the query is wrong; the message is DuckDB's.
        PartGone: a part was merged away meanwhile.
    """
    import duckdb

    paths = [path for source in sources for kind in ("metrics", "records") for path in source.parts(kind)]
    try:
        with views(engine, sources) as cursor:
            return _run(cursor, text, values)
    except duckdb.Error as error:
        require(path for path in paths if str(path) not in engine.damaged)
        before = len(engine.damaged)
        engine.sound(paths)
        if len(engine.damaged) == before:
            msg = f"the query failed: {error}"
            raise UsageError(msg) from error
    with views(engine, sources) as cursor:
        return _run(cursor, text, values)


def _run(cursor: duckdb.DuckDBPyConnection, text: str, values: Sequence[Any] | None) -> pa.Table:
    relation = cursor.sql(text, params=list(values)) if values else cursor.sql(text)
    if relation is None:
        msg = "the query gives no rows: ask with select, describe or summarize"
        raise UsageError(msg)
    return relation.to_arrow_table()
