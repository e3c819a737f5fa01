"""Who may post into a ledger: the poster that opened it last, asked in each of its transactions."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


class Superseded(Exception):  # noqa: N818 - not a fault: another collector is at work
    """Another poster has opened the ledger since: this one must leave it alone."""


def enter(connection: sqlite3.Connection) -> str:
    """Become the one that posts; what `check` is to be asked with. Raises sqlite3.Error."""
    mark = json.dumps(uuid.uuid4().hex)
    connection.execute("insert or replace into meta values('poster', ?)", (mark,))
    return mark


def check(connection: sqlite3.Connection, mark: str) -> None:
    """Refuse a transaction of a poster that another one has followed; inside the transaction.

    Raises:
        Superseded: it is so.
    """
    row = connection.execute("select value from meta where key='poster'").fetchone()
    if row is None or row[0] != mark:
        raise Superseded
