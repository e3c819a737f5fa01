"""The points that no part has yet, kept between readings so that each batch is decoded once."""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from steno.ledger.read import Reader
from steno.store.chunk import Chunk, concat, of_batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from steno.ledger.snapshot import Loss, Part, Snapshot
    from steno.record import Batch, Entry

DAMAGED = "damaged batch"
"""Kind of the loss that the ledger's reader counts for a batch it cannot decode."""


@dataclass(frozen=True, slots=True)
class RunView:
    """One consistent moment of a run: each point is in a part of `snapshot` or in `chunks`, never in both."""

    snapshot: Snapshot
    """Its `batches` are empty here; the points are in `chunks`, its `entries` are all unsealed ones."""
    chunks: tuple[Chunk, ...]
    ids: Mapping[str, int]
    """Key → its number in the chunks."""

    @property
    def metrics(self) -> list[Part]:
        """The parts that hold points."""
        return [part for part in self.snapshot.parts if part.kind == "metrics"]

    @property
    def entry_parts(self) -> list[Part]:
        """The parts that hold entries."""
        return [part for part in self.snapshot.parts if part.kind == "records"]


_followed: weakref.WeakValueDictionary[tuple[int, Path], Unsealed] = weakref.WeakValueDictionary()


def follow(run_dir: Path) -> Unsealed:
    """What follows a run in this process: one for all who read it, so that a point is held once."""
    if not run_dir.is_absolute():  # it is another run after a `chdir`
        return Unsealed(run_dir)
    return _followed.setdefault((os.getpid(), run_dir), Unsealed(run_dir))


class Unsealed:
    """Follows the unsealed batches of a run. Thread-safe; a forked child makes its own."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._seen: dict[int, int] = {}
        self._chunks: list[Chunk] = []
        self._entries: list[Entry] = []
        self._ids: dict[str, int] = {}
        self._damaged: dict[tuple[int, str], Loss] = {}
        self._ledger: object = None
        self._sealed: dict[tuple[str, int], int] = {}
        self._lives: tuple[str, ...] = ()

    def view(self) -> RunView:
        """What is readable now; only batches newer than the last view's are read from the ledgers."""
        with self._lock:
            try:
                return self._look()
            except BaseException:
                self._forget()  # half a step taken must not be taken again
                raise

    def _look(self) -> RunView:
        # A reader of its own each time: it keeps the names of key ids, and a ledger numbers its keys anew
        # when a run that was finished goes on.
        snapshot = Reader(self._run_dir).snapshot(since=self._seen)
        if self._seen and self._replaced(snapshot):
            self._forget()
            snapshot = Reader(self._run_dir).snapshot()
        self._ledger = snapshot.meta.get("ledger")
        self._drop_sealed(snapshot)
        if snapshot.last_batch:
            self._add(snapshot.batches)
        elif self._lives != snapshot.lives:  # a copy has them all at each moment
            self._chunks, self._ids, self._lives = [], {}, snapshot.lives
            self._add(snapshot.batches)
        if not snapshot.last_batch:  # no ledger: a manifest has them all each time
            self._entries = []
        self._entries.extend(snapshot.entries)
        # A damaged batch is met once, when it is read.
        self._damaged.update(((loss.node, loss.name), loss) for loss in snapshot.losses if loss.kind == DAMAGED)
        losses = [loss for loss in snapshot.losses if loss.kind != DAMAGED]
        self._seen = dict(snapshot.last_batch)
        return RunView(
            replace(
                snapshot,
                batches=(),
                entries=tuple(self._entries),
                losses=(*losses, *self._damaged.values()),
            ),
            tuple(self._chunks),
            dict(self._ids),
        )

    def _replaced(self, snapshot: Snapshot) -> bool:
        """Whether a ledger is another one than before, or out of reach: what we keep of it is then no one's."""
        moved_back = any(snapshot.last_batch.get(node, 0) < seen for node, seen in self._seen.items())
        return moved_back or snapshot.meta.get("ledger") != self._ledger

    def _drop_sealed(self, snapshot: Snapshot) -> None:
        points = {
            node: last for node, last in _sealed(snapshot, "metrics") if self._sealed.get(("metrics", node)) != last
        }
        for node, last in points.items():
            kept = [
                chunk.take((chunk.shared["node"] != node) | (chunk.shared["batch"] > last)) for chunk in self._chunks
            ]
            self._chunks = [chunk for chunk in kept if len(chunk)]
            self._sealed["metrics", node] = last
        for node, last in _sealed(snapshot, "records"):
            self._entries = [entry for entry in self._entries if entry.node != node or entry.record > last]

    def _add(self, batches: tuple[Batch, ...]) -> None:
        if not batches:
            return
        new = of_batches(batches, self._ids)
        if len(new):
            self._chunks.append(new)
        # Each merge at least doubles a chunk, so a point is copied a logarithmic number of times.
        while len(self._chunks) > 1 and len(self._chunks[-2]) < 2 * len(self._chunks[-1]):
            self._chunks[-2:] = [concat(self._chunks[-2:])]


def _sealed(snapshot: Snapshot, kind: str) -> Iterator[tuple[int, int]]:
    """By node, the last batch (of points) or the last record (of entries) that a part holds."""
    last: dict[int, int] = {}
    for part in snapshot.parts:
        if part.kind == kind:
            last[part.node] = max(last.get(part.node, 0), part.last_batch if kind == "metrics" else part.last)
    yield from last.items()
