"""Runs one destination inside the user's process: a thread that reads this process's own journal."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from steno.errors import CorruptError, Skip, Stop
from steno.journal import format as fmt
from steno.record import NOTE, Batch, Entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from steno.capture.recorder import Recorder
    from steno.destinations.base import Destination
    from steno.journal.decode import Slice
    from steno.journal.segment import Segment
    from steno.journal.tailer import Tailer
    from steno.record import RunInfo

BOUND_BYTES: Final = 64 << 20
"""Segments kept for a destination that is behind; beyond them its oldest records are skipped, counted."""
_TRIES: Final = 10
_FIRST_WAIT_SECS: Final = 0.05
_LAST_WAIT_SECS: Final = 5.0


class Feed:
    """Feeds one destination object with this process's records as they were at the call.

    The caller pays nothing per record: the worker reads the segments that `log` has written anyway. Records
    beyond BOUND_BYTES behind are skipped for this destination and counted; the ledger has them. Record
    numbers and automatic steps are this process's own, counted from 1 and from 0.

    Args:
        recorder: whose journal to read.
        destination: any object with the four methods.
        run: handed to `destination.open`.
        name: how it is called in messages and health.
        report: told (key, message) once.
        poll_secs: how often the journal is looked at.
    """

    def __init__(
        self,
        recorder: Recorder,
        destination: Destination,
        run: RunInfo,
        *,
        name: str,
        report: Callable[[str, str], None],
        poll_secs: float = 0.1,
    ) -> None:
        self.name = name
        self._recorder = recorder
        self._destination = destination
        self._run = run
        self._report = report
        self._poll_secs = poll_secs
        self._queue: deque[tuple[int, Path, int, bool]] = deque()
        self._queued_bytes = 0
        self._wake = threading.Event()
        self._closing = False
        self._deadline = float("inf")
        self._done = threading.Event()
        self._idle = threading.Event()
        self._tailer: Tailer | None = None
        self._gap = False
        self._numbering = _Numbering()
        self.delivered = 0
        self.skipped = 0
        self.retries = 0
        self.last_error = ""
        self._thread = threading.Thread(target=self._work, name=f"steno-feed-{name}", daemon=True)

    def start(self) -> None:
        """Begin with the segment that is being written now."""
        current = self._recorder._appender.current
        if current is not None:
            self._taken(current)
        self._recorder.feeds.append(self._taken)
        self._thread.start()

    def _taken(self, segment: Segment) -> None:
        """A segment has been taken into use; called at a roll, on the thread that logs."""
        try:
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        gap = False
        while self._queue and self._queued_bytes + segment.size > BOUND_BYTES:
            try:
                old, _, size, _ = self._queue.popleft()
            except IndexError:
                break
            os.close(old)
            self._queued_bytes -= size
            gap = True
        self._queue.append((fd, segment.path, segment.size, gap))
        self._queued_bytes += segment.size

    # -- the worker ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._destination.open(self._run)
        except Exception as error:
            self._halt(f"could not be opened: {error!r}")
            return
        try:
            while True:
                moved = self._step()
                if moved:
                    self._idle.clear()
                    continue
                self._idle.set()
                if self._closing:
                    break
                self._wake.wait(self._poll_secs)
                self._wake.clear()
            self._destination.flush()
        except Stop as error:
            self._halt(f"stopped: {error}")
        except Exception as error:
            self._halt(f"failed: {error!r}")
        finally:
            try:
                self._destination.close()
            except Exception as error:
                self._error(error)
            if self._tailer is not None:
                self._tailer.close()
                self._tailer = None
            self._done.set()
            self._idle.set()

    def _step(self) -> bool:
        """Deliver what the journal has now; False when there is nothing."""
        from steno.journal.tailer import Tailer

        if self._tailer is None:
            try:
                fd, path, size, gap = self._queue.popleft()
            except IndexError:
                return False
            self._queued_bytes -= size
            self._gap = self._gap or gap
            try:
                self._tailer = Tailer(path, fd=fd, writable=False)
            except (OSError, CorruptError) as error:
                self._error(error)
                return True
        closed = self._tailer.closed
        part = self._tailer.read(1 << 20)
        if part is None:
            # Whether it was closed was asked first: what is written before closing is read by now.
            if closed and self._tailer.drained:
                self._tailer.close()
                self._tailer = None
                return bool(self._queue)
            return False
        missing = self._numbering.missing(part)
        if self._gap:
            # Numbers burnt by a value that could not be encoded are among them: an upper bound.
            self.skipped += missing
            self._gap = False
        batch = self._numbering.batch(part, self._tailer.identity)
        if len(batch) or batch.entries:
            self._deliver(self._select(batch))
        return True

    def _select(self, batch: Batch) -> Batch:
        from dataclasses import replace

        import numpy as np

        kinds = getattr(self._destination, "kinds", frozenset({"points"}))
        entries = tuple(entry for entry in batch.entries if entry.kind in kinds)
        if "points" in kinds:
            return replace(batch, entries=entries)
        none = np.zeros(0, np.int64)
        few = none.astype(np.int32)
        return replace(
            batch, record=none, time=none, step=none, rank=few, attempt=few, set=few, sets=(),
            value=np.zeros(0), special={}, entries=entries, meta={},
        )  # fmt: skip

    def _deliver(self, batch: Batch) -> None:
        if not (len(batch) or batch.entries):
            return
        wait = _FIRST_WAIT_SECS
        for attempt in range(_TRIES):
            try:
                self._destination.write(batch)
            except Skip as skip:
                self.skipped += len(skip.records) or len(batch)
                return
            except Stop:
                raise
            except Exception as error:
                self._error(error)
                self.retries += 1
                if time.monotonic() + wait >= self._deadline or attempt == _TRIES - 1:
                    break
                time.sleep(wait)
                wait = min(wait * 2, _LAST_WAIT_SECS)
            else:
                self.delivered += len(batch) + len(batch.entries)
                return
        self.skipped += len(batch)

    def _error(self, error: BaseException) -> None:
        if not self.last_error:
            self._report(self.name, f"destination {self.name}: {error!r}; training is not affected")
        self.last_error = repr(error)

    def _halt(self, why: str) -> None:
        self.last_error = why
        self._report(self.name, f"destination {self.name} {why}; the other destinations go on")
        self._done.set()
        self._idle.set()

    # -- the ends -------------------------------------------------------------------------------------------

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until what was logged before the call is delivered; False when it was not in time."""
        if self._done.is_set():
            return not self.last_error
        self._idle.clear()
        self._wake.set()
        return self._idle.wait(timeout)

    def close(self, timeout: float = 2.0) -> bool:
        """Deliver the rest for at most `timeout` seconds and end; False: something is left behind."""
        self._deadline = time.monotonic() + timeout
        self._closing = True
        self._wake.set()
        if not self._thread.is_alive() and not self._done.is_set():
            return True
        return self._done.wait(timeout)

    def health(self) -> dict[str, Any]:
        """Delivered, skipped, retried, last error."""
        return {
            "delivered": self.delivered,
            "skipped": self.skipped,
            "retries": self.retries,
            "last_error": self.last_error,
        }


