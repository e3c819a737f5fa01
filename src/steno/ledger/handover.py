"""One journal from node to node: the one stops posting it, the other goes on where it stood, in two transactions."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from steno.ledger.steps import OF_NODE, RUN, SEED
from steno.record import node_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_BUSY_SECS = 0.5
_STREAM = 'stream, pid, host, boot, rank, attempt, "primary", state, started, error'


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a node has got with a stream."""

    node: int
    offsets: Mapping[int, int]
    """Bytes of each segment that are in its ledger."""
    holes: tuple[tuple[Any, ...], ...] = ()
    counters: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Of the automatic steps that its records move."""
    scope: str = ""
    """What the scopes of these counters end with."""
    stream: tuple[Any, ...] | None = None


def release(ledger: Path, node: int, stream: str, to: int, time: int) -> Standing:
    """Have a node post the stream no more, and say where it stands; what its collector is about to commit is refused.

    Args:
        ledger: its ledger.
        node: its number.
        stream: the journal.
        to: the number of the node that adopts it.
        time: ns since 1970.

    Raises:
        sqlite3.OperationalError: busy: its collector was stopped inside a transaction; nothing has changed.
        sqlite3.Error: it cannot be read or written.
    """
    connection = sqlite3.connect(ledger, timeout=_BUSY_SECS, isolation_level=None)
    try:
        connection.execute("pragma synchronous=full")
        connection.execute("begin immediate")
        fetch = connection.execute
        row = fetch("select scope from adopted where stream=?", (stream,)).fetchone()
        scope = row[0] if row else ""
        standing = Standing(
            node=node,
            offsets=dict(fetch("select segment, posted from offsets where stream=?", (stream,))),
            holes=tuple(fetch("select * from holes where stream=?", (stream,))),
            counters={
                (kind, name): following
                for kind, name, following in fetch("select scope, name, next from counters")
                if kind in {f"{RUN[0]}{scope}", f"{SEED[0]}{scope}", f"stream:{stream}"}
            },
            scope=scope,
            stream=fetch(f"select {_STREAM} from streams where stream=?", (stream,)).fetchone(),
        )
        fetch("insert or replace into fences values(?, ?, ?)", (stream, to, time))
        fetch("update streams set state='adopted' where stream=? and state='live'", (stream,))
        fetch("commit")
    finally:
        connection.close()
    return standing


def take(connection: sqlite3.Connection, node: int, stream: str, origin: int, standings: Iterable[Standing]) -> None:
    """Go on with a stream in this node's ledger; in the caller's transaction.

    Args:
        connection: this node's ledger.
        node: its number.
        stream: the journal.
        origin: the node that it was first of, whose automatic steps its records have.
        standings: of all who have posted of it.
    """
    scope = "" if origin == node else f"{OF_NODE}{node_name(origin)}"
    for one in standings:
        connection.executemany(
            "insert into offsets values(?, ?, ?) on conflict do update set posted=max(posted, excluded.posted)",
            [(stream, segment, posted) for segment, posted in one.offsets.items()],
        )
        connection.executemany("insert or ignore into holes values(?, ?, ?, ?, ?, ?, ?, ?)", one.holes)
        connection.executemany(
            "insert into counters values(?, ?, ?) on conflict do update set next=max(next, excluded.next)",
            [(_scoped(kind, one.scope, scope), name, following) for (kind, name), following in one.counters.items()],
        )
        if one.stream is not None:
            state = "live" if one.stream[7] == "adopted" else one.stream[7]
            values = (*one.stream[:7], state, *one.stream[8:])
            connection.execute(
                f"insert into streams({_STREAM}) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do update set "
                "state=excluded.state, error=excluded.error where state in ('live', 'adopted')",
                values,
            )
    connection.execute("insert or replace into adopted values(?, ?)", (stream, scope))
    connection.execute("delete from fences where stream=?", (stream,))


def _scoped(kind: str, old: str, new: str) -> str:
    return kind if kind.startswith("stream:") else f"{kind.removesuffix(old) if old else kind}{new}"
