"""`steno compare`: what differs between runs, how far each came, and their curves over each other."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno.cli import chart, choosing, curves, differing, options, terminal
from steno.errors import UsageError
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.table import Table

    from steno.store.info import Info
    from steno.store.reader import RunReader

LISTED = 12
"""Metrics in the table when no key is asked for."""
CHARTS = 2
_LOW = ("loss", "err", "ppl", "perplexity", "nll", "mse", "mae", "wer", "cer", "fid", "time", "latency", "secs", "eer")
_HIGH = ("acc", "auc", "f1", "reward", "return", "score", "precision", "recall", "bleu", "rouge", "psnr", "ssim", "iou")


@dataclasses.dataclass(frozen=True, slots=True)
class Compared:
    """One of the runs."""

    label: str
    reader: RunReader
    info: Info
    metrics: Mapping[str, Mapping[str, Any]]
    """By key: last, min, max, count."""


def compare(
    runs: options.Runs = None,
    *,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", "-k", metavar="PATTERN", help="Only metrics that match, such as 'val/*'."),
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="QUERY", help="Choose the runs that match: 'config.lr < 1e-3'.")
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="NAME", help="Sort by this name, smallest first; -NAME: largest first."),
    ] = None,
    last: Annotated[int, typer.Option("--last", metavar="N", min=0, help="Compare only the first N; 0: all.")] = 0,
    points: Annotated[
        int, typer.Option("--points", metavar="N", min=2, help="Draw each line with at most N points.")
    ] = 400,
    chart_height: Annotated[
        int, typer.Option("--height", metavar="ROWS", min=6, help="Height of each chart in rows.")
    ] = 16,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Put runs side by side: what differs, values, curves.

    Name the runs, or choose them by --where or --last. Of several ranks the mean is drawn.
    """
    found = _compared(_chosen(runs or [], where, sort, last, dir))
    keys = _keys(found, key)
    differs = differing.differing([one.info.config for one in found])
    if json:
        terminal.print_json(_as_data(found, keys, differs))
        return
    console = terminal.console()
    for table in _tables(console, found, _rows(found, differs, keys[: None if key else LISTED], asked=bool(key))):
        console.print(table)
    if not differs:
        console.print("the configurations are the same", markup=False)
    if not key and len(keys) > LISTED:
        console.print(f"{len(keys) - LISTED} more metrics; choose with --key", markup=False)
    for each in keys if key else _drawn(found, keys):
        console.print()
        terminal.print_text(console, _chart(found, each, points, chart_height))


def _chosen(runs: list[str], where: str | None, sort: str | None, last: int, dir: str | None) -> list[RunReader]:
    import steno

    asked = where is not None or sort is not None or last > 0
    if runs and asked:
        raise UsageError("name the runs, or choose them by --where, --sort and --last, not both")
    if not runs and not asked:
        raise UsageError("which runs? Name them, or choose them by --where or --last, as in steno compare --last 5")
    if runs:
        readers = [choosing.opened(run, dir) for run in runs]
        return list({str(reader.dir): reader for reader in readers}.values())
    place = options.runs_dir(dir)
    found = steno.runs(place, where=where, sort=sort, limit=last or None)
    if not found:
        raise UsageError(f"no run of {place} is chosen")
    return [steno.open(one.path) for one in found]


def _compared(readers: list[RunReader]) -> list[Compared]:
    infos = [reader.info for reader in readers]
    names = [info.name for info in infos]
    if len(set(names)) < len(names):
        names = [f"{info.project}/{info.name}" for info in infos]
    if len(set(names)) < len(names):
        names = [os.fspath(reader.dir) for reader in readers]
    return [
        Compared(name, reader, info, reader.summary) for name, reader, info in zip(names, readers, infos, strict=True)
    ]


def _keys(found: list[Compared], patterns: list[str] | None) -> list[str]:
    """The metrics with numbers that are asked for, those that most runs have first."""
    count: dict[str, int] = {}
    for one in found:
        for key, metric in one.metrics.items():
            if metric.get("min") is not None:
                count[key] = count.get(key, 0) + 1
    keys = sorted(count, key=lambda key: (-count[key], _is_of_machine(key), key))
    return curves.choose(keys, patterns)


def _is_of_machine(key: str) -> bool:
    return key.startswith("system/")


