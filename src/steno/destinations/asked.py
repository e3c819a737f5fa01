"""What a run asks collectors for, destinations and object stores, and what of it this user has confirmed."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from steno import confirmed, files, runfile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from steno.destinations.registry import Spec

_MOST: Final = 256
_ROLES: Final = ("store", "artifacts")


@dataclass(frozen=True, slots=True)
class WantedDestination:
    """A destination that the run asks for. One of kind `file` is steno's own, and writes below the run alone."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """What of it is to be confirmed."""
        return confirmed.text_of(self.name, self.options)


def all_destinations(run_dir: Path) -> dict[str, WantedDestination]:
    """Those that the run names for collectors, whether confirmed or not."""
    found: dict[str, WantedDestination] = {}
    entries = sorted(files.scan(run_dir / ".steno" / "destinations"), key=lambda one: one.name)
    if not entries:
        return found
    from steno.destinations.registry import BUILT_IN

    for entry in entries[:_MOST]:
        name = entry.name.removesuffix(".json")
        if name == entry.name or entry.name.startswith("."):
            continue
        facts = files.read_json(path_of(run_dir, name))
        options = facts.get("options") or {}
        # Where it runs is not the run's to say.
        kind = BUILT_IN[name][1] if name in BUILT_IN else "process"
        if facts and isinstance(options, dict) and kind != "console" and facts.get("kind") != "console":
            found[name] = WantedDestination(name, kind, options)
    return found


def path_of(run_dir: Path, name: str) -> Path:
    """The file by which a run asks for a destination."""
    return run_dir / ".steno" / "destinations" / f"{name}.json"


def enter(run_dir: Path, spec: Spec) -> Any:
    """Ask for a destination; None, or the options of the one that is there and stays.

    Raises:
        OSError: no space, no permission.
    """
    wanted = {"name": spec.name, "kind": spec.placement, "options": dict(spec.options)}
    path = path_of(run_dir, spec.name)
    if files.create_json(path, wanted):
        return None
    there = files.read_json(path).get("options", {})
    return None if there == json.loads(json.dumps(wanted["options"])) else there


def all_stores(run_dir: Path) -> dict[str, str]:
    """By role, the URLs of the object stores that the run names."""
    found = {role: files.read_json(run_dir / ".steno" / "stores" / f"{role}.json").get("url") for role in _ROLES}
    return {role: url for role, url in found.items() if isinstance(url, str)}


def live_secs(run_dir: Path) -> float:
    """How often what no part has yet is sent to the run's store, in seconds; 0: never."""
    try:
        facts = os.stat(run_dir / ".steno" / "stores" / "store.json")
    except OSError:
        return 0.0
    return _live_secs_in(run_dir, facts.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _live_secs_in(run_dir: Path, _stamp: int) -> float:
    found = files.read_json(run_dir / ".steno" / "stores" / "store.json").get("live_secs")
    return float(found) if isinstance(found, int | float) and found >= 0 else LIVE_SECS


LIVE_SECS: Final = 5.0


def destinations(run_dir: Path) -> dict[str, WantedDestination]:
    """Those that collectors of this user deliver to."""
    found = all_destinations(run_dir)
    foreign = [one for one in found.values() if one.kind != "file"]
    run_id = id_of(run_dir) if foreign else ""
    for one in foreign:
        if not confirmed.has(run_id, one.place):
            del found[one.name]
    return found


def stores(run_dir: Path) -> dict[str, str]:
    """Those that collectors of this user send the run to."""
    found = all_stores(run_dir)
    run_id = id_of(run_dir) if found else ""
    return {role: url for role, url in found.items() if confirmed.has(run_id, url)}


def all_places(run_dir: Path) -> list[str]:
    """What the run names that is not its own files."""
    foreign = [one.place for one in all_destinations(run_dir).values() if one.kind != "file"]
    return foreign + sorted(set(all_stores(run_dir).values()))


def unconfirmed(run_dir: Path) -> list[str]:
    """The places that the run names, and this user has not."""
    places = all_places(run_dir)
    run_id = id_of(run_dir) if places else ""
    return [place for place in places if not confirmed.has(run_id, place)]


def confirm(run_dir: Path, place: str, report: Callable[[str, str], None]) -> None:
    """Note that this user has named the place for the run; it is reported when that cannot be."""
    wrong = confirmed.note(id_of(run_dir), place)
    if wrong:
        report(f"confirmed {place}", f"nothing is sent to {place}: your consent cannot be written down: {wrong}")


def id_of(run_dir: Path) -> str:
    """The run's identity; "" where its run.json says none."""
    try:
        facts = os.stat(run_dir / runfile.FILE)
    except OSError:
        return ""
    return _id_in(run_dir, (facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size))


@functools.lru_cache(maxsize=64)
def _id_in(run_dir: Path, _stamp: tuple[int, ...]) -> str:
    """Kept, for who waits for destinations asks often, and a run.json may be long."""
    return str(runfile.read(run_dir)[0].get("id") or "")


def line(run_dir: Path, place: str) -> str:
    """What a person is shown of a place that was not confirmed."""
    import shlex

    command = f"steno sync {shlex.quote(str(run_dir.absolute()))} --confirm {shlex.quote(place)}"
    return f"the run itself asks for {place}, and you have not: nothing is sent there. If it is right: {command}"
