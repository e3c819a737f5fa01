"""Rows on their way into a table of ClickHouse, as Arrow has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

_KINDS: Final = {"Int32": "int32", "Int64": "int64", "Float64": "float64", "String": "string", "Bool": "bool_"}

Columns = tuple[tuple[str, str, str], ...]


def schema(columns: Columns) -> pa.Schema:
    """The Arrow schema of a table's columns."""
    import pyarrow as pa

    fields = []
    for name, kind, _ in columns:
        plain = kind.removeprefix("LowCardinality(").removeprefix("Nullable(").rstrip(")")
        of = pa.timestamp("us", "UTC") if kind.startswith("DateTime64") else getattr(pa, _KINDS[plain])()
        fields.append(pa.field(name, of, nullable=kind.startswith("Nullable")))
    return pa.schema(fields)


def table(columns: Columns, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows by the names of the columns."""
    import pyarrow as pa

    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema(columns))


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | None]:
    """A configuration by the paths to its values, `a.b`; a value is its text, of all but texts its JSON."""
    found: dict[str, str | None] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value if value is None or isinstance(value, str) else json_of(value)
    return found


def json_of(value: Any) -> str:
    """JSON as the tables have it; NaN and the infinities as Python writes them."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
