"""Whether all is there that runs in a store or a directory say that they have, and is what was written."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from steno import inside, paths
from steno.artifacts import content
from steno.errors import CorruptError, RunNotFoundError, StenoError
from steno.ledger import verify
from steno.ledger.read import Reader
from steno.objects import url as urls
from steno.objects.store import ObjectStore, sha256_of
from steno.record import node_name
from steno.secrecy import error_text
from steno.store import together
from steno.store.remote import Remote
from steno.store.runs import run_dirs
from steno.store.stock import Stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from steno.ledger.snapshot import Part

_AT_ONCE: Final = 4
_TAIL_BYTES: Final = 1 << 16
_ARTIFACTS: Final = "artifacts.json"


@dataclass(slots=True)
class Verified:
    """What was found of one run."""

    place: str
    parts: int = 0
    artifacts: int = 0
    bytes: int = 0
    """That were read and compared."""
    problems: dict[str, str] = field(default_factory=dict)
    """By the name of what is missing or damaged, why."""


class _Files(Protocol):
    """Where a run's files are."""

    def size(self, name: str) -> int | None:
        """None: there is no such file."""

    def piece(self, name: str, start: int, end: int) -> bytes:
        """A stretch of a file."""

    def whole(self, name: str, check: Callable[[Path], str]) -> str:
        """What `check` says of the file."""

    def contents(self) -> Iterable[str]:
        """The names of the files of artifacts."""


class _Stored:
    """In an object store."""

    def __init__(self, url: str, store: ObjectStore) -> None:
        self._store = store
        self._sizes = store.listing()
        self.url = url

    def size(self, name: str) -> int | None:
        return self._sizes.get(name)

    def piece(self, name: str, start: int, end: int) -> bytes:
        return self._store.read(name, [(start, end)])[0]

    def whole(self, name: str, check: Callable[[Path], str]) -> str:
        found: list[str] = []
        with tempfile.TemporaryDirectory() as folder:
            self._store.fetch(name, Path(folder) / "it", lambda path: found.append(check(path)) or "")  # type: ignore[func-returns-value]
        return found[0]

    def contents(self) -> Iterable[str]:
        return self._sizes


class _Local:
    """In a directory of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self, name: str) -> int | None:
        try:
            return os.lstat(inside.path(self._path, name)).st_size
        except OSError:
            return None

    def piece(self, name: str, start: int, end: int) -> bytes:
        with open(inside.path(self._path, name), "rb") as file:
            file.seek(start)
            return file.read(end - start)

    def whole(self, name: str, check: Callable[[Path], str]) -> str:
        return check(inside.path(self._path, name))

    def contents(self) -> Iterable[str]:
        place = self._path / content.CONTENT
        return [f"{content.CONTENT}/{one.parent.name}/{one.name}" for one in place.glob("*/*")]


def verify_all(place: str, *, whole: bool) -> Iterator[Verified]:
    """Each run at a place: a URL or a directory, of a run or of many.

    Args:
        place: what is looked at.
        whole: every byte is read; else the sizes, and the end of each part, which says what is in it.

    Raises:
        StenoError: the place cannot be read, or has no run.
    """
    if paths.is_url(place):
        url = urls.check("place", place, writing=False)
        runs: Sequence[str | Path] = _urls(url)
    else:
        path = Path(paths.local("place", place)).absolute()
        runs = [path] if (path / "run.json").is_file() else list(run_dirs(path))
    if not runs:
        raise RunNotFoundError(f"there is no run at {place}")
    for one in runs:
        yield _verified(one, whole=whole)


def _urls(url: str) -> list[str]:
    try:
        if "run.json" in ObjectStore(url, patient=True).listing():
            return [url]
    except Exception as error:
        raise StenoError(f"{url} cannot be listed: {error_text(error)}") from None
    return [one.url for one in Stock(url).runs()]


def _verified(one: str | Path, *, whole: bool) -> Verified:
    found = Verified(str(one))
    try:
        if isinstance(one, Path):
            directory, held = one, _Local(one)
            place: _Files = held
        else:
            directory, place = Remote(one).dir, _Stored(one, ObjectStore(one, patient=True))
        inside.check(directory)
        snapshot = Reader(directory).snapshot(batches=False)
        found.problems |= {f"node {node_name(node)}": why for node, why in snapshot.unreadable.items()}
        for loss in snapshot.losses:
            found.problems[loss.name or loss.kind] = f"{loss.kind}: {loss.reason}"
        names = _artifacts(place, found)
        wanted = [(part.name, partial(_part, place, part, whole=whole)) for part in snapshot.parts]
        wanted += [(key, partial(_artifact, place, digest, whole=whole)) for key, digest in names.items()]
        found.parts, found.artifacts = len(snapshot.parts), len(names)
        answers = together.each(lambda pair: _asked(pair[1]), wanted, _AT_ONCE)
        for (name, _), (count, wrong) in zip(wanted, answers, strict=True):
            found.bytes += count
            if wrong:
                found.problems[name] = wrong
    except Exception as error:  # one damaged run costs no other
        found.problems["run.json" if isinstance(error, RunNotFoundError) else "run"] = error_text(error)
    return found


def _asked(check: Callable[[], tuple[int, str]]) -> tuple[int, str]:
    try:
        return check()
    except FileNotFoundError:
        return 0, "it is missing"
    except Exception as error:
        return 0, f"it cannot be read: {error_text(error)}"


def _part(place: _Files, part: Part, *, whole: bool) -> tuple[int, str]:
    """(bytes that were read, what is wrong)."""
    size = place.size(part.name)
    if size is None:
        return 0, "it is missing"
    if size != part.bytes:
        return 0, f"it has {size:,} bytes instead of {part.bytes:,}"
    if whole:
        wrong = place.whole(part.name, lambda path: str(sum(end - at for at, end in _bad(path, part)) or ""))
        return size, f"{wrong} bytes of it are in stretches that are damaged" if wrong else ""
    known = verify.sums(part.crc) if part.crc else None
    if known is None:
        return 0, ""
    start = max(0, size - _TAIL_BYTES)
    tail = place.piece(part.name, start, size)
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if length > size:
        return len(tail), "its end is damaged"
    if length > len(tail):
        tail = place.piece(part.name, size - length, size)
    import crc32c

    return len(tail), "" if crc32c.crc32c(tail[-length:]) == known.footer else "its end is damaged"


def _bad(path: Path, part: Part) -> verify.Ranges:
    return verify.differing(path, part.crc) if part.crc else []


def _artifacts(place: _Files, found: Verified) -> dict[str, str]:
    """By key, the digests of the contents that are there, and of those that the run's list in a store names."""
    digests = {key: digest for key in place.contents() if (digest := content.digest_in(key)) is not None}
    size = place.size(_ARTIFACTS)
    if size is None or size > inside.LARGEST_BYTES:
        return digests
    try:
        rows = list(json.loads(place.piece(_ARTIFACTS, 0, size))["names"].values())
        return digests | {content.key(row["digest"]): row["digest"] for row in rows}
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError, CorruptError):
        found.problems[_ARTIFACTS] = "it is damaged"
        return digests


def _artifact(place: _Files, digest: str, *, whole: bool) -> tuple[int, str]:
    key = content.key(digest)
    size = place.size(key)
    if size is None:
        return 0, "it is missing"
    if not whole:
        return 0, ""
    return size, place.whole(key, lambda path: "" if sha256_of(path) == digest else "its content is another")
