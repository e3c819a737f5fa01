"""Paths that a user gives: of this machine, where a URL would become a directory that is called like it."""

from __future__ import annotations

import os
import re
from typing import Any, Final

from steno.errors import UsageError
from steno.secrecy import mask

_URL: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://", re.DOTALL)
_PROTOCOLS: Final = (
    "s3", "s3a", "gs", "gcs", "az", "adl", "abfs", "abfss", "wasb", "wasbs", "hdfs", "webhdfs", "oss", "cos", "r2",
    "file", "local", "http", "https", "ftp", "sftp", "ssh", "memory", "dbfs", "hf",
)  # fmt: skip
_SHORTENED: Final = re.compile(rf"^(?:{'|'.join(_PROTOCOLS)}):/", re.IGNORECASE)
"""A URL that `pathlib` has taken for a path."""


def is_url(place: object) -> bool:
    """Whether it names a place in an object store, and no path."""
    return isinstance(place, str) and _URL.match(place) is not None


def local(what: str, given: Any, remedy: str = "") -> str:
    """A path of this machine as text, `~` for the user's directory replaced.

    Args:
        what: the argument's name, for messages.
        given: str, bytes or a path.
        remedy: what takes a URL.

    Raises:
        UsageError: no path, or a URL.
    """
    try:
        text = os.fsdecode(given)
    except TypeError:
        raise UsageError(f"{what}={given!r}: a path is needed") from None
    if is_url(text) or _SHORTENED.match(text):
        protocol, _, rest = text.partition(":")
        if protocol.lower() in {"file", "local"}:
            remedy = f"/{rest.lstrip('/')} is the path"
        msg = f"{what}={mask('', text)!r} is a URL, and {what} is a path on this machine; {remedy}"
        raise UsageError(msg.rstrip("; "))
    return os.path.expanduser(text)


def absolute(what: str, given: Any, remedy: str = "") -> str:
    """The same as `local` takes, from the root on.

    Raises:
        UsageError: no path, a URL, or a relative path while the current directory is removed.
    """
    path = local(what, given, remedy)
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        msg = f"{what}={path!r} starts from the current directory, which was removed"
        raise UsageError(f"{msg}: change to another, or give a whole path") from None
