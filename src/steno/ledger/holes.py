"""Records whose device values have not come: kept in the ledger until fills answer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from steno.ledger import assemble
from steno.ledger.assemble import Old, Values

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence


def keep(connection: sqlite3.Connection, table: assemble.PostedRows, streams: Sequence[str]) -> None:
    """Enter the rows that lack values; in the caller's transaction."""
    if not table.missing:
        return
    connection.executemany(
        "insert or replace into holes values(?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                streams[table.stream[row]],
                int(table.seq[row]),
                int(table.record[row]),
                int(table.step[row]),
                int(table.time[row]),
                int(table.rank[row]),
                int(table.attempt[row]),
                _packed(keys, table.meta.get(row)),
            )
            for row, keys in table.missing.items()
        ],
    )


def answer(
    connection: sqlite3.Connection,
    fills: dict[tuple[int, int], Values],
    streams: Sequence[str],
    lose: Callable[[str, str, int, str], object],
) -> list[Old]:
    """What fills bring to records of earlier postings; they close the holes they answer."""
    old: list[Old] = []
    for (stream, seq), values in fills.items():
        where = (streams[stream], seq)
        row = connection.execute(
            "select record, time, step, rank, attempt, missing from holes where stream=? and seq=?", where
        ).fetchone()
        if row is None:
            lose("orphan fill", where[0], 1, "a late value whose record is not known")
            continue
        keys, meta = _unpacked(row[5])
        missing = assemble.still_missing(keys, values)
        if missing:
            connection.execute("update holes set missing=? where stream=? and seq=?", (_packed(missing, meta), *where))
        else:
            connection.execute("delete from holes where stream=? and seq=?", where)
        if values:
            old.append(Old(row[0], row[1], row[2], row[3], row[4], values, meta))
    return old


def give_up(connection: sqlite3.Connection, stream: str) -> int:
    """Forget a stream's holes, whose values never came; how many values those are."""
    rows = connection.execute("select missing from holes where stream=?", (stream,))
    missing = sum(len(_unpacked(row[0])[0]) for row in rows)
    if missing:
        connection.execute("delete from holes where stream=?", (stream,))
    return missing


def _packed(keys: Sequence[str], meta: Mapping[str, Any] | None) -> bytes:
    return msgspec.msgpack.encode({"keys": keys, "meta": meta} if meta else keys)


def _unpacked(blob: bytes) -> tuple[list[str], dict[str, Any]]:
    found = msgspec.msgpack.decode(blob)
    return (found["keys"], found["meta"]) if isinstance(found, dict) else (found, {})
