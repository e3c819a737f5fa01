"""Whether some process records into a run now."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import time
from pathlib import Path
from typing import Final

from steno.capture.files import load_json, scan

_STIR_SECS: Final = 60.0
_GETLK: Final = struct.Struct("hhqqi4x")


def is_live(run_dir: Path) -> bool:
    """Whether another process holds its journal of this run open.

    Thread-safe. Never opens a lock file of this very process: closing it would drop the lock.
    """
    journal = run_dir / ".steno" / "journal"
    here = os.uname().nodename
    for entry in scan(journal):
        if entry.name.startswith("."):
            continue
        if entry.name.endswith(".pointer"):
            data = load_json(Path(entry.path))
            alive = Path(str(data.get("path", ""))) / "alive"
            stream = entry.name.removesuffix(".pointer")
            if data.get("host") != here:
                # Another machine's private disk: all that can be seen is whether its records still come.
                if _stirs(run_dir):
                    return True
                continue
        else:
            alive, stream = Path(entry.path) / "alive", entry.name
        host, _, rest = stream.rpartition("-")[0].rpartition("-")
        pid = int(rest) if rest.isdecimal() else 0
        local = host == _safe(here)
        if local and pid == os.getpid():
            # Our own file: opening and closing it would drop our lock. A run that this process has
            # finished is not live by us, and init finishes the current one first.
            continue
        if _held(alive, pid if local else 0):
            return True
    return False


def _held(alive: Path, pid: int) -> bool:
    """Whether the stream's process holds its lock; pid 0: any process on any machine."""
    holder = _posix_holder(alive)
    # A holder of 0 or below is in another container or on another machine; any other process than the
    # stream's own is one that asks, as we do.
    return holder is not None and (pid == 0 or holder <= 0 or holder == pid)


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock, of either sort, on the file.

    Asked without taking it, where the system can tell, so that a process that wants it is not turned away.
    """
    try:
        identity = os.stat(path)
    except OSError:
        return False
    if _posix_holder(path) is not None:
        return True
    wanted = f":{identity.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as table:
            return any(
                (fields := line.split())[1] == "FLOCK" and fields[5].endswith(wanted)
                for line in table
                if "FLOCK" in line
            )
    except (OSError, IndexError):
        pass
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def _posix_holder(path: Path) -> int | None:
    """The pid of the process that holds a POSIX lock on the file; None: nobody does.

    Asked by F_GETLK, which takes no lock: two who ask at once do not see each other.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if sys.platform != "linux":
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return 0
            return None
        answer = fcntl.fcntl(fd, fcntl.F_GETLK, _GETLK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        kind, _, _, _, holder = _GETLK.unpack(answer)
        return None if kind == fcntl.F_UNLCK else int(holder)
    except OSError:
        return None
    finally:
        os.close(fd)


def _stirs(run_dir: Path) -> bool:
    for node in scan(run_dir / ".steno" / "nodes"):
        with contextlib.suppress(OSError):
            if time.time() - os.stat(os.path.join(node.path, "status.json")).st_mtime < _STIR_SECS:
                return True
    return False


def _safe(host: str) -> str:
    """The host as streams are named by it."""
    return "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in host)[:64] or "host"
