"""The tables of a ClickHouse database that has runs, and what people ask: views over them.

A row that is sent twice is there once: each table is a ReplacingMergeTree whose order is the row's identity, and is
read by FINAL. Bins and cards are rows that steno makes, never materialised views: those count a row that comes again.
"""

from __future__ import annotations

from typing import Final

POINTS: Final = (
    ("project", "LowCardinality(String)", ""),
    ("run", "LowCardinality(String)", ""),
    ("node", "Int64", "ZSTD"),
    ("key", "LowCardinality(String)", ""),
    ("rank", "Int32", "T64, ZSTD"),
    ("attempt", "Int32", "T64, ZSTD"),
    ("step", "Int64", "DoubleDelta, ZSTD"),
    ("time", "DateTime64(6, 'UTC')", "DoubleDelta, ZSTD"),
    ("record", "Int64", "DoubleDelta, ZSTD"),
    ("batch", "Int64", "DoubleDelta, ZSTD"),
    ("value", "Nullable(Float64)", "ZSTD"),
    ("exact", "Nullable(Int64)", "ZSTD"),
    ("text", "Nullable(String)", "ZSTD"),
    ("ref", "Nullable(String)", "ZSTD"),
    ("meta", "Nullable(String)", "ZSTD"),
)
"""As in a part of points, without the bucket: (name, type, codec)."""
ENTRIES: Final = (
    ("project", "LowCardinality(String)", ""),
    ("run", "LowCardinality(String)", ""),
    ("node", "Int64", "ZSTD"),
    ("kind", "LowCardinality(String)", ""),
    ("rank", "Int32", "T64, ZSTD"),
    ("attempt", "Int32", "T64, ZSTD"),
    ("step", "Nullable(Int64)", "ZSTD"),
    ("time", "DateTime64(6, 'UTC')", "DoubleDelta, ZSTD"),
    ("record", "Int64", "DoubleDelta, ZSTD"),
    ("batch", "Int64", "DoubleDelta, ZSTD"),
    ("payload", "String", "ZSTD"),
)
"""As in a part of entries."""
MARKS: Final = ("first", "last", "min", "max", "low", "high")
BINS: Final = (
    ("project", "LowCardinality(String)", ""),
    ("run", "LowCardinality(String)", ""),
    ("node", "Int64", "ZSTD"),
    ("first_batch", "Int64", "ZSTD"),
    ("last_batch", "Int64", "ZSTD"),
    ("key", "LowCardinality(String)", ""),
    ("rank", "Int32", "T64, ZSTD"),
    ("attempt", "Int32", "T64, ZSTD"),
    ("start", "Int64", "DoubleDelta, ZSTD"),
    ("width", "Int64", "ZSTD"),
    *((name, "Int64", "T64, ZSTD") for name in ("count", "nan", "posinf", "neginf", "other", "exact")),
    *((name, "Float64", "ZSTD") for name in ("mean", "m2")),
    *(
        (f"{mark}_{name}", kind, "ZSTD")
        for mark in MARKS
        for name, kind in (("step", "Int64"), ("time", "Int64"), ("record", "Int64"), ("value", "Float64"))
    ),
)
"""A stretch of steps of one key in one part, as `docs/bins-format.md` has it (level 1); times in ns since 1970.

A part has the points of its node's batches from `first_batch` to `last_batch`."""
CARDS: Final = (
    ("project", "LowCardinality(String)", ""),
    ("run", "String", ""),
    ("node", "Int64", ""),
    ("name", "String", ""),
    ("place", "String", ""),
    ("mark", "String", ""),
    ("state", "LowCardinality(String)", ""),
    ("started", "Nullable(Int64)", ""),
    ("ended", "Nullable(Int64)", ""),
    ("records", "Int64", ""),
    ("points", "Int64", ""),
    ("attempts", "String", ""),
    ("group", "Nullable(String)", ""),
    ("tags", "String", ""),
    ("notes", "String", ""),
    ("archived", "Bool", ""),
    ("colour", "String", ""),
    ("config", "String", ""),
    ("values", "String", ""),
    ("summary", "String", ""),
    ("updated", "DateTime64(6, 'UTC')", ""),
)
"""What a run comes to: of all of it (node 0), as a publisher has it, or of one node, as its destination has it.

`attempts` is JSON [[attempt, started, rewind or null], …], `tags`, `config` and `summary` are JSON too,
and `values` is the configuration as JSON {path: text or null}."""
PARTS: Final = (
    ("project", "LowCardinality(String)", ""),
    ("run", "String", ""),
    ("node", "Int64", ""),
    ("kind", "LowCardinality(String)", ""),
    ("name", "String", ""),
    ("crc", "String", ""),
    ("first_batch", "Int64", ""),
    ("last_batch", "Int64", ""),
    ("rows", "Int64", ""),
)
"""Which parts are in the tables, written after their rows."""
TABLES: Final = {
    "points": (POINTS, "project, run, key, rank, attempt, step, node, record", ""),
    "entries": (ENTRIES, "project, run, kind, node, record", ""),
    "bins": (BINS, "project, run, key, rank, attempt, start, node, first_batch, last_batch", ""),
    "cards": (CARDS, "project, run, node", "updated"),
    "parts": (PARTS, "project, run, node, kind, name", ""),
}
"""By name: columns, what tells a row from others, and which of two versions of a row counts."""
_WINDOW: Final = 10_000
"""Inserts of which a table remembers the token, which saves the work of those that come again."""
_LEVEL: Final = "toInt32OrNull(JSONExtractRaw(coalesce(p.meta, ''), 'level'))"
_LATEST: Final = "argMax(c.`{0}`, c.updated) as `{0}`"
_SUM: Final = "if(argMax(c.node, c.updated) = 0, argMax(c.{0}, c.updated), sumIf(c.{0}, c.node != 0)) as {0}"
_ATTEMPTS: Final = "argMax(c.attempts, (length(c.attempts), c.updated))"
VIEWS: Final = {
    "runs_now": f"""
        select c.project as project, c.run as id, {_LATEST.format("name")}, {_LATEST.format("place")},
            {_LATEST.format("state")}, min(c.started) as started,
            if(argMax(c.state, c.updated) in ('', 'running'), null, max(c.ended)) as ended,
            {_SUM.format("records")}, {_SUM.format("points")}, {_ATTEMPTS} as attempts,
            {_LATEST.format("group")}, {_LATEST.format("tags")}, {_LATEST.format("notes")},
            {_LATEST.format("archived")}, {_LATEST.format("colour")}, {_LATEST.format("config")},
            {_LATEST.format("values")}, {_LATEST.format("summary")}, max(c.updated) as updated,
            arrayFilter(h -> isNotNull(h.3),
                JSONExtract({_ATTEMPTS}, 'Array(Tuple(Int32, Int64, Nullable(Int64)))')) as hidden
        from {{db}}.cards as c final group by c.project, c.run""",
    "metrics_all": f"""
        select concat(r.project, '/', r.name) as run, p.node as node, p.record as record, p.key as key, p.step as step,
            p.time as time, p.rank as rank, p.attempt as attempt, {_LEVEL} as level, p.value as value,
            p.exact as exact, p.text as text, p.ref as ref
        from {{db}}.points as p final inner join {{db}}.runs_now as r on p.project = r.project and p.run = r.id""",
    "metrics": f"""
        select concat(r.project, '/', r.name) as run, p.node as node, p.record as record, p.key as key, p.step as step,
            p.time as time, p.rank as rank, p.attempt as attempt, {_LEVEL} as level, p.value as value,
            p.exact as exact, p.text as text, p.ref as ref
        from {{db}}.points as p final inner join {{db}}.runs_now as r on p.project = r.project and p.run = r.id
        where not arrayExists(h -> p.attempt < h.1 and p.step >= h.3, r.hidden)""",
    "records": """
        select concat(r.project, '/', r.name) as run, e.node as node, e.record as record, e.time as time,
            e.step as step, e.rank as rank, e.attempt as attempt, e.kind as kind, e.payload as payload
        from {db}.entries as e final inner join {db}.runs_now as r on e.project = r.project and e.run = r.id""",
    "runs": """
        select concat(project, '/', name) as run, project, name, id, state, `group`,
            JSONExtract(tags, 'Array(String)') as tags, notes, archived,
            fromUnixTimestamp64Nano(r.started, 'UTC') as started, fromUnixTimestamp64Nano(r.ended, 'UTC') as ended,
            (r.ended - r.started) / 1e9 as duration, records, points, place as path from {db}.runs_now as r""",
    "config": """
        select run, entry.1 as key, entry.2 as value from (
            select concat(project, '/', name) as run,
                arrayJoin(JSONExtractKeysAndValues(`values`, 'Nullable(String)')) as entry
            from {db}.runs_now)""",
}
"""By name: a query, in which {db} stands for the database."""


