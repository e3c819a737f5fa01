"""The machine and its processes: the names that tell them apart, and who holds a lock."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_GETLK: Final = struct.Struct("hhqqi4x")
"""`struct flock` of 64-bit Linux: type, whence, start, length, pid."""
_PLAIN: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""A lock is a plain file: a run from a stranger may have a link or a pipe in its place."""
_NO_LOCK: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM}
"""What opening a lock fails with where there is none, or none for us."""
_MACHINE_IDS: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")


# -- names ------------------------------------------------------------------------------------------------


def name() -> str:
    """The host's name."""
    return os.uname().nodename


def stem() -> str:
    """The host's name as names of streams begin: letters, digits, dots and underscores, at most 64."""
    return "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in name())[:64] or "host"


@functools.cache
def boot_id() -> str:
    """The kernel's name for this boot, "" when unknown: monotonic stamps of another boot say nothing about ours."""
    return _read("/proc/sys/kernel/random/boot_id").decode("ascii", "replace").strip()


@functools.cache
def machine_id() -> str:
    """A digest that tells this installation from others of the same host name; "" when unknown."""
    import hashlib

    for path in _MACHINE_IDS:
        found = _read(path).strip()
        if found:
            return hashlib.sha256(found).hexdigest()[:16]
    return ""


def describe() -> dict[str, str]:
    """What a node's file says of the machine that it is of."""
    return {"host": name(), "machine": machine_id()}


def is_described(facts: Mapping[str, Any]) -> bool:
    """Whether such a file speaks of this machine; an id that one of the two does not know tells nothing."""
    said, own = facts.get("machine"), machine_id()
    return facts.get("host") == name() and (not said or not own or said == own)


def pid_namespace() -> int:
    """The number of the namespace in which this process's id means something; 0 when unknown."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def is_running(pid: int) -> bool:
    """Whether a process of this id is there, a dead one that nobody waited for included."""
    return os.path.exists(f"/proc/{pid}")


def birth(pid: int) -> tuple[int, int] | None:
    """(parent's id, start in clock ticks since boot) of a process: ids come again, pairs of id and start do not."""
    try:
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        return int(fields[1]), int(fields[19])
    except (ValueError, IndexError):
        return None


def lives(pid: int, born: int = 0) -> bool:
    """Whether a process of this id runs that started then (0: at any time); one that has died and was not waited for
    does not.
    """
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if len(fields) > 19:
        return fields[0] not in {b"Z", b"X"} and (not born or int(fields[19]) == born)
    if os.path.isdir("/proc/self"):
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


# -- locks ------------------------------------------------------------------------------------------------


def hold(path: Path) -> int | None:
    """Lock a file, made if need be, until this process ends or closes the descriptor; None: another one holds it.

    A POSIX lock, which a fork does not inherit. The file must not be opened a second time by this process:
    closing it would drop the lock.

    Raises:
        OSError: the file cannot be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | _PLAIN, 0o644)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def hold_again(fd: int) -> None:
    """Take the lock of `hold` again, in case this process has opened and closed the file besides, as a copy does."""
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pass  # whoever asks for it this moment has it for so long


def await_lock(fd: int, secs: float) -> bool:
    """Take the lock of an open file or directory, on a file system that has none too; False: not within the time."""
    deadline = time.monotonic() + secs
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
            continue
        except OSError:
            pass
        return True


def holder(path: Path) -> int | None:
    """The id of the process that holds a POSIX lock on the file; None: no other process does.

    0 or below: one in another container or on another machine. Asked by F_GETLK, which takes no lock, so that two
    who ask do not see each other. Never ask for a file that this process locks: closing it would drop the lock.

    Raises:
        OSError: this moment nobody can tell, as without a descriptor left: the process that holds it may well live.
    """
    linux = sys.platform == "linux"
    try:
        fd = os.open(path, (os.O_RDONLY if linux else os.O_RDWR) | _PLAIN)
    except OSError as error:
        if error.errno in _NO_LOCK:
            return None
        raise
    try:
        if not linux:
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return 0
            return None
        answer = fcntl.fcntl(fd, fcntl.F_GETLK, _GETLK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        kind, _, _, _, pid = _GETLK.unpack(answer)
        return None if kind == fcntl.F_UNLCK else int(pid)
    except OSError:
        return None
    finally:
        os.close(fd)


def is_listed(path: Path, kind: str = "POSIX") -> bool | None:
    """Whether the kernel's table has a lock of that kind ("POSIX" or "FLOCK") on the file; None: it cannot be read.

    The way to ask for a lock of this very process.
    """
    try:
        wanted = f":{os.stat(path).st_ino}"
    except OSError:
        return False
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as table:
            return any(
                kind in fields and any(field.endswith(wanted) for field in fields) for fields in map(str.split, table)
            )
    except OSError:
        return None


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock, of either sort, on the file; True where nobody can tell this moment.

    Asked without taking it, where the system can tell, so that a process that wants it is not turned away.
    """
    try:
        if holder(path) is not None:
            return True
    except OSError:
        return True
    listed = is_listed(path, "FLOCK")
    if listed is not None:
        return listed
    try:
        fd = os.open(path, os.O_RDONLY | _PLAIN)
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
