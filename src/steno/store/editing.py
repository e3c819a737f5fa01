"""Editing a run: what people call it and say of it, in its directory or in its object store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno import edits
from steno.errors import UsageError
from steno.store.runs import is_run
from steno.utf8 import brief

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from steno.store.remote import Remote


def changes(
    *,
    name: str | None,
    tags: str | Iterable[str] | None,
    add_tags: str | Iterable[str] | None,
    remove_tags: str | Iterable[str] | None,
    notes: str | None,
    archived: bool | None,
    colour: str | None,
) -> dict[str, Any]:
    """The new values by field, of those that are given.

    Raises:
        UsageError: `tags` together with `add_tags` or `remove_tags`.
    """
    given = {"name": name, "notes": notes, "archived": archived, "colour": colour}
    found: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    more = {"add": add_tags, "remove": remove_tags}
    added = {kind: _list(value) for kind, value in more.items() if value is not None}
    if tags is not None and added:
        raise UsageError("tags= gives all tags of a run: leave out add_tags= and remove_tags=, or tags=")
    if tags is not None:
        found["tags"] = _list(tags)
    elif added:
        found["tags"] = added
    return found


def _list(tags: str | Iterable[str]) -> list[str]:
    if isinstance(tags, str):
        return [tags]
    try:
        return list(tags)
    except TypeError:
        raise UsageError(f"tags are a list of texts, not {brief(tags)}") from None


def edit(run_dir: Path, remote: Remote | None, wanted: dict[str, Any], by: str | None) -> None:
    """Write the changes down.

    Raises:
        UsageError: a value that cannot be, a line that is too long, or a name that the project has already.
        StenoError: it cannot be written.
    """
    made = edits.lines(wanted, by)
    name = wanted.get("name")
    if remote is not None:
        remote.edit(made)
        return
    other = run_dir.absolute().parent / name if name else None
    if other is not None and other.name != run_dir.absolute().name and is_run(other):
        raise UsageError(f"{other} is a run already: choose a name that no other run of the project has")
    edits.add(run_dir, made)
