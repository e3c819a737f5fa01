"""The collector's side of media: raw values out of the journals, encoded behind the scalars.

    journal frame, arena or file  --take, before the posting-->  media/ab/DIGEST.raw   + encode/DIGEST.EXT.0
    media/ab/DIGEST.raw           --encode, a thread-------->    media/ab/DIGEST.EXT

The digest is of the raw form, so a point can be posted before its value is encoded, and equal values are one file.
A value so large that hashing it would hold up the scalars goes under the name its file has, and shares its encoded
file by a hard link with an equal one. What is to be encoded is told by the names in `encode/`, so that a collector
goes on where the last one died; the number counts the deaths.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
import secrets
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno import files, inside
from steno.errors import CorruptError
from steno.media import files as media_files
from steno.media import kinds
from steno.media.histogram import INLINE_BYTES as _COUNTED_BYTES
from steno.media.histogram import counted
from steno.media.raw import MAGIC, Raw
from steno.record import RAW, Ref

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HASHED_BYTES: Final = 64 << 20
_IN_A_FILE: Final = re.compile(r"value-[0-9a-f]{16,64}|raw-\d{6,18}")
"""Where a captured value lies in its journal's directory: in a file of its own, or in an arena."""
_MAX_DEATHS: Final = 2
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
_PASSING: Final = _FULL | {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.ESTALE}
"""What keeps a value from being taken over for a while: the others keep it for good."""
_PAUSE_SECS: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Job:
    digest: str
    ext: str
    deaths: int = 0

    @property
    def name(self) -> str:
        return f"{self.digest}.{self.ext}.{self.deaths}"


