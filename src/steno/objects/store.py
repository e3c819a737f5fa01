"""One place in an object store: objects by key, written whole or not at all, and looked at after."""

from __future__ import annotations

import bisect
import contextlib
import datetime as dt
import hashlib
import inspect
import math
import os
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

from steno import files, host, inside
from steno.objects import s3
from steno.objects.sending import DifferentError, Sending
from steno.objects.url import protocol_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_CHUNK_BYTES: Final = 1 << 20
_LOCAL: Final = frozenset({"file", "local"})
_S3: Final = frozenset({"s3", "s3a"})
_ASIDE: Final = "steno-part"
_REREAD: Final = frozenset({"file", "local", "memory"})
"""Where reading an object back costs little: its digest is compared, elsewhere its size."""
_OURS: Final = "_steno"
"""Below a store: objects of none of its runs."""
_GAP_BYTES: Final = 64 << 10
"""Of what lies between two ranges, and is read with them: a request takes as long as so much."""
_PROBE: Final = f"{_OURS}/create-only"
_CLOCK: Final = f"{_OURS}/clock"


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as a listing has it."""

    size: int
    version: str
    """Another one after each change, as far as the store tells."""
    modified: float | None
    """By the store's clock, in seconds since 1970; None: it does not say."""


class ObjectStore:
    """Objects below one URL. Thread-safe; a forked child makes its own.

    Credentials and endpoint are fsspec's matter: environment variables (AWS_*, AWS_ENDPOINT_URL, GOOGLE_*, …) and
    its configuration file. Each method raises what the file system raises, OSError mostly, and retries nothing.

    Args:
        url: as `steno.objects.url.check` returns it.
        gate: held while data goes out: as many parallel transfers as it lets in.
        patient: leave retries to the file system's own; else each fault is raised at once.
    """

    def __init__(self, url: str, gate: threading.Semaphore | None = None, *, patient: bool = False) -> None:
        self.url = url
        self.gate = gate or threading.Semaphore(8)
        self.protocol = protocol_of(url)
        self.fs, root = _file_system(url, self.protocol, patient)
        self.root = str(root).rstrip("/")
        # Else s3fs asks for an object's size first, for it might be worth several requests.
        takes = inspect.signature(self.fs.cat_file).parameters if self.is_s3 else ()
        self._in_one = {"max_concurrency": 1} if "max_concurrency" in takes else {}

    def __repr__(self) -> str:
        return f"<ObjectStore {self.url}>"

    @property
    def is_s3(self) -> bool:
        """Whether its objects carry their digest, and large ones go in pieces of which it keeps account."""
        return self.protocol in _S3

    def place(self, key: str) -> str:
        """The key as the file system names it. Raises CorruptError for one that would lead out of the store's place."""
        return f"{self.root}/{inside.relative(key.rstrip('/'))}" if key else f"{self.root}/"

    def listing(self, folder: str = "") -> dict[str, int]:
        """Key → size in bytes of every object (below a folder); those on their way are not among them."""
        return {key: one.size for key, one in self.seen(folder).items()}

    def seen(self, folder: str = "") -> dict[str, Seen]:
        """As `listing`, with what tells a changed object from the one before."""
        try:
            self.fs.invalidate_cache()
            found: Mapping[str, Mapping[str, Any]] = self.fs.find(self.place(folder).rstrip("/"), detail=True)
        except FileNotFoundError:
            return {}
        head = f"{self.root.lstrip('/')}/"
        facts = {name.lstrip("/").removeprefix(head): _seen(one) for name, one in found.items()}
        return {key: one for key, one in facts.items() if not os.path.basename(key).startswith(".")}

    def look(self, key: str) -> Seen:
        """One object as `seen` has it. Raises FileNotFoundError."""
        return _seen(self.fs.info(self.place(key)))

    def holds(self, key: str, size: int, sha256: str) -> bool:
        """Whether an object with this content is there, as far as can be found out without sending or much reading."""
        if self.is_s3:
            return s3.digest(self, key) == sha256
        if self.protocol not in _REREAD:
            return False
        try:
            self._look(Sending(key, Path(), size, sha256))
        except (DifferentError, FileNotFoundError):
            return False
        return True

    def send(self, one: Sending) -> None:
        """Write a file's content under its key, and make sure of it. The last writer wins.

        Raises:
            DifferentError: the file changed meanwhile, or what arrived is not what went.
        """
        if self.is_s3:
            s3.send(self, one)
            return
        with self.gate:
            if self.protocol in _LOCAL:
                _copy(one, Path(self.place(one.key)))
            else:
                self.fs.makedirs(os.path.dirname(self.place(one.key)), exist_ok=True)
                self.fs.put_file(str(one.path), self.place(one.key))
                one.moved(one.size)
        self._look(one)

    def _look(self, one: Sending) -> None:
        there = int(self.fs.info(self.place(one.key))["size"])
        if there != one.size:
            raise DifferentError(f"{one.key} has {there} bytes in the store and {one.size} here")
        if self.protocol in _REREAD:
            with self.fs.open(self.place(one.key), "rb") as file:
                found = sha256_of(file)
            if found != one.sha256:
                raise DifferentError(f"{one.key} has another content in the store than here")

    def write(self, key: str, data: bytes) -> None:
        """Write a small object; a reader sees the old one or the new one."""
        if self.is_s3:
            s3.write(self, key, data)
        elif self.protocol in _LOCAL:
            path = Path(self.place(key))
            with aside(path) as hidden:
                hidden.write_bytes(data)
        else:
            self.fs.makedirs(os.path.dirname(self.place(key)), exist_ok=True)
            self.fs.pipe_file(self.place(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object unless one of this key is there; whether it was written. Of several together one does.

        That holds where `creates` does.
        """
        try:
            if self.is_s3:
                return s3.create(self, key, data)
            if self.protocol in _LOCAL:
                return files.create_bytes(Path(self.place(key)), data)
            self.fs.makedirs(os.path.dirname(self.place(key)), exist_ok=True)
            self.fs.pipe_file(self.place(key), data, mode="create")
        except FileExistsError:
            return False
        return True

    def creates(self) -> bool:
        """Whether this store keeps an object that is there from being created again: asked by trying it.

        One that does not know the condition writes, or refuses to.
        """
        try:
            return not (self.create(_PROBE, b"{}") and self.create(_PROBE, b"{}"))
        except (NotImplementedError, TypeError):
            return False

    def now(self) -> float | None:
        """The store's clock, in seconds since 1970, as an object tells it that is written for that; None: it does not.

        It is compared with when other objects were written, by whatever machine.
        """
        self.write(_CLOCK, b"{}")
        return self.look(_CLOCK).modified

    @overload
    def read(self, key: str) -> bytes: ...
    @overload
    def read(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]: ...
    def read(self, key: str, ranges: Sequence[tuple[int, int]] | None = None) -> bytes | list[bytes]:
        """A small object's content, or of any object these ranges of bytes (begin, end), in their order.

        Ranges that are neighbours come in one request, others in parallel. One that leads beyond the object's end is
        cut there. Raises FileNotFoundError.
        """
        place = self.place(key)
        if ranges is None:
            data: bytes = self.fs.cat_file(place, **self._in_one)
            return data
        spans = _joined(ranges)
        begins, ends = [begin for begin, _ in spans], [end for _, end in spans]
        found = self.fs.cat_ranges([place] * len(spans), begins, ends, on_error="raise") if spans else []
        out = []
        for begin, end in ranges:
            at = bisect.bisect_right(begins, begin) - 1
            out.append(bytes(found[at][begin - begins[at] : end - begins[at]]) if begin < end else b"")
        return out

    def fetch(self, key: str, path: Path, check: Callable[[Path], str]) -> None:
        """Bring an object to a local file, which is there whole or not at all.

        Args:
            key: the object.
            path: the file, replaced.
            check: says what is wrong with the file that came, or "".

        Raises:
            FileNotFoundError: no such object.
            DifferentError: what came is not what was meant.
        """
        with aside(path) as hidden:
            self.fs.get_file(self.place(key), str(hidden))
            wrong = check(hidden)
            if wrong:
                raise DifferentError(f"{self.url}/{key}: {wrong}")

    def sweep(self) -> None:
        """Remove what killed processes of this machine left half written."""
        if self.protocol in _LOCAL:
            sweep(Path(self.root))

    def unfinished(self) -> set[str]:
        """The keys of large files whose sending was started and that have not arrived, where the store can tell."""
        if not self.is_s3:
            return set()
        return s3.unfinished(self)

    def forget(self, key: str) -> None:
        """Give up what was started of a large file."""
        if self.is_s3:
            s3.forget(self, key)

    def remove(self, key: str) -> None:
        """Delete an object, and what was started of it; one that is not there is none the worse for it."""
        self.forget(key)
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.place(key))


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges in order, those that touch or nearly do as one."""
    spans: list[tuple[int, int]] = []
    for begin, end in sorted(one for one in ranges if one[0] < one[1]):
        if spans and begin <= spans[-1][1] + _GAP_BYTES:
            spans[-1] = spans[-1][0], max(spans[-1][1], end)
        else:
            spans.append((begin, end))
    return spans


def sha256_of(source: Any) -> str:
    """The SHA-256 of a path, or of an open file from where it stands."""
    if isinstance(source, str | Path):
        with open(source, "rb", buffering=0) as file:
            return sha256_of(file)
    state = hashlib.sha256()
    while data := source.read(_CHUNK_BYTES):
        state.update(data)
    return state.hexdigest()


def sweep(place: Path) -> None:
    """Remove files below that a process of this machine, dead by now, did not get to write whole."""
    for path in place.rglob(f".*{_ASIDE}"):
        *_, begins, made_by, _ = path.name.rsplit(".", 3)
        pid = made_by.partition("-")[0]
        if begins == _host() and pid.isdigit() and not host.is_running(int(pid)):
            with contextlib.suppress(OSError):
                files.unlink(path)


def _seen(facts: Mapping[str, Any]) -> Seen:
    names = ("LastModified", "last_modified", "mtime", "updated")
    when: Any = next((facts[name] for name in names if facts.get(name)), None)
    if isinstance(when, str):
        with contextlib.suppress(ValueError):
            when = dt.datetime.fromisoformat(when)
    if isinstance(when, dt.datetime):
        when = when.timestamp()
    modified = float(when) if isinstance(when, int | float) else None
    size = int(facts["size"] or 0)
    return Seen(size, f"{facts.get('ETag') or facts.get('etag') or facts.get('ino')}:{modified}:{size}", modified)


_SHARED_SECS: Final = 300.0
"""Credentials may be others then."""
_shared: dict[tuple[int, int], tuple[float, Any]] = {}
"""By process and environment, when a reader's client of S3 was made, and it: to make one takes 140 ms of CPU."""


def _file_system(url: str, protocol: str, patient: bool) -> tuple[Any, str]:
    if protocol not in _S3 or not patient:
        return _new_file_system(url, protocol, patient)
    here = os.getpid(), hash((protocol, *sorted(os.environ.items())))
    since, fs = _shared.get(here, (-math.inf, None))
    if time.monotonic() - since > _SHARED_SECS:
        fs, _ = _new_file_system(url, protocol, patient)
        _shared.clear()
        _shared[here] = time.monotonic(), fs
    return fs, url.partition("://")[2]


def _new_file_system(url: str, protocol: str, patient: bool) -> tuple[Any, str]:
    import fsspec

    # What others write meanwhile must be seen, and an instance that a parent process made is not ours.
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": protocol != "memory"}
    if protocol in _S3:
        options |= s3.options(patient=patient)
    fs, root = fsspec.core.url_to_fs(url, **options)
    if protocol in _S3 and not patient:
        fs.retries = 1  # the uploader waits and tries again itself, and counts it
    return fs, root


def _copy(one: Sending, path: Path) -> None:
    with open(one.path, "rb", buffering=0) as source, aside(path) as hidden, open(hidden, "wb", buffering=0) as out:
        while data := source.read(_CHUNK_BYTES):
            out.write(data)
            one.moved(len(data))
        files.sync_file(out.fileno())


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A hidden file next to the path that takes its place at the end; what a killed one left is swept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f".{path.name}.{_host()}.{os.getpid()}-{secrets.token_hex(4)}.{_ASIDE}")
    with files.aside(path, own) as hidden:
        yield hidden


def _host() -> str:
    return host.name().replace(".", "-")
