"""Which engine a place belongs to: those that a URL names; everything else is files."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from steno import paths
from steno.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from steno.store.seam import ReadingEngine

SCHEMES: Final[dict[str, str]] = {"clickhouse": "steno.store.clickhouse.engine"}
"""By the scheme of a URL, the module whose `parted(url)` gives its engine and the run's `project/name`, or "".

It gives the same engine for every URL of one place, so that runs of it can be asked about together.
"""


def is_of_one(place: Any) -> bool:
    """Whether the place is an engine's and no directory or object store."""
    return paths.is_url(place) and place.partition("://")[0].lower() in SCHEMES


def parted(url: str) -> tuple[ReadingEngine, str]:
    """The engine of such a place, and the run in it that is meant; "" where it is the place itself."""
    found: tuple[ReadingEngine, str] = importlib.import_module(SCHEMES[url.partition("://")[0].lower()]).parted(url)
    return found


def only(places: Iterable[Any], what: str) -> tuple[ReadingEngine | None, list[str]]:
    """The one engine that all of them belong to, and the runs that they name in it; no engine: they are files.

    No names: all of its runs.

    Raises:
        UsageError: some belong to another one.
    """
    places = list(places)
    mine = [place for place in places if is_of_one(place)]
    if not mine:
        return None, []
    found = [parted(place) for place in mine]
    engine = found[0][0]
    if len(mine) < len(places) or any(other is not engine for other, _ in found):
        raise UsageError(f"{what} asks one engine: ask about {mine[0]!r} alone, and about the others after it")
    names = [name for _, name in found]
    return engine, [] if "" in names else names
