"""Resumable reading of one segment."""

from __future__ import annotations

import errno
import mmap
import os
import time
from itertools import repeat
from typing import TYPE_CHECKING, Final

import crc32c
import numpy as np

from steno import inside
from steno.errors import CorruptError
from steno.journal import format as fmt
from steno.journal.columns import Context, decode_frames
from steno.journal.segment import read_identity
from steno.journal.verbatim import media_in
from steno.record import LOGGED, RAW, Ref

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.journal.decode import Slice

_crc: Final = crc32c.crc32c
_frame_at: Final = fmt.FRAME.unpack_from
_RUN: Final = 8
"""From so many frames of one length on, they are taken together."""
_TOGETHER: Final = 512
"""Frames copied in one go: few enough to stay in the processor's cache."""
_PASSING: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}
"""Errors that say nothing of a file."""
_STUCK_SECS: Final = 5.0
"""How long a live writer's head may look torn before we look behind it."""


class Tailer:
    """Reads one segment from an offset. Not thread-safe; owns a map of the file.

    Three outcomes, never mixed: nothing more *now* (None), frames *lost* (`Slice.lost_bytes`, and reading
    goes on behind them), and a segment that cannot be read at all (CorruptError).

    Args:
        path: the segment file.
        offset: where to go on; HEADER_BYTES for a segment never read. Announcements before it are
            read again, so that a tailer can begin anywhere.
        clock: monotonic seconds, for how long a torn head has stood.
        fd: an open handle of the file, which is closed here; for a file that may be unlinked already.
        writable: False to read a segment without the right to change it; `mark_posted` then does nothing.
        exact: have records say what was logged besides their points, by `LOGGED` in their meta; slower.

    Raises:
        CorruptError: both copies of the identity are unreadable, or it is no file.
        OSError: the file cannot be opened.

    """

    def __init__(
        self,
        path: Path | str,
        offset: int = fmt.HEADER_BYTES,
        *,
        clock: Callable[[], float] = time.monotonic,
        writable: bool = True,
        fd: int | None = None,
        exact: bool = False,
    ) -> None:
        self.path = os.fspath(path)
        self._clock = clock
        self._torn_since: float | None = None
        self._torn_at = -1
        self._writable = writable
        if fd is None:
            fd = inside.opened(self.path, os.O_RDWR if writable else os.O_RDONLY)
        try:
            size = os.fstat(fd).st_size
            identity = read_identity(os.pread(fd, fmt.HEADER_BYTES, 0))
            if (
                identity is None
                or size < fmt.HEADER_BYTES
                or not fmt.HEADER_BYTES <= identity.size <= fmt.LARGEST_BYTES
            ):
                msg = f"{self.path}: the segment's identity is unreadable ({size} bytes)"
                raise CorruptError(msg)
            self.identity = identity
            self._end = min(size, identity.size)
            self._map = mmap.mmap(fd, self._end, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
        finally:
            os.close(fd)
        self._view = memoryview(self._map)
        self._data = np.frombuffer(self._map, np.uint8)
        self._context = Context(identity.arrays, identity.wall - identity.mono, exact=exact)
        self._good: list[tuple[int, int]] = []
        """Stretches of good frames read so far."""
        self.offset = fmt.HEADER_BYTES
        if offset > fmt.HEADER_BYTES:
            self._catch_up(offset)

    def _catch_up(self, offset: int) -> None:
        """Learn the announcements before `offset` without returning what lies there."""
        at: int | None = fmt.HEADER_BYTES
        while at is not None and at < offset:
            bodies, lengths, walked = self._walk(at, offset)
            self._good.append((at, walked))
            control = self._data[bodies + 1] <= fmt.CLOCK
            decode_frames(self._data, self._view, bodies[control], lengths[control], self._context, _no_side)
            # Behind a stretch that was lost, announcements hold as they did for the first reader.
            at = self._scan(walked + 1) if walked < offset else None
        self.offset = offset

    def _walk(self, start: int, limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Good frames from `start` on: where their bodies lie, how long they are, and where walking ended."""
        found: list[NDArray[np.int64]] = []
        at, last, patience, going = start, min(self._end, limit) - fmt.FRAME_BYTES, _RUN, True
        while going and at <= last:
            stride, count = self._run(at, last)
            if count >= _RUN:
                good = self._good_of_run(at, stride, count)
                found.append(np.arange(at, at + good * stride, stride))
                at, going, patience = at + good * stride, good == count, _RUN
            else:
                # Where lengths differ from frame to frame, looking for runs would cost more than it saves.
                starts, at = self._step(at, last, patience)
                found.append(np.array(starts, np.int64))
                going, patience = len(starts) == patience, min(patience * 2, 1024)
        heads = np.concatenate([*found, np.array([at])])
        return heads[:-1] + fmt.FRAME_BYTES, heads[1:] - heads[:-1] - fmt.FRAME_BYTES, at

    def _step(self, at: int, last: int, count: int) -> tuple[list[int], int]:
        """Up to `count` good frames one by one: where they start, and where the next one would."""
        view, nonce = self._view, self.identity.nonce
        starts: list[int] = []
        append, crc, frame_at = starts.append, _crc, _frame_at
        # An empty body cannot pass: the checksum of nothing is the nonce, which is never 0.
        while at <= last and len(starts) < count:
            length, check = frame_at(view, at)
            stop = at + 8 + length
            if crc(view[at + 8 : stop], nonce) != check:
                break
            append(at)
            at = stop
        return starts, at

    def _run(self, at: int, last: int) -> tuple[int, int]:
        """(distance, number) of the frames at equal distances from `at` on, going by what their heads say."""
        length = _frame_at(self._view, at)[0]
        stride = length + fmt.FRAME_BYTES
        most = min((last - at) // stride + 1, (self._end - at) // stride)
        if most < _RUN or not length:
            return stride, 0
        lengths = np.ndarray((most,), "<u4", self._data, at, (stride,))
        count, some = 0, 256
        while count < most:
            other = lengths[count : count + some] != length
            if other.any():
                return stride, count + int(other.argmax())
            count, some = count + some, some * 4
        return stride, most

    def _good_of_run(self, at: int, stride: int, count: int) -> int:
        """How many frames of a run have the right checksum before the first that has not."""
        nonce, body = repeat(self.identity.nonce), f"V{stride - fmt.FRAME_BYTES}"
        for done in range(0, count, _TOGETHER):
            here, some = at + done * stride, min(_TOGETHER, count - done)
            bodies = np.ndarray((some,), body, self._data, here + fmt.FRAME_BYTES, (stride,)).tolist()
            checks = np.ndarray((some,), "<u4", self._data, here + 4, (stride,)).tolist()
            found = list(map(_crc, bodies, nonce))
            if found != checks:
                return done + next(i for i in range(some) if found[i] != checks[i])
        return count

    def read(self, limit_bytes: int = 8 << 20, *, before: int | None = None, live: bool = True) -> Slice | None:
        """The next frames as columns, or None when there is none now.

        Args:
            limit_bytes: stop after about that many bytes of frames.
            before: hold back from the first frame stamped (monotonic ns) at or after this.
            live: whether the writer may still be writing. Under `live` a bad checksum at the head means
                "not yet"; when the writer is gone, or has closed the segment, it is loss: the tailer goes on
                at the next good frame and counts the bytes.

        """
        start = self.offset
        limit_bytes = max(limit_bytes, fmt.FRAME_BYTES)  # room for one frame, or it would be taken for loss
        starts, sizes, end = self._walk(start, start + limit_bytes)
        lost = 0
        if not len(starts):
            behind = self._behind(start, is_final=not live or self.closed)
            if behind is None:
                return None
            lost = behind - start
            starts, sizes, end = self._walk(behind, behind + limit_bytes)
        if before is not None and len(starts):
            held = self._stamps(starts, sizes) >= before
            if held.any():
                first = int(np.argmax(held))
                end = int(starts[first]) - fmt.FRAME_BYTES
                starts, sizes = starts[:first], sizes[:first]
                if first == 0 and not lost:
                    return None
        result, senseless = decode_frames(self._data, self._view, starts, sizes, self._context, self._side)
        result.start, result.end, result.lost_bytes = start, end, lost + senseless
        self._locate(result)
        self._good.append((int(starts[0]) - fmt.FRAME_BYTES, end) if len(starts) else (end, end))
        self.offset = end
        self._torn_since = None
        return result

    def _locate(self, result: Slice) -> None:
        """Say with its directory where the bytes of a captured media value lie."""
        place = os.path.dirname(self.path)
        logged = [media_in(meta[LOGGED]) for meta in result.meta.values() if LOGGED in meta]
        late = [media_in(fill.logged) for fill in result.fills if fill.logged]
        for values in (result.special.values(), *(fill.values.values() for fill in result.fills), *logged, *late):
            for value in values:
                if isinstance(value, Ref) and value.digest == "":
                    for meta in (value.meta, *(value.meta.get("attached") or {}).values()):
                        raw = meta.get(RAW)
                        if raw and "file" in raw:
                            raw["file"] = os.path.join(place, os.path.basename(str(raw["file"])))

    def _stamps(self, bodies: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Monotonic ns of each frame; 0 for frames that carry none."""
        data = self._data
        if (sizes == sizes[0]).all():
            start, count, stride = int(bodies[0]), len(bodies), int(sizes[0]) + fmt.FRAME_BYTES
            records = np.ndarray((count,), "u1", data, start + 1, (stride,)) == 0xCF
            if records.all():
                return np.ndarray((count,), ">u8", data, start + 2, (stride,)).astype(np.int64)
        kinds = data[bodies + 1]
        record = kinds == 0xCF
        coded = (kinds == fmt.RICH) | (kinds == fmt.ENTRY)
        at = np.where(coded, bodies + 3, bodies + 2)
        fixed = record | (coded & (data[np.minimum(bodies + 2, self._end - 1)] == 0xCF))
        at = np.where(fixed, at, fmt.HEADER_BYTES)
        raw = data[at[:, None] + np.arange(8)]
        stamps = np.ascontiguousarray(raw).view(">u8")[:, 0].astype(np.int64)
        return np.where(fixed, stamps, 0)

    # -- loss ------------------------------------------------------------------------------------------

    def _behind(self, at: int, *, is_final: bool) -> int | None:
        """Where reading can go on behind what is unreadable at `at`; None to wait or because all is read."""
        if not is_final and not self._leftover(at, at + fmt.FRAME_BYTES):
            return None  # the usual case, many times a second: nothing has been written
        if at >= self._end or not self._leftover(at):
            return None
        if not is_final:
            now = self._clock()
            if self._torn_since is None or self._torn_at != at:
                self._torn_since, self._torn_at = now, at
            if now - self._torn_since < _STUCK_SECS:
                return None
        found = self._scan(at + 1)
        if found is not None:
            return found
        return self._last_byte() if is_final else None

    def _leftover(self, at: int, end: int | None = None) -> bool:
        return bool(self._data[at : self._end if end is None else end].any())

    def _last_byte(self) -> int:
        """Just behind the last byte that is not zero."""
        return int(np.flatnonzero(self._data)[-1]) + 1

    def _scan(self, start: int) -> int | None:
        """The next position of a frame that is good and was not read before."""
        data, end = self._data, self._end
        heads = np.arange(start, end - fmt.FRAME_BYTES - 1)
        first, second = data[heads + 8], data[heads + 9]
        # Bodies are arrays of 3 to 6; only records and announcements are trusted to begin again with,
        # for a stale clock or fill could be the content of a logged string.
        shape = (first >= 0x93) & (first <= 0x96)
        kind = (second == 0xCF) | (second == fmt.SET) | (second == fmt.RICH) | (second == fmt.ENTRY)
        heads = heads[shape & kind]
        lengths = np.zeros(len(heads), np.int64)
        for byte in range(4):
            lengths |= data[heads + byte].astype(np.int64) << (8 * byte)
        fits = (lengths >= 4) & (heads + fmt.FRAME_BYTES + lengths <= end)
        seen: set[int] | None = None
        for at, length in zip(heads[fits].tolist(), lengths[fits].tolist(), strict=True):
            body = at + fmt.FRAME_BYTES
            if _crc(self._view[body : body + length], self.identity.nonce) != _frame_at(self._view, at)[1]:
                continue
            if self._data[body + 1] == fmt.SET:
                return int(at)
            if seen is None:
                seen = self._seen(start)
            if self._seq(body) not in seen:
                return int(at)
        return None

    def _seq(self, body: int) -> int:
        """The sequence number of the record or entry at `body`: the second integer after the kind."""
        at = body + (10 if self._data[body + 1] == 0xCF else 11)
        return int.from_bytes(self._view[at + 1 : at + 9], "big")

    def _seen(self, end: int) -> set[int]:
        """Sequence numbers of all good frames before `end`: a copy of one in a string must not pass."""
        out: set[int] = set()
        for start, stop in self._good:
            bodies, _, _ = self._walk(start, min(stop, end))
            out.update(
                self._seq(body) for body in bodies.tolist() if self._data[body + 1] in {0xCF, fmt.RICH, fmt.ENTRY}
            )
        return out

    def _side(self, name: str, length: int, check: int) -> bytes | None:
        """The body a SIDE frame refers to; None when the file is lost or changed. Raises OSError: read it later."""
        if "/" in name or not name.startswith("side-"):
            return None
        try:
            body = inside.read(os.path.join(os.path.dirname(self.path), name), length)
        except CorruptError:
            return None
        except OSError as error:
            if error.errno in _PASSING:
                raise
            return None
        return body if len(body) == length and _crc(body) == check else None

    # -- state -----------------------------------------------------------------------------------------

    @property
    def untouched(self) -> bool:
        """Nothing has been written at `offset` yet; asked many times a second."""
        at = self.offset
        return at + fmt.FRAME_BYTES > self._end or not any(self._view[at : at + fmt.FRAME_BYTES])

    @property
    def closed(self) -> bool:
        """The writer will write nothing more here."""
        return bool(self._data[fmt.CLOSED_AT])

    @property
    def drained(self) -> bool:
        """Nothing is left between `offset` and the end of what was written."""
        return self.offset >= self._end or not self._leftover(self.offset)

    def mark_posted(self, record: int | None) -> None:
        """Tell the writer, in the header, that everything before `offset` is in the ledger.

        Args:
            record: number (without node bits) of the last record posted from this segment so far; None: it is in
                another node's ledger, where the writer's destinations do not look.

        """
        if self._writable:
            if record is not None:
                self._map[fmt.RECORD_AT : fmt.RECORD_AT + 8] = fmt.U64.pack(record)
            self._map[fmt.POSTED_AT : fmt.POSTED_AT + 8] = fmt.U64.pack(self.offset)

    def close(self) -> None:
        """Unmap. Columns returned before stay valid: they are copies."""
        del self._data
        self._view.release()
        try:
            self._map.close()
        except BufferError:
            pass  # an exception on its way up still holds a view: the map goes with it


def _no_side(_name: str, _length: int, _check: int) -> bytes | None:
    return None
