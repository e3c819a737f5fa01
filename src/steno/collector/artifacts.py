"""The collector's side of artifacts: judges names, stores snapshots off the posting thread, says what came of them.

    posted entry ── judge its name, in order of record ──► failed
                 └─ a thread digests the snapshot and links it to artifacts/ab/DIGEST ──► stored ──► its aliases: linked
    outcome, an entry of its own ── posted ──► the index, for those who wait ── synced ──► the snapshot goes

What has no outcome in the ledger when a collector dies is taken up by the next one, to the same end.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import files, host, inside
from steno.artifacts import content
from steno.artifacts.content import STAGING, is_digest
from steno.artifacts.index import NAME, IndexReader, IndexWriter
from steno.artifacts.meanings import Meaning, Names
from steno.collector import catalogue
from steno.collector.storing import FULL, Store
from steno.errors import CorruptError
from steno.journal.wakeup import wake
from steno.ledger import artifacts, streams
from steno.ledger.incoming import Own
from steno.record import ARTIFACT

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable

    from steno.collector.catalogue import Node
    from steno.ledger.post import Poster
    from steno.record import Batch

WORKERS: Final = 2
_PAUSE_SECS: Final = 1.0
_RING_SECS: Final = 0.05
_SWEEP_SECS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Posted:
    """An entry whose outcome is not in the ledger."""

    record: int
    step: int | None
    rank: int
    attempt: int
    payload: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.payload["id"])

    @property
    def name(self) -> str:
        return str(self.payload["name"])


class ArtifactKeeper:
    """All artifacts that this node's ledger has. `posted`, `release` and `sweep` are for the posting thread.

    Args:
        run_dir: the run's directory.
        node: this node.
        connection: the ledger's, as `begin` left it.
        poster: takes the outcomes.
        say: tells a person, once per key.
    """

    def __init__(
        self,
        run_dir: Path,
        node: Node,
        connection: sqlite3.Connection,
        poster: Poster,
        say: Callable[[str, str], None],
    ) -> None:
        self._run_dir = run_dir
        self._node = node
        self._poster = poster
        self._say = say
        self._lock = threading.Condition()
        self._names = Names((number, step) for number, step in catalogue.attempts(run_dir) if step is not None)
        self._jobs: deque[_Posted] = deque()
        self._open: dict[str, _Posted] = {}
        self._aliases: dict[str, list[_Posted]] = {}
        self._outcomes: deque[Own] = deque()
        self._consumed: deque[tuple[int, Path]] = deque()
        self._threads: list[threading.Thread] = []
        self._stop = False
        self._rung = 0.0
        self._next_sweep = 0.0
        self.bytes = 0
        """Read so far: tells that a large one makes progress."""
        self.done = self.failed = 0
        self._store = Store(run_dir, run_dir / STAGING / f".store-{node.dir.name}", self._read)
        self._remembered: dict[str, dict[str, Any]] = {}
        """What was reported of contents: a ledger that was lost may have known it, and the snapshot be gone since."""
        IndexReader(run_dir, self._remember).look()
        self._index: IndexWriter | None = None
        self._lines: list[dict[str, Any]] = []
        """What the index is to begin with, as long as there is none."""
        for record, step, rank, attempt, payload, outcome in artifacts.rows(connection):
            self._take_up(_Posted(record, step, rank, attempt, payload), outcome)
        with self._lock:
            self._remembered = {id: line for id, line in self._remembered.items() if id in self._open}
        if self._lines or (node.dir / NAME).exists():
            self._write_index()

    def _remember(self, line: dict[str, Any]) -> None:
        if is_digest(line.get("digest")) and isinstance(line.get("size"), int):
            self._remembered[line["id"]] = line

    def _take_up(self, one: _Posted, outcome: dict[str, Any] | None) -> None:
        """Go on where the last collector was."""
        self._lines.append(_said(one))
        if outcome is None:
            self._judge(one)
            return
        self._lines.append(_came(outcome))
        if outcome.get("op") != "failed":
            self._names.enter(_meaning(one))
            self._names.confirm(one.id)

    # -- the posting thread -------------------------------------------------------------------------------

    def add_outcomes(self) -> None:
        """Have what was done since the last call entered with the next posting."""
        while self._outcomes:
            own = self._outcomes.popleft()
            self._poster.add(own)
            if own.payload["op"] == "failed":
                self._poster.note(artifact=own.payload["name"], id=own.payload["id"], reason=str(own.payload["reason"]))

    def posted(self, batch: Batch | None) -> None:
        """A posting is committed."""
        for one in () if batch is None else batch.entries:
            if one.kind != ARTIFACT or not artifacts.is_valid(one.payload):
                continue
            payload = dict(one.payload)
            if payload.get("op") in artifacts.POSTED:
                posted = _Posted(one.record, one.step, one.rank, one.attempt, payload)
                self._say_line(_said(posted))
                self._judge(posted)
            else:
                self._end(payload)
        if self._lines or self._index is not None:
            self._write_index()

    def _end(self, outcome: dict[str, Any]) -> None:
        """An outcome is in the ledger."""
        self._say_line(_came(outcome))
        with self._lock:
            one = self._open.pop(str(outcome["id"]), None)
        if one is not None and "file" in one.payload:
            with contextlib.suppress(CorruptError):  # one that leads elsewhere is left alone
                # This posting is counted already.
                self._consumed.append((self._poster.generation, content.snapshot(self._run_dir, one.payload)))

    def _say_line(self, line: dict[str, Any]) -> None:
        if self._index is None:
            self._lines.append(line)
        else:
            self._index.add(line)

    def _write_index(self) -> None:
        """Record what is pending; on a full disk later."""
        if self._index is None:
            try:
                self._index = IndexWriter(self._node.dir / NAME, self._lines)
            except OSError as error:
                self._say("artifact index", f"the index of artifacts cannot be written yet: {error}")
                return
            self._lines = []
        self._index.write()

    def _judge(self, one: _Posted) -> None:
        """Decide what an entry means, in order of record."""
        with self._lock:
            self._open[one.id] = one
            name, target = one.name, one.payload.get("target")
            known = self._names.get(name)
            if not one.payload.get("overwrite") and known is not None:
                self._fail(one, "FileExistsError", f"there is an artifact named {name!r} already")
            elif target is None:
                self._names.enter(_meaning(one))
                self._queue(one)
            else:
                self._judge_alias(one, str(target))

    def _judge_alias(self, one: _Posted, target: str) -> None:
        if self._names.leads_to(target, one.name):
            self._fail(one, "UsageError", f"{one.name!r} would stand for itself by way of {target!r}")
            return
        meant = self._names.follow(target)
        if meant is None and not self._is_elsewhere(target):
            self._fail(one, "FileNotFoundError", f"there is no artifact named {target!r} that {one.name!r} could mean")
            return
        self._names.enter(_meaning(one))
        if meant is not None and self._names.has(meant.id):
            self._aliases.setdefault(meant.id, []).append(one)
        else:
            self._names.confirm(one.id)
            self._outcome(one, {"op": "linked", "target": target})

    def _is_elsewhere(self, name: str) -> bool:
        """Whether another machine's collector has an artifact of that name."""
        found = False

        def look(line: dict[str, Any]) -> None:
            nonlocal found
            found = found or line.get("name") == name

        IndexReader(self._run_dir, look).look()
        return found

    def rewound(self, attempt: int, step: int | None) -> None:
        """An attempt begins at that step: what earlier ones gave later steps means nothing any more."""
        with self._lock:
            if step is not None and (attempt, step) not in self._names.rewinds:
                self._names.rewinds.append((attempt, step))

    def release(self, synced: int) -> None:
        """Remove the snapshots of those whose outcome is synced."""
        while self._consumed and self._consumed[0][0] <= synced:
            _, path = self._consumed.popleft()
            with contextlib.suppress(OSError):
                content.remove(path)

    def sweep(self, journals: Collection[str], *, now: bool = False) -> None:
        """Remove what processes of this machine left in staging that are gone with their journals: it is nobody's.

        Args:
            journals: those at work, by name.
            now: not only once in a while.
        """
        if not now and time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + _SWEEP_SECS
        staging = self._run_dir / STAGING
        try:
            names = os.listdir(staging)
        except OSError:
            return
        left = [name for name in names if not name.startswith(".") and name not in journals]
        if left:
            busy = {found.stream for found in streams.find(self._run_dir)}
            with self._lock:
                busy |= {id.rpartition("/")[0] for id in self._open}
            busy |= {path.relative_to(staging).parts[0] for _, path in self._consumed}
            for name in left:
                if name not in busy and self._is_of_here(name):
                    _sweep(staging / name)
        if now:
            with contextlib.suppress(OSError):
                files.rmdir(staging)

    @staticmethod
    def _is_of_here(stream: str) -> bool:
        return stream.rsplit("-", 2)[0] == host.stem()

    @property
    def waiting(self) -> int:
        """How many have no outcome in the ledger."""
        with self._lock:
            return len(self._open)

    def health(self) -> dict[str, int]:
        """Counts since the start, and how many wait."""
        return {
            "waiting": self.waiting,
            "done": self.done,
            "failed": self.failed,
            "duplicates": self._store.duplicates,
            "bytes": self.bytes,
        }

    # -- outcomes: under the lock ---------------------------------------------------------------------------

    def _outcome(self, one: _Posted, payload: dict[str, Any]) -> None:
        op = payload.pop("op")
        head = {"op": op, "id": one.id, "of": one.record, "name": one.name}
        self._outcomes.append(Own(ARTIFACT, {**head, **payload}, one.step, one.rank, one.attempt))
        now = time.monotonic()
        if now - self._rung >= _RING_SECS or not self._jobs:
            self._rung = now
            wake(self._node.dir)

    def _fail(self, one: _Posted, error: str, reason: str) -> None:
        self.failed += 1
        self._say(f"artifact {one.id}", f"the artifact {one.name!r} came to nothing: {reason}")
        self._names.drop(one.id)
        self._outcome(one, {"op": "failed", "error": error, "reason": reason})

    # -- the storing threads ----------------------------------------------------------------------------------

    def _queue(self, one: _Posted) -> None:
        self._jobs.append(one)
        if len(self._threads) < min(WORKERS, len(self._jobs)) and not self._stop:
            thread = threading.Thread(target=self._work, name="steno-artifacts", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._lock.notify()

    def _read(self, count: int) -> bool:
        self.bytes += count
        return not self._stop

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._jobs and not self._stop:
                    self._lock.wait()
                if self._stop:
                    return
                one = self._jobs.popleft()
            try:
                kept = self._store.keep(one.payload)
            except InterruptedError:
                return
            except OSError as error:
                if error.errno in FULL:
                    # The snapshot is safe, and tried again.
                    self._say("artifacts", f"storing artifacts waits: {error}")
                    with self._lock:
                        self._jobs.appendleft(one)
                        self._lock.wait_for(lambda: self._stop, _PAUSE_SECS)
                    continue
                known = self._remembered.get(one.id)
                if known is not None and content.place(self._run_dir, known["digest"]).exists():
                    kept = {"what": one.payload["op"], **{name: known[name] for name in ("digest", "size")}}
                    self._complete(one, kept)
                else:
                    self._give_up(one, "OSError", f"its snapshot is lost: {error}")
            except Exception as error:
                self._give_up(one, "OSError", repr(error))
            else:
                self._complete(one, kept)

    def _complete(self, one: _Posted, kept: dict[str, Any]) -> None:
        with self._lock:
            self.done += 1
            self._names.confirm(one.id)
            self._outcome(one, {"op": "stored", **kept})
            for alias in self._aliases.pop(one.id, ()):
                self._names.confirm(alias.id)
                self._outcome(alias, {"op": "linked", "target": alias.payload["target"]})

    def _give_up(self, one: _Posted, error: str, reason: str) -> None:
        with self._lock:
            self._fail(one, error, reason)
            for alias in self._aliases.pop(one.id, ()):
                self._fail(alias, "FileNotFoundError", f"{alias.payload['target']!r}, which it was to mean, is lost")

    def close(self, timeout_secs: float = 2.0) -> None:
        """Stop; what is not done is taken up by the next collector."""
        with self._lock:
            self._stop = True
            self._lock.notify_all()
        deadline = time.monotonic() + timeout_secs
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        self._store.close()

    def abandon(self) -> None:
        """Stop without waiting."""
        self.close(0.0)


def _sweep(place: Path) -> None:
    """Take away the snapshots that a process has left: nothing else is in its directory."""
    for entry in files.scan(place):
        if inside.number(entry.name) is not None and entry.is_dir(follow_symlinks=False):
            content.remove(Path(entry.path) / content.MANIFEST)
    files.clear(place, lambda name: inside.number(name) is not None)


def _meaning(one: _Posted) -> Meaning:
    return Meaning(one.id, one.name, one.payload.get("target"), one.step, one.attempt)


def _said(one: _Posted) -> dict[str, Any]:
    """The index's line of an entry."""
    line = {"id": one.id, "name": one.name, "record": one.record, "step": one.step, "attempt": one.attempt}
    return line if one.payload.get("target") is None else {**line, "target": one.payload["target"]}


def _came(outcome: dict[str, Any]) -> dict[str, Any]:
    """The index's line of an outcome."""
    names: Iterable[str] = ("id", "digest", "size", "error", "reason")
    line = {name: outcome[name] for name in names if name in outcome}
    return {**line, "linked": True} if outcome.get("op") == "linked" else line
