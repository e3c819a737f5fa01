"""Posting: journal slices into the ledger, ordered and numbered, in one transaction."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from steno.journal.format import HEADER_BYTES
from steno.ledger import artifacts, assemble, fence, handover, holes, schema, steps
from steno.ledger.incoming import Own, StreamInfo
from steno.ledger.key_ids import KeyIds
from steno.ledger.refused import RefusedCounts
from steno.ledger.sample import STREAM
from steno.record import CONFIG, FINISH, MOVED, NOTE, SUMMARY, Batch, Entry, micros

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from steno.journal.decode import RawEntry, Slice
    from steno.ledger.assemble import Values
    from steno.ledger.sample import Sample
    from steno.ledger.snapshot import Loss

_COUNTERS_KEPT = 200_000
_NOTES_OF_REFUSAL = 100
_SAMPLES_KEPT = 1_000
"""While nothing can be posted; then the oldest go."""


class Poster:
    """Moves slices into the ledger. One per ledger; use it from one thread.

    A posting that raises has changed nothing, here or on disk: the same slices can be posted again. One
    that returned survives the death of this process; the machine's power only after the next sync.

    Args:
        connection: from `schema.begin`.
        node: this node's id.
        lock: held during every transaction, for others who write through the same connection.

    """

    def __init__(self, connection: sqlite3.Connection, node: int, lock: threading.RLock | None = None) -> None:
        self.connection = connection
        self.node = node
        self.lock = lock or threading.RLock()
        self.generation = 0
        """Postings committed; a sync that began after one makes it durable."""
        self._own: list[Own] = []
        self._samples: deque[Sample] = deque(maxlen=_SAMPLES_KEPT)
        self._reached = 0
        """The highest step that this poster has seen."""
        self._mark = fence.enter(connection)
        self.refused = RefusedCounts()
        self._load()

    def _load(self) -> None:
        """Everything kept in memory, from the ledger: at start, and after a transaction that failed."""
        fetch = self.connection.execute
        self._counters: dict[steps.Counter, int] = {}
        self._keys = KeyIds(self.connection)
        self._offsets: dict[tuple[str, int], int] = {
            (stream, segment): at for stream, segment, at in fetch("select * from offsets")
        }
        self._streams = {row[0] for row in fetch("select stream from streams")}
        self._scopes = dict(fetch("select stream, scope from adopted"))
        self._refusals = fetch("select count(*) from losses where kind='refused'").fetchone()[0]
        self.next_record = self._counter(("node", "record")) or 1
        self.next_batch = self._counter(("node", "batch")) or 1
        if fetch("select 1 from meta where key='ledger'").fetchone() is None:
            fetch("insert or ignore into meta values('ledger', ?)", (json.dumps(uuid.uuid4().hex),))

    def posted(self, stream: str, segment: int) -> int:
        """Where reading of a segment goes on: bytes of it in the ledger."""
        return self._offsets.get((stream, segment), HEADER_BYTES)

    def reached(self, stream: str) -> int | None:
        """The last segment of a stream that something was posted from; None: nothing was, as far as is known."""
        return max((segment for name, segment in self._offsets if name == stream), default=None)

    def scope(self, stream: str) -> str:
        """What tells the counters of a stream from this node's own: those of the node it was adopted from."""
        return str(self._scopes.get(stream, ""))

    def has_adopted(self, stream: str) -> bool:
        """Whether the stream was another node's, or was another's in between, and is this one's now."""
        return stream in self._scopes

    def adopt(self, stream: str, origin: int, standings: Iterable[handover.Standing]) -> None:
        """Go on with another node's stream where those stand who have posted of it; see `handover.take`."""
        with self._transaction():
            handover.take(self.connection, self.node, stream, origin, standings)
        self.reload()

    def note(self, **payload: Any) -> None:
        """Have steno's own remark entered with the next posting."""
        self._own.append(Own(NOTE, payload))

    def add(self, own: Own) -> None:
        """Have an entry of the collector's entered with the next posting."""
        self._own.append(own)

    @property
    def has_own(self) -> bool:
        """Whether a remark or an entry of the collector's waits for the next posting."""
        return bool(self._own)

    def sample(self, sample: Sample) -> None:
        """Have a measurement of the collector's entered with the next posting, at the step that the run has reached."""
        self._samples.append(sample)

    def post(self, slices: Sequence[tuple[StreamInfo, Slice]]) -> Batch | None:
        """Enter the slices, all of streams of one `scope`; None when they brought no record.

        Slices that are in the ledger already are passed over, so that a posting can be tried again.

        Raises:
            sqlite3.Error: nothing was entered.
            Superseded: another collector posts into this ledger now; nothing was entered.
            Fenced: another node has adopted a stream among them; nothing was entered.
            ValueError: a slice begins behind what its segment's last posting reached.

        """
        fresh = self._new_ones(slices)
        if not fresh and not self._own and not self._samples:
            return None
        return self._posted({info.stream for info, _ in fresh}, lambda: self._enter(fresh))

    def _posted(self, streams: Collection[str], enter: Callable[[], Batch | None]) -> Batch | None:
        """What `enter` enters, with the collector's own entries, in one transaction."""
        with self.lock:
            try:
                self.connection.execute("begin immediate")
                fence.check(self.connection, self._mark, streams)
                batch = enter()
                self.connection.execute("commit")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("rollback")
                self._load()
                raise
        self._own.clear()
        self._samples.clear()
        self.generation += 1
        return batch

    def refuses(self, slices: Sequence[tuple[StreamInfo, Slice]]) -> Exception | None:
        """What posting these slices would raise, without the collector's own entries; nothing is entered."""
        held = self._own, self._samples
        self._own, self._samples = [], deque()
        try:
            with self.lock:
                self.connection.execute("begin immediate")
                self._enter(self._new_ones(slices))
        except sqlite3.Error:
            raise
        except Exception as error:  # the answer, which the caller asked for
            return error
        finally:
            if self.connection.in_transaction:
                self.connection.execute("rollback")
            self._own, self._samples = held
            self._load()
        return None

    def forget_own(self) -> None:
        """Give up the collector's own entries that wait for the next posting."""
        self._own.clear()
        self._samples.clear()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """All of it or nothing: one left open would refuse every posting after it."""
        with self.lock:
            self.connection.execute("begin immediate")
            try:
                fence.check(self.connection, self._mark)
                yield self.connection.execute
                self.connection.execute("commit")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("rollback")
                raise

    def _new_ones(self, slices: Sequence[tuple[StreamInfo, Slice]]) -> list[tuple[StreamInfo, Slice]]:
        """Those that are not posted yet; several of one segment must follow each other."""
        reached: dict[tuple[str, int], int] = {}
        fresh = []
        for info, piece in slices:
            key = (info.stream, info.segment)
            posted = reached.get(key, self.posted(*key))
            if piece.start > posted:
                msg = f"{info.stream}/{info.segment}: a slice begins at {piece.start}, posted is {posted}"
                raise ValueError(msg)
            if piece.start == posted and piece.end > posted:
                fresh.append((info, piece))
                reached[key] = piece.end
        return fresh

    # -- inside the transaction ------------------------------------------------------------------------

    def _enter(self, fresh: Sequence[tuple[StreamInfo, Slice]]) -> Batch | None:
        names: dict[str, int] = {}
        for info, _ in fresh:
            names.setdefault(info.stream, len(names))
        for stream in (late.stream for _, piece in fresh for late in piece.fills if late.stream):
            names.setdefault(stream, len(names))
        streams = list(names)
        owner = [names[info.stream] for info, _ in fresh]
        refused = self._refuse(fresh)
        raw, infos = self._entries_of(fresh)
        table = None
        if self._samples or any(len(piece.mono) for _, piece in fresh):
            attempt = self._latest_attempt() if self._samples else 1
            step = max(self._reached, self.next_step() - 1, 0)
            table = assemble.merge(
                [*(piece for _, piece in fresh), *(one.as_slice(step) for one in self._samples)],
                [*owner, *(len(streams) for _ in self._samples)],
                [*(info.rank for info, _ in fresh), *(one.rank for one in self._samples)],
                [*(info.attempt for info, _ in fresh), *(attempt for _ in self._samples)],
            )
            streams.append(STREAM)
        count = len(raw) + len(self._own) + len(refused)
        batch = None
        fills = self._fills_of(fresh, names)
        if table is not None or count or fills:
            batch = self._batch(
                fresh, table=table, raw=raw, infos=infos, own=[*refused, *self._own], fills=fills, streams=streams
            )
        self._follow_streams(fresh, raw, infos)
        for info, piece in fresh:
            self._offsets[info.stream, info.segment] = piece.end
        self.connection.executemany(
            "insert into offsets values(?, ?, ?) on conflict do update set posted=excluded.posted",
            [(info.stream, info.segment, piece.end) for info, piece in fresh],
        )
        return batch

    @staticmethod
    def _entries_of(fresh: Sequence[tuple[StreamInfo, Slice]]) -> tuple[list[RawEntry], list[StreamInfo]]:
        found = [(entry, info) for info, piece in fresh for entry in piece.entries]
        found.sort(key=lambda pair: pair[0].mono)
        return [entry for entry, _ in found], [info for _, info in found]

    @staticmethod
    def _fills_of(fresh: Sequence[tuple[StreamInfo, Slice]], names: dict[str, int]) -> dict[tuple[int, int], Values]:
        fills: dict[tuple[int, int], Values] = {}
        for info, piece in fresh:
            for one in piece.fills:
                fills.setdefault((names[one.stream or info.stream], one.seq), {}).update(one.values)
        return fills

    def _batch(
        self,
        fresh: Sequence[tuple[StreamInfo, Slice]],
        *,
        table: assemble.PostedRows | None,
        raw: Sequence[RawEntry],
        infos: Sequence[StreamInfo],
        own: Sequence[Own],
        fills: dict[tuple[int, int], Values],
        streams: Sequence[str],
    ) -> Batch | None:
        first = self.next_record
        moved: dict[steps.Counter, int] = {}
        if table is not None:
            numbers = assemble.numbered(table, raw, first)
            scope = self.scope(fresh[0][0].stream) if fresh else ""
            moved = steps.number_all(
                step=table.step,
                auto=table.auto,
                chosen=table.set,
                sets=table.sets,
                stream=table.stream,
                streams=streams,
                counters=self._counter,
                suffix=scope,
            )
            if len(table.step):
                self._reached = max(self._reached, int(table.step.max()))
            assemble.fill(table, fills)
            holes.keep(self.connection, table, streams)
        else:
            numbers = list(range(first, first + len(raw)))
        rows = len(table.mono) if table is not None else 0
        self.next_record = first + rows + len(raw) + len(own)
        old = holes.answer(self.connection, fills, streams, self.lose)
        if old:
            table = table or assemble.no_rows()
        entries = self._enter_entries(raw, infos, numbers, own)
        columns, keys = schema.no_columns(), list[tuple[str, ...]]()
        if table is not None:
            assemble.complete(table, old)
            columns, keys = self._columns(table)
        moved[("node", "record")] = self.next_record
        batch = None
        if entries or len(columns.record):
            batch = schema.batch_of(columns, self.next_batch, self.node, keys, entries)
            self.next_batch = moved["node", "batch"] = batch.id + 1
            self._insert(batch, columns, first, [[info.stream, info.segment, piece.end] for info, piece in fresh])
        self._save_counters(moved)
        return batch

    def _insert(self, batch: Batch, columns: schema.Columns, first: int, took: Sequence[Sequence[Any]]) -> None:
        self.connection.execute(
            "insert into batches values(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                batch.id,
                first,
                self.next_record - 1,
                len(columns.record),
                len(columns.value),
                self._keys.fresh_names(batch.sets),
                len(batch.entries),
                json.dumps(took, separators=(",", ":")),
                schema.encode(columns),
            ),
        )
        self.connection.executemany(
            "insert into entries values(?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (x.record, batch.id, x.time, x.step, x.rank, x.attempt, x.kind, schema.json_text(x.payload))
                for x in batch.entries
            ],
        )

    def _columns(self, table: assemble.PostedRows) -> tuple[schema.Columns, list[tuple[str, ...]]]:
        """The columns of the rows, with ids for keys, and the keys of their sets."""
        used = [0] if len(table.sets) == 1 and len(table.set) else np.unique(table.set).tolist()
        keys = [table.sets[place].keys for place in used]
        chosen = table.set
        if len(used) != len(table.sets):
            renumber = np.zeros(len(table.sets), np.int32)
            renumber[used] = np.arange(len(used), dtype=np.int32)
            chosen = renumber[table.set]
        return schema.Columns(
            record=table.record,
            time=table.time,
            step=table.step,
            rank=table.rank,
            attempt=table.attempt,
            set=chosen,
            sets=self._keys.ids_of(keys),
            value=table.value,
            special=table.special,
            meta=table.meta,
        ), keys

    # -- counters ----------------------------------------------------------------------------------------

    def _counter(self, name: steps.Counter) -> int:
        found = self._counters.get(name)
        if found is None:
            fetch = self.connection.execute
            row = fetch("select next from counters where scope=? and name=?", name).fetchone()
            if row is None and steps.is_of_key(name):
                row = fetch("select next from counters where scope=? and name=?", steps.seed_of(name)).fetchone()
            found = row[0] if row else 0
            if len(self._counters) > _COUNTERS_KEPT:
                self._counters.clear()
            self._counters[name] = found
        return int(found)

    def _save_counters(self, moved: dict[steps.Counter, int]) -> None:
        self._counters.update(moved)
        self.connection.executemany(
            "insert into counters values(?, ?, ?) on conflict do update set next=excluded.next",
            [(*name, following) for name, following in moved.items()],
        )

    # -- entries, streams, losses ------------------------------------------------------------------------

    def _enter_entries(
        self,
        raw: Sequence[RawEntry],
        infos: Sequence[StreamInfo],
        numbers: Sequence[int],
        own: Sequence[Own],
    ) -> tuple[Entry, ...]:
        entries = [
            Entry(record, micros(one.wall), one.step, info.rank, info.attempt, one.kind, one.payload, self.node)
            for one, info, record in zip(raw, infos, numbers, strict=True)
        ]
        if not raw and not own:
            return ()
        now = micros(time.time_ns())
        attempt = max((info.attempt for info in infos), default=0) or self._latest_attempt()
        entries += [
            Entry(record, now, mine.step, mine.rank, mine.attempt or attempt, mine.kind, mine.payload, self.node)
            for record, mine in enumerate(own, self.next_record - len(own))
        ]
        for one in entries:
            if one.kind in (CONFIG, SUMMARY):
                self._merge_meta(one.kind, one.payload)
        artifacts.enter(self.connection, entries)
        return tuple(entries)

    def _latest_attempt(self) -> int:
        row = self.connection.execute("select max(attempt) from streams").fetchone()
        return row[0] or 1

    def _merge_meta(self, key: str, values: Any) -> None:
        row = self.connection.execute("select value from meta where key=?", (key,)).fetchone()
        merged = {**(json.loads(row[0]) if row else {}), **values}
        self.set_meta(key, merged)

    def set_meta(self, key: str, value: Any) -> None:
        """Set one fact of the run; inside a transaction of the caller, or at once."""
        self.connection.execute("insert or replace into meta values(?, ?)", (key, schema.json_text(value)))

    def _refuse(self, fresh: Sequence[tuple[StreamInfo, Slice]]) -> list[Own]:
        notes: list[Own] = []
        for info, piece in fresh:
            for key, reason in piece.refused.items():
                times = piece.refused_times.get(key, 1)
                self.refused.add(info.attempt, key, times, reason)
                is_new = self.lose("refused", key, times, reason)
                if is_new and self._refusals < _NOTES_OF_REFUSAL:
                    self._refusals += 1
                    notes.append(Own(NOTE, {"refused": key, "reason": reason}))
        return notes

    def lose(self, kind: str, name: str, count: int, reason: str) -> bool:
        """Count a loss; whether it is the first of its kind and name."""
        updated = self.connection.execute(
            "update losses set count=count+? where kind=? and name=?", (count, kind, name)
        ).rowcount
        if not updated:
            self.connection.execute("insert into losses values(?, ?, ?, ?)", (kind, name, count, reason))
        return not updated

    def _follow_streams(
        self, fresh: Sequence[tuple[StreamInfo, Slice]], raw: Sequence[RawEntry], infos: Sequence[StreamInfo]
    ) -> None:
        for info, piece in fresh:
            if info.stream not in self._streams:
                self._insert_stream(info)
            self.connection.execute(
                "update streams set last_seq=max(last_seq, ?), last_time=max(last_time, ?), records=records+?, "
                "points=points+?, lost_bytes=lost_bytes+? where stream=?",
                (
                    int(piece.seq.max()) if len(piece.seq) else 0,
                    int(piece.wall.max()) if len(piece.wall) else 0,
                    len(piece.seq),
                    len(piece.value),
                    piece.lost_bytes,
                    info.stream,
                ),
            )
            if piece.lost_bytes:
                self.lose("lost bytes", info.stream, piece.lost_bytes, "unreadable bytes in a journal")
        for one, info in zip(raw, infos, strict=True):
            if one.kind == MOVED:
                self.connection.execute("update streams set state='moved' where stream=?", (info.stream,))
            if one.kind == FINISH:
                state = "failed" if one.payload.get("state") == "failed" else "finished"
                error = one.payload.get("error")
                self.connection.execute(
                    "update streams set state=?, error=?, last_time=max(last_time, ?) where stream=?",
                    (state, None if error is None else str(error), one.wall, info.stream),
                )

    def _insert_stream(self, info: StreamInfo) -> None:
        self.connection.execute(
            'insert or ignore into streams(stream, pid, host, boot, rank, attempt, "primary", state, started) '
            "values(?, ?, ?, ?, ?, ?, ?, 'live', ?)",
            (info.stream, info.pid, info.host, info.boot, info.rank, info.attempt, info.primary, info.started),
        )
        self._streams.add(info.stream)

    def end_stream(self, stream: str, state: str = "dead", *, for_good: bool = True) -> None:
        """The writer is gone and its journal is drained: judge it, and count its holes that never filled.

        Not `for_good`: nobody can tell, it may come back and fill them.
        """
        with self._transaction() as fetch:
            fetch("update streams set state=? where stream=? and state='live'", (state, stream))
            if not for_good:
                return
            missing = holes.give_up(self.connection, stream)
            if missing:
                fetch("update streams set unfilled=unfilled+? where stream=?", (missing, stream))
                self.lose("unfilled", stream, missing, "device values that never came")

    def lose_stream(self, stream: str) -> bool:
        """A journal vanished; whether it may have held something that was not posted."""
        with self._transaction() as fetch:
            row = fetch("select state from streams where stream=?", (stream,)).fetchone()
            if row is not None and row[0] != "live":
                return False
            fetch("update streams set state='lost' where stream=?", (stream,))
            self.lose("lost journal", stream, 1, "the journal's directory is gone")
        return True

    def next_step(self) -> int:
        """The next automatic step of the run."""
        return self._counter(steps.RUN)

    def begin_attempt(self, attempt: int, rewind: int | None) -> None:
        """A new attempt: automatic steps go on from where it rewinds to. Known attempts change nothing."""
        row = self.connection.execute("select value from meta where key='attempt'").fetchone()
        if row is not None and json.loads(row[0]) >= attempt:
            return
        try:
            with self._transaction() as execute:
                self.set_meta("attempt", attempt)
                if rewind is not None:
                    self._reached = 0
                    self._save_counters({steps.RUN: rewind, steps.SEED: rewind})
                    # A writers' counter goes on from there, also one that is met later for the first time.
                    execute("delete from counters where instr(name, ?) and not instr(scope, ?)", steps.OF_OTHERS)
        finally:
            self._counters.clear()

    def skip_to(
        self, record: int, batch: int, following: Mapping[steps.Counter, int], loss: Loss, **note: Any
    ) -> Batch | None:
        """Leave out numbers that others know of a ledger that is lost; nothing is moved back.

        The loss and a remark on it are entered with it, or nothing is: numbers that are left out and not told of would
        be waited for.

        Raises: as `post`.
        """
        wanted = {("node", "record"): record, ("node", "batch"): batch, **following}
        own = self._own

        def enter() -> Batch | None:
            self._save_counters({name: max(value, self._counter(name)) for name, value in wanted.items()})
            self.next_record, self.next_batch = self._counter(("node", "record")), self._counter(("node", "batch"))
            self.lose(loss.kind, loss.name, loss.count, loss.reason)
            return self._enter([])

        self._own = [*own, Own(NOTE, note)]
        try:
            return self._posted((), enter)
        except BaseException:
            self._own = own
            raise

    def forget_segments(self, gone: Iterable[tuple[str, int]]) -> None:
        """Drop the offsets of segments that were unlinked."""
        keys = list(gone)
        if not keys:
            return
        with self._transaction():
            self.connection.executemany("delete from offsets where stream=? and segment=?", keys)
        for key in keys:
            self._offsets.pop(key, None)

    def forget_stream(self, stream: str) -> None:
        """Drop all offsets of a journal that is gone."""
        self.forget_segments([key for key in self._offsets if key[0] == stream])

    def reload(self) -> None:
        """Read again what is kept in memory: others have changed the ledger."""
        with self.lock:
            self._load()