class _Numbering:
    """Turns slices of one process into batches, with numbers and steps of its own."""

    def __init__(self) -> None:
        self._next_step = 0
        self._next_batch = 1
        self._next_seq = fmt.FIRST_SEQ
        self._holes: dict[int, tuple[int, int]] = {}

    def missing(self, part: Slice) -> int:
        """Sequence numbers between the last slice and this one that nobody delivered."""
        seqs: list[int] = [*part.seq[:1].tolist(), *part.seq[-1:].tolist(), *(entry.seq for entry in part.entries)]
        if not seqs:
            return 0
        missing = max(0, int(min(seqs)) - self._next_seq)
        self._next_seq = max(self._next_seq, max(seqs) + 1)
        return missing

    def batch(self, part: Slice, identity: fmt.Identity) -> Batch:
        import numpy as np

        from steno.journal.decode import Hole

        step = part.step.copy()
        if part.auto.all():
            step[:] = self._next_step + np.arange(len(step))
            self._next_step += len(step)
        elif part.auto.any():
            for row, automatic in enumerate(part.auto.tolist()):
                if automatic:
                    step[row] = self._next_step
                self._next_step = max(self._next_step, int(step[row]) + 1)
        elif len(step):
            self._next_step = max(self._next_step, int(step.max()) + 1)
        count = len(step)
        number = self._next_batch
        self._next_batch += 1
        entries = [
            Entry(e.seq - fmt.FIRST_SEQ + 1, e.wall, e.step, identity.rank, identity.attempt, e.kind, e.payload)
            for e in part.entries
        ]
        entries += [
            Entry(0, int(time.time_ns()), None, identity.rank, identity.attempt, NOTE, {"refused": key, "why": why})
            for key, why in part.refused.items()
        ]
        batch = Batch(
            id=number,
            node=0,
            record=part.seq - fmt.FIRST_SEQ + 1,
            time=part.wall,
            step=step,
            rank=np.full(count, identity.rank, np.int32),
            attempt=np.full(count, identity.attempt, np.int32),
            set=part.set,
            sets=tuple(known.keys for known in part.sets),
            value=part.value,
            special={place: what for place, what in part.special.items() if not isinstance(what, Hole)},
            entries=tuple(entries),
            meta=part.meta,
        )
        if len(batch.special) != len(part.special):
            return self._without_holes(batch, part)
        return self._with_fills(batch, part) if part.fills else batch

    def _without_holes(self, batch: Batch, part: Slice) -> Batch:
        """Points still on a device leave the batch; their record is remembered for the fill."""
        import numpy as np

        from steno.journal.decode import Hole

        splits = batch.splits()
        holes = sorted(place for place, what in part.special.items() if isinstance(what, Hole))
        for row in np.unique(np.searchsorted(splits, holes, side="right") - 1).tolist():
            self._remember(int(part.seq[row]), int(batch.step[row]), int(batch.time[row]))
        gone = np.zeros(len(batch.value), np.bool_)
        gone[holes] = True
        keep = np.flatnonzero(~gone)
        place = {int(old): new for new, old in enumerate(keep.tolist())}
        sets: dict[tuple[str, ...], int] = {}
        chosen = np.zeros(len(batch), np.int32)
        for row, old in enumerate(batch.set.tolist()):
            keys = batch.sets[old]
            start = int(splits[row])
            left = tuple(key for at, key in enumerate(keys) if not gone[start + at])
            chosen[row] = sets.setdefault(left, len(sets))
        from dataclasses import replace

        slim = replace(
            batch,
            set=chosen,
            sets=tuple(sets),
            value=batch.value[keep],
            special={place[old]: what for old, what in batch.special.items()},
        )
        return self._with_fills(slim, part) if part.fills else slim

    def _remember(self, seq: int, step: int, when: int) -> None:
        if len(self._holes) >= 65_536:
            self._holes.pop(next(iter(self._holes)))
        self._holes[seq] = (step, when)

    def _with_fills(self, batch: Batch, part: Slice) -> Batch:
        from dataclasses import replace

        import numpy as np

        sets, records, steps, times, chosen = list(batch.sets), [], [], [], []
        values: list[float] = []
        special = dict(batch.special)
        base = len(batch.value)
        for fill in part.fills:
            step, when = self._holes.get(fill.seq, (0, int(time.time_ns())))
            sets.append(tuple(fill.values))
            chosen.append(len(sets) - 1)
            records.append(fill.seq - fmt.FIRST_SEQ + 1)
            steps.append(step)
            times.append(when)
            for value in fill.values.values():
                if isinstance(value, int | float):
                    values.append(float(value))
                else:
                    special[base + len(values)] = value
                    values.append(float("nan"))
        rank = int(batch.rank[0]) if len(batch) else 0
        attempt = int(batch.attempt[0]) if len(batch) else 1
        count = len(records)
        return replace(
            batch,
            record=np.concatenate([batch.record, np.array(records, np.int64)]),
            time=np.concatenate([batch.time, np.array(times, np.int64)]),
            step=np.concatenate([batch.step, np.array(steps, np.int64)]),
            rank=np.concatenate([batch.rank, np.full(count, rank, np.int32)]),
            attempt=np.concatenate([batch.attempt, np.full(count, attempt, np.int32)]),
            set=np.concatenate([batch.set, np.array(chosen, np.int32)]),
            sets=tuple(sets),
            value=np.concatenate([batch.value, np.array(values, np.float64)]),
            special=special,
        )
