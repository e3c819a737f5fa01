"""A segment file as its writer holds it: made zeroed ahead of need, mapped, used once."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from typing import TYPE_CHECKING, Any, Final

import crc32c
import msgspec

from steno import files
from steno.journal import format as fmt
from steno.journal import native

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MADV_POPULATE_WRITE: Final = 23  # linux/mman-common.h, kernel 5.14
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(fmt.SegmentIdentity)


def identity_bytes(identity: fmt.SegmentIdentity) -> bytes:
    """The identity as a frame seeded with 0, padded to its room in the header."""
    body = _encoder.encode(identity)
    frame = fmt.FRAME.pack(len(body), crc32c.crc32c(body)) + body
    if len(frame) > fmt.IDENTITY_ROOM:
        msg = f"the segment identity takes {len(frame)} bytes, more than {fmt.IDENTITY_ROOM}"
        raise ValueError(msg)
    return frame.ljust(fmt.IDENTITY_ROOM, b"\0")


def read_identity(head: bytes) -> fmt.SegmentIdentity | None:
    """The identity from a segment's first HEADER_BYTES; None when both copies are unreadable."""
    if head[: len(fmt.MAGIC)] != fmt.MAGIC and len(head) < fmt.HEADER_BYTES:
        return None
    for at in fmt.IDENTITY_AT:
        if len(head) < at + fmt.FRAME_BYTES:
            continue
        length, check = fmt.FRAME.unpack_from(head, at)
        body = head[at + fmt.FRAME_BYTES : at + fmt.FRAME_BYTES + length]
        if 0 < length <= fmt.IDENTITY_ROOM and len(body) == length and crc32c.crc32c(body) == check:
            try:
                return _decoder.decode(body)
            except msgspec.MsgspecError:
                continue
    return None


