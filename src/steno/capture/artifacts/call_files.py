"""An artifact's files, each for the time of one call: complete, and there whatever becomes of the original."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any, Final

from steno import files
from steno.artifacts.content import MANIFEST, STAGING, Manifest, find, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_TRIES: Final = 5
"""A snapshot may become stored content between two looks; that happens once."""


def files_for_call(run_dir: Path, payload: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """(name, path) of an artifact's file, or of each file of a directory, named under the directory's name.

    A path is a hard link of its own, or a copy where the file system has no links, and goes when the next one is
    asked for. They lie with the process's snapshots, whose leftovers the collector removes when it has died.

    Raises:
        OSError: the artifact came to nothing, or there is no room for a copy.
    """
    name, parent = str(payload["name"]), run_dir / STAGING / str(payload["id"]).rpartition("/")[0]
    parent.mkdir(parents=True, exist_ok=True)
    room = tempfile.mkdtemp(prefix="call-", dir=parent)
    try:
        if payload["op"] == "file":
            target = _in(room, str(payload.get("source") or name))
            _link(lambda: _found(run_dir, payload), target)
            yield name, target
            return
        for number, listed in enumerate(_manifest(run_dir, payload).files):
            target = _in(room, listed.name)
            _link(lambda at=number: _member(run_dir, payload, at), target)  # type: ignore[misc]
            yield f"{name}/{listed.name}", target
            files.unlink(target, missing_ok=True)
    finally:
        files.remove_tree(room)


def _in(room: str, name: str) -> Path:
    from pathlib import Path

    return Path(room, os.path.basename(name) or "file")


def _found(run_dir: Path, payload: Mapping[str, Any]) -> Path:
    path = find(run_dir, payload)
    if path is None:
        msg = f"the artifact {payload['name']!r} came to nothing: its file is gone"
        raise FileNotFoundError(msg)
    return path


def _manifest(run_dir: Path, payload: Mapping[str, Any]) -> Manifest:
    for _ in range(_TRIES - 1):
        try:
            return Manifest.read(_found(run_dir, payload))
        except FileNotFoundError:
            if find(run_dir, payload) is None:
                raise
    return Manifest.read(_found(run_dir, payload))


def _member(run_dir: Path, payload: Mapping[str, Any], number: int) -> Path:
    """A directory's file: next to the manifest of a snapshot, under its digest once that is stored."""
    path = _found(run_dir, payload)
    content = Manifest.read(path).files[number].content
    return path.parent / content if path.name == MANIFEST else place(run_dir, content)


def _link(source: Callable[[], Path], target: Path) -> None:
    for left in reversed(range(_TRIES)):
        path = source()
        try:
            try:
                files.link(path, target)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copyfile(path, target)
        except FileNotFoundError:
            if not left:
                raise
        else:
            return
