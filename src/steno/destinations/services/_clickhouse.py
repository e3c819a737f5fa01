"""Records as rows of ClickHouse, in the tables that `steno publish` fills too."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from steno.clickhouse.connection import Connection, UnreachableError
from steno.clickhouse.place import place_of
from steno.clickhouse.rows import flat, json_of, schema, table
from steno.clickhouse.tables import CARDS, ENTRIES, POINTS
from steno.destinations.services import foreign
from steno.errors import DestinationError, Retry, UsageError
from steno.record import ARTIFACT, CONFIG, EVENT, FINISH, NOTE, OUTPUT, START, SUMMARY, TASK, Ref

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from steno.record import Batch, RunInfo

_INT64: Final = range(-(2**63), 2**63)


class ClickHouse:
    """Each point and entry as a row, with the same identity that the run's parts give it.

    So a batch that is given again, and parts that `steno publish` sends later, replace what is there. `write` returns
    when ClickHouse has the rows. Used by one thread of a process of its own; nothing is lost if that dies.

    Args:
        url: the database, as clickhouse://user@host:port/database; the password is in CLICKHOUSE_PASSWORD.
    """

    kinds = frozenset({"points", START, FINISH, CONFIG, SUMMARY, EVENT, TASK, ARTIFACT, OUTPUT, NOTE})

    def __init__(self, *, url: str = "clickhouse://localhost:8123/steno") -> None:
        foreign.need("clickhouse", "clickhouse_connect")
        if not isinstance(url, str):
            raise TypeError(f"url is text, not {url!r}")
        try:
            self._place = place_of(url, "url")
        except UsageError as error:
            raise DestinationError(f"destination 'clickhouse': {error}") from None
        self._connection: Connection | None = None
        self._run: RunInfo | None = None
        self._facts: dict[str, Any] = {}
        self._config: dict[str, Any] = {}

    def open(self, run: RunInfo) -> None:
        """Begin, or go on. Raises Retry where nobody answers."""
        self._run, self._config = run, dict(run.config)
        self._facts = {"records": 0, "points": 0, "started": None, "last": None, "summary": {}, "attempts": {}}
        self._facts |= {"open": {}, "failed": [], **json.loads(json.dumps(dict(run.position or {})))}
        self.close()
        self._connection = self._asked(lambda: Connection(self._place))
        self._asked(self._connection.prepare)

    @property
    def position(self) -> dict[str, Any]:
        """What the rows so far come to: the run's card is made of it."""
        return self._facts

    def write(self, batch: Batch) -> None:
        """Insert the rows. Raises Retry where nobody answers."""
        assert self._connection is not None
        assert self._run is not None
        connection = self._connection
        if len(batch.value):
            rows = points_of(batch, self._run.project, self._run.id)
            self._asked(lambda: connection.insert("points", rows, waits=True))
        if batch.entries:
            entries = self._entries(batch)
            self._asked(lambda: connection.insert("entries", entries, waits=True))
        self._count(batch)

    def flush(self) -> None:
        """Replace what the tables say of this node's part of the run."""
        if self._connection is None or self._run is None:
            return
        connection, run, facts = self._connection, self._run, self._facts
        latest = max(map(int, facts["attempts"]), default=1)
        is_open = any(count > 0 for at, count in facts["open"].items() if int(at.partition("/")[0]) == latest)
        state = "running" if is_open or not facts["attempts"] else "failed" if latest in facts["failed"] else "finished"
        config = {name: value for name, value in self._config.items() if not name.startswith("_")}
        card = {
            "project": run.project,
            "run": run.id,
            "node": run.node,
            "name": run.name,
            "place": f"{run.project}/{run.name}",
            "mark": "",
            "state": state,
            "started": facts["started"],
            "ended": facts["last"],
            "records": facts["records"],
            "points": facts["points"],
            "attempts": json_of([[int(at), *known] for at, known in sorted(facts["attempts"].items(), key=_number)]),
            "group": run.group,
            "tags": json_of(list(run.tags)),
            "notes": run.notes,
            "archived": False,
            "colour": "",
            "config": json_of(config),
            "values": json_of(flat(config)),
            "summary": json_of(facts["summary"]),
            "updated": time.time_ns() // 1000,
        }
        self._asked(lambda: connection.insert("cards", table(CARDS, [card]), waits=True))

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _asked(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except UnreachableError as error:
            raise Retry(str(error)) from None

    def _entries(self, batch: Batch) -> pa.Table:
        assert self._run is not None
        same = {"project": self._run.project, "run": self._run.id, "batch": batch.id}
        rows = [
            {**same, "node": one.node, "kind": one.kind, "rank": one.rank, "attempt": one.attempt, "step": one.step}
            | {"time": one.time // 1000, "record": one.record, "payload": json_of(dict(one.payload))}
            for one in batch.entries
        ]
        return table(ENTRIES, rows)

    def _count(self, batch: Batch) -> None:
        facts = self._facts
        facts["records"] += len(batch)
        facts["points"] += len(batch.value)
        times = [int(batch.time.min()), int(batch.time.max())] if len(batch) else []
        for one in batch.entries:
            times.append(one.time)
            if one.kind == START:
                known = facts["attempts"].get(str(one.attempt), [one.time, None])
                rewind = one.payload.get("rewind")
                facts["attempts"][str(one.attempt)] = [min(known[0], one.time), known[1] if rewind is None else rewind]
            if one.kind in {START, FINISH}:
                at = f"{one.attempt}/{one.rank}"
                facts["open"][at] = facts["open"].get(at, 0) + (1 if one.kind == START else -1)
            if one.kind == FINISH and one.payload.get("state") == "failed" and one.attempt not in facts["failed"]:
                facts["failed"].append(one.attempt)
            if one.kind == CONFIG:
                self._config |= dict(one.payload)
            if one.kind == SUMMARY:
                facts["summary"] = json.loads(json_of({**facts["summary"], **one.payload}))
        if times:
            known = [time for time in (facts["started"], facts["last"]) if time is not None]
            facts["started"], facts["last"] = min([*known, *times]), max([*known, *times])


def _number(item: tuple[str, Any]) -> int:
    return int(item[0])


def points_of(batch: Batch, project: str, run: str) -> pa.Table:
    """A batch's points as rows of the table, in the forms that they have in a part."""
    import numpy as np
    import pyarrow as pa

    widths, count = batch.widths(), len(batch.value)
    names: dict[str, int] = {}
    sizes = np.array([len(keys) for keys in batch.sets], np.int64)
    flat = np.array([names.setdefault(key, len(names)) for keys in batch.sets for key in keys], np.int32)
    begins = np.concatenate([[0], np.cumsum(sizes)])[:-1] if len(sizes) else np.zeros(0, np.int64)
    shift = np.repeat(begins[batch.set] - batch.splits()[:-1], widths)
    key = pa.DictionaryArray.from_arrays(pa.array(flat[shift + np.arange(count)]), pa.array(list(names), pa.string()))
    absent = np.zeros(count, np.bool_)
    odd: dict[str, list[Any]] = {"exact": [None] * count, "text": [None] * count, "ref": [None] * count}
    for at, value in batch.special.items():
        if isinstance(value, str):
            odd["text"][at], absent[at] = value, True
        elif isinstance(value, Ref):
            odd["ref"][at], absent[at] = json_of(_plain(value)), True
        elif value in _INT64:
            odd["exact"][at] = value
        else:
            odd["text"][at] = str(value)  # digits beyond 64 bits, with the nearest float
    meta: list[str | None] = [None] * count
    splits = batch.splits().tolist() if batch.meta else []
    for record, said in batch.meta.items():
        for at in range(splits[record], splits[record + 1]) if said else ():
            meta[at] = json_of(dict(said))
    columns: dict[str, Any] = {
        "project": _same(project, count),
        "run": _same(run, count),
        "node": np.full(count, batch.node, np.int64),
        "key": key,
        "rank": np.repeat(batch.rank, widths),
        "attempt": np.repeat(batch.attempt, widths),
        "step": np.repeat(batch.step, widths),
        "time": pa.array(np.repeat(batch.time // 1000, widths)).cast(pa.timestamp("us", "UTC")),
        "record": np.repeat(batch.record, widths),
        "batch": np.full(count, batch.id, np.int64),
        "value": pa.array(batch.value, mask=absent),
        **odd,
        "meta": meta,
    }
    wanted = schema(POINTS)
    return pa.table(
        {
            name: pa.array(columns[name], wanted.field(name).type) if isinstance(columns[name], list) else columns[name]
            for name in wanted.names
        }
    )


def _same(text: str, count: int) -> Any:
    import numpy as np
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))


def _plain(ref: Ref) -> dict[str, Any]:
    return {"digest": ref.digest, "kind": ref.kind, "meta": dict(ref.meta)}
