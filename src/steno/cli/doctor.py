"""`steno doctor`: is everything well with a run, or with this machine, and what to do if not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno import examine, paths
from steno.cli import choosing, options, terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Run = Annotated[str | None, typer.Argument(metavar="RUN", help="A run as for `steno show`; without one, this machine.")]


def doctor(run: Run = None, *, dir: options.Dir = None, json: options.Json = False) -> None:
    """Check a run, or this machine, and say what to do.

    It looks at journals, destinations, losses, errors and file systems.

    The exit status is 1 if something that was recorded is lost or cannot be read.
    """
    from steno import distribution

    place = options.runs_dir(dir)
    report = examine.examine(Path(choosing.opened(run, dir).dir)) if run is not None else None
    versions = examine.versions()
    native = examine.hot_path()
    strangers = distribution.strangers()
    here = (
        report.filesystems
        if report
        else examine.filesystems(("runs", Path(place)), ("here", Path(paths.absolute("here", "."))))
    )
    if json:
        data = dataclasses.asdict(report) if report else {"filesystems": [dataclasses.asdict(one) for one in here]}
        terminal.print_json({**data, "versions": versions, "strangers": strangers, "native": native})
        raise typer.Exit(1 if report and report.damage else 0)
    console = terminal.console()
    if report:
        _print_run(console, report)
    _print_file_systems(console, here)
    console.print("versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()), markup=False)
    console.print(
        "hot path: " + ("native" if native["on"] else f"Python ({native['why']})"), markup=False, soft_wrap=True
    )
    advice = [*map(distribution.said, strangers), *(report.advice if report else ())]
    if report or advice:
        console.print()
    for line in advice or (["all is well"] if report else []):
        console.print(f"→ {line}", markup=False, soft_wrap=True)
    if report and report.damage:
        raise typer.Exit(1)


def _print_run(console: Console, report: examine.Report) -> None:
    console.print(f"{report.dir}: {report.state or 'nothing posted yet'}", markup=False)
    if report.journals:
        console.print(_journals(report.journals))
    else:
        console.print("journals: none, all is posted", markup=False)
    for node in report.nodes:
        age = node["status_age_secs"]
        said = "" if age is None else f", last status {terminal.duration(age)} ago"
        console.print(f"node {node['node']} on {node['host']}: collector {node['collector']}{said}", markup=False)
        artifacts = node["status"].get("artifacts") or {}
        if any(artifacts.values()):
            console.print(f"node {node['node']}: {_artifacts(artifacts)}", markup=False)
    if report.log:
        console.print("the end of the collectors' logs:")
        for line in report.log:
            console.print(f"    {line}", markup=False, soft_wrap=True)
    if report.destinations:
        console.print(_destinations(report.destinations))
    for one in report.uploads:
        console.print(terminal.uploads(one), markup=False, soft_wrap=True)
    for loss in report.losses:
        console.print(examine.loss_text(loss), markup=False)
    for note in report.notes:
        rest = ", ".join(f"{name}={value}" for name, value in note.items() if name != "time")
        console.print(f"note {note['time'][:19]}Z: {rest}", markup=False)


def _artifacts(counts: dict[str, int]) -> str:
    said = {"done": "stored", "duplicates": "of them there already", "failed": "failed", "waiting": "waiting"}
    return "artifacts: " + ", ".join(f"{counts.get(name, 0):,} {word}" for name, word in said.items())


def _journals(journals: list[examine.Journal]) -> Table:
    numbers = ("segments", "size", "not posted")
    listed = terminal.table("journal", "writer", *numbers, "", numbers=numbers)
    for one in journals:
        sizes = (str(one.segments), terminal.size(one.size_bytes), terminal.size(one.unposted_bytes))
        listed.add_row(one.stream, "alive" if one.alive else "gone", *sizes, terminal.literal(one.problem))
    return listed


def _destinations(destinations: list[dict[str, Any]]) -> Table:
    numbers = ("delivered", "lag", "skipped", "retries")
    listed = terminal.table("destination", "node", *numbers, "state", "last error", numbers=numbers)
    for one in destinations:
        left_out = ", ".join(f"{what} ({count:,})" for what, count in (one.get("left_out") or {}).items())
        said = one.get("error") or (f"left out: {left_out}" if left_out else None)
        cells = [terminal.literal(one.get(name)) for name in ("name", "node", *numbers, "state")]
        listed.add_row(*cells, terminal.literal(said))
    return listed


def _print_file_systems(console: Console, found: list[examine.FileSystem]) -> None:
    listed = terminal.table("file system", "path", "type", "free", numbers=("free",))
    for one in found:
        listed.add_row(one.what, terminal.literal(one.path), one.kind, terminal.size(one.free_bytes))
    console.print(listed)
