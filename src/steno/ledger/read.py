"""Reading the ledgers of a run from any process, without writing a byte there."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import sqlite3
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping  # noqa: TC003 - Cursor is checked by its annotations
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno import files, inside, machinery, statusfile
from steno.errors import CorruptError
from steno.journal import place as places
from steno.ledger import artifacts, format1, live, schema, verify
from steno.ledger.rebuild import PartBatches, stretches
from steno.record import FORMAT, Batch, Entry, node_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

MANIFEST = "manifest.json"
_NAMES_KEPT = 500_000
_NO_ROW: Final = (
    CorruptError, TypeError, ValueError, LookupError, AttributeError, OverflowError, RecursionError, UnicodeError,
)  # fmt: skip
"""What rows raise that nothing of ours has written."""
_TRIES = 40
_STRETCH_POINTS = 1 << 17
_STRETCHES = 2


@dataclass(frozen=True, slots=True)
class Part:
    """An immutable Parquet file of the run; `name` is its path from the run directory."""

    node: int
    id: int
    kind: str
    """"metrics" or "records"."""
    name: str
    first_batch: int
    last_batch: int
    first: int
    last: int
    rows: int
    bytes: int
    crc: str | None = None
    """`verify.checksum` of the file as it was written; None where nothing says it."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One process's journal, as far as it is posted. Times in ns since 1970."""

    node: int
    stream: str
    pid: int
    host: str
    boot: str
    rank: int
    attempt: int
    primary: bool
    state: str
    """live, finished, failed, or dead (gone without saying so); lost: the journal itself is gone.

    adopted: another node posts it from then on; moved: its process goes on in another journal.
    """
    started: int
    last_time: int
    last_seq: int
    records: int
    points: int
    lost_bytes: int
    unfilled: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a destination has got."""

    node: int
    destination: str
    batch: int
    record: int
    position: Mapping[str, Any] | None
    delivered: int
    skipped: int
    retries: int
    state: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Loss:
    """Something counted as lost or refused: what kind, of which key or stream, how often, why."""

    node: int
    kind: str
    name: str
    count: int
    reason: str
    bytes: int = 0
    """Of a damaged part: what is lost with its rows."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view: a point is either in a part listed here or in a batch here, never in both.

    `entries` are those not sealed yet; sealed ones are in the parts of kind "records". `state` is judged
    by `run_state`. `unreadable` says, per node, why a ledger could not be read.
    """

    parts: tuple[Part, ...] = ()
    batches: tuple[Batch, ...] = ()
    entries: tuple[Entry, ...] = ()
    streams: tuple[Stream, ...] = ()
    cursors: tuple[Cursor, ...] = ()
    losses: tuple[Loss, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Config and summary united over nodes under "config" and "summary"; the rest per key, later nodes last."""
    last_batch: Mapping[int, int] = field(default_factory=dict)
    """By node: the number of the newest batch."""
    unreadable: Mapping[int, str] = field(default_factory=dict)
    ledgers: Mapping[int, str] = field(default_factory=dict)
    """By node: what tells its ledger from another one."""
    lives: tuple[str, ...] = ()
    """Of a copy: what tells these batches from those of another moment."""


def _judged(streams: Iterable[Stream]) -> list[Stream]:
    """Those that say how the run stands: a process that goes on in another journal is judged by that one."""
    rows = list(streams)
    others = {one.stream for one in rows if one.state != "adopted"}
    return [one for one in rows if one.state != "moved" and (one.state != "adopted" or one.stream not in others)]


LOST_LEDGER = "lost ledger"
"""Kind of the loss that stands for records of a ledger that is gone."""


def run_state(
    streams: Iterable[Stream],
    live: Iterable[str] | None = None,
    *,
    attempts: Iterable[int] = (),
    losses: Iterable[Loss] = (),
) -> str:
    """running, finished, failed or crashed, judged on the latest attempt; empty where nothing is known.

    Args:
        streams: the run's streams, of all nodes.
        live: names of streams whose writers are known to live now (`steno.ledger.streams.live`); None
            believes the ledgers, whose collector may have died with the run.
        attempts: the numbers of those that were begun.
        losses: with a ledger, what it knew of the end of an attempt is lost, and nobody can say that it finished.
    """
    found = _judged(streams)
    unknown = set(attempts) - {one.attempt for one in found}
    if unknown and any(loss.kind == LOST_LEDGER for loss in losses):
        return "crashed"
    if not found:
        return "running" if live else ""
    alive = None if live is None else set(live)
    if alive or (alive is None and any(one.state == "live" for one in found)):
        return "running"
    latest = max((one.attempt for one in found), default=0)
    primaries = [one.state for one in found if one.attempt == latest and one.primary]
    if "failed" in primaries:
        return "failed"
    if any(state in {"dead", "lost", "live", "adopted"} for state in primaries):
        return "crashed"
    return "finished"


