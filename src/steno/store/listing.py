"""Lists of runs: what is known of each without its points, chosen, sorted, as a table or a frame."""

from __future__ import annotations

import datetime as dt
import heapq
import math
import os
from typing import TYPE_CHECKING, Any, Final

from steno import paths
from steno.errors import UsageError
from steno.store import afar, engines
from steno.store import where as where_
from steno.store.index import Index, IndexedRun
from steno.store.printed import printed
from steno.store.run_summary import FIELDS, RunSummary
from steno.store.runs import place_of, run_paths
from steno.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pandas as pd
    from rich.table import Table

_SLACK_NANOS: Final = 60_000_000_000
"""A run may say that it began somewhat after its directory was last changed: two clocks are asked."""


class RunList(list[RunSummary]):
    """Runs in a list: prints as a table, also in a notebook."""

    problem: str = ""
    """Of a store that was not reached: why, and how old this list is."""

    def __repr__(self) -> str:
        if not self:
            return "no runs"
        return printed(self.table())

    def _repr_html_(self) -> str:
        import html

        rows = [[html.escape(cell) for cell in row] for row in self._cells()]
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def table(self) -> Table:
        """As rich draws it.

        Returns:
            A `rich.table.Table`, one row per run.
        """
        from rich import box
        from rich.table import Table
        from rich.text import Text

        made = Table(*_COLUMNS, box=box.SIMPLE_HEAD, pad_edge=False)
        for row in self._cells():
            made.add_row(*map(Text, row))
        return made

    def _cells(self) -> list[list[str]]:
        return [
            [
                on_one_line(f"{one.project}/{one.name}"), one.state, _moment(one.started), _seconds(one.duration),
                f"{one.records:,}", on_one_line(", ".join(one.tags)), on_one_line(one.group or ""),
            ]
            for one in self
        ]  # fmt: skip

    def frame(self) -> pd.DataFrame:
        """A row per run: identity, state, times, tags, `config.*` flattened, `KEY.last`, `.min`, `.max` of each metric.

        Reads the points of each run.

        Returns:
            A `pandas.DataFrame` in the list's order.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise UsageError("frame() of runs needs pandas: pip install 'stenolog[frames]'") from error
        return pd.DataFrame([_row(one) for one in self])


_COLUMNS: Final = ("run", "state", "started", "duration", "records", "tags", "group")


def _row(one: RunSummary) -> dict[str, Any]:
    row = {name: getattr(one, name) for name in FIELDS}
    row["started"] = one.value("started") if one.started is not None else None
    row["tags"] = list(one.tags)
    for prefix, values in (("config", one.config), ("summary", one.summary)):
        row |= {f"{prefix}.{name}": value for name, value in _flat(values)}
    for key, found in one.metrics.items():
        row |= {f"{key}.{part}": found[part] for part in ("last", "min", "max")}
    return row


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _moment(nanos: int | None) -> str:
    return "" if nanos is None else dt.datetime.fromtimestamp(nanos / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{seconds:.1f} s" if seconds < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def runs(
    dir: str | os.PathLike[str] | None = None,
    *,
    where: str | None = None,
    sort: str | None = None,
    limit: int | None = None,
    archived: bool = False,
) -> RunList:
    """The runs under a directory, newest first; empty when there is none.

    Args:
        dir: where runs are kept; None: STENO_DIR, else `runs`; the URL of an object store.
        where: which of them, such as `config.lr < 1e-3 and val/acc.max > 0.9`; see docs/where.md.
        sort: a name of that language, the smallest first; `-NAME`: the largest first. Runs without it come last.
        limit: at most so many.
        archived: also those that were archived, which are left out otherwise.

    Returns:
        A list that prints as a table; `frame()` has a row per run. Metrics are read only where they are asked for.
        Of a store that does not answer, the runs that were known last, and `problem` says so.

    Raises:
        UsageError: `where` or `sort` cannot be understood.
        StenoError: the store cannot be listed, and nothing is known of it.

    Thread-safe, also in a forked child. It changes no run; what it knows of ended ones is kept in the user's cache.
    """
    ask = RunSelection(where, sort)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        msg = f"limit={limit!r}: a number of runs from 0 on is needed, or None for all"
        raise UsageError(msg)
    most, problem = (None if ask else limit), ""
    if engines.is_of_one(dir):
        every = list(engines.parted(str(dir))[0].runs(most, archived=archived))
    elif paths.is_url(dir):
        every, problem = afar.listed(str(dir), archived=archived)
    else:
        every = _found(place_of(dir), most, archived=archived)
    found = ask.of(every)
    made = RunList(found if limit is None else found[:limit])
    made.problem = problem
    return made


class RunSelection:
    """Which runs of a list are meant, and in which order. False where that is all of them, as they are.

    Args:
        where, sort: as `runs` has them.

    Raises:
        UsageError: one of them cannot be understood.
    """

    def __init__(self, where: str | None, sort: str | None) -> None:
        self._query = None if where is None else where_.parse(where)
        self._by = None if sort is None else where_.name_of(sort.removeprefix("-"))
        self._falling = sort is not None and sort.startswith("-")

    def __bool__(self) -> bool:
        return self._query is not None or self._by is not None

    def of(self, found: list[RunSummary]) -> list[RunSummary]:
        """Those of the list."""
        if self._query is not None:
            found = [one for one in found if self._query.matches(one.value)]
        return found if self._by is None else _sorted(found, self._by, reverse=self._falling)


def _found(place: Path, limit: int | None, *, archived: bool) -> list[RunSummary]:
    """The runs below a directory, newest first; with a limit at least so many of the newest, as far as there are."""
    index = Index(place)
    paths = list(run_paths(place))
    known: list[IndexedRun] = []
    if limit is None:
        known = [index.run(path, path[len(str(place)) :]) for path in paths]
        index.keep({path[len(str(place)) :] for path in paths})
    else:
        # A run's directory has changed since it began: those that have changed last are read first.
        newest: list[int] = []
        are_times_true = True
        for changed, path in sorted(((_changed(path), path) for path in paths), reverse=True):
            if are_times_true and len(newest) >= limit and (not limit or changed < newest[0] - _SLACK_NANOS):
                break
            one = index.run(path, path[len(str(place)) :])
            if one.archived and not archived:
                continue
            known.append(one)
            are_times_true = (
                are_times_true and (one.started or 0) <= changed + _SLACK_NANOS
            )  # else somebody has set these times back
            heapq.heappush(newest, one.started or 0)
            if len(newest) > limit:
                heapq.heappop(newest)
        index.keep()
    known.sort(key=lambda one: (-(one.started or 0), one.path))
    return [one.summary for one in known[:limit] if archived or not one.archived]


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _sorted(found: list[RunSummary], name: str, *, reverse: bool) -> list[RunSummary]:
    """By a name's value: numbers, then texts; what has neither comes last, in the order it had."""
    keyed = [(_rank(one.value(name)), one) for one in found]
    known = [pair for pair in keyed if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=reverse)
    return [one for _, one in known] + [one for rank, one in keyed if rank is None]


def _rank(value: Any) -> Any:
    if isinstance(value, bool | int | float) and not (isinstance(value, float) and math.isnan(value)):
        return (0, value, "")
    if isinstance(value, dt.datetime):
        return (0, value.timestamp(), "")
    return (1, 0, value) if isinstance(value, str) else None
