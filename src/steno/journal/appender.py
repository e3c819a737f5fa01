"""Writes a process's journal: the hot path, and the roads it leaves by."""

from __future__ import annotations

import functools
import itertools
import struct
import sys
import threading
import time
from collections import deque
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import crc32c
import msgspec

from steno.journal import format as fmt
from steno.journal.guard import OwnerOnly, guarded
from steno.journal.plans import Scope, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from steno.journal.segment import Segment

_POOL: Final = 16
_BUFFER_BYTES: Final = 512
_SEEN_SETS: Final = 1 << 15
_BACKLOG_BYTES: Final = 16 << 20
_STEPS: Final = range(-(2**63), 2**63)
_header: Final = struct.Struct("<II").pack
_encode: Final = msgspec.msgpack.Encoder(decimal_format="number").encode
_encode_into: Final = msgspec.msgpack.Encoder(decimal_format="number").encode_into
_crc: Final = crc32c.crc32c
_clock: Final = time.monotonic_ns
# What the hot path's own steps raise. Nothing wider: an exception thrown into `log` by the program's own
# signal handler is not ours to swallow.
_ODD: Final = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, MemoryError)


def _key_at(data: dict[str, Any], position: int) -> str:
    return next(islice(data, position, None) if position else iter(data), "")  # another thread may empty it


