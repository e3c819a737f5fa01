"""A ClickHouse database that is asked: for the rows of a query, and for the runs that it has."""

from __future__ import annotations

import json
import os
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from steno.clickhouse.connection import Connection, RefusedError
from steno.errors import RunNotFoundError, UsageError
from steno.store.attempts import Attempt
from steno.store.clickhouse.summaries import Summaries
from steno.store.run_summary import RunSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from steno.clickhouse.place import DatabaseUrl

_COLUMNS: Final = (
    "project, id, name, place, state, started, ended, records, points, attempts, `group`, tags, notes, archived, "
    "colour, config, summary"
)


class Database:
    """Threads may share it. A forked child makes its own connection.

    Args:
        place: which one.
    """

    def __init__(self, place: DatabaseUrl) -> None:
        self.place = place
        self._summaries = Summaries(self)
        self._lock = threading.Lock()
        self._connection: tuple[int, Connection] | None = None

    def rows(
        self, query: str, values: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> pa.Table:
        """A query's answer, see `Connection.rows`. Raises StenoError."""
        with self._lock:
            if self._connection is None or self._connection[0] != os.getpid():
                self._connection = (os.getpid(), Connection(self.place))
            connection = self._connection[1]
        try:
            return connection.rows(query, values, settings)
        finally:
            connection.rest()

    def runs(self, limit: int | None, *, archived: bool) -> list[ListedDatabaseRun]:
        """See `ReadingEngine`."""
        where = "" if archived else " where not archived"
        most = "" if limit is None else f" limit {int(limit)}"
        query = f"select {_COLUMNS} from {{db}}.runs_now{where} order by coalesce(started, 0) desc, project, name{most}"
        return self._listed(self.rows(query).to_pylist())

    def card(self, name: str) -> ListedDatabaseRun:
        """What is known of the run `project/name`. Raises RunNotFoundError."""
        project, _, rest = name.partition("/")
        query = (
            f"select {_COLUMNS} from {{db}}.runs_now where project = {{project:String}} and name = {{name:String}} "
            "order by coalesce(started, 0) desc limit 1"
        )
        found = self.rows(query, {"project": project, "name": rest}).to_pylist() if rest else []
        if not found:
            raise RunNotFoundError(f"there is no run {name!r} in {self.place.url}: `steno runs` lists those that are")
        return self._listed(found)[0]

    def _listed(self, rows: Sequence[Mapping[str, Any]]) -> list[ListedDatabaseRun]:
        found = [self._summary(row) for row in rows]
        ask = self._summaries.of_list(found)
        for one in found:
            one.__dict__.update(ask=ask)
        return found

    def _summary(self, row: Mapping[str, Any]) -> ListedDatabaseRun:
        url = f"{self.place.url}/{row['project']}/{row['name']}"
        attempts = json.loads(row["attempts"])
        one = ListedDatabaseRun(
            # What stands in a database becomes no path of this machine: nothing is ever below /dev/null.
            path=Path("/dev/null", quote(self.place.url, safe=""), _part(row["project"]), _part(row["name"])),
            project=row["project"],
            name=row["name"],
            id=row["id"],
            state=row["state"],
            started=row["started"],
            records=row["records"],
            points=row["points"],
            attempts=max((number for number, *_ in attempts), default=1),
            group=row["group"],
            tags=tuple(json.loads(row["tags"])),
            ended=row["ended"],
            notes=row["notes"],
            archived=row["archived"],
            colour=row["colour"],
            config=json.loads(row["config"]),
            summary=json.loads(row["summary"]),
            url=url,
        )
        known = tuple(Attempt(number, started or 0, rewind) for number, started, rewind in attempts)
        one.__dict__.update(all_attempts=known)
        return one

    def sql(self, query: str, values: Sequence[Any] | None, runs: Sequence[str]) -> pa.Table:
        """See `ReadingEngine`. The values are `{p1:Type}`, `{p2:Type}` and so on in the query."""
        settings: dict[str, Any] = {"database": self.place.database}
        if runs:
            wanted = [self.card(name) for name in runs]
            projects, ids = _texts(one.project for one in wanted), _texts(one.id for one in wanted)
            filters = {
                f"{self.place.database}.{table}": f"project in ({projects}) and run in ({ids})"
                for table in ("points", "entries", "cards")
            }
            said = ", ".join(f"{_text(table)}: {_text(condition)}" for table, condition in filters.items())
            settings["additional_table_filters"] = f"{{{said}}}"
        try:
            given = {f"p{at}": value for at, value in enumerate(values or (), 1)}
            return self.rows(query, given, settings)
        except RefusedError as error:
            raise UsageError(f"the query failed: {error}") from None


class ListedDatabaseRun(RunSummary):
    """A run in a database."""

    all_attempts: tuple[Attempt, ...]
    """What is known of each of its attempts."""
    ask: Callable[[ListedDatabaseRun], Mapping[str, Mapping[str, Any]]]

    @cached_property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """See `RunSummary`."""
        return self.__dict__["ask"](self)  # type: ignore[no-any-return]


def _part(text: str) -> str:
    """A text as one part of a path; as it is where it can be."""
    if "/" not in text and "\0" not in text and text.strip("."):
        return text
    return quote(text, safe="").replace(".", "%2E") or "%"


def _text(text: str) -> str:
    """A literal of ClickHouse."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _texts(texts: Any) -> str:
    return ", ".join(sorted({_text(text) for text in texts}))
