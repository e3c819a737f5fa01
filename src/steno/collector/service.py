"""The collector: posts this node's journals, follows with destinations, seals, and leaves when all is done."""

from __future__ import annotations

import bisect
import contextlib
import os
import sqlite3
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from steno import files, host, inside, machinery, runfile, statusfile
from steno.collector import catalogue, ledgers
from steno.collector.artifacts import ArtifactKeeper
from steno.collector.attempt_numbers import AttemptNumbers
from steno.collector.carding import Carding
from steno.collector.durable import Syncer
from steno.collector.elsewhere import Elsewhere
from steno.collector.followers import Delivery
from steno.collector.reading import Marker
from steno.collector.roster import Roster, has_writers
from steno.collector.sealing import Sealing
from steno.collector.system.sampling import Sampling
from steno.collector.upkeep import CollectorUpkeep, LedgerRemoved
from steno.collector.uploads.supervisor import UploadSupervisor
from steno.destinations import asked
from steno.journal.wakeup import Wakeup
from steno.ledger import manifest, schema
from steno.ledger.fence import Fenced, Superseded
from steno.ledger.post import Poster
from steno.ledger.read import Reader
from steno.ledger.seal import Sealer
from steno.ledger.snapshot import run_state
from steno.ledger.spool import Spool
from steno.record import FINISH
from steno.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from steno.journal.decode import Slice
    from steno.ledger.incoming import StreamInfo
    from steno.record import Batch

POST_SECS = 0.25
"""Between two postings while nobody waits: a posting costs, whatever it brings, and readers bear a second."""
SOON_SECS = 0.05
"""Between two while somebody does, or the end is near."""
_RING_SECS = 0.002
"""At least so long between two, however often it is woken."""
_RUNG_SECS = 0.3
"""Who wakes it may wait for what destinations have delivered, too, and wakes it again."""
_GRACE_SECS = 10.0
"""A collector started by `init` may be there before the first journal."""
_STATUS_SECS = 0.9
_URGENT_STATUS_SECS = 0.05
_URGENT_SECS = 3.0
"""A process that finishes waits for its records to be delivered, and reads that in the status."""
_DYING_SECS = 1.0
"""A killed process's locks are gone after so long, as a rule."""
_HEARTBEAT_SECS = 20.0
_LEAVE_SECS = 2.0
_DISK_SECS = 1.0
_SET_ASIDE = 3
"""After so many ledgers it is not the ledger that is damaged."""
_UPLOAD_SECS = 0.05
_PLACE_SECS = 5.0
_UPLOAD_LEAST_SECS = 5.0
"""Loading a store's library takes a second or two: so long a first try must have."""


