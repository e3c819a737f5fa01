"""A process's journal on disk: its directory, the lock that says it is alive, and its segments."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from steno import files, host
from steno.capture.raws import Raws
from steno.journal import adoption, life, place, pointers
from steno.journal import format as fmt
from steno.journal.segment import Segment
from steno.media import files as media
from steno.settings import LEAST_SEGMENT_BYTES, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FIRST_BYTES: Final = 256 << 10
"""A process may log three numbers and end: its first segment is small."""
SPARES: Final = 3
_LEAST_STAMP_SECS: Final = 0.1
_QUICK_SECS: Final = 2.0
"""A segment filled sooner than this is followed by larger ones."""
_SMALL_SECS: Final = 10.0
"""How long segments stay as small as the room that was found."""


class SegmentMaker:
    """Makes segments for one process. Not thread-safe but for `take`, which the appender's lock guards.

    Args:
        run_dir: the run's directory.
        identity: what goes into every segment's identity besides its own numbers.
        wanted: called when `stock` has something to make.
        settings: None: those of the environment.
    """

    def __init__(
        self,
        run_dir: Path,
        identity: Mapping[str, Any],
        wanted: Callable[[], None] = lambda: None,
        settings: Settings | None = None,
    ) -> None:
        settings = settings or Settings()
        self._run_dir = run_dir
        # Four stamps in the time after which another machine takes this process for dead.
        often = max(settings.adopt_secs / 4, _LEAST_STAMP_SECS) if settings.adopt_secs else life.STAMP_SECS
        self._me = life.JournalWriter.me(min(often, life.STAMP_SECS))
        self.stamp_secs = self._me.every_secs
        """How often `stamp` is to be called, at least."""
        self.name = f"{host.stem()}-{os.getpid()}-{secrets.token_hex(4)}"
        who = {name: getattr(self._me, name) for name in life.SAID}
        self._fixed = {**identity, "stream": self.name, **who}
        self.full_bytes = settings.segment_bytes
        self.directory, outside = place.choose(run_dir, self.name, self.full_bytes, settings.journal_dir)
        self.raws = Raws(self.directory, wanted)
        self.pointer = run_dir / ".steno" / "journal" / f"{self.name}{pointers.SUFFIX}" if outside else None
        self.spares: deque[Segment] = deque()
        self.late = 0
        """Segments the caller had to make itself because no spare was ready."""
        self._numbers = itertools.count()  # next() is atomic: the keeper and the caller both make segments
        self._last_taken = -1
        self._discarded: list[Segment] = []
        self._size = min(FIRST_BYTES, self.full_bytes)
        self._small_until = 0.0
        self._taken_at = time.monotonic()
        # In sight only once its lock is held: a collector that finds no lock takes the process for dead.
        self._alive = self._appear()
        try:
            self._point()
            self.spares.append(self.make())
        except OSError:
            os.close(self._alive)
            files.remove_tree(self.directory)
            raise

    def _appear(self) -> int:
        hidden = self.directory.with_name(f".{self.directory.name}")
        files.remove_tree(hidden)
        hidden.mkdir(parents=True)
        alive = _hold(hidden / life.ALIVE)
        try:
            life.sign(hidden, self._me)
            files.rename(hidden, self.directory)
        except OSError:
            os.close(alive)
            files.remove_tree(hidden)
            raise
        return alive

    def _point(self) -> None:
        if self.pointer is not None:
            pointers.write(self._run_dir, self.name, self.directory)

    def make(self) -> Segment:
        """A fresh segment, smaller than its predecessors where only that has room.

        Raises:
            OSError: no space even for LEAST_SEGMENT_BYTES, no file handle.
        """
        while True:
            size = self._size
            try:
                return self._make(size)
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT} or size <= LEAST_SEGMENT_BYTES:
                    raise
                self._size = max(size // 4, LEAST_SEGMENT_BYTES)
                self._small_until = time.monotonic() + _SMALL_SECS

    def _make(self, size: int) -> Segment:
        number = next(self._numbers)
        identity = fmt.SegmentIdentity(
            nonce=secrets.randbits(31) + 1,
            size=size,
            number=number,
            mono=time.monotonic_ns(),
            wall=time.time_ns(),
            **self._fixed,
        )
        return Segment(self.directory / f"{number:06d}.seg", identity)

    def take(self) -> Segment:
        """The next segment to write: a spare, or one made on the spot, counted.

        Raises:
            OSError: as `make`.
        """
        now = time.monotonic()
        if self._last_taken >= 0 and now - self._taken_at < _QUICK_SECS and now >= self._small_until:
            self._size = min(self._size * 4, self.full_bytes)
        self._taken_at = now
        while True:
            try:
                segment = self.spares.popleft()
            except IndexError:
                self.late += 1
                segment = self.make()
            # Segments are used in order of number, which is the order they are read in: one that the keeper
            # was still making while the caller made the next is not used any more.
            if segment.number > self._last_taken:
                self._last_taken = segment.number
                return segment
            self._discarded.append(segment)

    def stock(self) -> bool:
        """Make one spare if fewer than SPARES are ready, then room for media; called off the caller's thread.

        Raises:
            OSError: as `make`.
        """
        self._prune()
        if len(self.spares) >= SPARES:
            return self.raws.stock()
        self.spares.append(self.make())
        self._prune()
        return True

    def _prune(self) -> None:
        """Take away spares that were overtaken while they were made.

        They will never be used, and a reader, who goes by number, would wait for their first frame.
        """
        while self._discarded:
            self._discarded.pop().discard()
        while True:
            try:
                spare = self.spares.popleft()
            except IndexError:
                return
            if spare.number > self._last_taken:
                self.spares.appendleft(spare)
                return
            spare.discard()

    def side(self, body: bytes) -> str:
        """Write a body too large for a segment to a file of its own; returns its name.

        Raises:
            OSError: no space.
        """
        name = f"side-{secrets.token_hex(8)}"
        files.write_new(self.directory / name, body)
        return name

    # -- against cleaners, off the caller's thread -----------------------------------------------------------

    def stamp(self) -> None:
        """Show that this process lives, to those who cannot ask for its lock; and stay young. Raises OSError."""
        os.utime(self.directory / life.WRITER)
        os.utime(self._alive)

    @property
    def is_adopted(self) -> bool:
        """Whether another machine posts it: it is to be left."""
        return adoption.is_adopted(self.directory)

    def share(self, other: SegmentMaker) -> None:
        """Have values that lie in files of this journal in another one too, whose frames may name them."""
        other.raws.number_from(self.raws)
        if (self.directory / media.WANTED).exists():
            files.touch(other.directory / media.WANTED)
        for entry in files.scan(self.directory):
            if entry.name.startswith(("raw-", "value-", "side-")):
                with contextlib.suppress(OSError):
                    files.link(entry.path, other.directory / entry.name)

    def mend(self) -> list[Path]:
        """Make again what somebody has removed from the directory, segments in use excepted; returns what it was.

        Raises:
            OSError: it cannot be made.
        """
        gone = []
        alive, writer = self.directory / life.ALIVE, self.directory / life.WRITER
        host.hold_again(self._alive)
        if files.inode(alive) != files.inode(self._alive):
            self._relock()
            gone.append(alive)
        if not writer.exists():
            life.sign(self.directory, self._me)
            gone.append(writer)
        if self.pointer is not None and not self.pointer.exists():
            self._point()
            gone.append(self.pointer)
        for spare in tuple(self.spares.copy()):
            if files.inode(spare.path) != spare.inode:
                gone.append(spare.path)
                with contextlib.suppress(ValueError):  # taken meanwhile: it is found missing as the one in use
                    self.spares.remove(spare)
                    spare.discard()
        gone += [self.directory / name for name in self.raws.mend()]
        return gone

    def _relock(self) -> None:
        hidden = self.directory / f".{life.ALIVE}"
        files.unlink(hidden, missing_ok=True)
        again = _hold(hidden)
        files.rename(hidden, self.directory / life.ALIVE)
        old, self._alive = self._alive, again
        os.close(old)

    def begin_again(self) -> None:
        """Make the directory anew after somebody has removed it, without what was in it. Raises OSError."""
        for spare in tuple(self.spares.copy()):
            with contextlib.suppress(ValueError):
                self.spares.remove(spare)
                spare.discard()
        again = self._appear()
        old, self._alive = self._alive, again
        os.close(old)
        self._point()
        self.raws.mend()

    def close(self) -> None:
        """Discard unused spares and let go of the lock; what was written stays."""
        for segment in (*self.spares, *self._discarded):
            segment.discard()
        self.spares.clear()
        self._discarded.clear()
        self.raws.close()
        with contextlib.suppress(OSError):
            files.unlink(self.directory / life.WRITER)
        os.close(self._alive)

    def abandon(self) -> None:
        """In a forked child: close the parent's maps and handle without touching its files."""
        for spare in (*self.spares, *self._discarded):
            spare.close()
        self.spares.clear()
        self.raws.abandon()
        try:
            os.close(self._alive)
        except OSError:
            pass


def _hold(path: Path) -> int:
    """Lock a file for the life of this process: a POSIX lock is not inherited by fork, as flock is."""
    fd = host.hold(path)
    if fd is None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), os.fspath(path))
    return fd
