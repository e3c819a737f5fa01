"""Removing a run from this machine: what steno made of it, file by file, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from steno import edits, files, host, inside, runfile, statusfile
from steno.errors import StenoError, UsageError
from steno.ledger import streams

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WAIT_SECS: Final = 5.0
"""A collector leaves within a moment of the last record that it has delivered."""
_STIR_SECS: Final = 60.0
"""A collector at work writes its status at least every twenty seconds."""
_FOLDERS: Final = ("metrics", "records", "media", "artifacts", "tensorboard", inside.MACHINERY)
_FILES: Final = re.compile(
    r"""manifest\.json | artifacts\.json | artifacts-store\.json | edits\.jsonl
      | card-[\w-]+\.json | summary(-[\w-]+)?\.parquet
      | metrics(-long)?(-node-\w+)?(-\d+)?\.(csv|jsonl) | logs-rank\d+(-node-\w+)?\.txt
      | \.(manifest|run|card|summary|edits|artifacts)[\w-]*\.\w+\.\d+-[0-9a-f]{8}""",
    re.VERBOSE,
)
_TEXTS: Final = os.path.join(inside.MACHINERY, "text")
"""Here the destination `text` keeps the names of the files that it made."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed of a run."""

    dir: Path
    files: int
    bytes: int
    left: tuple[str, ...]
    """Names in the run's directory that steno did not make; they are still there, and so is the directory."""


def check(run_dir: Path) -> None:
    """Whether it is a run that may be removed.

    Raises:
        UsageError: it cannot be proved to be a run, or somebody is at work on it.
        CorruptError: its machinery is no directory of files.
    """
    if not stat.S_ISDIR(os.lstat(run_dir).st_mode):
        raise UsageError(f"{run_dir} is a link, and nothing behind it is removed: name the run's own directory")
    if not runfile.read(run_dir)[0].get("id"):
        raise UsageError(f"{run_dir} has no {runfile.FILE} with the id of a run, and is not removed as one")
    inside.check(run_dir)
    if streams.live(run_dir):
        raise UsageError(f"{run_dir} is being recorded: end its program first")
    for node in _nodes(run_dir):
        said = files.read_json(node / "node.json").get("host")
        if said not in {None, host.name()} and _age_secs(node / statusfile.FILE) < _STIR_SECS:
            raise UsageError(f"{run_dir} was written by host {said} less than a minute ago: try again later")


def remove(run_dir: Path) -> Removed:
    """Remove the run; what is interrupted is still a run, to be removed again.

    Links are removed and never followed; other file systems are not entered.

    Raises:
        UsageError, CorruptError: as for `check`.
        StenoError: a file cannot be removed.
    """
    check(run_dir)
    with _quiet(run_dir), _alone(run_dir):
        check(run_dir)
        done = _Removal(os.lstat(run_dir).st_dev)
        try:
            for found in streams.find(run_dir):
                if found.pointer is not None and found.dir.is_dir():
                    done.alone(found.dir)
            for path in _texts(run_dir):
                done.file(path)
            for name in sorted(_ours(run_dir)):
                path = run_dir / name
                done.folder(path) if path.is_dir() and not path.is_symlink() else done.file(path)
            done.file(run_dir / runfile.FILE)  # last: without it nothing here is a run
        except OSError as error:
            raise StenoError(f"{run_dir} is removed in part: {error.strerror or error}: {error.filename}") from error
    with contextlib.suppress(OSError):
        files.rmdir(run_dir)
    left = sorted(entry.name for entry in files.scan(run_dir))
    return Removed(run_dir, done.files, done.bytes, tuple(left))


def _ours(run_dir: Path) -> Iterator[str]:
    """Names in the run's directory that steno gives, those of directories first, the machinery last of them."""
    id = str(runfile.read(run_dir)[0].get("id"))
    events = re.compile(rf"events\.out\.tfevents\.\d+\.{re.escape(id)}\..*")
    for entry in files.scan(run_dir):
        name = entry.name
        if name in _FOLDERS or name == edits.FILE or _FILES.fullmatch(name) or events.fullmatch(name):
            yield name


def _texts(run_dir: Path) -> Iterator[Path]:
    for claim in files.scan(run_dir / _TEXTS):
        name = claim.name.replace("%2F", "/").replace("%25", "%")
        path = inside.path(run_dir, name)
        if path.is_file():
            yield path


class _Removal:
    """Removes below one file system and counts."""

    def __init__(self, device: int) -> None:
        self._device = device
        self.files = 0
        self.bytes = 0

    def file(self, path: Path | str) -> None:
        """A file, or a link itself."""
        try:
            size = os.lstat(path).st_blocks * 512
            files.unlink(path)
        except FileNotFoundError:
            return
        self.files += 1
        self.bytes += size

    def folder(self, top: Path) -> None:
        """A directory with all that is below it; one of another file system is left, and an error."""
        found, waiting = [], [os.fspath(top)]
        while waiting:
            place = waiting.pop()
            if os.lstat(place).st_dev != self._device:
                raise OSError(0, "another file system is mounted here", place)
            found.append(place)
            with os.scandir(place) as entries:
                listed = list(entries)
            for entry in listed:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    self.file(entry.path)
        for place in reversed(found):
            files.rmdir(place)

    def alone(self, place: Path) -> None:
        """A journal's directory outside the run, which said that it is this run's: files, no directories."""
        for entry in files.scan(place):
            if not entry.is_dir(follow_symlinks=False):
                self.file(entry.path)
        with contextlib.suppress(OSError):
            files.rmdir(place)


@contextlib.contextmanager
def _alone(run_dir: Path) -> Iterator[None]:
    """Nobody begins to record into the run."""
    with contextlib.ExitStack() as stack:
        try:
            is_alone = stack.enter_context(runfile.alone(run_dir))
        except OSError as error:
            raise StenoError(f"{run_dir} cannot be removed: {error.strerror or error}: {error.filename}") from error
        if not is_alone:
            raise UsageError(f"a program begins to record in {run_dir.parent}: try again later")
        yield


@contextlib.contextmanager
def _quiet(run_dir: Path) -> Iterator[None]:
    """Hold the locks of the run's collectors: none is at work, and none begins."""
    held: list[int] = []
    deadline = time.monotonic() + _WAIT_SECS
    try:
        for node in _nodes(run_dir):
            while (fd := _lock(node)) is None:
                if time.monotonic() >= deadline:
                    raise UsageError(f"a collector is at work on {run_dir}: wait until `steno doctor` says it has left")
                time.sleep(0.05)
            if fd >= 0:
                held.append(fd)
        yield
    finally:
        for fd in held:
            os.close(fd)


def _lock(node: Path) -> int | None:
    """The collector's lock; None: one is at work; -1: it has ended the run in this moment, and put the node away."""
    try:
        return host.hold(node / "collector.lock")
    except FileNotFoundError:
        return -1


def _nodes(run_dir: Path) -> list[Path]:
    place = run_dir / inside.MACHINERY / "nodes"
    return [place / entry.name for entry in files.scan(place) if inside.node(entry.name) is not None]


def _age_secs(path: Path) -> float:
    try:
        return abs(time.time() - os.stat(path).st_mtime)
    except OSError:
        return float("inf")