class Service:
    """One collector. `run` returns when it has left; use it once.

    Killed at any instruction it loses nothing: the next one goes on from the last transaction.

    Args:
        run_dir: the run's directory.
        linger_secs: how long to stay for destinations that make no progress, once all writers are gone.
        adopt_secs: how long another machine's writer gives no sign of life before its journal is posted here; 0: never.
        adopt: post the journals of other machines immediately.
        once: post and deliver what is there now, then leave, also while writers live.
        locked: called when it has its lock, or knows that another one has it.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        linger_secs: float = 60.0,
        adopt_secs: float = 120.0,
        adopt: bool = False,
        once: bool = False,
        locked: Callable[[], None] | None = None,
    ) -> None:
        self.run_dir = run_dir.absolute()
        self._locked = locked
        self.linger_secs = linger_secs
        self._adopt_secs = adopt_secs
        self._adopt = adopt
        self.once = once
        self._stop = threading.Event()
        self._said: set[str] = set()
        self._problem: str | None = None
        self._removed = 0
        self._set_aside = 0
        self._poison = self.run_dir / ".steno" / "poison"

    def run(self) -> int:
        """Collect until all is done: 0; 1 if destinations lack records. Raises CorruptError for what is no run."""
        inside.check(self.run_dir)
        runfile.require_format(self.run_dir, writing=True)
        lock = self._enter()
        if self._locked is not None:
            self._locked()
        if lock is None:
            return 0
        self._locks = [lock]
        try:
            while True:
                try:
                    self._open()
                    self._work()
                    complete = self._leave()
                    complete = self._uploaded() and complete
                    if complete and self._has_ended and not self._stop.is_set() and self._retire():
                        return 0
                except sqlite3.DatabaseError as error:
                    self._set_aside += 1
                    if not _is_damage(error) or self._set_aside > _SET_ASIDE:
                        raise
                    self._abandon()
                    ledgers.set_aside(self.node, error, self.say)
                    continue
                except LedgerRemoved:
                    self._abandon()
                    continue
                except Superseded:
                    self.say("superseded", "another collector works on this run now, so this one ends")
                    return 0
                if self._stop.is_set() or self.once or not self._has_writers():
                    return 0 if complete else 1
        finally:
            self._abandon()
            for one in self._locks:
                os.close(one)

    def stop(self) -> None:
        """Have `run` post what there is and leave. Safe in a signal handler."""
        self._stop.set()

    def _enter(self) -> int | None:
        """Find this machine's node, and take its lock; None: another collector is at work.

        Begun again where another collector puts the machinery away meanwhile, and with it the lock.
        """
        while True:
            machinery.restore(self.run_dir)
            try:
                self.node = catalogue.claim(self.run_dir)
                lock = self._take_lock()
            except FileNotFoundError:
                if not self.run_dir.is_dir():
                    raise
                continue
            if lock is None or files.inode(lock) == files.inode(self.node.dir / "collector.lock"):
                return lock
            os.close(lock)

    def _take_lock(self) -> int | None:
        """The lock of the one collector; None: another is at work.

        One that works for dead writers is about to leave, or is a killed one whose end the kernel has not
        finished, and so may the writers seem to live that were killed with it: who was told to post everything
        now waits for it.
        """
        began = time.monotonic()
        while True:
            lock = host.hold(self.node.dir / "collector.lock")
            waited = time.monotonic() - began
            if lock is not None or not self.once or waited >= self.linger_secs:
                return lock
            if waited >= _DYING_SECS and self._has_writers():
                return None
            time.sleep(SOON_SECS)

    # -- beginning ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._began = time.monotonic()
        self._quiet_since: float | None = None
        self._attempt = 0
        self._status: dict[str, Any] = {}
        self._next_status = 0.0
        self._refused = 0
        self._urgent_until = 0.0
        self._heartbeat = 0.0
        self._progress = -1
        self._progress_at = self._began
        self._has_ended = False
        manifest.begin_again(self.run_dir, self.node.number)
        connection = self._connection = ledgers.begin(self.node)
        self._lock = threading.RLock()
        self.poster = Poster(connection, self.node.number, self._lock)
        sealer = Sealer(self.run_dir, connection, self._lock, self.node.number)
        self._expected = ledgers.Expectation(self.run_dir, self.node, self.poster, self._lock, self.say)
        self._expected.begin()
        sealer.clean()
        self.sealing = Sealing(sealer, self.say)
        manifest.remove(self.run_dir, self.node.dir)
        connection.execute("delete from meta where key='done'")
        self.upkeep = CollectorUpkeep(self.run_dir, self.node, self._locks, self.say)
        self.marker = Marker(self.node.ledger.with_name("reading"))
        self.media = Spool(self.run_dir, self.node.dir, self.say)
        elsewhere = Elsewhere(
            self.run_dir, self.node, self.poster,
            lease_secs=self._adopt_secs, at_once=self._adopt, once=self.once, say=self.say,
        )  # fmt: skip
        self.numbers = AttemptNumbers(self.run_dir, self.node.dir, connection, self._lock)
        self.roster = Roster(
            self.run_dir, self.node.number, self.poster, self.marker, elsewhere, self.say, self.numbers.of
        )
        self.syncer = Syncer(self.node.ledger, lambda: self.poster.generation, self.media.sync, self.say)
        self.reader = Reader(self.run_dir)
        self.artifacts = ArtifactKeeper(self.run_dir, self.node, connection, self.poster, self.say)
        self.delivery = Delivery(
            self.run_dir, self.node, connection=connection, lock=self._lock, reader=self.reader, say=self.say
        )
        self.delivery.publish(self.poster.next_batch - 1, self.poster.next_record - 1, None)
        self.uploads = UploadSupervisor(self.run_dir, self.node, self.say)
        self.carding = Carding(self.run_dir, self.node, connection, self._lock, self.say)
        hidden = [(attempt, rewind) for attempt, rewind in catalogue.attempts(self.run_dir) if rewind is not None]
        self.carding.begin(tuple(hidden), self.poster.next_batch - 1)
        with contextlib.suppress(sqlite3.OperationalError, OSError):  # the first tick meets it again, and waits
            self._scan(time.monotonic())
        if self.marker.poison is not None:
            self._set_frame_aside(*self.marker.poison)
        self.syncer.start()
        self.wakeup = Wakeup(self.node.dir)
        self.system = Sampling(self.run_dir, lambda: catalogue.system_metrics(self.run_dir), self.say)
        if self._removed:
            # Told before anything more is posted: one that finishes then says so.
            self._report(self._began, force=True)

    def _set_frame_aside(self, stream: str, segment: int, offset: int) -> None:
        journal = self.roster.journals.get(stream)
        if journal is not None:
            journal.set_aside(segment, offset, "a collector died twice while decoding it")

    # -- the loop ----------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._look_after()
                found, more = self._tick()
                if not found and not self.poster.has_own and self._is_done() and self.roster.is_whole():
                    return
            except (sqlite3.OperationalError, OSError) as error:
                if isinstance(error, sqlite3.Error) and _is_damage(error):
                    raise
                self._wait_for_room(error)
                continue
            if not more:
                self._rest()

    def _look_after(self) -> None:
        try:
            self.upkeep.look(time.monotonic())
        except LedgerRemoved:
            ledgers.write_again(self.node, self._connection, self._lock, self.say)
            self._removed += 1
            raise

    def _rest(self) -> None:
        """Until the next posting is due, or somebody wakes it."""
        nearing = self.once or not any(journal.alive for journal in self.roster.journals.values())
        soon = nearing or time.monotonic() < self._urgent_until
        if self.wakeup.wait(SOON_SECS if soon else POST_SECS):
            self._stop.wait(_RING_SECS)
            now = time.monotonic()
            self._urgent_until = max(self._urgent_until, now + _RUNG_SECS)
            self._next_status = min(self._next_status, now + _URGENT_STATUS_SECS)
            self.roster.hurry()

    def _tick(self) -> tuple[bool, bool]:
        """One posting. (something was found, there is more at once)"""
        cut = time.monotonic_ns()
        now = time.monotonic()
        self._scan(now)
        if self.sealing.check():
            self.carding.sealed()
        self.roster.look(now)
        found = False
        is_held = not self.once and self.numbers.is_awaited(self._attempt, now)
        for slices in self.roster.read(cut) if not is_held else ():
            found = found or bool(slices)
            self._post(slices)
        more = self.roster.more
        if self._expected.open and not is_held and not more and not self.roster.has_left_over:
            batch = self._expected.judge()
            if batch is not None:
                self._posted(batch, ())
        self._end_journals()
        self._problem = None
        self.delivery.look(now)
        if not self.once:
            self.system.look(now, self._processes)
        self.uploads.look(now)
        self.sealing.part_points = self.uploads.part_points
        self.carding.look(now, self.syncer.synced)
        self._report(now)
        return found, more

    def _processes(self) -> dict[int, frozenset[int]]:
        """The processes that log on this machine, by rank."""
        found: dict[int, frozenset[int]] = {}
        for journal in self.roster.mine():
            if journal.alive and journal.process is not None:
                rank, pid = journal.process
                found[rank] = found.get(rank, frozenset()) | {pid}
        return found

    def _wait_for_room(self, error: Exception) -> None:
        """A full disk, most likely: the journals keep everything until there is room again."""
        self._problem = f"posting failed: {error}"
        self.say("post", f"{self._problem} ({self.node.ledger}); trying again")
        self.roster.rewind()
        self._report(time.monotonic())
        self._stop.wait(_DISK_SECS)

    def _post(self, slices: list[tuple[StreamInfo, Slice]]) -> None:
        for _, piece in slices:
            self.media.take(piece.special)
            for late in piece.fills:
                self.media.take(late.values)
        for failure in self.media.failures():
            self.poster.note(**failure)
        self.artifacts.add_outcomes()
        samples, troubles = self.system.take()
        for sample in samples:
            self.poster.sample(sample)
        for trouble in troubles:
            self.poster.note(system=trouble)
        try:
            batch = self.poster.post(slices)
        except (sqlite3.Error, OSError, Superseded):
            raise
        except Fenced as other:
            self.media.forget()
            self.roster.fence(other.streams)
            self.roster.rewind()
            return
        except Exception as error:
            self._narrow(slices, error)
            return
        self._posted(batch, {info.stream for info, _ in slices})

    def _posted(self, batch: Batch | None, streams: Collection[str]) -> None:
        """Tell everybody what was posted, and the writers of these streams."""
        self.artifacts.posted(batch)
        self.media.posted(self.poster.generation)
        record = self.poster.next_record - 1
        if self.poster.refused.values != self._refused:
            # Told before the writer is: one that finishes has something to say of it.
            self._refused = self.poster.refused.values
            self._report(time.monotonic(), force=True)
        self.roster.posted(streams, record)
        if batch is not None:
            self.sealing.added(batch)
            self.carding.added(batch, self.poster.generation)
            if any(entry.kind == FINISH for entry in batch.entries):
                self._urgent_until = time.monotonic() + _URGENT_SECS
                self._next_status = 0.0
        self.delivery.publish(self.poster.next_batch - 1, record, batch)

    def _narrow(self, slices: list[tuple[StreamInfo, Slice]], error: Exception) -> None:
        """Something that was read cannot be posted: read it again in smaller pieces, at last one frame, set aside."""
        self.say("posting", f"posting raised {error!r}: what raises it is looked for, and set aside")
        self.media.forget()
        found = False
        for stream in dict.fromkeys(info.stream for info, _ in slices):
            own = [(info, piece) for info, piece in slices if info.stream == stream]
            raised = self.poster.refuses(own)
            if raised is not None:
                # Slices of a journal follow each other: the first that is refused is the end of a row that is.
                at = bisect.bisect(
                    range(1, len(own)), False, key=lambda count: self.poster.refuses(own[:count]) is not None
                )
                info, piece = own[at]
                self.roster.journals[stream].narrow(info.segment, piece, raised)
                found = True
        if not found:
            if self.poster.refuses(slices) is not None:
                raise error
            self.poster.forget_own()  # the entries of the collector's own are at fault
        self.roster.rewind()

    def _scan(self, now: float) -> None:
        if not self.roster.scan(now):
            return
        self._quiet_since = None
        for attempt, rewind in catalogue.attempts(self.run_dir):
            self.poster.begin_attempt(attempt, catalogue.begins(self.run_dir, attempt) if rewind is None else rewind)
            self._attempt = max(self._attempt, attempt)
            self.artifacts.rewound(attempt, rewind)
            if rewind is not None:
                self.carding.rewound(attempt, rewind)
        # Last: nothing of a new attempt is posted before the ledger knows of it.
        self.roster.scanned()

    def _end_journals(self, *, leaving: bool = False) -> None:
        synced = self.syncer.synced
        self.media.release(synced)
        self.artifacts.release(synced)
        self.roster.end(synced)
        self.artifacts.sweep(self.roster.journals, now=leaving)

    # -- leaving -----------------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        now = time.monotonic()
        if self._problem is not None and not self.once:
            return False
        writing = self.roster.is_writing(once=self.once)
        if not self.once:
            young = not self.poster.generation and now - self._began < min(_GRACE_SECS, max(self.linger_secs, 1.0))
            writing = writing or young
        if writing:
            self._quiet_since = None
            return False
        if self._quiet_since is None:
            self._quiet_since = self._progress_at = now
        if self.delivery.caught_up and not self.media.waiting and not self.artifacts.waiting:
            return True
        progress = self.delivery.progress() + self.media.done + self.artifacts.bytes
        if progress != self._progress:
            self._progress, self._progress_at = progress, now
        return now - self._progress_at >= self.linger_secs

    def _has_writers(self) -> bool:
        roster = self.__dict__.get("roster")
        return has_writers(self.run_dir, {} if roster is None else roster.journals)

    def _leave(self) -> bool:
        """Close everything; whether all destinations have everything."""
        self.system.stop()
        self.media.close(_LEAVE_SECS)
        self.artifacts.close(_LEAVE_SECS)
        service_secs = _LEAVE_SECS if self._stop.is_set() else max(_LEAVE_SECS, self.linger_secs)
        complete = self.delivery.close(_LEAVE_SECS, service_secs)
        self.sealing.join()
        writing = any(journal.alive for journal in self.roster.mine())
        self.syncer.close()
        self._end_journals(leaving=True)
        ended = self._has_ended = not writing and not self._stop.is_set() and self._seal_all()
        self.carding.close(self.syncer.synced, ended=ended, nodes=len(self.reader.nodes()))
        self._report(time.monotonic(), force=True)
        self.roster.elsewhere.leave(self.roster.journals)
        self.roster.close()
        self.marker.close()
        self.wakeup.close()
        schema.end(self._connection)
        return complete

    def _seal_all(self) -> bool:
        """Seal what is left and write the manifest; whether that went well."""
        self._await_place()
        try:
            # What lies in a store is never replaced there: somebody's table may name it.
            self.sealing.sealer.finish(self.sealing.part_points, merge=not self.uploads.wanted)
            state = run_state(self.reader.snapshot(batches=False).streams, live=())
            self.poster.set_meta("done", {"state": state, "time": time.time_ns()})
            manifest.write(self.run_dir, self.node.dir)
        except (OSError, sqlite3.OperationalError) as error:
            self.say("seal", f"the run could not be sealed: {error}; `steno sync` does it later")
            return False
        return True

    def _await_place(self) -> None:
        """Until it is known which of its job's runs this one is in the store: its parts say that in each row."""
        self.uploads.look(float("inf"))
        deadline = time.monotonic() + _PLACE_SECS
        while self.uploads.seeks_place and time.monotonic() < deadline and not self._stop.wait(_UPLOAD_SECS):
            pass

    def _retire(self) -> bool:
        """Put the machinery of a run away of which everybody has all; whether it is."""
        if self._has_writers() or runfile.read(self.run_dir)[0].get("layout", "run") != "run":
            return False
        if asked.unconfirmed(self.run_dir):
            return False  # another user's collector may have something to deliver there
        try:
            with runfile.alone(self.run_dir) as is_alone:
                return is_alone and manifest.put_away(self.run_dir)
        except (OSError, sqlite3.Error) as error:
            self.say("retire", f"the run's machinery stays: {error}")
            return False

    def _uploaded(self) -> bool:
        """Stay until all is in the stores; whether it is. Without progress, or when a writer comes, no longer."""
        self.uploads.look(float("inf"))
        if not self.uploads.wanted:
            return True
        number, seen, moved_at = self.uploads.ask(), self.uploads.progress(), time.monotonic()
        while not self._stop.wait(_UPLOAD_SECS) and not self.uploads.stopped:
            writing = self._has_writers()
            if self.uploads.reached(number) and (self.uploads.complete or writing):
                break
            now = time.monotonic()
            if self.uploads.progress() != seen:
                seen, moved_at = self.uploads.progress(), now
            if now - moved_at >= max(self.linger_secs, _UPLOAD_LEAST_SECS) or (writing and not self.once):
                break
            self._write_status(now)
        self._write_status(time.monotonic(), force=True)
        # While a writer lives its last points are not sealed: what is, is all there is to be had.
        complete = self.uploads.reached(number) and (self.uploads.complete or self._has_writers())
        self.uploads.abandon()
        return complete

    def _write_status(self, now: float, *, force: bool = False) -> None:
        """The last status with the uploads as they are now, for the ledger is closed."""
        current = {**self._status, "uploads": self.uploads.health()}
        if current == self._status or (now < self._next_status and not force):
            return
        self._next_status = now + _URGENT_STATUS_SECS
        self._status = current
        self._pass_on(current)

    def _abandon(self) -> None:
        """Close handles after an error, or twice."""
        ends = dict.fromkeys(("delivery", "carding", "sealing", "syncer", "media", "artifacts", "uploads"), "abandon")
        for name, end in {
            **ends,
            "roster": "close",
            "system": "stop",
            "wakeup": "close",
            "_connection": "close",
        }.items():
            held = self.__dict__.pop(name, None)
            if held is not None:
                getattr(held, end)()

    # -- telling -----------------------------------------------------------------------------------------

    def say(self, key: str, message: str) -> None:
        """One line for a person in `collector.log`, once per key."""
        if key in self._said:
            return
        self._said.add(key)
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {visible(message)}\n"
        try:
            with open(self.node.dir / "collector.log", "a", encoding="utf-8") as log:
                log.write(line)
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(line)

    def _report(self, now: float, *, force: bool = False) -> None:
        if now < self._next_status and not force:
            return
        self._next_status = now + (_URGENT_STATUS_SECS if now < self._urgent_until else _STATUS_SECS)
        current = {
            "pid": os.getpid(),
            "host": host.name(),
            "node": self.node.dir.name,
            "record": self.poster.next_record - 1,
            "batch": self.poster.next_batch - 1,
            "attempt": self._attempt,
            "counters": {"run": self.poster.next_step()},
            "streams": {name: journal.state for name, journal in self.roster.journals.items()},
            "destinations": self.delivery.health(),
            "unsealed": self.sealing.points,
            "media": {"waiting": self.media.waiting, "encoded": self.media.done, "kept_raw": self.media.failed},
            "artifacts": self.artifacts.health(),
            "uploads": self.uploads.health(),
            "removed": self._removed,
            "refused": self.poster.refused.as_data(),
            "error": self._problem or self.sealing.error or self.syncer.error,
        }
        if current == self._status and now < self._heartbeat and not force:
            return
        self._status, self._heartbeat = current, now + _HEARTBEAT_SECS
        self._pass_on(current)

    def _pass_on(self, status: dict[str, Any]) -> None:
        text = schema.json_text({"time": time.time_ns(), **status})
        with contextlib.suppress(OSError):
            files.replace(self.node.dir / statusfile.FILE, text.encode())


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether SQLite says that the file itself is bad, as against busy or full; another's tables are that too."""
    if type(error) in {sqlite3.DatabaseError, sqlite3.IntegrityError}:
        return True
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
