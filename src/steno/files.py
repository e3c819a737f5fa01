"""Durable files: every create, fsync, rename, link and unlink of the project, so that a test can stand in between."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any, Final

from steno import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Name = str | os.PathLike[str]


class System:
    """The operating system's calls as they are. A test puts a recorder with the same methods into `files.system`."""

    open: Final = staticmethod(os.open)
    write: Final = staticmethod(os.write)
    fsync: Final = staticmethod(os.fsync)
    fdatasync: Final = staticmethod(getattr(os, "fdatasync", os.fsync))
    rename: Final = staticmethod(os.replace)
    link: Final = staticmethod(os.link)
    unlink: Final = staticmethod(os.unlink)
    rmdir: Final = staticmethod(os.rmdir)

    @staticmethod
    def rmtree(path: Name) -> None:
        """Remove a directory with all that can be removed below it."""
        import shutil

        shutil.rmtree(path, ignore_errors=True)


system: System = System()


# -- names in directories ---------------------------------------------------------------------------------


def rename(old: Name, new: Name) -> None:
    """Give a file or directory another name, in place of a file that has it. Durable with the directory's sync."""
    system.rename(old, new)


def rename_new(old: Name, new: Name) -> None:
    """As `rename`, but never in place of a file that has the name.

    Raises:
        FileExistsError: one has it; nothing has changed.
    """
    try:
        link(old, new)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here: nobody else takes a name of ours, so a look must do.
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(new)) from None
        rename(old, new)
        return
    unlink(old)


def link(old: Name, new: Name) -> None:
    """Give a file a second name. Raises FileExistsError."""
    system.link(old, new)


def unlink(path: Name, *, missing_ok: bool = False) -> None:
    """Take a name away."""
    try:
        system.unlink(path)
    except FileNotFoundError:
        if not missing_ok:
            raise


def rmdir(path: Name) -> None:
    """Take an empty directory away."""
    system.rmdir(path)


def clear(path: Name, is_ours: Callable[[str], bool]) -> bool:
    """Take away a directory's files that are ours by their names, one by one, then itself; whether it is gone.

    What is not ours stays, and the directory with it. No link is followed.
    """
    for entry in scan(path):
        if is_ours(entry.name) and (entry.is_symlink() or entry.is_file(follow_symlinks=False)):
            with contextlib.suppress(OSError):
                unlink(entry.path)
    with contextlib.suppress(OSError):
        rmdir(path)
    return not os.path.lexists(path)


def remove_tree(path: Name) -> None:
    """Take a directory away with all that is below; what cannot be removed stays."""
    with contextlib.suppress(OSError):
        system.rmtree(path)


def move(path: Path, target: Path) -> None:
    """Give a file a name on what may be another file system."""
    import shutil

    try:
        rename(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with aside(target, sync=True) as hidden:
            shutil.copyfile(path, hidden)
        unlink(path)


def inode(file: Name | int) -> tuple[int, int] | None:
    """What tells a file or directory from another one of its name; None: there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def touch_again(path: Name) -> None:
    """Have the file seem to be of now, where it is: cleaners of temporary directories remove what is old."""
    with contextlib.suppress(OSError):
        os.utime(path, follow_symlinks=False)


def scan(path: Name) -> list[os.DirEntry[str]]:
    """What is in the directory; nothing when it cannot be read."""
    try:
        return listed(path)
    except OSError:
        return []


def listed(path: Name) -> list[os.DirEntry[str]]:
    """What is in the directory; nothing when it is not there, or is not for this user.

    Raises:
        OSError: this moment nobody can tell, as without a descriptor left: what is in it is there all the same.
    """
    try:
        with os.scandir(path) as found:
            return list(found)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM}:
            return []
        raise


# -- syncs ------------------------------------------------------------------------------------------------


def regular(path: Name, flags: int = os.O_RDONLY) -> int:
    """Open a file of the user's without ever waiting, as one would for a FIFO's writer; also an `opener` of `open`.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return fd
        os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory", os.fspath(path))
    raise OSError(errno.EINVAL, "it is neither a file nor a directory", os.fspath(path))


def sync_file(file: Name | int) -> None:
    """Have the disk hold the bytes of a file, given by its path or its descriptor."""
    if isinstance(file, int):
        system.fsync(file)
        return
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        system.fsync(fd)
    finally:
        os.close(fd)


def sync_data(path: Name) -> int:
    """As `sync_file`, without times that nobody reads; returns the file's size."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        system.fdatasync(fd)
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def sync_dir(path: Name) -> None:
    """Have the disk hold a directory's names: what was made, renamed or unlinked there since."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        system.fsync(fd)
    finally:
        os.close(fd)


# -- contents ---------------------------------------------------------------------------------------------


def create(path: Name, mode: int = 0o666) -> int:
    """The descriptor of a new, empty file. Raises FileExistsError."""
    return system.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)


