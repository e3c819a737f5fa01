"""A ledger without batches as text, and out of it again: what is left of one whose records are all in parts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from steno import files, inside
from steno.errors import CorruptError
from steno.ledger import schema
from steno.machinery import LEDGER

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_TABLES: Final = (
    "meta", "keys", "streams", "offsets", "counters", "holes", "fences", "adopted", "cursors", "parts", "losses",
    "artifacts",
)  # fmt: skip
_EMPTY: Final = ("batches", "entries")


def dump(connection: sqlite3.Connection) -> str | None:
    """The rows of all tables; None: there are records that are in no part. Raises sqlite3.Error."""
    fetch = connection.execute
    if any(fetch(f"select 1 from {table} limit 1").fetchone() for table in _EMPTY):
        return None
    return json.dumps({table: [_plain(row) for row in fetch(f"select * from {table}")] for table in _TABLES})


def _plain(row: tuple[Any, ...]) -> list[Any]:
    return [{"hex": one.hex()} if isinstance(one, bytes) else one for one in row]


def load(ledger: Path, node: int) -> None:
    """Make a ledger again out of the text next to it, where there is one and no ledger.

    Killed at any instruction, either the text is there, or the ledger is, whole.

    Raises:
        CorruptError: the text is no ledger's.
        OSError, sqlite3.Error: there is no room; the text stays.
    """
    text = ledger.with_name(LEDGER)
    if not text.exists():
        return
    if not ledger.exists():
        hidden = ledger.with_name(f".{ledger.name}")
        for stale in (str(hidden), f"{hidden}-wal", f"{hidden}-shm"):
            files.unlink(stale, missing_ok=True)
        connection = schema.begin(hidden, node)
        try:
            _fill(connection, json.loads(inside.read(text)), text)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CorruptError(f"{text} holds what no ledger does: {error!r}") from error
        finally:
            schema.end(connection)
        files.sync_file(hidden)
        files.rename(hidden, ledger)
        files.sync_dir(ledger.parent)
    files.unlink(text)


def _fill(connection: sqlite3.Connection, tables: dict[str, Any], text: Path) -> None:
    execute = connection.execute
    execute("begin immediate")
    for table in _TABLES:
        width = len(execute(f"pragma table_info({table})").fetchall())
        marks = ",".join("?" * width)
        execute(f"delete from {table}")
        for row in tables[table]:
            if len(row) != width:
                raise CorruptError(f"{text} has a row of {len(row)} columns in {table}, not of {width}")
            values = [bytes.fromhex(one["hex"]) if isinstance(one, dict) else one for one in row]
            execute(f"insert into {table} values({marks})", values)
    execute("commit")
