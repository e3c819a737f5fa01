"""The list of commands, each with its example; only the one that is called is imported."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from steno.habits import COMMANDS as OTHERS

COMMANDS: Final = {
    "demo": ("demo", "demo", "steno demo --steps 300 --workers 4"),
    "runs": ("runs", "runs", "steno runs --last 10 --columns config.lr,val/acc.max"),
    "show": ("show", "show", "steno show digits/my-run --key 'train/*' --rank 0"),
    "view": ("view", "view", "steno view runs --port 7860"),
    "compare": ("compare", "compare", "steno compare digits/first digits/second --key 'val/*'"),
    "tail": ("tail", "tail", "steno tail digits/my-run --last 5"),
    "export": ("export", "export", "steno export digits/my-run --to csv --out metrics.csv"),
    "get": ("get", "get", "steno get digits/my-run latest --to model.pt"),
    "tag": ("edit", "tag", "steno tag digits/my-run baseline --remove draft"),
    "note": ("edit", "note", "steno note digits/my-run 'diverged after step 900'"),
    "rename": ("edit", "rename", "steno rename digits/20261130-101500-warm-pine baseline"),
    "archive": ("edit", "archive", "steno archive digits/my-run"),
    "rm": ("rm", "rm", "steno rm digits/my-run"),
    "import": ("import_", "import_", "steno import old/tensorboard/logs --project digits"),
    "sync": ("sync", "sync", "steno sync runs/digits/my-run --to tensorboard"),
    "publish": ("publish", "publish", "steno publish s3://bucket/prefix --catalog sqlite:////srv/catalog.db"),
    "verify": ("verify", "verify", "steno verify s3://bucket/prefix/digits/my-run --whole"),
    "doctor": ("doctor", "doctor", "steno doctor digits/my-run"),
    "sql": ("sql", "sql", 'steno sql "select key, max(value) from metrics group by key" --run digits/my-run'),
}
"""By name: the file, the function, an example."""


class _Program(TyperGroup):
    """Answers a command of another program with ours."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As typer's."""
        if args[0] not in self.commands and args[0] in OTHERS:
            ctx.fail(f"No such command {args[0]!r}: {OTHERS[args[0]]}.")
        return super().resolve_command(ctx, args)


class _Command(TyperCommand):
    """Names arguments in the help without their Python types."""

    def get_params(self, ctx: Any) -> Any:
        """As typer's."""
        found = super().get_params(ctx)
        for one in found:
            if one.param_type_name == "argument":
                vars(one)["display_type_rich"] = _no_type
        return found


def _no_type(ctx: Any) -> None:
    """What typer's newer releases ask for the type of an argument."""


def app_for(arguments: list[str]) -> typer.Typer:
    """The program with the command that these arguments call, or with all where they call none."""
    app = typer.Typer(
        name="steno",
        cls=_Program,
        help="Records what happens in a training run without slowing the step and without losing a record.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    called = arguments[0] if arguments and arguments[0] in COMMANDS else None
    for name, (file, function, example) in COMMANDS.items():
        if called in {None, name}:
            command = getattr(import_module(f"steno.cli.{file}"), function)
            app.command(name, cls=_Command, epilog=f"Example: {example}")(command)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        import steno

        typer.echo(f"steno {steno.__version__}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