def touch(path: Name) -> None:
    """Have the file be there."""
    os.close(system.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))


def fill(fd: int, data: bytes | memoryview) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[system.write(fd, view) :]


def append(path: Name, data: bytes) -> int:
    """Add to the end in one write, so that lines of several writers stay whole; returns how much found room."""
    fd = system.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        return system.write(fd, data)
    finally:
        os.close(fd)


def append_line(path: Path, line: bytes) -> None:
    """Add a line to the end, durably, in one write, so that the lines of several writers stay whole.

    Where the last line was torn, as by a full disk, it begins a new one.

    Raises:
        CorruptError: a symbolic link, or no file, lies there.
        OSError: no space, no permission.
    """
    fd = inside.opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        size = os.fstat(fd).st_size
        data = b"\n" + line if size and os.pread(fd, 1, size - 1) != b"\n" else line
        if system.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
        system.fsync(fd)
    finally:
        os.close(fd)
    if not size:
        sync_dir(path.parent)


def write_new(path: Name, data: bytes, *, mode: int = 0o666, sync: bool = False) -> None:
    """Make a file that is not there yet; nothing is left of one that fails.

    Raises:
        FileExistsError: it is there.
        OSError: no space, no permission.
    """
    fd = create(path, mode)
    try:
        try:
            fill(fd, data)
            if sync:
                system.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            unlink(path)
        raise


def temporary_path(path: Path) -> Path:
    """A hidden name in the same directory that nobody else takes."""
    return path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")


@contextlib.contextmanager
def aside(path: Path, hidden: Path | None = None, *, sync: bool = False) -> Iterator[Path]:
    """A hidden file that the body makes, and that takes the path's place at its end: a reader sees the old or the new.

    Args:
        path: the file to be replaced.
        hidden: the hidden file's name; by default one of its own next to the path.
        sync: have the disk hold the bytes first, so that a power loss leaves the old or the new.
    """
    hidden = temporary_path(path) if hidden is None else hidden
    try:
        yield hidden
        if sync:
            sync_file(hidden)
        rename(hidden, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unlink(hidden)
        raise


def replace(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Replace the file atomically; see `aside`.

    Raises:
        OSError: no space, no permission; the old file stays.
    """
    with aside(path) as hidden:
        write_new(hidden, data, sync=sync)


# -- JSON -------------------------------------------------------------------------------------------------


def write_json(path: Path, value: Any, *, sync: bool = False) -> None:
    """Replace the file atomically by a value that people can read too. Raises OSError; the old file stays."""
    replace(path, _json(value), sync=sync)


def create_json(path: Path, value: Any, *, sync: bool = False) -> bool:
    """Write the file whole unless it is there: then False. `sync`: bytes and name outlive a power loss.

    Raises:
        OSError: no space, no permission.
    """
    return create_bytes(path, _json(value), sync=sync)


def create_bytes(path: Path, data: bytes, *, sync: bool = False) -> bool:
    """As `create_json`, of any content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = temporary_path(path)
    write_new(hidden, data, sync=sync)
    try:
        link(hidden, path)
    except FileExistsError:
        return False
    except OSError:
        # No hard links here: the name is claimed first and filled after.
        try:
            write_new(path, data, sync=sync)
        except FileExistsError:
            return False
    finally:
        unlink(hidden, missing_ok=True)
    if sync:
        sync_dir(path.parent)
    return True


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file; empty when there is none that can be read."""
    return inside.read_object(path)


def _json(value: Any) -> bytes:
    # Half a surrogate pair has no UTF-8 form; written with a backslash it is JSON's own escape.
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
