"""Who may post into a ledger: the poster that opened it last, and of a journal the node that has it now.

Both are asked in each transaction that posts, so that one that was stopped before its commit cannot make it later.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection


class Superseded(Exception):  # noqa: N818 - not a fault: another collector is at work
    """Another poster has opened the ledger since: this one must leave it alone."""


class Fenced(Exception):  # noqa: N818
    """Another node has adopted these streams: what was read of them is for that one to post."""

    def __init__(self, streams: Collection[str]) -> None:
        super().__init__(", ".join(sorted(streams)))
        self.streams = frozenset(streams)


def enter(connection: sqlite3.Connection) -> str:
    """Become the one that posts; what `check` is to be asked with. Raises sqlite3.Error."""
    mark = json.dumps(uuid.uuid4().hex)
    connection.execute("insert or replace into meta values('poster', ?)", (mark,))
    return mark


def check(connection: sqlite3.Connection, mark: str, streams: Collection[str] = ()) -> None:
    """Refuse a transaction of a poster that another one has followed, or of streams that are another node's now.

    To be called inside the transaction.

    Raises:
        Superseded, Fenced: it is so.
    """
    row = connection.execute("select value from meta where key='poster'").fetchone()
    if row is None or row[0] != mark:
        raise Superseded
    if streams:
        gone = {stream for (stream,) in connection.execute("select stream from fences") if stream in streams}
        if gone:
            raise Fenced(gone)
