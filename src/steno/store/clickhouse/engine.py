"""A ClickHouse database as a place with runs: the seam's `ReadingEngine`."""

from __future__ import annotations

import threading

from steno.clickhouse import place as places
from steno.store.clickhouse.curves import DatabaseCurves
from steno.store.clickhouse.database import Database
from steno.store.clickhouse.run import DatabaseRun


def parted(url: str) -> tuple[DatabaseEngine, str]:
    """The engine of such a URL, the same for all of one database, and the run `project/name` in it, "" without one.

    Raises:
        UsageError: it is none.
    """
    place, run = places.parted(url)
    with _lock:
        return _known.setdefault(place.url, DatabaseEngine(place)), run


class DatabaseEngine(Database):
    """See `seam.ReadingEngine`."""

    def run(self, name: str) -> DatabaseRun:
        """See `ReadingEngine`."""
        return DatabaseRun(self, self.card(name))

    def curves(self) -> DatabaseCurves:
        """See `ReadingEngine`."""
        return DatabaseCurves(self)


_lock = threading.Lock()
_known: dict[str, DatabaseEngine] = {}
