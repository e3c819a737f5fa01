"""Artifacts by name in a store, for whoever has no steno: one object, `artifacts.json`, replaced at once.

    {"names": {"model.pt": {"key": "artifacts/ab/ab..", "digest": "ab..", "size": 7, "step": 20}},
     "aliases": {"latest": "model.pt"}}

A name is there when its content is, an alias when what it stands for is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from steno.artifacts import content
from steno.artifacts.index import IndexReader
from steno.artifacts.meanings import Names
from steno.collector import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME: Final = "artifacts.json"


def read(run_dir: Path, is_there: Callable[[str], bool]) -> dict[str, Any]:
    """What names mean now, of all nodes; empty when there are none.

    Args:
        run_dir: the run's directory.
        is_there: whether the store has the object of a key.
    """
    posted: dict[str, dict[str, Any]] = {}
    came: dict[str, dict[str, Any]] = {}

    def told(line: dict[str, Any]) -> None:
        (posted if "name" in line else came)[line["id"]] = line

    IndexReader(run_dir, told).look()
    rewinds = [(attempt, step) for attempt, step in catalogue.attempts(run_dir) if step is not None]
    hidden = Names(rewinds).is_hidden
    names: dict[str, dict[str, Any]] = {}
    aliases: dict[str, str] = {}
    for one in sorted(posted.values(), key=lambda line: int(line.get("record") or 0)):
        outcome, name, step = came.get(one["id"], {}), one["name"], one.get("step")
        if hidden(step, int(one.get("attempt") or 1)):
            continue
        digest = outcome.get("digest")
        if digest and is_there(content.key(digest)):
            names[name] = {"key": content.key(digest), "digest": digest, "size": outcome.get("size"), "step": step}
            aliases.pop(name, None)
        elif outcome.get("linked") and one.get("target"):
            aliases[name] = str(one["target"])
            names.pop(name, None)
    whole = {alias: target for alias, target in aliases.items() if _leads(aliases, names, target)}
    return {"names": names, "aliases": whole} if names else {}


def _leads(aliases: dict[str, str], names: dict[str, Any], name: str) -> bool:
    seen: set[str] = set()
    while name in aliases and name not in seen:
        seen.add(name)
        name = aliases[name]
    return name in names
