"""Whether the writer of a journal lives: who it is, the lock that it holds, the stamp that it renews."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Final

from steno import files, host, inside
from steno.errors import CorruptError
from steno.journal import format as fmt
from steno.journal.segment import read_identity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ALIVE: Final = "alive"
"""The file that the writer locks for its life. Nobody reads it: closing it would drop the writer's own lock."""
WRITER: Final = "writer.json"
"""Who the writer is, until it has closed the journal; the stamp that it renews is this file's time of modification."""
SAID: Final = ("host", "machine", "boot", "space", "pid", "born")
"""What a segment's identity says of the writer too."""
STAMP_SECS: Final = 10.0
"""The longest that a living writer leaves its stamp as it is."""


@dataclass(frozen=True, slots=True)
class JournalWriter:
    """A process that writes a journal, and where it runs."""

    host: str = ""
    machine: str = ""
    boot: str = ""
    space: int = 0
    pid: int = 0
    born: int = 0
    every_secs: float = STAMP_SECS
    """At most so long between two stamps."""
    inode: int = 0
    """Of the file that says so: a copy of it, as of a whole run, says nothing of the copy."""

    @classmethod
    def me(cls, every_secs: float = STAMP_SECS) -> JournalWriter:
        """This process."""
        found = host.birth(os.getpid())
        return cls(
            host=host.name(),
            machine=host.machine_id(),
            boot=host.boot_id(),
            space=host.pid_namespace(),
            pid=os.getpid(),
            born=0 if found is None else found[1],
            every_secs=every_secs,
        )

    @classmethod
    def of(cls, facts: Mapping[str, object]) -> JournalWriter | None:
        """From the content of `WRITER`; None where that has not its form."""
        known = {}
        for one in fields(cls) if facts else ():
            value = facts.get(one.name, one.default)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (isinstance(value, str) if isinstance(one.default, str) else number):
                return None
            known[one.name] = value
        return cls(**known) if known else None  # type: ignore[arg-type]

    @property
    def is_of_this_machine(self) -> bool:
        """Whether its lock and its process id can be asked for here: the same boot, the same processes in sight."""
        if self.boot and self.space and host.boot_id() and host.pid_namespace():
            return (self.boot, self.space) == (host.boot_id(), host.pid_namespace())
        return self.is_of_this_node

    @property
    def is_of_this_node(self) -> bool:
        """Whether it ran on a machine of this one's name, whose node this one's collector is of."""
        return host.is_described({"host": self.host, "machine": self.machine})

    @property
    def is_asked_here(self) -> bool:
        """Whether its lock decides for this machine's node: it is of this one, of this boot or of one that is over."""
        if not self.is_of_this_node:
            return False
        same = (self.boot == host.boot_id(), self.space == host.pid_namespace())
        return any(same) or not self.boot or not self.space

    @property
    def runs(self) -> bool:
        """Whether a process of this machine is the writer."""
        return host.lives(self.pid, self.born)


def writer(place: Path) -> JournalWriter | None:
    """Who writes the journal in that directory, as it says itself or in a segment; None: nothing tells."""
    return JournalWriter.of(files.read_json(place / WRITER)) or _named_in_segment(place)


def _named_in_segment(place: Path) -> JournalWriter | None:
    for entry in sorted(files.scan(place), key=lambda one: one.name):
        if entry.name.endswith(".seg") and not entry.name.startswith("."):
            try:
                with open(inside.opened(entry.path), "rb") as file:
                    identity = read_identity(file.read(fmt.HEADER_BYTES))
            except (OSError, CorruptError):
                continue
            if identity is not None:
                return of_identity(identity)
    return None


def of_identity(identity: fmt.SegmentIdentity) -> JournalWriter:
    """The writer that a segment names."""
    return JournalWriter(**{name: getattr(identity, name) for name in SAID})


def holds_lock(place: Path, *, own: int = 0) -> bool:
    """Whether a process holds the lock of the journal in that directory.

    Asks without taking the lock, so that two who ask do not see each other. Closing the file would drop
    the lock of the process that holds it, so a process asks about itself (`own` is its id) another way.
    """
    path = place / ALIVE
    if own == os.getpid():
        listed = host.is_listed(path)
        return path.exists() if listed is None else listed
    return host.holder(path) is not None


def is_alive(place: Path, *, own: int = 0) -> bool:
    """Whether the writer of the journal in that directory lives, as far as this machine can tell.

    The lock says that it does. That it does not, the process itself must say too, until it has closed the journal:
    somebody may have removed the file that is locked, and a process drops its own lock when it copies the file.
    """
    return holds_lock(place, own=own) or runs_here(place)


def runs_here(place: Path) -> bool:
    """Whether the process that writes the journal in that directory, and has not closed it, runs on this machine."""
    found = JournalWriter.of(files.read_json(place / WRITER))
    if found is None or not found.is_of_this_machine or not found.runs:
        return False
    there = files.inode(place / WRITER)
    return there is not None and there[1] == found.inode


def stamp(place: Path) -> int | None:
    """The writer's stamp, to be compared with an earlier one; None where there is none.

    The file is opened for it: a network file system tells then what is, not what it remembers.
    """
    try:
        fd = inside.opened(place / WRITER)
    except (OSError, CorruptError):
        return None
    try:
        return os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)


def sign(place: Path, me: JournalWriter) -> None:
    """Write down who writes the journal in that directory. Raises OSError."""
    path = place / WRITER
    with files.aside(path) as hidden:
        fd = files.create(hidden)
        try:
            facts = {**asdict(me), "inode": os.fstat(fd).st_ino}
            files.fill(fd, json.dumps(facts).encode())
        finally:
            os.close(fd)
