"""The ledger's tables, and the bytes of a batch."""

from __future__ import annotations

import itertools
import json
import os
import re
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno import host
from steno.errors import CorruptError, StenoError
from steno.journal.place import LEDGER_PATH_BYTES
from steno.ledger import artifacts
from steno.record import FORMAT, Batch, Entry, Ref, node_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

# A sealed batch is in a part and has no row here. `names` counts keys over the sets that the batch before
# has not, `took` is the JSON list of [stream, segment, end] it consumed: a part repeats them, so that a lost ledger
# can be started anew exactly.
# A stream in `fences` is posted by another node from then on; one in `adopted` was another node's, and its automatic
# steps are numbered by counters whose scopes end with that suffix.
# `missing` is a msgpack list of keys, or {keys, meta} where a record has meta: one row, however many holes.
TABLES = """
create table if not exists meta(key text primary key, value text not null) without rowid;
create table if not exists keys(id integer primary key, key text not null unique);
create table if not exists batches(
    id integer primary key, first integer not null, last integer not null, records integer not null,
    points integer not null, names integer not null, entries integer not null, took text not null,
    columns blob not null);
create table if not exists entries(
    record integer primary key, batch integer not null, time integer not null, step integer, rank integer not null,
    attempt integer not null, kind text not null, payload text not null);
create table if not exists streams(
    stream text primary key, pid integer not null, host text not null, boot text not null, rank integer not null,
    attempt integer not null, "primary" integer not null, state text not null, started integer not null,
    last_time integer not null default 0, last_seq integer not null default 0, records integer not null default 0,
    points integer not null default 0, lost_bytes integer not null default 0, unfilled integer not null default 0,
    error text) without rowid;
create table if not exists offsets(
    stream text not null, segment integer not null, posted integer not null,
    primary key(stream, segment)) without rowid;
create table if not exists counters(
    scope text not null, name text not null, next integer not null, primary key(scope, name)) without rowid;
create table if not exists holes(
    stream text not null, seq integer not null, record integer not null, step integer not null, time integer not null,
    rank integer not null, attempt integer not null, missing blob not null, primary key(stream, seq)) without rowid;
create table if not exists fences(stream text primary key, node integer not null, time integer not null) without rowid;
create table if not exists adopted(stream text primary key, scope text not null) without rowid;
create table if not exists cursors(
    destination text primary key, batch integer not null default 0, record integer not null default 0,
    position text, delivered integer not null default 0, skipped integer not null default 0,
    retries integer not null default 0, state text not null default 'waiting', error text) without rowid;
create table if not exists parts(
    id integer primary key, kind text not null, name text not null unique, first_batch integer not null,
    last_batch integer not null, first integer not null, last integer not null, rows integer not null,
    bytes integer not null, crc text);
create table if not exists losses(kind text not null, name text not null, count integer not null, reason text not null,
    primary key(kind, name)) without rowid;
"""


def begin(path: Path | str, node: int) -> sqlite3.Connection:
    """Open the ledger for writing, creating it; autocommit, so transactions are said explicitly.

    A new one keeps the id of its node, and which machine it is of.

    The caller may use the connection from several threads, one at a time, under a lock of its own.

    Raises:
        sqlite3.DatabaseError: the file is not a ledger, or is damaged.
        StenoError: another version of steno wrote it, or its path is too long.
        sqlite3.OperationalError: it cannot be opened, or the disk is full.
    """
    # By the real path: SQLite counts a link's own one against its limit too.
    path = os.path.realpath(path)
    if len(os.fsencode(path)) > LEDGER_PATH_BYTES:
        msg = f"the ledger cannot be opened at a path of {len(os.fsencode(path))} bytes, SQLite takes "
        raise StenoError(f"{msg}{LEDGER_PATH_BYTES}: move the run to a shorter path ({path})")
    connection = sqlite3.connect(path, timeout=20, isolation_level=None, check_same_thread=False)
    try:
        guard(connection)
        # auto_vacuum and page_size hold only if they are set before the first table is made.
        connection.execute("pragma page_size=8192")
        connection.execute("pragma auto_vacuum=incremental")
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=normal")
        connection.execute("pragma wal_autocheckpoint=0")  # checkpoints sync; the collector does them once a second
        connection.execute("pragma journal_size_limit=67108864")
        connection.execute("pragma cache_size=-8192")
        connection.execute("pragma temp_store=memory")
        connection.executescript("begin immediate;" + TABLES + artifacts.TABLE + "commit;")
        if "crc" not in {row[1] for row in connection.execute("pragma table_info(parts)")}:
            connection.execute("alter table parts add column crc text")  # a ledger from before parts had checksums
        row = connection.execute("select value from meta where key='format'").fetchone()
        if row is None:
            rows = [
                ("format", str(FORMAT)),
                ("node", json.dumps(node_name(node))),
                ("host", json.dumps(host.describe())),
            ]
            connection.executemany("insert or ignore into meta values(?, ?)", rows)
        elif json.loads(row[0]) != FORMAT:
            msg = f"the ledger {path} has format {row[0]}, not {FORMAT}: use the version of steno that wrote it"
            raise StenoError(msg)
    except BaseException:
        connection.close()
        raise
    return connection


