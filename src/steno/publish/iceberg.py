"""The parts of a store in an Apache Iceberg catalogue, as they lie: nothing is copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno.errors import StenoError
from steno.publish import runs_table
from steno.publish.catalogue import open_catalogue, table
from steno.publish.entering import PartTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from steno.store.stock import Contents, Stock, Stored

_KINDS: Final = ("metrics", "records")
_NO_URI: Final = frozenset("#?")
"""Signs in a name that engines would take for the end of a path."""


@dataclass(frozen=True, slots=True)
class Published:
    """What came of publishing."""

    runs: int
    """How many the table of runs has."""
    entered: int
    """Parts that this publisher has entered."""
    removed: int
    """Parts that it has taken out: larger ones have replaced them, or they are gone."""
    lost: tuple[str, ...]
    """Parts that a table names, that are gone, and that nothing has replaced."""
    left_out: dict[str, str]
    """By run, why it is not there."""


def publish(stock: Stock, uri: str, warehouse: str | None = None, *, repair: bool = False) -> Published:
    """Have the parts of all runs in the tables `steno.metrics` and `steno.records`, and the runs in `steno.runs`.

    Any number of publishers may do it at the same time, and be killed: each part is there once. The data files stay
    the runs' own.

    Args:
        stock: where the runs are.
        uri: of the catalogue.
        warehouse: the name that a REST catalogue has for where tables lie.
        repair: take out what is gone and was not replaced, such as the parts of a removed run.

    Raises:
        UsageError: the catalogue cannot be opened.
        StenoError: the store cannot be listed, or the catalogue does not take a commit for minutes.
    """
    return Publisher(stock, open_catalogue(uri, warehouse), repair=repair).publish()


class Publisher:
    """One publisher; `publish` may be called again."""

    def __init__(self, stock: Stock, catalogue: Any, *, repair: bool) -> None:
        self._stock = stock
        self._catalogue = catalogue
        self._repair = repair
        self._tables = {kind: PartTable(lambda kind=kind: self._load(kind)) for kind in _KINDS}  # type: ignore[misc]
        self._rows: dict[str, runs_table.Row] = {}
        self._known: dict[str, tuple[Stored, Contents]] = {}
        self._runs: dict[str, Stored] = {}
        self._left_out: dict[str, str] = {}
        self._lost: dict[str, set[str]] = {}

    def _load(self, name: str) -> Any:
        return table(self._catalogue, name, self._stock.root)

    def publish(self) -> Published:
        """As `publish` says."""
        # First what the tables hold, then what lies there: so what a table has and no list names was replaced.
        held = {kind: one.held() for kind, one in self._tables.items()}
        self._rows = runs_table.rows_in(self._load("runs"))
        self._list({path for files in held.values() for path in files})
        entered = removed = 0
        for kind in _KINDS:
            new, gone = self._tables[kind].enter(lambda files, is_other, kind=kind: self._plan(kind, files, is_other))  # type: ignore[misc]
            entered, removed = entered + new, removed + gone
        rows = {place: self._row(one) for place, one in self._runs.items()}
        runs_table.replace(lambda: self._load("runs"), rows)
        lost = tuple(sorted(path for paths in self._lost.values() for path in paths))
        return Published(len(rows), entered, removed, () if self._repair else lost, self._left_out)

    def _list(self, held: Iterable[str]) -> None:
        """Look at the store: which runs there are, and of those with news what they say."""
        self._left_out = {}
        of_run: dict[str, set[str]] = {}
        for path in held:
            of_run.setdefault(path.rsplit("/", 2)[0], set()).add(path)
        runs = {}
        for one in self._stock.runs():
            if _NO_URI & set(one.place):
                self._left_out[one.place] = "engines take # and ? in its name for the end of a path"
                continue
            there = of_run.get(self._url(one), set())
            try:
                if there != {f"{self._url(one)}/{name}" for name in one.parts} or not self._is_published(one):
                    self._known[one.place] = one, self._stock.contents(one)
                else:
                    self._known.pop(one.place, None)
            except (StenoError, OSError) as error:
                self._left_out[one.place] = str(error)
                continue
            runs[one.place] = one
        self._runs = runs

    def _url(self, one: Stored) -> str:
        return f"{self._stock.root}/{one.place}"

    def _is_published(self, one: Stored) -> bool:
        """Whether the table of runs says all of it already."""
        row = self._rows.get(one.place)
        return row is not None and bool(one.mark) and row["mark"] == one.mark and row["state"] not in {"", "running"}

    def _row(self, one: Stored) -> runs_table.Row:
        known = self._known.get(one.place)
        return self._rows[one.place] if known is None else runs_table.row_of(known[1].summary, one.place, one.mark)

    def _plan(self, kind: str, held: dict[str, Any], is_other: bool) -> tuple[list[str], list[str]]:
        """Which files a table shall hold, and which it shall not."""
        if is_other:  # another publisher was here, and may have seen what we have not
            self._list(path for one in self._tables.values() for path in one.held())
        wanted: list[str] = []
        replaced: list[str] = []
        lost: set[str] = set()
        of_run: dict[str, list[str]] = {}
        for path in held:
            of_run.setdefault(path.rsplit("/", 2)[0], []).append(path)
        for one, contents in self._known.values():
            url = self._url(one)
            named = {f"{url}/{name}" for name, part in contents.parts.items() if part.kind == kind}
            there = {f"{url}/{name}" for name in one.parts}
            wanted += sorted(named & there)
            replaced += [path for path in of_run.get(url, ()) if path not in named]
            lost.update(path for path in of_run.get(url, ()) if path in named - there)
        known = {f"{self._stock.root}/{place}" for place in (*self._runs, *self._left_out)}
        lost.update(path for url, paths in of_run.items() if url not in known for path in paths)
        self._lost[kind] = lost
        return wanted, [*replaced, *(lost if self._repair else ())]
