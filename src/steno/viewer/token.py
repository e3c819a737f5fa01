"""The user's token: whoever has it may look. One for each user, so that open tabs survive a restart."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final

from steno import files

_FORM: Final = re.compile(r"[A-Za-z0-9_-]{32,128}")


def place() -> Path:
    """The file that holds it: `$XDG_STATE_HOME/steno/viewer-token`."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(home) / "steno" / "viewer-token"


def of_user() -> tuple[str, Path | None]:
    """(the token, its file); the file is None where none can be kept: the token then lives as long as the process.

    Made at the first call, mode 0600 in a directory of mode 0700. A file that others may read, or that is another
    user's or a link, is not used.
    """
    path = place()
    found = _read(path)
    if found is None:
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            files.write_new(aside, secrets.token_urlsafe(32).encode(), mode=0o600)
            try:
                with contextlib.suppress(FileExistsError):
                    files.link(aside, path)  # of two that come together, the first one's token stands
            finally:
                files.unlink(aside)
            found = _read(path)
    return (found, path) if found is not None else (secrets.token_urlsafe(32), None)


def _read(path: Path) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with open(fd, "rb") as file:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
            return None
        text = file.read(256).decode("ascii", "replace").strip()
    return text if _FORM.fullmatch(text) else None


def same(given: str, token: str) -> bool:
    """Whether they are equal, in a time that does not tell how much of them is."""
    return secrets.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def identity(root: str, port: int) -> str:
    """8 hex digits for a server: two on one host, on two ports, have cookies of two names."""
    return hashlib.sha256(f"{root}\0{port}\0{os.geteuid()}".encode("utf-8", "surrogateescape")).hexdigest()[:8]
