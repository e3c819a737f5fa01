"""Last, min, max and count of each key: what cards say, and what came after the last batch that each covers."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from steno import machinery
from steno.errors import CorruptError
from steno.ledger import card
from steno.record import node_name
from steno.store.points import of_arrow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from steno.ledger.snapshot import Part
    from steno.ledger.totals import Totals
    from steno.store.attempts import Choice
    from steno.store.engine import Engine
    from steno.store.points import Points
    from steno.store.unsealed import RunView

_PLACE = ("step", "attempt", "rank", "record")
_COLUMNS = "key, node, record, step, epoch_ns(time) as time, rank, attempt, value, exact, text, ref"


class Summary:
    """Summaries of one run's keys; what was counted of a part is kept. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._hidden: tuple[tuple[int, int], ...] | None = None
        self._parts: dict[tuple[str, int], Totals] = {}

    def totals(self, run_dir: Path, view: RunView, choice: Choice) -> Totals:
        """All keys that the run has, and the rows of those points that are chosen: what rewinds leave, of all ranks.

        Raises:
            PartGone: a part was merged away meanwhile.
        """

        found, covered = _of_cards(run_dir, view, choice.hidden)
        with self._lock:
            if choice.hidden != self._hidden:
                self._hidden, self._parts = choice.hidden, {}
            wanted = {}
            for part in view.metrics:
                after = covered.get(part.node, 0)
                if part.last_batch > after:
                    wanted[part.name, after if part.first_batch <= after else 0] = part
            for place in self._parts.keys() - wanted.keys():
                del self._parts[place]
            for place, part in wanted.items():
                if place not in self._parts:
                    self._parts[place] = self._of_part(run_dir, part, place[1], choice.hidden)
                mine = self._parts[place]
                found.add_rows(list(mine.ids), mine.rows, mine.reach)
        names = list(view.ids)
        for chunk in view.chunks:
            late = chunk.shared["batch"] > 0
            for node, batch in covered.items():
                late &= (chunk.shared["node"] != node) | (chunk.shared["batch"] > batch)
            if late.any():
                _add(found, names, chunk.take(late).points())
        return found

    def _of_part(self, run_dir: Path, part: Part, after: int, hidden: tuple[tuple[int, int], ...]) -> Totals:
        from steno.ledger.totals import Totals

        totals = Totals(hidden)
        query = f"select {_COLUMNS} from {{parts}} where batch > {after}"
        table = self._engine.table(self._engine.files(run_dir, [part]), query)
        if table is not None and len(table):
            ids: dict[str, int] = {}
            points = of_arrow(table, ids)
            _add(totals, list(ids), points)
        return totals


def _add(totals: Totals, names: list[str], points: Points) -> None:
    import numpy as np

    if not len(points):
        return
    used = np.unique(points.key)
    places = {name: getattr(points, name) for name in _PLACE}
    key = np.searchsorted(used, points.key)
    totals.add_points([names[number] for number in used.tolist()], key, places, points.value, points.special)


def _of_cards(run_dir: Path, view: RunView, hidden: tuple[tuple[int, int], ...]) -> tuple[Totals, dict[int, int]]:
    """(what the cards say, by node the last batch that it has): of those whose ledger is there, or has ended."""
    from steno.ledger.totals import Totals

    found, covered = Totals(hidden), dict[int, int]()
    cards = card.read(run_dir)
    held = machinery.packed(run_dir) if cards else {}
    for node in sorted({*view.snapshot.ledgers, *(part.node for part in view.metrics)}) if cards else ():
        one = cards.get(node_name(node))
        if one is None or not _goes_with(one, node, view, held) or not card.hold_under(one.hidden, one.reach, hidden):
            continue
        try:
            mine, covered[node] = _rows(run_dir, one)
        except CorruptError:
            continue
        found.add_rows(list(mine.ids), mine.rows, mine.reach)
    return found, covered


def _goes_with(one: card.Card, node: int, view: RunView, held: Mapping[str, str]) -> bool:
    """Whether the card is of the node's ledger, or of what is put away of it (`held`); in a copy, of one that ended."""
    ledger = view.snapshot.ledgers.get(node)
    if ledger is None:
        put_away = held.get(f"nodes/{node_name(node)}/{machinery.LEDGER}")
        its = put_away is None or one.ledger in put_away
        return its and one.ended and node not in view.snapshot.unreadable
    return one.ledger == ledger and one.batch <= view.snapshot.last_batch.get(node, 0)


def _rows(run_dir: Path, one: card.Card) -> tuple[Totals, int]:
    from steno.ledger import card_table
    from steno.ledger.totals import Totals

    if not one.is_whole:
        return card_table.read(run_dir, one)
    totals = Totals()
    card.add_to(totals, one.metrics, one.reach)
    return totals, one.batch


def as_rows(totals: Totals) -> dict[str, dict[str, Any]]:
    """By key what `RunReader.summary` says."""
    return {key: _row(row) for key, row in totals.items()}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"last": row["last"], "count": row["count"]}
    found |= {"last_step": row["last_step"], "last_rank": row["last_rank"]}
    for end in ("min", "max"):
        is_there = not math.isnan(row[end])
        for name in (end, f"{end}_step", f"{end}_rank"):
            found[name] = row[name] if is_there else None
    return found
