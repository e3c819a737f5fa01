"""Where a process's frames go: the segment in use, the next one when it is full, memory while no disk has room."""

from __future__ import annotations

import struct
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import crc32c
import msgspec

from steno.journal import format as fmt
from steno.journal import native
from steno.journal.guard import OwnerOnly, guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from steno.journal.segment import Segment

_BACKLOG_BYTES: Final = 16 << 20
_header: Final = struct.Struct("<II").pack
encode: Final = msgspec.msgpack.Encoder(decimal_format="number").encode
_crc: Final = crc32c.crc32c
_clock: Final = time.monotonic_ns


class Frames:
    """Appends frames to a segment, and rolls to the next. Thread-safe; see `Appender`, which makes the frames.

    `_get` gives (write, nonce, …), swapped whole by `_set`, so that whoever encodes for a segment writes into that one
    or is refused.

    Args:
        next_segment: gives a fresh segment of at least that many bytes; raises OSError when it cannot.
        rolled: called with the segment that was left and the one taken.
        side: writes a body too large for a segment to a file, returns its name; raises OSError.
        failed: called with an OSError once per bad spell.
        strange: called when this process is a child of the writing one, by a fork that Python does not know of; what
            it records is dropped and counted.

    """

    _get: Callable[[], Any]
    """What frames are encoded for: (write, nonce, …)."""
    _set: Callable[[Any, int], None]
    """Makes that a new one."""
    _swap: Callable[[Any, Any], None]
    """Gives it another `write` in the place of this one."""

    def __init__(
        self,
        *,
        next_segment: Callable[[int], Segment],
        rolled: Callable[[Segment | None, Segment], None],
        side: Callable[[bytes], str],
        failed: Callable[[OSError], None],
        strange: Callable[[], None] = lambda: None,
    ) -> None:
        self._next_segment = next_segment
        self._rolled = rolled
        self._side = side
        self._failed = failed
        self._strange = strange
        self.lock = threading.RLock()
        self.current: Segment | None = None
        self._leaving: Segment | None = None
        """No longer in use, and not yet given to `rolled`."""
        self.sealed = False
        self._rolling = False
        self._forks: list[None] = []
        self._strayed = False
        self.backlog: deque[bytes] = deque()
        self.backlog_bytes = 0
        self.dropped = 0
        self._keeping = self._keep  # one object, so that identity tells it
        self.native = native.health()
        """Whether its hot path is native, and why not."""
        self._core = native.core(fmt.FIRST_SEQ)
        self._next_seq: Callable[[], int] = self._core.next
        gil = getattr(sys, "_is_gil_enabled", None)
        self._locked_writes = gil is not None and not gil()

    def append(self, message: Any) -> None:
        """Append one frame of any kind; `message` is its body as an array.

        Raises:
            TypeError, ValueError, OverflowError: something in it msgpack cannot take.

        """
        self._append_body(encode(message))

    def _append_body(self, body: bytes) -> None:
        while True:
            write, nonce, *_ = self._get()
            if self._write(body, write, nonce):
                return

    def stamp(self) -> tuple[int, int]:
        """(monotonic ns, sequence number) for an entry about to be appended."""
        return _clock(), self._next_seq()

    @property
    def last_seq(self) -> int:
        """The newest sequence number given, without using one up."""
        return self._core.last

    def _write(self, body: bytes, write: Any, nonce: int) -> bool:
        """Whether the frame is in the journal; False: the state has changed, encode again."""
        try:
            write(_header(len(body), _crc(body, nonce)) + body)
        except ValueError:
            if self.sealed:
                return True
            current = self.current
            if current is not None and not self._forks and getattr(current.map, "foreign", False):
                # The parent's map. One of our own would need locks and a thread, which such a fork leaves in any state.
                self._set(self._lose, 0)
                self._strange()
                return False
            if current is not None and current.write is write and len(body) > (current.size - fmt.HEADER_BYTES) // 2:
                return self._write_aside(body)
            self.roll(write)
            return False
        return True

    def _write_aside(self, body: bytes) -> bool:
        try:
            name = self._side(body)
        except OSError as error:
            self._failed(error)
            self.dropped += 1
            return True
        self.append((fmt.SIDE, name, len(body), _crc(body)))
        return True

    def roll(self, full: Any = None) -> None:
        """Go on in the next segment, unless `full` is not in use any more; without one, keep frames in memory."""
        with self.lock:
            # Another thread, or a handler on this one, may have rolled already.
            if self.sealed or self._get()[0] is not (full or self._get()[0]):
                return
            if self._rolling:
                # A handler has interrupted this very roll on this thread: its record waits in memory, with its
                # keys inline, until the keeper pours it into the segment that the roll is fetching.
                self._set(self._keeping, 0)
                return
            self._rolling = True
            try:
                segment = self._next_segment(0)
                self._take(segment)
            except OSError as error:
                self._leave()
                self._set(self._keeping, 0)
                self._failed(error)
            finally:
                self._rolling = False

    def _leave(self) -> Segment | None:
        old = self.current
        if old is not None:
            self._leaving, self.current = old, None
            old.seal()
            self._rolled(old, old)
            self._leaving = None
        return old

    def _take(self, segment: Segment) -> None:
        self._leave()
        self.current = segment
        write = segment.write
        if self._locked_writes:
            write = guarded(write)
            segment.write = write
        if self._forks:
            write = segment.write = OwnerOnly(self._on_foreign_fork, write)
        write(_frame((fmt.CLOCK, _clock(), time.time_ns()), segment.nonce))
        self._set(write, segment.nonce)
        self._rolled(None, segment)

    @property
    def open_segments(self) -> list[Segment]:
        """All that was written to and not given to `rolled`; to be asked for before those that were."""
        current = self.current  # first: what is there no more is the other one by then, or was given to `rolled`
        return [one for one in (current, self._leaving) if one is not None]

    # -- without a segment ---------------------------------------------------------------------------

    def _keep(self, frame: bytes) -> None:
        """Stand-in for `mmap.write` while the disk is full: bounded, counted."""
        if self.backlog_bytes + len(frame) > _BACKLOG_BYTES:
            self.dropped += 1
            return
        self.backlog_bytes += len(frame)
        self.backlog.append(frame[fmt.FRAME_BYTES :])

    def _lose(self, _frame: bytes) -> None:
        """Stand-in for `mmap.write` where nothing can be recorded: counted."""
        self.dropped += 1

    @property
    def waiting(self) -> bool:
        """Whether records are kept in memory for want of a segment."""
        return self._get()[0] is self._keeping

    def recover(self) -> bool:
        """Try to leave memory for the disk; called off the caller's thread. False: still no room."""
        while not self.waiting and self.backlog:
            # A thread held the stand-in while the disk came back.
            body = self.backlog.popleft()
            self.backlog_bytes -= len(body) + fmt.FRAME_BYTES
            self._append_body(body)
        # Not while a roll fetches a segment that a handler has interrupted: the one of the lower number is used first.
        while self.waiting and not self._rolling and not self.sealed:
            try:
                segment = self._next_segment(0)
            except OSError:
                return False
            self._pour(segment)
            with self.lock:
                if not self.backlog and not self.sealed:
                    self.backlog_bytes = 0  # threads that counted together may have miscounted
                    self._take(segment)
                    self._pour(segment)
                    return True
                segment.seal()
                self._rolled(None, segment)
                self._rolled(segment, segment)
        return not self.waiting

    def _pour(self, segment: Segment) -> None:
        """Move kept frames into the segment until it is full; they carry their keys inline."""
        if segment.tell() == fmt.HEADER_BYTES:
            segment.write(_frame((fmt.CLOCK, _clock(), time.time_ns()), segment.nonce))
        while self.backlog:
            body = self.backlog[0]
            try:
                segment.write(_header(len(body), _crc(body, segment.nonce)) + body)
            except ValueError:
                if len(body) < segment.size - 2 * fmt.HEADER_BYTES:
                    return
                self.dropped += 1
            self.backlog.popleft()
            self.backlog_bytes -= len(body) + fmt.FRAME_BYTES

    # -- the ends --------------------------------------------------------------------------------------

    def clock_frame(self) -> None:
        """Note the wall clock's offset again; called when it has moved."""
        self.append((fmt.CLOCK, _clock(), time.time_ns()))

    def close(self) -> Segment | None:
        """Take no more frames. Returns the last segment, sealed."""
        with self.lock:
            self.sealed = True
            self._set(refuse, 0)
            return self._leave()

    def before_fork(self) -> None:
        """Until the fork is over, what writes looks whose process it is in.

        The child shares the parent's map, and a finalizer may log there before `after_fork` is called.
        """
        self._forks.append(None)
        segment = self.current
        if segment is not None and segment.write.__class__ is not OwnerOnly:
            raw = segment.write
            segment.write = OwnerOnly(self._on_foreign_fork, raw)
            self._swap(raw, segment.write)

    def after_fork_in_parent(self) -> None:
        """The fork is over, or has failed."""
        if self._forks:
            self._forks.pop()
        segment = self.current
        if not self._forks and segment is not None and segment.write.__class__ is OwnerOnly:
            guard = segment.write
            segment.write = guard.raw
            self._swap(guard, guard.raw)

    def _on_foreign_fork(self) -> None:
        """In a forked child, before `after_fork`: keep what is logged until then, and nothing of the parent's."""
        if not self._strayed:
            self._strayed = True
            self.backlog = deque()
            self.backlog_bytes = 0
            self._set(self._keeping, 0)

    def after_fork(self) -> None:
        """In a forked child: forget the parent's segment; the next frame begins a segment of our own."""
        self.lock = threading.RLock()
        self._forks = []
        early = self.backlog if self._strayed else deque()
        self._strayed = False
        self.current = self._leaving = None
        self._rolling = False
        self.backlog = deque()
        self.backlog_bytes = 0
        self.dropped = 0
        if not self.sealed:
            self._set(refuse, 0)
            for body in early:
                self._append_body(body)


def refuse(_frame: bytes) -> None:
    """Stand-in for `mmap.write` before the first segment and after the last."""
    raise ValueError


def _frame(message: Any, nonce: int) -> bytes:
    body = encode(message)
    return _header(len(body), _crc(body, nonce)) + body
