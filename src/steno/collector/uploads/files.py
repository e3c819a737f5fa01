"""What of a run belongs into its stores as it is: files that are whole and will not change under their name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steno import inside
from steno.errors import CorruptError
from steno.ledger.bins_name import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from steno.ledger.snapshot import Part

STORE: Final = "store"
ARTIFACTS: Final = "artifacts"
ROLES: Final = (STORE, ARTIFACTS)
"""What a store was asked for: the run, or its artifacts alone."""
_UNFINISHED: Final = ".raw"
"""A media value that is not encoded yet."""


@dataclass(frozen=True, slots=True)
class Belonging:
    """One file; `key` is its path from the run directory, and its object's key."""

    key: str
    path: Path
    size: int
    mtime_ns: int


def of_run(run_dir: Path, parts: Iterable[Part], roles: Iterable[str]) -> dict[str, list[Belonging]]:
    """By role, what belongs there now. What goes away while this looks is left out.

    Args:
        run_dir: the run's directory.
        parts: the sealed parts to take.
        roles: the stores that were asked for; artifacts go to their own store alone where there is one.
    """
    asked = set(roles)
    found: dict[str, list[Belonging]] = {role: [] for role in asked}
    for role in asked:
        found[role] += _files(run_dir, names_of(part.name for part in parts if is_for(role, part.kind)))
    if STORE in asked:
        found[STORE] += _below(run_dir, "media")
    role = ARTIFACTS if ARTIFACTS in asked else STORE
    if role in asked:
        found[role] += _below(run_dir, "artifacts")
    return found


def names_of(parts: Iterable[str]) -> Iterator[str]:
    """The names of parts, and of the files of bins that may lie next to them."""
    for name in parts:
        yield name
        if name.startswith("metrics/"):
            yield name_of(name)


def is_for(role: str, kind: str) -> bool:
    """Whether parts of that kind go there: the artifacts' own store gets the entries that name them, no points."""
    return role == STORE or kind == "records"


def _files(run_dir: Path, names: Iterable[str]) -> Iterator[Belonging]:
    for name in names:
        try:
            path = inside.path(run_dir, name)
            state = os.lstat(path)
        except (OSError, CorruptError):
            continue
        yield Belonging(name, path, state.st_size, state.st_mtime_ns)


def _below(run_dir: Path, folder: str) -> Iterator[Belonging]:
    try:
        found = sorted(os.scandir(run_dir / folder), key=lambda one: one.name)
    except OSError:
        return
    for entry in found:
        if entry.name.startswith(".") or entry.name.endswith(_UNFINISHED):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _below(run_dir, f"{folder}/{entry.name}")
            elif entry.is_file(follow_symlinks=False):
                state = entry.stat(follow_symlinks=False)
                yield Belonging(f"{folder}/{entry.name}", Path(entry.path), state.st_size, state.st_mtime_ns)
        except OSError:
            continue
