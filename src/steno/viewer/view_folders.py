"""Where views are kept: small files by name, in a folder next to the runs of a directory or of an object store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from steno import files, inside
from steno.errors import UsageError
from steno.store import engines
from steno.store.folder import ObjectFolder

if TYPE_CHECKING:
    from collections.abc import Mapping


class ViewFolder(Protocol):
    """One folder. Each raises OSError or StenoError where it cannot be done."""

    def versions(self) -> Mapping[str, str]:
        """Another text for each name after each change of it."""

    def read(self, name: str, most_bytes: int, /) -> bytes:
        """A file's content. Raises FileNotFoundError."""

    def create(self, name: str, data: bytes, /) -> bool:
        """Write a file unless it is there; whether it was written."""

    def replace(self, name: str, data: bytes, /) -> None:
        """Write a file, whether it is there or not."""

    def call(self, name: str, to: str, most_bytes: int, /) -> None:
        """Give a file another name. Raises FileNotFoundError, FileExistsError."""

    def remove(self, name: str, /) -> None:
        """Remove a file. Raises FileNotFoundError."""


def folder_of(root: Path | str, folder: str) -> ViewFolder:
    """The folder next to the runs of a place; a text is a URL. Raises UsageError for a URL that is none."""
    if not isinstance(root, str):
        return _Directory(root / folder)
    if engines.is_of_one(root):
        return _Nowhere()
    protocol, _, rest = root.partition("://")
    return _Directory(Path(rest) / folder) if protocol.lower() in {"file", "local"} else ObjectFolder(root, folder)


class _Directory:
    """A directory, which need not be there yet; no link is followed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def versions(self) -> dict[str, str]:
        inside.refuse_link(self._path)
        found = {}
        with os.scandir(self._path) as entries:
            for one in entries:
                facts = one.stat(follow_symlinks=False)
                found[one.name] = f"{facts.st_ino}:{facts.st_mtime_ns}:{facts.st_size}"
        return found

    def read(self, name: str, most_bytes: int, /) -> bytes:
        return inside.read(self._at(name), most_bytes)

    def create(self, name: str, data: bytes, /) -> bool:
        return files.create_bytes(self._at(name), data, sync=True)

    def replace(self, name: str, data: bytes, /) -> None:
        path = self._at(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, data, sync=True)

    def call(self, name: str, to: str, _: int, /) -> None:
        files.rename_new(self._at(name), self._at(to))

    def remove(self, name: str, /) -> None:
        files.unlink(self._at(name))

    def _at(self, name: str) -> Path:
        inside.refuse_link(self._path)
        return self._path / name


class _Nowhere:
    """A database keeps no files."""

    def versions(self) -> dict[str, str]:
        return {}

    def _refuse(self, *_: Any) -> NoReturn:
        raise UsageError(
            "views are kept next to runs in a directory or a store, and these are in a database: copy the address"
        )

    read = create = replace = call = remove = _refuse
