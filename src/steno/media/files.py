"""Where a media value's file is, and what it says: encoded, still raw, or kept raw for good."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import bounds, files, inside
from steno.errors import CorruptError, StenoError, UsageError
from steno.media import kinds
from steno.media.raw import Raw
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Callable

WAITING: Final = "raw"
"""Extension of a value that is not encoded yet."""
KEPT: Final = "kept"
"""Extension of a raw value that could not be encoded."""
WANTED: Final = "media-wanted"
"""In a journal's directory: a destination of that process may ask for its media behind the posting."""
_POLL_SECS: Final = 0.02
_CHUNK_BYTES: Final = 1 << 20


def place(run_dir: Path, digest: str, ext: str) -> Path:
    """The file of that digest; two letters of it make the directory.

    Raises:
        CorruptError: the digest or the extension is none, or a symbolic link is in the way.
    """
    return found(run_dir, Ref(digest, "", {"ext": ext}))


def found(run_dir: Path, ref: Ref) -> Path:
    """The file of a reference that has one, there or not. Raises CorruptError as `place`."""
    if ref.file is None:
        raise CorruptError(f"the run names a {ref.kind} of the digest {ref.digest!r}, type {ref.meta.get('ext')!r}")
    return inside.path(run_dir, ref.file)


def encoded(run_dir: Path, ref: Ref, timeout: float = 0.0) -> Path | None:
    """The encoded file; None when there is none, even after waiting for an encoder at work.

    Args:
        run_dir: the run's directory.
        ref: the value.
        timeout: seconds to wait while the value is raw.

    Raises:
        CorruptError: the reference leads out of the run.
    """
    if not ref.digest:
        return None
    path = found(run_dir, ref)
    deadline = time.monotonic() + timeout
    while not path.exists():
        if time.monotonic() >= deadline or not place(run_dir, ref.digest, WAITING).exists():
            return path if path.exists() else None
        time.sleep(_POLL_SECS)
    return path


def value(run_dir: Path, ref: Ref) -> Any:
    """The value, decoded from its file or, before that is made or where it cannot be, from its raw form.

    Raises:
        UsageError: a package is missing, or the value was lost.
        FileNotFoundError: the file is gone.
        CorruptError: the file is damaged, would take too much memory, or the reference leads out of the run.
    """
    if not ref.digest:
        if "lost" in ref.meta:
            msg = f"this {ref.kind} was lost: {ref.meta['lost']}"
            raise UsageError(msg)
        return ref.meta["text"] if ref.kind == "text" else dict(ref.meta)
    for _ in range(2):
        # An encoder may rename the file between two looks.
        path = found(run_dir, ref)
        if os.path.lexists(path):
            return _read(path, lambda path: _cut(kinds.from_file(ref.kind, path), ref))
        for ext in (WAITING, KEPT):
            path = place(run_dir, ref.digest, ext)
            if os.path.lexists(path):
                return _read(path, lambda path: kinds.from_raw(ref.kind, Raw.open(path)))
    msg = f"the file of this {ref.kind} is gone: {found(run_dir, ref)}"
    raise FileNotFoundError(msg)


def _read(path: Path, decode: Callable[[Path], Any]) -> Any:
    """What a decoder makes of a file. Libraries have an error for each way in which a file can be bad."""
    with open(inside.opened(path), "rb", buffering=0) as file:
        bounds.decoded(path, os.fstat(file.fileno()).st_size)
    try:
        return decode(path)
    except (StenoError, FileNotFoundError, ImportError):
        raise
    except Exception as error:
        raise CorruptError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _cut(value: Any, ref: Ref) -> Any:
    """A video without the row and column that were added to make its sides even."""
    shape = ref.meta.get("shape")
    return value[:, : shape[1], : shape[2]] if ref.kind == "video" and shape else value


def want(journal_dir: Path) -> None:
    """Have it told where this journal's media have gone, from now on."""
    files.touch(journal_dir / WANTED)


def note_kept(path: str, at: int, ref: Ref) -> None:
    """Say where a captured value has gone, before its raw bytes go; only where that is wanted."""
    if not path or not os.path.exists(os.path.join(os.path.dirname(path), WANTED)):
        return
    files.write_json(Path(f"{path}.{at}.ref"), {"digest": ref.digest, "meta": ref.meta})


def kept_as(path: str, at: int, kind: str) -> Ref | None:
    """Where the captured value at that place has gone; None: nobody has said."""
    try:
        said = json.loads(inside.read(f"{path}.{at}.ref"))
    except FileNotFoundError:
        return None
    return Ref(str(said["digest"]), kind, said["meta"])


def digest_of(path: str | os.PathLike[str], at: int = 0, size: int | None = None) -> str:
    """The content address of a stretch of a file: 40 hexadecimal digits of its SHA-256."""
    state = hashlib.sha256()
    with open(inside.opened(path), "rb", buffering=0) as file:
        file.seek(at)
        left = os.fstat(file.fileno()).st_size - at if size is None else size
        while left > 0:
            data = file.read(min(left, _CHUNK_BYTES))
            if not data:
                break
            state.update(data)
            left -= len(data)
    return state.hexdigest()[:40]


def digest_of_bytes(data: bytes) -> str:
    """The content address of bytes."""
    return hashlib.sha256(data).hexdigest()[:40]
