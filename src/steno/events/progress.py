"""From events, in the order they happened, to the state at each record."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from steno.events.event import ASIDE, EVAL_BATCH, PREDICT_BATCH, Event
from steno.events.time import Time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steno.events.state import State
    from steno.events.timestamp import Timestamp

KEPT: Final = 16_384
"""States remembered for values that come late; older ones are answered with the oldest."""
_COUNTS: Final = ("batch", "sample", "token")
_FIELDS: Final = (*_COUNTS, *(f"{name}_in_epoch" for name in _COUNTS))


class Progress:
    """Follows a loop by its events and remembers where it stood at each of them. For one thread.

    Args:
        state: where it begins.
        began: when, in nanoseconds since 1970; the first batch's time counts from there.
    """

    def __init__(self, state: State, began: int = 0) -> None:
        self._at = [0]
        self._states = [state]
        self._mark = began
        self._eval_mark = self._predict_mark = began
        self._in_epoch = False

    @property
    def now(self) -> State:
        """After the last event."""
        return self._states[-1]

    def at(self, record: int) -> State:
        """As it stood when the record of that number was logged."""
        place = bisect_left(self._at, record)
        return self._states[max(place - 1, 0)]

    def begin(self, when: int) -> None:
        """The program began to log at that time (ns)."""
        self._mark = when

    def take(self, event: Event, payload: Mapping[str, Any], record: int, when: int) -> State:
        """The state after an event.

        Args:
            event: which.
            payload: what the loop said with it; counts that it gives hold, others are counted on.
            record: the event's own number; what came before has lower ones.
            when: nanoseconds since 1970.
        """
        state = replace(self.now, event=event, payload=payload, max_duration=self._duration(payload))
        if event in EVAL_BATCH or event is Event.EVAL_START:
            stamp, self._eval_mark = self._aside(state.eval_timestamp, event, payload, when, self._eval_mark)
            state = replace(state, eval_timestamp=stamp)
        elif event in PREDICT_BATCH or event is Event.PREDICT_START:
            stamp, self._predict_mark = self._aside(state.predict_timestamp, event, payload, when, self._predict_mark)
            state = replace(state, predict_timestamp=stamp)
        if event not in ASIDE:
            state = replace(state, timestamp=self._advanced(state.timestamp, event, payload, when))
        # Threads may journal their events a moment out of order: they count in the order in which they come.
        self._at.append(max(record, self._at[-1]))
        self._states.append(state)
        if len(self._at) > KEPT:
            del self._at[: KEPT // 4], self._states[: KEPT // 4]
        return state

    def _duration(self, payload: Mapping[str, Any]) -> Time | None:
        said = payload.get("max_duration")
        return self.now.max_duration if said is None else duration(said) or self.now.max_duration

    def _advanced(self, stamp: Timestamp, event: Event, said: Mapping[str, Any], when: int) -> Timestamp:
        epoch = _count(said, "epoch")
        if event is Event.FIT_START:
            self._mark = when
        if event is Event.EPOCH_START and epoch is None and self._in_epoch:
            stamp = stamp.to_next_epoch()  # a loop that tells of beginnings only
        if event is not Event.EPOCH_END and epoch is not None and epoch != int(stamp.epoch):
            stamp = stamp.in_epoch(epoch)
        if event is Event.BATCH_END:
            stamp = _next_batch(stamp, said, when - self._mark)
            self._mark = when
        if event is Event.EPOCH_END:
            stamp = stamp.in_epoch(int(stamp.epoch) + 1 if epoch is None else epoch)
        self._in_epoch = (self._in_epoch or event is Event.EPOCH_START) and event is not Event.EPOCH_END
        return _corrected(stamp, said)

    @staticmethod
    def _aside(stamp: Timestamp, event: Event, said: Mapping[str, Any], when: int, mark: int) -> tuple[Timestamp, int]:
        """The position within an evaluation or a prediction, which has counts of its own."""
        if event in {Event.EVAL_START, Event.PREDICT_START}:
            return type(stamp)(), when
        if event in {Event.EVAL_BATCH_END, Event.PREDICT_BATCH_END}:
            stamp, mark = _next_batch(stamp, said, when - mark), when
        return _corrected(stamp, said), mark


def duration(said: Any) -> Time | None:
    """How long a loop is to run: a text such as "10ep", or a number of epochs; None if it is neither."""
    try:
        if isinstance(said, str):
            return Time.parse(said)
        return Time(said, "ep") if isinstance(said, int) and not isinstance(said, bool) and said > 0 else None
    except ValueError:
        return None


def _next_batch(stamp: Timestamp, said: Mapping[str, Any], nanos: int) -> Timestamp:
    samples, tokens = _count(said, "samples") or 0, _count(said, "tokens") or 0
    return stamp.to_next_batch(samples, tokens, timedelta(microseconds=max(nanos, 0) // 1000))


def _corrected(stamp: Timestamp, said: Mapping[str, Any]) -> Timestamp:
    """With the counts that the loop gave; what is counted within the epoch moves along."""
    changes: dict[str, int] = {}
    for name in _COUNTS:
        given = _count(said, name)
        if given is not None:
            within = int(getattr(stamp, f"{name}_in_epoch")) + given - int(getattr(stamp, name))
            changes |= {name: given, f"{name}_in_epoch": max(within, 0)}
    for name in _FIELDS[len(_COUNTS) :]:
        given = _count(said, name)
        if given is not None:
            changes[name] = given
    return stamp.copy(**changes) if changes else stamp


def _count(said: Mapping[str, Any], name: str) -> int | None:
    value = said.get(name)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
