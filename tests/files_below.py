"""The files below a directory, read while a collector may still be at work in it."""

from __future__ import annotations

import os
from pathlib import Path


def _raise(error: OSError) -> None:
    raise error


def contents(place: Path) -> dict[Path, bytes]:
    """Each file and what it holds, links aside.

    A collector moves and removes files after `finish` has returned. If one is gone when it is read, all is read anew,
    so that a file that was moved is not missed under both names.
    """
    for _ in range(100):
        try:
            return {
                path: path.read_bytes()
                for folder, _, names in os.walk(place, onerror=_raise)
                for path in (Path(folder, name) for name in names)
                if path.is_file() and not path.is_symlink()
            }
        except FileNotFoundError:
            continue
    raise AssertionError(f"the files below {place} do not come to rest")
