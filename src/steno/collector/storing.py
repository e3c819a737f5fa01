"""Puts one snapshot's bytes under their digest, each content once."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import threading
from typing import TYPE_CHECKING, Any, Final

from steno import files, inside
from steno.artifacts import content
from steno.artifacts.content import DirectoryFile, Manifest, digest_of, place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE})
"""Faults that pass: the work waits."""


_MADE: Final = re.compile(r"[0-9a-f]{64}|[\w.]+-\d+-[0-9a-f]+-\d+")


def _is_ours(name: str) -> bool:
    """Whether a file of the scratch is a copy on its way to its digest, or a directory's manifest."""
    return _MADE.fullmatch(name) is not None


class Store:
    """The content of one run. Thread-safe; several machines may store together.

    Killed at any instruction, the snapshot is still there and is stored again, to the same end.

    Args:
        run_dir: the run's directory.
        scratch: a directory of this collector's own on the same file system; what is in it is removed.
        progress: given the bytes of each piece that was read; where it says False, the work is given up.
    """

    def __init__(self, run_dir: Path, scratch: Path, progress: Callable[[int], bool]) -> None:
        self._run_dir = run_dir
        self._scratch = scratch
        self._progress = progress
        self._lock = threading.Lock()
        self.duplicates = 0
        """Contents that were there already."""
        files.clear(scratch, _is_ours)

    def keep(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Store what the payload's snapshot holds: what its "stored" entry says of the content.

        Raises:
            FileNotFoundError: the snapshot is gone.
            InterruptedError: given up.
            OSError: no room, most likely.
            ValueError: the manifest is none.
        CorruptError: the snapshot would be elsewhere.
        """
        snapshot = content.snapshot(self._run_dir, payload)
        if payload["op"] == "file":
            digest, size = self._keep(snapshot)
            return {"what": "file", "digest": digest, "size": size, "mode": payload.get("mode", 0o644)}
        return self._keep_tree(snapshot)

    def _keep_tree(self, path: Path) -> dict[str, Any]:
        manifest = Manifest.read(path)
        listed = []
        for one in manifest.files:
            digest, size = self._keep(path.parent / one.content)
            listed.append(DirectoryFile(one.name, digest, size, one.mode))
        self._scratch.mkdir(parents=True, exist_ok=True)
        made = self._scratch / f"{path.parent.parent.name}-{path.parent.name}"
        try:
            whole = Manifest(tuple(listed), manifest.links, manifest.dirs, manifest.skipped)
            files.write_new(made, whole.encode(), mode=0o444)
            digest, _ = self._keep(made)
        finally:
            files.unlink(made, missing_ok=True)
        return {"what": "dir", "digest": digest, "size": sum(one.size for one in listed), "files": len(listed)}

    def _keep(self, path: Path) -> tuple[str, int]:
        digest, size = digest_of(path, self._progress)
        target = place(self._run_dir, digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._link(path, target, digest)
        return digest, size

    def _link(self, path: Path, target: Path, digest: str) -> None:
        try:
            files.link(path, target)
        except FileExistsError:
            if os.path.samefile(path, target):
                return  # a collector died when it had linked it
            if os.stat(target).st_size == os.stat(path).st_size:
                with self._lock:
                    self.duplicates += 1
                return
            self._copy(path, target, digest)  # torn by a power loss
        except OSError as error:
            if error.errno in FULL or isinstance(error, FileNotFoundError):
                raise
            self._copy(path, target, digest)  # no hard links here
            return
        # After the link: the sync that makes the bytes durable does so with the name.
        files.sync_file(target)

    def _copy(self, path: Path, target: Path, digest: str) -> None:
        self._scratch.mkdir(parents=True, exist_ok=True)
        with files.aside(target, self._scratch / digest, sync=True) as part:
            with open(inside.opened(path), "rb") as source, open(part, "xb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            os.chmod(part, 0o444)

    def close(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            files.rmdir(self._scratch)
