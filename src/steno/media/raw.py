"""A media value's raw form: what is captured at the call, and read again to encode it.

    "STENOM01" | u32 length of the header | header (msgpack map) | zeros to a multiple of 64 | arrays or bytes

The header says how to read the rest: `kind`, `arrays` (a list of [name, dtype, shape, offset behind the head])
or `ext` (the rest is a whole file of that type), and what the kind's encoder needs. It holds nothing else, so
that equal content is equal bytes; captions and boxes travel with it.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno import files
from steno.errors import CorruptError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

MAGIC: Final = b"STENOM01"
_HEAD: Final = struct.Struct("<8sI")
_ALIGN: Final = 64
CHUNK_BYTES: Final = 4 << 20
FORGET_BYTES: Final = 32 << 20
"""An encoder lets go of a map's pages about this often."""
_encode: Final = msgspec.msgpack.encode

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Captured:
    """What a value's `__steno__` returns: everything there is to record, not yet copied.

    `parts` are the raw form's bytes, to be taken once and at once: they are views of the user's memory.
    """

    kind: str
    meta: Mapping[str, Any]
    """What readers get without opening a file; msgpack's types only."""
    size_bytes: int = 0
    """Length of all parts; 0: the meta says it all."""
    parts: Iterable[Buffer] = ()
    attached: Mapping[str, Captured] = field(default_factory=dict)
    """Files of their own that belong to this value, such as masks."""
    remark: str = ""
    """What was changed so that it can be recorded, for the user; under `strict=True` the error."""


