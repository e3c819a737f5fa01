"""What the keys of runs in a database come to: of those of a list by few queries."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from steno.store.attempts import choose
from steno.store.runtables import About

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    import pyarrow as pa

    from steno.store.attempts import Attempt

MOST_RUNS: Final = 500
"""Of one query."""
_MOST_POINTS: Final = 50_000_000
"""Of one query, where it is about several runs: it should answer while somebody waits for it."""
_MOST_KEPT: Final = 10_000
_ORDER: Final = "(step, attempt, rank, record)"
_NUMBER: Final = "isNotNull(value) and not isNaN(value)"
_SELECTED: Final = f"""
    select toString(project) as of_project, toString(run) as of_run, toString(key) as key, count() as count,
        argMax((value, exact, text, ref, step, rank), {_ORDER}) as last,
        countIf({_NUMBER}) as numbers,
        argMinIf((value, step, rank), (value, step, attempt, rank), {_NUMBER}) as least,
        argMinIf((value, step, rank), (-value, step, attempt, rank), {_NUMBER}) as most
    from {{db}}.points final
    where project in {{projects:Array(String)}} and run in {{runs:Array(String)}}"""


Summary = Mapping[str, Mapping[str, Any]]


class SummaryDatabase(Protocol):
    """What is asked."""

    def rows(self, query: str, values: Mapping[str, Any] | None = None) -> pa.Table:
        """A query's answer."""


class Listed(About, Protocol):
    """What a card of a run says."""

    @property
    def all_attempts(self) -> tuple[Attempt, ...]: ...


Run = TypeVar("Run", bound=Listed)


def summaries(database: SummaryDatabase, runs: Sequence[Listed]) -> dict[tuple[str, str], Summary]:
    """By project and id of these runs, what each key comes to, of the points that rewinds leave."""
    query, values = _SELECTED, dict[str, Any]()
    values["projects"] = sorted({one.project for one in runs})
    values["runs"] = sorted({one.id for one in runs})
    for at, one in enumerate(runs):
        for attempt, step in choose(one.all_attempts, "latest").hidden:
            hidden = f"run = {{run{at}:String}} and attempt < {attempt} and step >= {step}"
            query += f" and not (project = {{project{at}:String}} and {hidden})"
            values |= {f"run{at}": one.id, f"project{at}": one.project}
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {(one.project, one.id): {} for one in runs}
    rows = database.rows(f"{query} group by of_project, of_run, key", values).to_pylist()
    for row in sorted(rows, key=lambda row: row["key"]):
        *value, step, rank = row["last"].values()
        about = {"last": _value(*value), "count": row["count"], "last_step": step, "last_rank": rank}
        for end, name in (("min", "least"), ("max", "most")):
            place = list(row[name].values()) if row["numbers"] else [None, None, None]
            about |= dict(zip((end, f"{end}_step", f"{end}_rank"), place, strict=True))
        of = found.get((row["of_project"], row["of_run"]))
        if of is not None:
            of[row["key"]] = about
    return {**found}


class Summaries:
    """Those of runs of lists: whoever asks for that of one run has those of the runs behind it in its list, too.

    They are kept as long as the cards of the runs say the same. Thread-safe.
    """

    def __init__(self, database: SummaryDatabase) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[Hashable, Summary]] = {}

    def of_list(self, runs: Sequence[Run]) -> Callable[[Run], Summary]:
        """What gives that of a run of the list."""
        places = {(one.project, one.id): at for at, one in enumerate(runs)}

        def ask(one: Run) -> Summary:
            with self._lock:
                found = self._known(one)
                if found is None:
                    at = places[one.project, one.id]
                    self._keep(self._next(runs[at:]))
                    found = self._kept[one.project, one.id][1]
                return found

        return ask

    def _known(self, one: Listed) -> Summary | None:
        stamp, found = self._kept.get((one.project, one.id), (None, {}))
        return found if stamp == _stamp(one) else None

    def _next(self, runs: Sequence[Listed]) -> list[Listed]:
        """The first run and those behind it that are asked about with it."""
        some, points = [runs[0]], runs[0].points
        for one in runs[1:]:
            points += one.points
            if len(some) == MOST_RUNS or points > _MOST_POINTS:
                break
            if self._known(one) is None:
                some.append(one)
        return some

    def _keep(self, runs: Sequence[Listed]) -> None:
        found = summaries(self._database, runs)
        for one in runs:
            name = one.project, one.id
            self._kept.pop(name, None)
            self._kept[name] = _stamp(one), found[name]
        while len(self._kept) > _MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))


def _stamp(one: Listed) -> Hashable:
    return one.records, one.points, one.state, one.ended, one.all_attempts


def _value(value: float | None, exact: int | None, text: str | None, ref: str | None) -> Any:
    from steno.ledger.schema import read_ref

    if exact is not None:
        return exact
    if ref is not None:
        return read_ref(ref)
    if text is not None:
        return text if value is None else int(text)
    return value
