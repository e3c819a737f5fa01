"""Which runs are shown, out of what the caller names them by."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from steno import paths
from steno.errors import RunNotFoundError, StenoError, UsageError
from steno.store import engines
from steno.store import runs as runs_
from steno.store.afar import AfarSummary, below, open_all
from steno.store.bins.answer import LeftOut
from steno.store.bins.engine import RunToRead
from steno.store.reader import RunReader
from steno.store.run_summary import RunSummary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from steno.store.remote import Remote


def shown(given: Any, dir: str | os.PathLike[str] | None) -> tuple[list[RunToRead], list[LeftOut]]:
    """The runs, each once, and those that are not there.

    Raises:
        RunNotFoundError: there is none at all.
        UsageError: it names no runs.
    """
    found: dict[Path, RunToRead] = {}
    missing: list[LeftOut] = []
    first: StenoError | None = None
    several = _several(given)
    open_all(several)
    for one in several:
        try:
            for run in _runs(one, dir):
                found.setdefault(run.dir, run)
        except StenoError as error:
            first = first or error
            missing.append(LeftOut(_label(one), str(error)))
    if not found and first is not None:
        raise first
    if not found:
        raise RunNotFoundError("no run is named: give runs, their names, or a directory of runs")
    return list(found.values()), missing


def _label(one: Any) -> str:
    return f"{one.project}/{one.name}" if isinstance(one, RunSummary) else str(one)


def _several(given: Any) -> list[Any]:
    if given is None or isinstance(given, str | os.PathLike | RunSummary | RunReader):
        return [given]
    try:
        return list(given)
    except TypeError:
        raise UsageError(f"runs={given!r}: give runs of steno.runs(), names, directories, or None for all") from None


def _runs(one: Any, dir: str | os.PathLike[str] | None) -> Iterator[RunToRead]:
    if isinstance(one, RunSummary) and engines.is_of_one(one.url):
        yield RunToRead(one.path, f"{one.project}/{one.name}", summary=one, url=one.url)
    elif isinstance(one, RunSummary):
        copy = one.opened() if isinstance(one, AfarSummary) else None
        if not os.path.isdir(one.path):
            raise RunNotFoundError(f"the run {one.path} is gone")
        yield RunToRead(one.path, f"{one.project}/{one.name}", copy, summary=one)
    elif isinstance(one, RunReader) or paths.is_url(one):
        url = one.url if isinstance(one, RunReader) else os.fspath(one)
        if url is not None and engines.is_of_one(url):
            yield from _of_engine(url)
        else:
            yield from [_named(one.dir)] if url is None else _far(url)
    elif one is None and paths.is_url(dir):
        yield from _runs(dir, None)
    elif one is None or isinstance(one, str | os.PathLike):
        for path in runs_.resolve(one, dir):
            yield _named(path)
    else:
        raise UsageError(f"{one!r} is no run: give one of steno.runs(), a name, a directory or a URL")


def _of_engine(url: str) -> Iterator[RunToRead]:
    engine, name = engines.parted(url)
    found = [one for one in engine.runs(None, archived=bool(name)) if not name or f"{one.project}/{one.name}" == name]
    if not found:
        raise RunNotFoundError(f"there is no run at {url}")
    for one in found:
        yield from _runs(one, None)


def _far(url: str) -> Iterator[RunToRead]:
    """The run at a URL of an object store, or all runs below it."""
    from steno.store.remote import Remote

    try:
        remote = Remote(url)
    except RunNotFoundError:
        found = below(url)
        if not found:
            raise
        for one in found:
            yield from _runs(one, None)
    else:
        yield _named(remote.dir, remote)


def _named(path: Path, remote: Remote | None = None) -> RunToRead:
    return RunToRead(path, "/".join(runs_.identity(path)), remote)
