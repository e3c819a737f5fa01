"""Several questions about the same runs, such as those of all charts on a page, answered out of one reading."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from steno.errors import CorruptError, UsageError
from steno.ledger import bins as bins_
from steno.store import engines
from steno.store.bins import exact
from steno.store.bins.build import build
from steno.store.bins.engine import LostMoreError
from steno.store.bins.groups import grouping
from steno.store.bins.kept import WeightedCache
from steno.store.bins.shown import shown
from steno.store.bins.widths import narrowest

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from steno.ledger.bins import Bins
    from steno.store.bins.answer import Curves, LeftOut
    from steno.store.bins.engine import CurveEngine, Reading, RunToRead, Whole
    from steno.store.bins.groups import Grouping
    from steno.store.bins.question import Question
    from steno.store.bins.rows import Rows

_BYTES_KEPT: Final = 64 << 20
_TRIES: Final = 20
_POINTS: Final = 2_000_000
"""Of one reading, where the series before were so short that more of them are in memory together."""

_SHARED_BINS: Final = 20_000
"""Bins of all questions of a reading that are made together, about 330 bytes each: more cost as much one by one."""

_kept = WeightedCache[tuple[Any, "Curves"]](_BYTES_KEPT)
"""Answers about ended runs, which stay as they are."""


def _anew() -> None:
    global _kept  # a lock that another thread held at the fork is never let go in the child
    _kept = WeightedCache[tuple[Any, "Curves"]](_BYTES_KEPT)


os.register_at_fork(after_in_child=_anew)


@dataclass(frozen=True, slots=True)
class CurveRequest:
    """One question."""

    question: Question
    groups: tuple[str, ...] | None = None
    """The names by which runs are grouped; None: they are not."""

    def __post_init__(self) -> None:
        if self.groups is not None and self.question.by_key:
            raise UsageError("group= needs bins, and over a key there are none: ask for step, time or relative")


def answers(asked: Sequence[CurveRequest], runs: Any, dir: str | os.PathLike[str] | None = None) -> list[Curves]:
    """What `steno.bins` says to each question, in their order; questions that differ in their keys share a reading.

    Raises:
        RunNotFoundError: there is no run at all.
    """
    found, missing = shown(runs, dir)
    other, _ = engines.only([run.url or run.dir for run in found], "steno.bins")
    engine: CurveEngine = exact.shared() if other is None else other.curves()
    names = tuple(run.name for run in found)
    groups = {one.groups: None if one.groups is None else grouping(one.groups, found) for one in asked}
    about = [(one.question, repr(groups[one.groups]), names) for one in asked]
    out: list[Curves | None] = [None] * len(asked)
    kept = [None if missing else _kept.get(one) for one in about]
    if any(kept):
        tokens = tuple(engine.token(run) for run in found)
        out = [one[1] if one is not None and one[0] == tokens else None for one in kept]
    shares: dict[Hashable, list[int]] = {}
    for at, one in enumerate(asked):
        if out[at] is None:
            shares.setdefault(at if one.question.by_key else replace(one.question, keys=()), []).append(at)
    for share in shares.values():
        most = engine.most_series // len(found)
        while share:
            some = _first([asked[at].question for at in share], most)
            many = _together(
                engine, found, [(asked[at].question, groups[asked[at].groups]) for at in share[:some]], missing
            )
            tokens = tuple(engine.token(run) for run in found)
            for at, made in zip(share[:some], many, strict=True):
                out[at] = made
                if None not in tokens and not made.left_out:
                    _kept.put(about[at], (tokens, made), made.bytes)
            if engine.most_series > 1:  # short series may be many
                most = max(most, _POINTS * some // max(sum(made.total for made in many), 1))
            share = share[some:]
    return [one for one in out if one is not None]


def _together(
    engine: CurveEngine,
    found: Sequence[RunToRead],
    asked: Sequence[tuple[Question, Grouping | None]],
    missing: Sequence[LeftOut],
) -> list[Curves]:
    """The answers to questions that differ in their keys, out of one reading."""
    questions = [question for question, _ in asked]
    keys = tuple(dict.fromkeys(key for question in questions for key in question.keys))
    for _ in range(_TRIES):
        try:
            parts = _parts(engine.read(replace(questions[0], keys=keys), found), keys, questions)
            return [build(*one, part, missing) for one, part in zip(asked, parts, strict=True)]
        except LostMoreError as error:
            why = error
    raise CorruptError(f"the run {why} loses parts as fast as they are read: see `steno verify`")


def _first(questions: Sequence[Question], most: int) -> int:
    """How many of the questions one reading answers, which has at most so many keys; at least one."""
    keys: set[str] = set()
    for at, one in enumerate(questions):
        keys |= set(one.keys)
        if at and len(keys) > most:
            return at
    return len(questions)


def _parts(reading: Reading, keys: Sequence[str], questions: Sequence[Question]) -> Iterator[Reading]:
    """Of each question what was read for it."""
    if len(questions) == 1:
        yield reading
        return
    places: dict[int, list[int]] = {}
    for at, one in enumerate(reading.members):
        places.setdefault(one.key, []).append(at)
    number = {key: at for at, key in enumerate(keys)}
    shared = _Bins(reading, questions[0])
    some = [_Some(reading, [number[key] for key in one.keys], one.keys, places, shared) for one in questions]
    for question, mine in zip(questions, some, strict=True):
        shared.add(mine.places, 1 << narrowest(mine.members, question))
    yield from some


class _Bins:
    """The bins of a reading for several questions: of few series all that have one width are made together."""

    def __init__(self, reading: Reading, question: Question) -> None:
        self._reading, self._most = reading, 2 * question.width
        is_wanted = not question.by_key and len(reading.members) * question.width <= _SHARED_BINS
        self._wanted: dict[int, dict[int, int]] | None = {} if is_wanted else None
        self._made: dict[int, tuple[Bins, Rows, list[int]]] = {}

    def add(self, members: Sequence[int], width: int) -> None:
        """These series will be asked for with that width, as far as they have too many points to be drawn."""
        if self._wanted is not None:
            known = self._wanted.setdefault(width, {})
            for one in members:
                if self._reading.members[one].total > self._most:
                    known.setdefault(one, len(known))

    def of(self, members: Sequence[int], width: int) -> tuple[Bins, Rows]:
        """See `engine.Reading.bins`."""
        import numpy as np

        places = {} if self._wanted is None else self._wanted.get(width, {})
        if not all(one in places for one in members):
            return self._reading.bins(members, width)
        if width not in self._made:
            bins, rows = self._reading.bins(list(places), width)
            self._made[width] = bins, rows, np.searchsorted(bins.key, np.arange(len(places) + 1)).tolist()
        bins, rows, edges = self._made[width]
        pieces = [bins.take(slice(edges[places[one]], edges[places[one] + 1])) for one in members]
        found = bins_.concat(pieces)
        key = np.repeat(np.arange(len(pieces), dtype=np.int32), [len(one) for one in pieces])
        return replace(found, key=key), rows


class _Some:
    """Of a reading the series of some keys; see `engine.Reading`."""

    def __init__(
        self,
        reading: Reading,
        numbers: Sequence[int],
        keys: Sequence[str],
        places: dict[int, list[int]],
        shared: _Bins,
    ) -> None:
        self.runs = reading.runs
        self.left_out = [one for one in reading.left_out if one.key is None or one.key in keys]
        members = reading.members
        mine = [
            (replace(members[place], key=at), place)
            for at, number in enumerate(numbers)
            for place in places.get(number, ())
        ]
        if len(numbers) > 1:
            mine.sort(key=lambda one: (one[0].run, one[0].key, -1 if one[0].rank is None else one[0].rank))
        self.members = [one for one, _ in mine]
        self.places = [place for _, place in mine]
        self._reading, self._shared = reading, shared

    def _of(self, members: Sequence[int]) -> list[int]:
        return [self.places[one] for one in members]

    def points(self, members: Sequence[int]) -> Rows:
        """See `engine.Reading`."""
        return self._reading.points(self._of(members))

    def bins(self, members: Sequence[int], width: int) -> tuple[Bins, Rows]:
        """See `engine.Reading`."""
        return self._shared.of(self._of(members), width)

    def beyond(self, members: Sequence[int], side: int) -> Rows:
        """See `engine.Reading`."""
        return self._reading.beyond(self._of(members), side)

    def whole(self, member: int) -> Whole:
        """See `engine.Reading`."""
        return self._reading.whole(self.places[member])

    def token(self, member: int) -> Hashable | None:
        """See `engine.Reading`."""
        return self._reading.token(self.places[member])
