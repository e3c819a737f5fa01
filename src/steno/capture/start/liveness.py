"""Whether some process records into a run now."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from steno import files, host, inside, statusfile
from steno.journal import adoption, life, pointers, remaining

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
        if entry.name.endswith(pointers.SUFFIX):
            said = pointers.read(run_dir, Path(entry.path))
            if said.problem:
                continue
            alive, stream = said.dir / "alive", said.stream
            if said.host != here:
                # Another machine's private disk: all that can be seen is whether its records still come.
                if _stirs(run_dir):
                    return True
                continue
        else:
            alive, stream = Path(entry.path) / "alive", entry.name
        begins, _, rest = stream.rpartition("-")[0].rpartition("-")
        pid = inside.number(rest) or 0
        local = begins == host.stem()
        if local and pid == os.getpid():
            # Our own file: opening and closing it would drop our lock. A run that this process has
            # finished is not live by us, and init finishes the current one first.
            continue
        if _held(alive, pid if local else 0):
            return True
    return False


def open_journals(run_dir: Path) -> dict[str, Path]:
    """By stream, where journals lie of which more may come: those that have segments which are not only kept.

    A segment that is posted is removed; those of a journal that was adopted stay for a writer that may wake.
    """
    found = {}
    for entry in files.scan(run_dir / ".steno" / "journal"):
        place = run_dir / ".steno" / "journal" / entry.name
        if entry.name.endswith(pointers.SUFFIX):
            said = pointers.read(run_dir, place)
            if not said.problem:  # nobody will post what is behind it
                found[said.stream] = said.dir
        elif not entry.name.startswith(".") and remaining.segments(place):
            found[entry.name] = place
    return {
        name: place for name, place in found.items() if not adoption.is_adopted(place) or remaining.has_unposted(place)
    }


def is_waited_for(stream: str, place: Path, *, patient: bool) -> bool:
    """Whether a collector of this machine is about to post the rest of a journal.

    Args:
        stream: its name.
        place: its directory.
        patient: whether those of machines that give no sign of life are adopted in time.
    """
    writer = life.writer(place)
    if writer is not None and not writer.is_asked_here and not writer.is_of_this_machine:
        return patient and remaining.has_unposted(place)
    # Our own lock must not even be looked at: closing the file drops it.
    return stream.rsplit("-", 2)[-2:-1] != [str(os.getpid())] and not life.is_alive(place)


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
            # A stamp of the future says as little as an old one: the clock has gone back, or is another machine's.
            if abs(time.time() - os.stat(os.path.join(node.path, statusfile.FILE)).st_mtime) < _STIR_SECS:
                return True
    return False
