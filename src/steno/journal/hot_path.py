"""The hot path: from a call of `log` to its frame in the segment, without a question that the record does not need."""

from __future__ import annotations

import functools
import struct
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import crc32c
import msgspec

from steno.journal.frames import refuse
from steno.journal.native import as_function
from steno.journal.plans import Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from steno.journal.native import Core

_POOL: Final = 16
_BUFFER_BYTES: Final = 512
_header: Final = struct.Struct("<II").pack
_encode_into: Final = msgspec.msgpack.Encoder(decimal_format="number").encode_into
_crc: Final = crc32c.crc32c
_clock: Final = time.monotonic_ns
ODD: Final = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, MemoryError)
"""What the hot path's own steps raise. Nothing wider: an exception thrown into `log` by the program's own signal
handler is not ours to swallow."""


class Road(NamedTuple):
    """The calls that record, and what changes where they write."""

    log: Callable[..., None]
    add: Callable[..., None]
    scope: Callable[..., tuple[Callable[..., None], Callable[..., None]]]
    get: Callable[[], Any]
    set: Callable[[Any, int], None]
    swap: Callable[[Any, Any], None]


def _key_at(data: dict[str, Any], position: int) -> str:
    return next(islice(data, position, None) if position else iter(data), "")  # another thread may empty it


def build(core: Core, slow: Callable[..., None], put: Callable[..., None]) -> Road:
    """The hot path as closures: a cell is read faster than an attribute.

    `state` is (write, nonce, plans by number of keys, singles by key, plans by keys), swapped whole, so that a frame
    always carries a key-set number announced in the segment it goes to. What a plan is, and how it is found among
    several of one number of keys, is said in `plans`. A native core stands before these closures, and takes what it
    can; the plans by keys are its token for what it has learned.

    Args:
        core: gives the records' numbers, and gets what changes.
        slow: takes what `log` was given and the hot path cannot take.
        put: takes a scope, a record, a step and a time.
    """
    state: Any = (refuse, 0, {}, {}, {})
    pool = [bytearray(_BUFFER_BYTES) for _ in range(_POOL)]
    pop, push = pool.pop, pool.append
    clock, next_seq, encode_into, header, crc, key_at = _clock, core.next, _encode_into, _header, _crc, _key_at

    # `level` and `arrays` are for keywords only by the types; at run time a keyword-only parameter would cost
    # every call a look-up of its default, and a third positional argument would raise in the loop. `commit` is
    # another logger's habit: the slow path reports it, and here it means and costs nothing.
    def log(data: Any, step: Any = None, level: Any = None, arrays: Any = None, commit: Any = None) -> None:
        """Record what happens at this step; see `Run.log`."""
        write, nonce, plans, singles, by_keys = state
        try:
            if data.__class__ is dict and (step.__class__ is int or step is None) and level is None and arrays is None:
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
        except ODD:
            pass
        if len(pool) < _POOL:
            push(bytearray(_BUFFER_BYTES))
        slow(data, step, level, arrays, commit)

    log.__qualname__ = "Run.log"  # as a TypeError about its arguments calls it

    def add(key: Any, value: Any, step: int | None = None) -> None:
        """`log({key: value}, step)` for a key that is a plan already; the writers' path."""
        write, nonce, _, singles, _ = state
        try:
            buffer = pop()
            encode_into((clock(), next_seq(), singles[key], value, step), buffer)
            write(header(len(buffer), crc(buffer, nonce)) + buffer)
            push(buffer)
        except ODD:
            if len(pool) < _POOL:
                push(bytearray(_BUFFER_BYTES))
            slow({key: value}, step, None, None)

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
            except ODD:
                if len(pool) < _POOL:
                    push(bytearray(_BUFFER_BYTES))
                if check is not None:
                    check(key, step)
                put(me, {key: value}, step)

        return core.add(add, me), functools.partial(put, me)

    def get() -> Any:
        return state

    def set_(write: Any, nonce: int) -> None:
        nonlocal state
        token: dict[Any, Any] = {}
        core.use(token, None, 0)
        state = (write, nonce, {}, {}, token)
        core.use(token, write, nonce)

    def swap(old: Any, new: Any) -> None:
        nonlocal state
        if state[0] is old:
            state = (new, *state[1:])
            core.use(state[4], new, state[1])

    return Road(as_function(core.log(log), log), core.add(add, None), scope, get, set_, swap)
