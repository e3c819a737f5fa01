"""A run's machinery put away: the small files of `.steno` inside the manifest of a run that has ended, and out again.

    "retired": true, "machinery": {"attempts/0001.json": "…", "nodes/ID/ledger.json": "…", …}

`retired` tells an intended absence from a loss. As long as `.steno` is there it is what holds, whatever the manifest
has; without it, `restore` makes it again before anything is recorded, delivered or uploaded.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steno import files, inside
from steno.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST: Final = "manifest.json"
LEDGER: Final = "ledger.json"
"""In a node's directory, what its ledger had: the node's collector makes the ledger again."""
_MOST_BYTES: Final = 1 << 20
_GONE: Final = ".steno-gone-"
_NEW: Final = ".steno-new-"
_FOLDERS: Final = ("journal", "attempts", "jobs", "destinations", "nodes")
_LEFT_OUT: Final = re.compile(
    r"door-[0-9a-f]{8}|nodes/[0-9a-f]+/(?:ledger\.sqlite(?:-wal|-shm)?|collector\.lock|manifest\.json|reading)"
)
"""What is made anew, or stands in the manifest itself."""


def pack(run_dir: Path) -> dict[str, str] | None:
    """The small files of the machinery by their paths in it; None: it holds what cannot be put away so.

    Raises:
        OSError: a file or a directory cannot be read.
    """
    found: dict[str, str] = {}
    room = _MOST_BYTES
    place = run_dir / inside.MACHINERY
    for folder, _, names in os.walk(place, onerror=_raise):
        for name in names:
            path = Path(folder, name)
            below = path.relative_to(place).as_posix()
            if _LEFT_OUT.fullmatch(below):
                continue
            try:
                text = inside.read(path, room).decode()
                inside.path(place, below)
            except (CorruptError, UnicodeDecodeError):
                return None
            if name.startswith(".") or below.startswith(("journal/", "staging/", "poison/")) or "/encode/" in below:
                return None  # something is not done
            room -= len(text) + len(below)
            if room <= 0:
                return None
            if text or "/" in below:
                found[below] = text
    return found


def _raise(error: OSError) -> None:
    raise error


def packed(run_dir: Path) -> Mapping[str, str]:
    """What was put away of a run that has no machinery now; empty for any other."""
    return {} if (run_dir / inside.MACHINERY).exists() else _held(run_dir)


def _held(run_dir: Path) -> Mapping[str, str]:
    manifest = files.read_json(run_dir / MANIFEST)
    held = manifest.get("machinery")
    if manifest.get("retired") is not True or not isinstance(held, dict):
        return {}
    return {path: text for path, text in held.items() if isinstance(path, str) and isinstance(text, str)}


def is_retired(run_dir: Path) -> bool:
    """Whether the run has put its machinery away."""
    return not (run_dir / inside.MACHINERY).exists() and files.read_json(run_dir / MANIFEST).get("retired") is True


def restore(run_dir: Path) -> bool:
    """Make the machinery again, where it was put away, whole or not at all; whether it was.

    Where somebody has started some of it meanwhile, what is missing is made.

    Raises:
        OSError: there is no room, or no right to write.
        CorruptError: what was put away is not what a run has.
    """
    sweep(run_dir)
    held = _held(run_dir)
    if not held:
        return False
    place = run_dir / inside.MACHINERY
    hidden = run_dir / f"{_NEW}{os.urandom(6).hex()}"
    hidden.mkdir()
    mine = _claim(hidden)
    try:
        for folder in _FOLDERS:
            (hidden / folder).mkdir(parents=True, exist_ok=True)
        for below, text in held.items():
            if below.count("/") > 3:
                raise CorruptError(f"the manifest of {run_dir} has put away {below!r:.200}, which no run has")
            path = inside.path(hidden, below)
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_new(path, text.encode(), sync=True)
        if not place.exists():
            with contextlib.suppress(OSError):  # somebody else was first
                files.rename(hidden, place)
        if hidden.exists():
            _fill(hidden, place, held)
        files.sync_dir(run_dir)
        return True
    finally:
        files.remove_tree(hidden)
        if mine is not None:
            os.close(mine)


def _claim(place: str | Path) -> int | None:
    """A descriptor that says, until it is closed, that somebody is at work in the directory; None: somebody else is."""
    try:
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        pass  # a file system without locks
    return fd


def _fill(hidden: Path, place: Path, held: Mapping[str, str]) -> None:
    for below in held:
        target = inside.path(place, below)
        is_ledgers = target.name == LEDGER and target.with_name("ledger.sqlite").exists()
        if not is_ledgers and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                files.link(hidden / below, target)


def remove(run_dir: Path) -> bool:
    """Take the machinery away, all of it atomically; False: somebody has started to record, and nothing has changed.

    Raises:
        OSError: it stays.
    """
    place = run_dir / inside.MACHINERY
    gone = run_dir / f"{_GONE}{os.urandom(6).hex()}"
    try:
        files.rmdir(place / "journal")
    except FileNotFoundError:
        pass
    except OSError:
        return False
    files.sync_dir(place)
    files.rename(place, gone)
    if not _drop_journal(gone):
        _put_back(run_dir, gone)
        return False
    files.sync_dir(run_dir)
    files.remove_tree(gone)
    return True


def _drop_journal(gone: Path) -> bool:
    """Whether nobody has started to record in machinery that has its hidden name; whoever comes later makes his own."""
    try:
        files.rmdir(gone / "journal")
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def _put_back(run_dir: Path, gone: Path) -> None:
    """Machinery in which somebody records again: in its place, or its journals in what has been made there since."""
    place = run_dir / inside.MACHINERY
    try:
        files.rename(gone, place)
    except OSError:
        (place / "journal").mkdir(parents=True, exist_ok=True)
        for entry in files.scan(gone / "journal"):
            with contextlib.suppress(OSError):  # its writer has missed it, and has made it anew
                files.rename(entry.path, place / "journal" / entry.name)
        if all((place / "journal" / entry.name).exists() for entry in files.listed(gone / "journal")):
            files.remove_tree(gone)
    files.sync_dir(run_dir)


def sweep(run_dir: Path) -> None:
    """Remove what a death has left of machinery that was taken away or half made."""
    for entry in files.scan(run_dir):
        if re.fullmatch(r"\.steno-(?:gone|new)-[0-9a-f]{12}", entry.name) and entry.is_dir(follow_symlinks=False):
            fd = _claim(entry.path)
            if fd is None:
                continue  # another thread or process makes it just now
            with contextlib.suppress(OSError):
                if entry.name.startswith(_NEW) or _drop_journal(Path(entry.path)):
                    files.remove_tree(entry.path)
                else:
                    _put_back(run_dir, Path(entry.path))
            os.close(fd)