def guard(connection: sqlite3.Connection) -> None:
    """Take nothing from a ledger but rows: what else a database can hold would run as code when it is read.

    Raises:
        sqlite3.DatabaseError: it holds that, or tables of ours whose columns are others.
    """
    connection.execute("pragma trusted_schema=off")
    connection.execute("pragma cell_size_check=on")
    for kind, name, text in connection.execute("select type, name, sql from sqlite_master"):
        if kind not in {"table", "index"} or (text is not None and _CODE.search(text)):
            raise sqlite3.DatabaseError(f"it holds the {kind} {name!r}, which no ledger has")


_CODE: Final = re.compile(r"(?i)\bvirtual\b|\bgenerated\b|\bcheck\b|\bas\s*\(|\bwhere\b|\breferences\b|\bcollate\b")
"""What a table's text has if it computes something. A ledger's has no default but literals, and no partial index."""


def end(connection: sqlite3.Connection) -> None:
    """Close so that no -wal or -shm file stays behind: a reader of an ended run then has none to create."""
    try:
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.execute("pragma journal_mode=delete")
    except sqlite3.Error:
        pass  # a reader is in it, or the disk is full: the files stay, and are read where they are
    connection.close()


@dataclass(slots=True)
class Columns:
    """A batch before its keys are names: what `Batch` says, with `sets` as arrays of key ids."""

    record: NDArray[np.int64]
    time: NDArray[np.int64]
    step: NDArray[np.int64]
    rank: NDArray[np.int32]
    attempt: NDArray[np.int32]
    set: NDArray[np.int32]
    sets: Sequence[NDArray[np.int32]]
    value: NDArray[np.float64]
    special: Mapping[int, int | str | Ref] = field(default_factory=dict)
    meta: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


def no_columns() -> Columns:
    """Those of a batch without points."""
    import numpy as np

    none, short = np.empty(0, np.int64), np.empty(0, np.int32)
    return Columns(none, none, none, short, short, short, [], np.empty(0))


Packed = int | list[int] | bytes


def _pack(column: NDArray[Any]) -> Packed:
    """A constant as its value, a range as [start, step], anything else raw."""
    if not len(column):
        return b""
    first = int(column[0])
    if len(column) == 1 or (column[0] == column[-1] and bool((column == column[0]).all())):
        return first
    stride = int(column[1]) - first
    if first + stride * (len(column) - 1) == int(column[-1]) and bool((column[1:] - column[:-1] == stride).all()):
        return [first, stride]
    return column.tobytes()


def _unpack(packed: Packed, length: int, dtype: str) -> NDArray[Any]:
    import numpy as np

    if isinstance(packed, bytes):
        return np.frombuffer(packed, dtype)
    if isinstance(packed, int):
        return np.full(length, packed, dtype)
    return packed[0] + np.arange(length, dtype=dtype) * packed[1]