ELSEWHERE = "the ledger lies on "
"""Begins what is said of a ledger that only another machine can read; nothing is wrong with it."""


def _why_none(node_dir: Path, *, begun: bool) -> str:
    """Why a node has no ledger that can be read; "": its collector is about to begin one."""
    pointer = files.read_json(node_dir / places.POINTER)
    if pointer:
        return f"{ELSEWHERE}{pointer.get('host')}"
    if (node_dir / machinery.LEDGER).exists():
        return ""
    return "the ledger is gone" if begun or (node_dir / statusfile.FILE).exists() else ""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection inside one read transaction, creating nothing beside the ledger.

    Raises:
        sqlite3.Error: it is not there or not readable.
    """
    with contextlib.ExitStack() as stack:
        connection = _open(path, stack)
        stack.callback(connection.close)
        connection.execute("begin")
        yield connection


def _open(path: Path, stack: contextlib.ExitStack) -> sqlite3.Connection:
    wal, shm = Path(f"{path}-wal"), Path(f"{path}-shm")
    if not os.path.isfile(path) or any(one.exists() and not one.is_file() for one in (wal, shm)):
        msg = f"no ledger at {path}"  # SQLite would wait for the other end of a pipe
        raise sqlite3.OperationalError(msg)
    path = Path(os.path.realpath(path))
    if len(os.fsencode(path)) > places.LEDGER_PATH_BYTES:
        return _copied(path, wal, stack)  # of a run that was moved there: SQLite opens none at a path so long
    for _ in range(_TRIES):
        mode = "mode=ro"
        if not wal.exists():
            if _is_wal(path):
                mode = "mode=ro&immutable=1"  # nobody has it open; an ordinary open would make -wal and -shm
        elif not shm.exists():
            return _copied(path, wal, stack)
        try:
            connection = _connect(path, mode)
            connection.execute("select 1 from meta limit 1").fetchone()
        except sqlite3.OperationalError as error:
            if "unable to open" in str(error) or "readonly" in str(error):
                return _copied(path, wal, stack)
            raise
        if "immutable" not in mode or not wal.exists():
            return connection
        connection.close()  # a collector came meanwhile: what we would read may change under us
    msg = f"the ledger {path} is opened and closed too often to be read"
    raise sqlite3.OperationalError(msg)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{str(path).replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?{mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False)
    return _guarded(connection)


def _guarded(connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        schema.guard(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_wal(path: Path) -> bool:
    """Whether its header says that it has a -wal. SQLite would say no wherever it is told that nothing changes."""
    try:
        with open(inside.opened(path), "rb") as file:
            return file.read(20)[18:] == b"\2\2"
    except (OSError, CorruptError):
        return False  # SQLite will say what is wrong


def _copied(path: Path, wal: Path, stack: contextlib.ExitStack) -> sqlite3.Connection:
    """The ledger of a dead or foreign run with its -wal but nobody's -shm: read a copy, so that none is made."""
    place = stack.enter_context(tempfile.TemporaryDirectory(prefix="steno-ledger-"))
    copy = Path(place) / path.name
    shutil.copyfile(path, copy)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(wal, f"{copy}-wal")
    return _guarded(sqlite3.connect(copy, isolation_level=None, check_same_thread=False))


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
        for node, path in self.nodes().items():
            try:
                if path is None:
                    without = self._without_ledger(manifest, node)
                    pieces.append(without)
                    why = _why_none(self.run_dir / ".steno" / "nodes" / node_name(node), begun=bool(without.parts))
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
        if not pieces:
            pieces.append(self._without_ledger(manifest, None))
        else:
            # Somebody removed the machinery of nodes that had ended, and the run goes on: their parts are there.
            pieces += [Snapshot(parts=tuple(found_parts(self.run_dir, node))) for node in left_alone(self.run_dir)]
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
                    batch = schema.batch_of(schema.decode(row[0]), id, node, self._namer(node, connection))
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
                    batch = schema.batch_of(decoded, id, node, self._namer(node, connection, meta))
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
                parts=tuple(_numbered(Part(**row)) for row in manifest.get("parts", ()) if node in {None, row["node"]}),
                # Those of artifacts that are not sealed: only in an object store, of a run that goes on.
                entries=tuple(Entry(**row) for row in manifest.get("entries", ())),
                streams=tuple(Stream(**row) for row in manifest.get("streams", ()) if node in {None, row["node"]}),
                losses=tuple(Loss(**row) for row in manifest.get("losses", ()) if node in {None, row["node"]}),
                meta={key: manifest[key] for key in ("config", "summary", "done") if key in manifest},
                batches=live.read(self.run_dir, manifest["live"]) if "live" in manifest else (),
                lives=tuple((manifest.get("live") or {}).values()),
            )
        return Snapshot(parts=tuple(found_parts(self.run_dir, node)))


