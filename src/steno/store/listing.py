"""Lists of runs: what is known of each without its points, chosen, sorted, as a table or a frame."""

from __future__ import annotations

import datetime as dt
import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from steno import edits, runfile
from steno.errors import UsageError
from steno.ledger.read import Reader, read_manifest
from steno.store import where as where_
from steno.store.info import state_of
from steno.store.runs import identity, place_of, run_dirs
from steno.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pandas as pd
    from rich.table import Table

_PARTS: Final = ("last", "min", "max", "count")
_FIELDS: Final = (
    "state",
    "name",
    "project",
    "id",
    "group",
    "tags",
    "notes",
    "archived",
    "started",
    "duration",
    "records",
    "points",
)


@dataclass(frozen=True)
class RunSummary:
    """A run in a list. Times in ns since 1970, UTC. A plain value, but that `metrics` reads the run when asked."""

    path: Path
    project: str
    name: str
    id: str
    state: str
    """running, finished, failed, crashed; empty before anything was posted."""
    started: int | None
    """None before anything was posted."""
    records: int
    points: int
    attempts: int
    group: str | None = None
    tags: tuple[str, ...] = ()
    problem: str = ""
    """What is wrong with its run.json or edits.jsonl; what is good of them is used."""
    ended: int | None = None
    """When the last record came; None while it is running."""
    notes: str = ""
    archived: bool = False
    colour: str = ""
    """As #rrggbb; empty: the viewer chooses."""
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    """What the user set."""

    @property
    def duration(self) -> float | None:
        """Seconds from the first start to the last record; None while it is running."""
        return None if self.started is None or self.ended is None else (self.ended - self.started) / 1e9

    @cached_property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """By key: last, min, max and count. Computed when first asked for, from the run's points.

        Raises:
            RunNotFoundError: the run is gone.
        """
        from steno.store.reader import RunReader

        with RunReader(self.path) as reader:
            return reader.summary

    def value(self, name: str) -> Any:
        """What a name of the `where` language means here; `where.MISSING` if there is nothing of the name."""
        if name == "started":
            return where_.MISSING if self.started is None else dt.datetime.fromtimestamp(self.started / 1e9, dt.UTC)
        if name in _FIELDS:
            return getattr(self, name)
        head, _, rest = name.partition(".")
        if head in {"config", "summary"} and rest:
            return _in(getattr(self, head), rest)
        key, _, part = name.rpartition(".")
        if part in _PARTS and key in self.metrics:
            return self.metrics[key][part]
        return self.metrics[name]["last"] if name in self.metrics else where_.MISSING


def _in(values: Any, name: str) -> Any:
    """A value by the path to it, `opt.lr` or `opt/lr`; a key that has such a character itself goes before."""
    if not hasattr(values, "keys"):
        return where_.MISSING
    if name in values:
        return values[name]
    for at, char in enumerate(name):
        if char in "./" and name[:at] in values:
            found = _in(values[name[:at]], name[at + 1 :])
            if found is not where_.MISSING:
                return found
    return where_.MISSING


class RunList(list[RunSummary]):
    """Runs in a list: prints as a table, also in a notebook."""

    def __repr__(self) -> str:
        import io

        from rich.console import Console

        if not self:
            return "no runs"
        console = Console(file=io.StringIO(), width=120)
        console.print(self.table())
        return console.file.getvalue().rstrip("\n")  # type: ignore[attr-defined, no-any-return]

    def _repr_html_(self) -> str:
        import html

        rows = [[html.escape(cell) for cell in row] for row in self._cells()]
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def table(self) -> Table:
        """As rich draws it."""
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
        """
        import pandas as pd

        return pd.DataFrame([_row(one) for one in self])


_COLUMNS: Final = ("run", "state", "started", "duration", "records", "tags", "group")


def _row(one: RunSummary) -> dict[str, Any]:
    row = {name: getattr(one, name) for name in _FIELDS}
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
        dir: where runs are kept; None: STENO_DIR, else `runs`.
        where: which of them, such as `config.lr < 1e-3 and val/acc.max > 0.9`; see docs/where.md.
        sort: a name of that language, the smallest first; `-NAME`: the largest first. Runs without it come last.
        limit: at most so many.
        archived: also those that were archived, which are left out otherwise.

    Returns:
        A list that prints as a table; `frame()` has a row per run. Metrics are read only where they are asked for.

    Raises:
        UsageError: `where` or `sort` cannot be understood.
    """
    query = None if where is None else where_.parse(where)
    by = None if sort is None else where_.name_of(sort.removeprefix("-"))
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        msg = f"limit={limit!r}: a number of runs from 0 on is needed, or None for all"
        raise UsageError(msg)
    found = [one for one in map(summarise, run_dirs(place_of(dir))) if archived or not one.archived]
    if query is not None:
        found = [one for one in found if query.matches(one.value)]
    found.sort(key=lambda one: (-(one.started or 0), str(one.path)))
    if by is not None:
        found = _sorted(found, by, reverse=sort is not None and sort.startswith("-"))
    return RunList(found if limit is None else found[:limit])


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


def summarise(path: Path) -> RunSummary:
    """One run's line; a ledger that cannot be read leaves the counts at what is known.

    A run that has ended is read from its run.json and manifest.json alone.
    """
    (run, wrong), (manifest, _) = runfile.read(path), read_manifest(path)
    if manifest.get("state") and manifest.get("streams") and not _has_journals(path):
        streams, state = manifest["streams"], str(manifest["state"])
        points = sum(part["rows"] for part in manifest["parts"] if part["kind"] == "metrics")
        meta: Mapping[str, Any] = manifest
    else:
        snapshot = Reader(path).snapshot(batches=False)
        streams = [{name: getattr(one, name) for name in _OF_STREAM} for one in snapshot.streams]
        state = state_of(path, snapshot, manifest)
        points = sum(part.rows for part in snapshot.parts if part.kind == "metrics")
        meta = snapshot.meta
    started = min((one["started"] for one in streams if one["started"]), default=None)
    shown, unedited = edits.shown(path, run)
    project, name = identity(path, shown)
    return RunSummary(
        path=path,
        project=project,
        name=name,
        id=str(run.get("id") or ""),
        state=state,
        started=started if started is not None else _created(run.get("created")),
        records=sum(one["records"] for one in streams),
        points=sum(one["points"] for one in streams) or points,
        attempts=max((one["attempt"] for one in streams), default=1),
        group=run.get("group"),
        tags=tuple(shown["tags"]),
        problem=wrong or unedited,
        ended=None if state in {"", "running"} else max((one["last_time"] for one in streams), default=None),
        notes=str(shown.get("notes") or ""),
        archived=shown["archived"],
        colour=shown["colour"],
        config={**(run.get("config") or {}), **(meta.get("config") or {})},
        summary=dict(meta.get("summary") or {}),
    )


_OF_STREAM: Final = ("started", "records", "points", "attempt", "last_time")


def _has_journals(path: Path) -> bool:
    """Whether somebody records, or has left something that nobody has posted."""
    try:
        with os.scandir(path / ".steno" / "journal") as found:
            return next(found, None) is not None
    except OSError:
        return False


def _created(created: object) -> int | None:
    """Nanoseconds, or seconds as a float."""
    if isinstance(created, float):
        return int(created * 1e9)
    return created if isinstance(created, int) else None
