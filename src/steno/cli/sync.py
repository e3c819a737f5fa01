"""`steno sync`: post and deliver what a run left behind."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from steno.cli import options, terminal


def sync(
    run: options.Run,
    *,
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Also deliver to this destination, from the first record on.")
    ] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0, help="Give up after so many seconds.")] = None,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Post a run's journals and deliver what its destinations lack; exit status 1 if something is left."""
    import steno

    with steno.open(run, dir=options.runs_dir(dir)) as book:
        report = steno.sync(book.dir, to=to, timeout=timeout)
        points = book.info.points
    if json:
        terminal.print_json({**dataclasses.asdict(report), "points": points})
    else:
        console = terminal.console()
        console.print(f"{points:,} points are posted in {book.dir}", markup=False, soft_wrap=True)
        for name, health in report.destinations.items():
            rest = f": {health['error']}" if name in report.lacking and health.get("error") else ""
            state = "behind" if name in report.lacking else "complete"
            console.print(f"{name} is {state}{rest}", markup=False, soft_wrap=True)
        for stream in report.unposted:
            console.print(f"journal {stream} is not wholly posted", markup=False, soft_wrap=True)
        if report.error:
            console.print(report.error, markup=False, soft_wrap=True)
        if not report.complete:
            console.print(f"something is left; steno doctor {book.dir} says more", markup=False, soft_wrap=True)
    if not report.complete:
        raise typer.Exit(1)
