"""The arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from steno import settings

_WHICH = "A run's directory, its project/name, its name, or the part of a name that only one run has"
Run = Annotated[str, typer.Argument(metavar="RUN", help=f"{_WHICH}.")]
Newest = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN", help=f"{_WHICH}; several may be given. Default: the newest run."),
]
Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN", help=f"{_WHICH}; several may be given.")]
Dir = Annotated[
    str | None, typer.Option("--dir", metavar="DIR", help="Where runs are kept (default: $STENO_DIR, else runs).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs; NaN and infinities as strings.")]


def runs_dir(given: str | None) -> str:
    """Where runs are kept."""
    return given or settings.read("STENO_DIR", "runs")
