"""The tables `runs` and `config` of a query: what is known of each run other than its points."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from steno.ledger.arrow_columns import integers, strings, to_arrow
from steno.utf8 import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

RUNS: Final = (
    'run, project, name, id, state, "group", tags, notes, archived, started::timestamp_ns as started, '
    "ended::timestamp_ns as ended, duration, records, points, path"
)
CONFIG: Final = "run, key, value"
RUNS_EMPTY: Final = (
    "select ''::varchar as run, ''::varchar as project, ''::varchar as name, ''::varchar as id, ''::varchar as state, "
    "''::varchar as \"group\", [''::varchar] as tags, ''::varchar as notes, true as archived, "
    "null::timestamp_ns as started, null::timestamp_ns as ended, null::double as duration, null::bigint as records, "
    "null::bigint as points, ''::varchar as path"
)
CONFIG_EMPTY: Final = "select ''::varchar as run, ''::varchar as key, ''::varchar as value"


class About(Protocol):
    """What is known of a run. Times in ns since 1970, UTC."""

    @property
    def project(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def group(self) -> str | None: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> str: ...
    @property
    def archived(self) -> bool: ...
    @property
    def started(self) -> int | None: ...
    @property
    def ended(self) -> int | None: ...
    @property
    def records(self) -> int: ...
    @property
    def points(self) -> int: ...
    @property
    def config(self) -> Mapping[str, Any]: ...


Known = tuple[str, "Path", About]
"""How a run is called in the column `run`, where it is, and what is known of it."""


def runs_table(known: Sequence[Known]) -> pa.Table:
    """A row per run, with the columns of RUNS."""
    import numpy as np
    import pyarrow as pa

    about = [one for _, _, one in known]

    def texts(of: Callable[[About], str | None]) -> pa.Array:
        return _texts([of(one) for one in about])

    started, ended = [one.started for one in about], [one.ended for one in about]
    lasted = [
        math.nan if first is None or last is None else (last - first) / 1e9
        for first, last in zip(started, ended, strict=True)
    ]
    seconds = np.array(lasted, np.float64)
    return pa.table(
        {
            "run": _texts([run for run, _, _ in known]),
            "project": texts(lambda one: one.project),
            "name": texts(lambda one: one.name),
            "id": texts(lambda one: one.id),
            "state": texts(lambda one: one.state),
            "group": texts(lambda one: one.group),
            "tags": _lists([one.tags for one in about]),
            "notes": texts(lambda one: one.notes),
            "archived": integers([one.archived for one in about], pa.int8()).cast(pa.bool_()),
            "started": integers(started, pa.timestamp("ns")),
            "ended": integers(ended, pa.timestamp("ns")),
            "duration": to_arrow(seconds, pa.float64(), np.isnan(seconds)),
            "records": integers([one.records for one in about], pa.int64()),
            "points": integers([one.points for one in about], pa.int64()),
            "path": _texts([str(path.absolute()) for _, path, _ in known]),
        }
    )


def config_table(known: Iterable[Known]) -> pa.Table:
    """A row per value of a run's configuration, with the columns of CONFIG; what lies in mappings by its path, `a.b`.

    A value is its text: of a string itself, of all else its JSON.
    """
    import pyarrow as pa

    rows = [(run, key, _text(value)) for run, _, one in known for key, value in _flat(one.config, "")]
    run, key, value = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table({"run": _texts(run), "key": _texts(key), "value": _texts(value)})


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _texts(texts: Sequence[str | None]) -> pa.Array:
    """As `strings`; a directory's name may be no valid unicode."""
    return strings([None if text is None else escaped(text) for text in texts])


def _lists(lists: Sequence[Sequence[str]]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    ends = np.zeros(len(lists) + 1, np.int32)
    np.cumsum([len(one) for one in lists], out=ends[1:])
    return pa.ListArray.from_arrays(to_arrow(ends, pa.int32()), _texts([text for one in lists for text in one]))
