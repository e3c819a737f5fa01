"""Snapshots of files and directories, taken at the call into the run's own file system."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import stat
from typing import TYPE_CHECKING, Any, Final

from steno import files
from steno.artifacts.content import MANIFEST, STAGING, DirectoryFile, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CLONE: Final = 0x40049409
"""FICLONE, _IOW(0x94, 9, int): the new file shares the old one's blocks until either is written."""
_PIECE_BYTES: Final = 64 << 20
"""Copied by one system call: between two of them a Ctrl-C is heard."""
_HAND_BYTES: Final = 1 << 20
_UNABLE: Final = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM, errno.EBADF, errno.EACCES}
)
_LINKLESS: Final = _UNABLE | {errno.EMLINK}


class NoRoomError(Exception):
    """The snapshot could not be written: a fault of the disk, not of the caller."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Staging:
    """Takes snapshots for one process of a run, each under a name of its own.

    Thread-safe. A snapshot that is not journalled when the process dies is removed by the collector.

    Args:
        run_dir: the run's directory.
        stream: the process's journal, whose end tells the collector that nobody is at work here any more.
        say: called with (key, message) when a snapshot costs more than was asked for.
    """

    def __init__(self, run_dir: Path, stream: str, say: Callable[[str, str], None]) -> None:
        self._run_dir = run_dir
        self._place = f"{STAGING}/{stream}"
        self._say = say
        self._numbers = itertools.count(1)
        self._made = False
        self._unlinkable: set[int] = set()
        """File systems (`st_dev`) from which nothing can be cloned to here."""

    def number(self) -> int:
        """A number that this process has not given out yet."""
        return next(self._numbers)

    def _new(self, number: int) -> str:
        """Where that snapshot goes, under the run directory."""
        if not self._made:
            try:
                try:
                    os.makedirs(self._run_dir / self._place, exist_ok=True)
                except FileNotFoundError:  # a collector that leaves has just removed what was empty
                    os.makedirs(self._run_dir / self._place, exist_ok=True)
            except OSError as error:
                raise NoRoomError(error) from error
            self._made = True
        return f"{self._place}/{number}"

    def file(self, number: int, source: str, how: str) -> tuple[str, int, str]:
        """Snapshot one file: (its place under the run directory, size in bytes, how: "link", "reflink" or "copy").

        Raises:
            OSError: the source cannot be read.
            NoRoomError: the snapshot cannot be written.
        """
        name = self._new(number)
        size, done = self._take(source, os.path.join(self._run_dir, name), how)
        return name, size, done

    def tree(self, number: int, source: str, how: str) -> tuple[str, int, int]:
        """Snapshot a directory: (the manifest's place, bytes of all files, how many files).

        Raises:
            OSError: the directory cannot be listed.
            NoRoomError: the snapshot cannot be written.
        """
        name = self._new(number)
        target = self._run_dir / name
        try:
            try:
                target.mkdir()
            except OSError as error:
                raise NoRoomError(error) from error
            manifest = self._walk(source, target, how)
            try:
                files.write_new(target / MANIFEST, manifest.encode())
            except OSError as error:
                raise NoRoomError(error) from error
        except BaseException:
            files.remove_tree(target)
            raise
        if manifest.skipped:
            some = ", ".join(f"{what!r} ({why})" for what, why in manifest.skipped[:3])
            self._say(
                f"artifact {source}", f"of the directory {source} was left out: {some}, {len(manifest.skipped)} in all"
            )
        return f"{name}/{MANIFEST}", sum(one.size for one in manifest.files), len(manifest.files)

    def close(self) -> None:
        """Take the directory away where nothing is left in it."""
        with contextlib.suppress(OSError):
            files.rmdir(self._run_dir / self._place)

    # -- directories --------------------------------------------------------------------------------------

    def _walk(self, source: str, target: Path, how: str) -> Manifest:
        """List all, then snapshot the files: what is added meanwhile, perhaps by us, is not met."""
        top = os.path.realpath(source)
        own = os.path.realpath(self._run_dir)
        regular: list[str] = []
        links: list[tuple[str, str]] = []
        empty: list[str] = []
        skipped: list[tuple[str, str]] = []
        waiting = [""]
        while waiting:
            at = waiting.pop()
            try:
                with os.scandir(os.path.join(top, at)) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                if not at:
                    raise
                skipped.append((at, error.strerror or str(error)))
                continue
            if not entries and at:
                empty.append(at)
            for entry in entries:
                name = f"{at}/{entry.name}" if at else entry.name
                if entry.is_symlink():
                    self._link(top, name, regular, links, skipped)
                elif entry.is_dir(follow_symlinks=False):
                    if os.path.join(top, name) == own:
                        skipped.append((name, "it is the run itself"))
                    else:
                        waiting.append(name)
                elif entry.is_file(follow_symlinks=False):
                    regular.append(name)
                else:
                    skipped.append((name, "neither a file nor a directory"))
        listed: list[DirectoryFile] = []
        for number, name in enumerate(regular):
            path = os.path.join(top, name)
            try:
                size, _ = self._take(path, str(target / str(number)), how)
                mode = stat.S_IMODE(os.stat(path).st_mode)
            except OSError as error:  # gone between the listing and now, or not ours to read
                with contextlib.suppress(OSError):
                    files.unlink(target / str(number))
                skipped.append((name, error.strerror or str(error)))
                continue
            listed.append(DirectoryFile(name, str(number), size, mode & 0o777))
        return Manifest(tuple(listed), tuple(links), tuple(empty), tuple(skipped))

    @staticmethod
    def _link(
        top: str, name: str, regular: list[str], links: list[tuple[str, str]], skipped: list[tuple[str, str]]
    ) -> None:
        """A symbolic link stays one where it leads to something inside; outside, only a file's content is taken."""
        path = os.path.join(top, name)
        try:
            target = os.readlink(path)
        except OSError as error:
            skipped.append((name, error.strerror or str(error)))
            return
        reached = os.path.realpath(path)
        lexical = os.path.normpath(os.path.join(os.path.dirname(path), target))
        if (
            not os.path.isabs(target)
            and all(place.startswith(top.rstrip("/") + "/") for place in (reached, lexical))
            and os.path.exists(reached)
        ):
            links.append((name, target))
        elif os.path.isfile(reached):
            regular.append(name)
        else:
            skipped.append((name, f"a symbolic link to {target}, which is {_what(reached)}"))

    # -- one file -----------------------------------------------------------------------------------------

    def _take(self, source: str, target: str, how: str) -> tuple[int, str]:
        if how == "link":
            size = self._linked(source, target)
            if size is not None:
                return size, "link"
        fd = files.regular(source)
        try:
            facts = os.fstat(fd)
            try:
                # Nobody writes content that is found by its digest.
                copy = files.create(target, 0o444)
            except OSError as error:
                raise NoRoomError(error) from error
            try:
                if how != "copy" and facts.st_dev not in self._unlinkable:
                    if _clone(fd, copy):
                        return os.fstat(copy).st_size, "reflink"
                    self._unlinkable.add(facts.st_dev)
                if how == "reflink":
                    self._say(
                        "snapshot",
                        f"{self._run_dir} and {source} share no file system with reflinks: artifacts are copied",
                    )
                return _copy(fd, copy, facts), "copy"
            except BaseException:
                files.unlink(target)
                raise
            finally:
                os.close(copy)
        finally:
            os.close(fd)

    def _linked(self, source: str, target: str) -> int | None:
        """The size of the file, linked; None: it cannot be."""
        real = os.path.realpath(source)
        facts = os.stat(real)
        if not stat.S_ISREG(facts.st_mode):
            return None  # reported where it is opened
        try:
            files.link(real, target)
        except OSError as error:
            if error.errno not in _LINKLESS:
                if isinstance(error, FileNotFoundError) and not os.path.exists(real):
                    raise
                raise NoRoomError(error) from error
            self._say("snapshot", f"{source} cannot be linked into {self._run_dir} ({error.strerror}): it is copied")
            return None
        return os.stat(target).st_size


def _what(path: str) -> str:
    return "outside" if os.path.exists(path) else "missing"


def _clone(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _CLONE, source)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise NoRoomError(error) from error
        return False
    return True


def _copy(source: int, target: int, facts: os.stat_result) -> int:
    """Copy what the file holds now, holes as holes; returns its size."""
    size = facts.st_size
    if facts.st_blocks * 512 < size:
        with contextlib.suppress(OSError):
            return _copy_sparse(source, target, size)
        os.ftruncate(target, 0)
    end = _stretch(source, target, 0, size)
    if not size:
        end = _read_all(source, target)  # a file of /proc says nothing of its size
    return end


def _copy_sparse(source: int, target: int, size: int) -> int:
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # nothing but a hole is left
        end = min(os.lseek(source, start, os.SEEK_HOLE), size)
        at = _stretch(source, target, start, end)
        if at < end:
            return at
    _write(os.ftruncate, target, size)
    return size


def _stretch(source: int, target: int, at: int, end: int) -> int:
    """Copy from `at` to `end`, or to the end of a file that has become shorter; returns how far."""
    copy = _by_kernel if hasattr(os, "copy_file_range") else _by_hand
    while at < end:
        try:
            count = copy(source, target, at, min(end - at, _PIECE_BYTES))
        except OSError as error:
            if copy is _by_kernel and error.errno in _UNABLE:
                copy = _by_hand
                continue
            raise NoRoomError(error) from error
        if count == 0:
            break
        at += count
    return at


def _by_kernel(source: int, target: int, at: int, count: int) -> int:
    return os.copy_file_range(source, target, count, at, at)


def _by_hand(source: int, target: int, at: int, count: int) -> int:
    view = memoryview(os.pread(source, min(count, _HAND_BYTES), at))
    size = len(view)
    while view:
        done = os.pwrite(target, view, at)
        view, at = view[done:], at + done
    return size


def _read_all(source: int, target: int) -> int:
    at = 0
    while data := os.pread(source, 1 << 20, at):
        view = memoryview(data)
        while view:
            view = view[_write(os.write, target, view) :]
        at += len(data)
    return at


def _write(call: Callable[[int, Any], Any], target: int, value: Any) -> Any:
    try:
        return call(target, value)
    except OSError as error:
        raise NoRoomError(error) from error
