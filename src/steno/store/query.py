"""SQL over many runs."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steno import paths
from steno.store import runs as runs_
from steno.store import sql as sql_
from steno.store.cards import summarise
from steno.store.engine import Engine, again
from steno.store.reader import RunReader, remote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb
    import pyarrow as pa

    from steno.store.remote import Remote


def sql(
    query: str,
    runs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    *,
    values: Sequence[Any] | None = None,
    dir: str | os.PathLike[str] | None = None,
) -> duckdb.DuckDBPyRelation:
    """The result of a query over one or many runs; the column `run` of each table says `project/name`.

    Args:
        query: DuckDB's SQL over the tables below.
        runs: a run (or its URL), several, or a directory of runs; None: all runs under `dir`.
        values: what stands in the query as `?`.
        dir: where runs are kept, for names; None: STENO_DIR, else `runs`.

    The tables, read at one moment; times are UTC:

        metrics      run, node, record, key, step, time, rank, attempt, level, value, exact, text, ref: a row per
                     point that rewinds leave
        metrics_all  the same with the points that rewinds hide
        records      run, node, record, time, step, rank, attempt, kind, payload (JSON): what is not a point
        runs         run, project, name, id, state, "group", tags, notes, archived, started, ended, duration (s),
                     records, points, path: a row per run
        config       run, key, value: a row per value of the configuration, `opt.lr` for one in a mapping; the value
                     is text, a string itself and all else as JSON, so that `value::double` gives numbers

    Returns:
        The whole result; take it with `.df()`, `.pl()`, `.fetchall()` or `.to_arrow_table()`.

    Raises:
        RunNotFoundError: a run is not there, or there is none.
        UsageError: the query is wrong.
    """
    engine = Engine()  # one for all: a database takes tens of milliseconds to make
    wanted = [runs] if runs is None or isinstance(runs, str | os.PathLike) else list(runs)
    places: dict[Path, Path | Remote] = {}
    for one in wanted:
        for place in [remote(one)] if paths.is_url(one) else runs_.resolve(one, dir):
            places.setdefault(place if isinstance(place, Path) else place.dir, place)
    readers = [RunReader(place, engine=engine) for place in places.values()]

    def ask() -> pa.Table:
        return sql_.query(engine, [_source(reader) for reader in readers], query, values)

    return engine.cursor().from_arrow(again(ask))


def _source(reader: RunReader) -> sql_.Source:
    # What a list of runs says of one: the reader's own information looks at more than that.
    return replace(reader._source(), about=partial(summarise, reader.dir))  # noqa: SLF001 - of the package's own class
