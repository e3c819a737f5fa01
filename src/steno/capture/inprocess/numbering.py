"""One process's slices to batches, with numbers and steps of its own: what an in-process destination sees."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from steno.delivery import pieces
from steno.journal import format as fmt
from steno.record import EXACT_FLOAT, LAST_STEP, LATE, LOGGED, NOTE, Batch, Entry, micros, nearest

if TYPE_CHECKING:
    from steno.journal.decode import Slice


class Numbering:
    """Turns slices of one process into batches, with numbers and steps of its own."""

    def __init__(self) -> None:
        self._next_step = 0
        self._next_batch = 1
        self._next_seq = fmt.FIRST_SEQ
        self._holes: dict[int, tuple[int, int, dict[str, Any]]] = {}

    def missing(self, part: Slice) -> int:
        """Sequence numbers between the last slice and this one that nobody delivered."""
        seqs: list[int] = [*part.seq[:1].tolist(), *part.seq[-1:].tolist(), *(entry.seq for entry in part.entries)]
        if not seqs:
            return 0
        missing = max(0, int(min(seqs)) - self._next_seq)
        self._next_seq = max(self._next_seq, max(seqs) + 1)
        return missing

    def batch(self, part: Slice, identity: fmt.SegmentIdentity) -> Batch:
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
                    self._next_step += 1
                else:
                    self._next_step = max(self._next_step, min(int(step[row]), LAST_STEP) + 1)
        elif len(step):
            self._next_step = max(self._next_step, min(int(step.max()), LAST_STEP) + 1)
        count = len(step)
        number = self._next_batch
        self._next_batch += 1
        entries = [
            Entry(e.seq - fmt.FIRST_SEQ + 1, micros(e.wall), e.step, identity.rank, identity.attempt, e.kind, e.payload)
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
            time=part.wall // 1000 * 1000,
            step=step,
            rank=np.full(count, identity.rank, np.int32),
            attempt=np.full(count, identity.attempt, np.int32),
            set=part.set,
            sets=tuple(known.keys for known in part.sets),
            value=part.value,
            special={place: what for place, what in part.special.items() if not isinstance(what, Hole)},
            entries=tuple(entries),
            meta=_noted(part),
        )
        if len(batch.special) != len(part.special):
            batch = self._without_holes(batch, part)
        return self._with_fills(batch, part, identity) if part.fills else batch

    def _without_holes(self, batch: Batch, part: Slice) -> Batch:
        """Points still on a device leave the batch; their record is remembered for the fill."""
        import numpy as np

        from steno.journal.decode import Hole

        splits = batch.splits()
        holes = sorted(place for place, what in part.special.items() if isinstance(what, Hole))
        for row in np.unique(np.searchsorted(splits, holes, side="right") - 1).tolist():
            meta = {name: what for name, what in batch.meta.get(row, {}).items() if name != LOGGED}
            self._remember(int(part.seq[row]), int(batch.step[row]), int(batch.time[row]), meta)
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
        return _with_points(slim)

    def _remember(self, seq: int, step: int, when: int, meta: dict[str, Any]) -> None:
        if len(self._holes) >= 65_536:
            self._holes.pop(next(iter(self._holes)))
        self._holes[seq] = (step, when, meta)

    def _with_fills(self, batch: Batch, part: Slice, identity: fmt.SegmentIdentity) -> Batch:
        from dataclasses import replace

        import numpy as np

        sets = list(batch.sets)
        records: list[int] = []
        steps: list[int] = []
        times: list[int] = []
        chosen: list[int] = []
        values: list[float] = []
        special, notes = dict(batch.special), dict(batch.meta)
        base = len(batch.value)
        for fill in part.fills:
            known = self._holes.get(fill.seq)
            if known is None or not fill.values:
                continue  # its record was skipped for this destination, or a reserved place was given up
            step, when, meta = known
            if fill.logged is not None:
                meta = {**meta, LOGGED: fill.logged, LATE: True}
            if meta:
                notes[len(batch) + len(records)] = meta
            sets.append(tuple(fill.values))
            chosen.append(len(sets) - 1)
            records.append(fill.seq - fmt.FIRST_SEQ + 1)
            steps.append(step)
            times.append(when)
            for value in fill.values.values():
                if not isinstance(value, float) and not (isinstance(value, int) and abs(value) <= EXACT_FLOAT):
                    special[base + len(values)] = value
                values.append(nearest(value) if isinstance(value, int | float) else float("nan"))
        count = len(records)
        return replace(
            batch,
            record=np.concatenate([batch.record, np.array(records, np.int64)]),
            time=np.concatenate([batch.time, np.array(times, np.int64)]),
            step=np.concatenate([batch.step, np.array(steps, np.int64)]),
            rank=np.concatenate([batch.rank, np.full(count, identity.rank, np.int32)]),
            attempt=np.concatenate([batch.attempt, np.full(count, identity.attempt, np.int32)]),
            set=np.concatenate([batch.set, np.array(chosen, np.int32)]),
            sets=tuple(sets),
            value=np.concatenate([batch.value, np.array(values, np.float64)]),
            special=special,
            meta=notes,
        )


def _noted(part: Slice) -> dict[int, dict[str, Any]]:
    """What records say of themselves, and what their key sets say of them beyond numbering."""
    import numpy as np

    meta = part.meta
    for place, known in enumerate(part.sets):
        kept = {name: value for name, value in (known.options or {}).items() if name not in {"counter", "per"}}
        if kept:
            rows = np.flatnonzero(part.set == place).tolist()
            meta = {**meta, **{row: {**kept, **meta.get(row, {})} for row in rows}}
    return meta


def _with_points(batch: Batch) -> Batch:
    """The batch without records that have no points left, and say no more: the fill brings them."""
    import numpy as np

    keep = batch.widths() > 0
    keep[[row for row, meta in batch.meta.items() if meta.get(LOGGED)]] = True
    return pieces.rows(batch, np.flatnonzero(keep))
