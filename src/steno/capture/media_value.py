"""A media value as a destination in this process is given it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from steno.errors import CorruptError, UsageError
from steno.record import RAW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


HELD_BYTES: Final = 64 << 20
"""Raw media that a destination's records hold at once; what is beyond is read when it is asked for."""


class MediaValue:
    """An image, a sound, a table, …: what is known of it, and the value itself. For any thread.

    `value` is what `book.media(key)[i].value` gives: uint8 (H, W, C) for an image, float32 (frames, channels) for a
    sound, text for a text, and so on.
    """

    __slots__ = ("_data", "_lost", "_meta", "_raw", "kind")

    def __init__(self, kind: str, meta: Mapping[str, Any]) -> None:
        self.kind = kind
        self._meta = {name: what for name, what in meta.items() if name not in {RAW, "attached"}}
        self._raw: Mapping[str, Any] | None = meta.get(RAW)
        self._data: Any = None if self._raw is None else self._raw.get("data")
        self._lost = ""

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
        """Read the raw bytes now, for the run's collector takes them away in a second or so; returns the room left.

        What is larger than `room` bytes is read when its value is asked for, if it is still there.
        """
        raw = self._raw
        if raw is None or self._data is not None or raw["size"] > room:
            return room
        self._read(raw)
        return room - int(raw["size"])

    def _read(self, raw: Mapping[str, Any]) -> None:
        try:
            fd = os.open(raw["file"], os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._data = os.pread(fd, int(raw["size"]), int(raw["at"]))
            finally:
                os.close(fd)
        except OSError as error:
            self._lost = str(error)

    @property
    def value(self) -> Any:
        """The value, decoded.

        Raises:
            UsageError: the destination was so late that the raw value is gone (the run has it), or a package of
                `steno[media]` is missing.
        """
        from steno.media import kinds
        from steno.media.raw import Raw

        if self._raw is None:
            return self._meta["text"] if self.kind == "text" else dict(self._meta)
        if self._data is None:
            self._read(self._raw)
        try:
            if self._data is None:
                raise CorruptError(self._lost)
            return kinds.from_raw(self.kind, Raw.read(memoryview(self._data)))
        except CorruptError as error:
            msg = f"this {self.kind} came too late to be read from the journal ({error}); steno.open has it"
            raise UsageError(msg) from error

    def __repr__(self) -> str:
        caption = f" {self.caption!r}" if self.caption else ""
        return f"<{self.kind}{caption}>"


def media_in(values: Any) -> Iterator[MediaValue]:
    """The media among a record's values, those in lists too."""
    for value in values.values() if values.__class__ is dict else values:
        if value.__class__ is MediaValue:
            yield value
        elif value.__class__ in (dict, list):
            yield from media_in(value)
