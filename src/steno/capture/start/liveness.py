"""Whether some process records into a run now."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from steno import files, host, statusfile
from steno.journal import life

_STIR_SECS: Final = 60.0


def is_live(run_dir: Path) -> bool:
    """Whether another process holds its journal of this run open.

    Thread-safe. Never opens a lock file of this very process: closing it would drop the lock.
    """
    journal = run_dir / ".steno" / "journal"
    here = host.name()
    for entry in files.scan(journal):
        if entry.name.startswith("."):
            continue
        if entry.name.endswith(".pointer"):
            data = files.read_json(Path(entry.path))
            alive = Path(str(data.get("path", ""))) / "alive"
            stream = entry.name.removesuffix(".pointer")
            if data.get("host") != here:
                # Another machine's private disk: all that can be seen is whether its records still come.
                if _stirs(run_dir):
                    return True
                continue
        else:
            alive, stream = Path(entry.path) / "alive", entry.name
        begins, _, rest = stream.rpartition("-")[0].rpartition("-")
        pid = int(rest) if rest.isdecimal() else 0
        local = begins == host.stem()
        if local and pid == os.getpid():
            # Our own file: opening and closing it would drop our lock. A run that this process has
            # finished is not live by us, and init finishes the current one first.
            continue
        if _held(alive, pid if local else 0):
            return True
    return False


def lives(place: Path) -> bool:
    """Whether the writer of the journal in that directory lives, this very process's excepted."""
    return life.is_alive(place)


def _held(alive: Path, pid: int) -> bool:
    """Whether the stream's process holds its lock; pid 0: any process on any machine."""
    if life.runs_here(alive.parent):
        return True
    holder = host.holder(alive)
    # A holder of 0 or below is in another container or on another machine; any other process than the
    # stream's own is one that asks, as we do.
    return holder is not None and (pid == 0 or holder <= 0 or holder == pid)


def _stirs(run_dir: Path) -> bool:
    for node in files.scan(run_dir / ".steno" / "nodes"):
        with contextlib.suppress(OSError):
            if time.time() - os.stat(os.path.join(node.path, statusfile.FILE)).st_mtime < _STIR_SECS:
                return True
    return False
