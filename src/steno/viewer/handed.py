"""A view written into a file from the command line, without a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from steno import files, paths
from steno.errors import StenoError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from steno.viewer.fitting import ExportProgress


def hand_on(
    place: str,
    target: str,
    *,
    where: str | None,
    view: str | None,
    on_progress: Callable[[ExportProgress], None] | None = None,
) -> tuple[int, list[str]]:
    """Write a view of the runs of a place; returns (the file's bytes, the keys that found no room).

    Args:
        place: where the runs are: a directory, or the URL of an object store or a database.
        target: the file; one that is there is replaced, whole or not at all.
        where: only the runs that match.
        view: the name of a kept view; None: all runs.
        on_progress: called each time it is further.

    Raises:
        UsageError: packages are missing, there is no such view, no run matches, or nothing fits into a file.
        StenoError: the file cannot be written.
    """
    try:
        from steno.viewer.catalogues import catalogue_of
        from steno.viewer.chart import Charts
        from steno.viewer.export import Export
        from steno.viewer.run import OneRun
        from steno.viewer.runs import Runs
        from steno.viewer.stall import Stall
    except ImportError as error:
        if error.name is None or error.name.startswith("steno"):
            raise
        raise UsageError(f"a file needs what the viewer needs: pip install 'stenolog[view]' ({error.name})") from None
    from steno.viewer.kept import KeptViews

    root = place if paths.is_url(place) else Path(paths.absolute("dir", place))
    text = "runs=all" if view is None else KeptViews(root).get(view).view
    if where is not None:
        text = f"{urlencode({'where': where})}&{text}"  # the first of a name counts
    catalogue = catalogue_of(root)
    try:
        export = Export(catalogue, Runs(catalogue, Stall(catalogue)), OneRun(catalogue), Charts(catalogue))
        made, left_out = export.file(text, title=view, on_progress=on_progress)
    finally:
        catalogue.close()
    path = Path(os.path.expanduser(target))
    try:
        files.replace(path, made)
    except OSError as error:
        raise StenoError(f"{target} was not written: {error.strerror or error}") from error
    return len(made), left_out
