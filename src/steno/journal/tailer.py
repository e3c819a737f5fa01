"""Resumable reading of one segment (interface; being written)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from steno.journal.decode import Slice
    from steno.journal.format import Identity


class Tailer:
    """Reads one segment from an offset. Not thread-safe; owns a read-write map of the file.

    Args:
        path: the segment file.
        offset: where to go on; HEADER_BYTES for a segment never read.
        sets: key sets announced before `offset` are found by reading again from the start of the
            frames, which the tailer does by itself.

    Raises:
        CorruptError: both copies of the identity are unreadable.
    """

    identity: Identity
    offset: int

    def __init__(self, path: Path | str, offset: int = 4096) -> None: ...

    def read(self, limit_bytes: int = 8 << 20, *, before: int | None = None, live: bool = True) -> Slice | None:
        """The next frames as columns, or None when there is none now.

        Args:
            limit_bytes: stop after about that many bytes of frames.
            before: hold back from the first frame stamped (monotonic ns) at or after this.
            live: whether the writer may still be writing. Under `live` a bad checksum at the head means
                "not yet"; when the writer is gone it is loss: the tailer goes on at the next good frame and
                counts the bytes.
        """
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """The writer will write nothing more here."""
        raise NotImplementedError

    @property
    def drained(self) -> bool:
        """Nothing is left between `offset` and the end of what was written."""
        raise NotImplementedError

    def mark_posted(self, record: int) -> None:
        """Tell the writer, in the header, that everything before `offset` is in the ledger."""

    def close(self) -> None:
        """Unmap."""
