"""Where in a store a job's run lies: the newest of its generations that goes on, or a new one.

A name of a job may come back. Its runs are `<name>`, `<name>-2`, …, each born by one object that only one host can
create, its run.json. Nobody waits for anybody: who comes second reads what the first one wrote.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno import inside, runfile
from steno.collector.uploads import attempts
from steno.ledger import node_object
from steno.objects.sending import DifferentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from steno.objects.store import ObjectStore

RUN: Final = "run.json"
OVER_SECS: Final = 600.0
"""Without news of any node for so long, a run is over for who comes anew."""
_TRIES: Final = 100
_SUFFIX: Final = re.compile(r"-(?:[1-9][0-9]*|[0-9a-z]{8})")


@dataclass(frozen=True, slots=True)
class StorePlacement:
    """Where a run is in a store."""

    path: str
    """Below the store."""
    id: str
    """The run's there; its name there is the last step of the path."""
    born: bool
    """Whether this node began it there."""


def candidates(about: Mapping[str, Any]) -> Callable[[str], bool]:
    """Whether the run may lie at a path, which a file of it may claim."""
    family = about.get("family")
    own = str(about["id"])[-8:].lower()
    plain = inside.relative(f"{about['project']}/{(family or about)['name']}")

    def may(path: str) -> bool:
        if not family:
            return path in {plain, f"{plain}-{own}"}
        return path == plain or (path.startswith(plain) and _SUFFIX.fullmatch(path[len(plain) :]) is not None)

    return may


def find(root: ObjectStore, at: Callable[[str], ObjectStore], about: Mapping[str, Any]) -> StorePlacement:
    """The run's place, claimed if need be. Raises what the store raises, or DifferentError.

    Args:
        root: the store.
        at: makes the store of a path below it.
        about: the run's run.json.
    """
    if about.get("family"):
        return _of_job(root, at, about)
    plain = inside.relative(f"{about['project']}/{about['name']}")
    for path in (plain, inside.relative(f"{plain}-{str(about['id'])[-8:].lower()}")):
        place = StorePlacement(path, str(about["id"]), born=True)
        if not _about(root, path):
            root.create(f"{path}/{RUN}", described(about, place))
        if _about(root, path).get("id") == about["id"]:  # where nothing can be created, two may have come together
            return place
    raise DifferentError(f"{root.url}/{path} holds another run: give this one's store another prefix")


def described(about: Mapping[str, Any], place: StorePlacement) -> bytes:
    """The run.json at its place: one of a job's runs is called there as it is numbered there."""
    own = {"id": place.id, "name": place.path.rpartition("/")[2]} if about.get("family") else {}
    return json.dumps({**about, **own}).encode()


def _of_job(root: ObjectStore, at: Callable[[str], ObjectStore], about: Mapping[str, Any]) -> StorePlacement:
    family = about["family"]
    base = inside.relative(f"{about['project']}/{family['name']}")
    if not root.creates():
        # Two may write the same run.json: they mean the same run, whoever comes last.
        id = runfile.derived_id(family["id"], base.rpartition("/")[2])
        path = f"{base}-{id[-8:].lower()}"
        place = StorePlacement(path, id, born=not _about(root, path))
        if place.born:
            root.write(f"{path}/{RUN}", described(about, place))
        return place
    for _ in range(_TRIES):
        last, free = newest(root, base, family)
        if last and (family.get("unique") or not is_over(at(last), family)):
            return StorePlacement(last, str(_about(root, last)["id"]), born=False)
        path = _named(base, free)
        place = StorePlacement(path, runfile.derived_id(family["id"], path.rpartition("/")[2]), born=True)
        if root.create(f"{path}/{RUN}", described(about, place)):
            return place
    raise DifferentError(f"{root.url}/{base}: other jobs took each name there first; give this run another")


def newest(root: ObjectStore, base: str, family: Mapping[str, Any]) -> tuple[str, int]:
    """(where the family's newest run lies, or ""; the first number that no run has)."""
    free = _first_free(root, base)
    below = (_named(base, number) for number in range(free - 1, 0, -1))
    return next((path for path in below if _is_of(_about(root, path), family)), ""), free


def _named(base: str, number: int) -> str:
    return base if number == 1 else f"{base}-{number}"


def _first_free(root: ObjectStore, base: str) -> int:
    """The first number without a run; what is below it is taken. Of very many, few are asked for."""
    low, high = 0, 1
    while _about(root, _named(base, high)):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if _about(root, _named(base, middle)):
            low = middle
        else:
            high = middle
    return high


def _is_of(about: Mapping[str, Any], family: Mapping[str, Any]) -> bool:
    found = about.get("family")
    return isinstance(found, dict) and found.get("id") == family["id"]


def _about(root: ObjectStore, path: str) -> dict[str, Any]:
    """What lies there as a run.json; empty where nothing does."""
    try:
        return parsed(root.read(f"{path}/{RUN}"))
    except FileNotFoundError:
        return {}


def parsed(data: bytes) -> dict[str, Any]:
    """What a run.json says; of something else that it is nobody's."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) and found else {"id": ""}


def is_over(store: ObjectStore, family: Mapping[str, Any]) -> bool:
    """Whether a run goes on no more for who comes: all of its nodes have ended, or none gave news for ten minutes.

    One whose rank is not among those that recorded is a part of it that comes late, and is awaited as long. All is told
    by the store, whose clock alone is asked. An attempt that was opened meanwhile is news too: of who opened it a list
    that is late says nothing yet.
    """
    nodes = {key: one for key, one in store.seen(node_object.FOLDER).items() if node_object.is_name(key)}
    held = {key: node_object.parsed(store.read(key)) for key in nodes}
    going = [nodes[key] for key, one in held.items() if not one.get("ended")]
    if held and not going:
        if not attempts.awaits(store, family.get("rank"), family.get("world_size")):
            return True
        going = list(nodes.values())
    times = [one.modified for one in going or [store.look(RUN)]]
    opened = attempts.opened_at(store)
    times += [] if opened is None else [opened]
    now = store.now()
    if now is None or None in times:
        return False
    return now - max(time for time in times if time is not None) > OVER_SECS
