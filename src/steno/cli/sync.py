"""`steno sync`: post and deliver what runs left behind."""

from __future__ import annotations

import dataclasses
import shlex
from json import loads as json_of
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno import host
from steno.cli import choosing, options, terminal
from steno.destinations import asked
from steno.errors import CorruptError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from steno.catchup import SyncReport

Run = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="A run's directory, its project/name, its name, or a part of it; or --all."),
]


def sync(
    run: Run = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Sync each run that has something left.")] = False,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="DESTINATION", help="Also deliver to this destination, from the first record on."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="KEY=VALUE", help="An option for the destination of --to, such as mode=offline."
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="URL", help="Also keep the run in this object store, such as s3://bucket/prefix."
        ),
    ] = None,
    confirm: Annotated[
        list[str] | None,
        typer.Option(
            "--confirm", metavar="PLACE", help="Allow this store or service, which only the run itself names."
        ),
    ] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Post the journals of other machines now, as if those were dead.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECS", min=0, help="Give up on a run after this many seconds.")
    ] = None,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Post and deliver what a run, or each run, left behind.

    Journals are posted; destinations and object stores get what they lack. The exit status is 1 if something is left.
    """
    if (run is None) != all_:
        raise UsageError("name one run, or give --all for each run that has something left")
    if all_ and confirm:
        raise UsageError("--confirm is about one run, which names the place itself: name the run")
    wanted = _with_options(to or [], option or [])
    if run is not None:
        places = [choosing.place(run, dir)]
    else:
        places = _owing(options.runs_dir(dir), everything=bool(to or store))
        if not places and not json:
            terminal.say("no run has anything left")
    complete = True
    for place in places:
        try:
            complete &= _one(place, adopt=adopt, json=json, to=wanted, timeout=timeout, store=store, confirm=confirm)
        except (UsageError, CorruptError) as error:
            if run is not None:
                raise
            terminal.complain(f"steno: {place}: {error}")
            complete = False
    if not complete:
        raise typer.Exit(1)


def _owing(place: str, *, everything: bool) -> list[Path]:
    """The runs with something left, or all that nobody records where something is to be added."""
    from steno.catchup import is_incomplete
    from steno.store.runs import place_of, run_dirs

    return [
        one for one in run_dirs(place_of(place)) if (everything and (one / ".steno").is_dir()) or is_incomplete(one)
    ]


def _one(place: Path, *, adopt: bool, json: bool, **more: Any) -> bool:
    import steno

    with steno.open(place) as reader:
        there = [one.host for one in reader.info.unposted if one.is_reachable and one.host != host.name()]
        if there and not adopt and not json:
            terminal.complain(
                f"journals of {', '.join(sorted(set(there)))} are not posted: for at most "
                f"{steno.Settings().adopt_secs:g} s steno watches whether they are still written; --adopt does not wait"
            )
        report = steno.sync(reader.dir, adopt=adopt, **more)
        points = reader.info.points
    if json:
        unposted = [{**dataclasses.asdict(one), "time": terminal.iso(one.time)} for one in report.unposted]
        facts = {**dataclasses.asdict(report), "unposted": unposted}
        terminal.print_json({"dir": str(place), **facts, "points": points})
    else:
        _report(place, report, points)
    return report.complete


def _report(place: Path, report: SyncReport, points: int) -> None:
    terminal.say(f"{points:,} points are posted in {place}")
    for name, health in report.destinations.items():
        rest = f": {health['error']}" if name in report.lacking and health.get("error") else ""
        terminal.say(f"{name} is {'behind' if name in report.lacking else 'complete'}{rest}")
    if report.uploads:
        terminal.say(terminal.uploads(report.uploads))
    for unconfirmed in report.unconfirmed:
        terminal.say(asked.line(place, unconfirmed))
    for one in report.unposted:
        terminal.say(str(one))
    if report.error:
        terminal.say(report.error)
    if not report.complete:
        terminal.say(f"something is left; steno doctor {shlex.quote(str(place))} says more")


def _with_options(to: list[str], given: list[str]) -> list[str | tuple[str, dict[str, Any]]]:
    """The destinations; a single one with its options, whose values are JSON where they can be."""
    if given and len(to) != 1:
        raise UsageError("--option belongs to one destination: give one --to with it, and sync again for another")
    options: dict[str, Any] = {}
    for pair in given:
        key, separator, value = pair.partition("=")
        if not (key and separator):
            raise UsageError(f"--option {pair!r} is not KEY=VALUE, such as mode=offline")
        try:
            options[key] = json_of(value)
        except ValueError:
            options[key] = value
    return [(to[0], options)] if options else list(to)