def statements(database: str, cluster: str = "") -> list[str]:
    """What makes the tables and views where they are not there.

    Args:
        database: its name.
        cluster: of replicas that hold the same, as ClickHouse's configuration names it; "": one server.
    """
    on = f" on cluster {cluster}" if cluster else ""
    found = [f"create database if not exists {database}{on}"]
    found += [_table(database, name, on) for name in TABLES]
    found += [
        f"create or replace view {database}.{name}{on} as {' '.join(query.format(db=database).split())}"
        for name, query in VIEWS.items()
    ]
    return found


def _table(database: str, name: str, on: str) -> str:
    columns, order, version = TABLES[name]
    lines = [f"`{column}` {kind}" + (f" codec({codec})" if codec else "") for column, kind, codec in columns]
    if on:
        arguments = [f"'/clickhouse/tables/{database}/{name}'", "'{replica}'", *([version] if version else [])]
        engine, setting = f"ReplicatedReplacingMergeTree({', '.join(arguments)})", "replicated_deduplication_window"
    else:
        engine = f"ReplacingMergeTree{f'({version})' if version else ''}"
        setting = "non_replicated_deduplication_window"
    return (
        f"create table if not exists {database}.{name}{on} ({', '.join(lines)}) "
        f"engine = {engine} order by ({order}) settings {setting} = {_WINDOW}"
    )
