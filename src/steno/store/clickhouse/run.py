"""One run in a ClickHouse database: the seam's `EngineRun`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from steno.store import points as points_
from steno.store.clickhouse.summaries import summaries
from steno.store.info import Info
from steno.store.records import entries_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from steno.record import Entry
    from steno.store.attempts import Attempt, Choose
    from steno.store.clickhouse.database import Database, ListedDatabaseRun
    from steno.store.points import Points
    from steno.store.series import Series

_FRESH_SECS: Final = 1.0
OF_POINTS: Final = (
    "toString(key) as key, node, record, step, toUnixTimestamp64Micro(time) * 1000 as time, rank, attempt, value, "
    "exact, text, ref"
)
"""Columns as `points.of_arrow` takes them."""
_OF_RUN: Final = "project = {project:String} and run = {run:String}"


class DatabaseRun:
    """See `seam.EngineRun`."""

    def __init__(self, database: Database, card: ListedDatabaseRun) -> None:
        self._database, self._card = database, card
        self._fresh_until = time.monotonic() + _FRESH_SECS
        self.dir: Path = card.path
        self.url: str | None = card.url

    def close(self) -> None:
        """See `EngineRun`."""

    def _now(self) -> ListedDatabaseRun:
        """What is known of the run, at most a second ago."""
        if time.monotonic() > self._fresh_until:
            self._card = self._database.card(f"{self._card.project}/{self._card.name}")
            self._fresh_until = time.monotonic() + _FRESH_SECS
        return self._card

    def _rows(self, query: str, **values: Any) -> pa.Table:
        return self._database.rows(query, {"project": self._card.project, "run": self._card.id, **values})

    def attempts(self) -> tuple[Attempt, ...]:
        """See `EngineRun`."""
        return self._now().all_attempts

    def state(self) -> str:
        """See `EngineRun`."""
        return self._now().state

    def info(self) -> Info:
        """See `EngineRun`."""
        card = self._now()
        ranks = self._rows(f"select distinct rank from {{db}}.points where {_OF_RUN} order by rank")
        return Info(
            dir=self.dir,
            name=card.name,
            project=card.project,
            id=card.id,
            state=card.state,
            config=card.config,
            summary=card.summary,
            attempts=card.all_attempts,
            ranks=tuple(ranks["rank"].to_pylist()),
            started=card.started,
            ended=card.ended,
            tags=card.tags,
            notes=card.notes,
            archived=card.archived,
            colour=card.colour,
            group=card.group,
            records=card.records,
            points=card.points,
        )

    def keys(self) -> list[str]:
        """See `EngineRun`."""
        found = self._rows(f"select distinct toString(key) as key from {{db}}.points where {_OF_RUN}")
        return sorted(found["key"].to_pylist())

    def summary(self) -> dict[str, dict[str, Any]]:
        """See `EngineRun`."""
        card = self._now()
        found = summaries(self._database, [card])[card.project, card.id]
        return {key: dict(about) for key, about in found.items()}

    def points(self, keys: Sequence[str], choose: Choose, without: Sequence[str] = ()) -> list[Points]:
        """See `EngineRun`."""
        del without  # a column costs little here
        choice = choose(self.attempts())
        query = (
            f"select {OF_POINTS} from {{db}}.points final where {_OF_RUN} and key in {{keys:Array(String)}} "
            f"and {choice.sql()}"
        )
        ids = {key: number for number, key in enumerate(keys)}
        found = points_.of_arrow(self._rows(query, keys=list(keys)), ids)
        return [found.take(found.key == number) for number in range(len(keys))]

    def few(self, key: str, points: int, choose: Choose) -> Series | None:
        """See `EngineRun`."""
        del key, points, choose
        return None  # all of them are read

    def entries(self, kind: str | None, last: int | None) -> list[Entry]:
        """See `EngineRun`."""
        of_kind = "" if kind is None else " and kind = {kind:String}"
        most = "" if last is None else f" limit {int(last)}"
        query = (
            "select node, record, toUnixTimestamp64Micro(time) * 1000 as time, step, rank, attempt, "
            f"toString(kind) as kind, payload from {{db}}.entries final where {_OF_RUN}{of_kind} "
            f"order by node desc, record desc{most}"
        )
        return entries_of(self._rows(query, kind=kind or ""))[::-1]

    def sql(self, query: str, values: Sequence[Any] | None) -> pa.Table:
        """See `EngineRun`."""
        return self._database.sql(query, values, [f"{self._card.project}/{self._card.name}"])
