"""Keeps a collector's own files where they are: touched, made again when removed, and missed when lost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from steno import files, host
from steno.ledger.fence import Superseded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from steno.collector.catalogue import Node

_LOOK_SECS: Final = 0.5
_YOUNG_SECS: Final = 3600.0
"""Cleaners remove what is a day old, as a rule ten: all is touched once in an hour."""
_OTHERS: Final = frozenset({"journal", "staging"})
"""Their writers look after them: a journal's stamp says that its writer lives."""


class LedgerRemoved(Exception):  # noqa: N818 - not a fault: what is still open is written again
    """Somebody has removed or replaced the ledger while it is open."""


class CollectorUpkeep:
    """For one collector, from the posting thread.

    Args:
        run_dir: the run's directory.
        node: its node.
        locks: the descriptors of its lock, the newest last.
        say: tells a person, once per key.
    """

    def __init__(self, run_dir: Path, node: Node, locks: list[int], say: Callable[[str, str], None]) -> None:
        self._run_dir = run_dir
        self._node = node
        self._locks = locks
        self._say = say
        self._ledger = files.inode(node.ledger)
        self._next_look = 0.0
        self._next_touch = 0.0

    def look(self, now: float) -> None:
        """Mend what is due at this monotonic second.

        Raises:
            LedgerRemoved: the ledger is not the one that is open.
            Superseded: the lock was removed, and another collector holds the new one.
            OSError: a file cannot be made.
        """
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECS
        if not (self._node.dir / "node.json").exists():
            self._node.dir.mkdir(parents=True, exist_ok=True)
            files.write_json(self._node.dir / "node.json", host.describe())
            self._removed("node.json")
        lock = self._node.dir / "collector.lock"
        if files.inode(lock) != files.inode(self._locks[-1]):
            again = host.hold(lock)
            if again is None:
                raise Superseded
            self._locks.append(again)
            self._removed("collector.lock")
        if files.inode(self._node.ledger) != self._ledger:
            raise LedgerRemoved
        if now >= self._next_touch:
            self._next_touch = now + _YOUNG_SECS
            self._touch()

    def _touch(self) -> None:
        machinery = self._run_dir / ".steno"
        files.touch_again(self._run_dir / "run.json")
        for place, folders, names in os.walk(machinery):
            if place == os.fspath(machinery):
                folders[:] = [name for name in folders if name not in _OTHERS]
            elif place == os.fspath(self._node.dir.parent):
                folders[:] = [self._node.dir.name]
            for name in (*names, "."):
                files.touch_again(os.path.join(place, name))

    def _removed(self, name: str) -> None:
        self._say(f"removed {name}", f"{self._node.dir / name} was removed while the run goes on; it is there again")
