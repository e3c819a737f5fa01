"""Reading this node's journals, segment after segment."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from steno import files, host, inside
from steno.errors import CorruptError
from steno.journal import adoption, life
from steno.journal import format as fmt
from steno.journal.names import is_ours
from steno.journal.tailer import Tailer
from steno.ledger.incoming import StreamInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from steno.collector.reading import Marker
    from steno.journal.decode import Slice
    from steno.ledger import streams
    from steno.ledger.post import Poster

ALIVE_EVERY_SECS = 0.5
_YOUNG_SECS = 60.0
"""A directory this young without a segment may be in the making."""
_FORGET = 64


class JournalReader:
    """One process's journal. Use it from one thread.

    Args:
        found: where it lies.
        poster: says how far each segment is posted.
        marker: called with what is being decoded.
        say: tells a person, once per key.
        poison: directory for what cannot be read.
        node: the number of this collector's node.
        numbered: by the number of an attempt that the writer knows, the one of its rows.

    """

    UNKNOWN: Final = "unknown"
    OURS: Final = "ours"
    """Of a writer of this node: its lock says whether it lives."""
    ELSEWHERE: Final = "elsewhere"
    """Another node's, which posts it."""
    ADOPTED: Final = "adopted"
    """Of a writer elsewhere that gives no sign of life: posted here, and kept for it."""

    def __init__(
        self,
        found: streams.FoundJournal,
        poster: Poster,
        marker: Marker,
        *,
        say: Callable[[str, str], None],
        poison: Path,
        node: int = 0,
        numbered: Callable[[int], int] = int,
    ) -> None:
        self.found = found
        self.name = found.stream
        self._place = os.fspath(found.dir)
        self.alive = True
        self.standing = self.UNKNOWN
        self.idle = False
        """The last read found nothing: all that there is now was read."""
        self.ended = False
        """Its writer is gone and everything is posted and judged."""
        self.retired: list[tuple[int, int]] = []
        """(segment, generation of the posting that emptied it)"""
        self._node = node
        self._numbered = numbered
        self._poster = poster
        self._marker = marker
        self._say = say
        self._poison = poison
        self._tailer: Tailer | None = None
        self._info = StreamInfo(found.stream, 0, 0)
        self._number = -1
        self._before = -1
        """The segment before the one at hand that is done with: what lies between them, if anything, comes first."""
        self._numbers: list[int] = []
        self._listed_at = -1
        self._next_look = 0.0
        self._next_pass = 0.0
        self._unlinked: list[int] = []
        self._fresh = False
        self._emptied: list[Tailer] = []
        self._seen = self._is_kept = self._is_fenced = self.judged = False
        self.last_mono = 0
        self.lags = False
        """The last posting had no room for all that it has."""

    @property
    def process(self) -> tuple[int, int] | None:
        """(rank, process id) of the writer, once it has said so in a segment."""
        return (self._info.rank, self._info.pid) if self._info.pid else None

    def posted(self, record: int) -> None:
        """What was read is in the ledger, up to the record of that number: tell the writer."""
        if self._fresh:
            for tailer in (*self._emptied, *([self._tailer] if self._tailer else ())):
                tailer.mark_posted(None if self.is_adopted else record)
            self._fresh = False
        self._close_emptied()

    def _close_emptied(self) -> None:
        while self._emptied:
            self._emptied.pop().close()

    def hurry(self) -> None:
        """Ask anew with the next look whether the writer lives: somebody waits, or has just ended."""
        self._next_look = 0.0

    def look(self, now: float) -> None:
        """Refresh what the directory and the writer's lock say; cheap when nothing changed.

        Raises:
            OSError: nobody can tell this moment; what was known holds, and the next look asks again.
        """
        try:
            stamp = os.stat(self._place).st_mtime_ns
        except OSError:
            stamp = 0
        if now >= self._next_look:
            self._judge()
            # Asked before the listing: what a dead writer left is then complete.
            self.alive = self.standing == self.OURS and life.is_alive(self.found.dir)
            self._listed_at, self._next_look = -1, now + ALIVE_EVERY_SECS
        if stamp != self._listed_at:
            self._numbers = sorted(segments(self.found.dir))
            self._listed_at = stamp
            self._seen = self._seen or bool(self._numbers)

    def _judge(self) -> None:
        """Whose it is."""
        mark = adoption.owner(self.found.dir) if adoption.is_adopted(self.found.dir) else None
        if mark is not None:
            mine = mark.node == self._node and self._poster.has_adopted(self.name)
            self._stand(self.ADOPTED if mine else self.ELSEWHERE)
            self._is_kept = time.time() - mark.time < adoption.KEPT_SECS
        elif self.standing == self.UNKNOWN and not self._is_fenced:
            writer = life.writer(self.found.dir)
            if writer is not None:
                self._stand(self.OURS if writer.is_asked_here else self.ELSEWHERE)
            elif self.name.startswith(f"{host.stem()}-"):
                self._stand(self.OURS)

    def _stand(self, standing: str) -> None:
        if standing != self.standing:
            self.standing = standing
            self._forget_place()

    def _forget_place(self) -> None:
        """The next read begins where the ledger says."""
        self._drop()
        self._close_emptied()
        self._fresh, self.idle, self._number, self._listed_at = False, False, -1, -1
        self.retired = []

    def adopt(self) -> None:
        """It was marked and taken over for this node."""
        self._is_kept, self._is_fenced = True, False
        self._stand(self.ADOPTED)

    def fence(self) -> None:
        """Another node has adopted it, whether its mark is there or not."""
        self._is_fenced = True
        self._stand(self.ELSEWHERE)

    @property
    def state(self) -> str:
        """In a word, for the status."""
        return (
            self.standing if self.standing in {self.ELSEWHERE, self.ADOPTED} else "live" if self.alive else "draining"
        )

    @property
    def foreign(self) -> bool:
        """Not for this node to post."""
        return self.standing in {self.UNKNOWN, self.ELSEWHERE}

    @property
    def is_adopted(self) -> bool:
        """Posted here for a writer elsewhere."""
        return self.standing == self.ADOPTED

    @property
    def _is_open(self) -> bool:
        """Whether more may come into a segment that its writer has not closed."""
        return self.alive or (self.is_adopted and self._is_kept)

    @property
    def is_left_over(self) -> bool:
        """Something may be left of a writer of another boot: it comes before everything of this one."""
        if self.alive or self.foreign or self.is_adopted:
            return False
        tailer = self._current()
        return tailer is not None and self._is_of_another_boot(tailer)

    @staticmethod
    def _is_of_another_boot(tailer: Tailer) -> bool:
        """Whether its stamps cannot be compared with ours: the monotonic clock begins anew at each boot."""
        made = tailer.identity
        return made.boot not in {"", host.boot_id()} or made.mono > time.monotonic_ns()

    def read(self, limit_bytes: int, before: int | None) -> Iterator[tuple[StreamInfo, Slice]]:
        """What is new, in order, up to about `limit_bytes` and to the stamp `before`."""
        self.idle = True
        while limit_bytes > 0 and not self.foreign:
            tailer = self._current()
            if tailer is None:
                return
            closed = tailer.closed  # before reading: nothing can come after it
            # Looked at once: between two looks all that comes before it may appear and be filled.
            is_unused = tailer.untouched and self._is_open and not closed
            is_passed_over = is_unused and self._is_passed_over(tailer)
            if self._is_early(tailer, nothing_missing=is_passed_over or not is_unused):
                continue
            if is_unused:
                if not is_passed_over:
                    return
                self.retired.append((self._number, self._poster.generation + int(self._fresh)))
                self._drop()
                continue
            if self.is_adopted or self._is_of_another_boot(tailer):
                before = None
            # A limit with no room for one frame would look like a frame that cannot be read.
            piece = self._read_one(tailer, max(limit_bytes, fmt.FRAME_BYTES), before)
            if piece is not None:
                if len(piece.mono):
                    self.last_mono = int(piece.mono[-1])
                self._fresh, self.idle = True, False
                whole = piece.end - piece.start < limit_bytes
                limit_bytes -= piece.end - piece.start
                yield replace(self._info, attempt=self._numbered(self._info.attempt)), piece
                if whole and not closed and self._is_open:
                    return  # what has come meanwhile comes with the next posting
                continue
            if not ((closed or not self._is_open) and tailer.drained):
                return
            # What was just read is in the ledger with the next posting, what was read before already is.
            self.retired.append((self._number, self._poster.generation + int(self._fresh)))
            self._drop()

    def _is_early(self, tailer: Tailer, *, nothing_missing: bool) -> bool:
        """Whether a segment that comes before this one has appeared after it: reading goes back to it.

        The writer's two threads both make segments, so one may appear before another of a lower number. The writer
        uses them in order. So once this one is used, whatever was used before it is in the directory.

        Args:
            tailer: of this one.
            nothing_missing: it was seen before that this one, or one behind it, is used or that nothing more can come.
        """
        if self._number == self._before + 1 or tailer.offset > fmt.HEADER_BYTES:
            return False
        self._numbers = sorted(segments(self.found.dir))  # after the look at this one
        if any(self._before < one < self._number for one in self._numbers):
            tailer.close()
            self._tailer, self._number = None, self._before
            return True
        if nothing_missing:
            self._before = self._number - 1
        return False

    def _is_passed_over(self, tailer: Tailer) -> bool:
        """Whether the writer uses a later segment and has left this one empty: a Ctrl-C between taking and using it."""
        now = time.monotonic()
        if tailer.offset > fmt.HEADER_BYTES or now < self._next_pass:
            return False
        self._next_pass = now + ALIVE_EVERY_SECS
        later = any(_is_started(self.found.dir / f"{one:06d}.seg") for one in self._numbers if one > self._number)
        # Asked again: it may have been filled between the two looks.
        return later and tailer.untouched

    def _read_one(self, tailer: Tailer, limit_bytes: int, before: int | None) -> Slice | None:
        careful = self._marker.limit(self.name, self._number, tailer.offset)
        if careful is not None:
            limit_bytes = min(limit_bytes, max(careful, fmt.FRAME_BYTES))
        self._marker.begin(self.name, self._number, tailer.offset, limit_bytes)
        try:
            return tailer.read(limit_bytes, before=before, live=self._is_open)
        except OSError:
            raise  # it is no fault of the frame's
        except Exception as error:  # a frame our own code cannot take must not stop all others
            offset = tailer.offset
            if limit_bytes > fmt.FRAME_BYTES:
                self._marker.suspect(self.name, self._number, offset, limit_bytes)
                return self._read_one(tailer, limit_bytes, before)
            self.set_aside(self._number, offset, repr(error))
            return None
        finally:
            self._marker.clear()

    def narrow(self, segment: int, piece: Slice, error: Exception) -> None:
        """Posting a piece raised: read it in smaller pieces from now on; a single frame is set aside."""
        with open(inside.opened(self.found.dir / f"{segment:06d}.seg"), "rb") as file:
            file.seek(piece.start)
            length = fmt.FRAME.unpack(file.read(fmt.FRAME_BYTES))[0]
        if piece.end - piece.start <= fmt.FRAME_BYTES + length:
            self.set_aside(segment, piece.start, repr(error))
        else:
            self._marker.suspect(self.name, segment, piece.start, piece.end - piece.start)

    def set_aside(self, segment: int, offset: int, why: str) -> None:
        """Copy the frame at `offset` to the poison directory and make tailers step over it."""
        path = self.found.dir / f"{segment:06d}.seg"
        with open(inside.opened(path, os.O_RDWR), "r+b") as file:
            file.seek(offset)
            length = fmt.FRAME.unpack(file.read(fmt.FRAME_BYTES))[0]
            file.seek(offset)
            self._poison.mkdir(exist_ok=True)
            frame = file.read(fmt.FRAME_BYTES + length)
            files.replace(self._poison / f"{self.name}-{segment:06d}-{offset}.frame", frame)
            file.seek(offset + 4)
            check = file.read(4)
            file.seek(offset + 4)
            # A wrong checksum is what tells the tailer to step over it, and to count it, for good.
            file.write(bytes(byte ^ 0xFF for byte in check))
        self._say(f"poison {path} {offset}", f"{path}: the frame at {offset} was set aside in .steno/poison ({why})")

    def _current(self) -> Tailer | None:
        before = self._number
        while self._tailer is None:
            number = next((one for one in self._numbers if one > self._number), None)
            if number is None:
                return None
            path = self.found.dir / f"{number:06d}.seg"
            try:
                tailer = Tailer(path, self._poster.posted(self.name, number))
            except FileNotFoundError:
                self._number = number  # a spare that its writer took away again
                continue
            except (CorruptError, ValueError) as error:
                self._number = number
                self._give_up(path, error)
                continue
            self._tailer, self._number, self._before = tailer, number, before
            self._info = StreamInfo.of(tailer.identity)
            if tailer.offset > fmt.HEADER_BYTES:
                # A collector killed between its commit and its mark: the writer has not been told yet.
                tailer.mark_posted(None if self.is_adopted else self._poster.next_record - 1)
        return self._tailer

    def _give_up(self, path: Path, error: Exception) -> None:
        """A segment whose identity is unreadable: nothing in it can be checked."""
        self._poison.mkdir(exist_ok=True)
        with contextlib.suppress(OSError, CorruptError):
            size = _written(path)
            if size:  # one of zeros alone was made ahead of need, and a power loss took its header
                with self._poster.lock:
                    self._poster.connection.execute(
                        "insert or ignore into losses values('lost bytes', ?, ?, ?)",
                        (f"{self.name} {path.name}", size, str(error)),
                    )
            files.move(path, self._poison / f"{self.name}-{path.name}")
            self._poster.note(lost_bytes=size, segment=path.name, stream=self.name, reason=str(error))
        self._say(f"segment {path}", f"{path}: set aside in .steno/poison ({error})")

    def _drop(self) -> None:
        if self._tailer is not None:
            self._emptied.append(self._tailer)
            self._tailer = None

    def rewind(self) -> None:
        """Forget what was read and not posted: the next read begins at the ledger's offset."""
        self._drop()
        self._close_emptied()
        self._fresh = False
        self.retired = [(number, at) for number, at in self.retired if at <= self._poster.generation]
        self._number = max((number for number, _ in self.retired), default=-1)

    @property
    def unposted(self) -> bool:
        """Something was read that is not in the ledger yet."""
        return self._fresh

    @property
    def drained(self) -> bool:
        """Nothing is left to read, and the writer is gone."""
        if self._is_open or self.foreign:
            return False
        return self._tailer is None and all(number <= self._number for number in self._numbers)

    def free(self, synced: int) -> None:
        """Remove segments whose records are in the ledger as of a synced posting."""
        gone = [number for number, at in self.retired if at <= synced]
        if not gone:
            return
        for number in gone:
            path = self.found.dir / f"{number:06d}.seg"
            for side in _sides(path):
                with contextlib.suppress(OSError):
                    files.unlink(self.found.dir / side)
            with contextlib.suppress(FileNotFoundError):
                files.unlink(path)
        self.retired = [(number, at) for number, at in self.retired if at > synced]
        self._unlinked.extend(gone)
        if len(self._unlinked) >= _FORGET:
            # Their offsets go only when the unlinking is durable: a segment that came back would be posted twice.
            files.sync_dir(self.found.dir)
            self._poster.forget_segments((self.name, number) for number in self._unlinked)
            self._unlinked.clear()

    def remove(self, journal_dir: Path) -> bool:
        """Remove an ended journal's directory and pointer once nothing is left to unlink."""
        if self.retired or not (self._is_left if self.is_adopted and self._is_kept else self.ended and self.drained):
            return False
        if not self.is_adopted and life.is_alive(self.found.dir):
            self.alive, self.ended = True, False
            return False
        with contextlib.suppress(OSError):
            if not self._seen and time.time() - os.stat(self.found.dir).st_mtime < _YOUNG_SECS:
                return False
        if not files.clear(self.found.dir, is_ours):
            if segments(self.found.dir):
                return False  # without its offsets what could not be removed would be posted again
            self._say(f"left {self._place}", f"{self._place} holds what is not the journal's: that stays, remove it")
        if self.found.pointer is not None:
            with contextlib.suppress(OSError):
                files.unlink(self.found.pointer)
        with contextlib.suppress(OSError):
            files.sync_dir(journal_dir)
        self._poster.forget_stream(self.name)
        return True

    @property
    def _is_left(self) -> bool:
        """Its writer has left the journal: all segments are closed, and gone."""
        return not segments(self.found.dir) and not (self.found.dir / life.WRITER).exists()

    def close(self) -> None:
        """Unmap."""
        self._drop()
        self._close_emptied()


