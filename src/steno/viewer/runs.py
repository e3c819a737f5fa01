"""`api/runs` and `api/columns`: the table of runs, chosen and sorted here."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool

from steno.store.listing import RunSelection
from steno.store.where import MISSING, name_of
from steno.viewer import answers, asked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from steno.store.run_summary import RunSummary
    from steno.viewer.catalogue import Catalogue
    from steno.viewer.stall import Stall

_MOST_ROWS: Final = 1000
_MOST_COLUMNS: Final = 200
_MOST_NAMES: Final = 10_000


class Runs:
    """The resources of the table."""

    def __init__(self, catalogue: Catalogue, stall: Stall) -> None:
        self._catalogue = catalogue
        self._stall = stall

    async def runs(self, request: Request) -> Response:
        """`api/runs`."""
        given = asked.of_query(request, "columns", "ids") if request.method == "GET" else await asked.body(request)
        return answers.data(await run_in_threadpool(self.rows, given))

    def rows(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What `api/runs` answers."""
        where, sort = asked.text(given, "where"), asked.text(given, "sort")
        columns = asked.texts(given, "columns", _MOST_COLUMNS) or []
        names = [name_of(column) for column in columns]
        offset = asked.whole(given, "offset", 0, 0, 2**53)
        limit = asked.whole(given, "limit", 100, 0, _MOST_ROWS)
        ids, archived = asked.texts(given, "ids"), asked.yes(given, "archived")
        ask = RunSelection(where, sort)
        every = self._catalogue.listed()
        nth = {one.path: len(every) - 1 - at for at, one in enumerate(every)}  # the newest comes first
        found = every if archived else [one for one in every if not one.archived]
        if ids is not None:
            wanted = set(ids)
            found = [one for one in found if self._catalogue.id_of(one.path) in wanted]
        found = ask.of(found)
        return {
            "all": len(every),
            "total": len(found),
            "offset": offset,
            "columns": columns,
            "store": self._catalogue.standing(),
            "rows": [{**self._row(one, names), "nth": nth.get(one.path)} for one in found[offset : offset + limit]],
        }

    def _row(self, one: RunSummary, names: list[str]) -> dict[str, Any]:
        return {
            "run": self._catalogue.id_of(one.path),
            "project": one.project,
            "name": one.name,
            "state": one.state,
            "started": answers.moment(one.started),
            "stalled": self._stall.judge(one),
            "gone": self._stall.is_gone(one),
            "archived": one.archived,
            "colour": one.colour or None,
            "problem": one.problem,
            "values": [_cell(one, name) for name in names],
        }

    async def columns(self, request: Request) -> Response:
        """`api/columns`."""
        given = asked.of_query(request)
        match = (asked.text(given, "match") or "").casefold()
        limit = asked.whole(given, "limit", _MOST_NAMES, 0, _MOST_NAMES)
        return answers.data(await run_in_threadpool(self._names, match, limit))

    def _names(self, match: str, limit: int) -> dict[str, Any]:
        names: dict[str, set[str]] = {"config": set(), "summary": set(), "metrics": set()}
        for one in self._catalogue.listed():
            names["config"].update(_flat(one.config))
            names["summary"].update(map(str, one.summary))
            names["metrics"].update(_metrics(one))
        chosen = {kind: sorted(name for name in found if match in name.casefold()) for kind, found in names.items()}
        left_out = sum(max(len(found) - limit, 0) for found in chosen.values())
        return {**{kind: found[:limit] for kind, found in chosen.items()}, "left_out": left_out}


def _metrics(one: RunSummary) -> Iterable[str]:
    try:
        return one.metrics.keys()
    except Exception:  # a damaged run costs its own names alone
        return ()


def _cell(one: RunSummary, name: str) -> Any:
    try:
        found = one.value(name)
    except Exception:  # a damaged run is still a row
        return None
    if found is MISSING:
        return None
    if isinstance(found, dt.datetime):
        return answers.moment(int(found.timestamp() * 1e6) * 1000)
    return found


def _flat(values: Mapping[str, Any], prefix: str = "", depth: int = 8) -> Iterable[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value and depth:
            yield from _flat(value, f"{prefix}{name}.", depth - 1)
        else:
            yield f"{prefix}{name}"
