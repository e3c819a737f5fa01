"""What a run in a store says to a host that goes on with it and has nothing of it: in a process of its own, asked once.

The order and the answer are JSON, on stdin and stdout. The attempt is opened, or joined, in the store before the answer
is given: so all hosts that go on with the run at the same time are in one attempt, with one rewind.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from steno import inside
from steno.collector.uploads import attempts, generations
from steno.ledger import node_object
from steno.ledger.listed import unusable
from steno.objects.store import ObjectStore
from steno.secrecy import error_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_ERROR_CHARS: Final = 500


def answer(order: str) -> str:
    """The answer to an order {"url", "project", "name", "family", "rank", "world_size", "rewind"}.

    {"path", "run", "config", "attempts", "attempt", "rewind", "step"} of a run that is there, {} without one, else
    {"error"}.
    """
    try:
        return json.dumps(_found(json.loads(order)), default=str)
    except Exception as error:  # whatever a store's library raises
        return json.dumps({"error": error_text(error)[:_ERROR_CHARS]})


def _found(order: Mapping[str, Any]) -> dict[str, Any]:
    root = ObjectStore(order["url"])
    family = order.get("family") or {}
    base = inside.relative(f"{order['project']}/{family.get('name') or order['name']}")
    path = generations.newest(root, base, family)[0] if family else ""
    path = path or inside.relative(f"{order['project']}/{order['name']}")
    store = ObjectStore(f"{order['url']}/{path}")
    try:
        run = generations.parsed(store.read(generations.RUN))
    except FileNotFoundError:
        return {}
    if not run.get("id"):
        return {}
    said = [
        node_object.parsed(store.read(key)) for key in store.listing(node_object.FOLDER) if node_object.is_name(key)
    ]
    whole = node_object.united(one for one in said if one and not unusable(one))
    known = [row for row in whole["attempts"] if isinstance(row.get("attempt"), int)]
    after = max((row["attempt"] for row in known), default=0)
    number, rewind = attempts.open_next(store, order["rank"], order["world_size"], order["rewind"], after)
    return {
        "path": path,
        "run": run,
        "config": whole["config"],
        "attempts": known,
        "attempt": number,
        "rewind": rewind,
        "step": max((one["step"] for one in said if isinstance(one.get("step"), int)), default=0),
    }
