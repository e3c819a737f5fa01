"""Pointers: files of a run that say where a process's journal lies outside of it.

    .steno/journal/STREAM.pointer   {"host", "boot", "path"}: on that host, the directory steno-STREAM
    PATH/owner.json                 the run that the directory was made for, as `inside.owner` says it

A pointer is followed only to a directory that says in turn that it is this run's: a run may come from a stranger, and
a copy of a run must not take the journal of the original.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from steno import files, host, inside

SUFFIX: Final = ".pointer"


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a pointer says."""

    stream: str
    dir: Path
    host: str
    problem: str = ""
    """Why it cannot be followed here; what is behind one of another host is not known."""

    @property
    def is_here(self) -> bool:
        """Whether it is this machine's."""
        return self.host in {"", host.name()}

    @property
    def is_gone(self) -> bool:
        """Whether its directory is no more, as after a reboot when it lay in memory."""
        return self.is_here and not os.path.lexists(self.dir)


def directory(stream: str) -> str:
    """The name of a stream's directory where it lies outside the run."""
    return f"steno-{stream}"


def write(run_dir: Path, stream: str, place: Path) -> Path:
    """Have the run point to a stream's directory, which is there; the pointer's path. Raises OSError."""
    journal = run_dir / ".steno" / "journal"
    journal.mkdir(parents=True, exist_ok=True)
    files.write_json(place / inside.OWNER, inside.owner(run_dir))
    pointer = journal / f"{stream}{SUFFIX}"
    files.write_json(pointer, {"host": host.name(), "boot": host.boot_id(), "path": str(place)})
    return pointer


def refused(run_dir: Path) -> list[Pointer]:
    """Those of a run that are not followed."""
    names = (entry.name for entry in files.scan(run_dir / ".steno" / "journal"))
    found = (read(run_dir, run_dir / ".steno" / "journal" / name) for name in sorted(names) if name.endswith(SUFFIX))
    return [one for one in found if one.problem]


def read(run_dir: Path, path: Path) -> Pointer:
    """What the pointer file says, looked over. Raises OSError: this moment nobody can tell."""
    stream = path.name.removesuffix(SUFFIX)
    said = inside.read_sure(path)
    place, machine = said.get("path"), said.get("host")
    if not isinstance(place, str) or not isinstance(machine, str) or "\0" in place or not os.path.isabs(place):
        return Pointer(stream, Path(os.devnull), "", f"{path} is no pointer: remove it")
    found = Pointer(stream, Path(place), machine)
    if not found.is_here or found.is_gone:
        return found
    if found.dir.name != directory(stream) or not inside.is_own(found.dir, run_dir):
        problem = f"{path} points to {place}, which does not say that it is this run's: it is left alone, remove it"
        return Pointer(stream, found.dir, machine, problem)
    return found
