"""Finding a run's journals, and telling which of their writers live."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from steno import files, host, inside, statusfile
from steno.journal import adoption, life, pointers

_MISSED = 3
"""Stamps that a living writer may miss."""
_STIR_SECS = 60.0
"""A collector at work writes its status at least every twenty seconds."""


@dataclass(frozen=True, slots=True)
class FoundJournal:
    """One process's journal: its directory, and the pointer file when it lies outside the run."""

    stream: str
    dir: Path
    pointer: Path | None = None
    host: str = ""
    """Known for journals with a pointer; the others say it in their segments."""


def find(run_dir: Path) -> list[FoundJournal]:
    """All journals of the run, those of other machines too. Raises OSError: this moment nobody can tell."""
    journal = run_dir / ".steno" / "journal"
    out: list[FoundJournal] = []
    for entry in sorted(files.listed(journal), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.name.endswith(pointers.SUFFIX):
            said = pointers.read(run_dir, Path(entry.path))
            if not said.problem:
                out.append(FoundJournal(said.stream, said.dir, Path(entry.path), said.host))
        elif entry.is_dir(follow_symlinks=False):
            out.append(FoundJournal(entry.name, Path(entry.path)))
    return out


def live(run_dir: Path) -> list[str]:
    """Names of the streams whose writers live, as far as this machine can tell.

    It asks for the locks of its own. Of another machine's it goes by the age of their stamps, which is as good as the
    two clocks agree; a journal that is out of reach, by what that machine's collector said last.
    """
    return [found.stream for found in find(run_dir) if _lives(run_dir, found)]


def _lives(run_dir: Path, found: FoundJournal) -> bool:
    if not found.dir.is_dir():
        return found.host not in {"", host.name()} and _stirs(run_dir, found.host)
    writer = life.writer(found.dir)
    if writer is None or writer.is_asked_here or writer.is_of_this_machine:
        return life.is_alive(found.dir, own=pid_of(found))
    if adoption.is_adopted(found.dir):
        return False  # a writer that wakes goes on in another one
    stamp = life.stamp(found.dir)
    return stamp is not None and abs(time.time() - stamp / 1e9) < _MISSED * max(writer.every_secs, 1.0)


def _stirs(run_dir: Path, name: str) -> bool:
    for entry in files.scan(run_dir / ".steno" / "nodes"):
        node = run_dir / ".steno" / "nodes" / entry.name
        if files.read_json(node / "node.json").get("host") == name:
            with contextlib.suppress(OSError):
                if abs(time.time() - os.stat(node / statusfile.FILE).st_mtime) < _STIR_SECS:
                    return True
    return False


def attempts(run_dir: Path) -> list[int]:
    """The numbers of the attempts that were started."""
    names = (entry.name for entry in files.scan(run_dir / ".steno" / "attempts"))
    return sorted(int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdecimal())


def pid_of(found: FoundJournal) -> int:
    """The writer's process id, by the stream's name `host-pid-token`; 0 when it says none."""
    pid = found.stream.rpartition("-")[0].rpartition("-")[2]
    return inside.number(pid) or 0
