"""The ledger's table of artifacts: what was posted of each, and what came of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from steno import bounds
from steno.artifacts import names
from steno.errors import CorruptError
from steno.record import ARTIFACT

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from steno.record import Entry

TABLE = """
create table if not exists artifacts(
    record integer primary key, id text not null unique, step integer, rank integer not null, attempt integer not null,
    payload text not null, outcome text);
"""
POSTED = frozenset({"file", "dir", "link"})
"""Operations that a process journals."""
OUTCOMES = frozenset({"stored", "linked", "failed"})
"""The collector's answers."""


def is_valid(payload: Mapping[str, Any]) -> bool:
    """Whether it has what its operation needs; what does not is not of this version of steno, and left alone."""
    op = payload.get("op")
    needed = {"file": ("file",), "dir": ("file",), "link": ("target",), "failed": ("reason",)}.get(str(op), ())
    named = all(isinstance(payload.get(name), str) for name in ("id", "name", *needed))
    return op in POSTED | OUTCOMES and named and names.is_one(payload["name"])


def enter(connection: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Enter what is posted of artifacts; in the caller's transaction."""
    for one in entries:
        if one.kind == ARTIFACT:
            _enter(connection, one.record, one.step, one.rank, one.attempt, one.payload)


def _enter(
    connection: sqlite3.Connection, record: int, step: int | None, rank: int, attempt: int, payload: Mapping[str, Any]
) -> None:
    if not is_valid(payload):
        return
    id, op = payload["id"], payload["op"]
    text = json.dumps(payload, separators=(",", ":"), default=str)
    if op in POSTED:
        connection.execute(
            "insert or ignore into artifacts values(?, ?, ?, ?, ?, ?, null)", (record, id, step, rank, attempt, text)
        )
    else:
        connection.execute("update artifacts set outcome=? where id=?", (text, id))


def rows(
    connection: sqlite3.Connection,
) -> Iterator[tuple[int, int | None, int, int, dict[str, Any], dict[str, Any] | None]]:
    """(record, step, rank, attempt, payload, the outcome's payload or None) of all, in order of record."""
    fetch = connection.execute("select record, step, rank, attempt, payload, outcome from artifacts order by record")
    for record, step, rank, attempt, payload, outcome in fetch:
        yield record, step, rank, attempt, json.loads(payload), None if outcome is None else json.loads(outcome)


def adopt(connection: sqlite3.Connection, paths: Sequence[Path]) -> None:
    """Fill the table from parts of kind "records", after the ledger was lost; in the caller's transaction."""
    if not paths:  # pyarrow takes 6 MiB of a collector that has sealed nothing yet
        return
    import pyarrow.parquet as pq

    found = []
    for path in paths:
        try:
            bounds.parquet(path)
            with pq.ParquetFile(path, memory_map=False) as file:  # `read_table` would import pandas
                table = file.read(["record", "step", "rank", "attempt", "kind", "payload"], use_threads=False)
        except (OSError, ValueError, CorruptError):
            continue  # damaged: reported by whoever reads its entries
        found += [row for row in table.to_pylist() if row["kind"] == ARTIFACT]
    for row in sorted(found, key=lambda row: row["record"]):
        _enter(connection, row["record"], row["step"], row["rank"], row["attempt"], json.loads(row["payload"]))
