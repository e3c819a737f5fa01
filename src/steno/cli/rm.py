"""`steno rm`: removes runs from this machine."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from steno.cli import options, terminal
from steno.errors import UsageError
from steno.visible import on_one_line

if TYPE_CHECKING:
    from pathlib import Path


def rm(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="A run's directory, its project/name, or its name; in full.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Remove runs from this machine, for good.

    It asks first. A run that is being recorded is refused. What steno made of a run is removed file by file; what
    others put into its directory stays. Copies in object stores and in other services stay.
    """
    from steno.store import removal
    from steno.store.runs import find

    found = list(dict.fromkeys(find(run, options.runs_dir(dir)) for run in runs))
    for path in found:
        removal.check(path)
    if not yes:
        _ask(found)
    for path in found:
        done = removal.remove(path)
        if json:
            terminal.print_json({**dataclasses.asdict(done), "dir": str(path)})
            continue
        terminal.say(f"removed {path}: {done.files:,} files, {terminal.size(done.bytes)}")
        if done.left:
            names = ", ".join(map(on_one_line, done.left[:5])) + (" …" if len(done.left) > 5 else "")
            terminal.say(f"  what steno did not make is still there: {names}")


def _ask(found: list[Path]) -> None:
    import steno

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("steno rm asks before it removes, and this is no terminal: give --yes")
    for path in found:
        info = steno.open(path).info
        facts = [info.state or "nothing posted", f"{info.points:,} points"]
        facts += [f"{terminal.size(sum(one.bytes for one in info.unposted))} of it not posted"] if info.unposted else []
        terminal.complain(f"{info.project}/{info.name} in {path}: {', '.join(facts)}")
    what = "this run" if len(found) == 1 else f"these {len(found)} runs"
    sys.stderr.write(f"Remove {what} for good? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("nothing was removed")
