"""Which attempt of a run in a store a start of this node's belongs to: one host opens it, the others join it.

    attempts/0002.json           {"attempt": 2, "world_size": 48, "rewind": null, "node": "…"}: who was first
    attempts/0002/NODE.0-7_12    that node's ranks 0 to 7 and 12 are in it

Rows keep the number that the process had when it began. What is made of it is whether a run has ended, and the number
that this node's next attempt begins with.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any, Final

from steno import files, host
from steno.journal import remaining
from steno.ledger.streams import find
from steno.record import node_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from steno.ledger.snapshot import Stream
    from steno.objects.store import ObjectStore

NOTE: Final = "shared.json"
"""In the node's directory: {"attempts": {own number: the run's}, "latest": the run's newest}."""
RESUMED: Final = "resumed.json"
"""Among the run's stores: {"attempt"} with which this disk began to go on with the run, one number here and there."""
_FOLDER: Final = "attempts"
_OPENED: Final = re.compile(_FOLDER + r"/(\d{4,9})\.json")
_CLAIM: Final = re.compile(_FOLDER + r"/(\d{4,9})/([0-9a-f]{16})\.([0-9_-]+)")
_TRIES: Final = 100
_SPANS: Final = 32
"""A key has room for no more."""


def known(run_dir: Path, node_dir: Path) -> dict[int, int]:
    """By the number that processes of this node began an attempt with, the run's."""
    resumed = files.read_json(run_dir / ".steno" / "stores" / RESUMED).get("attempt")
    found = files.read_json(node_dir / NOTE).get("attempts")
    noted = found.items() if isinstance(found, dict) else ()
    first = {resumed: resumed} if isinstance(resumed, int) else {}
    return first | {int(key): value for key, value in noted if key.isdecimal() and isinstance(value, int)}


def join(store: ObjectStore, run_dir: Path, node: int, streams: Iterable[Stream]) -> dict[int, int]:
    """As `known`, with what has started meanwhile, whether or not it is posted. Raises what the store raises."""
    node_dir = run_dir / ".steno" / "nodes" / node_name(node)
    found = known(run_dir, node_dir)
    ranks = started_ranks(run_dir)
    for one in streams:
        # Rows that were posted since it was known have the run's number.
        if one.node == node and one.primary and one.attempt not in found.values():
            ranks.setdefault(one.attempt, set()).add(one.rank)
    before = max(found.values(), default=0)
    for number in sorted(ranks.keys() - found.keys()):
        facts = files.read_json(run_dir / ".steno" / "attempts" / f"{number:04d}.json")
        before, latest = _join(store, node, facts, ranks[number], before)
        found[number] = before
        said = {str(own): one for own, one in found.items()}
        files.write_json(node_dir / NOTE, {"attempts": said, "latest": max(latest, number)}, sync=True)
    return found


def started_ranks(run_dir: Path) -> dict[int, set[int]]:
    """By the number that their processes know, the ranks of attempts that have a journal of this machine."""
    found: dict[int, set[int]] = {}
    for journal in find(run_dir):
        if journal.stream.startswith(f"{host.stem()}-"):
            identity = remaining.identity(journal.dir)
            if identity is not None and identity.primary:
                found.setdefault(identity.attempt, set()).add(identity.rank)
    return found


def published(found: Mapping[int, int], recorded: AbstractSet[int]) -> dict[str, int]:
    """What a node's object says of its attempts, by the number that its rows have: those of attempts `recorded`."""
    return {str(one if one in recorded and own not in recorded else own): one for own, one in found.items()}


def _join(store: ObjectStore, node: int, facts: Mapping[str, Any], ranks: set[int], after: int) -> tuple[int, int]:
    """(the attempt joined or opened, the newest there is)."""
    world = facts.get("world_size")
    # Who has recorded in the run before goes on with it, as those do that have nothing of it on their disks.
    mine = {"world_size": world, "rewind": facts.get("rewind"), "node": node_name(node), "resumes": after > 0}
    for _ in range(_TRIES):
        opened, taken = _listed(store)
        latest = opened[0] if opened else 0
        number = next((one for one in opened if one > after and _world(store, one) == world), 0)
        if not number or taken.get(number, set()) & ranks:
            number = latest + 1
            if not store.create(f"{_FOLDER}/{number:04d}.json", json.dumps({"attempt": number, **mine}).encode()):
                continue
        store.write(f"{_FOLDER}/{number:04d}/{node_name(node)}.{_spelt(ranks)}", b"{}")
        return number, max(latest, number)
    msg = "no attempt can be opened in the store, for others open each first"
    raise OSError(msg)


