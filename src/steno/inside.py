"""Places inside a run: it may come from a stranger, so nothing that it names is taken where it leads out of the run.

Held against a directory that somebody gave away, whatever lies in it; not against somebody who changes it at this very
moment and has this user's rights, who needs no run for his ends.

    name       one part of a path, as a run has it; relative: a path of such
    number     one that is a number
    path       a path below a directory, no symbolic link on the way
    read       a small file, whole; read_end: the end of one of lines
    read_sure  the JSON object in a file, or an error where that cannot be told this moment
    check      the directories of a run's machinery, at the door of everything that reads or writes a run
    is_own     a directory outside the run that a process of the run has made for it
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, Final

import msgspec

from steno.errors import CorruptError
from steno.record import named_node

OWNER: Final = "owner.json"
"""In a directory outside the run: whose it is, as the process wrote it that made the directory."""
MACHINERY: Final = ".steno"
LARGEST_BYTES: Final = 256 << 20
"""Of a file that is read whole; a manifest of 100,000 parts has 30 MB."""
_PASSING: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE}
"""Errors that say nothing of whose a directory is."""
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""No link is followed, and a pipe that lies there holds up nobody."""


def name(text: object) -> str:
    """The text, where it is one part of a path.

    Raises:
        CorruptError: it is none, or would lead elsewhere.
    """
    if not isinstance(text, str) or text in {"", ".", ".."} or "/" in text or "\0" in text:
        raise CorruptError(f"the run names {text!r}, which is no name of a file")
    return text


def relative(text: object) -> str:
    """The text, where it is a relative path, its steps names.

    Raises:
        CorruptError: it is none, or would lead elsewhere.
    """
    for step in text.split("/") if isinstance(text, str) else (text,):
        name(step)
    return str(text)


def number(text: str, below: int = 1 << 31) -> int | None:
    """The number that the text is, as names have it: decimal digits and nothing else; None: it is none."""
    found = int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else below
    return found if found < below else None


def node(text: str) -> int | None:
    """The id of the node whose directory is called so; None: it is no node's."""
    return named_node(text)


def path(root: Path, *parts: object) -> Path:
    """The path below `root` that `parts` name, each of one or several steps; the end need not be there.

    Raises:
        CorruptError: a part is no relative path without "." and "..", or a symbolic link is on the way or at its end.
    """
    place = os.fspath(root)
    for part in parts:
        for step in relative(part).split("/"):
            place = os.path.join(place, step)
            refuse_link(place)
    return Path(place)


def refuse_link(place: str | os.PathLike[str]) -> None:
    """Raise CorruptError for a symbolic link."""
    if os.path.islink(place):
        raise CorruptError(f"{os.fspath(place)} is a symbolic link, and could lead out of the run: a run has none")


def opened(place: str | os.PathLike[str], flags: int = os.O_RDONLY) -> int:
    """The descriptor of a regular file.

    Raises:
        CorruptError: it is a symbolic link, or no file.
        OSError: it is not there, or cannot be opened.
    """
    try:
        fd = os.open(place, flags | _FLAGS, 0o666)
    except OSError:
        refuse_link(place)
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise CorruptError(f"{os.fspath(place)} is no file")
    return fd


def read(place: str | os.PathLike[str], limit_bytes: int = LARGEST_BYTES) -> bytes:
    """A small file's content.

    Raises:
        CorruptError: it is a symbolic link, no file, or larger than `limit_bytes`.
        OSError: it is not there, or cannot be read.
    """
    with open(opened(place), "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit_bytes:
            raise CorruptError(f"{os.fspath(place)} has {size:,} bytes, and at most {limit_bytes:,} are read of it")
        return file.read(size)  # it makes room for as much as it is asked for


def read_end(place: str | os.PathLike[str], limit_bytes: int) -> bytes:
    """The last bytes of a file of lines, from the beginning of a line; all of one that is not larger.

    Raises:
        CorruptError: it is a symbolic link, or no file.
        OSError: it is not there, or cannot be read.
    """
    with open(opened(place), "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - limit_bytes))
        data = file.read(min(size, limit_bytes))
        return data if size <= limit_bytes else data.partition(b"\n")[2]


def decoded(data: bytes) -> Any:
    """JSON as the standard library reads it, at a fifth of its cost where it has no NaN and the like.

    Raises:
        ValueError, RecursionError: it is none.
    """
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return json.loads(data)


def read_object(place: str | os.PathLike[str], limit_bytes: int = LARGEST_BYTES) -> dict[str, Any]:
    """The JSON object in a file; empty when there is none that can be read."""
    try:
        found = decoded(read(place, limit_bytes))
    except (OSError, ValueError, RecursionError, CorruptError):
        return {}
    return found if isinstance(found, dict) else {}


def read_sure(place: str | os.PathLike[str], limit_bytes: int = LARGEST_BYTES) -> dict[str, Any]:
    """As `read_object`, where an error of the system is no answer.

    Raises:
        OSError: this moment nobody can tell, as without a descriptor left.
    """
    try:
        found = decoded(read(place, limit_bytes))
    except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError, RecursionError, CorruptError):
        return {}
    return found if isinstance(found, dict) else {}


def check(run_dir: Path) -> None:
    """Look over a run before it is read or written: its machinery is directories and files, and no link among them.

    What lies deeper has names that the run gives: those go through `path`.

    Raises:
        CorruptError: something is neither.
    """
    machinery = run_dir / MACHINERY
    for place in (run_dir, machinery):
        for entry in _scan(place):
            _require(entry, may_link=place == run_dir)
    for kind in _scan(machinery):
        for entry in _scan(kind.path) if kind.is_dir(follow_symlinks=False) else ():
            _require(entry)
            if kind.name == "nodes" and entry.is_dir(follow_symlinks=False):
                for one in _scan(entry.path):
                    _require(one)


_OURS: Final = frozenset(
    {MACHINERY, "metrics", "records", "media", "artifacts", "run.json", "manifest.json", "edits.jsonl"}
)


def _require(entry: os.DirEntry[str], *, may_link: bool = False) -> None:
    if may_link and entry.name not in _OURS:
        return  # a user may have put what he likes next to our things
    refuse_link(entry.path)
    if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
        raise CorruptError(f"{entry.path} is neither a file nor a directory: a run has no such thing")


def _scan(place: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as found:
            return list(found)
    except OSError:
        return []


def owner(run_dir: Path) -> dict[str, Any]:
    """What stands in OWNER of a directory outside the run. A run that was moved is still itself, a copy is another."""
    facts = os.stat(run_dir)
    return {"run": os.path.realpath(run_dir), "place": [facts.st_dev, facts.st_ino]}


def is_own(place: Path, run_dir: Path) -> bool:
    """Whether that directory outside the run was made for this very run, as it says itself.

    Raises:
        OSError: this moment nobody can tell.
    """
    try:
        if not stat.S_ISDIR(os.lstat(place).st_mode) or not place.is_absolute():
            return False
        said, now = read_sure(place / OWNER, 1 << 16), owner(run_dir)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return False
    return any(said.get(name) == now[name] for name in now)
