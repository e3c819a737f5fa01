"""`steno runs`: the runs under a directory, newest first."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno.cli import options, terminal
from steno.store.where import MISSING, name_of

if TYPE_CHECKING:
    from steno.store.run_summary import RunSummary

STATE_STYLES = {"running": "green", "finished": "", "failed": "red", "crashed": "red", "unposted": "yellow"}


def runs(
    *,
    dir: options.Dir = None,
    last: Annotated[int, typer.Option("--last", min=0, help="Only so many, the newest; 0: all.")] = 0,
    where: Annotated[
        str | None, typer.Option("--where", help="Which of them: 'config.lr < 1e-3 and val/acc.max > 0.9'.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", help="By this name, the smallest first; -NAME: the largest first.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", "-c", help="A further column: config.lr, val/acc.max; repeatable.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that were archived.")] = False,
    json: options.Json = False,
) -> None:
    """List the runs under a directory, newest first, or those that a query chooses."""
    import steno

    place = options.runs_dir(dir)
    found = steno.runs(place, where=where, sort=sort, limit=last or None, archived=all_)
    names = [name_of(column) for column in columns or ()]
    if json:
        terminal.print_json([_as_data(one, names) for one in found])
        return
    for one in found:
        if one.problem:
            terminal.complain(f"steno: {one.problem}")
    console = terminal.console()
    if not found:
        less = f"no runs under {place}; `steno demo` makes one" if where is None else f"no run of {place} is chosen"
        console.print(less, markup=False)
        return
    listed = terminal.table("run", "state", "started", "records", *names, numbers=("records", *names))
    for one in found:
        state = terminal.literal(one.state)
        state.style = STATE_STYLES.get(one.state, "")
        more = [terminal.literal(_known(one, name)) for name in names]
        run = terminal.literal(f"{one.project}/{one.name}")
        listed.add_row(run, state, terminal.when(one.started), f"{one.records:,}", *more)
    console.print(listed)


def _known(one: RunSummary, name: str) -> Any:
    found = one.value(name)
    return None if found is MISSING else found


def _as_data(one: RunSummary, names: list[str]) -> dict[str, Any]:
    times = {"started": terminal.iso(one.started), "ended": terminal.iso(one.ended)}
    return {**dataclasses.asdict(one), **times, **{name: _known(one, name) for name in names}}
