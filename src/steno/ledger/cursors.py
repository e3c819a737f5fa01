"""How far each destination has got, kept in the ledger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import Mapping


def load(connection: sqlite3.Connection, destination: str) -> dict[str, Any]:
    """batch, record, position, delivered, skipped and retries as saved last; empty for a new destination."""
    row = connection.execute(
        "select batch, record, position, delivered, skipped, retries from cursors where destination=?", (destination,)
    ).fetchone()
    if row is None:
        return {}
    names = ("batch", "record", "position", "delivered", "skipped", "retries")
    return {**dict(zip(names, row, strict=True)), "position": json.loads(row[2]) if row[2] else None}


def save(connection: sqlite3.Connection, lock: threading.RLock, destination: str, values: Mapping[str, Any]) -> None:
    """Save a cursor and what belongs to it, in one transaction.

    Raises:
        sqlite3.Error: nothing was saved.

    """
    position = values.get("position")
    with lock:
        connection.execute(
            "insert or replace into cursors values(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                destination,
                values.get("batch", 0),
                values.get("record", 0),
                None if position is None else json.dumps(position),
                values.get("delivered", 0),
                values.get("skipped", 0),
                values.get("retries", 0),
                values.get("state", "waiting"),
                values.get("error"),
            ),
        )
