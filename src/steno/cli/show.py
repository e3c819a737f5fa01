"""`steno show`: a run at a glance, its latest values and charts."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno.cli import chart, choosing, options, terminal
from steno.cli.runs import STATE_STYLES
from steno.cli.tail import printed
from steno.errors import UsageError
from steno.record import OUTPUT, Ref
from steno.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

    from steno.record import Entry
    from steno.store.reader import RunReader
    from steno.store.series import Series

CHARTS = 4
"""Charts drawn when no key is asked for."""


def show(
    run: options.Run,
    *,
    key: Annotated[list[str] | None, typer.Option("--key", "-k", help="A key or a pattern such as 'train/*'.")] = None,
    rank: Annotated[list[int] | None, typer.Option("--rank", "-r", help="Only this rank; may be repeated.")] = None,
    points: Annotated[int, typer.Option("--points", min=2, help="At most so many points per line.")] = 400,
    output: Annotated[int, typer.Option("--output", min=0, help="At most so many of the last printed lines.")] = 5,
    chart_height: Annotated[int, typer.Option("--height", min=6, help="Rows of a chart.")] = 16,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Show a run: state, last, smallest and largest value per key, and a chart per key with a line per rank."""
    reader = choosing.opened(run, dir)
    chosen = choose(reader.keys(), key)
    if json:
        terminal.print_json(_as_data(reader, chosen, rank, points, output))
        return
    console = terminal.console()
    _head(console, reader)
    _values(console, reader, chosen)
    for each in chosen if key else _interesting(chosen):
        console.print()
        terminal.print_text(console, chart_of(reader, each, ranks=rank, points=points, height=chart_height))
    if not key and len(chosen) > CHARTS:
        console.print(f"\n{len(chosen) - CHARTS} more keys; choose with --key", markup=False)
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
    odd = {id(series): _unnumbered(series) for _, series in found}
    if any(odd.values()) and all(odd[id(series)] == len(series.value) for _, series in found):
        return told(reader, key, [series for _, series in found])
    lines = [chart.Line(f"rank {rank}", series.step, series.value, odd[id(series)]) for rank, series in found]
    return chart.draw(key, lines, height=height, color=terminal.in_color())


def _unnumbered(series: Series) -> int:
    """How many of the values are texts or media."""
    return sum(not isinstance(value, int) for value in series.special.values())


def told(reader: RunReader, key: str, found: list[Series]) -> str:
    """What the texts and media values of a key are, and where the newest is."""
    values = sorted((int(one.step[row]), one.rank[row], value) for one in found for row, value in _ordered(one))
    kinds = Counter(value.kind if isinstance(value, Ref) else "text" for _, _, value in values)
    counts = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in kinds.items())
    step, _, last = values[-1]
    if not isinstance(last, Ref):
        where = repr(terminal.cut(last))
    else:
        path = reader.media(key)[-1].path
        where = "in the run itself" if last.digest == "" else "not encoded yet" if path is None else str(path)
        where = f"lost: {last.meta['lost']}" if "lost" in last.meta else where
    return visible(f"{key}: {counts}, the last at step {step:,}: {where}")


def _ordered(series: Series) -> list[tuple[int, Any]]:
    return sorted((row, value) for row, value in series.special.items() if not isinstance(value, int))


def _by_rank(reader: RunReader, key: str, ranks: list[int] | None, points: int) -> list[tuple[int, Any]]:
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


def _interesting(keys: list[str]) -> list[str]:
    """Which keys to draw unasked: losses and accuracies before the rest."""

    def place(key: str) -> int:
        return next((index for index, word in enumerate(("loss", "acc", "reward", "grad")) if word in key.lower()), 9)

    return sorted(keys, key=place)[:CHARTS]


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "") if keys else "no keys yet"


def _head(console: Console, reader: RunReader) -> None:
    from rich.text import Text

    info = reader.info
    name = terminal.number(f"{info.project}/{info.name}")
    state = (info.state or "not posted yet", STATE_STYLES.get(info.state) or "bold")
    console.print(Text.assemble((name, "bold"), "  ", state, "  ", terminal.when(info.started)))
    facts = {
        "directory": str(reader.dir),
        "ranks": len(info.ranks) if len(info.ranks) > 1 else None,
        "attempts": len(info.attempts) if len(info.attempts) > 1 else None,
        "tags": ", ".join(info.tags),
        "notes": info.notes,
        "error": info.error,
        "unposted": "; ".join(map(str, info.unposted)),
        "config": ", ".join(f"{name}={value}" for name, value in info.config.items()),
        "summary": ", ".join(f"{name}={value}" for name, value in info.summary.items()),
    }
    for name, value in facts.items():
        if value:
            console.print(f"{name:>10}  {terminal.cut(str(value))}", markup=False)


def _values(console: Console, reader: RunReader, keys: list[str]) -> None:
    summary = reader.summary
    values = terminal.table("key", "last", "min", "max", "points", numbers=("last", "min", "max", "points"))
    for key in keys:
        if key in summary:
            last = summary[key]["last"]
            shown = {**summary[key], "last": last.kind if isinstance(last, Ref) else last}
            cells = [terminal.number(shown[name]) for name in ("last", "min", "max", "count")]
            values.add_row(terminal.literal(key), *cells)
    console.print(values)


def _as_data(reader: RunReader, keys: list[str], ranks: list[int] | None, points: int, output: int) -> dict[str, Any]:
    series = {
        key: {
            str(rank): {"step": one.step, "time": one.time, "value": one.exact}
            for rank, one in _by_rank(reader, key, ranks, points)
        }
        for key in keys
    }
    return {
        "dir": str(reader.dir),
        "info": dataclasses.asdict(reader.info),
        "keys": keys,
        "summary": dict(reader.summary),
        "series": series,
        "output": [{"time": one.time, "rank": one.rank, **one.payload} for one in _printed(reader, ranks, output)],
    }
