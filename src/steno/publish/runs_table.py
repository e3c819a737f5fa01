"""The rows of the table `runs`, one for each run of a store, replaced by projects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from steno.publish.catalogue import RUNS
from steno.publish.entering import changed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from steno.store.run_summary import RunSummary

Row = dict[str, Any]


def row_of(summary: RunSummary, place: str, mark: str) -> Row:
    """A run's row; times in whole microseconds since 1970."""
    return {
        "project": summary.project,
        "run": summary.id,
        "name": summary.name,
        "place": place,
        "state": summary.state,
        "notes": summary.notes,
        "group": summary.group,
        "tags": _json(list(summary.tags)),
        "started": None if summary.started is None else summary.started // 1000,
        "ended": None if summary.ended is None else summary.ended // 1000,
        "records": summary.records,
        "points": summary.points,
        "attempts": summary.attempts,
        "archived": summary.archived,
        "config": _json(summary.config),
        "summary": _json(summary.summary),
        "mark": mark,
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str)


def rows_in(table: Any) -> dict[str, Row]:
    """What the table says now, by place."""
    import pyarrow as pa

    found = table.scan().to_arrow()
    for name in ("started", "ended"):
        at = found.column_names.index(name)
        found = found.set_column(at, name, found[name].cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
    return {row["place"]: row for row in found.to_pylist()}


def replace(load: Callable[[], Any], rows: Mapping[str, Row]) -> int:
    """Have these rows in the table and no others; how many projects were written anew.

    Raises:
        StenoError: the table could not be changed for minutes.
    """
    return changed(lambda: _once(load(), rows))


def _once(table: Any, rows: Mapping[str, Row]) -> int:
    from pyiceberg.expressions import In

    there, now = _by_project(rows_in(table)), _by_project(rows)
    other = sorted(project for project in {*there, *now} if there.get(project) != now.get(project))
    if not other:
        return 0
    data = _table([row for project in other for row in now.get(project, {}).values()])
    with table.transaction() as transaction:
        if there.keys() & set(other):
            transaction.delete(In("project", [project for project in other if project in there]))
        if len(data):
            transaction.append(data)
    return len(other)


def _by_project(rows: Mapping[str, Row]) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for place, row in rows.items():
        found.setdefault(row["project"], {})[place] = row
    return found


def _table(rows: list[Row]) -> Any:
    import pyarrow as pa

    kinds = {"string": pa.string(), "int64": pa.int64(), "boolean": pa.bool_(), "time": pa.timestamp("us", "UTC")}
    schema = pa.schema([pa.field(name, kinds[kind], nullable=nullable) for name, kind, nullable in RUNS])
    return pa.Table.from_pylist(rows, schema=schema)