def _drawn(found: list[Compared], keys: list[str]) -> list[str]:
    """The keys to draw unasked: of those that most runs have, losses and accuracies first."""
    shared = [key for key in keys if sum(key in one.metrics for one in found) > 1 and not _is_of_machine(key)]
    return curves.interesting(shared or keys, {}, CHARTS)


def best(key: str) -> tuple[str, ...]:
    """Which of "min" and "max" is the best of a metric, by its name; both where that does not tell."""
    name = key.lower()
    low, high = any(word in name for word in _LOW), any(word in name for word in _HIGH)
    return ("min", "max") if low == high else ("min",) if low else ("max",)


# -- tables -----------------------------------------------------------------------------------------------


def _rows(
    found: list[Compared], differs: Mapping[str, list[Any]], keys: list[str], *, asked: bool
) -> list[tuple[str, list[str]]]:
    """A name and a cell for each run; of a metric that nobody asked for, its best only where its name tells which."""
    rows = [("state", [one.info.state for one in found])]
    if any(one.info.tags for one in found):
        rows.append(("tags", [", ".join(one.info.tags) for one in found]))
    for name, values in differs.items():
        rows.append(
            (f"config.{name}", ["" if value is differing.MISSING else terminal.number(value) for value in values])
        )
    for key in keys:
        rows.append((key, [_text(key, one.metrics.get(key, {}).get("last")) for one in found]))
        for which in best(key) if asked or len(best(key)) == 1 else ():
            values = [one.metrics.get(key, {}).get(which) for one in found]
            top = _top(values, which) if len(best(key)) == 1 else None
            cells = [_text(key, value) + (" *" if top is not None and value == top else "") for value in values]
            rows.append((f"{key}.{which}", cells))
    return rows


def _text(key: str, value: Any) -> str:
    return value.kind if isinstance(value, Ref) else terminal.quantity(key, value)


def _top(values: list[Any], which: str) -> Any:
    """The best of several, None where there is but one."""
    known = [value for value in values if isinstance(value, int | float) and not math.isnan(value)]
    if len(known) < 2:
        return None
    return min(known) if which == "min" else max(known)


def _tables(console: Console, found: list[Compared], rows: list[tuple[str, list[str]]]) -> list[Table]:
    """The rows with a column for each run, in as many tables as the width needs."""
    from rich.cells import cell_len

    first = min(max(cell_len(name) for name, _ in rows), max(console.width // 3, 12))
    widths = [
        min(max(cell_len(one.label), *(cell_len(cells[at]) for _, cells in rows)), max(console.width - first - 4, 8))
        for at, one in enumerate(found)
    ]
    made, at = [], 0
    while at < len(found):
        end, used = at, first
        while end < len(found) and (end == at or used + widths[end] + 3 <= console.width):
            used += widths[end] + 3
            end += 1
        table = terminal.table("")
        for one in found[at:end]:
            table.add_column(terminal.literal(one.label), justify="right", overflow="fold")
        for name, cells in rows:
            table.add_row(terminal.literal(name), *map(terminal.literal, cells[at:end]))
        made.append(table)
        at = end
    return made


# -- curves -----------------------------------------------------------------------------------------------


def _chart(found: list[Compared], key: str, points: int, height: int) -> str:
    lines = []
    for one in found:
        if key in one.metrics:
            over = "mean" if len(one.info.ranks) > 1 else None
            series = one.reader.series(key, points=points, over=over)
            lines.append(chart.ChartLine(one.label, series.step, series.value, curves.unnumbered(series)))
    return chart.draw(key, lines, height=height, color=terminal.in_color())


# -- programs ---------------------------------------------------------------------------------------------


def _as_data(found: list[Compared], keys: list[str], differs: Mapping[str, list[Any]]) -> dict[str, Any]:
    return {
        "differing": list(differs),
        "keys": keys,
        "runs": [
            {
                "dir": str(one.reader.dir),
                "project": one.info.project,
                "name": one.info.name,
                "state": one.info.state,
                "tags": one.info.tags,
                "started": terminal.iso(one.info.started),
                "config": {name: values[at] for name, values in differs.items() if values[at] is not differing.MISSING},
                "summary": one.info.summary,
                "metrics": {key: one.metrics[key] for key in keys if key in one.metrics},
            }
            for at, one in enumerate(found)
        ],
    }
