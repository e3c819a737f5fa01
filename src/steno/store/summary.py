"""Last, min, max and count of each key, computed when read."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from steno.ledger.schema import read_ref
from steno.store.points import table_of

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from steno.store.attempts import Choice
    from steno.store.engine import Engine
    from steno.store.unsealed import View

# Of one part; the results of several are united by UNITED, so a sealed part is read once. The last point is
# sought among those of the last step alone: comparing (step, attempt, rank, record) of all costs nine times as much.
PARTIAL = """
with chosen as (select key::varchar as key, step, attempt, rank, record, value, exact, text, ref
                from {parts} where CHOICE),
counted as materialized (
    select key, count(*) as n, min(value) filter (not isnan(value)) as lo,
        max(value) filter (not isnan(value)) as hi, max(step) as step
    from chosen group by key)
select key, any_value(n) as n, any_value(lo) as lo, any_value(hi) as hi,
    max(struct_pack(step := step, attempt := attempt, rank := rank, record := record)) as place,
    arg_max(struct_pack(value := value, exact := exact, text := text, ref := ref),
            struct_pack(step := step, attempt := attempt, rank := rank, record := record)) as top
from chosen join counted using (key, step) group by key
"""
UNITED = """
select key, sum(n)::bigint as count, min(lo) as min, max(hi) as max, arg_max(top, place) as top
from partial group by key order by key
"""


class Summary:
    """Summaries of one run's keys; those of sealed parts are kept. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._choice: Choice | None = None
        self._parts: dict[str, pa.Table | None] = {}

    def read(self, run_dir: Path, view: View, choice: Choice) -> dict[str, dict[str, Any]]:
        """By key: last (in order of step), min and max (NaN and texts aside; None without numbers), count.

        Raises:
            PartGone: a part was merged away meanwhile.
        """
        import pyarrow as pa

        partial = PARTIAL.replace("CHOICE", choice.sql())
        with self._lock:
            if choice != self._choice:
                self._choice, self._parts = choice, {}
            known = self._parts
        parts = {part.name: part for part in view.metrics}
        tables = []
        for name, part in parts.items():
            if name not in known:
                known[name] = self._engine.table(self._engine.files(run_dir, [part]), partial)
            tables.append(known[name])
        for gone in set(known) - parts.keys():
            known.pop(gone, None)
        cursor = self._engine.cursor()
        try:
            for chunk in view.chunks:
                cursor.register("chunk", table_of(chunk, list(view.ids)))
                tables.append(cursor.sql(partial.replace("{parts}", "chunk")).to_arrow_table())
            found = [table for table in tables if table is not None]
            if not found:
                return {}
            cursor.register("partial", pa.concat_tables(found))
            rows = cursor.sql(UNITED).to_arrow_table().to_pylist()
        finally:
            cursor.close()
        return {
            row["key"]: {"last": _value(row["top"]), "min": row["min"], "max": row["max"], "count": row["count"]}
            for row in rows
        }


def _value(top: dict[str, Any]) -> Any:
    """The value as it was logged, out of the columns of a part."""
    if top["exact"] is not None:
        return top["exact"]
    if top["ref"] is not None:
        return read_ref(top["ref"])
    if top["text"] is not None:
        return top["text"] if top["value"] is None else int(top["text"])
    return math.nan if top["value"] is None else top["value"]
