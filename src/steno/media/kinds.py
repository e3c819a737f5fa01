"""The kinds of media: which module encodes and decodes each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.media.raw import CHUNK_BYTES, FORGET_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from steno.media.raw import Raw

MODULES: Final = {
    "image": "steno.media.image",
    "mask": "steno.media.image",
    "figure": "steno.media.figure",
    "audio": "steno.media.audio",
    "video": "steno.media.video",
    "histogram": "steno.media.histogram",
    "text": "steno.media.text",
    "html": "steno.media.text",
    "table": "steno.media.table",
    "mesh": "steno.media.object3d",
    "pr_curve": "steno.media.curve",
    "embedding": "steno.media.bundle",
    "graph": "steno.media.bundle",
    "tensor": "steno.media.bundle",
}


def _module(kind: str) -> Any:
    if kind not in MODULES:
        msg = f"media of kind {kind!r} are not known to this version of steno"
        raise UsageError(msg)
    return import_module(MODULES[kind])


def encode(raw: Raw, path: Path) -> None:
    """Write a captured value as a file, which must not exist.

    Raises:
        ImportError: a package of `stenolog[media]` is not installed.
        Exception: whatever the encoder meets; the path may then hold part of a file.
    """
    ext = raw.ext
    if ext is not None and ext != "arrow":
        with open(path, "xb") as file:
            for at in range(0, len(raw.body), CHUNK_BYTES):
                file.write(raw.body[at : at + CHUNK_BYTES])
                if at % FORGET_BYTES == 0:
                    raw.forget()
        return
    _module(raw.header["kind"]).encode(raw, path)


def from_raw(kind: str, raw: Raw) -> Any:
    """The value of a raw form, decoded."""
    return _module(kind).from_raw(raw)


def from_file(kind: str, path: Path) -> Any:
    """The value of an encoded file, decoded."""
    return _module(kind).from_file(path)
