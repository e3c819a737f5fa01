"""Where the raw bytes of media go at the call: into mapped memory that is ready, or a file of their own."""

from __future__ import annotations

import _thread
import mmap
import os
import secrets
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno import files
from steno.journal import format as fmt
from steno.journal.segment import prefault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from steno.media.raw import Buffer, Captured

INLINE_BYTES: Final = 8 << 10
"""Smaller values stand in the frame itself."""
FIRST_BYTES: Final = 8 << 20
"""A process may log an image now and then: its first arena is small."""
ARENA_BYTES: Final = 32 << 20
LARGE_BYTES: Final = 4 << 20
"""Larger values are written to a file of their own: that costs them a copy too, and no GIL."""
_PAGE: Final = mmap.PAGESIZE
_encode: Final = msgspec.msgpack.encode

FilePosition = tuple[str, int]
"""(file in the stream's directory, offset in it)."""


class Raws:
    """Takes raw media values into files of one stream's directory.

    An arena is a file that is preallocated, prefaulted and mapped off the caller's thread, from the first value on:
    copying 200 KB into it takes 15 µs, and creating a file for them 75 to 300. Its pages are given back as the
    values are posted; the file goes with the stream's directory.

    Thread-safe, and safe in signal handlers: who meets the lock held does not wait, but writes a file. What `put`
    returned from survives the process.

    Args:
        directory: the stream's.
        wanted: called when an arena should be made; must not raise.
    """

    def __init__(self, directory: Path, wanted: Callable[[], None]) -> None:
        self._directory = directory
        self._wanted = wanted
        self._lock = _thread.allocate_lock()
        self._arena: _Arena | None = None
        self._spare: _Arena | None = None
        self._number = 0
        self.used = False

    def put(self, parts: Iterable[Buffer], size_bytes: int) -> FilePosition:
        """Copy the parts, `size_bytes` together; returns where they lie.

        Raises:
            OSError: no space.
            ValueError: the parts are not as long as was said.
        """
        self.used = True
        if size_bytes <= LARGE_BYTES:
            found = self._room(size_bytes)
            if found is not None:
                arena, at = found
                try:
                    return arena.fill(at, parts, size_bytes)
                except _Gone:
                    pass
        return self._file(parts, size_bytes), 0

    def _room(self, size_bytes: int) -> tuple[_Arena, int] | None:
        if not self._lock.acquire(False):
            return None
        try:
            arena = self._arena
            if arena is None or arena.end + size_bytes > arena.size:
                if arena is not None:
                    # Another thread may still be copying into it: it is unmapped when the last one lets go.
                    self._arena = None
                self._arena = arena = self._spare
                self._spare = None
                if arena is None:
                    self._wanted()
                    return None
            at = arena.end
            # Whole pages, so that a value's memory can be given back without its neighbour's.
            arena.end += -(-size_bytes // _PAGE) * _PAGE
            if self._spare is None and arena.end > arena.size // 4:
                self._wanted()
            return arena, at
        finally:
            self._lock.release()

    def _file(self, parts: Iterable[Buffer], size_bytes: int) -> str:
        name = f"value-{secrets.token_hex(16)}"
        path = self._directory / name
        fd = files.create(path, 0o644)
        try:
            try:
                written = 0
                for part in parts:
                    view = memoryview(part)
                    while view:
                        done = os.write(fd, view)
                        written += done
                        view = view[done:]
            finally:
                os.close(fd)
            if written != size_bytes:
                msg = f"{written} bytes were captured, not {size_bytes}"
                raise ValueError(msg)
        except BaseException:
            files.unlink(path)
            raise
        return name

    def stock(self) -> bool:
        """Make an arena if one is wanted; called off the caller's thread. Raises OSError."""
        if not self.used or self._spare is not None:
            return False
        arena = self._arena
        if arena is not None and arena.end <= arena.size // 4:
            return False
        self._number += 1
        size = FIRST_BYTES if self._number == 1 else ARENA_BYTES
        self._spare = _Arena(self._directory / f"raw-{self._number:06d}", size)
        return True

    def number_from(self, other: Raws) -> None:
        """Have the names of arenas go on where those of another one end."""
        self._number = max(self._number, other._number)

    def mend(self) -> list[str]:
        """Write arenas again that somebody has removed, and take no more into them; their names. Raises OSError."""
        gone = []
        for arena in (self._arena, self._spare):
            if arena is not None and files.inode(self._directory / arena.name) != arena.inode:
                # A value that is being copied this moment goes with the old file.
                with self._lock:
                    self._arena = None if self._arena is arena else self._arena
                    self._spare = None if self._spare is arena else self._spare
                if arena.end:
                    files.write_new(self._directory / arena.name, arena.map[: arena.end], mode=0o644)
                gone.append(arena.name)
        return gone

    def close(self) -> None:
        """Unmap, and give back the room that was not used; what was put stays."""
        arenas = self._arena, self._spare
        self.abandon()
        for arena in arenas:
            if arena is not None:
                try:
                    os.truncate(self._directory / arena.name, arena.end)
                except OSError:
                    pass

    def abandon(self) -> None:
        """Unmap in a forked child, whose arenas are its parent's."""
        for arena in (self._arena, self._spare):
            if arena is not None:
                arena.map.close()
        self._arena = self._spare = None
        self.used = False


class _Gone(Exception):  # noqa: N818 - never leaves this module
    """The arena was closed before anything was taken from the parts."""


class _Arena:
    __slots__ = ("end", "inode", "map", "name", "size")

    def __init__(self, path: Path, size: int) -> None:
        self.name = path.name
        self.size = size
        self.end = 0
        fd = files.create(path, 0o644)
        try:
            # Space is taken now: a full disk must be an error here, not a SIGBUS in somebody's log call.
            os.posix_fallocate(fd, 0, size)
            self.inode = files.inode(fd)
            self.map = mmap.mmap(fd, size)
            prefault(self.map, size)
        except BaseException:
            files.unlink(path)
            raise
        finally:
            os.close(fd)

    def fill(self, at: int, parts: Iterable[Buffer], size_bytes: int) -> FilePosition:
        if self.map.closed:
            raise _Gone
        mapped, place = self.map, at
        for part in parts:
            size = len(part)
            if place + size > at + size_bytes:
                break
            mapped[place : place + size] = part
            place += size
        else:
            if place == at + size_bytes:
                return self.name, at
        msg = f"other than {size_bytes} bytes were captured"
        raise ValueError(msg)


def placed(captured: Captured, put: Callable[[Iterable[Buffer], int], FilePosition]) -> msgspec.msgpack.Ext:
    """The journal's form of a captured value, its bytes copied.

    Raises:
        OSError: no space for them.
    """
    return msgspec.msgpack.Ext(fmt.EXT_MEDIA, _encode(_message(captured, put)))


def _message(captured: Captured, put: Callable[[Iterable[Buffer], int], FilePosition]) -> dict[str, Any]:
    message: dict[str, Any] = {"kind": captured.kind, "meta": captured.meta}
    if captured.size_bytes > INLINE_BYTES:
        name, at = put(captured.parts, captured.size_bytes)
        message["raw"] = {"file": name, "at": at, "size": captured.size_bytes}
    elif captured.size_bytes:
        message["raw"] = {"data": b"".join(captured.parts)}
    if captured.attached:
        message["attached"] = {name: _message(one, put) for name, one in captured.attached.items()}
    return message
