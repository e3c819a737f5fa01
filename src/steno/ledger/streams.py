"""Finding a run's journals, and telling which of their writers live."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from steno import files, host
from steno.journal import life

SUFFIX = ".pointer"


@dataclass(frozen=True, slots=True)
class Found:
    """One process's journal: its directory, and the pointer file when it lies outside the run."""

    stream: str
    dir: Path
    pointer: Path | None = None
    host: str = ""
    """Known for journals with a pointer; the others say it in their segments."""


def find(run_dir: Path) -> list[Found]:
    """All journals of the run, those of other machines too."""
    journal = run_dir / ".steno" / "journal"
    out: list[Found] = []
    try:
        entries = sorted(os.scandir(journal), key=lambda entry: entry.name)
    except OSError:
        return out
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.name.endswith(SUFFIX):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                facts = json.loads(Path(entry.path).read_bytes())
                name = entry.name.removesuffix(SUFFIX)
                out.append(Found(name, Path(facts["path"]), Path(entry.path), str(facts["host"])))
        elif entry.is_dir():
            out.append(Found(entry.name, Path(entry.path)))
    return out


def live(run_dir: Path) -> list[str]:
    """Names of the streams whose writers live, as far as this machine can tell."""
    here = host.name()
    return [
        found.stream
        for found in find(run_dir)
        if found.host in {"", here} and life.is_alive(found.dir, own=pid_of(found))
    ]


def attempts(run_dir: Path) -> list[int]:
    """The numbers of the attempts that were begun."""
    names = (entry.name for entry in files.scan(run_dir / ".steno" / "attempts"))
    return sorted(int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdecimal())


def pid_of(found: Found) -> int:
    """The writer's process id, by the stream's name `host-pid-token`; 0 when it says none."""
    pid = found.stream.rpartition("-")[0].rpartition("-")[2]
    return int(pid) if pid.isdecimal() else 0
