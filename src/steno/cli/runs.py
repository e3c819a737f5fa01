"""`steno runs`: the runs under a directory, newest first."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno.cli import about, options, terminal
from steno.errors import UsageError
from steno.store.where import MISSING, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from steno.store.run_summary import RunSummary

METRICS = 6
"""Columns of metrics in a wide list."""
WIDEST = 10_000
_COMMA = re.compile(r",(?=(?:[^`]*`[^`]*`)*[^`]*$)")
"""One that stands in no backticks."""


def runs(
    place: Annotated[
        str | None,
        typer.Argument(metavar="DIR", help="Where runs are kept, or a store's URL (default: $STENO_DIR, else runs)."),
    ] = None,
    *,
    dir: options.Dir = None,
    last: Annotated[int, typer.Option("--last", metavar="N", min=0, help="Show only the newest N; 0: all.")] = 0,
    where: Annotated[
        str | None,
        typer.Option(
            "--where", metavar="QUERY", help="Only runs that match: 'config.lr < 1e-3 and val/acc.max > 0.9'."
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="NAME", help="Sort by this name, smallest first; -NAME: largest first."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns", "-c", metavar="NAME,…", help="Add columns, such as config.lr,val/acc.max; repeatable."
        ),
    ] = None,
    wide: Annotated[
        bool,
        typer.Option("--wide", help="Add duration, group, tags, notes, differing configuration and main metrics."),
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="Include archived runs.")] = False,
    json: options.Json = False,
) -> None:
    """List runs, newest first, or those that a query chooses."""
    import steno

    if place is not None and dir is not None:
        raise UsageError("the place is given twice, as DIR and by --dir: leave one out")
    place = options.runs_dir(place or dir)
    names = [name_of(name) for given in columns or () for name in _COMMA.split(given)]
    found = steno.runs(place, where=where, sort=sort, limit=last or None, archived=all_)
    if json:
        terminal.print_json([_as_data(one, names, wide=wide) for one in found])
        return
    for one in (found, *found):
        if one.problem:
            terminal.complain(f"steno: {one.problem}")
    if not found:
        less = f"no runs under {place}; `steno demo` makes one" if where is None else f"no run of {place} is chosen"
        terminal.say(less)
        return
    shown: dict[str, Callable[[RunSummary], Any]] = dict(_WIDE) if wide else {}
    shown |= {name: _value(name) for name in [*names, *(_more(found, names) if wide else ())]}
    numbers = ("records", "points", *names)
    listed = terminal.table("run", "state", "started", "records", *shown, numbers=numbers)
    for one in found:
        state = terminal.literal(one.state)
        state.style = about.STATE_STYLES.get(one.state, "")
        run = terminal.literal(f"{one.project}/{one.name}")
        more = [terminal.literal(value(one)) for value in shown.values()]
        listed.add_row(run, state, terminal.when(one.started), f"{one.records:,}", *more)
    console = terminal.console()
    if wide:
        needed = console.measure(listed, options=console.options.update(max_width=WIDEST)).maximum
        console.width = max(console.width, needed)
    console.print(listed)


_WIDE: dict[str, Callable[[RunSummary], Any]] = {
    "duration": lambda one: "" if one.duration is None else terminal.duration(one.duration),
    "points": lambda one: f"{one.points:,}",
    "group": lambda one: one.group,
    "tags": lambda one: ", ".join(one.tags),
    "notes": lambda one: one.notes.partition("\n")[0],
}


def _value(name: str) -> Callable[[RunSummary], Any]:
    return lambda one: _known(one, name)


def _known(one: RunSummary, name: str) -> Any:
    found = one.value(name)
    return None if found is MISSING else found


def _more(found: Sequence[RunSummary], names: list[str]) -> list[str]:
    """Columns of a wide list: the configuration that differs, and the metrics that most of the runs have."""
    from steno.cli import compare, differing

    configured = [f"config.{name}" for name in differing.differing([one.config for one in found])]
    count: dict[str, int] = {}
    for one in found:
        for key, metric in one.metrics.items():
            if metric.get("min") is not None and not key.startswith("system/"):
                count[key] = count.get(key, 0) + 1
    keys = sorted(count, key=lambda key: (-count[key], "loss" not in key and "acc" not in key, key))[:METRICS]
    best = {key: compare.best(key) for key in keys}
    metrics = [name for key in keys for name in (key, *([f"{key}.{best[key][0]}"] if len(best[key]) == 1 else ()))]
    return [name for name in dict.fromkeys([*configured, *metrics]) if name not in names]


def _as_data(one: RunSummary, names: list[str], *, wide: bool) -> dict[str, Any]:
    times = {"started": terminal.iso(one.started), "ended": terminal.iso(one.ended), "duration": one.duration}
    metrics = {"metrics": dict(one.metrics)} if wide else {}
    return {**dataclasses.asdict(one), **times, **metrics, **{name: _known(one, name) for name in names}}
