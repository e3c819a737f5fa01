"""Where an artifact's bytes are: under their digest, or still in the snapshot that was taken at the call."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

STAGING: Final = ".steno/staging"
"""Under the run directory: a directory for each stream, in it the snapshots of its process."""
CONTENT: Final = "artifacts"
MANIFEST: Final = "manifest.json"
"""In a directory's snapshot, what it holds; stored, it is the directory's content."""
_CHUNK_BYTES: Final = 4 << 20


def place(run_dir: Path, digest: str) -> Path:
    """The file of that digest (64 hexadecimal digits of SHA-256)."""
    return run_dir / key(digest)


def key(digest: str) -> str:
    """The content's path from the run directory, and its key in an object store."""
    return f"{CONTENT}/{digest[:2]}/{digest}"


def find(run_dir: Path, payload: Mapping[str, Any], digest: str | None = None) -> Path | None:
    """An existing file with the bytes of a `file` entry, or a directory's manifest; None when there is none (yet).

    The bytes do not change, so that a hard link to the path is as good as a copy. The snapshot's path goes once
    the content has its own: link or open it at once, and look again when it has gone meanwhile.

    Args:
        run_dir: the run's directory.
        payload: of an entry of kind "artifact" with op "file" or "dir".
        digest: of the content, where it is known; else the run's index files are asked when the snapshot is gone.
    """
    from steno.artifacts.index import outcome

    for _ in range(2):
        if digest is not None:
            path = place(run_dir, digest)
            if path.exists():
                return path
        snapshot = run_dir / str(payload["file"])
        if snapshot.exists():
            return snapshot
        found = outcome(run_dir, str(payload["id"]))
        digest = None if found is None else found.get("digest")
        if digest is None:
            return None
    return None


def digest_of(path: str | os.PathLike[str], told: Callable[[int], bool] = lambda _: True) -> tuple[str, int]:
    """(SHA-256 in 64 hexadecimal digits, size in bytes) of a file.

    `told` is given the bytes of each piece; where it says False the work is given up by InterruptedError.
    """
    state = hashlib.sha256()
    size = 0
    buffer = bytearray(min(_CHUNK_BYTES, max(os.stat(path).st_size, 1 << 12)))
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while (count := file.readinto(buffer)) > 0:
            state.update(view[:count])
            size += count
            if not told(count):
                raise InterruptedError
    return state.hexdigest(), size


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of a directory."""

    name: str
    """Relative to the directory, parts set apart by "/"; bytes that are no UTF-8 as surrogates."""
    content: str
    """In a snapshot the file's name beside the manifest, in stored content its digest."""
    size: int
    mode: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a directory holds."""

    files: tuple[Listed, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """(name, target), targets inside the directory."""
    dirs: tuple[str, ...] = ()
    """Directories in which nothing else is."""
    skipped: tuple[tuple[str, str], ...] = ()
    """(name, why)"""

    def encode(self) -> bytes:
        """The same bytes for the same directory, whenever it was snapshotted: JSON, ASCII, sorted by name."""
        return json.dumps(
            {
                "format": 1,
                "files": [[one.name, one.content, one.size, one.mode] for one in sorted(self.files, key=_name)],
                "links": sorted(map(list, self.links)),
                "dirs": sorted(self.dirs),
                "skipped": sorted(map(list, self.skipped)),
            },
            separators=(",", ":"),
        ).encode("ascii")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Raises OSError, or ValueError for a file that is no manifest."""
        try:
            found = json.loads(path.read_bytes())
            return cls(
                files=tuple(Listed(str(a), str(b), int(c), int(d)) for a, b, c, d in found["files"]),
                links=tuple((str(a), str(b)) for a, b in found["links"]),
                dirs=tuple(map(str, found["dirs"])),
                skipped=tuple((str(a), str(b)) for a, b in found["skipped"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{path} is not the manifest of a directory: {error!r}"
            raise ValueError(msg) from error


def _name(one: Listed) -> str:
    return one.name
