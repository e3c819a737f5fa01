"""Which run a command is asked about: by directory, URL, name or part of a name; the newest where none is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno import paths
from steno.cli import options
from steno.errors import RunNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from steno.store.reader import RunReader


def opened(run: str | None, dir: str | None) -> RunReader:
    """The run for reading; None: the newest.

    Raises:
        RunNotFoundError: there is none.
        UsageError: several runs are meant.
    """
    import steno

    if run is not None and paths.is_url(run):
        return steno.open(run)
    return steno.open(place(run, dir))


def place(run: str | None, dir: str | None) -> Path:
    """The directory of a run of this machine; None: the newest."""
    from steno.store.runs import find

    if run is not None:
        return find(run, options.runs_dir(dir), part=True)
    return newest(dir)


def newest(dir: str | None) -> Path:
    """The directory of the newest run."""
    import steno

    at = options.runs_dir(dir)
    found = steno.runs(at, limit=1)
    if not found:
        raise RunNotFoundError(f"there are no runs under {at!r}: say where they are with --dir, or STENO_DIR")
    return found[0].path
