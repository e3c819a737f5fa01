"""`steno import`: TensorBoard's event files become runs."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno import paths
from steno.cli import options, terminal
from steno.cli.event_runs import Imported, record
from steno.errors import StenoError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME_BYTES = 120
"""Longer names are shortened: a trial's directory may have a path of several hundred characters."""


def import_(
    logdir: Annotated[str, typer.Argument(metavar="LOGDIR", help="A directory with event files in it or below it.")],
    *,
    project: Annotated[
        str | None,
        typer.Option("--project", metavar="NAME", help="The project of the runs; default: the directory's name."),
    ] = None,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Make runs from TensorBoard's event files.

    Each directory with event files becomes a run: scalars, images, sounds, texts, histograms.
    """
    source = Path(logdir)
    places = list(event_dirs(source))
    if not places:
        raise UsageError(f"there are no event files (*tfevents*) in {source} or below it")
    runs_dir = Path(paths.local("--dir", options.runs_dir(dir)))
    chosen = project or _cleaned([source.resolve().name]) or "imported"
    done = []
    for place, name in zip(places, _names(source, places), strict=True):
        one = Imported(str(place), chosen, name)
        try:
            record(one, runs_dir)
        except (StenoError, OSError) as error:
            one.error = f"{place} was not imported: {error}"
        done.append(one)
        if not json:
            _report(one)
    if json:
        terminal.print_json({"runs": [_plain(one) for one in done]})
    if any(one.error for one in done):
        sys.exit(1)


def event_dirs(top: Path) -> Iterator[Path]:
    """The directories, the top one too, that have event files, in order; each once, by links too.

    A directory that lies below the top is named by its own place there, not by a link to it.
    """
    found: dict[str, Path] = {}
    links: list[Path] = [top]
    seen: set[str] = set()
    while links:
        # Links that are met go behind everything that is no link; those that lead back end here.
        for place, dirs, files in os.walk(links.pop(0)):
            real = os.path.realpath(place)
            if real in seen:
                dirs.clear()
                continue
            seen.add(real)
            dirs.sort()
            links += [Path(place, name) for name in dirs if os.path.islink(os.path.join(place, name))]
            if any("tfevents" in name for name in files):
                found[real] = Path(place)
    yield from sorted(found.values())


def _names(source: Path, places: list[Path]) -> list[str]:
    """A name for each directory: its path below the top, which is `main`."""
    names: list[str] = []
    taken: set[str] = set()
    for place in places:
        base = name = _cleaned(place.relative_to(source).parts) or "main"
        number = 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name)
        names.append(name)
    return names


def _cleaned(parts: tuple[str, ...] | list[str]) -> str:
    """A path's parts as a run's name: without what a name may not have; a long one is cut and ends in a hash."""
    whole = "-".join(filter(None, (part.strip(" .") for part in parts)))
    name = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in whole).strip()
    coded = name.encode()
    if len(coded) > _NAME_BYTES:
        mark = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        name = f"{coded[: _NAME_BYTES - 9].decode('utf-8', 'ignore').strip()}-{mark}"
    return name


def _plain(one: Imported) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Imported.__slots__}


def _report(one: Imported) -> None:
    console = terminal.console()
    if one.error:
        terminal.complain(f"steno: {' '.join(one.error.split())}")
        return
    if one.there_already:
        console.print(f"{one.path} is there already", markup=False, soft_wrap=True)
        return
    files = f"{one.files} file{'' if one.files == 1 else 's'}"
    console.print(f"{one.points:,} points of {files} in {one.path}", markup=False, soft_wrap=True)
    if one.left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(one.left_out.items()))
        console.print(f"  left out: {kinds}", markup=False, soft_wrap=True)
    if one.lost_bytes:
        console.print(f"  {one.lost_bytes:,} bytes could not be read", markup=False, soft_wrap=True)
