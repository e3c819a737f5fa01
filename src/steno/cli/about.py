"""What is known of a run other than its curves: facts, artifacts, media, the values of its keys."""

from __future__ import annotations

import textwrap
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from steno.cli import terminal
from steno.record import Ref
from steno.store import engines
from steno.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from steno.store.artifacts import Artifact
    from steno.store.info import Info
    from steno.store.reader import RunReader
    from steno.store.series import Series

STATE_STYLES = {"running": "green", "finished": "", "failed": "red", "crashed": "red", "unposted": "yellow"}
_MARGIN = 11
"""Of the names of what is known."""
MOST_LINES = 20
"""Of notes, and of what else has several."""
LISTED = 8
"""Artifacts, and keys of media, that are named."""


def head(console: Console, info: Info) -> None:
    """One line: name, state, when it began."""
    from rich.text import Text

    name = terminal.number(f"{info.project}/{info.name}")
    state = (info.state or "not posted yet", STATE_STYLES.get(info.state) or "bold")
    archived = ("  archived", "yellow") if info.archived else ""
    quiet = (silence(info), "yellow")
    console.print(Text.assemble((name, "bold"), "  ", state, quiet, "  ", terminal.when(info.started), archived))


def silence(info: Info) -> str:
    """How many nodes of a run in an object store should have given news of themselves and have not, as `, 1 node …`."""
    if not info.silent:
        return ""
    nodes = f"{len(info.silent)} node{'s' if len(info.silent) > 1 else ''}"
    return f", {nodes} silent for {terminal.duration(max(info.silent.values()))}"


def ranks(info: Info) -> str:
    """How many processes have recorded, of how many the job has."""
    count, world = len(info.ranks), info.world_size or 0
    if 0 < count < world:
        return f"{count} of {world} have recorded here"
    return str(count) if count > 1 else ""


def facts(console: Console, reader: RunReader, info: Info, summary: Mapping[str, Any]) -> None:
    """What is known of the run, a line for each thing; long ones are broken between words, paths never."""
    for name, value in _facts(reader, info, summary).items():
        if value:
            width = max(console.width - _MARGIN - 2, 20)
            lines = [
                piece
                for line in value.split("\n", MOST_LINES)[:MOST_LINES]
                for piece in textwrap.wrap(terminal.cut(line), width, break_long_words=False, break_on_hyphens=False)
                or [""]
            ]
            for number, line in enumerate(lines):
                console.print(f"{'' if number else name:>{_MARGIN}}  {line}", markup=False, soft_wrap=True)


def _facts(reader: RunReader, info: Info, summary: Mapping[str, Any]) -> dict[str, str]:
    recorded = str(info.run.get("name") or info.name)
    return {
        "directory": "" if reader.url else str(reader.dir),
        "store": reader.url or "",
        "recorded as": recorded if recorded != info.name else "",
        "duration": duration(info),
        "group": str(info.group or ""),
        "ranks": ranks(info),
        "out of reach": info.unreadable.get("store", "") if reader.url else "",
        "attempts": str(len(info.attempts)) if len(info.attempts) > 1 else "",
        "tags": ", ".join(info.tags),
        "notes": info.notes,
        "error": str(info.error or ""),
        "unposted": "; ".join(map(str, info.unposted)),
        "command": info.command,
        "commit": commit(info.git),
        "config": ", ".join(f"{name}={value}" for name, value in info.config.items()),
        "summary": ", ".join(f"{name}={terminal.number(value)}" for name, value in info.summary.items()),
        "artifacts": "\n".join(_artifacts(reader)),
        "media": "\n".join(_media(reader, summary)),
    }


def duration(info: Info) -> str:
    """From the first start to the last record, or to now."""
    if info.started is None:
        return ""
    if info.ended is None:
        return f"{terminal.duration(max(time.time() - info.started / 1e9, 0.0))} so far" if info.state else ""
    return terminal.duration((info.ended - info.started) / 1e9)


def commit(git: Mapping[str, Any]) -> str:
    """`1a2b3c4d5e6f (main), with changes`."""
    if not git.get("commit"):
        return ""
    branch = f" ({git['branch']})" if git.get("branch") else ""
    return f"{str(git['commit'])[:12]}{branch}{', with changes' if git.get('dirty') is True else ''}"


