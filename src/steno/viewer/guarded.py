"""What a run's file is served as: never as a part of our page, whatever its bytes are."""

from __future__ import annotations

from typing import Final

POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data: blob:; font-src data:"
)
"""A document of a run has an origin of its own, no network and no cookies."""
HTML: Final = "text/html; charset=utf-8"
SVG: Final = "image/svg+xml"
_UNKNOWN: Final = "application/octet-stream"
HEAD_BYTES: Final = 64
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
)
_BITMAPS: Final = {size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)}
"""Sizes of the second header of a BMP: its first two bytes alone say little."""


def shown_as(head: bytes) -> str | None:
    """The type that a raster image, a sound or a film is shown with, by its first bytes; None: it is neither."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        return {b"WAVE": "audio/wav", b"WEBP": "image/webp"}.get(head[8:12])
    if head[:2] == b"BM" and len(head) > 18 and head[14:18] in _BITMAPS:
        return "image/bmp"
    if head[4:8] == b"ftyp":
        return "image/avif" if head[8:12] in {b"avif", b"avis"} else "video/mp4"
    if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0:
        return "audio/mpeg"
    return None


def headers(head: bytes, name: str, claimed: str | None = None, *, framed: bool = False) -> tuple[str, dict[str, str]]:
    """(media type, headers) of a file of a run.

    Args:
        head: its first bytes.
        name: what it is called when it is saved.
        claimed: HTML or SVG, where the run says so; anything else that the bytes do not show is bytes.
        framed: the browser asks for it to stand in a frame of our page.
    """
    kind = shown_as(head)
    inline = kind is not None or (claimed == HTML and framed)
    if kind is None:
        kind = claimed if claimed in {HTML, SVG} else _UNKNOWN
    made = {"Content-Security-Policy": POLICY}
    if not inline:
        made["Content-Disposition"] = attachment(name)
    return kind, made


def attachment(name: str) -> str:
    """The header of a file that is saved under this name."""
    return f"attachment; filename*=UTF-8''{_quoted(name)}"


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name.rpartition("/")[2] or "file", safe="", errors="replace")
