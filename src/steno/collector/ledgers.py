"""A collector's ledger as a file: started, started anew after a loss, set aside, and written again while it is open."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from typing import TYPE_CHECKING

from steno import files, inside, statusfile
from steno.collector.followers import Delivery
from steno.collector.journals import segments
from steno.collector.known import known
from steno.errors import CorruptError
from steno.journal import format as fmt
from steno.journal.place import LEDGER
from steno.ledger import schema, streams
from steno.ledger.read import require_valid
from steno.ledger.seal import adopt_parts
from steno.ledger.snapshot import LOST_LEDGER, Loss
from steno.ledger.steps import RUN

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from steno.collector.catalogue import Node
    from steno.ledger.post import Poster
    from steno.record import Batch

_CHECKED_BYTES = 1 << 28


def begin(node: Node) -> sqlite3.Connection:
    """Open the node's ledger for writing, made if need be.

    Raises:
        sqlite3.DatabaseError: it is damaged.
    """
    connection = schema.begin(node.ledger, node.number)
    try:
        if os.path.getsize(node.ledger) < _CHECKED_BYTES:
            found = connection.execute("pragma quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        require_valid(connection, node.number)
    except BaseException:
        connection.close()
        raise
    return connection


class Expectation:
    """What the ledger must come to if nothing is lost, and what is said and done if it does not.

    Args:
        run_dir: the run's directory.
        node: the node.
        poster: of the ledger.
        lock: held while it is used.
        say: tells a person, once per key.
    """

    def __init__(
        self, run_dir: Path, node: Node, poster: Poster, lock: threading.RLock, say: Callable[[str, str], None]
    ) -> None:
        self._run_dir = run_dir
        self._node = node
        self._poster = poster
        self._lock = lock
        self._say = say
        self._known = known(run_dir, node)
        self.open = True
        """Not judged yet."""

    def begin(self) -> None:
        """Where the ledger is new, go on behind the parts; where journals do not have the rest, say what is lost."""
        fetch = self._poster.connection.execute
        if fetch("select 1 from counters limit 1").fetchone() or fetch("select 1 from parts limit 1").fetchone():
            return
        adopted = adopt_parts(self._run_dir, self._poster.connection, self._node.number)
        self._poster.reload()
        whole = self._journals_are_whole()
        if adopted or not whole:
            batch = self._poster.next_batch - 1 if whole else max(self._known.batch, self._poster.next_batch - 1)
            old = statusfile.read(self._node.dir).get("destinations") or {}
            Delivery.restore(self._poster.connection, self._lock, old, batch)
        if not whole:
            self._lose()
            self.open = False
        elif adopted:
            self._poster.note(
                lost_ledger=str(self._node.ledger),
                parts=adopted,
                reason="the ledger was missing or damaged; what was in it and is in no part or journal is lost",
            )

    def judge(self) -> Batch | None:
        """All that journals had is posted: what is missing now is lost. The batch that says so."""
        batch = self._lose()
        self.open = False
        return batch

    def _journals_are_whole(self) -> bool:
        """Whether journals of this machine may hold all that parts do not: posted before, and no segment removed."""
        reached = self._poster.next_record - 1
        whole = reached >= self._known.record
        for found in streams.find(self._run_dir):
            numbers = sorted(segments(found.dir))
            if not numbers:
                continue
            taken = self._poster.reached(found.stream)
            if numbers[0] > (0 if taken is None else taken + 1):
                return False
            whole = whole or any(_posted_before(found.dir / f"{number:06d}.seg") > reached for number in numbers)
        return whole

    def _lose(self) -> Batch | None:
        missing = self._known.record - self._poster.next_record + 1
        if missing <= 0:
            return None
        why = f"the ledger begins below record {self._known.record}, which {self._known.by} knows"
        loss = Loss(self._node.number, LOST_LEDGER, f"node {self._node.dir.name}", missing, why)
        batch = self._poster.skip_to(
            self._known.record + 1, self._known.batch + 1, {RUN: self._known.step}, loss,
            lost_ledger=str(self._node.ledger), records=missing, reason=why,
        )  # fmt: skip
        self._say(
            "lost ledger",
            f"{missing} records are lost but for those that journals still hold: {why} ({self._node.ledger})",
        )
        return batch


def _posted_before(path: Path) -> int:
    """The number of the last record that a collector has posted from a segment."""
    try:
        with open(inside.opened(path), "rb") as file:
            return int(fmt.U64.unpack(os.pread(file.fileno(), fmt.U64.size, fmt.RECORD_AT))[0])
    except (OSError, CorruptError, struct.error):
        return 0


def set_aside(node: Node, error: Exception, say: Callable[[str, str], None]) -> None:
    """Give a damaged ledger another name."""
    for number in range(1, 1000):
        aside = node.ledger.with_name(f"{LEDGER}.corrupt-{number}")
        if not aside.exists():
            break
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            files.rename(f"{node.ledger}{suffix}", f"{aside}{suffix}")
    say(f"ledger {aside}", f"the ledger is damaged ({error}); it lies aside as {aside.name}, a new one begins")


def write_again(
    node: Node, connection: sqlite3.Connection, lock: threading.RLock, say: Callable[[str, str], None]
) -> None:
    """Write the ledger that is open, and that somebody has removed, to its place again: nothing in it is lost.

    Raises:
        OSError, sqlite3.Error: there is no room; it is open still.
    """
    node.ledger.parent.mkdir(parents=True, exist_ok=True)
    hidden = node.ledger.with_name(f".{LEDGER}")
    for stale in (str(hidden), f"{node.ledger}-wal", f"{node.ledger}-shm"):
        files.unlink(stale, missing_ok=True)
    with lock:
        copy = sqlite3.connect(hidden, isolation_level=None)
        try:
            connection.backup(copy)
            copy.execute("pragma journal_mode=delete")
        finally:
            copy.close()
        files.sync_file(hidden)
        files.rename(hidden, node.ledger)
        files.sync_dir(node.ledger.parent)
    say(
        "ledger removed",
        f"{node.ledger} was removed while the run goes on; it is there again and nothing of it is lost",
    )
