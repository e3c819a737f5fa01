"""Makes a process's records into frames: the hot path, and the slow path for what it cannot take."""

from __future__ import annotations

import itertools
import time
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from steno.journal import format as fmt
from steno.journal.frames import Frames, encode, refuse
from steno.journal.hot_path import ODD, build
from steno.journal.plans import Scope, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from steno.journal.segment import Segment

_SEEN_SETS: Final = 1 << 15
_STEPS: Final = range(-(2**63), 2**63)
_clock: Final = time.monotonic_ns


class Appender(Frames):
    """One process's end of the journal.

    Thread-safe and safe to call from signal handlers and finalizers: a frame is reserved and copied by one
    `mmap.write` under the GIL (under a lock on free-threaded builds), and the one lock there is, taken when
    a segment is full, can be taken again by its holder. What was appended survives the process.

    Args:
        next_segment, rolled, side, failed, strange: see `Frames`.
        prepare: makes a record encodable, reporting and dropping what is bad: (data, step, level, arrays) →
            (values, step, values still on a device), or None: nothing is to be appended.
        options: what can be recorded of a (level, arrays mode, commit) given with a record, reporting the rest.
        fetch: called with (sequence number, values still on a device, arrays) after the record was appended.
        convert: by exact type, what makes a scalar encodable; grows as `prepare` meets types.
        closed: called when somebody logs after `close`.
        slow: called when a call has left the hot path.
        odd: whether a record has to go to `prepare`, whatever the encoder would say; asked off the hot path.
        met: called with a record whose keys have no plan, after it was appended; must not raise.

    """

    def __init__(
        self,
        *,
        next_segment: Callable[[int], Segment],
        rolled: Callable[[Segment | None, Segment], None],
        side: Callable[[bytes], str],
        prepare: Callable[[Any, Any, Any, Any], tuple[dict[str, Any], int | None, Any] | None],
        options: Callable[[Any, Any, Any], tuple[int | None, str | None]],
        fetch: Callable[[int, Any, Any], None],
        convert: Mapping[type, Callable[[Any], Any]],
        failed: Callable[[OSError], None],
        closed: Callable[[], None],
        slow: Callable[[], None] = lambda: None,
        odd: Callable[[Mapping[str, Any]], bool] = lambda _: False,
        met: Callable[[Mapping[str, Any]], None] = lambda _: None,
        strange: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(next_segment=next_segment, rolled=rolled, side=side, failed=failed, strange=strange)
        self._prepare = prepare
        self._options = options
        self._convert = convert
        self._fetch = fetch
        self._closed = closed
        self._left = slow
        self._odd = odd
        self._met = met
        self._seen: dict[int, None] = {}
        self._levels: dict[int, Scope] = {}
        self._numbers = itertools.count(fmt.FIRST_SET)
        built = build(self._core, self._slow, self._put)
        self.log, self.add, self.scope = built.log, built.add, built.scope
        self._get, self._set, self._swap = built.get, built.set, built.swap
        self._set(refuse, 0)

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
                if self._odd(data):
                    raise ValueError
                self.plan(data, step, stamp) if level is None else self._levelled(level, data, step, stamp)
                return
            except ODD:
                pass
        prepared = self._prepare(data, step, level, arrays)
        if prepared is None:
            return
        values, step, pending = prepared
        if meta:
            seq = self._next_seq()
            self.append([fmt.RICH, stamp, seq, values, step, meta])
        else:
            seq = self.plan(values, step, stamp)
            if values.keys() == getattr(data, "keys", dict)():
                self._plan_odd(tuple(values))
        if pending:
            self._fetch(seq, pending, arrays)

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

    def _put(self, scope: Scope, data: dict[str, Any], step: int | None, wall: int | None = None) -> None:
        """A record under a scope's options, whatever its values; `wall` (ns) in place of the clock."""
        stamp = _clock()
        if self.sealed:
            self._closed()
            return
        prepared = self._prepare(data, step, None, None)
        if prepared is None:
            return
        values, step, pending = prepared
        seq = self._put_encodable(scope, values, step, stamp, wall)
        if pending:
            self._fetch(seq, pending, None)

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
                body = encode((fmt.RICH, stamp, seq, values, step, meta))
            else:
                held = [*values.values()] if len(keys) > 1 else values[keys[0]]
                body = encode((stamp, seq, number, held, step))
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
                if not self._write(encode((fmt.SET, number, keys, scope.options)), write, nonce):
                    return False
                by_keys[scope, keys] = number
                if len(keys) == 1:
                    by_keys.setdefault(scope, {})[keys[0]] = number
                    self._core.learn(by_keys, scope, keys, number)
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
                body = encode((stamp, seq, data, step))
            else:
                getter, number, _ = plan
                if len(keys) == 1:
                    singles[keys[0]] = number
                else:
                    choose(plans, by_keys, keys, None)
                body = encode((stamp, seq, number, getter(data), step))
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
                if not self._write(encode((fmt.SET, number, keys, None)), write, nonce):
                    return False
                plan = by_keys[keys] = (itemgetter(*keys), number, keys)
                self._core.learn(by_keys, None, keys, number)
            return plan
