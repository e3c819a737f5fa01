"""The cards of a store's runs, made again from what the runs themselves say there, and rolled up by projects."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from steno import edits, inside
from steno.errors import CorruptError, StenoError, UsageError
from steno.ledger import node_object, store_card
from steno.ledger.listed import unusable
from steno.objects.store import ObjectStore
from steno.secrecy import error_text
from steno.store import together
from steno.store.card_list import CardList, rolled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steno.store.stock import Stock

_AT_ONCE: Final = 8
_FACTS: Final = ("path", "run", "ended", "streams", "attempts", "records", "points", "config", "summary", "rewinds")


@dataclass(slots=True)
class Carded:
    """What was done."""

    runs: int = 0
    made: int = 0
    """Cards and copies of edits that were not there, or said something else of a node that has ended."""
    removed: int = 0
    """Those of runs that are not there."""
    rolled: int = 0
    """Projects whose rolled cards are new."""
    left_out: dict[str, str] = field(default_factory=dict)
    """By run, why it has no card."""


def publish(stock: Stock) -> Carded:
    """Have a card for each node of each run. It may be called at any time, by several together, and be killed.

    Of a node that is at work only a card that is not there is made, and not if it comes meanwhile: the node's own is
    newer.

    Raises:
        StenoError: the store cannot be listed or written.
    """
    if stock.local is not None:
        raise UsageError(f"{stock.local} is a directory of runs, which lists read as they are: give a store's URL")
    store = ObjectStore(stock.root, patient=True)
    done = Carded()
    try:
        before = set(store.listing(store_card.FOLDER))  # first: what is there before its run.json is nobody's
        keys = store.listing()
        homes = sorted(key.removesuffix("/run.json") for key in keys if _is_home(key))
        by_home: dict[str, list[str]] = {home: [] for home in homes}
        for key in keys:
            home = "/".join(key.split("/", 2)[:2])
            if home in by_home:
                by_home[home].append(key[len(home) + 1 :])
        made = together.each(lambda home: _of_run(store, home, by_home[home], before), homes, _AT_ONCE)
        wanted: set[str] = set()
        for home, (names, count, wrong) in zip(homes, made, strict=True):
            done.runs += 1
            done.made += count
            wanted |= names
            if wrong:
                done.left_out[home] = wrong
        done.removed = _remove(store, before - wanted, set(done.left_out))
        done.rolled = _roll(store, stock.root)
    except StenoError:
        raise
    except Exception as error:
        raise StenoError(f"the cards of {stock.root} cannot be made: {error_text(error)}") from None
    return done


def _remove(store: ObjectStore, keys: set[str], left_out: set[str]) -> int:
    """Remove the cards of runs that are gone; how many. What is a run's that could not be read stays."""
    by_run: dict[tuple[str, str], list[str]] = {}
    for key in sorted(keys):
        found = store_card.parted(key.removeprefix(f"{store_card.FOLDER}/"))
        if found is not None:
            by_run.setdefault(found[:2], []).append(key)
    projects = {home.partition("/")[0] for home in left_out}
    count = 0
    for (project, run), mine in by_run.items():
        if project not in projects and not any(_is_there(store, key, run) for key in mine):
            for key in mine:
                store.remove(key)
                count += 1
    return count


def _is_there(store: ObjectStore, key: str, run: str) -> bool:
    """Whether the run of a card is where the card says, whatever a listing said that may be late."""
    try:
        path = store_card.decode(store.read(key)).path
        return str(json.loads(store.read(f"{inside.relative(path)}/run.json")).get("id")) == run
    except (FileNotFoundError, CorruptError, ValueError, AttributeError):
        return False


def _is_home(key: str) -> bool:
    return key.endswith("/run.json") and key.count("/") == 2 and not key.startswith("_")


def _of_run(store: ObjectStore, home: str, names: list[str], before: set[str]) -> tuple[set[str], int, str]:
    """(the keys of the run's cards, how many were made, what is wrong with the run)."""
    try:
        return (*_made(store, home, names, before), "")
    except (ValueError, RecursionError, CorruptError) as error:
        return set(), 0, f"it cannot be read: {error_text(error)}"


def _made(store: ObjectStore, home: str, names: list[str], before: set[str]) -> tuple[set[str], int]:
    about = json.loads(store.read(f"{home}/run.json"))
    if not isinstance(about, dict) or not about.get("id"):
        raise CorruptError("its run.json is none")
    project, run = home.partition("/")[0], str(about["id"])
    wanted: set[str] = set()
    count = 0
    for name in names:
        if node_object.is_name(name):
            piece = node_object.parsed(store.read(f"{home}/{name}"))
            if not piece or unusable(piece):
                raise CorruptError(f"its {name} is damaged")
            key = store_card.key(project, run, piece["node"])
            if key is None:
                raise CorruptError(f"it has the id {run!r}")
            wanted.add(key)
            count += _of_node(store, key, home, about, piece, is_there=key in before)
        elif name.startswith(f"{edits.FOLDER}/") and name.endswith(".json"):
            key = store_card.edit_key(project, run, name[len(edits.FOLDER) + 1 : -len(".json")])
            if key is not None:
                wanted.add(key)
                if key not in before:
                    store.write(key, store.read(f"{home}/{name}"))
                    count += 1
    return wanted, count


def _of_node(
    store: ObjectStore, key: str, home: str, about: dict[str, Any], piece: Mapping[str, Any], *, is_there: bool
) -> bool:
    """Make a node's card; whether it was."""
    fields = store_card.made(home, about, piece, store_card.EVERY_SECS)
    if not is_there:
        data = store_card.encode(fields)
        try:
            return store.create(key, data)
        except NotImplementedError:  # it may be an older one than the node writes in this moment, who writes another
            store.write(key, data)
            return True
    known: store_card.StoreCard | None = None
    try:
        known = store_card.decode(store.read(key))
    except CorruptError:
        pass  # it is made again
    except FileNotFoundError:
        return False
    if known is not None and (not piece.get("ended") or _same(known, fields)):
        return False
    store.write(key, store_card.encode(fields))
    return True


def _same(known: store_card.StoreCard, fields: Mapping[str, Any]) -> bool:
    now = store_card.decode(store_card.encode(fields))
    return all(getattr(known, name) == getattr(now, name) for name in _FACTS)


def _roll(store: ObjectStore, root: str) -> int:
    """Put the cards of each project together in one object; of how many they have changed."""
    listed = CardList(root)
    if not listed.look():
        return 0
    projects: dict[str, dict[str, tuple[str, bytes]]] = {}
    for key, one in listed.held().items():
        projects.setdefault(key.rpartition("/")[0], {})[key] = one
    count = 0
    for folder, held in projects.items():
        name, data = f"{folder}/{store_card.ROLLED}", rolled(held)
        try:
            same = store.read(name) == data
        except FileNotFoundError:
            same = False
        if not same:
            store.write(name, data)
            count += 1
    return count
