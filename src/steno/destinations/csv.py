"""Tables that spreadsheets and data frames open."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from steno.destinations.file import Tail, name_on_node
from steno.record import SOME

if TYPE_CHECKING:
    from pathlib import Path

    from steno.record import Batch, Record, RunInfo

FIXED = ("record", "step", "time", "rank", "attempt")
LONG = (*FIXED, "key", "value")
MAX_FILES = 20
_MARKS = re.compile('[",\\r\\n]')


@dataclass(slots=True)
class _Table:
    """The wide file being written: its number and its keys, each with its column."""

    number: int = 1
    keys: dict[str, int] = field(default_factory=dict)


class Csv:
    """One row per record in `metrics.csv`, a column per key, exactly once.

    A header cannot grow in a file that is only appended to. So when a record brings new keys, rows go on in
    `metrics-2.csv` with the old columns and the new ones, and so on. At the 20th file, or beyond `max_columns`
    keys, further new keys go to `metrics-long.csv`, one row per value: memory and disk stay in proportion to
    what is logged, whatever the keys. Files of a node beyond
    the first are called `metrics-node-…`, with its id. Floats are the shortest
    text that gives the same float. Used by one thread. Nothing is lost if the process dies: the collector gives the
    unsaved batches again, and rows that are there already are not written twice.

    Args:
        format: "wide", or "long" for one row per value, all in `metrics-long.csv`.
        max_columns: keys that get a column of their own.
    """

    kinds = frozenset({"points"})

    def __init__(self, *, format: str = "wide", max_columns: int = 1000) -> None:
        if format not in {"wide", "long"}:
            raise ValueError(f'format is "wide" or "long", not {format!r}')
        if not isinstance(max_columns, int) or max_columns < 0:
            raise ValueError(f"max_columns is a number from 0 on, not {max_columns!r}")
        self._max_columns = max_columns if format == "wide" else 0
        self._run: RunInfo | None = None
        self._table = _Table()
        self._tails: dict[str, Tail] = {}

    @property
    def position(self) -> dict[str, Any]:
        """The number of the wide file, and delivered bytes by file."""
        return {"number": self._table.number, "sizes": {name: tail.at for name, tail in self._tails.items()}}

    def open(self, run: RunInfo) -> None:
        """Begin, or go on from `run.position`; makes no file before the first record."""
        self.close()
        self._run = run
        saved = run.position or {}
        self._table = _Table(int(saved.get("number", 1)))
        self._tails = {name: Tail(run.dir, name, size) for name, size in saved.get("sizes", {}).items()}
        current = self._tails.get(self._name(self._table.number))
        if current is not None and current.at:
            keys = _header(current.path)
            if keys is not None:
                self._table.keys = {key: index for index, key in enumerate(keys)}
            elif current.path.exists():
                self._table.number += 1

    def write(self, batch: Batch) -> None:
        """Append the batch; OSError when a file cannot be written."""
        from steno.destinations.jsonl import iso_times

        if self._run is None or not len(batch):
            return
        table = _Table(self._table.number, dict(self._table.keys))
        if not self._fits(self._name(table.number), table):
            table = _Table(table.number + 1)
        rows: dict[str, list[str]] = {}
        whole: dict[str, bytearray] = {}
        pairs = zip(batch.records(), iso_times(batch), strict=True)
        while some := [*itertools.islice(pairs, SOME)]:
            for record, time in some:
                self._add(record, time, table, rows)
            for name, lines in rows.items():
                whole.setdefault(name, bytearray()).extend("".join(lines).encode("utf-8", "surrogatepass"))
                lines.clear()
        for name, data in whole.items():
            self._reopened(name).append(data)
        for name in whole:
            self._tails[name].commit()
        self._table = table
        for name, tail in list(self._tails.items()):
            if name not in {self._name(table.number), self._long()}:
                tail.close()
                del self._tails[name]

    def flush(self) -> None:
        """Nothing: what `write` returned from can be read."""

    def close(self) -> None:
        """Sync and close the files."""
        for tail in self._tails.values():
            tail.close()

    def _add(self, record: Record, time: str, table: _Table, rows: dict[str, list[str]]) -> None:
        """Put the record into the rows of its files. Depends on earlier records, never on the batch's boundaries."""
        columns = table.keys
        known = record.values.keys() <= columns.keys()
        fresh = [] if known else [key for key in record.values if key not in columns]
        if fresh and len(table.keys) + len(fresh) <= self._max_columns and (not table.keys or table.number < MAX_FILES):
            table.number += 1 if table.keys else 0
            table.keys.update((key, index) for index, key in enumerate(fresh, len(table.keys)))
            fresh = []
        fixed = f"{record.record},{record.step},{time},{record.rank},{record.attempt}"
        if len(fresh) < len(record.values):
            cells = [""] * len(columns)
            for key, value in record.values.items():
                if known or key in columns:
                    cells[columns[key]] = repr(value) if type(value) is float else _cell(value)
            name = self._name(table.number)
            lines = rows[name] if name in rows else self._begin(rows, name, (*FIXED, *columns))
            lines.append(f"{fixed},{','.join(cells)}\n")
        if fresh:
            name = self._long()
            lines = rows[name] if name in rows else self._begin(rows, name, LONG)
            lines.extend(f"{fixed},{_quoted(key)},{_cell(record.values[key])}\n" for key in fresh)

    def _begin(self, rows: dict[str, list[str]], name: str, header: tuple[str, ...]) -> list[str]:
        tail = self._tails.get(name)
        is_new = tail is None or not tail.at
        lines = rows[name] = [",".join(map(_quoted, header)) + "\n"] if is_new else []
        return lines

    def _reopened(self, name: str) -> Tail:
        assert self._run is not None
        tail = self._tails.get(name)
        if tail is None:
            tail = self._tails[name] = Tail(self._run.dir, name)
        tail.reopen()
        return tail

    def _fits(self, name: str, table: _Table) -> bool:
        """Whether the file still has the header its rows need, should somebody have cut it."""
        if name not in self._tails:
            return True
        tail = self._reopened(name)
        return not (tail.missing_bytes and tail.at) or _header(tail.path) == list(table.keys)

    def _name(self, number: int) -> str:
        return name_on_node("metrics.csv", self._run.node_suffix if self._run else "", number)

    def _long(self) -> str:
        return name_on_node("metrics-long.csv", self._run.node_suffix if self._run else "")


def _header(path: Path) -> list[str] | None:
    """The keys that have columns in the file, or None when it has no header of ours."""
    import csv

    try:
        with path.open("rb") as file:  # not in text mode, which breaks lines at a "\r" inside a quoted key too
            found = next(csv.reader(line.decode("utf-8", "surrogatepass") for line in file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    return found[len(FIXED) :] if tuple(found[: len(FIXED)]) == FIXED else None


def _cell(value: Any) -> str:
    return repr(value) if isinstance(value, float | int) else _quoted(str(value))


def _quoted(text: str) -> str:
    """RFC 4180; an empty text is quoted, so that it differs from no value."""
    if not text or _MARKS.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text
