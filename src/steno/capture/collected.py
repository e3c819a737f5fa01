"""How far this machine's collector has come, from its `status.json`; and asking it to hurry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno import files, statusfile
from steno.capture.start.watchdog import node_dirs
from steno.journal.bell import ring

if TYPE_CHECKING:
    from pathlib import Path


def status(run_dir: Path) -> dict[str, Any]:
    """This machine's status; empty when no collector has written one."""
    for path in node_dirs(run_dir):
        found = statusfile.read(path)
        if found:
            return found
    return {}


def hurry(run_dir: Path) -> None:
    """Have this machine's collector post now, if it works: somebody waits for it."""
    for path in node_dirs(run_dir):
        ring(path)


def asked(run_dir: Path) -> list[str]:
    """The names of the destinations that collectors deliver to."""
    return sorted(
        entry.name.removesuffix(".json")
        for entry in files.scan(run_dir / ".steno" / "destinations")
        if entry.name.endswith(".json") and not entry.name.startswith(".")
    )


def lacking(run_dir: Path, record: int) -> list[str]:
    """The destinations that have not taken this node's record of this number yet."""
    return [name for name, _ in _behind(run_dir, record)]


def is_hopeless(run_dir: Path, record: int) -> bool:
    """Whether some destination that lacks the record has said that it will never take it."""
    return any(state == "stopped" for _, state in _behind(run_dir, record))


def _behind(run_dir: Path, record: int) -> list[tuple[str, str]]:
    names = asked(run_dir)
    if not names:
        return []
    progress = status(run_dir).get("destinations") or {}
    found = []
    for name in names:
        health = progress.get(name) or {}
        if int(health.get("delivered") or 0) < record:
            found.append((name, str(health.get("state", ""))))
    return found
