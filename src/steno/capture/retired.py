"""A segment whose posting somebody waits for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from steno import files
from steno.journal import format as fmt

if TYPE_CHECKING:
    from steno.journal.segment import Segment


class Retired:
    """A segment whose posting somebody waits for."""

    __slots__ = ("_posted", "_segment", "end", "path", "record")

    def __init__(self, segment: Segment, end: int | None = None) -> None:
        self._segment: Segment | None = segment
        self.path = segment.path
        self.end = segment.end if end is None else end
        self.record = 0
        self._posted = 0

    def look(self) -> bool:
        """Whether all of it is in the ledger."""
        segment = self._segment
        if segment is not None:
            try:
                self._posted, self.record = segment.posted()
            except ValueError:
                segment = self._segment = None
        if segment is None:
            try:
                with open(self.path, "rb") as file:
                    file.seek(fmt.POSTED_AT)
                    raw = file.read(16)
            except FileNotFoundError:
                self._posted = self.end
                return True
            except OSError:
                return False
            self._posted, self.record = fmt.U64.unpack_from(raw, 0)[0], fmt.U64.unpack_from(raw, 8)[0]
        return self._posted >= self.end

    def left(self) -> int:
        """How many bytes of it are not in the ledger."""
        return 0 if self.look() else self.end - max(self._posted, fmt.HEADER_BYTES)

    def restore(self) -> bool:
        """Write its file anew if somebody has removed it before it was posted; whether it was so. Raises OSError."""
        segment = self._segment
        if segment is None or files.inode(segment.path) == segment.inode or self.look():
            return False
        segment.restore()
        return True

    def hold(self) -> None:
        """Take no memory for it any more; where its file is gone it keeps what it has, for `restore`."""
        if self._segment is not None:
            with contextlib.suppress(OSError):
                self._segment.hold()

    def close(self) -> None:
        """Unmap."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None
