"""`steno publish`: makes the runs of a store known to engines that teams run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from steno.cli import options, terminal
from steno.errors import UsageError
from steno.visible import on_one_line

if TYPE_CHECKING:
    from steno.publish.iceberg import Published


def publish(
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="An object store's URL, such as s3://bucket/prefix, or a directory.")
    ],
    *,
    catalog: Annotated[
        str | None,
        typer.Option("--catalog", metavar="URI", help="An Iceberg catalogue: sqlite:////srv/catalog.db, https://host."),
    ] = None,
    warehouse: Annotated[
        str | None, typer.Option("--warehouse", metavar="NAME", help="The warehouse of a REST catalogue.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take out of the tables what is gone from the store.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Enter the parts of a store's runs into tables that other engines read; nothing is copied.

    It may be called at any time, by several at once, and be killed: each part is in the tables once. Exit status 1 if
    a run could not be read, or a table names files that are gone.
    """
    import logging

    from steno.publish.iceberg import publish as enter
    from steno.store.stock import stock_of

    logging.getLogger("pyiceberg").setLevel(logging.ERROR)  # it warns of each column without statistics
    if catalog is None:
        raise UsageError("say where to: --catalog URI for an Iceberg catalogue, such as sqlite:////srv/catalog.db")
    done = enter(stock_of(store), catalog, warehouse, repair=repair)
    _tell(done, json=json)
    if done.left_out or done.lost:
        raise typer.Exit(1)


def _tell(done: Published, *, json: bool) -> None:
    if json:
        facts = {"runs": done.runs, "entered": done.entered, "removed": done.removed, "lost": list(done.lost)}
        terminal.print_json({**facts, "left_out": done.left_out})
        return
    terminal.say(f"{done.runs:,} runs are published; {done.entered:,} parts are new, {done.removed:,} are taken out")
    for place, why in done.left_out.items():
        terminal.complain(f"steno: {on_one_line(place)} is left out: {on_one_line(why)}")
    if done.lost:
        few = ", ".join(map(on_one_line, done.lost[:3])) + (" …" if len(done.lost) > 3 else "")
        terminal.complain(f"steno: the tables name {len(done.lost):,} files that are gone: {few}; see --repair")
