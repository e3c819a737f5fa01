"""`steno runs`: the runs under a directory, newest first."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from steno.cli import options, terminal

STATE_STYLES = {"running": "green", "finished": "", "failed": "red", "crashed": "red"}


def runs(
    *,
    dir: options.Dir = None,
    last: Annotated[int, typer.Option("--last", min=0, help="Only so many, the newest; 0: all.")] = 0,
    json: options.Json = False,
) -> None:
    """List the runs under a directory, newest first."""
    import steno

    place = options.runs_dir(dir)
    found = steno.runs(place)
    if last:
        found = found[:last]
    if json:
        terminal.print_json([dataclasses.asdict(one) for one in found])
        return
    for one in found:
        if one.problem:
            terminal.complain(f"steno: {one.problem}")
    console = terminal.console()
    if not found:
        console.print(f"no runs under {place}; `steno demo` makes one", markup=False)
        return
    listed = terminal.table("run", "state", "started", "records", numbers=("records",))
    for one in found:
        state = terminal.literal(one.state)
        state.style = STATE_STYLES.get(one.state, "")
        listed.add_row(
            terminal.literal(f"{one.project}/{one.name}"), state, terminal.when(one.started), f"{one.records:,}"
        )
    console.print(listed)
