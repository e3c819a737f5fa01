"""Small JSON files of a run: written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def write_json(path: Path, data: Any, *, sync: bool = False) -> None:
    """Replace the file at once: a reader sees the old or the new; with `sync` also after a power loss.

    Raises:
        OSError: no space, no permission; the old file stays.
    """
    hidden = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with open(hidden, "x", encoding="utf-8") as file:
            json.dump(data, file, indent=1, ensure_ascii=False)
            file.write("\n")
            if sync:
                file.flush()
                os.fsync(file.fileno())
        hidden.rename(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise


def write_once(path: Path, data: dict[str, Any]) -> bool:
    """Write the file whole at once, unless it is there: then False.

    Raises:
        OSError: no space, no permission.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    write_json(hidden, data)
    try:
        os.link(hidden, path)
    except FileExistsError:
        return False
    except OSError:
        # No hard links here: the name is claimed first and filled after.
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(data, file)
    finally:
        hidden.unlink(missing_ok=True)
    return True


def load_json(path: Path) -> dict[str, Any]:
    """The object in the file; empty when there is none that can be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def sync_dir(path: Path) -> None:
    """Make a rename in the directory outlive the machine's power, where the file system can."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def scan(path: Path) -> list[os.DirEntry[str]]:
    """What is in the directory; nothing when it cannot be read."""
    try:
        with os.scandir(path) as found:
            return list(found)
    except OSError:
        return []