class _Manifest(msgspec.Struct):
    """What readers take of a manifest."""

    parts: list[Part] = []
    streams: list[Stream] = []
    losses: list[Loss] = []
    entries: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    state: str = ""
    written: int = 0
    live: dict[str, str] = {}


def read_manifest(run_dir: Path) -> tuple[dict[str, Any], str]:
    """(the manifest of a run that ended cleanly, else nothing; why one that is there cannot be used, or "")."""
    path = run_dir / MANIFEST
    try:
        found = inside.decoded(inside.read(path))
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError, CorruptError) as error:
        return {}, f"{path} cannot be read: {error}"
    why = unusable(found)
    return ({}, f"{path} cannot be used: {why}") if why else (found, "")


def unusable(manifest: Any) -> str:
    """What is wrong with a manifest's content, or ""."""
    try:
        checked = msgspec.convert(manifest, _Manifest)
        for row in checked.entries:
            Entry(**row)
        for part in checked.parts:
            part_of(part.node, tuple(getattr(part, name) for name in _PART_FIELDS[1:]))
    except (ValueError, TypeError, CorruptError) as error:
        return str(error)
    return ""


def left_alone(run_dir: Path) -> list[int]:
    """The nodes that have parts in the run, and no directory."""
    names = {
        name[:16] for kind in ("metrics", "records") for name in _names(run_dir / kind) if is_part(f"{kind}/{name}")
    }
    there = set(_names(run_dir / ".steno" / "nodes"))
    found = (inside.node(name) for name in sorted(names - there))
    return [node for node in found if node is not None]


def _names(place: Path) -> list[str]:
    try:
        return os.listdir(place)
    except OSError:
        return []


def found_parts(run_dir: Path, node: int | None = None) -> Iterator[Part]:
    """The parts that lie in the run directory, as was noted when they were written, else as their footers say."""
    from steno.ledger.rebuild import part_facts

    noted: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in ("metrics", "records"):
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(run_dir / kind)):
                whole = f"{kind}/{name}"
                head, _, tail = name.partition("-part-")
                owner = inside.node(head)
                if owner is None or not is_part(whole) or node not in {None, owner}:
                    continue
                with contextlib.suppress(OSError, ValueError, KeyError, CorruptError):
                    if head not in noted:
                        noted[head] = verify.noted(run_dir / ".steno" / "nodes" / head)
                    # Not by a footer that may be damaged where there is better.
                    facts = part_facts(inside.path(run_dir, whole), noted[head].get(whole))
                    yield part_of(owner, (int(tail[:6]), kind, whole, *facts.values()))


def is_part(name: object) -> bool:
    """Whether a part can be called so: its path from the run directory."""
    return isinstance(name, str) and _PART_NAME.fullmatch(name) is not None


def part_of(node: int, facts: Iterable[Any]) -> Part:
    """The part that a row of a ledger, or a file's facts, tell of.

    Raises:
        CorruptError: no part is like that.
    """
    try:
        part = msgspec.convert(dict(zip(_PART_FIELDS, (node, *facts), strict=True)), Part)
    except ValueError as error:
        raise CorruptError(f"a part is listed that is none: {error}") from error
    if not is_part(part.name) or part.kind != part.name.partition("/")[0]:
        raise CorruptError(f"a part is listed as {part.name!r}, kind {part.kind!r}: no part is called so")
    return _numbered(part)


def _numbered(part: Part) -> Part:
    """The part; one of format 1 as this format numbers its records."""
    found = _PART_NAME.fullmatch(part.name)
    if found is None or found[1]:
        return part
    return replace(part, first=format1.number(part.first), last=format1.number(part.last))


def require_sound(connection: sqlite3.Connection, node: int) -> None:
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
            if not artifacts.is_sound(json.loads(payload)) or json.loads(payload)["id"] != id:
                raise CorruptError(f"the artifact {record} is {payload!r:.200}")
            if outcome is not None and not artifacts.is_sound(json.loads(outcome)):
                raise CorruptError(f"what came of the artifact {record} is {outcome!r:.200}")
    except _NO_ROW as error:
        raise sqlite3.DatabaseError(f"it holds what no ledger does: {error}") from error


_PART_NAME: Final = re.compile(r"(?:metrics|records)/(?:([0-9a-f]{16})|\d{2,6})-part-\d{6}\.parquet")
_PART_FIELDS: Final = tuple(one.name for one in dataclasses.fields(Part))
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
