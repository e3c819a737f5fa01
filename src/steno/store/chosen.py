"""The points of some keys of a run, from its parts and from what is not sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from steno.store import part_rows
from steno.store.part_rows import POINT_COLUMNS
from steno.store.points import concat, of_arrow

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from steno.ledger.snapshot import Part
    from steno.store.attempts import Choice
    from steno.store.engine import Engine
    from steno.store.points import Points
    from steno.store.unsealed import RunView

COLUMNS: Final = {
    name: f"epoch_ns({name}) as {name}" if name == "time" else name
    for name in ("node", "record", "step", "time", "rank", "attempt", "value", "exact", "text", "ref")
}
"""What is read of a part, as SQL."""
_SINGLY: Final = 16
"""So many keys are asked for one by one, where only what holds them is read; more are cheaper all together."""


def read_points(
    engine: Engine,
    run_dir: Path,
    view: RunView,
    keys: Sequence[str],
    choice: Choice,
    *,
    without: Collection[str] = (),
) -> list[Points]:
    """The chosen points of each key, in no order; `without`: columns that nobody asks for, which are then 0.

    Raises:
        PartGone: a part was merged away meanwhile.
    """
    columns = ", ".join(sql for name, sql in COLUMNS.items() if name not in without)
    found: list[list[Points]] = [[] for _ in keys]
    if len(keys) <= _SINGLY:
        wanted = [name for name in POINT_COLUMNS if name not in without]
        left: list[Part] = []
        for part in engine.near(run_dir, view.metrics, keys, (choice.first, choice.last)):
            some = part_rows.points(engine, run_dir, part, keys, choice, wanted)
            if some is None:
                left.append(part)
            for number, points in (some or {}).items():
                found[number].append(points)
        for pieces, key in zip(found, keys, strict=True):
            query = f"select {columns} from {{parts}} where key = ? and {choice.sql()}"
            table = engine.table(engine.files(run_dir, left, [key]), query, [key]) if left else None
            if table is not None and len(table):
                pieces.append(of_arrow(table))
    else:
        marks = ", ".join("?" * len(keys))
        query = f"select key, {columns} from {{parts}} where key in ({marks}) and {choice.sql()}"
        table = engine.table(engine.files(run_dir, view.metrics), query, list(keys))
        if table is not None and len(table):
            _share(found, of_arrow(table, {key: number for number, key in enumerate(keys)}))
    for pieces, key in zip(found, keys, strict=True):
        if key in view.ids:
            pieces.extend(_unsealed(view, view.ids[key], choice))
    return [concat(pieces) for pieces in found]


def _share(found: list[list[Points]], points: Points) -> None:
    """Give each key its own; `Points.key` is its place."""
    import numpy as np

    order = np.argsort(points.key, kind="stable")
    ends = np.searchsorted(points.key[order], np.arange(len(found) + 1))
    for pieces, low, high in zip(found, ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        if low < high:
            pieces.append(points.take(order[low:high]))


def _unsealed(view: RunView, number: int, choice: Choice) -> list[Points]:
    pieces = []
    for chunk in view.chunks:
        some = chunk.of(number)
        if some is None:
            continue
        mask = choice.mask(some)
        pieces.append(some if mask is None else some.take(mask))
    return pieces
