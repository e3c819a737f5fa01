"""`steno show --watch`: runs on the whole terminal, drawn anew each second until they have ended."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from steno.cli import about, curves, terminal
from steno.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from steno.store.reader import RunReader

EVERY_SECS = 1.0
"""A collector posts as often."""
KEYS = 8
"""Rows of the table of values."""
LEAST_HEIGHT = 8


def watch(readers: list[RunReader], key: list[str] | None, rank: list[int] | None, points: int, *, json: bool) -> None:
    """Draw the runs until all have ended, then leave their last state on the terminal; Ctrl-C leaves sooner.

    Raises:
        UsageError: there is no terminal, or JSON is asked for.
    """
    if json or not sys.stdout.isatty():
        raise UsageError("--watch draws on a terminal: in a pipe `steno tail --json` follows a run")
    from rich.text import Text

    console = terminal.console()
    with console.screen() as screen:
        while True:
            drawn, goes_on = _drawn(console, readers, key, rank, points)
            screen.update(Text.from_ansi(drawn))
            if not goes_on:
                break
            time.sleep(EVERY_SECS)
    terminal.print_text(console, drawn)


def _drawn(
    console: Console, readers: list[RunReader], key: list[str] | None, rank: list[int] | None, points: int
) -> tuple[str, bool]:
    """(what fits the terminal, whether any run goes on)."""
    rows = (console.size.height - 1) // len(readers)
    texts, goes_on = [], False
    for reader in readers:
        info = reader.info
        goes_on |= info.state in {"", "running"}
        texts.append(_one(console, reader, info, key, rank, points, rows))
    return "\n".join(texts), goes_on


def _one(
    console: Console,
    reader: RunReader,
    info: Any,
    key: list[str] | None,
    rank: list[int] | None,
    points: int,
    rows: int,
) -> str:
    """One run in so many rows: a line, a chart or two, the values of the keys that are left room for."""
    summary = reader.summary
    known = reader.keys()
    try:
        keys = curves.choose(known, key)
    except UsageError:
        if known and info.state not in {"", "running"}:
            raise
        keys = []  # what is asked for may still come
    wanted = curves.interesting(keys, summary, len(keys))
    charts = max(1, min(len(wanted), 2 if key is None else 4, (rows - 6) // (LEAST_HEIGHT + 1)))
    table = min(len(keys), KEYS, max(rows - 4 - charts * (LEAST_HEIGHT + 1), 0))
    height = max((rows - 2 - (table + 4 if table else 0)) // charts - 1, 6)
    with console.capture() as captured:
        about.head(console, info)
        line = [f"{info.records:,} records", about.duration(info), str(info.error or "")]
        console.print("  ".join(filter(None, line)), markup=False, no_wrap=True, overflow="ellipsis")
        for each in wanted[:charts]:
            drawn = curves.chart_of(reader, each, ranks=rank, points=points, height=height)
            terminal.print_text(console, drawn)
        if table:
            console.print(about.values(summary, keys[:table]))
    return "\n".join(captured.get().rstrip("\n").split("\n")[:rows])
