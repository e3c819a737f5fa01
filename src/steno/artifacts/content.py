"""Where an artifact's bytes are: under their digest, or still in the snapshot that was taken at the call."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno import files, inside
from steno.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

STAGING: Final = ".steno/staging"
"""Under the run directory: a directory for each stream, in it the snapshots of its process."""
CONTENT: Final = "artifacts"
MANIFEST: Final = "manifest.json"
"""In a directory's snapshot, what it holds; stored, it is the directory's content."""
_CHUNK_BYTES: Final = 4 << 20
_STEPS: Final = 10_000
"""In which a link leads to something, or in circles."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def place(run_dir: Path, digest: str) -> Path:
    """The file of that digest (64 hexadecimal digits of SHA-256), there or not.

    Raises:
        CorruptError: it is no digest, or a symbolic link is in the way.
    """
    return inside.path(run_dir, key(digest))


def key(digest: str) -> str:
    """The content's path from the run directory, and its key in an object store. Raises CorruptError as `place`."""
    if not is_digest(digest):
        raise CorruptError(f"the run names a content {digest!r}, which is no digest")
    return f"{CONTENT}/{digest[:2]}/{digest}"


def digest_in(key: str) -> str | None:
    """The digest of the content that has this key in an object store, by the key alone; None: it is no content's."""
    folder, _, name = key.rpartition("/")
    return name if is_digest(name) and folder == f"{CONTENT}/{name[:2]}" else None


def is_digest(digest: object) -> bool:
    """Whether it is one."""
    return isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None


def snapshot(run_dir: Path, payload: Mapping[str, Any]) -> Path:
    """Where the snapshot of a `file` entry lies, or a directory's manifest, there or not.

    Raises:
        CorruptError: the entry names another place than one of its own process's in STAGING.
    """
    name, stream = payload.get("file"), str(payload.get("id")).rpartition("/")[0]
    tail = f"/{MANIFEST}" if payload.get("op") == "dir" else ""
    if not isinstance(name, str) or not re.fullmatch(rf"{re.escape(f'{STAGING}/{stream}')}/\d{{1,18}}{tail}", name):
        raise CorruptError(f"an artifact's entry names the snapshot {name!r}, which is none of {stream!r}")
    return inside.path(run_dir, name)


def remove(path: Path) -> None:
    """Take a snapshot away: the file; of a directory's, what its manifest lists, and then that."""
    if path.name != MANIFEST:
        files.unlink(path, missing_ok=True)
        return
    files.clear(path.parent, lambda name: name == MANIFEST or inside.number(name) is not None)


def find(run_dir: Path, payload: Mapping[str, Any], digest: str | None = None) -> Path | None:
    """An existing file with the bytes of a `file` entry, or a directory's manifest; None when there is none (yet).

    The bytes do not change, so that a hard link to the path is as good as a copy. The snapshot's path goes once
    the content has its own: link or open it at once, and look again when it has gone meanwhile.

    Args:
        run_dir: the run's directory.
        payload: of an entry of kind "artifact" with op "file" or "dir".
        digest: of the content, where it is known; else the run's index files are asked when the snapshot is gone.

    Raises:
        CorruptError: the digest is none.
    """
    from steno.artifacts.index import outcome

    for _ in range(2):
        if digest is not None:
            path = place(run_dir, digest)
            if path.exists():
                return path
        with contextlib.suppress(CorruptError):  # one that leads elsewhere is nothing
            staged = snapshot(run_dir, payload)
            if staged.exists():
                return staged
        found = outcome(run_dir, str(payload["id"]))
        digest = None if found is None else found.get("digest")
        if digest is None:
            return None
    return None


def digest_of(path: str | os.PathLike[str], progress: Callable[[int], bool] = lambda _: True) -> tuple[str, int]:
    """(SHA-256 in 64 hexadecimal digits, size in bytes) of a file.

    `told` is given the bytes of each piece; where it says False the work is given up by InterruptedError.
    """
    state = hashlib.sha256()
    size = 0
    with open(inside.opened(path), "rb", buffering=0) as file:
        buffer = bytearray(min(_CHUNK_BYTES, max(os.fstat(file.fileno()).st_size, 1 << 12)))
        view = memoryview(buffer)
        while (count := file.readinto(buffer)) > 0:
            state.update(view[:count])
            size += count
            if not progress(count):
                raise InterruptedError
    return state.hexdigest(), size


@dataclass(frozen=True, slots=True)
class DirectoryFile:
    """One file of a directory."""

    name: str
    """Relative to the directory, parts set apart by "/"; bytes that are no UTF-8 as surrogates."""
    content: str
    """In a snapshot the file's name next to the manifest, in stored content its digest."""
    size: int
    mode: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a directory holds."""

    files: tuple[DirectoryFile, ...] = ()
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
        """Raises OSError, or ValueError for a file that is no manifest, or names what is not inside the directory."""
        try:
            found = json.loads(inside.read(path))
            read = cls(
                files=tuple(DirectoryFile(str(a), str(b), int(c), int(d)) for a, b, c, d in found["files"]),
                links=tuple((str(a), str(b)) for a, b in found["links"]),
                dirs=tuple(map(str, found["dirs"])),
                skipped=tuple((str(a), str(b)) for a, b in found["skipped"]),
            )
            read._require_inside(snapshotted=path.name == MANIFEST)
            return read
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, CorruptError) as error:
            msg = f"{path} is not the manifest of a directory: {error!r}"
            raise ValueError(msg) from error

    def _require_inside(self, *, snapshotted: bool) -> None:
        """Raise ValueError where a name leads out of the directory, or goes through one of its links."""
        links = dict(self.links)
        for name in (*(one.name for one in self.files), *links, *self.dirs):
            steps = [inside.name(step) for step in name.split("/")]
            if any("/".join(steps[:count]) in links for count in range(1, len(steps))):
                raise ValueError(f"{name!r} goes through a link")
        for name, target in self.links:
            if "\0" in target or not _leads_inside(name, links):
                raise ValueError(f"the link {name!r} leads to {target!r}")
        for one in self.files:
            good = inside.number(one.content) is not None if snapshotted else is_digest(one.content)
            if not good or one.size < 0:
                raise ValueError(f"{one.name!r} has the content {one.content!r}")


def _leads_inside(name: str, links: Mapping[str, str]) -> bool:
    """Whether a link of a directory leads to something inside, by way of its other links too, as a kernel follows."""
    at, steps = name.split("/")[:-1], links[name].split("/")[::-1]
    if not steps[-1]:
        return False  # an absolute path
    for _ in range(_STEPS):
        if not steps:
            return True
        step = steps.pop()
        if step in {"", "."}:
            continue
        if step != "..":
            at.append(step)
            further = links.get("/".join(at))
            if further is not None:
                at.pop()
                if further.startswith("/"):
                    return False
                steps += further.split("/")[::-1]
        elif at:
            at.pop()
        else:
            return False
    return False


def _name(one: DirectoryFile) -> str:
    return one.name
