"""Who posts a journal whose writer's machine shows no life: marks in the journal's directory, each made once.

    adopted-1   the first that has taken the journal over, as JSON; its time of modification is that one's stamp
    left-1      it has ended its work: nobody need wait for its stamp
    adopted-2   the next one

A collector that adopts a journal copies it into its own node's ledger. The segments stay for a writer that wakes: it
finds the mark, leaves the journal and begins another one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from steno import files

if TYPE_CHECKING:
    from pathlib import Path

_MARK: Final = "adopted-"
_LEFT: Final = "left-"
KEPT_SECS: Final = 7 * 86_400
"""How long what a writer has not closed is kept for it after an adoption."""


@dataclass(frozen=True, slots=True)
class AdoptionMark:
    """That a node has taken a journal over."""

    number: int
    node: int
    host: str
    time: float
    """Of its making, in seconds since 1970."""
    stamp: int | None
    """To be compared with an earlier one: it changes while that node's collector works."""
    has_left: bool


def is_adopted(place: Path) -> bool:
    """Whether somebody has taken the journal in that directory over."""
    return os.path.exists(place / f"{_MARK}1")


def owner(place: Path) -> AdoptionMark | None:
    """Who posts the journal in that directory in place of its writer's machine; None: nobody does."""
    number = 0
    while os.path.exists(place / f"{_MARK}{number + 1}"):
        number += 1
    return _read(place, number) if number else None


def nodes(place: Path) -> set[int]:
    """All that have ever taken it over."""
    last = owner(place)
    return set() if last is None else {_read(place, number).node for number in range(1, last.number + 1)}


def adopt(place: Path, node: int, host: str, time: float) -> AdoptionMark | None:
    """Take the journal over; None: another one was first.

    Raises:
        OSError: the mark cannot be made.
    """
    before = owner(place)
    number = 1 if before is None else before.number + 1
    if not files.create_json(place / f"{_MARK}{number}", {"node": node, "host": host, "time": time}):
        return None
    files.sync_dir(place)
    return _read(place, number)


def stamp(place: Path, mark: AdoptionMark) -> None:
    """Show that the work on the journal goes on. Raises OSError."""
    os.utime(place / f"{_MARK}{mark.number}", follow_symlinks=False)


def leave(place: Path, mark: AdoptionMark) -> None:
    """Say that it has ended. Raises OSError."""
    files.touch(place / f"{_LEFT}{mark.number}")


def _read(place: Path, number: int) -> AdoptionMark:
    path = place / f"{_MARK}{number}"
    facts = files.read_json(path)
    node, time = facts.get("node"), facts.get("time")
    try:
        there: int | None = os.stat(path).st_mtime_ns
    except OSError:
        there = None
    return AdoptionMark(
        number=number,
        node=node if isinstance(node, int) else -1,
        host=str(facts.get("host") or ""),
        time=float(time) if isinstance(time, int | float) else 0.0,
        stamp=there,
        has_left=os.path.exists(place / f"{_LEFT}{number}"),
    )
