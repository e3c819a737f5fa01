"""Points of one key out of many ended runs, kept in the user's cache directory: no file is opened twice for them."""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING, Final

from steno.ledger.arrow_columns import strings, to_arrow, to_numpy
from steno.store import cache
from steno.store.engine import scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from steno.store.engine import Engine
    from steno.store.source import Source

FEWEST: Final = 64
"""Runs below which their files are read each time."""
_MOST_ROWS: Final = 4 << 20
_ROWS_OF_RUN: Final = 1 << 20
"""Points of all keys: a run with more is read by its row groups."""
_HEAD: Final = struct.Struct("<4sIII")
"""Magic, length of a mark, number of marks, crc32c of all behind it."""
_MAGIC: Final = b"spt1"
_MARK_BYTES: Final = 16


def worth(sources: Sequence[Source]) -> list[int]:
    """The places of the runs whose points are kept; none where they are few."""
    found = [
        place
        for place, source in enumerate(sources)
        if source.mark and sum(part.rows for part in source.listed() if part.kind == "metrics") <= _ROWS_OF_RUN
    ]
    return found if len(found) >= FEWEST else []


def gathered(
    engine: Engine, key: str, columns: str, sources: Sequence[Source], places: Sequence[int], known: Sequence[Source]
) -> pa.Table | None:
    """The key's points in the runs at these places of `sources`, with these columns and `source`, the place.

    Args:
        engine: reads what is not kept yet.
        key: the key.
        columns: of a part, as SQL.
        sources: runs.
        places: of those that `worth` names.
        known: all runs of whom points may stay kept.

    None: there are too many points to keep them. Raises PartGone.
    """
    import numpy as np
    import pyarrow as pa

    common = os.path.commonpath([os.path.dirname(sources[place].path) for place in places])
    name = f"points-{hashlib.sha256(os.fsencode(common) + b'0' + key.encode()).hexdigest()[:32]}"
    marks, held = _load(name)
    at = {mark: number for number, mark in enumerate(marks)}
    missing = [place for place in places if sources[place].mark not in at]
    if missing:
        fresh = _read(engine, key, columns, sources, missing, len(marks))
        if fresh is None or len(fresh) + (0 if held is None else len(held)) > _MOST_ROWS:
            return None
        held = fresh if held is None else pa.concat_tables([held, fresh.cast(held.schema)])
        marks += [sources[place].mark for place in missing]
        at = {mark: number for number, mark in enumerate(marks)}
        if not engine.losses and not engine.damaged:
            _keep(name, marks, held, {source.mark for source in known})
    assert held is not None
    where = np.full(len(marks), -1, np.int32)
    for place in places:
        where[at[sources[place].mark]] = place
    source = where[to_numpy(held["source"], "int32")]
    if (source < 0).any():
        rows = np.flatnonzero(source >= 0)
        held, source = held.take(to_arrow(rows, pa.int64())), source[rows]
    return held.set_column(held.column_names.index("source"), "source", to_arrow(source, pa.int32()))


def _read(
    engine: Engine, key: str, columns: str, sources: Sequence[Source], places: Sequence[int], first: int
) -> pa.Table | None:
    """The points of runs that are not kept; `source` counts from `first`. None: they are too many."""
    import numpy as np
    import pyarrow as pa

    files: dict[str, int] = {}
    for number, place in enumerate(places, first):
        files.update((str(path), number) for path in sources[place].parts(engine, "metrics", [key]))
    files = {path: number for path, number in files.items() if path not in engine.damaged}
    table = pa.table(
        {
            "filename": strings(list(files)),
            "source": to_arrow(np.array(list(files.values()), np.int32), pa.int32()),
        }
    )
    cursor = engine.cursor()
    try:
        cursor.execute("set TimeZone='UTC'")
        cursor.register("files_missing", table)
        select = f"select source, {columns} from {scan(files, 'filename = true')} join files_missing using (filename)"
        if not files:
            return None
        found = cursor.sql(f"{select} where key = ? limit {_MOST_ROWS + 1}", params=[key]).to_arrow_table()
    finally:
        cursor.close()
    return found if len(found) <= _MOST_ROWS else None


def _keep(name: str, marks: list[bytes], held: pa.Table, known: set[bytes]) -> None:
    """Put the points of the runs that there are; ids that nobody has any more go."""
    import crc32c
    import numpy as np
    import pyarrow as pa

    stays = np.array([mark in known for mark in marks], bool)
    if not stays.all():
        source = to_numpy(held["source"], "int32")
        rows = np.flatnonzero(stays[source])
        number = (np.cumsum(stays) - 1).astype(np.int32)
        held = held.take(to_arrow(rows, pa.int64()))
        held = held.set_column(0, "source", to_arrow(number[source[rows]], pa.int32()))
        marks = [mark for mark in marks if mark in known]
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, held.schema, options=options) as writer:
        writer.write_table(held)
    body = b"".join(marks) + sink.getvalue().to_pybytes()
    cache.put(name, _HEAD.pack(_MAGIC, _MARK_BYTES, len(marks), crc32c.crc32c(body)) + body)


def _load(name: str) -> tuple[list[bytes], pa.Table | None]:
    import crc32c
    import pyarrow as pa

    data = cache.get(name)
    if data is None or len(data) < _HEAD.size:
        return [], None
    magic, length, count, crc = _HEAD.unpack_from(data)
    if magic != _MAGIC or length != _MARK_BYTES or crc32c.crc32c(memoryview(data)[_HEAD.size :]) != crc:
        return [], None
    end = _HEAD.size + count * length
    marks = [data[start : start + length] for start in range(_HEAD.size, end, length)]
    with pa.ipc.open_stream(pa.py_buffer(memoryview(data)[end:])) as reader:
        return marks, reader.read_all()
