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

    book = steno.open(run, dir=options.runs_dir(dir))
    report = steno.sync(book.dir, to=to, timeout=timeout)
    if json:
        terminal.print_json(dataclasses.asdict(report))
