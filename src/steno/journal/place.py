"""Where a process's journal lies: next to the run, or in a local directory when the run is on a network disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from steno import files, host, inside
from steno.journal.pointers import directory

# A shared map on these is slow, not coherent, or rewrites blocks on every touch.
REMOTE: Final = (
    "nfs",
    "cifs",
    "smb",
    "lustre",
    "gpfs",
    "beegfs",
    "fuse",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "pvfs",
    "virtiofs",
)
COPY_ON_WRITE: Final = ("btrfs", "zfs", "bcachefs")
LEDGER_PATH_BYTES: Final = 504
"""SQLite opens no file at a longer path, symbolic links followed."""
LEDGER: Final = "ledger.sqlite"
POINTER: Final = "ledger.pointer"
"""In a node's directory: where its ledger lies, when elsewhere."""
_INSIDE: Final = os.path.join(".steno", "nodes", "0" * 16, LEDGER)


def filesystem(path: Path) -> str:
    """The type of the file system that holds `path`, as the kernel names it; "" when unknown."""
    target = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                fields = line.split(" ")
                point = fields[1].replace("\\040", " ")
                inside = target == point or target.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, fields[2]
    except OSError:
        return ""
    return kind


def is_remote(path: Path) -> bool:
    """Whether the path lies on a network file system."""
    return filesystem(path).startswith(REMOTE)


def excess(run_dir: Path) -> int:
    """By how many bytes a run's directory is too long for the ledger in it; 0: there is room, or it lies elsewhere."""
    path = os.path.realpath(os.path.join(run_dir, _INSIDE))
    too_many = len(os.fsencode(path)) - LEDGER_PATH_BYTES
    return too_many if too_many > 0 and not is_remote(run_dir) else 0


def elsewhere(node_dir: Path) -> Path | None:
    """A node's ledger where it lies outside the run, on a local disk of this machine; None: it does not.

    Like a journal's, its directory says that it is this run's: see `steno.journal.pointers`.
    """
    said = files.read_json(node_dir / POINTER)
    path = said.get("path")
    if said.get("host") != host.name() or not isinstance(path, str) or "\0" in path:
        return None
    found = Path(path)
    return found if found.name == LEDGER and inside.is_own(found.parent, node_dir.parents[2]) else None


def ledger(node_dir: Path) -> Path | None:
    """The ledger of a node, by its pointer where it lies elsewhere; None when it cannot be reached from here."""
    outside = elsewhere(node_dir)
    if outside is not None and outside.exists():
        return outside
    beside = node_dir / LEDGER
    return beside if beside.exists() else None


def room(path: Path) -> int:
    """Free bytes for this user on the file system of `path`; 0 when it cannot be read."""
    try:
        state = os.statvfs(path)
    except OSError:
        return 0
    return state.f_bavail * state.f_frsize


def choose(run_dir: Path, stream: str, segment_bytes: int, wanted: Path | None = None) -> tuple[Path, bool]:
    """(directory for this stream's segments, whether it lies outside the run and needs a pointer file)."""
    inside = run_dir / ".steno" / "journal" / stream
    if wanted is not None:
        return wanted / directory(stream), True
    kind = filesystem(run_dir)
    if not kind.startswith((*REMOTE, *COPY_ON_WRITE)):
        return inside, False
    shm = Path("/dev/shm")
    if room(shm) >= 4 * segment_bytes and os.access(shm, os.W_OK):
        return shm / directory(stream), True
    local = Path(tempfile.gettempdir())
    if not filesystem(local).startswith(REMOTE):
        return local / directory(stream), True
    return inside, False
