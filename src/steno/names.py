"""What a run or a project may be called."""

from __future__ import annotations

import os
from typing import Final

from steno.errors import UsageError

_MAX_BYTES: Final = 200  # 255 is the limit of most file systems; a suffix must still fit


def check(name: str, what: str = "run name") -> str:
    """The name, when it can be one directory; a name never becomes a path.

    Raises:
        UsageError: it is not a string, is empty, too long, or has separators or control characters.
    """
    if not isinstance(name, str):
        msg = f"the {what} must be a string, not {type(name).__name__}: pass {what.rsplit(maxsplit=1)[-1]}='...'"
        raise UsageError(msg)
    reason = ""
    if not name.strip():
        reason = "it is empty"
    elif "/" in name or "\\" in name or (os.altsep and os.altsep in name):
        reason = "it has a path separator"
    elif name.startswith("."):
        reason = "it begins with a dot"
    elif name != name.strip():
        reason = "it begins or ends with white space"
    elif not name.isprintable():
        reason = "it has control or unprintable characters"
    elif len(name.encode()) > _MAX_BYTES:
        reason = f"it is longer than {_MAX_BYTES} bytes"
    if reason:
        msg = f"the {what} {name[:80]!r} cannot be used: {reason}. Use letters, digits, '-', '_', '.': 'digits-lr3e-4'"
        raise UsageError(msg)
    return name
