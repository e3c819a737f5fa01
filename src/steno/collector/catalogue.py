"""Finds what a collector works on: its node, its ledger, the run's description and its destinations."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steno.journal import place
from steno.ledger import schema
from steno.record import RunInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

_NODES = 1 << 18


@dataclass(frozen=True, slots=True)
class Node:
    """This machine's place in the run."""

    number: int
    dir: Path
    ledger: Path


@dataclass(frozen=True, slots=True)
class Wanted:
    """A destination that the run asks collectors for."""

    name: str
    kind: str
    destination: str
    options: Mapping[str, Any] = field(default_factory=dict)


def hostname() -> str:
    """This machine's name, as segments and pointers carry it."""
    return socket.gethostname()


def claim(run_dir: Path) -> Node:
    """This machine's node of the run, made if need be.

    Raises:
        OSError: the run directory cannot be written.

    """
    nodes = run_dir / ".steno" / "nodes"
    nodes.mkdir(parents=True, exist_ok=True)
    me = {"host": socket.gethostname(), "machine": _machine()}
    with contextlib.ExitStack() as stack:
        # Two collectors of one machine may come at once; machines apart are told apart by mkdir alone.
        handle = os.open(nodes, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, handle)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        for name in sorted(os.listdir(nodes)):
            if name.isdigit() and _is_mine(nodes / name, me):
                return Node(int(name), nodes / name, _ledger(run_dir, nodes / name, me["host"]))
        # With its owner's name from the first moment: killed on the way, it must not leave a node to nobody.
        hidden = nodes.parent / f".node-{secrets.token_hex(8)}"
        hidden.mkdir()
        stack.callback(shutil.rmtree, hidden, ignore_errors=True)
        replace_json(hidden / "node.json", me)
        for number in range(_NODES):
            mine = nodes / f"{number:02d}"
            try:
                hidden.rename(mine)
            except OSError as error:
                if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                    raise
                continue
            return Node(number, mine, _ledger(run_dir, mine, me["host"]))
    msg = f"{nodes} has no number left"
    raise OSError(msg)


def _is_mine(path: Path, me: Mapping[str, str]) -> bool:
    facts = read_json(path / "node.json")
    if facts.get("host") != me["host"]:
        return False
    return not facts.get("machine") or not me["machine"] or facts["machine"] == me["machine"]


def _machine() -> str:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError):
            return hashlib.sha256(Path(path).read_bytes().strip()).hexdigest()[:16]
    return ""


def _ledger(run_dir: Path, node_dir: Path, host: str) -> Path:
    """Where the node's ledger lies: SQLite's locks and shared memory need a local file system."""
    inside = node_dir / schema.LEDGER
    pointer = read_json(node_dir / schema.POINTER)
    if pointer.get("host") == host:
        elsewhere = Path(str(pointer["path"]))
        elsewhere.parent.mkdir(parents=True, exist_ok=True)
        return elsewhere
    if inside.exists() or not place.is_remote(node_dir):
        return inside
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    token = hashlib.sha256(str(run_dir.resolve()).encode()).hexdigest()[:16]
    elsewhere = state / "steno" / f"{token}-{node_dir.name}" / schema.LEDGER
    elsewhere.parent.mkdir(parents=True, exist_ok=True)
    replace_json(node_dir / schema.POINTER, {"host": host, "path": str(elsewhere)})
    return elsewhere


def lock(path: Path) -> int | None:
    """Hold the lock until this process ends; None when another collector holds it.

    The file must not be opened a second time by this process: closing it would drop the lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def run_info(run_dir: Path, node: int, config: Mapping[str, Any], options: Mapping[str, Any]) -> RunInfo:
    """What a destination is told about the run."""
    facts = read_json(run_dir / "run.json")
    return RunInfo(
        dir=run_dir,
        id=str(facts.get("id") or run_dir.name),
        name=str(facts.get("name") or run_dir.name),
        project=str(facts.get("project") or run_dir.parent.name),
        config={**(facts.get("config") or {}), **config},
        tags=tuple(facts.get("tags") or ()),
        notes=str(facts.get("notes") or ""),
        group=facts.get("group"),
        node=node,
        layout=str(facts.get("layout") or "run"),
        options=options,
    )


def destinations(run_dir: Path) -> dict[str, Wanted]:
    """The destinations asked for, those that run in users' processes left out."""
    found: dict[str, Wanted] = {}
    with contextlib.suppress(OSError):
        for entry in os.scandir(run_dir / ".steno" / "destinations"):
            if not entry.name.endswith(".json") or entry.name.startswith("."):
                continue
            facts = read_json(Path(entry.path))
            name = str(facts.get("name") or entry.name.removesuffix(".json"))
            kind = str(facts.get("kind") or "file")
            if facts and kind in {"file", "process"}:
                found[name] = Wanted(name, kind, str(facts.get("destination") or name), facts.get("options") or {})
    return found


def system_metrics(run_dir: Path) -> float | None:
    """The seconds between two samples of the machine's metrics; None: the run asks for none."""
    every_secs = read_json(run_dir / ".steno" / "system.json").get("every_secs")
    return float(every_secs) if isinstance(every_secs, int | float) and every_secs > 0 else None


def stores(run_dir: Path) -> dict[str, str]:
    """By role, the URLs of the object stores that the run is kept in as well."""
    found = {
        path.stem: read_json(path).get("url") for path in sorted((run_dir / ".steno" / "stores").glob("[!.]*.json"))
    }
    return {role: url for role, url in found.items() if isinstance(url, str)}


def attempts(run_dir: Path) -> list[tuple[int, int | None]]:
    """(attempt, the step it rewinds to), in order."""
    found: list[tuple[int, int | None]] = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(run_dir / ".steno" / "attempts")):
            if name.endswith(".json") and not name.startswith("."):
                facts = read_json(run_dir / ".steno" / "attempts" / name)
                if isinstance(facts.get("attempt"), int):
                    rewind = facts.get("rewind")
                    found.append((facts["attempt"], rewind if isinstance(rewind, int) else None))
    return sorted(found, key=lambda pair: pair[0])


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty when it is missing, torn or something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def replace_json(path: Path, value: Any, *, durable: bool = False) -> None:
    """Write the file anew at once: a reader sees the old one or the new one.

    Raises:
        OSError: no space, no permission; the old file stays.

    """
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(hidden, "w", encoding="utf-8") as file:
            file.write(schema.json_text(value))
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.rename(hidden, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(hidden)
        raise
