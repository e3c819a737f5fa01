"""Keeps a node's card: what its posted and synced records come to, written down while they come."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from steno import runfile
from steno.errors import CorruptError
from steno.ledger import card, card_table
from steno.ledger.read import Reader
from steno.ledger.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from steno.collector.catalogue import Node
    from steno.record import Batch

_EVERY_SECS: Final = 1.0
_SHARE: Final = 0.005
"""Of a collector's time that cards may take."""
_HELD_POINTS: Final = 4_000_000
"""So many wait in memory while older ones are read again; what comes beyond that is read again as well."""
_KEYS_MOST: Final = 200_000
"""A run whose keys never repeat must not fill the memory: beyond that there are no rows, and readers compute them."""
_DAMAGED: Final = "damaged batch"


class Carding:
    """One node's card. For the posting thread.

    A card covers no batch that a power loss can take back: only what is synced is in it.

    Args:
        run_dir: the run's directory.
        node: the node.
        connection: its ledger.
        lock: held while it is used.
        say: tells a person, once per key.
    """

    def __init__(
        self,
        run_dir: Path,
        node: Node,
        connection: sqlite3.Connection,
        lock: threading.RLock,
        say: Callable[[str, str], None],
    ) -> None:
        self._run_dir = run_dir
        self._node = node
        self._connection = connection
        self._lock = lock
        self._say = say
        self._name = node.dir.name
        self._totals = Totals()
        self._batch = 0
        self._waiting: deque[tuple[int, Batch]] = deque()
        self._held_points = 0
        self._missing_to = 0
        """Batches up to this one are read again from parts and ledger."""
        self._again: threading.Thread | None = None
        self._found: tuple[Totals, int] | None = None
        self._next = 0.0
        self._written = b""
        self._dirty = True
        self._damaged = 0
        self._is_off = False
        """There are no rows in this card any more: readers compute them."""
        self._identity: tuple[tuple[int, int, int], dict[str, Any], dict[str, Any]] | None = None
        self._leave = threading.Event()

    # -- beginning ---------------------------------------------------------------------------------------

    def begin(self, hidden: tuple[tuple[int, int], ...], newest: int) -> None:
        """Go on with the card that is there, or begin one: batches to `newest` are in the ledger already."""
        held = card.read(self._run_dir).get(self._name)
        self._damaged = self._losses().get(_DAMAGED, 0)
        if held is not None and held.ledger == self._ledger() and held.batch <= newest:
            self._take(held, hidden)
        else:
            self._totals = Totals(hidden)
        self._missing_to = newest
        if held is not None and held.ended:
            self._write(ended=False)  # what it says does not hold any more

    def _take(self, held: card.Card, hidden: tuple[tuple[int, int], ...]) -> None:
        if not card.hold_under(held.hidden, held.reach, hidden) or held.losses.get(_DAMAGED, 0) != self._damaged:
            self._totals = Totals(hidden)
            return
        try:
            if held.is_whole:
                totals, batch = Totals(hidden), held.batch
                card.add_to(totals, held.metrics, held.reach)
            else:
                totals, batch = card_table.read(self._run_dir, held)
                totals.hidden = hidden
        except CorruptError as error:
            self._say("card", f"{error}; it is made again")
            self._totals = Totals(hidden)
            return
        self._totals, self._batch = totals, batch

    def rewound(self, attempt: int, step: int) -> None:
        """A rewind that is new hides points of older attempts from the step on."""
        if (attempt, step) in self._totals.hidden:
            return
        if not self._totals.hide(attempt, step) or self._again is not None:
            self._restart(self._totals.hidden)
        self._dirty = True

    def _restart(self, hidden: tuple[tuple[int, int], ...]) -> None:
        """Count all anew, from parts and ledger."""
        self._leave.set()
        self._join()
        self._leave.clear()
        self._missing_to = max(self._missing_to, self._newest())
        self._totals, self._batch = Totals(hidden), 0
        self._waiting.clear()
        self._held_points = 0

    def _newest(self) -> int:
        with self._lock:
            row = self._connection.execute("select next from counters where scope='node' and name='batch'").fetchone()
        return int(row[0]) - 1 if row else 0

    # -- following ---------------------------------------------------------------------------------------

    def added(self, batch: Batch, generation: int) -> None:
        """A batch was posted, by the posting of that generation."""
        self._dirty = True
        self._waiting.append((generation, batch))
        self._held_points += len(batch.value)
        if self._held_points > _HELD_POINTS and self._missing_to > self._batch:
            self._missing_to = batch.id
            self._waiting.clear()
            self._held_points = 0

    def look(self, now: float, synced: int) -> None:
        """Count what is synced and write it down, when that is due at this monotonic second.

        Args:
            now: monotonic seconds.
            synced: the newest generation of postings that outlives the machine's power.
        """
        if now < self._next or not self._dirty:
            return
        began = time.thread_time()
        if synced >= 0:
            self._count(synced)
        self._write(ended=False)
        self._next = now + max(_EVERY_SECS, (time.thread_time() - began) / _SHARE)

    def _count(self, synced: int) -> None:
        if self._is_off:
            self._waiting.clear()
            self._held_points, self._dirty = 0, False
            return
        if self._missing_to > self._batch:
            self._read_again()
            if self._missing_to > self._batch:
                return
        while self._waiting and self._waiting[0][0] <= synced:
            _, batch = self._waiting.popleft()
            self._held_points -= len(batch.value)
            if batch.id > self._batch:
                self._totals.add_batch(batch)
                self._batch = batch.id
        self._dirty = bool(self._waiting)
        if len(self._totals) > _KEYS_MOST:
            self._is_off, self._totals = True, Totals(self._totals.hidden)

    def _read_again(self) -> None:
        """Have a thread count what was posted before, or take what it has come to."""
        if self._found is not None:
            self._totals, self._batch = self._found
            self._found = self._again = None
        elif self._again is None:
            args = (self._totals, self._batch, self._missing_to)
            self._again = threading.Thread(target=self._recount, args=args, name="steno-card", daemon=True)
            self._again.start()

    def _recount(self, totals: Totals, after: int, until: int) -> None:
        reader = Reader(self._run_dir)
        try:
            while after < until and not self._leave.is_set():
                batch = reader.next_batch(self._node.number, after + 1)
                if batch is None or batch.id > until:
                    after = until
                    break
                totals.add_batch(batch)
                after = batch.id
            self._found = (totals, after)
        except (OSError, sqlite3.Error, CorruptError) as error:
            self._is_off = True
            self._say("card again", f"the card cannot be made again: {error}; readers compute what it would say")

    def _join(self) -> None:
        if self._again is not None:
            self._again.join(10)
        self._again = self._found = None

    # -- writing -----------------------------------------------------------------------------------------

    def sealed(self) -> None:
        """A part was written: where there are more keys than a card holds, write them all down next to it."""
        if self._is_known and len(self._totals) > len(card.metrics_of(self._totals)):
            try:
                card_table.write(self._run_dir, self._name, self._ledger(), self._batch, self._totals)
            except OSError as error:
                self._say("card table", f"the summary of all keys cannot be written: {error}")
        self._dirty = True

    @property
    def _is_known(self) -> bool:
        """Whether the totals have all up to its last batch."""
        return not self._is_off and self._missing_to <= self._batch

    def close(self, synced: int, *, ended: bool, nodes: int) -> None:
        """Write the last card. Where the node has ended, it says so and has all, however long that takes."""
        while ended and not self._is_off and self._missing_to > self._batch:
            self._read_again()
            if self._again is not None:
                self._again.join()
        self._count(synced)
        if ended:
            self.sealed()
        self._write(ended=ended, nodes=nodes, sync=True)
        self.abandon()

    def abandon(self) -> None:
        """End without writing."""
        self._leave.set()
        self._join()

    def _write(self, *, ended: bool, nodes: int = 0, sync: bool = False) -> None:
        try:
            known = self._facts(ended=ended, nodes=nodes)
            losses = known["losses"].get(_DAMAGED, 0)
            if losses != self._damaged:
                self._damaged = losses  # of what was counted something is lost
                self._restart(self._totals.hidden)
            whole = self._is_known
            metrics = card.metrics_of(self._totals) if whole else {}
            known |= {
                "batch": self._batch if whole else 0,
                "hidden": self._totals.hidden,
                "reach": self._totals.reach,
                "keys": len(self._totals) if whole else 0,
                "metrics": metrics,
            }
            text = card.encode(known)
            if text != self._written:
                card.write(self._run_dir, known["node"], text, sync=sync)
                self._written = text
        except (OSError, sqlite3.Error) as error:
            self._say("card write", f"the card cannot be written: {error}; readers compute what it would say")

    def _ledger(self) -> str:
        with self._lock:
            row = self._connection.execute("select value from meta where key='ledger'").fetchone()
        return str(json.loads(row[0])) if row else ""

    def _losses(self) -> dict[str, int]:
        with self._lock:
            return dict(self._connection.execute("select kind, sum(count) from losses group by kind"))

    def _facts(self, *, ended: bool, nodes: int) -> dict[str, Any]:
        identity, config = self._described()
        with self._lock:
            fetch = self._connection.execute
            meta = {
                key: json.loads(value)
                for key, value in fetch("select key, value from meta where key in ('config', 'summary', 'ledger')")
            }
            started, last, records, points, attempt = fetch(
                "select min(nullif(started, 0)), max(last_time), sum(records), sum(points), "
                "max(case state when 'moved' then 0 else attempt end) from streams"
            ).fetchone()
            ranks = [row[0] for row in fetch("select distinct rank from streams order by rank limit 1000")]
            states = fetch(
                """select distinct state from streams where "primary" and attempt=? and state!='moved'""", (attempt,)
            ).fetchall()
        return {
            "format": card.FORMAT,
            "node": self._name,
            "ledger": meta.get("ledger") or "",
            "identity": identity,
            "config": card.small({**config, **(meta.get("config") or {})}),
            "summary": card.small(meta.get("summary") or {}),
            "ended": ended,
            "nodes": nodes,
            "attempt": attempt or 1,
            "primaries": sorted(row[0] for row in states),
            "started": started,
            "last_time": last or None,
            "records": records or 0,
            "points": points or 0,
            "ranks": ranks,
            "losses": self._losses(),
        }

    def _described(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The run as run.json has it, which somebody may mend meanwhile."""
        try:
            found = (self._run_dir / runfile.FILE).stat()
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        except OSError:
            stamp = (0, 0, 0)
        if self._identity is None or self._identity[0] != stamp:
            facts = runfile.read(self._run_dir)[0]
            fields = {name: facts[name] for name in card.RunIdentity.__struct_fields__ if name in facts}
            bare = {name: fields.get(name, "") for name in ("id", "project", "name")}
            self._identity = (stamp, card.small(fields) or bare, facts.get("config") or {})
        return self._identity[1], self._identity[2]