class Spool:
    """Takes raw media values over from the journals and encodes them. One per ledger.

    `take`, `posted` and `release` are for the posting thread, `sync` for the one that syncs the ledger; a thread of
    its own encodes. Killed at any instruction, a value is still in its journal or already under `media/`, raw or
    encoded.

    Args:
        run_dir: the run's directory.
        node_dir: this node's, where the names of what is to be encoded are kept.
        say: tells a person, once per key.
    """

    def __init__(self, run_dir: Path, node_dir: Path, say: Callable[[str, str], None]) -> None:
        self._run_dir = run_dir
        self._todo = node_dir / "encode"
        self._part = f"{node_dir.name}-{os.getpid()}-{secrets.token_hex(3)}.part"
        self._say = say
        self._jobs: deque[_Job] = deque()
        self._known: set[str] = set()
        self._wake = threading.Condition()
        self._stop = False
        self._busy = False
        self._thread: threading.Thread | None = None
        self._taken: list[tuple[str, int, int]] = []
        self._consumed: deque[tuple[int, list[tuple[str, int, int]]]] = deque()
        self._unsynced: dict[str, str] = {}
        """digest → extension of values that a power loss may take"""
        self._failures: list[dict[str, Any]] = []
        self.done = 0
        """Values encoded since the start."""
        self.failed = 0
        self._resume()

    def _resume(self) -> None:
        try:
            names = sorted(os.listdir(self._todo))
        except FileNotFoundError:
            return
        for name in names:
            digest, _, rest = name.partition(".")
            ext, _, deaths = rest.partition(".")
            if inside.number(deaths) is None or Ref(digest, "", {"ext": ext}).file is None:
                continue
            kept = media_files.place(self._run_dir, digest, media_files.KEPT)
            for part in kept.parent.glob(f".{digest}.*.part"):
                if part.name.removeprefix(f".{digest}.").startswith(f"{self._todo.parent.name}-"):
                    files.unlink(part, missing_ok=True)  # of a collector that died
            if kept.exists():
                # Kept because a package was missing: it may be there now.
                files.rename(kept, kept.with_suffix(f".{media_files.WAITING}"))
            self._queue(_Job(digest, ext, int(deaths)))

    # -- the posting thread -------------------------------------------------------------------------------

    def take(self, values: dict[Any, Any]) -> None:
        """Put in place of each captured value of a slice its final `Ref`; taken again, it does nothing more.

        Raises:
            OSError: no space; nothing is lost, take again.
        """
        for key, value in list(values.items()):
            if isinstance(value, Ref) and value.digest == "" and (RAW in value.meta or "attached" in value.meta):
                values[key] = self._final(value.kind, value.meta)

    def _final(self, kind: str, found: Any) -> Ref:
        meta = dict(found)
        raw, attached = meta.pop(RAW, None), meta.pop("attached", None)
        if attached:
            meta["attached"] = {name: self._attached(one) for name, one in attached.items()}
        if raw is None:
            return Ref("", kind, meta)
        try:
            return self._own(kind, meta, raw)
        except OSError as error:
            if error.errno in _PASSING:
                raise  # it is taken again
            return self._lose(kind, meta, error)
        except Exception as error:
            return self._lose(kind, meta, error)

    def _lose(self, kind: str, meta: dict[str, Any], error: Exception) -> Ref:
        """What stands for a captured value that cannot be taken over: its neighbours go on without it."""
        why = str(error) if isinstance(error, FileNotFoundError | CorruptError) else repr(error)
        self._failures.append({"media": kind, "reason": f"a captured value is lost: {why}"})
        self._say(f"media {kind} {why}", f"a captured {kind} is lost: {why}")
        return Ref("", kind, {**meta, "lost": why})

    def _attached(self, one: dict[str, Any]) -> dict[str, Any]:
        if RAW not in one:
            return one  # final already: a posting that failed is tried again
        ref = self._final(str(one["kind"]), {**one.get("meta", {}), RAW: one[RAW]})
        return {"kind": ref.kind, "digest": ref.digest, "meta": dict(ref.meta)}

    def _own(self, kind: str, meta: dict[str, Any], raw: dict[str, Any]) -> Ref:
        """The value's bytes under `media/`, and its name."""
        data: bytes | None = raw.get("data")
        path, at, size = str(raw.get("file", "")), int(raw.get("at", 0)), int(raw.get("size", 0))
        if at < 0 or size < 0:
            msg = f"{size} bytes at {at}"
            raise CorruptError(msg)
        whole = os.path.basename(path).startswith("value-")
        if data is None and not _IN_A_FILE.fullmatch(os.path.basename(path)):
            msg = f"its bytes are said to be in {os.path.basename(path)!r}"
            raise CorruptError(msg)
        inside.refuse_link(path)
        if data is None and (size <= _COUNTED_BYTES or not whole):
            data = _read(path, at, size)
        if data is not None and data[: len(MAGIC)] != MAGIC:
            msg = "its bytes are not those that were captured"
            raise CorruptError(msg)
        inline = _counted(data) if kind == "histogram" and data is not None else None
        if inline is not None:
            meta.pop("ext", None)
            ref = Ref("", kind, {**meta, **inline})
            media_files.note_kept(path, at, ref)
            self._consume(path, at, size)
            return ref
        if data is not None:
            digest = media_files.digest_of_bytes(data)
        elif size <= HASHED_BYTES:
            digest = media_files.digest_of(path)
        else:
            digest = os.path.basename(path).removeprefix("value-")
        if data is None and os.path.getsize(path) != size:
            msg = f"{os.path.getsize(path)} bytes of {size} are there"
            raise CorruptError(msg)
        ref = Ref(digest, kind, meta)
        job = _Job(digest, str(meta.get("ext", "bin")))
        whole_bytes = size if data is None else len(data)
        if not self._is_there(job, whole_bytes):
            self._lay(digest, data, path, whole_bytes)
            self._todo.mkdir(exist_ok=True)
            if digest not in self._known:
                files.touch(self._todo / job.name)
                self._queue(job)
        with self._wake:
            self._unsynced[digest] = job.ext
        media_files.note_kept(path, at, ref)
        self._consume(path, at, size)
        return ref

    def _is_there(self, job: _Job, raw_bytes: int) -> bool:
        """Whether the value is encoded, or kept raw; a power loss may have left less of that."""
        kept = media_files.place(self._run_dir, job.digest, media_files.KEPT)
        return media_files.place(self._run_dir, job.digest, job.ext).exists() or _size(kept) == raw_bytes

    def _lay(self, digest: str, data: bytes | None, path: str, raw_bytes: int) -> None:
        """Have the raw form under `media/`, whole or not at all."""
        target = media_files.place(self._run_dir, digest, media_files.WAITING)
        found = _size(target)
        if found == raw_bytes:
            return
        if found is not None:
            files.unlink(target)  # torn by a power loss
        target.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            try:
                files.link(path, target)
            except FileExistsError:
                return
            except OSError as error:
                if isinstance(error, FileNotFoundError) or error.errno in _FULL:
                    raise
            else:
                return
        # Another file system, or one without hard links.
        with files.aside(target, target.with_name(f".{target.name}.{self._part}")) as part:
            if data is not None:
                files.write_new(part, data)
            else:
                _copy(path, part)

    def _consume(self, path: str, at: int, size: int) -> None:
        if path:
            self._taken.append((path, at, size))

    def forget(self) -> None:
        """What was taken since the last posting was not posted: it is read, and taken, again."""
        self._taken = []

    def posted(self, generation: int) -> None:
        """What was taken is in the ledger with this posting."""
        if self._taken:
            self._consumed.append((generation, self._taken))
            self._taken = []

    def release(self, synced: int) -> None:
        """Give back the journals' space of values whose posting is synced."""
        while self._consumed and self._consumed[0][0] <= synced:
            _, taken = self._consumed.popleft()
            for path, at, size in taken:
                _give_back(path, at, size)

    def sync(self) -> None:
        """Have the disk hold what was taken so far, so that a posting that names it may be synced.

        Raises:
            OSError: the disk fails; the next call tries again.
        """
        with self._wake:
            unsynced, self._unsynced = self._unsynced, {}
        try:
            for digest, ext in list(unsynced.items()):
                # Twice: it may be encoded, and the raw form removed, between two looks.
                for form in (media_files.WAITING, ext, media_files.KEPT) * 2:
                    with contextlib.suppress(FileNotFoundError):
                        files.sync_file(media_files.place(self._run_dir, digest, form))
                        break
                del unsynced[digest]
        finally:
            with self._wake:
                self._unsynced = {**unsynced, **self._unsynced}

    def failures(self) -> list[dict[str, Any]]:
        """What went wrong since the last call, to be entered as notes."""
        found: list[dict[str, Any]] = []
        while self._failures:
            found.append(self._failures.pop(0))
        return found

    # -- the encoding thread ------------------------------------------------------------------------------

    def _queue(self, job: _Job) -> None:
        with self._wake:
            self._known.add(job.digest)
            self._jobs.append(job)
            if self._thread is None and not self._stop:
                self._thread = threading.Thread(target=self._work, name="steno-media", daemon=True)
                self._thread.start()
            self._wake.notify()

    @property
    def waiting(self) -> int:
        """How many values are to be encoded, the one in the works included."""
        with self._wake:
            return len(self._jobs) + self._busy

    def _work(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                while not self._jobs and not self._stop:
                    self._wake.wait()
                if self._stop:
                    return
                job = self._jobs.popleft()
                self._busy = True
            try:
                self._encode(job)
            except OSError as error:
                # A full disk, most likely: the raw value is safe, and tried again.
                self._say("media", f"encoding waits: {error}")
                with self._wake:
                    self._jobs.appendleft(job)
                    self._wake.wait_for(lambda: self._stop, _PAUSE_SECS)
            except Exception as error:
                self._say(f"media {job.digest}", f"media {job.digest}: {error!r}")
                self._forget(job)

    def _forget(self, job: _Job) -> None:
        with self._wake:
            self._known.discard(job.digest)

    def _encode(self, job: _Job) -> None:
        final = media_files.place(self._run_dir, job.digest, job.ext)
        source = media_files.place(self._run_dir, job.digest, media_files.WAITING)
        marker = self._todo / job.name
        if not final.exists():
            if job.deaths >= _MAX_DEATHS:
                self._keep(job, marker, "the collector died twice while encoding it")
                return
            counted_name = _Job(job.digest, job.ext, job.deaths + 1).name
            files.rename(marker, self._todo / counted_name)
            part = final.with_name(f".{job.digest}.{self._part}")
            found = _inode(source)
            try:
                raw = Raw.open(source)
                kinds.encode(raw, part)
                self._finish(part, final, raw.size_bytes)
            except ImportError as error:
                files.unlink(part, missing_ok=True)
                files.rename(self._todo / counted_name, marker)
                self._keep(job, None, f"{error}; pip install 'stenolog[media]', then steno sync")
                return
            except Exception as error:
                files.unlink(part, missing_ok=True)
                if isinstance(error, OSError) and error.errno in _FULL:
                    files.rename(self._todo / counted_name, marker)
                    raise
                if _inode(source) not in {found, None}:
                    self._queue(_Job(job.digest, job.ext, job.deaths + 1))  # it was torn, and has been taken again
                    return
                if not final.exists():  # else another node's collector was as quick
                    self._keep(job, self._todo / counted_name, repr(error))
                    return
            marker = self._todo / counted_name
        files.unlink(source, missing_ok=True)
        files.unlink(marker, missing_ok=True)
        self.done += 1
        self._forget(job)

    def _finish(self, part: Path, final: Path, raw_bytes: int) -> None:
        """Give an encoded file its name, synced: the raw form goes right after."""
        files.sync_file(part)
        if raw_bytes > HASHED_BYTES:
            same = media_files.place(self._run_dir, media_files.digest_of(part), final.suffix.lstrip("."))
            same.parent.mkdir(exist_ok=True)
            try:
                files.link(part, same)
            except FileExistsError:
                files.unlink(part)
                files.link(same, part)
            except OSError:
                pass  # no hard links here: each has a file of its own
        files.rename(part, final)

    def _keep(self, job: _Job, marker: Path | None, why: str) -> None:
        """Leave the value raw; it can be read so. Without `marker`, the next collector tries again."""
        source = media_files.place(self._run_dir, job.digest, media_files.WAITING)
        try:
            files.rename(source, source.with_suffix(f".{media_files.KEPT}"))
        except FileNotFoundError:
            why = f"{why}; its raw form is gone"
        if marker is not None:
            files.unlink(marker, missing_ok=True)
        self.failed += 1
        self._failures.append({"media": job.digest, "ext": job.ext, "reason": f"kept raw: {why}"})
        self._say(f"media {why}", f"a media value could not be encoded as {job.ext} and is kept raw: {why}")
        self._forget(job)

    def close(self, timeout: float = 2.0) -> None:
        """Stop after the value in the works; the rest is encoded by the next collector."""
        with self._wake:
            self._stop = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def abandon(self) -> None:
        """Stop without waiting."""
        self.close(0.0)


def _counted(data: bytes) -> dict[str, Any] | None:
    """A histogram of captured data; None if it cannot be counted: then it is kept as other values are."""
    try:
        return counted(Raw.read(memoryview(data)))
    except CorruptError:
        raise
    except Exception:  # the encoder meets the same, and says it
        return None


def _read(path: str, at: int, size: int) -> bytes:
    fd = inside.opened(path)
    try:
        data = os.pread(fd, min(size, os.fstat(fd).st_size), at)
    finally:
        os.close(fd)
    if len(data) != size:
        msg = f"{len(data)} bytes of {size} are there"
        raise CorruptError(msg)
    return data


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _inode(path: Path) -> int | None:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None


def _copy(path: str, target: Path) -> None:
    import shutil

    with open(inside.opened(path), "rb") as source, open(target, "xb") as part:
        shutil.copyfileobj(source, part, 1 << 20)


def _give_back(path: str, at: int, size: int) -> None:
    """Remove a value's file, or free its pages of an arena."""
    try:
        if os.path.basename(path).startswith("value-"):
            files.unlink(path)
            return
        fd = inside.opened(path, os.O_RDWR)
        try:
            start, end = at, -(-(at + size) // mmap.PAGESIZE) * mmap.PAGESIZE
            with mmap.mmap(fd, end - start, offset=start) as mapped:
                mapped.madvise(mmap.MADV_REMOVE)
        finally:
            os.close(fd)
    except (OSError, ValueError, AttributeError, CorruptError):
        pass  # gone already, or a file system without holes: it goes with the stream's directory