def encode(columns: Columns) -> bytes:
    """One batch's columns as one blob: crc32c of the rest (SQLite itself checks no page), then a msgpack array."""
    import crc32c
    import numpy as np

    special: list[tuple[int, int, Any]] = []
    for point, value in columns.special.items():
        if isinstance(value, str):
            special.append((point, 1, value))
        elif isinstance(value, Ref):
            special.append((point, 2, ref_text(value)))
        else:
            special.append((point, 0, str(value)))
    ids = np.concatenate(columns.sets).astype(np.int32, copy=False) if columns.sets else np.empty(0, np.int32)
    body = msgspec.msgpack.encode(
        (
            FORMAT,
            len(columns.record),
            _pack(columns.record),
            _pack(columns.time),
            _pack(columns.step),
            _pack(columns.rank),
            _pack(columns.attempt),
            _pack(columns.set),
            [len(ids) for ids in columns.sets],
            ids.tobytes(),
            np.ascontiguousarray(columns.value).tobytes(),
            special,
            [(row, json_text(meta)) for row, meta in columns.meta.items()],
        )
    )
    check: int = crc32c.crc32c(body)
    return check.to_bytes(4, "little") + body


def decode(blob: bytes) -> Columns:
    """The columns of a blob; arrays are views of it and read-only.

    Raises:
        CorruptError: the blob is not what `encode` makes.
    """
    import crc32c
    import numpy as np

    view = memoryview(blob)
    if crc32c.crc32c(view[4:]) != int.from_bytes(view[:4], "little"):
        msg = f"a batch of {len(blob)} bytes in the ledger is damaged: its checksum is wrong"
        raise CorruptError(msg)
    try:
        whole = msgspec.msgpack.decode(view[4:])
        _, n, record, time, step, rank, attempt, chosen, widths, ids, value, special, meta = whole
        flat = np.frombuffer(ids, np.int32)
        bounds = [0]
        for width in widths:
            bounds.append(bounds[-1] + width)
        return Columns(
            record=_unpack(record, n, "int64"),
            time=_unpack(time, n, "int64"),
            step=_unpack(step, n, "int64"),
            rank=_unpack(rank, n, "int32"),
            attempt=_unpack(attempt, n, "int32"),
            set=_unpack(chosen, n, "int32"),
            sets=[flat[a:b] for a, b in itertools.pairwise(bounds)],
            value=np.frombuffer(value, np.float64),
            special={point: _special(kind, text) for point, kind, text in special},
            meta={row: json.loads(text) for row, text in meta},
        )
    except (msgspec.DecodeError, ValueError, TypeError, KeyError) as error:
        msg = f"a batch in the ledger is unreadable: {error}"
        raise CorruptError(msg) from error


def _special(kind: int, text: str) -> int | str | Ref:
    return text if kind == 1 else int(text) if kind == 0 else read_ref(text)


def named(columns: Columns, id: int, node: int, names: Callable[[Iterable[int]], Mapping[int, str]]) -> Batch:
    """As `batch_of`; `names` gives the keys of the ids asked for."""
    found = names({key for ids in columns.sets for key in ids.tolist()})
    return batch_of(columns, id, node, [[found[key] for key in ids.tolist()] for ids in columns.sets])


def batch_of(
    columns: Columns, id: int, node: int, keys: Iterable[Iterable[str]], entries: tuple[Entry, ...] = ()
) -> Batch:
    """The `Batch` that everyone else speaks of; `keys` are those of each set."""
    return Batch(
        id=id,
        node=node,
        record=columns.record,
        time=columns.time,
        step=columns.step,
        rank=columns.rank,
        attempt=columns.attempt,
        set=columns.set,
        sets=tuple(map(tuple, keys)),
        value=columns.value,
        special=columns.special,
        entries=entries,
        meta=columns.meta,
    )


def ref_text(ref: Ref) -> str:
    """A `Ref` as the JSON text that stands in the ledger and in the column `ref` of a part."""
    return json_text({"digest": ref.digest, "kind": ref.kind, "meta": dict(ref.meta)})


def read_ref(text: str) -> Ref:
    """The `Ref` of a JSON text."""
    found = json.loads(text)
    return Ref(found["digest"], found["kind"], found.get("meta") or {})


def json_text(value: Any) -> str:
    """JSON that keeps NaN and ±inf, and writes what JSON has no form for as its text."""
    return json.dumps(value, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"digest": value.digest, "kind": value.kind, "meta": dict(value.meta)}
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
