"""Which files of a run have changed since they were read: size, time and inode of each."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

YOUNG_NANOS: Final = 2_000_000_000
"""A file that was changed so shortly ago may change again within one tick of its file system's clock."""
Stamp = tuple[str, int, int, int]
"""Of a file of the run ("": the run's directory): size, mtime in ns and inode."""
_OF_ENDED: Final = (
    "", "run.json", "manifest.json", "edits.jsonl", ".steno", ".steno/journal", ".steno/attempts", ".steno/nodes",
)  # fmt: skip


def stamp(name: str, found: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return name, found.st_size, found.st_mtime_ns, found.st_ino


def holds(path: str, stamps: Sequence[Sequence[Any]]) -> bool:
    """Whether the files of a run are still those that were read."""
    try:
        for name, size, mtime, inode in stamps:
            found = os.stat(f"{path}/{name}")
            if found.st_mtime_ns != mtime or found.st_ino != inode or (name and found.st_size != size):
                return False
    except OSError:
        return False
    return True


def of_ended(run_dir: Path) -> tuple[Stamp | None, ...] | None:
    """What tells whether an ended run is as it was; None: too young to be sure."""
    now = time.time_ns()
    found: list[Stamp | None] = []
    place = os.fspath(run_dir)
    for name in _OF_ENDED:
        try:
            state = os.lstat(f"{place}/{name}")
        except OSError:
            found.append(None)
            continue
        if state.st_mtime_ns > now - YOUNG_NANOS:
            return None
        found.append(stamp(name, state))
    return tuple(found)


def of_live(run_dir: Path) -> tuple[Stamp, ...]:
    """What tells whether something was posted to the run, it was edited, or has ended."""
    names = ["manifest.json", "edits.jsonl"]
    nodes = os.path.join(".steno", "nodes")
    try:
        with os.scandir(run_dir / nodes) as entries:
            for one in entries:
                names += [f"{nodes}/{one.name}/ledger.sqlite", f"{nodes}/{one.name}/ledger.sqlite-wal"]
    except OSError:
        pass
    found = []
    for name in names:
        try:
            found.append(stamp(name, os.lstat(run_dir / name)))
        except OSError:
            continue
    return tuple(found)
