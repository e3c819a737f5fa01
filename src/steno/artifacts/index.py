"""What collectors say of artifacts, a line each, for the processes that wait for it: `nodes/ID/artifacts.jsonl`.

    {"id": .., "name": .., "record": .., "step": .., "attempt": .., "target": ..}     it is posted, the name taken
    {"id": .., "digest": .., "size": ..}  {"id": .., "linked": true}                  it is complete
    {"id": .., "error": "FileExistsError", "reason": ..}                              it came to nothing

Derived from the ledger: a collector writes the file anew when it starts, and appends from then on.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from steno import files, inside, machinery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

NAME: Final = "artifacts.jsonl"


class IndexWriter:
    """Writes a node's index; for the posting thread of its collector.

    Args:
        path: the file.
        lines: what it says to begin with.

    Raises:
        OSError: no space.
    """

    def __init__(self, path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
        files.replace(path, b"".join(map(_line, lines)))
        self._path = path
        self._pending: list[bytes] = []
        self._torn = False

    def add(self, line: Mapping[str, Any]) -> None:
        """Say something with the next `write`."""
        self._pending.append(_line(line))

    def write(self) -> None:
        """Append what was added; what there is no room for stays pending."""
        if not self._pending:
            return
        data = (b"\n" if self._torn else b"") + b"".join(self._pending)
        with contextlib.suppress(OSError):
            self._torn = True
            if files.append(self._path, data) == len(data):
                self._torn = False
                self._pending.clear()


def _line(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


class IndexReader:
    """Reads what is new in the index files of all nodes. Guarded by its owner; costs a `stat` per node."""

    def __init__(self, run_dir: Path, on_line: Callable[[dict[str, Any]], None]) -> None:
        self._nodes = run_dir / ".steno" / "nodes"
        self._on_line = on_line
        self._places: dict[str, tuple[int, int]] = {}
        self._is_over = False
        """What the run had put away was told."""

    def look(self) -> None:
        """Tell each line that was not told yet; after a collector's restart its old ones again."""
        if not self._is_over and not self._nodes.exists():
            self._is_over = True
            for line in _put_away(self._nodes.parent.parent):
                found = _read(line)
                if found is not None:
                    self._on_line(found)
        for path in _files(self._nodes):
            inode, at = self._places.get(path, (0, 0))
            try:
                state = os.stat(path)
                if state.st_ino == inode and state.st_size <= at:
                    continue
                with open(path, "rb") as file:
                    opened = os.fstat(file.fileno())
                    if opened.st_ino != inode or opened.st_size < at:
                        at = 0
                    file.seek(at)
                    for line in _lines(file):
                        at += len(line)
                        found = _read(line)
                        if found is not None:
                            self._on_line(found)
            except OSError:
                continue
            self._places[path] = (opened.st_ino, at)


def outcome(run_dir: Path, id: str) -> dict[str, Any] | None:
    """What came of one artifact; None: nothing yet."""
    token = id.encode()
    for path in _files(run_dir / ".steno" / "nodes"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            for line in _lines(file):
                if token in line:
                    found = _read(line)
                    if found is not None and found.get("id") == id and "name" not in found:
                        return found
    for line in _put_away(run_dir):
        found = _read(line)
        if found is not None and found.get("id") == id and "name" not in found:
            return found
    return None


def _put_away(run_dir: Path) -> list[bytes]:
    """The lines of a run that has put its machinery away."""
    held = machinery.packed(run_dir).items()
    return [line for name, text in held if name.endswith(f"/{NAME}") for line in text.encode().splitlines()]


def _files(nodes: Path) -> Iterator[str]:
    try:
        names = os.listdir(nodes)
    except OSError:
        return
    for name in names:
        if inside.node(name) is not None:
            yield f"{nodes}/{name}/{NAME}"


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The whole lines from here on."""
    for line in file:
        if line.endswith(b"\n"):
            yield line


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None  # torn by a full disk
    return found if isinstance(found, dict) and isinstance(found.get("id"), str) else None
