"""What no part has yet of a node's records, taken out of its ledger every few seconds for its object in a store."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from steno.errors import CorruptError
from steno.ledger import live, schema
from steno.ledger.opened import opened
from steno.ledger.steps import RUN

if TYPE_CHECKING:
    from pathlib import Path

    from steno.ledger.snapshot import Snapshot
    from steno.record import Entry


_LEAST_SECS: Final = 0.05


class UnsealedUpload:
    """What was taken last. Not thread-safe.

    Args:
        node: whose.
        every_secs: how often it is taken anew; 0: never, and there is nothing.
    """

    def __init__(self, node: int, every_secs: float) -> None:
        self.every_secs = every_secs
        self.text = ""
        """As `live.packed` makes it."""
        self.entries: tuple[Entry, ...] = ()
        self.step = 0
        """The next automatic step behind it."""
        self._node = node
        self._sealed = -1
        self._next = 0.0
        self._ids: dict[int, frozenset[int]] = {}
        """By batch, the ids of its keys."""

    @property
    def due_secs(self) -> float:
        """In how many seconds it is to be taken anew; infinite where it is not."""
        return max(self._next - time.monotonic(), _LEAST_SECS) if self._sealed >= 0 else math.inf

    def hold(self, snapshot: Snapshot, ledger: Path | None, sealed: int, *, is_wanted: bool) -> bool:
        """Have what goes with a snapshot whose parts have batches up to `sealed`; False: a part was sealed since.

        Raises:
            sqlite3.Error: the ledger cannot be read.
        """
        if not self.every_secs or not is_wanted or ledger is None:
            self.text, self.entries, self._sealed = "", (), -1
            return True
        now = time.monotonic()
        if sealed == self._sealed and now < self._next:
            return True
        taken, text = self._take(ledger)
        if taken != sealed:
            return False
        self.text, self._sealed, self._next = text, sealed, now + self.every_secs
        self.entries = tuple(one for one in snapshot.entries if one.node == self._node)
        return True

    def _take(self, ledger: Path) -> tuple[int, str]:
        """(the last batch that a part has, what comes behind it)."""
        with opened(ledger) as connection:
            fetch = connection.execute
            sealed = fetch("select coalesce(max(last_batch), 0) from parts").fetchone()[0]
            counter = fetch("select next from counters where scope=? and name=?", RUN).fetchone()
            self.step = max(self.step, counter[0] if counter else 0)
            found: list[tuple[int, bytes]] = []
            total = 0
            for id, points, blob in fetch("select id, points, columns from batches order by id"):
                total += points
                if found and total > live.MOST_POINTS:
                    break
                found.append((id, blob))
            self._ids = {id: self._ids.get(id) or _ids(blob) for id, blob in found}
            wanted = sorted(frozenset[int]().union(*self._ids.values()))
            keys: list[tuple[int, str]] = []
            for at in range(0, len(wanted), 500):
                some = wanted[at : at + 500]
                keys += fetch(f"select id, key from keys where id in ({','.join('?' * len(some))})", some).fetchall()
        return int(sealed), live.packed(keys, found)


def _ids(blob: bytes) -> frozenset[int]:
    try:
        return frozenset(id for ids in schema.decode(blob).sets for id in ids.tolist())
    except CorruptError:
        return frozenset()  # whoever reads it will say so
