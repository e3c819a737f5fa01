"""Reading the ledgers of a run from any process, without writing a byte there."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping  # noqa: TC003 - Cursor is checked by its annotations
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno import files, inside, machinery, statusfile
from steno.errors import CorruptError
from steno.journal import place as places
from steno.ledger import artifacts, format1, live, schema, verify
from steno.ledger.listed import found_parts, left_alone, numbered, part_of, read_manifest
from steno.ledger.opened import opened
from steno.ledger.rebuild import PartBatches, stretches
from steno.ledger.snapshot import ELSEWHERE, Cursor, Loss, Part, Snapshot, Stream
from steno.record import FORMAT, Batch, Entry, node_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

_NAMES_KEPT = 500_000
_NO_ROW: Final = (
    CorruptError, TypeError, ValueError, LookupError, AttributeError, OverflowError, RecursionError, UnicodeError,
)  # fmt: skip
"""What rows raise that nothing of ours has written."""
_TRIES = 40
_STRETCH_POINTS = 1 << 17
_STRETCHES = 2


def _why_none(node_dir: Path, *, has_parts: bool) -> str:
    """Why a node has no ledger that can be read; "": its collector is about to begin one."""
    pointer = files.read_json(node_dir / places.POINTER)
    if pointer:
        return f"{ELSEWHERE}{pointer.get('host')}"
    if (node_dir / machinery.LEDGER).exists():
        return ""
    return "the ledger is gone" if has_parts or (node_dir / statusfile.FILE).exists() else ""


class Reader:
    """Reads all ledgers of a run. Threads may share one; it holds no file open between calls and writes nothing.

    Args:
        run_dir: the run's directory.
    """

    def __init__(self, run_dir: Path | str) -> None:
        self.run_dir = Path(run_dir)
        self._names: dict[int, tuple[str, dict[int, str]]] = {}
        self._stretches: OrderedDict[tuple[str, ...], NDArray[np.int64]] = OrderedDict()
        self._held: OrderedDict[tuple[tuple[str, ...], int], PartBatches] = OrderedDict()
        self._lock = threading.Lock()

    def nodes(self) -> dict[int, Path | None]:
        """Node → its ledger file; None when it lies on another machine or is not there."""
        found: dict[int, Path | None] = {}
        place = self.run_dir / ".steno" / "nodes"
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(place)):
                number = inside.node(name)
                if number is not None:
                    found[number] = places.ledger(place / name)
        return found

    def snapshot(self, *, since: Mapping[int, int] | None = None, batches: bool = True) -> Snapshot:
        """What is readable now, each ledger in one short read transaction.

        Args:
            since: by node, leave out batches up to this number (for tailing).
            batches: False leaves the unsealed points out.
        """
        pieces: list[Snapshot] = []
        unreadable: dict[int, str] = {}
        manifest, _ = read_manifest(self.run_dir)
        nodes = self.nodes()
        for node, path in nodes.items():
            try:
                if path is None:
                    without = self._without_ledger(manifest, node)
                    pieces.append(without)
                    why = _why_none(self.run_dir / ".steno" / "nodes" / node_name(node), has_parts=bool(without.parts))
                    if why:
                        unreadable[node] = why
                    continue
                pieces.append(self._read_node(node, path, (since or {}).get(node, 0), batches))
            except sqlite3.Error as error:
                unreadable[node] = str(error)
                pieces.append(self._without_ledger(manifest, node))
        if unreadable and machinery.is_retired(self.run_dir):
            # The run has ended in this moment, and its machinery was put away under our eyes.
            pieces, unreadable = [self._without_ledger(read_manifest(self.run_dir)[0], None)], {}
        elif not pieces:
            pieces.append(self._without_ledger(manifest, None))
        else:
            # Somebody removed the machinery of nodes that had ended, and the run goes on: their parts are there.
            # Not those that were read above and put away since, which would be there twice.
            alone = [node for node in left_alone(self.run_dir) if node not in nodes]
            pieces += [Snapshot(parts=tuple(found_parts(self.run_dir, node))) for node in alone]
        return _united(pieces, unreadable)

    def batch(self, node: int, id: int) -> Batch | None:
        """One batch, from the ledger or rebuilt from its part: the same points and entries either way.

        None when there is no such batch (yet). Raises sqlite3.Error, OSError or CorruptError when it cannot
        be read. Of parts two stretches are kept in memory, of about 130,000 points or 8 MiB each: who reads on finds
        the next batch there, and so do others who are about as far.
        """
        path = self.nodes().get(node)
        if path is None:
            return None
        for _ in range(_TRIES):
            with opened(path) as connection:
                row = connection.execute("select columns from batches where id=?", (id,)).fetchone()
                if row is not None:
                    batch = schema.named(schema.decode(row[0]), id, node, self._namer(node, connection))
                    rows = connection.execute(f"select {_ENTRY} from entries where batch=? order by record", (id,))
                    whole = _with_entries(batch, tuple(_entry(node, row) for row in rows))
                    old = connection.execute("select value from meta where key='format'").fetchone()
                    if not _is_old(path, json.loads(old[0]) if old else None):
                        return whole
                    return replace(format1.batch(whole), entries=tuple(map(format1.entry, whole.entries)))
                parts = connection.execute(
                    f"select {part_columns(connection)} from parts where first_batch<=? and last_batch>=?", (id, id)
                ).fetchall()
            if not parts:
                return None
            try:
                return self._rebuilt(node, id, [part_of(node, row) for row in parts])
            except FileNotFoundError:
                continue  # merged into another one meanwhile
        return None

    def next_batch(self, node: int, id: int) -> Batch | None:
        """As `batch`; where a ledger was lost with batches from that number on, the first one behind them."""
        found = self.batch(node, id)
        path = self.nodes().get(node)
        if found is not None or path is None:
            return found
        with opened(path) as connection:
            row = connection.execute(
                "select min(id) from (select min(id) as id from batches where id>? "
                "union select min(first_batch) as id from parts where first_batch>?)",
                (id, id),
            ).fetchone()
        return None if row[0] is None else self.batch(node, row[0])

    def _rebuilt(self, node: int, id: int, parts: list[Part]) -> Batch:
        names = tuple(sorted(part.name for part in parts))
        crcs = {part.name: part.crc for part in parts}
        first, last = min(part.first_batch for part in parts), max(part.last_batch for part in parts)
        with self._lock:
            starts = self._stretches.get(names)
            if starts is None:
                starts = stretches(self.run_dir, names, crcs, first, last, _STRETCH_POINTS)
                self._stretches[names] = starts
                if len(self._stretches) > 2 * _STRETCHES:
                    self._stretches.popitem(last=False)
            at = int(starts.searchsorted(id, side="right")) - 1
            held = self._held.get((names, at))
            if held is None:
                if len(self._held) >= _STRETCHES:
                    self._held.popitem(last=False)  # first: one more in memory would be one too many
                until = int(starts[at + 1]) - 1 if at + 1 < len(starts) else last
                held = PartBatches.load(self.run_dir, names, node, crcs, (int(starts[at]), until))
                self._held[names, at] = held
            self._held.move_to_end((names, at))
        return held.batch(id)

    def _read_node(self, node: int, path: Path, since: int, with_batches: bool) -> Snapshot:
        try:
            return self._rows(node, path, since, with_batches)
        except _NO_ROW as error:
            raise sqlite3.DatabaseError(f"{path} holds what no ledger does: {error!r}") from error

    def _rows(self, node: int, path: Path, since: int, with_batches: bool) -> Snapshot:
        with opened(path) as connection:
            fetch = connection.execute
            meta = {key: json.loads(value) for key, value in fetch("select key, value from meta")}
            for name in ("config", "summary"):
                msgspec.convert(meta.get(name) or {}, dict[str, Any])
            is_old = _is_old(path, meta.get("format"))
            batches: list[Batch] = []
            damaged: list[Loss] = []
            if with_batches:
                for id, columns in fetch("select id, columns from batches where id>? order by id", (since,)):
                    try:
                        decoded = schema.decode(columns)
                    except CorruptError as error:
                        damaged.append(Loss(node, "damaged batch", str(id), 1, str(error)))
                        continue
                    batch = schema.named(decoded, id, node, self._namer(node, connection, meta))
                    batches.append(format1.batch(batch) if is_old else batch)
            entries = [_entry(node, row) for row in fetch(f"select {_ENTRY} from entries where batch>?", (since,))]
            last = fetch("select next - 1 from counters where scope='node' and name='batch'").fetchone()
            return Snapshot(
                parts=tuple(
                    part_of(node, row)
                    for row in fetch(f"select {part_columns(connection)} from parts order by first_batch, id")
                ),
                batches=tuple(batches),
                entries=tuple(map(format1.entry, entries) if is_old else entries),
                streams=tuple(_stream(node, row) for row in fetch(f"select {_STREAM} from streams order by started")),
                cursors=tuple(_cursor(node, row) for row in fetch(f"select {_CURSOR} from cursors")),
                losses=(*(_loss(node, row) for row in fetch("select kind, name, count, reason from losses")), *damaged),
                meta=meta,
                last_batch={node: last[0] if last else 0},
                ledgers={node: str(meta.get("ledger") or "")},
            )

    def _namer(
        self, node: int, connection: sqlite3.Connection, meta: Mapping[str, Any] | None = None
    ) -> Callable[[Iterable[int]], Mapping[int, str]]:
        if meta is None:
            row = connection.execute("select value from meta where key='ledger'").fetchone()
            token = row[0] if row else ""
        else:
            token = json.dumps(meta.get("ledger"))
        held = self._names.get(node)
        if held is None or held[0] != token or len(held[1]) > _NAMES_KEPT:
            held = self._names[node] = (token, {})
        known = held[1]

        def names(ids: Iterable[int]) -> Mapping[int, str]:
            wanted = [id for id in ids if id not in known]
            for at in range(0, len(wanted), 500):
                some = wanted[at : at + 500]
                marks = ",".join("?" * len(some))
                known.update(connection.execute(f"select id, key from keys where id in ({marks})", some))
            return known

        return names

    def _without_ledger(self, manifest: Mapping[str, Any], node: int | None) -> Snapshot:
        """What the manifest, or else the directory itself, says of a node whose ledger is out of reach."""
        if manifest:
            return Snapshot(
                parts=tuple(numbered(Part(**row)) for row in manifest.get("parts", ()) if node in {None, row["node"]}),
                # Those of artifacts that are not sealed: only in an object store, of a run that goes on.
                entries=tuple(Entry(**row) for row in manifest.get("entries", ())),
                streams=tuple(Stream(**row) for row in manifest.get("streams", ()) if node in {None, row["node"]}),
                losses=tuple(Loss(**row) for row in manifest.get("losses", ()) if node in {None, row["node"]}),
                meta={key: manifest[key] for key in ("config", "summary", "done") if key in manifest},
                batches=live.read(self.run_dir, manifest["live"]) if "live" in manifest else (),
                lives=tuple((manifest.get("live") or {}).values()),
            )
        return Snapshot(parts=tuple(found_parts(self.run_dir, node)))


def require_valid(connection: sqlite3.Connection, node: int) -> None:
    """Look over what a collector takes on trust from a ledger.

    Raises:
        sqlite3.DatabaseError: it holds what no ledger does.
    """
    fetch = connection.execute
    try:
        for row in fetch(f"select {part_columns(connection)} from parts"):
            part_of(node, row)
        for row in fetch(f"select {_STREAM} from streams"):
            _stream(node, row)
        for row in fetch(f"select {_CURSOR} from cursors"):
            _cursor(node, row)
        for (took,) in fetch("select took from batches union all select value from meta where key='took'"):
            if not verify.are_offsets(json.loads(took)):
                raise CorruptError(f"it says that it took {took!r:.200}")
        for record, id, payload, outcome in fetch("select record, id, payload, outcome from artifacts"):
            if not artifacts.is_valid(json.loads(payload)) or json.loads(payload)["id"] != id:
                raise CorruptError(f"the artifact {record} is {payload!r:.200}")
            if outcome is not None and not artifacts.is_valid(json.loads(outcome)):
                raise CorruptError(f"what came of the artifact {record} is {outcome!r:.200}")
    except _NO_ROW as error:
        raise sqlite3.DatabaseError(f"it holds what no ledger does: {error}") from error


_PART = "id, kind, name, first_batch, last_batch, first, last, rows, bytes"


def part_columns(connection: sqlite3.Connection) -> str:
    """What to select for a `Part` behind its node: a ledger that an older steno wrote has no checksums."""
    known = {row[1] for row in connection.execute("pragma table_info(parts)")}
    return f"{_PART}, {'crc' if 'crc' in known else 'null'}"


_ENTRY = "record, time, step, rank, attempt, kind, payload"
_STREAM = (
    'stream, pid, host, boot, rank, attempt, "primary", state, started, last_time, last_seq, records, points, '
    "lost_bytes, unfilled, error"
)
_CURSOR = "destination, batch, record, position, delivered, skipped, retries, state, error"


def _entry(node: int, row: tuple[Any, ...]) -> Entry:
    record, time, step, rank, attempt, kind, payload = row
    entry = Entry(record, time, step, rank, attempt, kind, json.loads(payload), node)
    numbers = (record, time, rank, attempt, 0 if step is None else step)
    if not isinstance(entry.payload, dict) or not isinstance(kind, str) or {type(one) for one in numbers} != {int}:
        raise CorruptError(f"an entry is {row!r:.200}")
    return entry


def _stream(node: int, row: tuple[Any, ...]) -> Stream:
    facts = dict(zip(_STREAM.replace('"', "").split(", "), row, strict=True))
    return msgspec.convert({**facts, "node": node, "primary": bool(facts["primary"])}, Stream)


def _cursor(node: int, row: tuple[Any, ...]) -> Cursor:
    facts = dict(zip(_CURSOR.split(", "), row, strict=True))
    return msgspec.convert({**facts, "node": node, "position": json.loads(row[3]) if row[3] else None}, Cursor)


def _loss(node: int, row: tuple[Any, ...]) -> Loss:
    return msgspec.convert(dict(zip(("node", "kind", "name", "count", "reason"), (node, *row), strict=True)), Loss)


def _is_old(ledger: Path, found: object) -> bool:
    """Whether a ledger of this format is one of format 1.

    Raises:
        sqlite3.DatabaseError: nobody here can read it.
    """
    if found not in {1, FORMAT}:
        raise sqlite3.DatabaseError(f"the ledger {ledger} has format {found}: read it with the steno that wrote it")
    return found == 1


def _with_entries(batch: Batch, entries: tuple[Entry, ...]) -> Batch:
    return replace(batch, entries=entries) if entries else batch


def _united(pieces: list[Snapshot], unreadable: Mapping[int, str]) -> Snapshot:
    meta: dict[str, Any] = {}
    last: dict[int, int] = {}
    ledgers: dict[int, str] = {}
    for piece in pieces:
        merged = {key: {**meta.get(key, {}), **(piece.meta.get(key) or {})} for key in ("config", "summary")}
        meta = {**meta, **piece.meta, **merged}
        last.update(piece.last_batch)
        ledgers.update(piece.ledgers)
    return Snapshot(
        parts=tuple(part for piece in pieces for part in piece.parts),
        batches=tuple(batch for piece in pieces for batch in piece.batches),
        entries=tuple(entry for piece in pieces for entry in piece.entries),
        streams=tuple(stream for piece in pieces for stream in piece.streams),
        cursors=tuple(cursor for piece in pieces for cursor in piece.cursors),
        losses=tuple(loss for piece in pieces for loss in piece.losses),
        meta=meta,
        last_batch=last,
        unreadable=dict(unreadable),
        ledgers=ledgers,
        lives=tuple(name for piece in pieces for name in piece.lives),
    )
