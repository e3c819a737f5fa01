"""Finds what a collector works on: its node, its ledger, the run's description and its attempts."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import files, host, inside, runfile
from steno.journal import place
from steno.ledger.listed import left_alone
from steno.ledger.opened import opened
from steno.record import RunInfo, node_name

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEAST_SYSTEM_SECS: Final = 0.1


FIRST_NODE: Final = "first-node.json"
"""In the run's machinery: which of its nodes was the first."""


@dataclass(frozen=True, slots=True)
class Node:
    """This machine's place in the run."""

    number: int
    """Its id: 64 random bits as a signed integer."""
    dir: Path
    ledger: Path
    is_first: bool = True
    """Whether the run had no node before it."""

    @property
    def node_suffix(self) -> str:
        """As `RunInfo.node_suffix`."""
        return "" if self.is_first else node_name(self.number)


def claim(run_dir: Path) -> Node:
    """This machine's node of the run, made if need be.

    Raises:
        OSError: the run directory cannot be written.

    """
    nodes = run_dir / ".steno" / "nodes"
    nodes.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        # Two collectors of one machine may come together; machines apart are distinguished by mkdir alone.
        handle = os.open(nodes, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, handle)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        for name in sorted(os.listdir(nodes)):
            number = inside.node(name)
            if number is not None and _is_mine(nodes / name):
                return _node(run_dir, nodes / name, number)
        # With its owner's name from the first moment, on the disk too: a node that is nobody's would have its ledger
        # forgotten, and its journals posted again.
        hidden = nodes.parent / f".node-{secrets.token_hex(8)}"
        hidden.mkdir()
        stack.callback(files.remove_tree, hidden)
        files.write_json(hidden / "node.json", host.describe(), sync=True)
        files.sync_dir(hidden)
        # Drawn and not made of anything: a clone of this machine, another container on it and the same machine after
        # a reboot are distinguished by the ledger that they have, whatever they are called.
        number = int.from_bytes(secrets.token_bytes(8), "big", signed=True)
        mine = nodes / node_name(number)
        files.rename(hidden, mine)
        return _node(run_dir, mine, number)


def _is_mine(node_dir: Path) -> bool:
    """Whether the node is of this machine: as its file says or, where a cleaner took that away, as its ledger does.

    A machine that did not know its own node again would post its journals a second time, to another one. Raises
    OSError: this moment nobody can tell.
    """
    said = inside.read_sure(node_dir / "node.json")
    if said:
        return host.is_described(said)
    with contextlib.suppress(sqlite3.Error, OSError, ValueError), opened(node_dir / place.LEDGER) as ledger:
        row = ledger.execute("select value from meta where key='host'").fetchone()
        found = json.loads(row[0]) if row else None
        if isinstance(found, dict) and host.is_described(found):
            files.write_json(node_dir / "node.json", host.describe(), sync=True)
            return True
    return False


def _node(run_dir: Path, node_dir: Path, number: int) -> Node:
    """The node; the first that comes here is the run's first for good."""
    first = run_dir / ".steno" / FIRST_NODE
    if not first.exists():
        # Where the machinery was removed, the files of destinations are of a node that is gone.
        others = left_alone(run_dir)
        files.create_json(first, {"node": node_name(others[0]) if others else node_dir.name})
    return Node(number, node_dir, _real_ledger(run_dir, node_dir), is_first(run_dir, number))


def is_first(run_dir: Path, node: int) -> bool:
    """Whether the run had no node before this one: then its destinations' files have plain names."""
    first = files.read_json(run_dir / ".steno" / FIRST_NODE).get("node")
    return first in {None, node_name(node)}


def _real_ledger(run_dir: Path, node_dir: Path) -> Path:
    """By its real path: SQLite counts those of links against its limit as well."""
    return Path(os.path.realpath(_ledger(run_dir, node_dir)))


def _ledger(run_dir: Path, node_dir: Path) -> Path:
    """Where the node's ledger lies: SQLite's locks and shared memory need a local file system."""
    elsewhere = place.elsewhere(node_dir)
    if elsewhere is not None:
        return elsewhere
    local = node_dir / place.LEDGER
    if local.exists() or not place.is_remote(node_dir):
        return local
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    token = hashlib.sha256(str(run_dir.resolve()).encode()).hexdigest()[:16]
    elsewhere = state / "steno" / f"{token}-{node_dir.name}" / place.LEDGER
    elsewhere.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(elsewhere.parent / inside.OWNER, inside.owner(run_dir))
    files.write_json(node_dir / place.POINTER, {"host": host.name(), "path": str(elsewhere)})
    return elsewhere


def run_info(run_dir: Path, node: int, config: Mapping[str, Any], options: Mapping[str, Any]) -> RunInfo:
    """What a destination knows about the run."""
    facts = runfile.read(run_dir)[0]
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
        is_first=is_first(run_dir, node),
        layout=str(facts.get("layout") or "run"),
        options=options,
    )


def begins(run_dir: Path, attempt: int) -> int | None:
    """The automatic step that an attempt begins with on a disk which has nothing of the run before it."""
    found = files.read_json(run_dir / ".steno" / "attempts" / f"{attempt:04d}.json").get("step")
    return found if isinstance(found, int) and found >= 0 else None


def system_metrics(run_dir: Path) -> float | None:
    """The seconds between two samples of the machine's metrics; None: the run asks for none."""
    every_secs = files.read_json(run_dir / ".steno" / "system.json").get("every_secs")
    return float(every_secs) if isinstance(every_secs, int | float) and every_secs >= _LEAST_SYSTEM_SECS else None


def attempts(run_dir: Path) -> list[tuple[int, int | None]]:
    """(attempt, the step it rewinds to), in order. Raises OSError: this moment nobody can tell."""
    found: list[tuple[int, int | None]] = []
    for entry in files.listed(run_dir / ".steno" / "attempts"):
        if entry.name.endswith(".json") and not entry.name.startswith("."):
            facts = inside.read_sure(entry.path)
            if isinstance(facts.get("attempt"), int):
                rewind = facts.get("rewind")
                found.append((facts["attempt"], rewind if isinstance(rewind, int) else None))
    return sorted(found, key=lambda pair: pair[0])
