"""A table as plain text, for the `repr` of a list."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def printed(table: Table) -> str:
    """The table in 120 columns, without colours, wherever it is asked for.

    In a notebook rich would show the table itself and leave nothing to return; with FORCE_COLOR it would write colours.
    """
    from rich.console import Console

    file = io.StringIO()
    Console(file=file, width=120, force_jupyter=False, force_terminal=False, color_system=None).print(table)
    return file.getvalue().rstrip("\n")
