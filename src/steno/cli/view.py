"""`steno view`: the runs of a place, in a browser."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from steno import paths
from steno.cli import options, terminal
from steno.errors import UsageError
from steno.visible import visible


def view(
    dir: Annotated[
        str | None,
        typer.Argument(metavar="DIR", help="A directory of runs, or a URL (default: $STENO_DIR, else runs)."),
    ] = None,
    *,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", help="The port; by default the first free one from 7860 on.")
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    token: Annotated[
        bool, typer.Option("--token/--no-token", help="Ask for a token; --no-token works only on this machine.")
    ] = True,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", metavar="NAME", help="With --no-token: a further host name to answer to; repeatable."
        ),
    ] = None,
    allow_edit: Annotated[
        bool, typer.Option("--allow-edit", help="Let the page change names, tags, notes and colours.")
    ] = False,
    export: Annotated[
        str | None, typer.Option("--export", metavar="FILE", help="Write one HTML file of at most 20 MB, and exit.")
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="QUERY", help="With --export: only runs that match.")
    ] = None,
    view_name: Annotated[
        str | None, typer.Option("--view", metavar="NAME", help="With --export: a view that was saved in the page.")
    ] = None,
) -> None:
    """Show the runs of a directory or a URL in a browser.

    The URL is an object store's or a database's. Ctrl-C stops the viewer.

    With --export, write the table and the charts into one HTML file instead, to be opened without steno.
    """
    from steno.viewer.serve import Options, serve

    given = options.runs_dir(dir)
    place = given if paths.is_url(given) else paths.local("DIR", given)
    if export is not None:
        _export(place, export, where, view_name)
        return
    if where is not None or view_name is not None:
        raise UsageError("--where and --view choose what --export writes: give --export FILE, or leave them out")
    serve(
        Options(
            place, host, port, browser=browser, token=token, allow_hosts=tuple(allow_host or ()), allow_edit=allow_edit
        ),
        lambda address, url: announce(place, address, url),
    )


def _export(place: str, target: str, where: str | None, name: str | None) -> None:
    """Write the file, and say what it has."""
    from steno.viewer.handed import hand_on

    with terminal.progress("charts") as show:
        size, left_out = hand_on(place, target, where=where, view=name, on_progress=lambda now: show(now.done, now.of))
    terminal.say(f"wrote {visible(target)}: {size / 1e6:.1f} MB")
    if left_out:
        more = f" and {len(left_out) - 5:,} more" if len(left_out) > 5 else ""
        terminal.say(visible(f"left out, for want of room: {', '.join(left_out[:5])}{more}"))


def announce(place: str, address: str, url: str | None) -> None:
    """Say where it is. The token is shown to a person at a terminal and to nothing that keeps a log."""
    shown = url if url is not None and sys.stdout.isatty() else address
    terminal.say(f"steno shows the runs under {place} at {shown}")
    if url is not None and shown == address:
        from steno.viewer.token import place as token_place

        terminal.say(f"the token it asks for is in {token_place()}")
    terminal.say("Ctrl-C ends it")
    sys.stdout.flush()