def _is_started(path: Path) -> bool:
    """Whether a segment has a frame."""
    try:
        with open(inside.opened(path), "rb") as file:
            file.seek(fmt.HEADER_BYTES)
            return any(file.read(fmt.FRAME_BYTES))
    except (OSError, CorruptError):
        return False


def segments(place: Path) -> list[int]:
    """The numbers of the segments in a journal's directory. Raises OSError: this moment nobody can tell."""
    names = (entry.name for entry in files.listed(place))
    found = (inside.number(name[:-4]) for name in names if name.endswith(".seg"))
    return [number for number in found if number is not None]


def _sides(path: Path) -> list[str]:
    """Names of the side files that a segment's frames refer to."""
    import msgspec

    try:
        if not any(name.startswith("side-") for name in os.listdir(path.parent)):
            return []
        data = inside.read(path, fmt.LARGEST_BYTES)
    except (OSError, CorruptError):
        return []
    at, out = fmt.HEADER_BYTES, []
    while at + fmt.FRAME_BYTES + 2 <= len(data):
        length = fmt.FRAME.unpack_from(data, at)[0]
        body = data[at + fmt.FRAME_BYTES : at + fmt.FRAME_BYTES + length]
        if not length:
            break
        if len(body) > 1 and body[1] == fmt.SIDE:
            with contextlib.suppress(msgspec.DecodeError, IndexError):
                name = msgspec.msgpack.decode(body)[1]
                if isinstance(name, str) and name.startswith("side-") and "/" not in name:
                    out.append(name)
        at += fmt.FRAME_BYTES + length
    return out


def _written(path: Path) -> int:
    """The bytes of a file up to its last that is not zero."""
    size = os.lstat(path).st_size
    return len(inside.read(path, fmt.LARGEST_BYTES).rstrip(b"\0")) if size <= fmt.LARGEST_BYTES else size
