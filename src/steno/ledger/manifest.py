"""The manifest: what a reader needs of a run that ended, where no ledger is."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from steno import files, machinery, settings
from steno.journal import place as places
from steno.ledger import dump, schema
from steno.ledger.listed import MANIFEST, left_alone
from steno.ledger.opened import opened
from steno.ledger.read import Reader
from steno.ledger.snapshot import run_state
from steno.machinery import LEDGER
from steno.record import FORMAT, named_node, node_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from steno.ledger.snapshot import Snapshot


def write(run_dir: Path, node_dir: Path) -> None:
    """Enter this node's parts, streams, config and summary; each node that has ended keeps its own piece.

    The run's manifest is written once all its nodes have theirs. Raises OSError or sqlite3.Error.
    """
    reader = Reader(run_dir)
    snapshot = reader.snapshot(batches=False)
    node = named_node(node_dir.name)
    assert node is not None, node_dir
    mine = piece(snapshot, node)
    _replace(node_dir / MANIFEST, mine)
    pieces: list[dict[str, Any]] = []
    for number in reader.nodes():
        own = files.read_json(node_dir.parent / node_name(number) / MANIFEST)
        if not own:
            return  # another node is at work: it writes the manifest when it ends
        pieces.append(own)
    pieces += [piece(snapshot, number) for number in left_alone(run_dir)]
    whole = {"written": time.time_ns(), **unite(pieces)}
    whole["attempts"] = attempts(run_dir, whole["streams"])
    numbers = [one["attempt"] for one in whole["attempts"]]
    whole["state"] = run_state(snapshot.streams, live=(), attempts=numbers, losses=snapshot.losses)
    _replace(run_dir / MANIFEST, whole)


def begin_again(run_dir: Path, own: int) -> None:
    """Make the ledgers again that a run had put away, this node's and those of nodes that may never come back.

    Raises:
        OSError, sqlite3.Error: there is no room; they are made the next time.
        CorruptError: what was put away is no ledger.
    """
    for number, path in Reader(run_dir).nodes().items():
        node_dir = run_dir / ".steno" / "nodes" / node_name(number)
        if (node_dir / LEDGER).exists():
            dump.load(node_dir / places.LEDGER, number)
            if number != own and path is None:
                _replace(node_dir / MANIFEST, piece(Reader(run_dir).snapshot(batches=False), number))


def put_away(run_dir: Path) -> bool:
    """Enter the machinery into the manifest of a run that has ended, and take it away; whether it is gone.

    It stays where something is left to be done or looked at, or where it is too large for a manifest. Killed at any
    instruction, a run has its machinery or its manifest has it.

    Raises:
        OSError, sqlite3.Error: it stays.
    """
    if settings.read("STENO_KEEP_LEDGER"):
        return False
    whole = files.read_json(run_dir / MANIFEST)
    place = run_dir / ".steno"
    if not whole.get("state") or {one["attempt"] for one in attempts(run_dir, ())} - {
        one.get("attempt") for one in whole.get("attempts", ())
    }:
        return False  # somebody has just started
    held = machinery.pack(run_dir)
    if held is None:
        return False
    for number, path in Reader(run_dir).nodes().items():
        node_dir = place / "nodes" / node_name(number)
        if path is None or path.parent != node_dir or not (node_dir / MANIFEST).exists():
            return False
        with opened(path) as connection:
            text = dump.dump(connection)
        if text is None:
            return False
        held[f"nodes/{node_dir.name}/{LEDGER}"] = text
    _replace(run_dir / MANIFEST, {**whole, "retired": True, "machinery": held})
    files.sync_dir(run_dir)
    return machinery.remove(run_dir)


def piece(snapshot: Snapshot, node: int) -> dict[str, Any]:
    """What one node has in the manifest."""
    return {
        "node": node,
        "parts": [dataclasses.asdict(part) for part in snapshot.parts if part.node == node],
        "streams": [dataclasses.asdict(stream) for stream in snapshot.streams if stream.node == node],
        "losses": [dataclasses.asdict(loss) for loss in snapshot.losses if loss.node == node],
        "config": snapshot.meta.get("config") or {},
        "summary": snapshot.meta.get("summary") or {},
    }


def unite(pieces: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The pieces of several nodes as one, without attempts, state and time."""
    held = list(pieces)
    whole: dict[str, Any] = {"format": FORMAT}
    for name in ("parts", "streams", "losses"):
        whole[name] = [row for one in held for row in one.get(name, ())]
    for name in ("config", "summary"):
        whole[name] = {key: value for one in held for key, value in one[name].items()}
    return whole


def attempts(run_dir: Path, streams: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """{attempt, rewind, started in ns} of each; `rewind` is not there where nobody wrote down whether there was one."""
    found: dict[int, dict[str, Any]] = {}
    for row in streams:
        one = found.setdefault(row["attempt"], {"attempt": row["attempt"], "started": row["started"]})
        one["started"] = min(one["started"], row["started"])
    for path in sorted((run_dir / ".steno" / "attempts").glob("*.json")):
        try:
            known = files.read_json(path)
            number = int(known["attempt"])
            started = known.get("started") or found.get(number, {}).get("started", 0)
            found[number] = {"attempt": number, "rewind": known.get("rewind"), "started": started}
        except (ValueError, KeyError, TypeError):
            continue  # torn: the entries of starting processes may still tell
    return [found[number] for number in sorted(found)]


def remove(run_dir: Path, node_dir: Path) -> None:
    """The run goes on: what the manifests say does not hold any more."""
    for path in (run_dir / MANIFEST, node_dir / MANIFEST):
        files.unlink(path, missing_ok=True)


def _replace(path: Path, value: Any) -> None:
    files.replace(path, schema.json_text(value).encode(), sync=True)