def _kept(reader: RunReader) -> Sequence[Artifact]:
    """The run's artifacts; a database has none."""
    return () if engines.is_of_one(reader.url) else reader.artifacts()


def _artifacts(reader: RunReader) -> Iterable[str]:
    found = _kept(reader)
    for one in found[:LISTED]:
        versions = len(one.versions)
        more = [terminal.size(one.size)] + ([f"{versions} versions"] if versions > 1 else [])
        more += [f"also {', '.join(one.aliases)}"] if one.aliases else []
        yield on_one_line(f"{one.name}{'/' if one.kind == 'dir' else ''}  {', '.join(more)}")
    if len(found) > LISTED:
        yield f"and {len(found) - LISTED} more; steno get lists them"


def media_keys(summary: Mapping[str, Any]) -> list[str]:
    """The keys whose last value is an image or another file."""
    return [key for key, one in summary.items() if isinstance(one["last"], Ref)]


def _media(reader: RunReader, summary: Mapping[str, Any]) -> Iterable[str]:
    keys = media_keys(summary)
    for key in keys[:LISTED]:
        yield described(reader, key, [reader.series(key)])
    if len(keys) > LISTED:
        yield f"and {len(keys) - LISTED} more keys; choose with --key"


def described(reader: RunReader, key: str, found: list[Series]) -> str:
    """What the texts and media values of a key are, and where the newest is."""
    values = sorted((int(one.step[row]), one.rank[row], value) for one in found for row, value in _ordered(one))
    kinds = Counter(value.kind if isinstance(value, Ref) else "text" for _, _, value in values)
    counts = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in kinds.items())
    if not values:  # the part that has them is damaged
        return on_one_line(f"{key}: nothing that can be read")
    step, _, last = values[-1]
    if not isinstance(last, Ref):
        where = repr(terminal.cut(last))
    elif engines.is_of_one(reader.url):
        where = "in a file where the run was recorded"
    else:
        path = reader.media(key)[-1].path
        where = "in the run itself" if last.digest == "" else "not encoded yet" if path is None else str(path)
        where = f"lost: {last.meta['lost']}" if "lost" in last.meta else where
    return on_one_line(f"{key}: {counts}, the last at step {step:,}: {where}")


def _ordered(series: Series) -> list[tuple[int, Any]]:
    return sorted((row, value) for row, value in series.special.items() if not isinstance(value, int))


def values(summary: Mapping[str, Any], keys: list[str]) -> Table:
    """Last, smallest and largest value and count of these keys."""
    made = terminal.table("key", "last", "min", "max", "points", numbers=("last", "min", "max", "points"))
    for key in keys:
        if key in summary:
            last = summary[key]["last"]
            shown = {**summary[key], "last": last.kind if isinstance(last, Ref) else last}
            cells = [terminal.literal(terminal.quantity(key, shown[name])) for name in ("last", "min", "max")]
            made.add_row(terminal.literal(key), *cells, f"{shown['count']}")
    return made


def data(reader: RunReader, info: Info, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The same for programs."""
    import dataclasses

    from steno.cli.get import facts as facts_of

    known = dataclasses.asdict(info)
    known["started"], known["ended"] = terminal.iso(info.started), terminal.iso(info.ended)
    known["attempts"] = [
        {**dataclasses.asdict(one), "started": terminal.iso(one.started or None)} for one in info.attempts
    ]
    known["unposted"] = [{**dataclasses.asdict(one), "time": terminal.iso(one.time)} for one in info.unposted]
    created = info.run.get("created")
    nanos = int(created * 1e9) if isinstance(created, float) else created
    known["run"] = {**info.run, "created": terminal.iso(nanos if isinstance(nanos, int) else None)}
    ended = info.ended if info.ended is not None else info.started
    known["duration"] = None if info.started is None or ended is None else (ended - info.started) / 1e9
    media = {}
    for key in media_keys(summary):
        found = [] if engines.is_of_one(reader.url) else reader.media(key)
        if not found:  # in another place, or the run says that it has some, and its points are lost
            continue
        last = found[-1]
        media[key] = {"kind": last.kind, "step": last.step, "rank": last.rank, "path": last.path}
    return {
        "dir": str(reader.dir),
        "url": reader.url,
        "info": known,
        "artifacts": [facts_of(one) for one in _kept(reader)],
        "media": media,
    }
