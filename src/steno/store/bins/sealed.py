"""The points of some keys out of one part, as curves take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from steno.ledger.arrow_columns import to_numpy, valid_rows
from steno.record import Ref
from steno.store.bins.rows import Rows
from steno.store.points import is_in_micros

if TYPE_CHECKING:
    from steno.store.part_rows import KeyRows
    from steno.store.points import Points

COLUMNS: Final = ("step", "record", "time", "rank", "attempt", "value")
_KINDS: Final = {"step": "int64", "record": "int64", "time": "int64", "rank": "int32", "attempt": "int32"}


def by_key(found: KeyRows, node: int) -> dict[int, Rows]:
    """By position in the keys its rows, of a table with `COLUMNS`; x is the step."""
    import numpy as np

    every = _rows(found, node)
    if len(found.spans) == 1:
        return dict.fromkeys(found.spans, every)
    # Copies: what is kept of a key would hold the rows of all others too.
    return {
        key: every.take(np.concatenate([np.arange(span.start, span.stop) for span in spans]))
        for key, spans in found.spans.items()
    }


def _rows(found: KeyRows, node: int) -> Rows:
    import numpy as np

    table, count = found.table, len(found.table)
    columns: dict[str, Any] = {
        name: np.full(count, found.same[name], kind) if name in found.same else to_numpy(table[name], kind)
        for name, kind in _KINDS.items()
    }
    if is_in_micros(table["time"]):
        columns["time"] = columns["time"] * 1000
    value = table["value"]
    other = np.zeros(count, bool)
    if value.null_count:
        other[:] = True
        other[valid_rows(value)] = False
    return Rows(
        series=np.zeros(count, np.int32),
        x=columns["step"],
        node=np.full(count, node, np.int64),
        value=to_numpy(value, "float64"),
        other=other,
        **columns,
    )


def rows_of(points: Points) -> Rows:
    """Points that were read otherwise."""
    import numpy as np

    count = len(points)
    other = np.zeros(count, bool)
    other[[row for row, value in points.special.items() if isinstance(value, str | Ref)]] = True
    return Rows(
        series=np.zeros(count, np.int32),
        x=points.step,
        step=points.step,
        time=points.time,
        rank=points.rank,
        attempt=points.attempt,
        node=points.node.astype(np.int64),
        record=points.record,
        value=points.value,
        other=other,
    )
