"""A media value as a destination in this process is given it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.media import files
from steno.record import RAW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HELD_BYTES: Final = 64 << 20
"""Raw media that one batch's records hold; what is beyond is read where it then is."""


class MediaValue:
    """An image, a sound, a table, …: what is known of it, and the value itself. For any thread.

    `value` is what `reader.media(key)[i].value` gives: uint8 (H, W, C) for an image, float32 (frames, channels) for a
    sound, text for a text, and so on.
    """

    __slots__ = ("_data", "_meta", "_raw", "_run_dir", "attached", "kind")

    def __init__(self, kind: str, meta: Mapping[str, Any], run_dir: Path) -> None:
        self.kind = kind
        self.attached = {
            name: MediaValue(str(one["kind"]), {**one.get("meta", {}), RAW: one.get(RAW)}, run_dir)
            for name, one in (meta.get("attached") or {}).items()
        }
        """What belongs to it: an image's masks, by name."""
        self._meta = {name: what for name, what in meta.items() if name not in {RAW, "attached"}}
        self._raw: Mapping[str, Any] | None = meta.get(RAW)
        self._data: bytes | None = None if self._raw is None else self._raw.get("data")
        self._run_dir = run_dir

    @property
    def meta(self) -> Mapping[str, Any]:
        """What was said with it: shape, rate, …"""
        return self._meta

    @property
    def caption(self) -> str | None:
        """The caption, if it has one."""
        found = self._meta.get("caption")
        return None if found is None else str(found)

    def hold(self, room: int) -> int:
        """Read the raw bytes now, if they are no more than `room`; returns the room that is left."""
        raw = self._raw
        if raw is None or self._data is not None or raw["size"] > room:
            return room
        self._data = _read(raw)
        return room - int(raw["size"])

    @property
    def value(self) -> Any:
        """The value, decoded: from the journal, or where the collector has put it.

        Raises:
            UsageError: a package of `stenolog[media]` is missing, or the value was lost.
        """
        from steno.media import kinds
        from steno.media.raw import Raw

        raw = self._raw
        if raw is None:
            return self._meta["text"] if self.kind == "text" else dict(self._meta)
        data = self._data or _read(raw)
        if data is not None:
            return kinds.from_raw(self.kind, Raw.read(memoryview(data)))
        ref = files.kept_as(str(raw["file"]), int(raw["at"]), self.kind)
        if ref is None:
            msg = f"the bytes of this {self.kind} are gone: its journal was lost"
            raise UsageError(msg)
        return files.value(self._run_dir, ref)

    def __repr__(self) -> str:
        caption = f" {self.caption!r}" if self.caption else ""
        return f"<{self.kind}{caption}>"


def _read(raw: Mapping[str, Any]) -> bytes | None:
    """The raw bytes; None when the collector has said where the value is, and may be taking them away."""
    try:
        fd = os.open(raw["file"], os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.pread(fd, int(raw["size"]), int(raw["at"]))
    finally:
        os.close(fd)
    if len(data) != raw["size"] or files.kept_as(str(raw["file"]), int(raw["at"]), ""):
        return None
    return data


def media_in(values: Any) -> Iterator[MediaValue]:
    """The media among a record's values, those in lists and those attached too."""
    for value in values.values() if values.__class__ is dict else values:
        if value.__class__ is MediaValue:
            yield value
            yield from value.attached.values()
        elif value.__class__ in (dict, list):
            yield from media_in(value)