def capture(
    kind: str,
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    meta: Mapping[str, Any],
    attached: Mapping[str, Captured] | None = None,
    remark: str = "",
) -> Captured:
    """The capture of arrays of any layout; they are written in C order."""
    table, at = [], 0
    for name, array in arrays.items():
        table.append((name, array.dtype.str, array.shape, at))
        at += -(-array.nbytes // _ALIGN) * _ALIGN
    head = _head({"kind": kind, **header, "arrays": table})
    return Captured(kind, meta, len(head) + at, _array_parts(head, tuple(arrays.values())), attached or {}, remark)


def capture_bytes(kind: str, header: Mapping[str, Any], data: Buffer, meta: Mapping[str, Any]) -> Captured:
    """The capture of bytes that are a whole file of type `header["ext"]`."""
    head = _head({"kind": kind, **header})
    return Captured(kind, meta, len(head) + len(data), (head, data))


def capture_file(kind: str, header: Mapping[str, Any], path: str, meta: Mapping[str, Any]) -> Captured:
    """The capture of a file as it is now.

    Raises:
        OSError: it cannot be read.
    """
    head = _head({"kind": kind, **header})
    size = os.stat(path).st_size
    return Captured(kind, meta, len(head) + size, _file_parts(head, path, size))


def _head(header: Mapping[str, Any]) -> bytes:
    body = _encode(header)
    head = _HEAD.pack(MAGIC, len(body)) + body
    return head + bytes(-len(head) % _ALIGN)


def _array_parts(head: bytes, arrays: tuple[NDArray[Any], ...]) -> Iterator[Buffer]:
    yield head
    for array in arrays:
        if array.flags.c_contiguous:
            yield _bytes_of(array)
        else:
            yield from _chunks(array)
        if padding := -array.nbytes % _ALIGN:
            yield bytes(padding)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    flat: Any = array.reshape(-1).view("u1")
    return memoryview(flat)


def _chunks(array: NDArray[Any]) -> Iterator[Buffer]:
    """A strided array in C order, copied a little at a time: it may be as large as the memory."""
    import numpy as np

    if array.nbytes <= CHUNK_BYTES or array.ndim < 2:
        yield _bytes_of(np.ascontiguousarray(array))
        return
    rows = max(1, CHUNK_BYTES // max(1, array[0].nbytes))
    for at in range(0, len(array), rows):
        piece = array[at : at + rows]
        if rows == 1 and piece.nbytes > CHUNK_BYTES:
            yield from _chunks(piece[0])
        else:
            yield _bytes_of(np.ascontiguousarray(piece))


def _file_parts(head: bytes, path: str, size: int) -> Iterator[Buffer]:
    yield head
    with open(path, "rb", buffering=0, opener=files.regular) as file:
        while size > 0:
            data = file.read(min(size, CHUNK_BYTES))
            if not data:
                msg = f"{path} became shorter while it was read"
                raise OSError(msg)
            size -= len(data)
            yield data


def regular_file(path: str | os.PathLike[str], kind: str, types: Mapping[str, str]) -> tuple[str, str]:
    """(absolute path, type) of a file that is there and whose first bytes are of a known type.

    Args:
        path: as the user gave it.
        kind: the word for the value in messages.
        types: extensions that are allowed → the type they mean.

    Raises:
        UsageError: what is wrong with it.
    """
    name = os.path.abspath(os.fspath(path))
    ext = types.get(os.path.splitext(name)[1].lower().lstrip("."))
    if ext is None:
        msg = f"{name}: not a type of file that steno.{kind} takes; use one of {', '.join(sorted(types))}"
        raise UsageError(msg)
    try:
        with open(name, "rb", opener=files.regular) as file:
            first = file.read(16)
    except OSError as error:
        msg = f"{name} cannot be read: {error.strerror or error}"
        raise UsageError(msg) from error
    if not first:
        msg = f"{name} is empty"
        raise UsageError(msg)
    marks = _MARKS.get(ext)
    if marks is not None and not any(first[at:].startswith(mark) for at, mark in marks):
        msg = f"{name} is not a {ext} file, whatever its name says"
        raise UsageError(msg)
    return name, ext


_MARKS: Final[dict[str, tuple[tuple[int, bytes], ...]]] = {
    "png": ((0, b"\x89PNG"),),
    "jpg": ((0, b"\xff\xd8"),),
    "gif": ((0, b"GIF8"),),
    "webp": ((8, b"WEBP"),),
    "bmp": ((0, b"BM"),),
    "wav": ((8, b"WAVE"),),
    "flac": ((0, b"fLaC"),),
    "ogg": ((0, b"OggS"),),
    "mp4": ((4, b"ftyp"),),
    "webm": ((0, b"\x1a\x45\xdf\xa3"),),
}


@dataclass(frozen=True, slots=True)
class Raw:
    """A raw form read back: arrays are views of a map of the file, so that size costs no memory."""

    header: Mapping[str, Any]
    body: memoryview
    """What stands behind the head."""
    size_bytes: int = 0
    """Of the whole raw form."""
    mapped: mmap.mmap | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Raw:
        """Map a raw form's file.

        Raises:
            OSError: it cannot be read.
            CorruptError: it is no raw form, or cut short.
        """
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                msg = "a raw media value is empty"
                raise CorruptError(msg)
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        return cls.read(memoryview(mapped), mapped)

    @classmethod
    def read(cls, data: memoryview, mapped: mmap.mmap | None = None) -> Raw:
        """Read a raw form in memory.

        Raises:
            CorruptError: it is no raw form, or cut short.
        """
        try:
            magic, length = _HEAD.unpack_from(data)
            if magic != MAGIC:
                msg = "not a raw media value"
                raise CorruptError(msg)
            header = msgspec.msgpack.decode(data[_HEAD.size : _HEAD.size + length])
        except (struct.error, msgspec.MsgspecError) as error:
            msg = f"a raw media value is unreadable: {error}"
            raise CorruptError(msg) from error
        return cls(header, data[-(-(_HEAD.size + length) // _ALIGN) * _ALIGN :], len(data), mapped)

    def forget(self) -> None:
        """Let go of the pages read so far: they stay in the kernel's cache, not in this process."""
        if self.mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.mapped.madvise(mmap.MADV_DONTNEED)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, read-only views.

        Raises:
            CorruptError: the file is shorter than its header says.
        """
        import numpy as np

        found: dict[str, np.ndarray[Any, Any]] = {}
        for name, dtype, shape, at in self.header["arrays"]:
            try:
                flat = np.frombuffer(self.body, np.dtype(dtype), math.prod(shape), at)
            except ValueError as error:
                msg = f"a raw media value is cut short: {error}"
                raise CorruptError(msg) from error
            found[name] = flat.reshape(shape)
        return found

    @property
    def ext(self) -> str | None:
        """The type of file the rest is, when it is a whole file."""
        ext = self.header.get("ext")
        return ext if isinstance(ext, str) else None
