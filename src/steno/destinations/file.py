"""Appends to a file exactly once, across crashes, short writes and full disks.

    0                     at                            size
    |  delivered: saved   |  written, cursor not saved  |
    |  with the cursor    |  (a crash, a retry)         |
    +---------------------+-----------------------------+
                          [ data, encoded again ................ ]
                           equal: keep them             append the rest

The encoding must depend on the records alone: not on the clock, the batch's boundaries or how it was stored.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from steno import files, inside
from steno.errors import CorruptError, Stop

if TYPE_CHECKING:
    from pathlib import Path

_SEARCH_BYTES = 64 << 20


class Tail:
    """The end of one append-only file; nothing is ever truncated or preallocated.

    Use: `settle`, `append` the batch's bytes, and `commit` once all files of the batch are written. Not
    thread-safe, one writer per file. If the process dies, what `append` returned from is in the file (the
    kernel has it; a power loss may take what no `close` has synced).

    Args:
        run_dir: the directory that the file stays below.
        name: its path from there; the file is made with its directories at the first `settle`.
        at: bytes that are delivered, as the saved cursor says.
        lines: the file is lines of text. Bytes that are not ours are then stepped over and ours begin on a
            fresh line; in a binary file `append` refuses, and the caller begins a new file.
    """

    __slots__ = ("_end", "_fd", "_name", "_run_dir", "at", "foreign_bytes", "lines", "missing_bytes", "path")

    def __init__(self, run_dir: Path, name: str, at: int = 0, *, lines: bool = True) -> None:
        # A cursor comes from the run's ledger, and the run perhaps from a stranger.
        if not isinstance(at, int) or not 0 <= at < 2**63:
            raise Stop(f"{name!r} is said to have {at!r} bytes")
        self._below(run_dir, name)
        self.path = run_dir / name
        self._run_dir, self._name = run_dir, name
        self.at = at
        self.lines = lines
        self.foreign_bytes = 0
        """Bytes found where ours were expected, and left alone."""
        self.missing_bytes = 0
        """Delivered bytes that somebody took away."""
        self._end = at
        self._fd = -1

    def reopen(self) -> bool:
        """Open the file, again if it was moved away; False when delivered bytes are gone from it.

        `at` is then the end of what is left. Raises OSError, or Stop for what is a link or no file.
        """
        if self._fd >= 0 and not self._is_current():
            self.release()
        if self._fd < 0:
            self._open()
        size = os.fstat(self._fd).st_size
        if size < self.at:
            self.missing_bytes += self.at - size
            self.at = self._end = size
            return False
        return True

    def append(self, data: bytes | bytearray) -> bool:
        """Make the file hold `data` from `at` on, writing only what is missing; False when foreign bytes forbid it.

        Raises OSError (a full disk, say): call again with the same bytes, and what was written counts.
        """
        if self._fd < 0:
            self.reopen()
        view = memoryview(data)
        ahead = os.fstat(self._fd).st_size - self.at
        if ahead > 0:
            have = self._read(self.at, min(ahead, len(view)))
            if have != view[: len(have)]:
                if not self.lines:
                    self.foreign_bytes += ahead
                    return False
                have = self._search(view, ahead)
            view = view[len(have) :]
        elif self.missing_bytes and self.lines:
            self._fresh_line()
        self._end = self.at + len(data)
        while view:
            view = view[os.write(self._fd, view) :]
        return True

    def commit(self) -> None:
        """What was appended is delivered: `at` moves behind it."""
        self.at = self._end

    def close(self) -> None:
        """Have the disk hold what the kernel holds, and close."""
        try:
            if self._fd >= 0:
                files.sync_file(self._fd)
        finally:
            self.release()

    def release(self) -> None:
        """Close the descriptor; the next `settle` opens it again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    def _open(self) -> None:
        self._below(self._run_dir, self._name)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        try:
            try:
                self._fd = inside.opened(self.path, flags)
            except FileNotFoundError:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._fd = inside.opened(self.path, flags)
        except CorruptError as error:
            raise Stop(str(error)) from error

    @staticmethod
    def _below(run_dir: Path, name: str) -> None:
        """Raise Stop for a name that leads out of the directory."""
        try:
            inside.path(run_dir, name)
        except CorruptError as error:
            raise Stop(str(error)) from error

    def _is_current(self) -> bool:
        try:
            named, held = os.stat(self.path), os.fstat(self._fd)
        except FileNotFoundError:
            return False
        return (named.st_ino, named.st_dev) == (held.st_ino, held.st_dev)

    def _read(self, start: int, size: int) -> bytes:
        pieces = []
        while size > 0:
            piece = os.pread(self._fd, size, start)
            if not piece:
                break
            pieces.append(piece)
            start, size = start + len(piece), size - len(piece)
        return b"".join(pieces)

    def _search(self, view: memoryview, ahead: int) -> bytes:
        """Find our bytes behind foreign ones (an interrupted earlier try), or make a fresh line after them."""
        start = max(self.at, self.at + ahead - _SEARCH_BYTES)
        found = self._read(start, self.at + ahead - start)
        whole = bytes(view)
        first = whole[: whole.find(b"\n") + 1]
        at = found.find(first) if first else -1
        while at >= 0:
            if (at == 0 or found[at - 1 : at] == b"\n") and whole.startswith(found[at : at + len(whole)]):
                break
            at = found.find(first, at + 1)
        if at < 0:
            torn = found.rfind(b"\n") + 1
            if 0 < torn < len(found) and whole.startswith(found[torn:]):
                at = torn
        if at < 0:
            self.foreign_bytes += ahead
            self.at += ahead
            self._fresh_line()
            return b""
        self.foreign_bytes += start + at - self.at
        self.at = start + at
        return found[at : at + len(whole)]

    def _fresh_line(self) -> None:
        if self.at and self._read(self.at - 1, 1) != b"\n":
            os.write(self._fd, b"\n")
            self.at += 1


def name_on_node(name: str, node_suffix: str, number: int = 1) -> str:
    """`metrics.csv` on a run's first node, `metrics-node-….csv` on others; `metrics-2.csv` for the second of its kind.

    Args:
        name: on the first node.
        node_suffix: as `RunInfo.node_suffix`.
        number: of the file among those of its kind.
    """
    stem, _, suffix = name.rpartition(".")
    return f"{stem}{f'-node-{node_suffix}' if node_suffix else ''}{f'-{number}' if number > 1 else ''}.{suffix}"
