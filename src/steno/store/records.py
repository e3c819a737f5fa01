"""Records and entries, in the order they were numbered."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from steno.ledger.read import Reader
from steno.record import Entry, Record
from steno.store.engine import again
from steno.store.points import concat, of_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from steno.store.engine import Engine
    from steno.store.points import Points
    from steno.store.unsealed import RunView

POINT_COLUMNS = "node, record, key, step, epoch_ns(time) as time, rank, attempt, value, exact, text, ref"
GRACE_SECS = 1.0
ENTRY_COLUMNS = "node, record, epoch_ns(time) as time, step, rank, attempt, kind, payload"


def records_of(points: Points, names: Sequence[str]) -> Iterator[Record]:
    """The records that these points make up, by node and number; values in order of key.

    A value that came late and the call it belongs to are one record here.
    """
    import numpy as np

    points = points.take(np.lexsort((points.record, points.node)))
    values: list[Any] = points.value.tolist()
    for row, found in points.special.items():
        values[row] = found
    keys = [names[key] for key in points.key.tolist()]
    number, node = points.record, points.node
    if not len(number):
        return
    heads = np.flatnonzero(np.r_[True, (number[1:] != number[:-1]) | (node[1:] != node[:-1])])
    columns = (number, node, points.time, points.step, points.rank, points.attempt)
    firsts = zip(*(column[heads].tolist() for column in columns), strict=True)
    for start, end, head in zip(heads.tolist(), np.r_[heads[1:], len(number)].tolist(), firsts, strict=True):
        record, node_, time_, step, rank, attempt = head
        pairs = sorted(zip(keys[start:end], values[start:end], strict=True), key=lambda pair: pair[0])
        yield Record(record, time_, step, rank, attempt, dict(pairs), node_)


def entries_of(table: pa.Table) -> list[Entry]:
    """The entries of a table with ENTRY_COLUMNS."""
    return [
        Entry(
            row["record"],
            row["time"],
            row["step"],
            row["rank"],
            row["attempt"],
            row["kind"],
            json.loads(row["payload"]),
            row["node"],
        )
        for row in table.to_pylist()
    ]


def read_entries(
    engine: Engine, run_dir: Path, view: RunView, kind: str | None = None, last: int | None = None
) -> list[Entry]:
    """The entries of the view, by node and number: all, those of a kind, the last so many.

    Raises:
        PartGone: a part was merged away meanwhile.
    """
    where, values = ("where kind = ?", [kind]) if kind is not None else ("", [])
    limit = "" if last is None else f"order by node desc, record desc limit {max(int(last), 0)}"
    query = f"select {ENTRY_COLUMNS} from {{parts}} {where} {limit}"
    table = engine.table(engine.files(run_dir, view.entry_parts), query, values)
    found = entries_of(table) if table is not None else []
    found += [entry for entry in view.snapshot.entries if kind is None or entry.kind == kind]
    found.sort(key=lambda entry: (entry.node, entry.record))
    return found if last is None else found[max(len(found) - last, 0) :]


def newest(engine: Engine, run_dir: Path, view: RunView, count: int) -> list[Record | Entry]:
    """About the last `count` records and entries of each node, as numbered; `count` in all, by time.

    Raises:
        PartGone: a part was merged away meanwhile.
    """
    import numpy as np

    if count <= 0:
        return []
    floors: dict[int, int] = {}
    for part in view.snapshot.parts:
        floors[part.node] = max(floors.get(part.node, 0), part.last)
    for chunk in view.chunks:
        of_node, record = chunk.shared["node"], chunk.shared["record"]
        for node in np.unique(of_node).tolist():
            floors[node] = max(floors.get(node, 0), int(record[of_node == node].max()))
    for entry in view.snapshot.entries:
        floors[entry.node] = max(floors.get(entry.node, 0), entry.record)
    found: list[Record | Entry] = []
    ids = dict(view.ids)
    for node, last in floors.items():
        floor = last - count
        where = f"where record > {floor}"
        parts = [part for part in view.snapshot.parts if part.node == node and part.last > floor]
        kinds = ("metrics", "records")
        paths = {kind: engine.files(run_dir, (part for part in parts if part.kind == kind)) for kind in kinds}
        table = engine.table(paths["metrics"], f"select {POINT_COLUMNS} from {{parts}} {where}")
        pieces = [] if table is None else [of_arrow(table, ids)]
        for chunk in view.chunks:
            late = (chunk.shared["node"] == node) & (chunk.shared["record"] > floor)
            if late.any():
                pieces.append(chunk.take(late).points())
        found += records_of(concat(pieces), list(ids))
        table = engine.table(paths["records"], f"select {ENTRY_COLUMNS} from {{parts}} {where}")
        found += [] if table is None else entries_of(table)
        found += [one for one in view.snapshot.entries if one.node == node and one.record > floor]
    return sorted(found, key=lambda one: (one.time, one.node, one.record))[-count:]


def tail(
    engine: Engine,
    run_dir: Path,
    look: Callable[[], RunView],
    state: Callable[[], str],
    *,
    last: int,
    follow: bool,
    poll_secs: float,
) -> Iterator[Record | Entry]:
    """The newest records, then each new one once, until the run is over and all of it was given."""
    views: list[RunView] = []

    def begin() -> list[Record | Entry]:
        views[:] = [look()]
        return newest(engine, run_dir, views[0], last)

    yield from again(begin)
    seen = dict(views[0].snapshot.last_batch)
    quiet_since = time.monotonic()
    while follow:
        now = state()  # asked before the look, so that the last records are not missed
        reader = Reader(run_dir)  # a new one each time, see Unsealed
        snapshot = reader.snapshot(since=seen)
        fresh: list[Record | Entry] = list(snapshot.entries)
        held = {(batch.node, batch.id): batch for batch in snapshot.batches}
        for node, newest_batch in snapshot.last_batch.items():
            for id in range(seen.get(node, 0) + 1, newest_batch + 1):
                batch = held.get((node, id))
                if batch is None and (batch := reader.batch(node, id)) is None:
                    continue
                fresh += batch.records()
                fresh += batch.entries
            seen[node] = newest_batch
        yield from sorted(fresh, key=lambda one: (one.node, one.record))
        if fresh:
            quiet_since = time.monotonic()
        # The writers of a crashed run are gone, but a collector may still be posting what they left.
        elif now in {"finished", "failed"} or (
            now in {"crashed", "unposted"} and time.monotonic() - quiet_since > GRACE_SECS
        ):
            return
        else:
            time.sleep(poll_secs)
