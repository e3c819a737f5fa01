"""`steno show`: runs at a glance, their latest values and charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno.cli import about, choosing, curves, options, terminal
from steno.cli.tail import printed
from steno.record import OUTPUT

if TYPE_CHECKING:
    from rich.console import Console

    from steno.record import Entry
    from steno.store.reader import RunReader


def show(
    runs: options.Newest = None,
    *,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", "-k", metavar="PATTERN", help="Only keys that match, such as 'train/*'."),
    ] = None,
    rank: Annotated[
        list[int] | None, typer.Option("--rank", "-r", metavar="N", help="Only this rank; may be repeated.")
    ] = None,
    points: Annotated[
        int, typer.Option("--points", metavar="N", min=2, help="Draw each line with at most N points.")
    ] = 400,
    output: Annotated[
        int, typer.Option("--output", metavar="N", min=0, help="Show the last N lines that the run printed.")
    ] = 5,
    chart_height: Annotated[
        int, typer.Option("--height", metavar="ROWS", min=6, help="Height of each chart in rows.")
    ] = 16,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Redraw each second until the run has ended.")] = False,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Show runs: what is known of them, values, charts.

    Without a run, the newest is shown.
    """
    readers = [choosing.opened(run, dir) for run in runs] if runs else [choosing.opened(None, dir)]
    if watch:
        from steno.cli import watch as watch_

        watch_.watch(readers, key, rank, points, json=json)
        return
    if json:
        found = [_as_data(reader, key, rank, points, output) for reader in readers]
        terminal.print_json(found[0] if len(found) == 1 else found)
        return
    console = terminal.console()
    for number, reader in enumerate(readers):
        if number:
            console.print()
        _show(console, reader, key, rank, points, output, chart_height)


def _show(
    console: Console,
    reader: RunReader,
    key: list[str] | None,
    rank: list[int] | None,
    points: int,
    output: int,
    height: int,
) -> None:
    chosen, info, summary = curves.choose(reader.keys(), key), reader.info, reader.summary
    about.head(console, info)
    about.facts(console, reader, info, summary)
    console.print(about.values(summary, chosen))
    for each in chosen if key else curves.interesting(chosen, summary):
        console.print()
        terminal.print_text(console, curves.chart_of(reader, each, ranks=rank, points=points, height=height))
    left = len(chosen) - len(about.media_keys(summary)) - curves.CHARTS
    if not key and left > 0:
        console.print(f"\n{left} more keys have no chart here; choose with --key", markup=False)
    lines = [] if key else _printed(reader, rank, output)
    if lines:
        console.print()
        terminal.print_text(console, "\n".join(map(printed, lines)))


def _printed(reader: RunReader, ranks: list[int] | None, count: int) -> list[Entry]:
    """The last lines that the run printed, where it records them."""
    if ranks is None:
        return reader.records(OUTPUT, last=count) if count else []
    return [entry for entry in reader.records(OUTPUT) if entry.rank in ranks][-count:] if count else []


def _as_data(
    reader: RunReader, key: list[str] | None, ranks: list[int] | None, points: int, output: int
) -> dict[str, Any]:
    keys, summary = curves.choose(reader.keys(), key), reader.summary
    series = {
        key: {
            str(rank): {"step": one.step, "time": one.time, "value": one.exact}
            for rank, one in curves.by_rank(reader, key, ranks, points)
        }
        for key in keys
    }
    lines = _printed(reader, ranks, output)
    return {
        **about.data(reader, reader.info, summary),
        "keys": keys,
        "summary": dict(summary),
        "series": series,
        "output": [{**one.payload, "time": terminal.iso(one.time), "rank": one.rank} for one in lines],
    }