class Segment:
    """A mapped, zeroed, prefaulted segment file, ready for `write`.

    Not thread-safe but for `write`, which is one `mmap.write`: under the GIL it reserves and copies in a
    single step. Its bytes survive the process; they are lost with the machine's power until the ledger
    that took them is synced.

    Raises:
        OSError: no space, no file handle, no permission; nothing is left behind.

    """

    __slots__ = ("_removed", "end", "inode", "map", "nonce", "number", "path", "size", "write")

    def __init__(self, path: Path, identity: fmt.SegmentIdentity) -> None:
        self.path = path
        self.size = identity.size
        self.nonce = identity.nonce
        self.number = identity.number
        hidden = path.with_name(f".{path.name}")
        # Hidden until its identity is written, so that a reader never meets half a header.
        fd = files.create(hidden, 0o644)
        try:
            # Space is taken now: a full disk must be an error here, not a SIGBUS in somebody's log call.
            os.posix_fallocate(fd, 0, self.size)
            self.inode = files.inode(fd)
            self.map = _mapped(fd, self.size)
            record = identity_bytes(identity)
            for at in fmt.IDENTITY_AT:
                self.map[at : at + len(record)] = record
            self.map[: len(fmt.MAGIC)] = fmt.MAGIC
            self.map.seek(fmt.HEADER_BYTES)
            files.rename(hidden, path)
        except BaseException:
            try:
                files.unlink(hidden)
            except OSError:
                pass
            raise
        finally:
            os.close(fd)
        self.write: Callable[[bytes], Any] = self.map.write
        self.end = 0
        """Where its frames end, once sealed."""
        self._removed: list[Any] = []
        """Maps of files that were removed: a collector may be at one of them still."""

    def tell(self) -> int:
        """Bytes used, header included."""
        at = int(self.map.tell())
        return at if at < self.size else self.end or self._written(fmt.HEADER_BYTES)

    def seal(self) -> int:
        """Take no more frames; returns where they end. Threads that are about to write get ValueError."""
        end = self.tell()
        self.map.seek(self.size)
        # Moving the position is atomic under the GIL: a frame written between the two lines is found
        # by walking, and none can come after.
        self.end = end = self._written(end)
        self.map[fmt.CLOSED_AT : fmt.CLOSED_AT + 4] = b"\1\0\0\0"
        return end

    def _written(self, end: int) -> int:
        while end + fmt.FRAME_BYTES <= self.size:
            length = int.from_bytes(self.map[end : end + 4], "little")
            if length == 0:
                break
            end += fmt.FRAME_BYTES + length
        return end

    def posted(self) -> tuple[int, int]:
        """(bytes of this segment in the ledger, number of the last record posted from it)."""
        heads = (one[fmt.POSTED_AT : fmt.RECORD_AT + 8] for one in (self.map, *self._removed))
        return max((fmt.U64.unpack_from(raw, 0)[0], fmt.U64.unpack_from(raw, 8)[0]) for raw in heads)

    def restore(self) -> None:
        """Write the file of a full segment anew, from the map, after somebody has removed it, and map the new one.

        Raises OSError.
        """
        hidden = self.path.with_name(f".{self.path.name}")
        files.unlink(hidden, missing_ok=True)
        files.write_new(hidden, self.map[: max(self.end, fmt.HEADER_BYTES)], mode=0o644)
        os.truncate(hidden, self.size)
        removed = self.map
        self._hold(hidden)
        self._removed.append(removed)
        files.rename(hidden, self.path)

    def hold(self) -> None:
        """Once it is full: map it so that it takes neither memory nor a descriptor. Raises OSError: nothing changed."""
        if not isinstance(self.map, HeldMap):
            self._hold(self.path)

    def _hold(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            inode = files.inode(fd)
            if path is self.path and inode != self.inode:
                raise FileNotFoundError(errno.ENOENT, "it is another file now", os.fspath(path))
            held = HeldMap(fd, self.size)
        finally:
            os.close(fd)
        # Whoever still has the old map reads on in it, and finds no room there to write.
        self.map, self.write, self.inode = held, held.write, inode

    def close(self) -> None:
        """Unmap; the file stays. Later writes raise ValueError."""
        self.map.close()
        for one in self._removed:
            one.close()

    def discard(self) -> None:
        """Unmap and delete: for a segment made ahead and never used.

        Closed first: a tailer that has it open already must not wait for its first frame.
        """
        self.map[fmt.CLOSED_AT : fmt.CLOSED_AT + 4] = b"\1\0\0\0"
        self.map.close()
        try:
            files.unlink(self.path)
        except OSError:
            pass


class HeldMap:
    """A full segment's file, to be read: no page of it is in memory before that, and no descriptor is kept.

    The file outlives its removal in it. Raises OSError.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._size = size
        self.closed = True
        self._address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
        if self._address in {None, _MAP_FAILED}:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self.closed = False

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        if self.closed:
            raise ValueError("it is closed")
        return ctypes.string_at(self._address + start, stop - start)

    def tell(self) -> int:
        """Where the next frame would go: there is no room for one."""
        return self._size

    def write(self, _: bytes) -> None:
        """Refuse the frame, as a full map does."""
        raise ValueError("it is full")

    def close(self) -> None:
        """Have later uses refused; the pages go when nobody has it any more."""
        self.closed = True

    def __del__(self) -> None:
        if self._address not in {None, _MAP_FAILED}:
            _libc.munmap(self._address, self._size)


def _mapped(fd: int, size: int) -> Any:
    """The whole file, each page of it, as a map that both forms of the hot path write through."""
    module, _ = native.chosen()
    if module is not None:
        return module.Map(fd, size)
    mapped = mmap.mmap(fd, size)
    prefault(mapped, size)
    return mapped


_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_MAP_FAILED: Final = ctypes.c_void_p(-1).value


def prefault(mapped: mmap.mmap, size: int) -> None:
    """Map every page now: the first touch of a fresh page costs more than the record."""
    anchor = ctypes.c_char.from_buffer(mapped)
    address = ctypes.addressof(anchor)
    try:
        failed = _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), _MADV_POPULATE_WRITE)
    finally:
        del anchor  # the map cannot be closed while a view of it lives
    if failed:
        page = mmap.PAGESIZE
        for at in range(0, size, page):
            mapped[at] = 0
