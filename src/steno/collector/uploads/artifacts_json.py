"""Artifacts by name in a store, for programs without steno: one object, `artifacts.json`, replaced as a whole.

    {"names": {"model.pt": {"key": "artifacts/ab/ab..", "digest": "ab..", "size": 7, "step": 20}},
     "aliases": {"latest": "model.pt"}}

A name is there when its content is, an alias when what it stands for is. Each node has an object that no other node
writes, `nodes/NODE.artifacts.json`, with the rows of its disk; `artifacts.json` is what those of all nodes come to.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from steno.artifacts import content
from steno.artifacts.index import IndexReader
from steno.artifacts.meanings import Names
from steno.collector import catalogue
from steno.ledger import node_object
from steno.record import node_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from steno.objects.store import ObjectStore, Seen

NAME: Final = "artifacts.json"
_OWN: Final = re.compile(node_object.FOLDER + r"/[0-9a-f]{16}\.artifacts\.json")
_TRIES: Final = 20


def rows(run_dir: Path, is_there: Callable[[str], bool]) -> list[dict[str, Any]]:
    """What names mean now, by what lies on this disk, of all nodes there: a row for each.

    Args:
        run_dir: the run's directory.
        is_there: whether the store has the object of a key.
    """
    posted: dict[str, dict[str, Any]] = {}
    came: dict[str, dict[str, Any]] = {}

    def take_line(line: dict[str, Any]) -> None:
        (posted if "name" in line else came)[line["id"]] = line

    IndexReader(run_dir, take_line).look()
    rewinds = [(attempt, step) for attempt, step in catalogue.attempts(run_dir) if step is not None]
    hidden = Names(rewinds).is_hidden
    found: dict[str, dict[str, Any]] = {}
    for one in sorted(posted.values(), key=lambda line: int(line.get("record") or 0)):
        outcome, name, step = came.get(one["id"], {}), one["name"], one.get("step")
        attempt = int(one.get("attempt") or 1)
        if hidden(step, attempt):
            continue
        row, digest = {"name": name, "attempt": attempt, "step": step}, outcome.get("digest")
        if digest and is_there(content.key(digest)):
            found[name] = {**row, "digest": digest, "size": outcome.get("size")}
        elif outcome.get("linked") and one.get("target"):
            found[name] = {**row, "target": str(one["target"])}
    return list(found.values())


def put(store: ObjectStore, node: int, mine: list[dict[str, Any]]) -> None:
    """Say what this node's rows are, and what those of all nodes come to.

    Of several nodes together the last to write has looked at all: who finds another one's rows changed after it has
    written does so again. Raises what the store raises.
    """
    own = f"{node_object.FOLDER}/{node_name(node)}.artifacts.json"
    store.write(own, json.dumps(mine).encode())
    seen = _seen(store)
    for _ in range(_TRIES):
        keys = sorted({*seen, own})  # a list may be late
        store.write(NAME, json.dumps(united(_read(store, key) for key in keys), indent=1).encode())
        before, seen = seen, _seen(store)
        if seen == before:
            return
    msg = "the artifacts of other nodes change faster than they can be read"
    raise OSError(msg)


def _seen(store: ObjectStore) -> dict[str, Seen]:
    return {key: one for key, one in store.seen(node_object.FOLDER).items() if _OWN.fullmatch(key)}


def _read(store: ObjectStore, key: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(store.read(key))
    except (FileNotFoundError, ValueError, RecursionError):
        return []
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    return [row for row in rows if isinstance(row.get("name"), str) and ("target" in row or "digest" in row)]


def united(nodes: Iterable[list[dict[str, Any]]]) -> dict[str, Any]:
    """What the rows of several nodes come to: of two that gave one name, what is of the later attempt and step."""
    last: dict[str, dict[str, Any]] = {}
    for mine in nodes:
        for row in mine:
            if row["name"] not in last or _place(row) >= _place(last[row["name"]]):
                last[row["name"]] = row
    names = {
        name: {"key": content.key(row["digest"]), **{part: row.get(part) for part in ("digest", "size", "step")}}
        for name, row in last.items()
        if content.is_digest(row.get("digest"))
    }
    aliases = {name: str(row["target"]) for name, row in last.items() if "target" in row}
    whole = {alias: target for alias, target in aliases.items() if _leads(aliases, names, target)}
    return {"names": names, "aliases": whole}


def _place(row: dict[str, Any]) -> tuple[int, int]:
    attempt, step = row.get("attempt"), row.get("step")
    return attempt if isinstance(attempt, int) else 0, step if isinstance(step, int) else -1


def _leads(aliases: dict[str, str], names: dict[str, Any], name: str) -> bool:
    seen: set[str] = set()
    while name in aliases and name not in seen:
        seen.add(name)
        name = aliases[name]
    return name in names
