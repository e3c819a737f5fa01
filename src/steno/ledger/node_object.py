"""What a node says of itself in a store, one object `nodes/ID.json`, and what those of a run come to.

    {"node": .., "ended": false, "world_size": 64, "shared": {"1": 1}, "parts": [..], "unsealed": "", ..}

It is replaced whole, after the parts that it names: one GET is one moment of one node. `shared` says which of the run's
attempts this node's are, where its rows have other numbers, and `started_ranks` which ranks are in them while it has no
rows. A large one is compressed with gzip: a long run's has 15,000 parts.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from steno import inside
from steno.ledger import manifest
from steno.ledger.snapshot import Stream, run_state
from steno.record import node_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER: Final = "nodes"
"""Below the run in its store."""
CRASHED_SECS: Final = 3600.0
"""A run of which nobody gave news for so long goes on no more."""
SILENT_SECS: Final = 300.0
"""Where a node does not say itself how long without news it calls silence."""
_PLAIN_BYTES: Final = 16 << 10
"""A larger one is compressed."""
_MOST_BYTES: Final = 256 << 20
_GZIP: Final = b"\x1f\x8b"
_NAME: Final = re.compile(FOLDER + r"/[0-9a-f]{16}\.json")


def key(node: int) -> str:
    """The object's, by the node's number."""
    return f"{FOLDER}/{node_name(node)}.json"


def is_name(text: str) -> bool:
    """Whether a node's object is called so."""
    return _NAME.fullmatch(text) is not None


def encoded(said: Mapping[str, Any]) -> bytes:
    """The bytes of an object that says that."""
    data = json.dumps(said, default=str).encode()
    return data if len(data) < _PLAIN_BYTES else gzip.compress(data, 6, mtime=0)


def parsed(data: bytes) -> dict[str, Any]:
    """What an object says; empty where it is none."""
    try:
        if data.startswith(_GZIP):
            unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
            data = unpacking.decompress(data, _MOST_BYTES)
            if not unpacking.eof:
                return {}
        found = json.loads(data)
    except (ValueError, RecursionError, zlib.error):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("node"), int) else {}


def united(pieces: Iterable[Mapping[str, Any]], ages: Mapping[int, float] | None = None) -> dict[str, Any]:
    """All nodes' as one manifest, with the run's state.

    Args:
        pieces: of the nodes, each usable as a manifest is.
        ages: by node, for how many seconds it has given no news; None: nobody has looked.
    """
    held = sorted(pieces, key=lambda one: int(one["node"]))
    whole = manifest.unite(held)
    attempts: dict[int, dict[str, Any]] = {}
    for one in held:
        for row in one.get("attempts", ()):
            known = attempts.setdefault(row["attempt"], row)
            if known.get("rewind") is None and row.get("rewind") is not None:
                attempts[row["attempt"]] = row
    whole["attempts"] = [attempts[number] for number in sorted(attempts)]
    whole["entries"] = [row for one in held for row in one.get("entries", ())]
    whole["written"] = max((int(one.get("written") or 0) for one in held), default=0)
    return {**whole, **standing(held, ages or {})}


def standing(held: list[dict[str, Any]] | list[Mapping[str, Any]], ages: Mapping[int, float]) -> dict[str, Any]:
    """{"state", "silent": {node: seconds}, "world_size"}, judged on the latest attempt.

    A node of an earlier one that gives no news has been replaced, or is not needed any more.
    """
    streams = {one["node"]: [shared(one, row) for row in one.get("streams", ())] for one in held}
    latest = max((row.attempt for rows in streams.values() for row in rows), default=0)
    in_latest = [one for one in held if any(row.attempt == latest for row in streams[one["node"]])]
    sizes = [one.get("world_size") for one in in_latest]
    world = max((one for one in sizes if isinstance(one, int)), default=None)
    ranks = {row.rank for rows in streams.values() for row in rows if row.attempt == latest}

    def is_replaced(places: set[tuple[int, int]]) -> bool:
        """Whether the latest attempt has all of these (attempt, rank), or has no room for them."""
        return bool(places) and all(
            attempt < latest and (rank in ranks or (world is not None and rank >= world)) for attempt, rank in places
        )

    silent: dict[str, float] = {}
    longest, is_live = 0.0, False
    for one in held:
        rows, age = streams[one["node"]], ages.get(one["node"], 0.0)
        if one.get("ended") or is_replaced({(row.attempt, row.rank) for row in rows} or _started_ranks(one)):
            continue
        if age <= float(one.get("silent_secs") or SILENT_SECS):
            is_live = True
        elif not rows or any(row.attempt == latest for row in rows):
            silent[node_name(one["node"])] = round(age, 1)
            longest = max(longest, age)
    goes_on = is_live or (bool(silent) and longest < CRASHED_SECS)
    known = [row for rows in streams.values() for row in rows]
    return {
        "state": "running" if goes_on else run_state(known, live=()) or ("crashed" if silent else ""),
        "judged": True,
        "silent": silent,
        "world_size": world,
    }


def _started_ranks(one: Mapping[str, Any]) -> set[tuple[int, int]]:
    """(attempt, rank) of what a node has started of which it has posted nothing."""
    found = one.get("started_ranks")
    return {
        (number, rank)
        for key, ranks in (found.items() if isinstance(found, dict) else ())
        if (number := inside.number(key)) is not None and isinstance(ranks, list)
        for rank in ranks
        if isinstance(rank, int)
    }


def shared(one: Mapping[str, Any], row: Mapping[str, Any]) -> Stream:
    """A stream that a node tells of, by the run's own number of its attempt."""
    stream = Stream(**row)
    numbers = one.get("shared")
    number = numbers.get(str(stream.attempt)) if isinstance(numbers, dict) else None
    return replace(stream, attempt=number) if isinstance(number, int) else stream
