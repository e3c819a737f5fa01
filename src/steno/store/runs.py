"""Where runs are: those below a directory, and one by its name."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steno import edits, paths, runfile, settings
from steno.errors import RunNotFoundError, UsageError
from steno.store.info import damage_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DEPTH = 4
"""Levels below the runs' directory that are searched: project, name, and names with one or two slashes."""


_FEW = 10
"""Runs that a message names."""


def is_run(path: Path | str) -> bool:
    """Whether the directory is a run's."""
    marks = ("run.json", "manifest.json", ".steno/nodes", ".steno/journal")
    return any(os.path.exists(f"{path}/{mark}") for mark in marks) or _has_parts(path)


def _has_parts(path: Path | str) -> bool:
    try:
        return any("-part-" in name for name in os.listdir(os.path.join(path, "metrics")))
    except OSError:
        return False


def run_dirs(place: Path) -> Iterator[Path]:
    """The directories of runs below a directory; hidden ones and what lies inside a run are not entered."""
    return map(Path, run_paths(place))


def run_paths(place: Path) -> Iterator[str]:
    """As `run_dirs`, as texts that begin with that of `place`: of ten thousand runs a path costs more than a look."""
    yield from _below(os.fspath(place), DEPTH)


def _below(place: str, depth: int) -> Iterator[str]:
    try:
        with os.scandir(place) as found:
            names = sorted(one.name for one in found if not one.name.startswith(".") and one.is_dir())
    except OSError:
        return
    for name in names:
        path = os.path.join(place, name)
        if is_run(path):
            yield path
        elif depth > 1:
            yield from _below(path, depth - 1)


def identity(path: Path, run: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """(project, name) as they are shown: from `run` (run.json as it was edited), or else from the path."""
    run = edits.shown(path, runfile.read(path)[0])[0] if run is None else run
    path = path.absolute()
    return str(run.get("project") or path.parent.name), str(run.get("name") or path.name)


def find(run: str | os.PathLike[str], dir: str | os.PathLike[str] | None = None, *, part: bool = False) -> Path:
    """The directory of a run, given by path, by `project/name`, or by its name where only one run has it.

    Args:
        run: which one.
        dir: where runs are kept, for names.
        part: the beginning of a name or another part of it will do, where only one run has it.

    Raises:
        RunNotFoundError: there is none; the message names the nearest.
        UsageError: several runs have that name.
    """
    text = os.fspath(run)
    if paths.is_url(text):
        msg = f"{text} is in an object store, where steno.open, steno.sql, `steno show` and `steno export` read; "
        raise UsageError(msg + "this needs the run's own directory")
    path = Path(text)
    if text and path.is_dir() and is_run(path):
        return path
    place = place_of(dir)
    if text and not path.is_absolute() and ".." not in path.parts and is_run(place / path):
        return place / path
    known = {found: _names(place, found) for found in run_dirs(place)}
    hits = [found for found, names in known.items() if text in names]
    what = "the name"
    if not hits and part and text and not path.is_dir():
        hits = [found for found, names in known.items() if any(name.startswith(text) for name in names)]
        hits = hits or [found for found, names in known.items() if any(text in name for name in names)]
        what = "part of the names"
    if len(hits) == 1:
        return hits[0]
    if hits:
        hits.sort(key=lambda hit: known[hit][0])
        more = f" and {len(hits) - _FEW} more" if len(hits) > _FEW else ""
        several = ", ".join(_described(hit, known) for hit in hits[:_FEW])
        msg = f"{text!r} is {what} of {len(hits)} runs: say which, {several}{more}"
        raise UsageError(msg)
    raise RunNotFoundError(_not_found(text, path, place, known))


def _described(path: Path, known: Mapping[Path, tuple[str, ...]]) -> str:
    """A run's name where no other has it, else its directory."""
    name = known[path][0]
    return name if sum(name in names for names in known.values()) == 1 else str(path)


def resolve(
    given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None, dir: str | os.PathLike[str] | None = None
) -> list[Path]:
    """The directories of a run, of several, or of all under a directory of runs.

    Raises:
        RunNotFoundError: a run is not there, or there is none at all.
    """
    if given is not None and not isinstance(given, str | os.PathLike):
        found = [path for one in given for path in resolve(one, dir)]
        return list(dict.fromkeys(found))
    if given is not None:
        path = Path(given)
        if not path.is_dir() or is_run(path):
            return [find(given, dir)]
        place = path
    else:
        place = place_of(dir)
    found = list(run_dirs(place))
    if not found:
        msg = f"there are no runs under {str(place)!r}: say where they are with dir=, or STENO_DIR"
        raise RunNotFoundError(msg)
    return found


def damaged(given: Iterable[str] | None, dir: str | os.PathLike[str] | None = None) -> list[str]:
    """A line for each loss in the ledgers of runs on this machine, named as in `resolve`; parts are not looked at."""
    here = None if given is None else [one for one in given if not paths.is_url(one)]
    found = [] if here == [] else resolve(here, dir)
    return [f"{path}: {line}" for path in found for line in damage_in(path)]


def _names(place: Path, path: Path) -> tuple[str, ...]:
    """`project/name`, then the other names the run goes by: those it was recorded under, and its directory's."""
    run = runfile.read(path)[0]
    (project, name), (_, recorded) = identity(path, edits.shown(path, run)[0]), identity(path, run)
    spelt = (f"{project}/{name}", name, f"{project}/{recorded}", recorded)
    return (*spelt, path.relative_to(place).as_posix(), path.name)


def _not_found(text: str, path: Path, place: Path, known: dict[Path, tuple[str, ...]]) -> str:
    if not text:
        return "no run was named: give a run's directory, its project/name, or its name"
    if path.is_dir():
        return (
            f"{text!r} is a directory and not a run: a run has a run.json; `steno runs --dir {text}` lists those in it"
        )
    if not known:
        return f"no run {text!r}: there are no runs under {str(place)!r}; say where they are with dir=, or STENO_DIR"
    names = {name: known_names[0] for known_names in known.values() for name in known_names}
    near = dict.fromkeys(names[name] for name in difflib.get_close_matches(text, names, n=5, cutoff=0.5))
    hint = f"did you mean {', '.join(near)}?" if near else "`steno runs` lists what is there"
    return f"no run {text!r} under {str(place)!r}: {hint}"


def place_of(dir: str | os.PathLike[str] | None) -> Path:
    """The directory of runs that is meant; None: STENO_DIR, else `runs`."""
    if paths.is_url(dir):
        msg = f"{dir} is an object store: steno.runs lists its runs; here name one by its URL, {dir}/project/name"
        raise UsageError(msg)
    given = settings.read("STENO_DIR", "runs") if dir is None else dir
    paths.absolute("dir", given)  # raises where there is no place that a relative one starts from
    return Path(paths.local("dir", given))
