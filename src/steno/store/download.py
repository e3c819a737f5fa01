"""Copies of artifacts outside the run: whole or not at all, and proved by their digest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steno import files, paths
from steno.errors import CorruptError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from steno.artifacts.content import DirectoryFile, Manifest

_CHUNK_BYTES: Final = 4 << 20


def file(source: Path, to: str | os.PathLike[str], *, digest: str | None, mode: int, overwrite: bool) -> Path:
    """Copy one file; see `Artifact.download`."""
    target = Path(paths.local("to", to))
    if target.is_dir():
        msg = f"{target} is a directory: name a file"
        raise UsageError(msg)
    _check(target, overwrite)
    hidden = files.temporary_path(target)
    try:
        _copy(source, hidden, digest, mode)
        if overwrite:
            files.rename(hidden, target)
        else:
            _publish(hidden, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        files.unlink(hidden, missing_ok=True)
    return target


def tree(
    manifest: Manifest,
    members: Iterable[tuple[DirectoryFile, Path]],
    to: str | os.PathLike[str],
    *,
    verified: bool,
    overwrite: bool,
) -> Path:
    """Make a directory as the manifest says; see `Artifact.download`. `verified`: contents are named by digests."""
    target = Path(paths.local("to", to))
    _check(target, overwrite)
    hidden = files.temporary_path(target)
    aside = None
    try:
        hidden.mkdir()
        for name in manifest.dirs:
            _inside(hidden, name).mkdir(parents=True, exist_ok=True)
        for one, source in members:
            path = _inside(hidden, one.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, path, one.content if verified else None, one.mode)
        # Last: nothing is written through a link.
        for name, leads in manifest.links:
            path = _inside(hidden, name)
            _inside(hidden, os.path.normpath(os.path.join(os.path.dirname(name), leads)))
            path.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(leads, path)
        if overwrite and (target.exists() or target.is_symlink()):
            aside = files.temporary_path(target)
            files.rename(target, aside)
        files.rename(hidden, target)
    except OSError as error:
        if aside is not None and not target.exists():
            files.rename(aside, target)
        raise _unwritable(target, error) from error
    finally:
        files.remove_tree(hidden)
    if aside is not None:
        if aside.is_dir() and not aside.is_symlink():
            files.remove_tree(aside)
        else:
            files.unlink(aside, missing_ok=True)
    return target


def _check(target: Path, overwrite: bool) -> None:
    if not overwrite and (target.exists() or target.is_symlink()):
        msg = f"{target} is there already; name another place, or ask to have it replaced"
        raise UsageError(msg)


def _publish(hidden: Path, target: Path) -> None:
    """Give the copy its name, unless somebody has taken that meanwhile."""
    try:
        files.link(hidden, target)
    except FileExistsError:
        msg = f"{target} is there already, since a moment ago"
        raise UsageError(msg) from None
    except OSError:
        files.rename(hidden, target)  # no hard links here


def _copy(source: Path, target: Path, digest: str | None, mode: int) -> None:
    state = hashlib.sha256()
    try:
        data = open(source, "rb", buffering=0)  # noqa: SIM115 - closed below; its error is another one than the target's
    except FileNotFoundError as error:
        msg = f"the content {source} is not there"
        raise CorruptError(msg) from error
    with data, open(target, "xb") as out:
        while chunk := data.read(_CHUNK_BYTES):
            state.update(chunk)
            out.write(chunk)
        os.fchmod(out.fileno(), mode & 0o777)
    if digest is not None and state.hexdigest() != digest:
        msg = f"the content {source} is damaged: its digest is {state.hexdigest()}"
        raise CorruptError(msg)


def _inside(top: Path, name: str) -> Path:
    """The path of a relative name; a manifest that leads elsewhere is damaged, or worse."""
    parts = name.split("/")
    if os.path.isabs(name) or ".." in parts or "" in parts or "\0" in name:
        msg = f"the manifest names {name!r}, which leads out of the directory"
        raise CorruptError(msg)
    return top / name


def _unwritable(target: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write {target}: {error.strerror or error}")
