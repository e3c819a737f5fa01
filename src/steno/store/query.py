"""SQL over many runs."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steno import paths
from steno.errors import RunNotFoundError
from steno.store import engines
from steno.store import runs as runs_
from steno.store import sql as sql_
from steno.store.cards import summarise
from steno.store.ended import Ended
from steno.store.engine import Engine, again
from steno.store.files_run import FilesRun
from steno.store.reader import remote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import duckdb
    import pyarrow as pa

    from steno.store.remote import Remote
    from steno.store.source import Source


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
        runs: a run (or its URL), several, a directory of runs, or the URL of a store; None: all runs under `dir`.
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

    Thread-safe: each call has a DuckDB of its own, which the result keeps. It changes no run.
    """
    engine = Engine()  # one for all: a database takes tens of milliseconds to make
    place = dir if runs is None and paths.is_url(dir) else runs
    wanted = [place] if place is None or isinstance(place, str | os.PathLike) else list(place)
    other, names = engines.only(wanted, "steno.sql")
    if other is not None:
        return engine.cursor().from_arrow(other.sql(query, values, names))
    found = [_Place(one, dir, engine) for one in wanted]

    def ask() -> pa.Table:
        sources = {source.path: source for place in found for source in place.sources()}
        return sql_.query(engine, list(sources.values()), query, values)

    return engine.cursor().from_arrow(again(ask))


class _Place:
    """The runs that one argument names."""

    def __init__(
        self, given: str | os.PathLike[str] | None, dir: str | os.PathLike[str] | None, engine: Engine
    ) -> None:
        self._engine = engine
        self._readers: dict[str, FilesRun] = {}
        self._below = ""
        self._paths: list[str] = []
        if given is not None and paths.is_url(given):
            for run in (FilesRun(one, engine) for one in _remotes(os.fspath(given))):
                self._readers[str(run.dir)] = run
        elif given is None or (Path(given).is_dir() and not runs_.is_run(Path(given))):
            self._below = str(runs_.place_of(dir) if given is None else Path(given))
            self._paths = list(runs_.run_paths(Path(self._below)))
            if not self._paths:
                runs_.resolve(given, dir)  # which says so
        else:
            self._paths = [str(runs_.find(given, dir))]
        self._ended = Ended(self._below or None)

    def sources(self) -> Iterator[Source]:
        """Each run as it is now."""
        for path in self._paths:
            source = self._ended.source(path, path[len(self._below) :])
            yield self._live(path) if source is None else source
        if self._below:
            self._ended.keep(path[len(self._below) :] for path in self._paths)
        else:
            yield from map(_source, [] if self._paths else self._readers.values())

    def _live(self, path: str) -> Source:
        if path not in self._readers:
            self._readers[path] = FilesRun(path, self._engine)
        return _source(self._readers[path])


def _remotes(url: str) -> list[Remote]:
    """The run at a URL of an object store, or all runs below it."""
    try:
        return [remote(url)]
    except RunNotFoundError:
        from steno.store.afar import below  # loads what lists stores

        found: list[Remote] = [one.opened() for one in below(url)]
        if not found:
            raise
        return found


def _source(run: FilesRun) -> Source:
    # What a list of runs says of one: the run's own information looks at more than that.
    return replace(run.source(), about=partial(summarise, run.dir))
