"""`steno show`: runs at a glance, their latest values and charts."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno.cli import about, chart, choosing, options, terminal
from steno.cli.tail import printed
from steno.errors import UsageError
from steno.record import OUTPUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from steno.record import Entry
    from steno.store.reader import RunReader
    from steno.store.series import Series

CHARTS = 4
"""Charts drawn when no key is asked for."""


def show(
    runs: options.Newest = None,
    *,
    key: Annotated[list[str] | None, typer.Option("--key", "-k", help="A key or a pattern such as 'train/*'.")] = None,
    rank: Annotated[list[int] | None, typer.Option("--rank", "-r", help="Only this rank; may be repeated.")] = None,
    points: Annotated[int, typer.Option("--points", min=2, help="The most points of a line.")] = 400,
    output: Annotated[int, typer.Option("--output", min=0, help="How many of the last printed lines.")] = 5,
    chart_height: Annotated[int, typer.Option("--height", min=6, help="Rows of a chart.")] = 16,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew each second until it has ended.")] = False,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Show runs, by default the newest: state, configuration, last, smallest and largest values, and charts."""
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
    chosen, info, summary = choose(reader.keys(), key), reader.info, reader.summary
    about.head(console, info)
    about.facts(console, reader, info, summary)
    console.print(about.values(summary, chosen))
    for each in chosen if key else interesting(chosen, summary):
        console.print()
        terminal.print_text(console, chart_of(reader, each, ranks=rank, points=points, height=height))
    left = len(chosen) - len(about.media_keys(summary)) - CHARTS
    if not key and left > 0:
        console.print(f"\n{left} more keys have no chart here; choose with --key", markup=False)
    lines = [] if key else _printed(reader, rank, output)
    if lines:
        console.print()
        terminal.print_text(console, "\n".join(map(printed, lines)))


def choose(keys: list[str], patterns: list[str] | None) -> list[str]:
    """The keys that a pattern names, in the order of the patterns; all where there is none."""
    if not patterns:
        return list(keys)
    chosen: list[str] = []
    for pattern in patterns:
        hits = [key for key in keys if key == pattern] or fnmatch.filter(keys, pattern)
        if not hits:
            raise UsageError(f"no key matches {pattern!r}; the run has {_few(keys)}")
        chosen += [key for key in hits if key not in chosen]
    return chosen


def chart_of(reader: RunReader, key: str, *, ranks: list[int] | None, points: int, height: int = 16) -> str:
    """One key's chart, a line per rank; of a key without numbers, what its values are and where."""
    found = _by_rank(reader, key, ranks, points)
    odd = {id(series): unnumbered(series) for _, series in found}
    if any(odd.values()) and all(odd[id(series)] == len(series.value) for _, series in found):
        return about.told(reader, key, [series for _, series in found])
    lines = [chart.Line(f"rank {rank}", series.step, series.value, odd[id(series)]) for rank, series in found]
    return chart.draw(key, lines, height=height, color=terminal.in_color())


def unnumbered(series: Series) -> int:
    """How many of the values are texts or media."""
    return sum(not isinstance(value, int) for value in series.special.values())


def _by_rank(reader: RunReader, key: str, ranks: list[int] | None, points: int) -> list[tuple[int, Series]]:
    known = list(reader.info.ranks) or [0]
    wanted = ranks if ranks is not None else known
    unknown = [rank for rank in wanted if rank not in known]
    if unknown:
        raise UsageError(f"the run has no rank {unknown[0]}; it has {', '.join(map(str, known))}")
    return [(rank, reader.series(key, rank=rank, points=points)) for rank in wanted]


def _printed(reader: RunReader, ranks: list[int] | None, count: int) -> list[Entry]:
    """The last lines that the run printed, where it records them."""
    if ranks is None:
        return reader.records(OUTPUT, last=count) if count else []
    return [entry for entry in reader.records(OUTPUT) if entry.rank in ranks][-count:] if count else []


def interesting(keys: list[str], summary: Mapping[str, Any], most: int = CHARTS) -> list[str]:
    """Which keys to draw unasked: those with numbers, losses and accuracies before the rest."""

    def place(key: str) -> int:
        return next((index for index, word in enumerate(("loss", "acc", "reward", "grad")) if word in key.lower()), 9)

    media = set(about.media_keys(summary))
    return sorted((key for key in keys if key not in media), key=place)[:most]


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "") if keys else "no keys yet"


def _as_data(
    reader: RunReader, key: list[str] | None, ranks: list[int] | None, points: int, output: int
) -> dict[str, Any]:
    keys, summary = choose(reader.keys(), key), reader.summary
    series = {
        key: {
            str(rank): {"step": one.step, "time": one.time, "value": one.exact}
            for rank, one in _by_rank(reader, key, ranks, points)
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
