"""Which keys and runs a query can have points of, by what DuckDB's own plan of it says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

_LITERAL: Final = r"'(?:[^']|'')*'"
_EQUAL: Final = re.compile(rf"\((key|run) = ({_LITERAL})\)")
_AMONG: Final = re.compile(rf"optional: \((key|run) IN \(({_LITERAL}(?:, {_LITERAL})*)\)\)")
_POINTS: Final = "steno_points_asked_for"
_EXTREMES: Final = {
    "VARCHAR": ("''", "repeat('\U0010ffff', 64)"),
    "BIGINT": (str(-(2**62)), str(2**62)),
    "INTEGER": (str(-(2**30)), str(2**30)),
    "DOUBLE": ("'-inf'", "'nan'"),
    "TIMESTAMP_NS": ("'1700-01-01'", "'2200-01-01'"),
}


@dataclass(frozen=True, slots=True)
class QueryScope:
    """What a query asks for; None: anything."""

    keys: frozenset[str] | None = None
    runs: frozenset[str] | None = None


ANYTHING: Final = QueryScope()


def asked(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    values: Sequence[Any] | None,
    points: str,
    others: Mapping[str, str],
) -> QueryScope:
    """The keys and runs without which the query has the same result.

    Args:
        connection: of its own, in which tables are made.
        query: the user's.
        values: of its parameters.
        points: an empty select with the columns of the points, of strings, integers, floats and times.
        others: by name, empty selects of the other tables.

    The plan is that of a table with the smallest and the largest value of each type, and null, so that an optimizer
    can conclude nothing from what is in it. What is not understood asks for anything.
    """
    import duckdb

    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            return ANYTHING  # more than a question: it must not be run for its plan
        connection.execute(f"create temp table {_POINTS} as {points}")
        kinds = [row[1] for row in connection.execute(f"describe {_POINTS}").fetchall()]
        rows = [", ".join(_EXTREMES[kind][end] for kind in kinds) for end in (0, 1)]
        rows.append(", ".join(["null"] * len(kinds)))
        connection.execute(f"insert into {_POINTS} values ({'), ('.join(rows)})")
        for name in ("metrics", "metrics_all"):
            connection.execute(f"create temp view {name} as select * from {_POINTS}")
        for name, select in others.items():
            table = connection.sql(select).to_arrow_table()
            connection.register(f"{name}_asked_for", table)  # of such a table nothing is known beforehand
            connection.execute(f"create temp view {name} as select * from {name}_asked_for")
        plan = connection.execute(f"explain (format json) {query}", values).fetchall()[0][1]
        nodes = list(_nodes(json.loads(plan)))
    except (duckdb.Error, ValueError, LookupError, TypeError, AttributeError):
        return ANYTHING
    scans = [facts for name, facts in nodes if str(facts.get("Table", "")).endswith(_POINTS)]
    if not scans or any("EMPTY" in name for name, _ in nodes) or plan.count(_POINTS) != len(scans):
        return ANYTHING
    found = [_limits(facts.get("Filters")) for facts in scans]
    return QueryScope(*(_united([limits.get(column) for limits in found]) for column in ("key", "run")))


def _nodes(plan: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for node in plan if isinstance(plan, list) else [plan]:
        yield str(node["name"]), node.get("extra_info") or {}
        yield from _nodes(node.get("children") or [])


def _limits(filters: object) -> dict[str, frozenset[str]]:
    """By column the values that a scan is limited to. Each filter holds, so the smallest set does."""
    found: dict[str, frozenset[str]] = {}
    for one in filters if isinstance(filters, list) else [filters]:
        match = _EQUAL.fullmatch(str(one)) or _AMONG.fullmatch(str(one))
        if match:
            values = frozenset(text[1:-1].replace("''", "'") for text in re.findall(_LITERAL, match[2]))
            found[match[1]] = min(found.get(match[1], values), values, key=len)
    return found


def _united(limits: list[frozenset[str] | None]) -> frozenset[str] | None:
    united: set[str] = set()
    for one in limits:
        if one is None:
            return None
        united |= one
    return frozenset(united)
