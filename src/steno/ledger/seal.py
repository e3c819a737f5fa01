"""Sealing: batches out of the ledger into parts, each exactly once."""

from __future__ import annotations

import contextlib
import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from steno import bounds, files, runfile
from steno.errors import CorruptError
from steno.ledger import artifacts, bins_format, bins_part, bins_rebuild, part_points, parts, schema, verify
from steno.ledger.bins_name import name_of, part_named
from steno.ledger.layout import NS_PER_TICK, Constants
from steno.ledger.listed import found_parts, is_part, part_of
from steno.ledger.read import part_columns
from steno.ledger.rebuild import PartBatches, part_names, part_took
from steno.record import node_name
from steno.utf8 import escaped

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from steno.ledger.bins_part import PartBins
    from steno.ledger.snapshot import Part

PART_POINTS = 1_500_000
_PART_NAMES = 60_000
"""New keys over the sets of a part's batches: bounds the memory of a run whose keys never repeat."""
_PART_ENTRIES = 100_000
_PART_BYTES = 64 << 20
_PART_BATCHES = 20_000
_SMALL_ROWS = 300_000
_MERGE_NAMES = 50_000
_LOOKS = 64
"""So many parts are looked at for their bins at a time: 20 MB where they are large."""


_ENTRY_ROW = ("record", "batch", "time", "step", "rank", "attempt", "kind", "payload")

Made = tuple[str, int, str]
"""A part's name, its rows and its checksum."""


