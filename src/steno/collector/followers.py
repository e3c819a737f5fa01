"""All followers of a node: begins them as destinations are asked for, feeds and watches them."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from steno.collector.child import ChildFollower
from steno.collector.follower import Follower, follow
from steno.delivery.progress import DeliveryProgress
from steno.destinations import asked
from steno.ledger import cursors

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from steno.collector.catalogue import Node
    from steno.destinations.asked import WantedDestination
    from steno.ledger.read import Reader
    from steno.record import Batch

_LOOK_SECS = 1.0
_RECENT_COST = 1_000_000


class Delivery:
    """Use it from the collector's main thread; followers have threads of their own.

    Args:
        run_dir: the run's directory.
        node: this node.
        connection: the ledger's writing connection, for cursors.
        lock: held while it is used.
        reader: reads batches that are not in memory any more.
        say: tells a person, once per key.

    """

    def __init__(
        self,
        run_dir: Path,
        node: Node,
        *,
        connection: sqlite3.Connection,
        lock: threading.RLock,
        reader: Reader,
        say: Callable[[str, str], None],
    ) -> None:
        self.followers: dict[str, Follower | ChildFollower] = {}
        self._run_dir = run_dir
        self._node = node
        self._connection = connection
        self._lock = lock
        self._reader = reader
        self._say = say
        self._newest = (0, 0)
        self._recent: OrderedDict[int, Batch] = OrderedDict()
        self._recent_cost = 0
        self._recent_lock = threading.Lock()
        self._next_look = 0.0

    def publish(self, batch_number: int, record: int, batch: Batch | None) -> None:
        """Let followers see everything up to this batch."""
        if batch is not None and self.followers:
            with self._recent_lock:
                self._recent[batch.id] = batch
                self._recent_cost += _cost(batch)
                while self._recent_cost > _RECENT_COST and len(self._recent) > 1:
                    self._recent_cost -= _cost(self._recent.popitem(last=False)[1])
        if (batch_number, record) != self._newest:
            self._newest = (batch_number, record)
            for follower in self.followers.values():
                follower.wake()

    def look(self, now: float) -> None:
        """Begin following for destinations that are new in the run; at most once a second."""
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECS
        for name, wanted in asked.destinations(self._run_dir).items():
            if name not in self.followers:
                self.followers[name] = self._begin(wanted)
        for place in asked.unconfirmed(self._run_dir):
            self._say(f"unconfirmed {place}", asked.line(self._run_dir, place))

    def _begin(self, wanted: WantedDestination) -> Follower | ChildFollower:
        with self._lock:
            saved = cursors.load(self._connection, wanted.name)
            row = self._connection.execute("select value from meta where key='config'").fetchone()
        config = json.loads(row[0]) if row else {}
        follower: Follower | ChildFollower
        if wanted.kind == "process":
            follower = ChildFollower(
                wanted,
                self._run_dir,
                self._node,
                newest=lambda: self._newest,
                save=lambda progress: self._save(wanted.name, progress),
                progress=DeliveryProgress(**saved),
                config=config,
                say=self._say,
            )
        else:
            follower = follow(
                wanted,
                self._run_dir,
                self._node.number,
                config,
                fetch=self._fetch,
                newest=lambda: self._newest,
                save=lambda progress: self._save(wanted.name, progress),
                progress=DeliveryProgress(**saved),
                say=self._say,
            )
        follower.start()
        return follower

    def _fetch(self, number: int) -> Batch | None:
        with self._recent_lock:
            held = self._recent.get(number)
        return held if held is not None else self._reader.next_batch(self._node.number, number)

    def _save(self, name: str, progress: DeliveryProgress) -> None:
        cursors.save(self._connection, self._lock, name, dataclasses.asdict(progress))

    @staticmethod
    def restore(connection: sqlite3.Connection, lock: threading.RLock, health: Mapping[str, Any], newest: int) -> None:
        """Cursors of a lost ledger, from the last status: as far as its sealed batches go."""
        for name, facts in health.items():
            values = {key: facts.get(key) for key in ("record", "position", "skipped", "retries")}
            values = {key: value for key, value in values.items() if value is not None}
            batch = min(int(facts.get("batch") or 0), newest)
            cursors.save(connection, lock, name, {**values, "batch": batch, "delivered": int(facts.get("count") or 0)})

    @property
    def caught_up(self) -> bool:
        """Whether no destination lacks anything it will ever take."""
        self.look(time.monotonic())
        return all(follower.caught_up for follower in self.followers.values())

    def progress(self) -> int:
        """A number that changes as long as anything is delivered."""
        return sum(follower.progress.batch for follower in self.followers.values())

    def health(self) -> dict[str, Any]:
        """By destination, what `describe` says."""
        return {name: follower.health() for name, follower in self.followers.items()}

    def close(self, timeout_secs: float, service_secs: float) -> bool:
        """End the followers, hanging ones excepted; whether all had everything.

        Args:
            timeout_secs: for all of them.
            service_secs: for those that have taken everything and whose service may still be sending it.
        """
        complete = all(follower.caught_up and follower.state != "stopped" for follower in self.followers.values())
        return self._end(timeout_secs, service_secs) and complete

    def abandon(self) -> None:
        """End the followers as they are."""
        self._end(1.0, 1.0)

    def _end(self, timeout_secs: float, service_secs: float) -> bool:
        began, ended = time.monotonic(), True
        sending = {name for name, one in self.followers.items() if isinstance(one, ChildFollower) and one.caught_up}
        for name, follower in self.followers.items():
            if isinstance(follower, ChildFollower):
                follower.patience_secs = service_secs if name in sending else timeout_secs
            follower.leave()
        for name in sorted(self.followers, key=sending.__contains__):
            deadline = began + (service_secs if name in sending else timeout_secs)
            if not self.followers[name].join(max(deadline - time.monotonic(), 0.01)):
                ended = False
                self._say(f"hang {name}", f"{name} hangs in its write; left as it is")
        return ended


def _cost(batch: Batch) -> int:
    """Roughly what a batch takes in memory, in points: the names of a key set weigh much more."""
    return len(batch.value) + 3 * len(batch) + 10 * sum(map(len, batch.sets))
