"""What lies in a place full of runs, an object store or a directory: its runs, and the parts of each."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steno import files, inside, paths
from steno.errors import CorruptError, RunNotFoundError, StenoError, UsageError
from steno.ledger import verify
from steno.ledger.bins_name import name_of
from steno.ledger.read import Reader
from steno.objects import url as urls
from steno.objects.store import ObjectStore
from steno.secrecy import error_text
from steno.store import cards
from steno.store.engine import PartGone
from steno.store.remote import Remote
from steno.store.runs import run_dirs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from steno.ledger.snapshot import Part
    from steno.store.run_summary import RunSummary

_OWN: Final = "_"
"""Begins the names of what is next to the runs: tables' metadata, cards."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A run that lies in the place."""

    place: str
    """Its directory below the root, as `project/name`."""
    url: str
    parts: Mapping[str, int]
    """The parts that lie there, those of a list or not: name below the run, and size in bytes."""
    mark: str
    """The same as long as the names and sizes of its other files are."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a run says of itself."""

    summary: RunSummary
    parts: Mapping[str, Part]
    """Those that its lists name: each record that is sealed is in one."""
    dir: Path
    """Where its small files are on this machine."""


@dataclass(frozen=True, slots=True)
class Stock:
    """A place full of runs.

    Args:
        root: its URL: an object store's, or that of a directory.
    """

    root: str
    local: Path | None = field(default=None)
    """A directory of runs as they were recorded, and no store."""

    def runs(self) -> Iterator[Stored]:
        """Its runs, from one listing of a store. Raises StenoError for a store that cannot be listed."""
        if self.local is not None:
            for path in run_dirs(self.local):
                yield self._of_directory(path)
            return
        try:
            sizes = ObjectStore(self.root, patient=True).listing()
        except Exception as error:
            raise StenoError(f"{self.root} cannot be listed: {error_text(error)}") from None
        yield from _by_run(self.root, sizes)

    def _of_directory(self, path: Path) -> Stored:
        parts: dict[str, int] = {}
        for kind in ("metrics", "records"):
            with contextlib.suppress(OSError), os.scandir(path / kind) as found:
                parts |= {f"{kind}/{one.name}": one.stat().st_size for one in found if _is_part(f"{kind}/{one.name}")}
        assert self.local is not None
        return Stored(path.relative_to(self.local).as_posix(), str(path), parts, "")

    def contents(self, one: Stored) -> Contents:
        """What the run's own lists say.

        Raises:
            StenoError: it is gone, or cannot be read.
        """
        if self.local is not None:
            directory = Path(one.url)
        else:
            try:
                directory = Remote(one.url).dir
            except PartGone as gone:
                raise RunNotFoundError(f"{one.url} changes while it is read: {gone}") from None
        snapshot = Reader(directory).snapshot(batches=False)
        return Contents(cards.summarise(directory), {part.name: part for part in snapshot.parts}, directory)

    def fetched(self, one: Stored, part: Part, folder: Path) -> Path:
        """A part as a file of this machine that is what was written: the run's own, or a copy in the folder.

        Raises:
            CorruptError: it is damaged.
            OSError: it is gone, or cannot be read.
        """
        path = self._file(one, part.name, folder)
        if part.crc and verify.differing(path, part.crc):
            raise CorruptError(f"{one.url}/{part.name} is damaged: its checksum is another")
        return path

    def fetched_into(self, one: Stored, part: Part, folder: Path) -> Path | None:
        """The file of bins next to a part, whatever it says; None: there is none."""
        try:
            return self._file(one, name_of(part.name), folder)
        except FileNotFoundError:
            return None

    def _file(self, one: Stored, name: str, folder: Path) -> Path:
        if self.local is not None:
            path = Path(one.url) / inside.relative(name)
            if not path.is_file():
                raise FileNotFoundError(str(path))
            return path
        path = folder / name
        ObjectStore(one.url, patient=True).fetch(name, path, lambda _: "")
        return path

    def forget(self, path: Path) -> None:
        """Remove a file that was fetched, if it is a copy."""
        if self.local is None:
            files.unlink(path, missing_ok=True)


def stock_of(place: str | os.PathLike[str]) -> Stock:
    """The place that is meant: a URL, or a directory of runs.

    Raises:
        UsageError: no URL that can be read, or no directory.
    """
    if paths.is_url(place):
        return Stock(urls.check("store", place, writing=False))
    path = Path(paths.local("store", place)).absolute()
    if not path.is_dir():
        raise UsageError(f"there is no directory {path}: give a directory of runs, or the URL of a store")
    return Stock(f"file://{path}", path)


def _is_part(name: str) -> bool:
    kind, _, file = name.partition("/")
    return kind in {"metrics", "records"} and "-part-" in file and file.endswith(".parquet") and "/" not in file


def _by_run(root: str, sizes: Mapping[str, int]) -> Iterator[Stored]:
    """The runs of a listing. One lies where its run.json is."""
    homes = {key.removesuffix("/run.json") for key in sizes if key.endswith("/run.json") and key[0] != _OWN}
    homes = {home for home in homes if not any(step.startswith(".") for step in home.split("/"))}  # no run is called so
    parts: dict[str, dict[str, int]] = {home: {} for home in homes}
    rest: dict[str, list[tuple[str, int]]] = {home: [] for home in homes}
    for key, size in sizes.items():
        words = key.split("/")
        for at in range(len(words) - 1, 0, -1):
            home = "/".join(words[:at])
            if home in homes:
                name = "/".join(words[at:])
                if _is_part(name):
                    parts[home][name] = size
                elif words[at] not in {"media", "artifacts", "metrics", "records"}:
                    rest[home].append((name, size))
                break
    for home in sorted(homes):
        mark = hashlib.sha256(repr(sorted(rest[home])).encode()).hexdigest()[:16]
        yield Stored(home, f"{root}/{home}", parts[home], mark)
