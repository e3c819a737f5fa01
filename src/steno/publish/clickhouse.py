"""The parts of a store as rows of ClickHouse: each part once, and none the worse for coming again."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from steno.clickhouse.connection import Connection, UnreachableError
from steno.clickhouse.rows import flat, json_of, table
from steno.clickhouse.tables import BINS, CARDS, ENTRIES, MARKS, PARTS, POINTS
from steno.errors import CorruptError, StenoError
from steno.ledger import bins_format
from steno.ledger.listed import read_manifest
from steno.store.attempts import Choice, read_attempts
from steno.store.binfiles import BinFiles, Level

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from steno.clickhouse.place import DatabaseUrl
    from steno.ledger.snapshot import Part
    from steno.store.stock import Contents, Stock, Stored

T = TypeVar("T")
PATIENCE_SECS: Final = 300.0
"""So long a server that does not answer is asked again."""
_COLUMNS: Final = {"metrics": ("points", POINTS), "records": ("entries", ENTRIES)}


@dataclass(frozen=True, slots=True)
class Inserted:
    """What came of publishing."""

    runs: int
    parts: int
    """That were not there."""
    rows: int
    """Of these, as sent."""
    left_out: dict[str, str]
    """By run, why not all of it is there."""


def publish(stock: Stock, place: DatabaseUrl) -> Inserted:
    """Have the rows of all parts, their bins, and what each run comes to, in the tables.

    A part is marked as published after its rows. Rows that come again, since a publisher was killed or since several
    publish together, replace themselves; their token saves the work where it is remembered.

    Raises:
        StenoError: the store cannot be listed, or ClickHouse refuses or does not answer for minutes.
    """
    with tempfile.TemporaryDirectory(prefix="steno-publish-") as folder:
        connection = patient(lambda: Connection(place))
        try:
            patient(connection.prepare)
            return _Publisher(stock, connection, Path(folder)).publish()
        finally:
            connection.close()


def patient(call: Callable[[], T]) -> T:
    """What the call returns, made again as long as the server does not answer. Raises UnreachableError at last."""
    until, wait = time.monotonic() + PATIENCE_SECS, 0.1
    while True:
        try:
            return call()
        except UnreachableError:
            if time.monotonic() > until:
                raise
        time.sleep(wait)
        wait = min(2 * wait, 10.0)


class _Publisher:
    def __init__(self, stock: Stock, connection: Connection, folder: Path) -> None:
        self._stock, self._connection, self._folder = stock, connection, folder
        self._there: dict[tuple[str, int, str], list[tuple[int, int]]] = {}
        """By run, node and kind, the batches that are in the tables."""
        self._cards: dict[str, tuple[str, str]] = {}
        """By place, the mark of the run's files and its state, when its card was written."""

    def publish(self) -> Inserted:
        self._ask()
        runs = parts = rows = 0
        left_out: dict[str, str] = {}
        for one in self._stock.runs():
            try:
                if self._is_published(one):
                    runs += 1
                    continue
                contents = self._stock.contents(one)
                runs += 1
                for part in sorted(contents.parts.values(), key=lambda part: (part.node, part.kind, part.id)):
                    if part.name in one.parts and not self._has(contents.summary.id, part):
                        self._insert(one, contents, part)
                        parts, rows = parts + 1, rows + part.rows
                self._card(one, contents)
            except UnreachableError:
                raise
            except (StenoError, OSError) as error:
                left_out[one.place] = str(error)
        return Inserted(runs, parts, rows, left_out)

    def _ask(self) -> None:
        found = patient(
            lambda: self._connection.rows("select run, node, kind, first_batch, last_batch from {db}.parts final")
        )
        for row in found.to_pylist():
            spans = self._there.setdefault((row["run"], row["node"], row["kind"]), [])
            spans.append((row["first_batch"], row["last_batch"]))
        found = patient(lambda: self._connection.rows("select place, mark, state from {db}.cards final where node = 0"))
        for row in found.to_pylist():
            self._cards[row["place"]] = (row["mark"], row["state"])

    def _is_published(self, one: Stored) -> bool:
        mark, state = self._cards.get(one.place, ("", ""))
        return bool(one.mark) and mark == one.mark and state not in {"", "running"}

    def _has(self, run: str, part: Part) -> bool:
        """Whether its batches are there, as those of other parts that it has replaced, too."""
        batch = part.first_batch
        for first, last in sorted(self._there.get((run, part.node, part.kind), ())):
            if first <= batch <= last:
                batch = last + 1
        return batch > part.last_batch

    def _insert(self, one: Stored, contents: Contents, part: Part) -> None:
        into, columns = _COLUMNS[part.kind]
        path = self._stock.fetched(one, part, self._folder)
        try:
            data = path.read_bytes()
            token = f"{contents.summary.id} {part.name} {part.crc or part.bytes}"
            names = [name for name, *_ in columns]
            patient(lambda: self._connection.insert_file(into, names, data, token))
            if part.kind == "metrics":
                bins = self._bins(one, contents, part)
                if bins is not None:
                    patient(lambda: self._connection.insert("bins", bins, token))
        finally:
            self._stock.forget(path)
        summary = contents.summary
        about = (part.node, part.kind, part.name, part.crc or "", part.first_batch, part.last_batch, part.rows)
        values = dict(zip((name for name, *_ in PARTS), (summary.project, summary.id, *about), strict=True))
        patient(lambda: self._connection.insert("parts", table(PARTS, [values])))
        spans = self._there.setdefault((summary.id, part.node, part.kind), [])
        spans.append((part.first_batch, part.last_batch))

    def _bins(self, one: Stored, contents: Contents, part: Part) -> pa.Table | None:
        """The part's bins as rows; None without any."""
        path = self._stock.fetched_into(one, part, self._folder)
        if path is None:
            return None
        try:
            head = bins_format.read_head(path.read_bytes())
            keys = [head.name(number).decode() for number in range(len(head))]
            bins = BinFiles().read(path.parents[1], part, keys, Choice(), Level(1)).bins
        except (OSError, CorruptError, UnicodeDecodeError):
            return None  # the points are there
        finally:
            self._stock.forget(path)
        if not len(bins):
            return None
        import pyarrow as pa

        count = len(bins)
        same = (contents.summary.project, contents.summary.id, part.node, part.first_batch, part.last_batch)
        columns: dict[str, Any] = dict(
            zip(
                ("project", "run", "node", "first_batch", "last_batch"),
                ([value] * count for value in same),
                strict=True,
            )
        )
        columns["key"] = pa.array(np.array(keys, object)[bins.key])
        for name, *_ in BINS:
            mark, _, what = name.partition("_")
            if name not in columns:
                columns[name] = getattr(getattr(bins, mark), what) if mark in MARKS and what else getattr(bins, name)
        return pa.table({name: columns[name] for name, *_ in BINS})

    def _card(self, one: Stored, contents: Contents) -> None:
        summary = contents.summary
        attempts = read_attempts(contents.dir, lambda: read_manifest(contents.dir)[0], list)
        values = {
            "project": summary.project,
            "run": summary.id,
            "node": 0,
            "name": summary.name,
            "place": one.place,
            "mark": one.mark,
            "state": summary.state,
            "started": summary.started,
            "ended": summary.ended,
            "records": summary.records,
            "points": summary.points,
            "attempts": json_of([[attempt.attempt, attempt.started, attempt.rewind] for attempt in attempts]),
            "group": summary.group,
            "tags": json_of(list(summary.tags)),
            "notes": summary.notes,
            "archived": summary.archived,
            "colour": summary.colour,
            "config": json_of(summary.config),
            "values": json_of(flat(summary.config)),
            "summary": json_of(summary.summary),
            "updated": time.time_ns() // 1000,
        }
        patient(lambda: self._connection.insert("cards", table(CARDS, [values])))
