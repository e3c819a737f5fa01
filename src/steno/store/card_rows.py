"""Rows of a list of runs in a store, made of their nodes' cards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno import edits
from steno.ledger import store_card
from steno.store.cards import created_ns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from steno.store.card_list import RunCards


def placed(groups: Mapping[tuple[str, str], RunCards]) -> dict[str, tuple[str, str]]:
    """By where it lies in the store, each run's (project, id).

    A place has one run: one that was removed may have left its card behind, and the newer one is there. A run of which
    no card is sound is called by its id.
    """
    found: dict[str, tuple[str, str]] = {}
    when: dict[str, int] = {}
    for run, group in groups.items():
        written = max((one.written for one in group.cards), default=0)
        place = group.cards[0].path if group.cards else "/".join(run)
        if place not in found or written > when[place]:
            found[place], when[place] = run, written
    return found


def summarised(path: Path, group: RunCards, ages: Mapping[str, float]) -> dict[str, Any]:
    """The fields of a run's `RunSummary`.

    Args:
        path: where its copy is on this machine, once it is opened.
        group: with a card at least.
        ages: by key of a card, for how many seconds its node has given no news.
    """
    every = group.cards
    about = max(every, key=lambda one: one.written).run
    known = {one.node: ages.get(key, 0.0) for key, one in zip(group.keys, every, strict=True)}
    state = store_card.standing(every, known)
    shown = edits.applied(
        {"name": about.name, "tags": about.tags, "notes": about.notes}, [edit for _, edit in group.edits]
    )
    folder, _, name = every[0].path.rpartition("/")
    started = [one.started for one in every if one.started is not None]
    last = [one.last_time for one in every if one.last_time is not None]
    return {
        "path": path,
        "project": about.project or folder,
        "name": str(shown.get("name") or name),
        "id": about.id,
        "state": state,
        "started": min(started) if started else created_ns(about.created),
        "records": sum(one.records for one in every),
        "points": sum(one.points for one in every),
        "attempts": max(one.attempts for one in every),
        "group": about.group,
        "tags": tuple(shown["tags"]),
        "problem": group.problem,
        "ended": None if state in {"", "running"} else max(last, default=None),
        "notes": str(shown.get("notes") or ""),
        "archived": shown["archived"],
        "colour": shown["colour"],
        "config": {name: value for one in every for name, value in (one.config or {}).items()},
        "summary": {name: value for one in every for name, value in (one.summary or {}).items()},
    }
