"""The list of commands, each with its example."""

from __future__ import annotations

from typing import Annotated

import typer

from steno.cli import demo, doctor, export, get, import_, runs, show, sql, sync, tail

app = typer.Typer(
    name="steno",
    help="Records what happens in a training run without slowing the step and without losing a record.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        import steno

        typer.echo(f"steno {steno.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


for _name, _command, _example in (
    ("demo", demo.demo, "steno demo --steps 300 --workers 4"),
    ("runs", runs.runs, "steno runs --dir runs --json"),
    ("show", show.show, "steno show digits/my-run --key 'train/*' --rank 0"),
    ("tail", tail.tail, "steno tail digits/my-run --last 5"),
    ("export", export.export, "steno export digits/my-run --to csv --out metrics.csv"),
    ("get", get.get, "steno get digits/my-run latest --to model.pt"),
    ("import", import_.import_, "steno import old/tensorboard/logs --project digits"),
    ("sync", sync.sync, "steno sync runs/digits/my-run --to tensorboard"),
    ("doctor", doctor.doctor, "steno doctor digits/my-run"),
    ("sql", sql.sql, 'steno sql "select key, max(value) from metrics group by key" --run digits/my-run'),
):
    app.command(_name, epilog=f"Example: {_example}")(_command)
