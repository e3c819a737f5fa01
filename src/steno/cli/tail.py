"""`steno tail`: the records of a live run as they come."""

from __future__ import annotations

import collections
import sys
import time
from typing import Annotated, Any

import typer

from steno.cli import options, terminal


def tail(
    run: options.Run,
    *,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Records to begin with.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for more until the run has ended.")] = True,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Print the latest records of a run, then each new one until the run has ended; Ctrl-C leaves."""
    import steno

    book = steno.open(run, dir=options.runs_dir(dir))
    for record in book.tail(last=last, follow=follow):
        if json:
            terminal.print_json(_as_data(record))
        else:
            sys.stdout.write(line(record) + "\n")
        sys.stdout.flush()
