"""`steno verify`: is all there that runs say they have, and is it what was written."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from steno.cli import options, terminal
from steno.visible import visible


def verify(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="The URL or the directory of a run, of a store, or of many runs.")
    ],
    *,
    whole: Annotated[
        bool, typer.Option("--whole", help="Read every byte, not only sizes and the end of each part.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Report which files of runs are missing or damaged.

    The exit status is 1 if there are any.
    """
    from steno.store.verifying import verify_all

    runs = bad = parts = 0
    found = []
    for one in verify_all(place, whole=whole):
        runs, parts, bad = runs + 1, parts + one.parts, bad + bool(one.problems)
        if json:
            found.append(dataclasses.asdict(one))
            continue
        for name, why in one.problems.items():
            terminal.say(visible(f"{one.place}: {name}: {why}"))
    if json:
        terminal.print_json(found)
    else:
        how = "every byte was read" if whole else "sizes and the ends of parts were compared; --whole reads every byte"
        verdict = f"{bad:,} runs are damaged" if bad else "all is there"
        terminal.say(f"{runs:,} runs, {parts:,} parts: {verdict} ({how})")
    if bad:
        raise typer.Exit(1)
