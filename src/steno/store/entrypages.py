"""Entries a page at a time: what kinds there are is read once of each part, and of a page its own rows alone."""

from __future__ import annotations

import json
import re
import threading
from bisect import bisect_right
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from steno.record import OUTPUT
from steno.store.engine import quoted, require, scan
from steno.store.records import entries_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from steno.record import Entry
    from steno.store.engine import Engine
    from steno.store.unsealed import RunView

_SEARCHES: Final = 64
"""What was searched for in a part is kept: a page of what was found needs no further search."""
_COLOURS: Final = r"\x1b\[[0-9;:?]*[ -/]*[@-~]"


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries: of a kind, of a rank, those whose text holds another one, whatever its case."""

    kind: str | None = None
    rank: int | None = None
    match: str = ""

    def holds(self, entry: Entry) -> bool:
        """Whether the entry, which is of the kind and the rank, has the text in it."""
        return not self.match or self.match.lower() in _text(entry).lower()


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Some entries of a list of `total`; `numbers` has their places among those of their kind and rank, from 0."""

    entries: list[Entry]
    numbers: list[int]
    offset: int
    total: int
    kinds: dict[str, int] = field(default_factory=dict)
    """How many entries the run has of each kind."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The kinds and ranks of a part's rows."""

    kinds: tuple[str, ...]
    code: NDArray[np.int32]
    rank: NDArray[np.int32]
    edges: tuple[int, ...]
    """Where its row groups end."""

    def counts(self) -> dict[str, int]:
        import numpy as np

        return dict(zip(self.kinds, np.bincount(self.code, minlength=len(self.kinds)).tolist(), strict=True))

    def rows(self, wanted: EntryFilter) -> NDArray[np.int64]:
        import numpy as np

        mask = np.ones(len(self.code), np.bool_)
        if wanted.kind is not None:
            at = self.kinds.index(wanted.kind) if wanted.kind in self.kinds else -1
            mask &= self.code == at
        if wanted.rank is not None:
            mask &= self.rank == wanted.rank
        return np.flatnonzero(mask)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of the list: rows of a part, or entries that no part has yet."""

    rows: NDArray[np.int64]
    """Those that are wanted, by their places in the part or in `entries`."""
    numbers: NDArray[np.int64]
    """Of these, how many of their kind and rank stand before them in the piece."""
    before: int
    """How many of their kind and rank there are in all."""
    path: Path | None = None
    entries: Sequence[Entry] = ()


def page_of(entries: Sequence[Entry], wanted: EntryFilter, offset: int, limit: int) -> EntryPage:
    """A page of entries that are all in memory."""
    of_kind = [one for one in entries if wanted.kind in {None, one.kind} and wanted.rank in {None, one.rank}]
    found = [(number, one) for number, one in enumerate(of_kind) if wanted.holds(one)]
    begin = max(len(found) + offset, 0) if offset < 0 else min(offset, len(found))
    some = found[begin : begin + limit]
    kinds = dict(sorted(Counter(one.kind for one in entries).items()))
    return EntryPage([one for _, one in some], [number for number, _ in some], begin, len(found), kinds)


class EntryPages:
    """The entries of one run, by pages. Thread-safe; parts never change, so what is known of them is kept."""

    def __init__(self, engine: Engine, run_dir: Path) -> None:
        self._engine = engine
        self._run_dir = run_dir
        self._lock = threading.Lock()
        self._known: dict[Path, _Known] = {}
        self._found: OrderedDict[tuple[Path, EntryFilter], NDArray[np.int64]] = OrderedDict()

    def page(self, view: RunView, wanted: EntryFilter, offset: int, limit: int) -> EntryPage:
        """Entries `offset` to `offset + limit` of those that are wanted, by node and number.

        Args:
            view: a moment of the run.
            wanted: which.
            offset: of the first; below 0: counted from the end.
            limit: at most so many.

        Raises:
            PartGone: a part was merged away meanwhile.
        """
        kinds: Counter[str] = Counter()
        pieces = list(self._pieces(view, wanted, kinds))
        ends = list(accumulate(len(one.rows) for one in pieces))
        total = ends[-1] if ends else 0
        begin = max(total + offset, 0) if offset < 0 else min(offset, total)
        end = min(begin + limit, total)
        counted = list(accumulate((one.before for one in pieces), initial=0))
        entries: list[Entry] = []
        numbers: list[int] = []
        at = bisect_right(ends, begin)
        while at < len(pieces) and len(entries) < end - begin:
            first = begin + len(entries) - (ends[at] - len(pieces[at].rows))
            rows = slice(first, first + end - begin - len(entries))
            got = self._read(pieces[at], pieces[at].rows[rows])
            entries += got
            numbers += (pieces[at].numbers[rows] + counted[at]).tolist()
            if len(got) < len(pieces[at].rows[rows]):
                break  # the part has turned out to be damaged: the next page is of what is left
            at += 1
        return EntryPage(entries, numbers[: len(entries)], begin, total, dict(sorted(kinds.items())))

    def _pieces(self, view: RunView, wanted: EntryFilter, kinds: Counter[str]) -> Iterator[_Piece]:
        import numpy as np

        parts = sorted(view.entry_parts, key=lambda part: (part.node, part.first))
        nodes = sorted({part.node for part in parts} | {entry.node for entry in view.snapshot.entries})
        for node in nodes:
            for part in parts:
                if part.node != node:
                    continue
                for path in self._engine.files(self._run_dir, [part]):
                    known = self._know(path)
                    if known is None:
                        continue
                    kinds.update(known.counts())
                    rows = known.rows(wanted)
                    found = self._search(path, wanted) if wanted.match else rows
                    yield _Piece(found, np.searchsorted(rows, found), len(rows), path=path)
            fresh = [entry for entry in view.snapshot.entries if entry.node == node]
            kinds.update(entry.kind for entry in fresh)
            of_kind = [
                at
                for at, entry in enumerate(fresh)
                if wanted.kind in {None, entry.kind} and wanted.rank in {None, entry.rank}
            ]
            holds = [at for at in of_kind if wanted.holds(fresh[at])]
            rows = np.array(holds, np.int64)
            yield _Piece(rows, np.searchsorted(np.array(of_kind, np.int64), rows), len(of_kind), entries=fresh)

    def _know(self, path: Path) -> _Known | None:
        with self._lock:
            if path in self._known:
                return self._known[path]
        if str(path) in self._engine.damaged:
            return None
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path, read_dictionary=["kind"]) as file:
                table = file.read(["kind", "rank"])
                sizes = [file.metadata.row_group(at).num_rows for at in range(file.metadata.num_row_groups)]
        except FileNotFoundError:
            require([path])
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            self._engine.leave_out(path, error)
            return None
        column = (
            table["kind"].combine_chunks() if table.num_rows else pa.array([], pa.dictionary(pa.int32(), pa.string()))
        )
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        known = _Known(
            tuple(map(str, column.dictionary.to_pylist())),
            np.asarray(column.indices, np.int32),
            np.asarray(table["rank"], np.int32),
            tuple(accumulate(sizes)),
        )
        with self._lock:
            self._known[path] = known
            for gone in [one for one in self._known if one != path and not one.exists()]:
                del self._known[gone]
        return known

    def _search(self, path: Path, wanted: EntryFilter) -> NDArray[np.int64]:
        import duckdb
        import numpy as np

        with self._lock:
            found = self._found.get((path, wanted))
            if found is not None:
                self._found.move_to_end((path, wanted))
                return found
        terms = ["contains(lower(said), $text)"]
        values: dict[str, Any] = {"text": wanted.match.lower()}
        if wanted.kind is not None:
            terms.append("kind = $kind")
            values["kind"] = wanted.kind
        if wanted.rank is not None:
            terms.append("rank = $rank")
            values["rank"] = wanted.rank
        plain = f"regexp_replace(payload->>'$.text', {quoted(_COLOURS)}, '', 'g')"
        # Written anew, a text has its letters in place of their numbers.
        said = f"case when kind = {quoted(OUTPUT)} then {plain} else cast(json(payload) as varchar) end"
        said = f"case when json_valid(payload) then {said} else payload end"
        query = (
            f"select row from (select file_row_number as row, kind, rank, {said} as said "
            f"from {scan([path], 'file_row_number = true')}) where {' and '.join(terms)} order by row"
        )
        cursor = self._engine.cursor()
        try:
            found = np.asarray(cursor.execute(query, values).fetchnumpy()["row"], np.int64)
        except duckdb.Error as error:
            require([path])
            self._engine.leave_out(path, error)
            return np.empty(0, np.int64)
        finally:
            cursor.close()
        with self._lock:
            self._found[path, wanted] = found
            while len(self._found) > _SEARCHES:
                self._found.popitem(last=False)
        return found

    def _read(self, piece: _Piece, rows: NDArray[np.int64]) -> list[Entry]:
        import numpy as np

        if piece.path is None:
            return [piece.entries[row] for row in rows.tolist()]
        if not len(rows):
            return []
        import pyarrow as pa
        import pyarrow.parquet as pq

        edges = np.array(self._known[piece.path].edges)
        groups = np.unique(np.searchsorted(edges, rows, side="right"))
        starts = np.r_[0, edges[:-1]][groups]
        sizes = edges[groups] - starts
        # Where each wanted row stands among those of the row groups that are read.
        begins = np.cumsum(sizes) - sizes
        of = np.searchsorted(edges[groups], rows, side="right")
        try:
            with pq.ParquetFile(piece.path) as file:
                names = ["node", "record", "time", "step", "rank", "attempt", "kind", "payload"]
                table = file.read_row_groups(groups.tolist(), names).take(rows - starts[of] + begins[of])
        except FileNotFoundError:
            require([piece.path])
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            self._engine.leave_out(piece.path, error)
            return []
        nanos = table["time"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() * 1000
        table = table.set_column(table.schema.get_field_index("time"), "time", pa.array(nanos))
        return entries_of(table)


def _text(entry: Entry) -> str:
    """What a search looks at: a printed line without its colours; of any other entry all that it says."""
    if entry.kind == OUTPUT:
        return re.sub(_COLOURS, "", str(entry.payload.get("text", "")))
    return json.dumps(entry.payload, ensure_ascii=False, separators=(",", ":"))
