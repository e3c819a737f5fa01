"""`run.json` as every layer reads it: the fields that are good, and in words what is wrong with the rest."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import host, inside
from steno.errors import CorruptError, UsageError
from steno.record import FORMAT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE: Final = "run.json"
_ALONE_SECS: Final = 5.0
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LAST_SECOND: Final = 2**33
"""Since 1970; what is beyond is no moment that this was written in, and more than a time in nanoseconds can hold."""


def spelt(number: int) -> str:
    """128 bits as 26 characters, as an id has them."""
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -5, -5))


def derived_id(family: str, name: str) -> str:
    """The identity of a job's run of that name: alike on all hosts, whoever begins it."""
    state = hashlib.sha256(f"{family}\0{name}".encode(errors="surrogateescape"))
    return spelt(int.from_bytes(state.digest()[:16], "big"))


@contextlib.contextmanager
def alone(run_dir: Path) -> Iterator[bool]:
    """Keep `init` and others from beginning anything in the run's project, as far as the file system can lock.

    What it gives is whether it is so; False: somebody else has been at it for five seconds.

    Raises:
        OSError: the project's directory cannot be opened.
    """
    name = str(read(run_dir)[0].get("name") or "")
    depth = len(Path(name).parts) if name and run_dir.as_posix().endswith(f"/{name}") else 1
    fd = os.open(run_dir.parents[depth - 1], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield host.await_lock(fd, _ALONE_SECS)
    finally:
        os.close(fd)


def read(run_dir: Path) -> tuple[dict[str, Any], str]:
    """(the fields that are good; what is wrong, as one line, or ""). Without the file, nothing and nothing."""
    path = os.path.join(run_dir, FILE)
    try:
        data = inside.read(path)
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"{path} cannot be read: {error.strerror or error}"
    except CorruptError as error:
        return {}, str(error)
    return parsed(data, path)


def parsed(data: bytes, path: str) -> tuple[dict[str, Any], str]:
    """What the bytes of a `run.json` say, as `read` gives it; `path` is for the line."""
    try:
        found = inside.decoded(data)
    except (ValueError, RecursionError) as error:
        return {}, f"{path} is not JSON ({error}): put an intact copy in its place"
    if not isinstance(found, dict):
        return {}, f"{path} holds {_kind(found)} and must hold an object: put an intact copy in its place"
    # What is null is not there.
    there = {name: value for name, value in found.items() if value is not None}
    good = {name: value for name, value in there.items() if name not in _FIELDS or _FIELDS[name][1](value)}
    wrong = [
        f"{name!r} is {_kind(value)} and must be {_FIELDS[name][0]}"
        for name, value in there.items()
        if name not in good
    ]
    return good, f"{path}: {', '.join(wrong)}; what is wrong is left out, mend it there" if wrong else ""


def require_format(run_dir: Path, *, writing: bool = False) -> None:
    """Refuse a run that another steno must read, or, for one who would write into it, that another one has started.

    Raises:
        UsageError: it has a format that is not ours.
    """
    found = read(run_dir)[0].get("format", FORMAT)
    if isinstance(found, int) and found != FORMAT and (writing or found > FORMAT):
        what = "goes on with" if writing and found < FORMAT else "reads"
        raise UsageError(
            f"{run_dir} has format {found}, and this steno {what} format {FORMAT}: use the steno that wrote it"
        )


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return names[type(value)]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_moment(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value) and 0 <= value < _LAST_SECOND
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LAST_SECOND * 10**9


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_FIELDS: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "id": ("a text", _is_text),
    "name": ("a text", _is_text),
    "project": ("a text", _is_text),
    "created": ("a moment in seconds", _is_moment),
    "config": ("an object", _is_object),
    "tags": ("a list of texts", _are_texts),
    "notes": ("a text", _is_text),
    "group": ("a text", _is_text),
    "command": ("a text", lambda value: _is_text(value) or _are_texts(value)),
    "git": ("an object", _is_object),
    "environment": ("an object", _is_object),
    "layout": ("a text", _is_text),
    "family": ("an object", _is_object),
}
