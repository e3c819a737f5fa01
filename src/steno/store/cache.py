"""The user's cache directory: what was computed or fetched, and may be deleted whenever nobody reads."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steno import files, inside, settings
from steno.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES: Final = 2 << 30
"""Of all that `put` keeps; what was used longest ago goes first."""
_LARGEST_BYTES: Final = 256 << 20
_KEPT: Final = "kept"


def cache_dir() -> Path:
    """STENO_CACHE_DIR, else `steno` in the user's cache directory.

    Raises:
        RuntimeError: the user has no home.
    """
    given = settings.read("STENO_CACHE_DIR")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steno"


def get(name: str) -> bytes | None:
    """What `put` was given last under that name; None: nothing, or nothing that can be trusted."""
    try:
        place = _place()
        found = inside.read(place / name, _LARGEST_BYTES) if _is_private(place) else None
        if found is not None:
            files.touch_again(place / name)
    except (OSError, RuntimeError, CorruptError):
        return None
    return found


def put(name: str, data: bytes) -> None:
    """Keep that under a name, if there is a place for it; in all at most `MOST_BYTES` are kept."""
    if len(data) > _LARGEST_BYTES:
        return
    with contextlib.suppress(OSError, RuntimeError):
        place = _place()
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            place.mkdir(mode=0o700)
        if _is_private(place):
            files.replace(place / name, data)
            _bound(place)


def _place() -> Path:
    return cache_dir() / _KEPT


def _is_private(place: Path) -> bool:
    """Whether nobody else can put something there."""
    found = os.lstat(place)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _bound(place: Path) -> None:
    found = sorted(_files(place), reverse=True)
    held = 0
    for _, size, path in found:
        held += size
        if held > MOST_BYTES:
            files.unlink(path, missing_ok=True)


def _files(place: Path) -> Iterator[tuple[int, int, str]]:
    for entry in files.scan(place):
        with contextlib.suppress(OSError):
            facts = entry.stat(follow_symlinks=False)
            yield facts.st_mtime_ns, facts.st_size, entry.path
