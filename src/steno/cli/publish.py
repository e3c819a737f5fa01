"""`steno publish`: makes the runs of a store known to engines that teams run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno.cli import options, terminal
from steno.errors import UsageError
from steno.visible import on_one_line

if TYPE_CHECKING:
    from steno.store.stock import Stock


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
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="A ClickHouse database: clickhouse://user@host:port/database."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take files that are gone from the store out of the tables.")
    ] = False,
    cards: Annotated[
        bool, typer.Option("--cards", help="Rebuild the cards by which lists find the store's runs.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Make a store's runs known to Iceberg or ClickHouse.

    Its parts go to an Iceberg catalogue, or their rows to ClickHouse; --cards rebuilds steno's own lists.

    It may run at any time, several times in parallel, and may be killed: each row is in the tables once. The exit
    status is 1 if a run could not be read, or if a catalogue's table names files that are gone.
    """
    from steno.store.stock import stock_of

    if [catalog is not None, to is not None, cards].count(True) != 1:
        raise UsageError(
            "say what to make: --catalog sqlite:////srv/catalog.db, an Iceberg catalogue's tables, "
            "--to clickhouse://user@host:8123/database, or --cards, which the store's lists read"
        )
    if catalog is None and (repair or warehouse is not None):
        raise UsageError("--repair and --warehouse are about a catalogue: name one with --catalog")
    if cards:
        _card(stock_of(store), json=json)
    elif to is not None:
        _insert(stock_of(store), to, json=json)
    else:
        _enter(stock_of(store), str(catalog), warehouse, repair=repair, json=json)


def _card(stock: Stock, *, json: bool) -> None:
    from steno.publish.cards import publish as make

    done = make(stock)
    said = {"runs": done.runs, "made": done.made, "removed": done.removed, "left_out": done.left_out}
    text = f"{done.runs:,} runs have cards; {done.made:,} are new, {done.removed:,} are taken out"
    _end(said, text, done.left_out, json=json)


def _insert(stock: Stock, to: str, *, json: bool) -> None:
    from steno.clickhouse.place import place_of
    from steno.publish.clickhouse import publish as insert

    done = insert(stock, place_of(to, "--to"))
    said = {"runs": done.runs, "parts": done.parts, "rows": done.rows, "left_out": done.left_out}
    text = f"{done.runs:,} runs are published; {done.parts:,} parts with {done.rows:,} rows are new"
    _end(said, text, done.left_out, json=json)


def _enter(stock: Stock, catalog: str, warehouse: str | None, *, repair: bool, json: bool) -> None:
    import logging

    from steno.publish.iceberg import publish as enter

    logging.getLogger("pyiceberg").setLevel(logging.ERROR)  # it warns of each column without statistics
    done = enter(stock, catalog, warehouse, repair=repair)
    if json:
        facts = {"runs": done.runs, "entered": done.entered, "removed": done.removed, "lost": list(done.lost)}
        terminal.print_json({**facts, "left_out": done.left_out})
    else:
        terminal.say(
            f"{done.runs:,} runs are published; {done.entered:,} parts are new, {done.removed:,} are taken out"
        )
    _left_out(done.left_out, json=json)
    if done.lost and not json:
        few = ", ".join(map(on_one_line, done.lost[:3])) + (" …" if len(done.lost) > 3 else "")
        terminal.complain(f"steno: the tables name {len(done.lost):,} files that are gone: {few}; see --repair")
    if done.left_out or done.lost:
        raise typer.Exit(1)


def _end(said: dict[str, Any], text: str, left_out: dict[str, str], *, json: bool) -> None:
    """Say what was done, and what was left out: then it has not all been done."""
    if json:
        terminal.print_json(said)
    else:
        terminal.say(text)
    _left_out(left_out, json=json)
    if left_out:
        raise typer.Exit(1)


def _left_out(left_out: dict[str, str], *, json: bool) -> None:
    for place, why in () if json else left_out.items():
        terminal.complain(f"steno: {on_one_line(place)} is left out: {on_one_line(why)}")