class Appender:
    """One process's end of the journal.

    Thread-safe and safe to call from signal handlers and finalizers: a frame is reserved and copied by one
    `mmap.write` under the GIL (under a lock on free-threaded builds), and the one lock there is, taken when
    a segment is full, can be taken again by its holder. What was appended survives the process.

    Args:
        next_segment: gives a fresh segment of at least that many bytes; raises OSError when it cannot.
        rolled: told the segment that was left and the one taken.
        side: writes a body too large for a segment to a file, returns its name; raises OSError.
        prepare: makes a record encodable, reporting and dropping what is bad: (data, step, level, arrays) →
            (values, step, what devices owe), or None: nothing is to be appended.
        options: what can be recorded of a (level, arrays mode, commit) given with a record, reporting the rest.
        owe: told (sequence number, what devices owe, arrays) after the record was appended.
        convert: by exact type, what makes a scalar encodable; grows as `prepare` meets types.
        failed: told an OSError once per bad spell.
        closed: told that somebody logs after `close`.
        slow: told that a call has left the hot path.
        met: told a record whose keys have no plan, after it was appended; must not raise.

    """

    def __init__(
        self,
        *,
        next_segment: Callable[[int], Segment],
        rolled: Callable[[Segment | None, Segment], None],
        side: Callable[[bytes], str],
        prepare: Callable[[Any, Any, Any, Any], tuple[dict[str, Any], int | None, Any] | None],
        options: Callable[[Any, Any, Any], tuple[int | None, str | None]],
        owe: Callable[[int, Any, Any], None],
        convert: Mapping[type, Callable[[Any], Any]],
        failed: Callable[[OSError], None],
        closed: Callable[[], None],
        slow: Callable[[], None] = lambda: None,
        met: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        self._next_segment = next_segment
        self._rolled = rolled
        self._side = side
        self._prepare = prepare
        self._options = options
        self._convert = convert
        self._owe = owe
        self._failed = failed
        self._closed = closed
        self._left = slow
        self._met = met
        self.lock = threading.RLock()
        self.current: Segment | None = None
        self.sealed = False
        self._rolling = False
        self._forks: list[None] = []
        self._strayed = False
        self.backlog: deque[bytes] = deque()
        self.backlog_bytes = 0
        self.dropped = 0
        self._keeping = self._keep  # one object, so that identity tells it
        self._seen: dict[int, None] = {}
        self._levels: dict[int, Scope] = {}
        self._numbers = itertools.count(fmt.FIRST_SET)
        self._seqs = itertools.count(fmt.FIRST_SEQ)
        self._next_seq = self._seqs.__next__
        gil = getattr(sys, "_is_gil_enabled", None)
        self._locked_writes = gil is not None and not gil()
        self.log, self.add, self.scope, self._get, self._set = self._build()
        self._set(_refuse, 0)

    def _build(self) -> tuple[Any, Any, Any, Any, Any]:
        """The hot path as closures: a cell is read faster than an attribute.

        `state` is (write, nonce, plans by number of keys, singles by key, plans by keys), swapped whole, so
        that a frame always carries a key-set number announced in the segment it goes to. What a plan is, and how
        it is found among several of one number of keys, is said in `plans`.
        """
        state: Any = (_refuse, 0, {}, {}, {})
        pool = [bytearray(_BUFFER_BYTES) for _ in range(_POOL)]
        pop, push = pool.pop, pool.append
        clock, next_seq, encode_into, header, crc, key_at = _clock, self._next_seq, _encode_into, _header, _crc, _key_at
        slow, slow_add = self._slow, self._slow_add

        # `level` and `arrays` are for keywords only by the types; at run time a keyword-only parameter would cost
        # every call a look-up of its default, and a third positional argument would raise in the loop. `commit` is
        # another logger's habit: the slow road reports it, and here it means and costs nothing.
        def log(data: Any, step: Any = None, level: Any = None, arrays: Any = None, commit: Any = None) -> None:
            """Record what happens at this step; see `Run.log`."""
            write, nonce, plans, singles, by_keys = state
            try:
                if (
                    data.__class__ is dict
                    and (step.__class__ is int or step is None)
                    and level is None
                    and arrays is None
                ):
                    width = len(data)
                    if width > 1:
                        getter, number, rest = plans[width]
                        while getter is None:
                            # Several key sets of this width: one of the keys tells.
                            getter, number, rest = by_keys[*data] if rest is None else rest[key_at(data, number)]
                        try:
                            values = getter(data)
                        except KeyError:
                            getter, number, _ = by_keys[*data]
                            values = getter(data)
                    else:
                        (key,) = data
                        values, number = data[key], singles[key]
                    buffer = pop()
                    encode_into((clock(), next_seq(), number, values, step), buffer)
                    write(header(len(buffer), crc(buffer, nonce)) + buffer)
                    push(buffer)
                    return
            except _ODD:
                pass
            if len(pool) < _POOL:
                push(bytearray(_BUFFER_BYTES))
            slow(data, step, level, arrays, commit)

        def add(key: Any, value: Any, step: int | None = None) -> None:
            """`log({key: value}, step)` for a key that is a plan already; the writers' road."""
            write, nonce, _, singles, _ = state
            try:
                buffer = pop()
                encode_into((clock(), next_seq(), singles[key], value, step), buffer)
                write(header(len(buffer), crc(buffer, nonce)) + buffer)
                push(buffer)
            except _ODD:
                if len(pool) < _POOL:
                    push(bytearray(_BUFFER_BYTES))
                slow_add(key, value, step)

        def scope(options: dict[str, Any], check: Callable[[Any, Any], None] | None = None) -> Any:
            """Like `add` for records whose key sets have these options, say a counter of their own.

            `check` is asked about a key and a step that the hot path could not take, and may raise.
            """
            me = Scope(options)

            def add(key: Any, value: Any, step: int | None = None) -> None:
                """Record a number under a key; the caller has seen that it is a float or an int, and the step one."""
                write, nonce, _, _, by_keys = state
                try:
                    buffer = pop()
                    encode_into((clock(), next_seq(), by_keys[me][key], value, step), buffer)
                    write(header(len(buffer), crc(buffer, nonce)) + buffer)
                    push(buffer)
                except _ODD:
                    if len(pool) < _POOL:
                        push(bytearray(_BUFFER_BYTES))
                    if check is not None:
                        check(key, step)
                    put(me, {key: value}, step)

            return add, functools.partial(put, me)

        put = self._put

        def get() -> Any:
            return state

        def set_(write: Any, nonce: int) -> None:
            nonlocal state
            state = (write, nonce, {}, {}, {})

        def swap(old: Any, new: Any) -> None:
            nonlocal state
            if state[0] is old:
                state = (new, *state[1:])

        self._swap = swap
        return log, add, scope, get, set_

    # -- the slow road -----------------------------------------------------------------------------

    def _slow(self, data: Any, step: Any, level: Any, arrays: Any, commit: Any = None) -> None:
        """A record the hot path could not take: new keys, odd values, a full segment."""
        stamp = _clock()
        self._left()
        if self.sealed:
            self._closed()
            return
        if level is not None or arrays is not None or commit is not None:
            level, arrays = self._options(level, arrays, commit)
        meta = {k: v for k, v in (("level", level), ("arrays", arrays)) if v is not None}
        if data.__class__ is dict and arrays is None and (step is None or (step.__class__ is int and step in _STEPS)):
            try:
                self.plan(data, step, stamp) if level is None else self._levelled(level, data, step, stamp)
                return
            except _ODD:
                pass
        prepared = self._prepare(data, step, level, arrays)
        if prepared is None:
            return
        values, step, owed = prepared
        if meta:
            seq = self._next_seq()
            self.append([fmt.RICH, stamp, seq, values, step, meta])
        else:
            seq = self.plan(values, step, stamp)
            if values.keys() == getattr(data, "keys", dict)():
                self._plan_odd(tuple(values))
        if owed:
            self._owe(seq, owed, arrays)

    def _plan_odd(self, keys: tuple[str, ...]) -> None:
        """From now on this key set's values are converted by their type on the hot path: numpy scalars."""
        _, _, plans, _, by_keys = self._get()
        plan = by_keys.get(keys)
        # Once: values that no conversion takes (arrays, media) come here at every record.
        if plan is not None and len(keys) > 1 and plan[0].__class__ is itemgetter:
            convert = self._convert

            def getter(data: dict[str, Any], chosen: Any = plan[0]) -> list[Any]:
                return [convert[value.__class__](value) for value in chosen(data)]

            by_keys[keys] = (getter, *plan[1:])
            choose(plans, by_keys, keys, plan)

    def _slow_add(self, key: Any, value: Any, step: int | None) -> None:
        self._slow({key: value}, step, None, None)

    def _put(self, scope: Scope, data: dict[str, Any], step: int | None, wall: int | None = None) -> None:
        """A record under a scope's options, whatever its values; `wall` (ns) in place of the clock."""
        stamp = _clock()
        if self.sealed:
            self._closed()
            return
        prepared = self._prepare(data, step, None, None)
        if prepared is None:
            return
        values, step, owed = prepared
        seq = self._put_encodable(scope, values, step, stamp, wall)
        if owed:
            self._owe(seq, owed, None)

    def _levelled(self, level: int, data: dict[str, Any], step: int | None, stamp: int) -> None:
        """A record with a level: its key set is announced once for each level. Raises as `plan` does."""
        scope = self._levels.setdefault(level, Scope({"level": level}))
        keys = tuple(data)
        if (scope, keys) not in self._get()[4]:
            if not keys or any(key.__class__ is not str for key in keys):
                raise TypeError
            mark = hash((scope, keys))
            if mark not in self._seen:
                self._note(mark)
                self.append([fmt.RICH, stamp, self._next_seq(), data, step, scope.options])
                return
        self._put_encodable(scope, data, step, stamp)

    def _put_encodable(
        self, scope: Scope, values: dict[str, Any], step: int | None, stamp: int, wall: int | None = None
    ) -> int:
        """Append a record under a scope's options; its sequence number. Raises as `plan` does."""
        keys = tuple(values)
        while True:
            write, nonce, _, _, by_keys = self._get()
            number = None if wall is not None else self._announce_scope(scope, keys, write, by_keys)
            if number is False:
                continue
            seq = self._next_seq()
            if number is None:
                meta = scope.options if wall is None else {**scope.options, "wall": wall}
                body = _encode((fmt.RICH, stamp, seq, values, step, meta))
            else:
                held = [*values.values()] if len(keys) > 1 else values[keys[0]]
                body = _encode((stamp, seq, number, held, step))
            if self._write(body, write, nonce):
                return int(seq)

    def _announce_scope(self, scope: Scope, keys: tuple[str, ...], write: Any, by_keys: Any) -> Any:
        """The number of a scope's key set in this segment; None to go inline; False when the segment has changed."""
        number = by_keys.get((scope, keys))
        if number is not None or write is self._keeping or len(by_keys) >= fmt.MAX_SETS:
            return number
        with self.lock:
            current, nonce, *_ = self._get()
            if current is not write:
                return False
            number = by_keys.get((scope, keys))
            if number is None:
                number = next(self._numbers)
                if not self._write(_encode((fmt.SET, number, keys, scope.options)), write, nonce):
                    return False
                by_keys[scope, keys] = number
                if len(keys) == 1:
                    by_keys.setdefault(scope, {})[keys[0]] = number
            return number

    def plan(self, data: dict[str, Any], step: int | None, stamp: int) -> int:
        """Append the record behind its key set's number, or inline while the set is new.

        Returns:
            Its sequence number.

        Raises:
            TypeError, ValueError, OverflowError: a value msgpack cannot take; nothing was appended.

        """
        keys = tuple(data)
        while True:
            write, nonce, plans, singles, by_keys = self._get()
            plan = by_keys.get(keys)
            if plan is None:
                plan = self._announce(keys, write, by_keys)
                if plan is False:
                    continue
            seq = self._next_seq()
            if plan is None:
                body = _encode((stamp, seq, data, step))
            else:
                getter, number, _ = plan
                if len(keys) == 1:
                    singles[keys[0]] = number
                else:
                    choose(plans, by_keys, keys, None)
                body = _encode((stamp, seq, number, getter(data), step))
            if self._write(body, write, nonce):
                if plan is None:
                    self._met(data)
                return int(seq)

    def _note(self, mark: int) -> None:
        if len(self._seen) >= _SEEN_SETS:
            self._seen.clear()
        self._seen[mark] = None

    def _announce(self, keys: tuple[Any, ...], write: Any, by_keys: Any) -> Any:
        """A plan for the key set in this segment; None to go inline; False when the segment has changed."""
        if not keys or write is self._keeping or len(by_keys) >= fmt.MAX_SETS:
            return None
        mark = hash(keys)
        if mark not in self._seen:
            # A set met once may never come again: it is announced when it comes the second time.
            self._note(mark)
            return None
        if any(key.__class__ is not str for key in keys):
            msg = "keys must be strings"
            raise TypeError(msg)
        with self.lock:
            current, nonce, *_ = self._get()
            if current is not write:
                return False
            plan = by_keys.get(keys)
            if plan is None:
                number = next(self._numbers)
                if not self._write(_encode((fmt.SET, number, keys, None)), write, nonce):
                    return False
                plan = by_keys[keys] = (itemgetter(*keys), number, keys)
            return plan

    def append(self, message: Any) -> None:
        """Append one frame of any kind; `message` is its body as an array.

        Raises:
            TypeError, ValueError, OverflowError: something in it msgpack cannot take.

        """
        self._append_body(_encode(message))

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
        return int(repr(self._seqs)[len("count(") : -1]) - 1

    def _write(self, body: bytes, write: Any, nonce: int) -> bool:
        """Whether the frame is in the journal; False: the state has changed, encode again."""
        try:
            write(_header(len(body), _crc(body, nonce)) + body)
        except ValueError:
            if self.sealed:
                return True
            current = self.current
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
        old, self.current = self.current, None
        if old is not None:
            old.seal()
            self._rolled(old, old)
        return old

    def _take(self, segment: Segment) -> None:
        self._leave()
        self.current = segment
        write = segment.write
        if self._locked_writes:
            write = guarded(write)
            segment.write = write
        if self._forks:
            write = segment.write = OwnerOnly(self._stray, write)
        write(_frame((fmt.CLOCK, _clock(), time.time_ns()), segment.nonce))
        self._set(write, segment.nonce)
        self._rolled(None, segment)

    # -- without a segment ---------------------------------------------------------------------------

    def _keep(self, frame: bytes) -> None:
        """Stand-in for `mmap.write` while the disk is full: bounded, counted."""
        if self.backlog_bytes + len(frame) > _BACKLOG_BYTES:
            self.dropped += 1
            return
        self.backlog_bytes += len(frame)
        self.backlog.append(frame[fmt.FRAME_BYTES :])

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
        while self.waiting and not self.sealed:
            try:
                segment = self._next_segment(0)
            except OSError:
                return False
            self._pour(segment)
            with self.lock:
                if not self.backlog:
                    self.backlog_bytes = 0  # threads that counted at once may have miscounted
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
            self._set(_refuse, 0)
            return self._leave()

    def before_fork(self) -> None:
        """Until the fork is over, what writes looks whose process it is in.

        The child shares the parent's map, and a finalizer may log there before `after_fork` is called.
        """
        self._forks.append(None)
        segment = self.current
        if segment is not None and segment.write.__class__ is not OwnerOnly:
            raw = segment.write
            segment.write = OwnerOnly(self._stray, raw)
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

    def _stray(self) -> None:
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
        self.current = None
        self._rolling = False
        self.backlog = deque()
        self.backlog_bytes = 0
        self.dropped = 0
        if not self.sealed:
            self._set(_refuse, 0)
            for body in early:
                self._append_body(body)


def _refuse(_frame: bytes) -> None:
    """Stand-in for `mmap.write` before the first segment and after the last."""
    raise ValueError


def _frame(message: Any, nonce: int) -> bytes:
    body = _encode(message)
    return _header(len(body), _crc(body, nonce)) + body