class Sealer:
    """Moves batches into parts. One per ledger; its methods may be called from one thread of their own.

    Killed at any instruction, a batch is either in the ledger or in a part that the ledger lists: a part
    is written aside, synced and renamed before the one transaction that lists it and deletes its rows.

    Args:
        run_dir: the run's directory.
        connection: the writing connection.
        lock: held while it is used.
        node: this node's id.

    """

    def __init__(self, run_dir: Path, connection: sqlite3.Connection, lock: threading.RLock, node: int) -> None:
        self.run_dir = run_dir
        self.can_seal = escaped(str(run_dir)) == str(run_dir)
        """False where the directory's name is no valid unicode: Parquet's libraries do not take such a path. All stays
        in the ledger then, and is read from there."""
        self.connection = connection
        self.lock = lock
        self.node = node
        self._binned: set[str] = set()
        """Parts that are known to have their bins next to them."""
        self._same: Constants | None = None

    def clean(self) -> None:
        """Remove what a death left behind: parts half written, or written and not yet in the ledger; and their bins."""
        listed = {row[0] for row in self.connection.execute("select name from parts")}
        for kind in ("metrics", "records"):
            place = self.run_dir / kind
            if not place.is_dir():
                continue
            for name in os.listdir(place):
                half = name.startswith(".") and name.endswith(".tmp")
                whole = part_named(f"{kind}/{name[1:-4] if half else name}")
                mine = is_part(whole) and name.lstrip(".").startswith(f"{node_name(self.node)}-part-")
                if mine and (half or whole not in listed):
                    files.unlink(place / name)

    def _constants(self) -> Constants:
        """What is the same in every row of the run's parts that this node writes; run.json stays as it was started.

        The run has the id that it has in its store, where it has one.
        """
        if self._same is None:
            facts = runfile.read(self.run_dir)[0]
            shared = files.read_json(self.run_dir / ".steno" / "nodes" / node_name(self.node) / "place-store.json")
            same = Constants(
                project=str(facts.get("project") or self.run_dir.parent.name),
                run=str(shared.get("id") or facts.get("id") or self.run_dir.name),
                node=self.node,
            )
            if not shared and facts.get("family"):
                return same  # it may be found yet
            self._same = same
        return self._same

    def unsealed(self) -> tuple[int, int, int]:
        """(points, entries, batches) in the ledger and in no part yet."""
        with self.lock:
            row = self.connection.execute(
                "select coalesce(sum(points), 0), coalesce(sum(entries), 0), count(*) from batches"
            ).fetchone()
        return row[0], row[1], row[2]

    def seal(self, most_points: int | None = None) -> int:
        """Seal one part's worth of the oldest batches; returns how many batches, 0 when there are none.

        Args:
            most_points: a part's worth.

        Raises:
            OSError, sqlite3.Error: nothing has changed but temporary files.

        """
        if not self.can_seal:
            return 0
        with self.lock:
            chosen = self._choose(most_points or PART_POINTS)
            if not chosen:
                return 0
            first, last = chosen[0], chosen[-1]
            between = (first, last)
            fetch = self.connection.execute
            rows = fetch("select id, took, columns from batches where id between ? and ? order by id", between)
            batches, took = [], self._took_before()
            damaged: list[tuple[int, str]] = []
            for id, some, blob in rows:
                for stream, segment, end in json.loads(some):
                    took[stream, segment] = max(end, took.get((stream, segment), 0))
                try:
                    columns = schema.decode(blob)
                except CorruptError as error:
                    self._keep_damaged(id, blob)
                    damaged.append((id, str(error)))
                    continue
                if len(columns.record):
                    batches.append((id, columns))
            entries = fetch(
                "select record, batch, time, step, rank, attempt, kind, payload from entries "
                "where batch between ? and ? order by record",
                between,
            ).fetchall()
            names = self._names(batches)
            bounds = fetch("select min(first), max(last) from batches where id between ? and ?", between).fetchone()
        facts = {
            "first_batch": first,
            "last_batch": last,
            "first": bounds[0],
            "last": bounds[1],
            "took": [[stream, segment, end] for (stream, segment), end in took.items()],
        }
        made: list[Made] = []
        if batches:
            points = part_points.points_of(batches, names)
            facts["names"] = len(points.names)
            bins = parts.bins_of(points)
            write = partial(parts.write_metrics, points=points, facts=facts, same=self._constants(), bins=bins)
            made.append(self._write("metrics", write, facts, bins))
        if entries:
            try:
                made.append(
                    self._write(
                        "records", lambda path: parts.write_records(path, entries, facts, self._constants()), facts
                    )
                )
            except BaseException:
                # What stayed there would be sealed a second time, and both taken up by a ledger that is begun anew.
                for name, _, _ in made:
                    files.unlink(self.run_dir / name)
                raise
        with self.lock:
            self._commit(
                made,
                facts,
                ("delete from batches where id between ? and ?", between),
                ("delete from entries where batch between ? and ?", between),
                *(_damage(id, why) for id, why in damaged),
            )
        self.mend_bins()
        return len(chosen)

    def _keep_damaged(self, id: int, blob: bytes) -> None:
        poison = self.run_dir / ".steno" / "poison"
        poison.mkdir(exist_ok=True, parents=True)
        files.replace(poison / f"{node_name(self.node)}-batch-{id}.blob", blob)

    def _choose(self, most_points: int) -> list[int]:
        chosen: list[int] = []
        points = names = entries = size = 0
        rows = self.connection.execute(
            "select id, points, names, entries, length(columns) from batches order by id limit ?", (_PART_BATCHES,)
        )
        for id, some_points, some_names, some_entries, some_bytes in rows:
            points, names, entries = points + some_points, names + some_names, entries + some_entries
            size += some_bytes
            too_much = points > 2 * most_points or names > _PART_NAMES or entries > _PART_ENTRIES or size > _PART_BYTES
            if chosen and too_much:
                break
            chosen.append(id)
            if points >= most_points:
                break
        return chosen

    def _took_before(self) -> dict[tuple[str, int], int]:
        """What older parts consumed, so that the newest part alone tells; kept for segments still there."""
        row = self.connection.execute("select value from meta where key='took'").fetchone()
        old = {(stream, segment): end for stream, segment, end in json.loads(row[0])} if row else {}
        live = {(stream, segment) for stream, segment in self.connection.execute("select stream, segment from offsets")}
        return {key: end for key, end in old.items() if key in live}

    def _names(self, batches: Iterable[tuple[int, schema.Columns]]) -> dict[int, str]:
        wanted = np.unique(np.concatenate([np.empty(0, np.int32), *(ids for _, c in batches for ids in c.sets)]))
        names: dict[int, str] = {}
        for at in range(0, len(wanted), 500):
            some = wanted[at : at + 500].tolist()
            marks = ",".join("?" * len(some))
            names.update(self.connection.execute(f"select id, key from keys where id in ({marks})", some))
        return names

    def _write(self, kind: str, write: Any, facts: dict[str, Any], bins: PartBins | None = None) -> Made:
        place = self.run_dir / kind
        place.mkdir(exist_ok=True)
        with self.lock:
            row = self.connection.execute("select max(id) from parts").fetchone()
        head = f"{node_name(self.node)}-part-"
        taken = [int(name[len(head) :].split(".")[0]) for name in os.listdir(place) if name.startswith(head)]
        name = f"{head}{max(row[0] or 0, *taken, 0) + 1:06d}.parquet"
        hidden = place / f".{name}.tmp"
        rows = write(hidden)
        crc = verify.checksum(hidden)
        known = {**facts, "name": f"{kind}/{name}", "rows": rows, "crc": crc}
        verify.note(self.run_dir / ".steno" / "nodes" / node_name(self.node), known)
        if bins is not None and rows >= bins_part.FEWEST_POINTS:
            with contextlib.suppress(OSError):  # the part is whole without them
                bins_part.write(place / name, bins, bins_format.identity(hidden.stat().st_size, rows, self.node, crc))
                self._binned.add(f"{kind}/{name}")
        files.rename_new(hidden, place / name)
        files.sync_dir(place)
        return f"{kind}/{name}", rows, crc

    def _commit(self, made: Sequence[Made], facts: dict[str, Any], *others: tuple[str, Sequence[Any]]) -> None:
        execute = self.connection.execute
        execute("begin immediate")
        try:
            for name, rows, crc in made:
                execute(
                    "insert into parts(kind, name, first_batch, last_batch, first, last, rows, bytes, crc) "
                    "values(?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        name.partition("/")[0],
                        name,
                        facts["first_batch"],
                        facts["last_batch"],
                        facts["first"],
                        facts["last"],
                        rows,
                        (self.run_dir / name).stat().st_size,
                        crc,
                    ),
                )
            execute("insert or replace into meta values('took', ?)", (json.dumps(facts["took"]),))
            for statement, values in others:
                execute(statement, values)
            execute("commit")
        except BaseException:
            if self.connection.in_transaction:
                execute("rollback")
            raise

    # -- bins ------------------------------------------------------------------------------------------------

    def mend_bins(self, most: int = 1) -> int:
        """Make the bins of parts that have none of this version, or damaged ones; returns how many parts' were made.

        Those of a part that is damaged itself stay as they are: they say what it was. Each part is looked at once,
        a few at each call, since a long run has hundreds.

        Args:
            most: how many to make.
        """
        with self.lock:
            rows = self.connection.execute(
                f"select {part_columns(self.connection)} from parts where kind='metrics' and rows >= ? order by id",
                (bins_part.FEWEST_POINTS,),
            ).fetchall()
        made = 0
        unseen = [part for part in (part_of(self.node, row) for row in rows) if part.name not in self._binned]
        for part in unseen[:_LOOKS]:
            if made >= most:
                break
            self._binned.add(part.name)
            path = self.run_dir / part.name
            of = bins_format.identity(part.bytes, part.rows, part.node, part.crc)
            with contextlib.suppress(OSError, ValueError, CorruptError):
                if not bins_part.is_there(path, of) and not (part.crc and verify.differing(path, part.crc)):
                    bins_part.write(path, bins_rebuild.rebuilt(path), of)
                    made += 1
        return made

    # -- the end -----------------------------------------------------------------------------------------

    def merge(self) -> int:
        """Make one part of neighbouring small ones; returns how many were merged away. A damaged part stays as it is.

        Only at a clean end: a reader that meets a part that is gone starts over.
        """
        gone = 0
        for kind in ("metrics", "records"):
            for run in self._small_runs(kind):
                gone += len(run)
                self._merge(kind, run)
        return gone

    def _small_runs(self, kind: str) -> list[list[Part]]:
        with self.lock:
            rows = self.connection.execute(
                f"select {part_columns(self.connection)} from parts where kind=? order by first_batch",
                (kind,),
            ).fetchall()
        runs: list[list[Part]] = []
        held: list[Part] = []
        names = 0
        for part in (part_of(self.node, row) for row in rows):
            if part.crc and verify.differing(self.run_dir / part.name, part.crc):
                # Merged, the damage would have a new checksum; readers count it, and an intact copy can replace it.
                runs.append(held)
                held, names = [], 0
                continue
            own = part_names(self.run_dir / part.name)
            names = names + own if held else own
            fits = part.rows < _SMALL_ROWS and sum(one.rows for one in held) + part.rows <= PART_POINTS
            # Merging holds all names in memory; where keys never repeat there would be too many.
            fits = fits and names <= _MERGE_NAMES
            if held and not fits:
                runs.append(held)
                held, names = [], own
            if part.rows < _SMALL_ROWS:
                held.append(part)
        runs.append(held)
        return [run for run in runs if len(run) > 1]

    def _merge(self, kind: str, run: Sequence[Part]) -> None:
        facts = {
            "first_batch": min(part.first_batch for part in run),
            "last_batch": max(part.last_batch for part in run),
            "first": min(part.first for part in run),
            "last": max(part.last for part in run),
            "took": _latest(part_took(self.run_dir / part.name) for part in run),
        }
        if kind == "metrics":
            points = self._points([part.name for part in run])
            facts["names"] = len(points.names)
            bins = parts.bins_of(points)
            write = partial(parts.write_metrics, points=points, facts=facts, same=self._constants(), bins=bins)
            made = self._write(kind, write, facts, bins)
        else:
            entries = self._entries([part.name for part in run])
            made = self._write(kind, lambda path: parts.write_records(path, entries, facts, self._constants()), facts)
        marks = ",".join("?" * len(run))
        with self.lock:
            row = self.connection.execute("select value from meta where key='took'").fetchone()
            newest = {**facts, "took": json.loads(row[0])} if row else facts
            self._commit([made], newest, (f"delete from parts where name in ({marks})", [part.name for part in run]))
            self._sync()  # a ledger that a power loss takes back lists the old parts
        for part in run:
            files.unlink(self.run_dir / part.name)
            if kind == "metrics":
                files.unlink(self.run_dir / name_of(part.name), missing_ok=True)

    def _sync(self) -> None:
        path = self.connection.execute("pragma database_list").fetchone()[2]
        with contextlib.suppress(FileNotFoundError):  # not in WAL mode: each commit is synced
            files.sync_data(f"{path}-wal")

    def _points(self, names: Sequence[str]) -> part_points.PartPoints:
        held = [PartBatches.load(self.run_dir, (name,), self.node) for name in names]
        batches = [held_one.batch(id) for held_one in held for id in sorted(held_one.bounds)]
        keys = sorted({key for batch in batches for keys in batch.sets for key in keys})
        ids = {key: at for at, key in enumerate(keys)}
        columns = [
            (
                batch.id,
                schema.Columns(
                    batch.record,
                    batch.time,
                    batch.step,
                    batch.rank,
                    batch.attempt,
                    batch.set,
                    [np.array([ids[key] for key in keys], np.int32) for keys in batch.sets],
                    batch.value,
                    batch.special,
                    batch.meta,
                ),
            )
            for batch in batches
        ]
        return part_points.points_of(columns, dict(enumerate(keys)))

    def _entries(self, names: Sequence[str]) -> list[tuple[Any, ...]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        out: list[tuple[Any, ...]] = []
        for name in names:
            bounds.parquet(self.run_dir / name)
            with pq.ParquetFile(self.run_dir / name, memory_map=False) as file:  # `read_table` would import pandas
                table = file.read(list(_ENTRY_ROW), use_threads=False)
            at = table.column_names.index("time")
            table = table.set_column(at, "time", table["time"].cast(pa.int64()))
            for row in table.to_pylist():
                row["time"] *= NS_PER_TICK
                out.append(tuple(row[column] for column in _ENTRY_ROW))
        return sorted(out)

    def finish(self, most_points: int | None = None, *, merge: bool = True) -> None:
        """Seal the rest, merge small parts, and give the ledger's free space back.

        Args:
            most_points: a part's worth.
            merge: False where somebody may have the small parts.
        """
        while self.seal(most_points):
            pass
        if merge:
            self.merge()
        self.mend_bins(_LOOKS)
        with self.lock:
            # The newest key stays: an id given anew would have another name than readers remember.
            self.connection.execute(
                "delete from keys where not exists (select 1 from batches) and id < (select max(id) from keys)"
            )
            # execute() would step once and free one page.
            self.connection.executescript("pragma incremental_vacuum")
            self.connection.execute("pragma wal_checkpoint(truncate)").fetchall()


def _damage(id: int, why: str) -> tuple[str, Sequence[Any]]:
    """The statement that counts a batch whose bytes were damaged in the ledger."""
    return "insert or ignore into losses values('damaged batch', ?, 1, ?)", (str(id), why)


def _latest(some: Iterable[Sequence[Sequence[Any]]]) -> list[list[Any]]:
    ends: dict[tuple[str, int], int] = {}
    for took in some:
        for stream, segment, end in took:
            ends[stream, segment] = max(end, ends.get((stream, segment), 0))
    return [[stream, segment, end] for (stream, segment), end in ends.items()]


def adopt_parts(run_dir: Path, connection: sqlite3.Connection, node: int) -> int:
    """Enter the parts that lie there into a ledger started after a lost one; returns how many.

    Numbers of records and batches go on after the highest sealed ones, the run's automatic steps after
    the highest sealed step, and journals from where the newest part says they were consumed. A damaged part
    keeps its checksum, so that its readers know.
    """
    noted = verify.noted(run_dir / ".steno" / "nodes" / node_name(node))

    found = sorted(found_parts(run_dir, node), key=lambda part: (part.first_batch, part.id))
    last = batch = step = 0
    ends: list[list[list[Any]]] = []
    execute = connection.execute
    execute("begin immediate")
    for part in found:
        execute(
            "insert into parts(kind, name, first_batch, last_batch, first, last, rows, bytes, crc) "
            "values(?,?,?,?,?,?,?,?,?)",
            (
                part.kind,
                part.name,
                part.first_batch,
                part.last_batch,
                part.first,
                part.last,
                part.rows,
                part.bytes,
                part.crc,
            ),
        )
        last, batch = max(last, part.last), max(batch, part.last_batch)
        known = noted.get(part.name)
        ends.append(part_took(run_dir / part.name) if known is None else known["took"])
        footer = None
        if part.kind == "metrics":
            path = run_dir / part.name
            footer = verify.footer_of(path, verify.differing(path, part.crc) if part.crc else [])
        if footer is not None:
            at = footer.schema.names.index("step")
            for group in range(footer.num_row_groups):
                statistics = footer.row_group(group).column(at).statistics
                if statistics is not None and statistics.has_min_max:
                    step = max(step, statistics.max + 1)
    artifacts.adopt(connection, [run_dir / part.name for part in found if part.kind == "records"])
    took = _latest(ends)
    connection.executemany("insert or replace into offsets values(?, ?, ?)", took)
    execute("insert or replace into meta values('took', ?)", (json.dumps(took),))
    connection.executemany(
        "insert or replace into counters values(?, ?, ?)",
        [("node", "record", last + 1), ("node", "batch", batch + 1), ("run", "", min(step, 2**62))],
    )
    execute("commit")
    return len(found)
