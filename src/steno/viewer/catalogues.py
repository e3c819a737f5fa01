"""The catalogue of a place: of a directory, an object store or a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno.store import engines
from steno.viewer.afar import AfarCatalogue
from steno.viewer.catalogue import Catalogue
from steno.viewer.database import DatabaseCatalogue

if TYPE_CHECKING:
    from pathlib import Path


def catalogue_of(root: Path | str) -> Catalogue:
    """What lists the runs there; a text is a URL. Raises UsageError for a URL that is none."""
    if not isinstance(root, str):
        return Catalogue(root)
    return DatabaseCatalogue(root) if engines.is_of_one(root) else AfarCatalogue(root)
