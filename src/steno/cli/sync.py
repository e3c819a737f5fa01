"""`steno sync`: post and deliver what a run left behind."""

from __future__ import annotations

import dataclasses
from json import loads as json_of
from typing import Annotated, Any

import typer

from steno import host
from steno.cli import options, terminal
from steno.errors import UsageError


def sync(
    run: options.Run,
    *,
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Also deliver to this destination, from the first record on.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="An option of the destination of --to, as mode=offline."),
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Also keep the run in this object store, such as s3://bucket/prefix.")
    ] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Post the journals of other machines at once, as those of dead ones.")
    ] = False,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0, help="Give up after so many seconds.")] = None,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Post a run's journals, deliver what destinations and stores lack; exit status 1 if something is left."""
    import steno

    wanted = _with_options(to or [], option or [])
    with steno.open(run, dir=options.runs_dir(dir)) as reader:
        there = [one.host for one in reader.info.unposted if one.is_reachable and one.host != host.name()]
        if there and not adopt and not json:
            terminal.complain(
                f"journals of {', '.join(sorted(set(there)))} are not posted: it is looked for "
                f"{steno.Settings().adopt_secs:g} s at most whether they are still written; --adopt posts them at once"
            )
        report = steno.sync(reader.dir, to=wanted, timeout=timeout, store=store, adopt=adopt)
        points = reader.info.points
    if json:
        terminal.print_json({**dataclasses.asdict(report), "points": points})
    else:
        console = terminal.console()
        console.print(f"{points:,} points are posted in {reader.dir}", markup=False, soft_wrap=True)
        for name, health in report.destinations.items():
            rest = f": {health['error']}" if name in report.lacking and health.get("error") else ""
            state = "behind" if name in report.lacking else "complete"
            console.print(f"{name} is {state}{rest}", markup=False, soft_wrap=True)
        if report.uploads:
            console.print(terminal.uploads(report.uploads), markup=False, soft_wrap=True)
        for one in report.unposted:
            console.print(str(one), markup=False, soft_wrap=True)
        if report.error:
            console.print(report.error, markup=False, soft_wrap=True)
        if not report.complete:
            console.print(f"something is left; steno doctor {reader.dir} says more", markup=False, soft_wrap=True)
    if not report.complete:
        raise typer.Exit(1)


def _with_options(to: list[str], given: list[str]) -> list[str | tuple[str, dict[str, Any]]]:
    """The destinations; a single one with its options, whose values are JSON where they can be."""
    if given and len(to) != 1:
        raise UsageError("--option belongs to one destination: give one --to with it, and sync again for another")
    options: dict[str, Any] = {}
    for pair in given:
        key, separator, value = pair.partition("=")
        if not (key and separator):
            raise UsageError(f"--option {pair!r} is not KEY=VALUE, such as mode=offline")
        try:
            options[key] = json_of(value)
        except ValueError:
            options[key] = value
    return [(to[0], options)] if options else list(to)
