"""URLs of object stores: which are taken, and what a wrong one is answered."""

from __future__ import annotations

import importlib.util
import re
from difflib import get_close_matches
from typing import Final

from steno.errors import UsageError
from steno.secrecy import mask

_FORM: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://(.*)$", re.DOTALL)
_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_SAME: Final = {"s3a": "s3", "gcs": "gs", "local": "file"}
_READ_ONLY: Final = frozenset({"http", "https", "data", "github", "zip", "tar"})
_WITHIN_A_PROCESS: Final = frozenset({"memory"})


def protocol_of(url: str) -> str:
    """The part before "://", in small letters."""
    return url.partition("://")[0].lower()


def check(what: str, url: object, *, writing: bool = True) -> str:
    """The URL of a store as it is written down: no secret, no slash at its end.

    Imports fsspec, and none of its file systems.

    Args:
        what: the argument's name, for messages.
        url: as the user gave it.
        writing: whether the store is to be written, by another process.

    Raises:
        UsageError: no URL, one that carries a secret, an unknown protocol, or a package that is not installed.
    """
    form = _FORM.match(url) if isinstance(url, str) else None
    if not isinstance(url, str) or form is None:
        raise UsageError(f"{what}={mask('', url)!r}: a URL is needed, such as s3://bucket/prefix or file:///mnt/runs")
    _refuse_secrets(what, url, form.group(2))
    protocol = form.group(1).lower()
    if "::" in url:
        raise UsageError(f"{what}={url!r}: a chain of URLs is not taken; name the store itself")
    if writing and protocol in _READ_ONLY:
        raise UsageError(f"{what}={url!r}: {protocol} stores cannot be written; use s3, gs, az, file or another")
    if writing and protocol in _WITHIN_A_PROCESS:
        raise UsageError(
            f"{what}={url!r}: {protocol} keeps its objects inside one process, and the collector is another one; "
            "use file:///a/directory for a trial"
        )
    if not form.group(2).strip("/"):
        raise UsageError(f"{what}={url!r}: the place is missing, as in {protocol}://bucket/prefix")
    if protocol in {"file", "local"} and not form.group(2).startswith("/"):
        raise UsageError(f"{what}={url!r}: a file URL needs an absolute path, as in file:///mnt/runs")
    _require_package(what, url, protocol)
    protocol = _SAME.get(protocol, protocol)  # two names of one place must not look like two
    return f"{protocol}://{form.group(2).rstrip('/')}"


def _refuse_secrets(what: str, url: str, rest: str) -> None:
    host = rest.partition("/")[0]
    secret = ":" in host.rpartition("@")[0] or mask("", url) != url
    if secret or "?" in rest or "#" in rest:
        shown = f"{protocol_of(url)}://…"
        raise UsageError(
            f"{what}={shown!r} carries {'a secret' if secret else 'a query'}, and URLs are written down: "
            "keep credentials in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, "
            "GOOGLE_APPLICATION_CREDENTIALS, …) or in fsspec's configuration (~/.config/fsspec/conf.json)"
        )


def _require_package(what: str, url: str, protocol: str) -> None:
    extra = _EXTRAS.get(protocol)
    remedy = f"pip install 'stenolog[{extra}]'" if extra else "pip install fsspec and the package for this protocol"
    try:
        from fsspec.registry import known_implementations, registry
    except ImportError:
        raise UsageError(f"{what}={url!r} needs fsspec, which is not installed: {remedy}") from None
    if protocol in registry:
        return
    known = known_implementations.get(protocol)
    if known is None:
        near = get_close_matches(protocol, known_implementations, n=1, cutoff=0.5)
        guess = f"did you mean {near[0]}://? " if near else ""
        raise UsageError(f"{what}={url!r}: fsspec knows no {protocol}://; {guess}There are s3, gs, az, file and others")
    module = known["class"].partition(".")[0]
    if importlib.util.find_spec(module) is None:
        raise UsageError(
            f"{what}={url!r} needs the package {module}, which is not installed: "
            f"{remedy if extra else f'pip install {module}'}"
        )
