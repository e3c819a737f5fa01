"""`steno sql`: DuckDB's SQL over runs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Annotated

import typer

from steno.cli import options, terminal
from steno.visible import on_one_line, visible

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_ROWS = 200


def sql(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="SQL over the tables metrics, metrics_all, records, runs, config.")
    ],
    *,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="RUN", help="Only this run; may be repeated. Default: all runs."),
    ] = None,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Query one run or many by SQL.

    The column `run` says which run a row belongs to. With --json, one object per row.

    The exit status is 1 if something that was recorded is lost or cannot be read; the answer is over what is there.
    """
    import steno
    from steno.store.runs import damaged

    place = options.runs_dir(dir)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RuntimeWarning)
        answer = _with_times_as_text(steno.sql(query, runs=run, dir=place).to_arrow_table())
    if json:
        for batch in answer.to_batches(1000):
            for row in batch.to_pylist():
                terminal.print_json(row)
    else:
        _print(answer)
    lines = [*(str(one.message) for one in said), *damaged(run, place)]
    for line in dict.fromkeys(lines):
        terminal.complain(f"steno: {on_one_line(line)}")
    if lines:
        raise typer.Exit(1)


def _with_times_as_text(answer: pa.Table) -> pa.Table:
    """Times as ISO 8601 with nanoseconds: Python's datetime would cut them, and Arrow refuses to."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for index, field in enumerate(answer.schema):
        if pa.types.is_timestamp(field.type):
            text = pc.replace_substring(answer[index].cast(pa.timestamp(field.type.unit)).cast(pa.string()), " ", "T")
            answer = answer.set_column(index, field.name, pc.binary_join_element_wise(text, "Z", ""))
    return answer


def _print(answer: pa.Table) -> None:
    from pyarrow import types

    numeric = tuple(
        field.name for field in answer.schema if types.is_integer(field.type) or types.is_floating(field.type)
    )
    listed = terminal.table(*map(visible, answer.column_names), numbers=tuple(map(visible, numeric)))
    for row in answer.slice(0, SHOWN_ROWS).to_pylist():
        listed.add_row(*(terminal.literal(value) for value in row.values()))
    terminal.console().print(listed)
    if len(answer) > SHOWN_ROWS:
        terminal.complain(f"{len(answer) - SHOWN_ROWS} more rows; --json gives all of them")
