"""The arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from steno import settings

Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run's directory, its project/name, or its name if only one run has it."),
]
Dir = Annotated[str | None, typer.Option("--dir", help="Where runs are kept (default: $STENO_DIR, else runs).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs; NaN and infinities as strings.")]


def runs_dir(given: str | None) -> str:
    """Where runs are kept."""
    return given or settings.read("STENO_DIR", "runs")
