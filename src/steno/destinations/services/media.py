"""Media values as the libraries of other services are given them: a file, or plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from steno.media import files

if TYPE_CHECKING:
    from pathlib import Path

    from steno.record import Ref

WAIT_SECS: Final = 60.0
"""How long a value that is being encoded is waited for."""


def path_of(run_dir: Path, ref: Ref) -> Path | None:
    """The encoded file; None when there is none."""
    return files.encoded(run_dir, ref, WAIT_SECS)


def text_of(run_dir: Path, ref: Ref) -> str:
    """The words of a text or a page of HTML. Raises OSError when its file is gone, UsageError when it was lost."""
    return str(files.value(run_dir, ref))


def bins_of(run_dir: Path, ref: Ref) -> tuple[list[float], list[float]]:
    """(counts, edges) of a histogram; as `text_of`."""
    value = files.value(run_dir, ref)
    return [float(count) for count in value["counts"]], [float(edge) for edge in value["edges"]]


def table_of(run_dir: Path, ref: Ref) -> tuple[list[str], list[list[Any]]]:
    """(columns, rows) of a table; as `text_of`."""
    table = files.value(run_dir, ref)
    columns = [column.to_pylist() for column in table.columns]
    return list(table.column_names), [list(row) for row in zip(*columns, strict=True)]