def open_next(store: ObjectStore, rank: int, world: int, rewind: int | None, after: int) -> tuple[int, int | None]:
    """(the attempt of a run that goes on, the step it rewinds to): one that another host has just opened, or the next.

    Args:
        rank: of the process that goes on with the run; it has recorded in that attempt from then on.
        world: how many processes there are.
        rewind: as it was asked for.
        after: records of the run have this attempt, or an earlier one.

    Raises what the store raises.
    """
    for _ in range(_TRIES):
        opened, taken = _listed(store)
        number = opened[0] if opened else 0
        facts = _facts(store, number)
        same = facts.get("world_size") == world and facts.get("rewind") == rewind and facts.get("resumes") is True
        if number < after or not same or rank in taken.get(number, set()):
            number = max(number, after) + 1
            said = {"attempt": number, "world_size": world, "rewind": rewind, "resumes": True}
            if not store.create(f"{_FOLDER}/{number:04d}.json", json.dumps(said).encode()):
                continue
        store.write(f"{_FOLDER}/{number:04d}/{secrets.token_hex(8)}.{rank}", b"{}")
        return number, rewind
    msg = "no attempt can be opened in the store, for others open each first"
    raise OSError(msg)


def awaits(store: ObjectStore, rank: Any, world: Any) -> bool:
    """Whether the newest attempt with so many processes has not seen this one."""
    opened, taken = _listed(store)
    number = next((one for one in opened if _world(store, one) == world), 0)
    return bool(number) and rank not in taken.get(number, set())


def _listed(store: ObjectStore) -> tuple[list[int], dict[int, set[int]]]:
    """(the attempts, the newest first; by attempt, the ranks that have recorded in it)."""
    keys = list(store.listing(_FOLDER))
    opened = {int(found[1]) for key in keys if (found := _OPENED.fullmatch(key))}
    # A list may be late, and asking for one object is not: attempts follow each other.
    latest = max(opened, default=0)
    while _facts(store, latest + 1):
        latest += 1
        opened.add(latest)
    taken: dict[int, set[int]] = {}
    for key in keys:
        if found := _CLAIM.fullmatch(key):
            taken.setdefault(int(found[1]), set()).update(_ranks(found[3]))
    return sorted(opened, reverse=True), taken


def opened_at(store: ObjectStore) -> float | None:
    """When the newest attempt was opened, by the store's clock; None: there is none, or the store does not say."""
    opened, _ = _listed(store)
    try:
        return store.look(f"{_FOLDER}/{opened[0]:04d}.json").modified if opened else None
    except FileNotFoundError:
        return None


def _world(store: ObjectStore, number: int) -> Any:
    return _facts(store, number).get("world_size")


def _facts(store: ObjectStore, number: int) -> dict[str, Any]:
    try:
        found = json.loads(store.read(f"{_FOLDER}/{number:04d}.json"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _spelt(ranks: set[int]) -> str:
    """Ranks as text, "0-7_12"; of very scattered ones the bounds."""
    spans: list[list[int]] = []
    for rank in sorted(ranks):
        if spans and rank == spans[-1][1] + 1:
            spans[-1][1] = rank
        else:
            spans.append([rank, rank])
    if len(spans) > _SPANS:
        spans = [[spans[0][0], spans[-1][1]]]
    return "_".join(f"{first}-{last}" if last > first else f"{first}" for first, last in spans)


def _ranks(text: str) -> set[int]:
    found: set[int] = set()
    for span in text.split("_"):
        first, _, last = span.partition("-")
        if first.isdecimal() and (not last or last.isdecimal()):
            found.update(range(int(first), min(int(last or first), int(first) + (1 << 20)) + 1))
    return found
