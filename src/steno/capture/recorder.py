"""One process's recorder for one run: the appender, its stream of segments and the thread that keeps them."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from steno.capture.exact import encodable
from steno.capture.keeper import Keeper
from steno.capture.late.device_queue import QUEUE, Account
from steno.capture.plain import plain
from steno.capture.posting import Posting
from steno.capture.recorders import RECORDERS
from steno.capture.snapshot import Snapshot, StepLater
from steno.capture.stream import SegmentMaker
from steno.capture.upkeep import JournalUpkeep, adopted
from steno.devices.base import Refused, Traced
from steno.devices.found import conceal
from steno.errors import RecordError, safe_repr
from steno.journal import format as fmt
from steno.journal.appender import Appender
from steno.record import MOVED
from steno.settings import LEAST_SEGMENT_BYTES, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from steno.capture.raws import FilePosition
    from steno.capture.snapshot import PendingValue
    from steno.devices.base import Late
    from steno.journal.segment import Segment
    from steno.media.raw import Buffer

_TICK_SECS: Final = 1.0
_RETRY_SECS: Final = 0.1
"""Between two looks whether the disk has room again."""
_KEYS: Final = 1000
"""So many keys are distinguished in what is reported."""
_DRIFT_NANOS: Final = 1_000_000
_ARRIVAL_SECS: Final = 2.0
_MAKINGS: Final = 2
"""So often a journal is begun again whose place has gone away."""


class Recorder:
    """Records what a process logs into a run's journal. One per process and run.

    Thread-safe, and safe in signal handlers and finalizers. After a fork the child begins a stream of its own
    at its first record. When `log` has returned, its host values survive the death of the process; they are
    lost only with the machine's power before the collector has synced them.

    Args:
        run_dir: the run's directory, which exists.
        run_id, rank, attempt, primary, arrays: see `steno.journal.format.SegmentIdentity`.
        strict: raise RecordError for a bad value instead of reporting it.
        report: called with (key, message) once per key; must not raise.
        watch: called about once a second on the keeper thread.
        settings: None: those of the environment.

    Raises:
        OSError: the journal cannot be made.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        run_id: str,
        report: Callable[[str, str], None],
        rank: int = 0,
        attempt: int = 1,
        primary: bool = True,
        arrays: str = "summary",
        strict: bool = False,
        watch: Callable[[], None] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._run_dir = run_dir
        self._fixed = {"run": run_id, "rank": rank, "attempt": attempt, "primary": primary, "arrays": arrays}
        self._settings = settings or Settings()
        self._strict = strict
        self._say = report
        self._watch = watch
        self._pid = os.getpid()
        self._reported: dict[str, int] = {}
        """How often each key was reported, for the first keys."""
        self._posting = Posting()
        self._left: list[tuple[int, str]] = []
        """Journals that others have adopted: (the first sequence number that is not in it, its name)."""
        self._reports = 0
        self._failing = False
        self._stream: SegmentMaker | None = None
        self._upkeep: JournalUpkeep | None = None
        self._keeper: Keeper | None = None
        self.refusal = "log was called after finish: nothing was recorded; call steno.init again"
        """What a call of `log` after the end is told."""
        self.feeds: list[Callable[[Segment], None]] = []
        """Told each segment taken, so that a destination in this process can read it too."""
        snapshot = Snapshot(self.report, strict=strict, put=self._put)
        self.snapshot = snapshot
        """Makes what `log` is given encodable."""
        self.account = Account(full=self._settings.device_full)
        """What this process's device values have come to."""
        self.appender = Appender(
            next_segment=self._next_segment,
            rolled=self._rolled,
            side=self._side,
            prepare=self._prepare,
            options=snapshot.options,
            fetch=self._fetch,
            convert=snapshot.convert,
            failed=self._failed,
            closed=self._log_after_close,
            slow=self._return,
            odd=snapshot.odd,
            met=snapshot.look,
            strange=self._strange,
        )
        # The hot path: `log` is a closure made in journal/hot_path.py, one call from the user's to
        # the mapped segment. What it does not know how to encode it gives to `_prepare`, below.
        self.log: Callable[..., None] = self.appender.log
        self.add: Callable[..., None] = self.appender.add
        self.scope: Callable[..., tuple[Callable[..., None], Callable[..., None]]] = self.appender.scope
        conceal(self.log)
        self._begin()
        self.appender.clock_frame()
        RECORDERS.add(self)

    # -- the stream -------------------------------------------------------------------------------------

    def _begin(self) -> SegmentMaker:
        self._stream = stream = self._made()
        self._upkeep = self._looked_after(stream)
        self._offset = time.time_ns() - time.monotonic_ns()
        self._watched = 0.0
        self._keeper = Keeper(self._keep, self.report)
        self._keeper.start()
        return stream

    def _made(self) -> SegmentMaker:
        """A journal of this process; begun again where its place goes away: a run that has ended puts that away."""
        for _ in range(_MAKINGS):
            with contextlib.suppress(FileNotFoundError):
                return SegmentMaker(self._run_dir, self._fixed, self._nudge, self._settings)
        return SegmentMaker(self._run_dir, self._fixed, self._nudge, self._settings)

    def _looked_after(self, stream: SegmentMaker) -> JournalUpkeep:
        return JournalUpkeep(self._run_dir, stream, self.appender, lambda: tuple(self._posting.retired), self.report)

    def _move(self) -> None:
        """Another machine has adopted the journal: leave it, and go on in a new one. Raises OSError."""
        old, new = self._stream, self._made()
        assert old is not None
        # Values of its records that are on their way still come into it.
        self.drain(time.monotonic() + _ARRIVAL_SECS)
        self.entry(MOVED, {"to": new.name})
        old.share(new)
        with self.appender.lock:
            self._left.append((self.appender.last_seq + 1, old.name))
            self._stream, self._upkeep = new, self._looked_after(new)
            self.appender.roll()
        old.share(new)
        old.close()
        self.report(f"moved {old.name}", adopted(old.directory))

    def _next_segment(self, _: int) -> Segment:
        stream = self._stream
        if stream is None:
            stream = self._begin()
        else:
            self._return()
        return stream.take()

    def pause(self, deadline: float) -> None:
        """Before a fork: end the keeper, if that is done by then (monotonic secs).

        It comes back when a segment is full, at the next call that leaves the hot path, or at `flush`. Until then
        no spare segments are made, and a collector that dies is not started again.
        """
        if self._watch is not None and self._posting.forget_beginning():
            # What a child records is to be collected, and nobody may log here for long.
            self._watch()
        if self._keeper is not None:
            self._keeper.pause(deadline)

    def _return(self) -> None:
        """Have the keeper back after a fork."""
        if self._keeper is not None:
            self._keeper.start()

    def _rolled(self, left: Segment | None, taken: Segment) -> None:
        if left is not None:
            self._posting.retire(left)
        else:
            for feed in self.feeds:
                feed(taken)
        self._nudge()

    def _side(self, body: bytes) -> str:
        if self._stream is None:
            raise OSError("no stream")
        return self._stream.side(body)

    def _put(self, parts: Iterable[Buffer], size_bytes: int) -> FilePosition:
        stream = self._stream
        if stream is None:
            self.ensure_stream()
            stream = self._stream
            assert stream is not None
        return stream.raws.put(parts, size_bytes)

    # -- device values ----------------------------------------------------------------------------------

    def _prepare(self, data: Any, step: Any, level: Any, arrays: Any) -> tuple[dict[str, Any], int | None, Any] | None:
        try:
            number = self.snapshot.step(step)
            prepared = self.snapshot.prepare(data)
        except Traced:
            from steno.capture.late import traced_records

            try:
                traced_records.stage(self, data, step, level=level, arrays=arrays)
            except Exception as error:
                if self._strict:
                    raise
                self.report("trace", f"a record in a traced function was left out: {safe_repr(error)}")
            return None
        except StepLater:
            from steno.capture.late.postponed import postpone

            postpone(self, data, step, level=level, arrays=arrays)
            return None
        return None if prepared is None else (prepared[0], number, prepared[1])

    def _fetch(self, seq: int, pending: list[PendingValue], arrays: str | None) -> None:
        """Start fetching a record's device values; each comes as a fill."""
        for late, keys in self.start_fetching(pending):
            QUEUE.submit(late, self.fill(seq, keys, arrays), self.account)

    def start_fetching(self, pending: Sequence[PendingValue]) -> list[tuple[Late, list[str]]]:
        """Start fetching device values, as they are; (late values, their keys). What fails is reported and counted."""
        by_adapter: dict[int, list[PendingValue]] = {}
        for one in pending:
            by_adapter.setdefault(id(one.adapter), []).append(one)
        fetches: list[tuple[Late, list[str]]] = []
        for group in by_adapter.values():
            try:
                lates = group[0].adapter.begin([one.value for one in group], QUEUE.room(self.account))
                fetches += [(late, [group[place].key for place in late.places]) for late in lates]
            except Refused:
                pass  # there was no room: counted
            except Exception as error:
                self.account.failed += 1
                for one in group:
                    self.report(one.key, f"the device value of {one.key!r} was left out: {safe_repr(error)}")
        return fetches

    def fill(self, seq: int, keys: Sequence[str], arrays: str | None) -> Callable[[list[Any]], None]:
        """What takes the late values of these keys of a record."""

        def fill(values: list[Any]) -> None:
            if self.appender.sealed:
                msg = "it came after finish"
                raise Refused(msg)
            late = self.encodable(dict(zip(keys, values, strict=True)), arrays)
            if late:
                self.fill_in(seq, late)

        return fill

    def fill_in(self, seq: int, values: dict[str, Any]) -> None:
        """Append late values of the record with that sequence number, which may be in a journal that was left."""
        there = next((name for first, name in self._left if seq < first), None)
        self.appender.append((fmt.FILL, seq, values) if there is None else (fmt.FILL, seq, values, there))

    def append(
        self, values: dict[str, Any], step: int | None, stamp: int, *, level: int | None, arrays: str | None
    ) -> int:
        """Append a record that was made at `stamp` (monotonic ns); its sequence number."""
        appender = self.appender
        meta = {name: value for name, value in (("level", level), ("arrays", arrays)) if value is not None}
        if not meta:
            return appender.plan(values, step, stamp)
        _, seq = appender.stamp()
        appender.append([fmt.RICH, stamp, seq, values, step, meta])
        return seq

    def successor(self) -> Recorder:
        """This one, or after its end one that records now: a compiled function may outlive the run it was traced in."""
        if self.appender.sealed:
            for other in list(RECORDERS):
                if isinstance(other, Recorder) and not other.appender.sealed:
                    return other
        return self

    def encodable(self, values: dict[str, Any], arrays: str | None = None) -> dict[str, Any]:
        """Values as adapters read them, encodable; those that are none are reported and counted."""
        out: dict[str, Any] = {}
        for key, value in values.items():
            if value.__class__ is float:
                out[key] = value
                continue
            try:
                if value.__class__ is Refused:
                    raise value
                out[key] = encodable(value, arrays)
            except ValueError as why:
                self.account.failed += 1
                self.report(key, f"{key!r} was left out: {why}")
        return out

    @property
    def newest(self) -> int:
        """Number of this process's newest record, counted from 1 as destinations in it are told."""
        return self.appender.last_seq - fmt.FIRST_SEQ + 1

    # -- the keeper -------------------------------------------------------------------------------------

    def _nudge(self) -> None:
        if self._keeper is not None:
            self._keeper.nudge()

    def _keep(self) -> float:
        """Make spares, follow the wall clock, leave memory for the disk, watch the collector, look after the files."""
        stream, keeper = self._stream, self._keeper
        assert stream is not None
        assert keeper is not None
        tick = min(_TICK_SECS, stream.stamp_secs)
        try:
            if stream.is_adopted:
                self._move()
                return 0.0
            if self.appender.waiting or self.appender.backlog:
                if self.appender.recover():
                    self._failing = False
            else:
                while stream.stock() and not keeper.is_ending:
                    pass
            self._posting.reap()
            offset = time.time_ns() - time.monotonic_ns()
            if abs(offset - self._offset) > _DRIFT_NANOS and not self.is_bare:
                self._offset = offset
                self.appender.clock_frame()
            now = time.monotonic()
            if now - self._watched >= tick:
                self._watched = now
                if self._watch is not None:
                    self._watch()
                if self._upkeep is not None:
                    self._upkeep.look(now)
        except OSError as error:
            # A spare that cannot be made is no harm yet: what cannot be journalled says so itself.
            if self.appender.waiting:
                self._failed(error)
        except Exception as error:
            self.report("steno", f"the keeper thread failed: {safe_repr(error)}; recording goes on")
        return _RETRY_SECS if self.appender.waiting else tick

    # -- telling the user ---------------------------------------------------------------------------------

    def report(self, key: str, message: str) -> None:
        """Say it once per key, and count how often; bounded, never raises."""
        self._reports += 1
        if key in self._reported:
            self._reported[key] += 1
        elif len(self._reported) <= _KEYS:
            self._reported[key] = 1
            self._say(key, message)

    def _failed(self, error: OSError) -> None:
        if self._strict and not (self._keeper is not None and self._keeper.is_here):
            raise RecordError(str(error)) from error
        if not self._failing:
            self._failing = True
            stream = self._stream
            where = stream.directory if stream else self._run_dir
            self._reported.pop("journal", None)
            self.report(
                "journal",
                f"no journal segment could be made in {where} ({error}); {LEAST_SEGMENT_BYTES} bytes are needed. "
                "Training goes on; records are kept in memory (16 MiB) until there is room",
            )

    def _strange(self) -> None:
        self.report(
            "fork",
            f"process {os.getpid()} was forked by a library that does not tell Python of it: what it logs is not "
            "recorded. Fork by os.fork or multiprocessing, or call steno in the parent",
        )

    def _log_after_close(self) -> None:
        if self._strict:
            raise RecordError(self.refusal)
        self.report("finish", self.refusal)

    # -- the public part ------------------------------------------------------------------------------------

    def entry(self, kind: str, payload: dict[str, Any], step: int | None = None) -> None:
        """Journal a record that is not a point. A payload that cannot be encoded is reported, not raised."""
        if self.appender.sealed:
            self._log_after_close()
            return
        self._return()
        mono, seq = self.appender.stamp()
        try:
            step = self.snapshot.step(step)
        except (Traced, StepLater):
            self.report("step", f"the step of a {kind} entry is still on a device: it was recorded without one")
            step = None
        try:
            self.appender.append((fmt.ENTRY, mono, seq, kind, payload, step))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            if not isinstance(error, UnicodeEncodeError):  # all of such a text is kept, in its escaped form
                if self._strict:
                    raise RecordError(str(error)) from error
                self.report(kind, f"part of a {kind} entry was recorded as text: {safe_repr(error)}")
            try:
                self.appender.append((fmt.ENTRY, mono, seq, kind, plain(payload), step))
            except Exception as again:
                self.report(kind, f"a {kind} entry was left out: {safe_repr(again)}")

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything this process logged before the call, device values too, is in the ledger.

        Args:
            timeout: seconds to wait; None waits as long as it takes.

        Returns:
            True: another process can read it. False: not within the time; it stays in the journal.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._return()
        arrived = self.drain(deadline)
        if self.is_bare:
            return arrived
        posted = self._posting.wait(self.appender.open_segments, deadline, inherited=self._is_inherited)
        return posted and arrived and not self.appender.waiting and not self.appender.backlog

    def unposted(self) -> int:
        """How many bytes of this process's journal are not in the ledger yet."""
        return self._posting.unposted(self.appender.open_segments, inherited=self._is_inherited)

    @property
    def _is_inherited(self) -> bool:
        return os.getpid() != self._pid

    def drain(self, deadline: float | None) -> bool:
        """Wait until the device values logged so far are in the journal; False at the deadline (monotonic secs)."""
        staged = sys.modules.get("steno.capture.late.traced_records")
        called = staged is None or staged.wait_for_callbacks(deadline)
        return QUEUE.drain(self.account, deadline) and called

    def ensure_stream(self) -> str:
        """The name of this process's journal, started now if it has none yet, as in a forked child.

        Raises:
            OSError: it cannot be made.
        """
        stream = self._stream
        if stream is None:
            with self.appender.lock:
                stream = self._stream or self._begin()
        return stream.name

    def want_media(self) -> None:
        """Have the collector say where it puts this journal's media, for a destination in this process."""
        from steno.media import files as media_files

        if self._stream is not None:
            media_files.want(self._stream.directory)

    @property
    def has_media(self) -> bool:
        """Whether this process has logged media values."""
        return self.snapshot.has_media

    def mark_beginning(self) -> None:
        """What was journalled by now only says that the process is there."""
        self._posting.mark_beginning(self.appender.current)

    @property
    def is_bare(self) -> bool:
        """Whether nothing was journalled since `mark_beginning`, here or by another process of the run on this host."""
        return self._posting.is_bare(self.appender, None if self._stream is None else self._stream.directory)

    @property
    def last_record(self) -> int:
        """Number of the last record of this process known to be in the ledger."""
        return self._posting.last_record

    @property
    def lost(self) -> bool:
        """Whether somebody has removed what was stored of the run while this process recorded."""
        return self._upkeep is not None and self._upkeep.has_lost()

    @property
    def sealed(self) -> bool:
        """Whether it was closed: nothing is recorded any more."""
        return self.appender.sealed

    @property
    def stream(self) -> str:
        """The name of this process's journal; "" in a forked child that has not logged."""
        return self._stream.name if self._stream else ""

    def health(self) -> dict[str, Any]:
        """Counts of this process: what was reported, dropped, and late."""
        stream = self._stream
        return {
            "stream": self.stream,
            "reports": self._reports,
            "reported_keys": sorted(self._reported),
            "reported": dict(self._reported),
            "dropped": self.appender.dropped,
            "kept_in_memory": len(self.appender.backlog),
            "segments_made_late": stream.late if stream else 0,
            "segments_waiting": len(self._posting.retired),
            "device": asdict(self.account),
            "native": self.appender.native,
        }

    def close(self) -> None:
        """No more log: close the segments and let go of the lock. Safe to call twice."""
        if self.appender.sealed:
            return
        QUEUE.abandon(self.account)
        keeper = self._keeper
        if keeper is not None:
            keeper.stop()
        if self.appender.backlog:
            self._last_chance(keeper)
        self.appender.close()
        if keeper is not None:
            keeper.join(1.0)
        self._posting.close()
        if self._stream is not None:
            self._stream.close()
        RECORDERS.discard(self)

    def _last_chance(self, keeper: Keeper | None) -> None:
        """Write what waits in memory, or say that it is lost."""
        if keeper is None or keeper.join(1.0):
            self.appender.recover()
        lost = len(self.appender.backlog)
        if lost:
            self.appender.dropped += lost
            self.report(
                "lost",
                f"{lost} records were lost: they waited in memory for room in {self._run_dir}, and recording ends",
            )

    def forked(self) -> None:
        self._pid = os.getpid()
        current = self.appender.current
        if current is not None:
            # Its position is shared with nobody any more: a late write here must fail, not tear the parent's.
            current.close()
        self._posting.after_fork()
        self.feeds = []
        if self._stream is not None:
            self._stream.abandon()
            self._stream = self._upkeep = None
        self._fixed["primary"] = False
        self._keeper = None
        self._watch = None
        self._failing = False
        self.account = Account(full=self.account.full)
        self.appender.after_fork()
