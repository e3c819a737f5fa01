"""`edits.jsonl`: what people changed of a run's name, tags, notes, colour, or whether it is archived.

    {"time": "2026-11-30T15:37:29.123456Z", "by": "anna@host", "field": "notes", "value": "diverged"}

One line for each change, added by one write of at most 4 KiB. The last line of a field wins, so writers need no lock.
`tags` has a list of all tags, or {"add": […], "remove": […]}, so that two who add a tag together lose neither.
A line that is none of this, as one that a full disk tore, costs itself alone. In an object store each line is an
object of its own below `edits/`. Collectors neither read nor write them, and `run.json` stays as it was recorded.
"""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno import files, host, inside, names
from steno.errors import CorruptError, StenoError, UsageError
from steno.utf8 import brief, escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

FILE: Final = "edits.jsonl"
FOLDER: Final = "edits"
"""In an object store, where each edit is an object."""
LINE_BYTES: Final = 4096
MOST_BYTES: Final = 16 << 20
"""Of a file that is larger its last bytes are read: what was edited last wins."""
_LONGEST_TAG: Final = 200
_LONGEST_AUTHOR: Final = 200
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}\Z")


@dataclass(frozen=True, slots=True)
class Edit:
    """One change; `value` is what `checked` lets pass."""

    field: str
    value: Any
    time: str
    by: str


# -- what may be changed ----------------------------------------------------------------------------------


def checked(field: str, value: Any) -> Any:
    """The value as it is written down.

    Raises:
        UsageError: there is no such field, or it cannot have this value.
    """
    check = _CHECKS.get(field) if isinstance(field, str) else None
    if check is None:
        raise UsageError(f"{field!r} cannot be edited; the fields that can are {', '.join(_CHECKS)}")
    return check(value)


def _name(value: Any) -> str:
    return "" if value == "" else names.check(value)


def _tags(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() <= {"add", "remove"}:
        return {name: _list(tags) for name, tags in value.items()}
    return _list(value)


def _list(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(tag, str) for tag in value):
        raise UsageError(f"tags are a list of texts, not {brief(value)}")
    tags = list(dict.fromkeys(map(escaped, value)))
    for tag in tags:
        if not tag.strip() or len(tag) > _LONGEST_TAG:
            raise UsageError(f"the tag {tag[:80]!r} cannot be used: a tag has 1 to {_LONGEST_TAG} characters")
    return tags


def _notes(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"notes are a text, not {type(value).__name__}")
    return escaped(value)


def _archived(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"archived is true or false, not {brief(value)}")
    return value


def _colour(value: Any) -> str:
    if value == "" or (isinstance(value, str) and _COLOUR.match(value)):
        return str(value).lower()
    raise UsageError(f"the colour {brief(value)} cannot be used: it is given as #rrggbb, such as '#0072b2'")


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "name": _name,
    "tags": _tags,
    "notes": _notes,
    "archived": _archived,
    "colour": _colour,
}


# -- lines ------------------------------------------------------------------------------------------------


def lines(changes: Mapping[str, Any], by: str | None = None) -> list[bytes]:
    """A line for each change, by field.

    Args:
        changes: new values by field.
        by: who makes them; None: this user on this machine.

    Raises:
        UsageError: a field is not known, cannot have this value, or its value is too long for a line.
    """
    now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    author = escaped(_author() if by is None else by)[:_LONGEST_AUTHOR]
    made = []
    for field, value in changes.items():
        said = {"time": now, "by": author, "field": field, "value": checked(field, value)}
        line = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(line) >= LINE_BYTES:  # one byte is left for the end of a torn line before it
            over = len(line) + 1 - LINE_BYTES
            raise UsageError(f"the new {field} is {over:,} bytes too long: an edit is one line of {LINE_BYTES:,} bytes")
        made.append(line)
    return made


def _author() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # nobody by that number
        user = str(os.getuid())
    return f"{user}@{host.name()}"


def of_line(line: bytes) -> Edit | None:
    """What a line says; None: it is no edit."""
    if not line.strip() or len(line) > LINE_BYTES:
        return None
    try:
        said = json.loads(line)
        field, value = said["field"], checked(said["field"], said["value"])
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    return Edit(field, value, _short(said.get("time")), _short(said.get("by")))


def _short(value: Any) -> str:
    return escaped(value)[:_LONGEST_AUTHOR] if isinstance(value, str) else ""


def add(run_dir: Path, made: Iterable[bytes]) -> None:
    """Add lines to the run's file, durably.

    Raises:
        StenoError: there is no room, no right to write, or what lies there is no file.
    """
    path = run_dir / FILE
    try:
        for line in made:
            files.append_line(path, line)
    except OSError as error:
        raise StenoError(f"the edit was not written to {path}: {error.strerror or error}") from error


def read(run_dir: Path | str) -> tuple[list[Edit], str]:
    """(the run's edits, oldest first; what is wrong with the file, as one line, or "")."""
    path = os.path.join(run_dir, FILE)
    try:
        data = inside.read_end(path, MOST_BYTES)
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        return [], f"{path} cannot be read: {error.strerror or error}"
    except CorruptError as error:
        return [], str(error)
    return [edit for edit in map(of_line, data.split(b"\n")) if edit is not None], ""


# -- what they make of a run ------------------------------------------------------------------------------


def shown(run_dir: Path | str, run: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """(the fields of a `run.json` as people have edited them; what is wrong with the edits, or "")."""
    found, wrong = read(run_dir)
    return applied(run, found), wrong


def applied(run: Mapping[str, Any], found: Iterable[Edit]) -> dict[str, Any]:
    """The fields of a `run.json` after these edits; `archived` and `colour` are only ever edited."""
    last: dict[str, Any] = {"archived": False, "colour": ""}
    tags = dict.fromkeys(run.get("tags") or ())
    for edit in found:
        if edit.field != "tags":
            last[edit.field] = edit.value
        elif isinstance(edit.value, dict):
            for tag in edit.value.get("remove", ()):
                tags.pop(tag, None)
            tags.update(dict.fromkeys(edit.value.get("add", ())))
        else:
            tags = dict.fromkeys(edit.value)
    if not last.get("name"):
        last.pop("name", None)  # as it was recorded
    return {**run, **last, "tags": list(tags)}
