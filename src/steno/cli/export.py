"""`steno export`: a copy of a run in another form."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steno import paths
from steno.cli import choosing, curves, events, options, terminal
from steno.errors import UsageError

if TYPE_CHECKING:
    from steno.store.reader import RunReader


class Form(enum.StrEnum):
    """What a run can be exported to."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    TENSORBOARD = "tensorboard"


def export(
    run: options.Run,
    *,
    to: Annotated[Form, typer.Option("--to", help="The format of the copy.")],
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="PATH", help="File, or directory for tensorboard; default: the run's name, here."
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", "-k", metavar="PATTERN", help="Only keys that match, such as 'val/*'; repeatable."),
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="Write csv with one row per point, not one per record.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Write a run's points to a file in another format.

    For tensorboard it is a directory of event files. The run stays as it is.
    """
    with choosing.opened(run, dir) as reader:
        target = Path(paths.local("--out", out or _default(reader, to)))
        keys = curves.choose(reader.keys(), key) if key else None
        left_out = 0
        if to is Form.TENSORBOARD:
            if keys is not None or long:
                raise UsageError("--key and --long choose what goes into csv, jsonl or parquet; tensorboard has all")
            points, left_out = events.write(reader, target)
        else:
            if target.exists() and not force:
                raise UsageError(f"{target} is there already; name another file with --out, or replace it with --force")
            points = reader.export(to.value, target, keys=keys, long=long)
    if json:
        more = {"left_out": left_out} if to is Form.TENSORBOARD else {}
        terminal.print_json({"path": os.path.abspath(target), "points": points, **more})
        return
    terminal.console().print(f"{points:,} points in {target}", markup=False, soft_wrap=True)
    if left_out:
        said = f"left out: {left_out:,} media values that TensorBoard has no place for, or that are not encoded"
        terminal.console().print(said, markup=False, soft_wrap=True)


def _default(reader: RunReader, to: Form) -> str:
    name = reader.info.name.replace("/", "-")
    return f"{name}-tensorboard" if to is Form.TENSORBOARD else f"{name}.{to.value}"
