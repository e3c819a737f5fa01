"""What a list of a store's runs needs of one node: one object next to those of all other runs of the project.

    _cards/PROJECT/RUN.NODE               {"format": 1, "path": "digits/big", "run": {..}, .., "crc": ".."}
    _cards/PROJECT/RUN.edit-TIME-HEX      the line of an edit, as it is below `edits/` of the run
    _cards/PROJECT/_rolled                all of them as they were once: gzip of lines [key, version, text]

It is derived, and never the truth, which is the run's own `nodes/NODE.json`. The node replaces it now and then, and
once more when it has ended; `steno publish --cards` makes those that are not there, and rolls them up.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno import inside
from steno.ledger import card, node_object
from steno.ledger.snapshot import Stream
from steno.record import node_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT: Final = card.FORMAT
FOLDER: Final = "_cards"
"""Below a store."""
ROLLED: Final = "_rolled"
EVERY_SECS: Final = 60.0
"""So often a node that is at work replaces its card, by default."""
_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_CARD: Final = re.compile(r"([0-9A-Za-z_-]{1,64})\.([0-9a-f]{16})")
_EDIT: Final = re.compile(r"([0-9A-Za-z_-]{1,64})\.edit-[0-9]{20}-[0-9a-f]{8}")
_STREAMS: Final = 4096


class Said(msgspec.Struct):
    """A process of the node's latest attempt, as far as it says how the run stands."""

    stream: str
    rank: int
    attempt: int
    """The run's own number of it."""
    state: str


class StoreCard(card.Versioned):
    """What such an object says. Times in ns since 1970, UTC; counts are of this node's records alone."""

    path: str
    """Where the run lies below the store."""
    run: card.RunIdentity
    """Of its run.json there: id, project, name, group, tags, notes, created."""
    node: int
    written: int
    ended: bool
    silent_secs: float
    """After so long without news the node is silent."""
    world_size: int | None
    streams: list[Said]
    attempts: int
    started: int | None
    last_time: int | None
    records: int
    points: int
    config: dict[str, Any] | None
    """None: too large for a card, as `summary`."""
    summary: dict[str, Any] | None
    rewinds: list[tuple[int, int]]
    """(attempt, step)"""
    hidden: list[tuple[int, int]]
    """Those that `metrics` leaves out."""
    reach: int
    metrics: dict[str, tuple[int, list[Any], list[Any], list[Any]]] | None
    """As `Card.metrics` has it; None: not all keys are there."""


def key(project: str, run: str, node: int) -> str | None:
    """The object's; None: a run with such an id has none."""
    return f"{FOLDER}/{inside.name(project)}/{run}.{node_name(node)}" if _ID.fullmatch(run) else None


def edit_key(project: str, run: str, name: str) -> str | None:
    """The copy's of the edit `edits/NAME.json`."""
    found = f"{FOLDER}/{inside.name(project)}/{run}.edit-{name}"
    return found if _EDIT.fullmatch(found.rpartition("/")[2]) else None


def parted(name: str) -> tuple[str, str, bool] | None:
    """(project, run, whether it is an edit) of a key below `_cards/`; None: it is nobody's."""
    project, _, last = name.partition("/")
    for pattern, is_edit in ((_CARD, False), (_EDIT, True)):
        if project and (found := pattern.fullmatch(last)):
            return project, found[1], is_edit
    return None


def made(path: str, about: Mapping[str, Any], piece: Mapping[str, Any], every_secs: float) -> dict[str, Any]:
    """A card's fields; without metrics, which `metrics_of` gives.

    Args:
        path: where the run lies below the store.
        about: its run.json there.
        piece: what the node's object says.
        every_secs: how often the card is replaced.
    """
    rows = [node_object.shared(piece, row) for row in piece.get("streams", ())]
    latest = max((row.attempt for row in rows), default=0)
    said = [Said(row.stream, row.rank, row.attempt, row.state) for row in rows if row.attempt == latest and row.primary]
    run = {name: about[name] for name in card.RunIdentity.__struct_fields__ if about.get(name) is not None}
    return {
        "format": FORMAT,
        "path": path,
        "run": card.small(run) or {name: run.get(name, "") for name in ("id", "project", "name")},
        "node": piece["node"],
        "written": int(piece.get("written") or time.time_ns()),
        "ended": bool(piece.get("ended")),
        "silent_secs": max(3 * every_secs, float(piece.get("silent_secs") or 0.0)),
        "world_size": piece.get("world_size"),
        "streams": [{name: getattr(one, name) for name in Said.__struct_fields__} for one in said[:_STREAMS]],
        "attempts": max((int(row["attempt"]) for row in piece.get("streams", ())), default=1),
        "started": min((row.started for row in rows if row.started), default=None),
        "last_time": max((row.last_time for row in rows), default=None),
        "records": sum(row.records for row in rows),
        "points": sum(row.points for row in rows),
        "config": card.small({**(about.get("config") or {}), **(piece.get("config") or {})}),
        "summary": card.small(dict(piece.get("summary") or {})),
        "rewinds": [(one["attempt"], one["rewind"]) for one in piece.get("attempts", ()) if _is_rewind(one)],
        **_NONE,
    }


_NONE: Final[dict[str, Any]] = {"hidden": [], "reach": 0, "metrics": None}


def metrics_of(own: card.Card) -> dict[str, Any]:
    """What a card in a run's directory says of its metrics, as a card in a store has it."""
    if not own.is_whole:
        return dict(_NONE)
    return {"hidden": own.hidden, "reach": own.reach, "metrics": own.metrics}


def _is_rewind(one: Mapping[str, Any]) -> bool:
    return isinstance(one.get("rewind"), int)


def encode(found: Mapping[str, Any]) -> bytes:
    """The object of these fields."""
    return card.encode(dict(found))


def decode(data: bytes) -> StoreCard:
    """What an object says.

    Raises:
        CorruptError: it is damaged, or no card.
    """
    return card.decode(data, StoreCard)


def standing(cards: Iterable[StoreCard], ages: Mapping[int, float]) -> str:
    """The run's state, as its nodes' objects would say it."""
    pieces = [
        {"node": one.node, "ended": one.ended, "silent_secs": one.silent_secs, "world_size": one.world_size,
         "streams": [_row(one.node, row) for row in one.streams]}
        for one in cards
    ]  # fmt: skip
    return str(node_object.standing(pieces, ages)["state"])


_EMPTY: Final = {
    "pid": 0, "host": "", "boot": "", "primary": True, "started": 0, "last_time": 0, "last_seq": 0, "records": 0,
    "points": 0, "lost_bytes": 0, "unfilled": 0, "error": None,
}  # fmt: skip


def _row(node: int, said: Said) -> dict[str, Any]:
    named = {"node": node, "stream": said.stream, "rank": said.rank, "attempt": said.attempt, "state": said.state}
    row = {**_EMPTY, **named}
    assert row.keys() == set(Stream.__dataclass_fields__)
    return row
