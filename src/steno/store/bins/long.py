"""A reading of runs with many points, whose curves come from the bins next to their parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from steno.ledger import bins as bins_
from steno.store.binfiles import Level
from steno.store.bins import part_bins
from steno.store.bins.engine import SMOOTHED_POINTS, Facts, Member, Whole
from steno.store.bins.rows import Rows, concat
from steno.store.together import each

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from steno.ledger.bins import Bins
    from steno.store.bins.answer import LeftOut
    from steno.store.bins.folded import Folded
    from steno.store.bins.in_memory import InMemory
    from steno.store.bins.part_bins import AskedRun
    from steno.store.bins.question import Question
    from steno.store.engine import Covered, Engine
    from steno.store.points import Points

POINTS_A_BIN: Final = 128
"""A run with fewer points, of all keys, for each bin asked for is read by its points: no bin could be of use."""

_HELD_ROWS: Final = 50_000
_ALL_HELD_ROWS: Final = 1_000_000
"""Bins and points that are kept between the choice of the width and the curves; others are read twice."""

T = TypeVar("T")
Series = tuple[int, int, int | None]
"""Positions of a run and a key, and the rank."""
Ask = Callable[[Callable[["AskedRun"], T]], T]
"""Calls something with a run as it is, and again with the run as it is then, as long as its parts go away."""


@dataclass(frozen=True, slots=True)
class LongRun:
    """A run with many points."""

    run: int
    """Position in the runs."""
    ask: Ask[tuple[Bins, Points]]
    exact: Callable[[Sequence[int], Question], InMemory]
    """Reads the points of some keys, all of them or those in the range."""
    nearest: Callable[[int], Rows]
    """The last point of each series before the range (-1), or the first one after it (1); by position of the key."""
    token: Hashable


class Long:
    """See `engine.Reading`; only over steps."""

    def __init__(self, engine: Engine, question: Question, runs: Sequence[LongRun]) -> None:
        self._engine, self._question, self._runs = engine, question, {one.run: one for one in runs}
        self.members: list[Member] = []
        self._held: dict[int, tuple[Bins, Points]] = {}
        self._held_rows = 0
        self._beyond: dict[int, dict[Series, tuple[Rows, int]]] = {-1: {}, 1: {}}
        for one in runs:
            bins, points = one.ask(self._first)
            if len(bins) + len(points) <= _HELD_ROWS:
                is_sorted = bool((bins.key[1:] >= bins.key[:-1]).all())
                self._held[one.run] = (bins if is_sorted else bins.take(np.argsort(bins.key, kind="stable")), points)
                self._held_rows += len(bins) + len(points)
            spans = part_bins.spans(bins, points, by_rank=question.by_rank)
            mine = [Member(one.run, key, rank, total, low, high) for key, rank, total, low, high in spans]
            self.members += [*mine, *self._crossing(one, mine)] if question.edges else mine

    def add(self, other: Long) -> None:
        """Another reading of other runs."""
        self._runs |= other._runs
        self.members += other.members
        if self._held_rows < _ALL_HELD_ROWS:
            self._held |= other._held
            self._held_rows += other._held_rows
        for side, known in other._beyond.items():
            self._beyond[side] |= known

    def _crossing(self, run: LongRun, known: Sequence[Member]) -> list[Member]:
        """The series of the run that have no point in the range, but one on each side of it."""
        found: list[dict[Series, tuple[Rows, int]]] = []
        for side in (-1, 1):
            rows = run.nearest(side)
            ranks = rows.rank.tolist() if self._question.by_rank else [None] * len(rows)
            names = [(run.run, key, rank) for key, rank in zip(rows.series.tolist(), ranks, strict=True)]
            found.append({name: (rows, at) for at, name in enumerate(names)})
            self._beyond[side] |= found[-1]
        has = {(one.run, one.key, one.rank) for one in known}
        return [Member(*name, 0, 0, 0) for name in found[0] if name in found[1] and name not in has]

    def _first(self, source: AskedRun) -> tuple[Bins, Points]:
        """The bins by which the width is chosen: narrow enough to be of use for it, as far as can be said."""
        keys = self._question.keys
        if source.choice.first is not None or source.choice.last is not None:
            return part_bins.found(self._engine, source, keys, Level(1, unsealed=True))
        covered = self._engine.covered(source.dir, source.view.metrics, over_ranks=source.over_ranks)
        files = self._engine.binfiles(source.dir, [one.whole for one in covered if one.source is None])

        def counts(one: Covered) -> list[int]:
            return [files.count(source.dir, one.whole, key, 2, one.source) for key in keys]

        found = each(counts, [one for one in covered if one.source is not None])
        found += [counts(one) for one in covered if one.source is None]
        coarse = min(map(sum, zip(*found, strict=True)), default=0)
        # With half as many bins as are asked for they are no wider than those of the answer. A window has only some
        # of them, and ranks and attempts have their own: if too wide ones are read, others are read after them.
        level = 2 if 2 * coarse > self._question.width else 1
        return part_bins.found(self._engine, source, keys, Level(level, unsealed=True))

    def points(self, members: Sequence[int]) -> Rows:
        """See `engine.Reading`."""
        keys: dict[int, dict[int, None]] = {}
        for member in members:
            keys.setdefault(self.members[member].run, {})[self.members[member].key] = None
        pieces: list[tuple[int, Rows]] = []
        for run, mine in keys.items():
            reading = self._runs[run].exact(list(mine), self._question)
            place = {(one.key, one.rank): at for at, one in enumerate(reading.members)}
            for at, member in enumerate(members):
                one = self.members[member]
                if one.run == run and (one.key, one.rank) in place:
                    pieces.append((at, _numbered(reading.points([place[one.key, one.rank]]), at)))
        return concat([rows for _, rows in sorted(pieces, key=lambda piece: piece[0])])

    def bins(self, members: Sequence[int], width: int) -> tuple[Bins, Rows]:
        """See `engine.Reading`."""
        wanted: dict[int, dict[int, dict[int | None, int]]] = {}
        for at, member in enumerate(members):
            one = self.members[member]
            wanted.setdefault(one.run, {}).setdefault(one.key, {})[one.rank] = at
        pieces = []
        for run, keys in wanted.items():
            bins, points = self._held.get(run, (None, None))
            if bins is not None and points is not None:
                bins, points = _of_keys(bins, list(keys)), points.take(np.isin(points.key, list(keys)))
            if bins is None or points is None or (len(bins) and int(bins.width.max()) > width):
                names = [self._question.keys[key] for key in keys]
                bins, points = self._runs[run].ask(self._found(names, Level(width=width, unsealed=True)))
                known = np.array(list(keys), np.int64)
            else:
                known = np.arange(len(self._question.keys))
            bins = part_bins.wide(bins, points, width)
            # A number for each key of each run; by rank it is distinguished afterwards.
            number = run * len(self._question.keys) + known
            pieces.append(replace(bins, key=number[bins.key].astype(np.int32)))
        united, rows = part_bins.united(bins_.concat(pieces), width, by_rank=self._question.by_rank)
        return _by_member(united, rows, members, self.members, len(self._question.keys))

    def _found(self, names: Sequence[str], level: Level) -> Callable[[AskedRun], tuple[Bins, Points]]:
        return lambda source: part_bins.found(self._engine, source, names, level)

    def beyond(self, members: Sequence[int], side: int) -> Rows:
        """See `engine.Reading`."""
        known = self._beyond[side]
        series = [(self.members[one].run, self.members[one].key, self.members[one].rank) for one in members]
        there = [(at, *known[name]) for at, name in enumerate(series) if name in known]
        begins, count = dict[int, int](), 0
        for _, rows, _ in there:
            if id(rows) not in begins:
                begins[id(rows)] = count
                count += len(rows)
        every = concat(list({id(rows): rows for _, rows, _ in there}.values()))
        chosen = every.take(np.array([begins[id(rows)] + row for _, rows, row in there], np.int64))
        return replace(chosen, series=np.array([at for at, _, _ in there], np.int32))

    def whole(self, member: int) -> Whole:
        """See `engine.Reading`."""
        one = self.members[member]
        return whole(self._engine, self._runs[one.run], one, self._question)

    def token(self, member: int) -> Hashable | None:
        """See `engine.Reading`."""
        return self._runs[self.members[member].run].token


def whole(engine: Engine, run: LongRun, member: Member, question: Question) -> Whole:
    """What a series is smoothed from: its points up to `SMOOTHED_POINTS`, else the means of level-1 bins."""
    name = question.keys[member.key]
    anywhere = replace(question, low=None, high=None)

    def read(source: AskedRun) -> tuple[Bins, Points]:
        return part_bins.found(
            engine, replace(source, choice=replace(source.choice, first=None, last=None)), [name], Level(1)
        )

    bins, points = run.ask(read)
    if member.rank is not None:
        bins, points = bins.take(bins.rank == member.rank), points.take(points.rank == member.rank)
    if int(bins.finite.sum()) + int(np.isfinite(points.value).sum()) <= SMOOTHED_POINTS or not len(bins):
        reading = run.exact([member.key], anywhere)
        at = [at for at, found in enumerate(reading.members) if found.rank == member.rank]
        return reading.whole(at[0])
    width = int(bins.width.max())
    found, _ = part_bins.united(part_bins.wide(bins, points, width), width, by_rank=question.by_rank)
    found = found.take(found.finite > 0)
    middle = found.first.step + (found.last.step - found.first.step) // 2
    time = found.first.time + (found.last.time - found.first.time) // 2
    return Whole(middle, middle, time, found.mean, found.finite.astype(float), f"bins of {width} steps")


def _by_member(bins: Bins, rows: Rows, members: Sequence[int], known: Sequence[Member], keys: int) -> tuple[Bins, Rows]:
    """The bins numbered by the members they are of, in their order."""
    number = {(known[one].run * keys + known[one].key, known[one].rank): at for at, one in enumerate(members)}
    by_rank = any(known[one].rank is not None for one in members)
    pairs = bins.key.astype(np.int64) << 32 | (bins.rank if by_rank else 0)
    unique, at = np.unique(pairs, return_inverse=True)
    found = [number.get((pair >> 32, (pair & 0xFFFFFFFF) if by_rank else None), -1) for pair in unique.tolist()]
    key = np.array(found, np.int32)[at]
    order = np.argsort(key, kind="stable")
    order = order[key[order] >= 0]
    zero = np.zeros(len(order), np.int32)
    return replace(bins.take(order), key=key[order], rank=zero, attempt=zero), rows


def _of_keys(bins: Bins, keys: Sequence[int]) -> Bins:
    """Of bins in order of their keys those of some of them."""
    begins, ends = (np.searchsorted(bins.key, keys, side).tolist() for side in ("left", "right"))
    return bins_.concat([bins.take(slice(*span)) for span in zip(begins, ends, strict=True)])


def _numbered(rows: Rows, series: int) -> Rows:
    return replace(rows, series=np.full(len(rows), series, np.int32))


class Several:
    """Readings of different runs as one."""

    def __init__(
        self, runs: Sequence[Facts | None], left_out: Sequence[LeftOut], readings: Sequence[InMemory | Long | Folded]
    ) -> None:
        self.runs, self.left_out = runs, left_out
        places = [(one, which, at) for which, some in enumerate(readings) for at, one in enumerate(some.members)]
        places.sort(key=lambda place: (place[0].run, place[0].key, -1 if place[0].rank is None else place[0].rank))
        self.members = [one for one, _, _ in places]
        self._places = [(which, at) for _, which, at in places]
        self._readings = readings

    def _shared(self, members: Sequence[int]) -> list[tuple[int, list[int], NDArray[np.int32]]]:
        out = []
        mine: dict[int, list[int]] = {}
        for at, member in enumerate(members):
            mine.setdefault(self._places[member][0], []).append(at)
        for which, some in mine.items():
            out.append((which, [self._places[members[at]][1] for at in some], np.array(some, np.int32)))
        return out

    def points(self, members: Sequence[int]) -> Rows:
        """See `engine.Reading`."""
        found = []
        for which, local, numbers in self._shared(members):
            rows = self._readings[which].points(local)
            found.append(replace(rows, series=numbers[rows.series]))
        rows = concat(found)
        return rows if len(found) < 2 else rows.take(np.argsort(rows.series, kind="stable"))

    def bins(self, members: Sequence[int], width: int) -> tuple[Bins, Rows]:
        """See `engine.Reading`."""
        found, named, begin = [], [], 0
        for which, local, numbers in self._shared(members):
            bins, rows = self._readings[which].bins(local, width)
            bins = part_bins.shifted(bins, begin) if begin else bins
            found.append(replace(bins, key=numbers[bins.key]))
            named.append(rows)
            begin += len(rows)
        bins, rows = bins_.concat(found), concat(named)
        return (bins if len(found) < 2 else bins.take(np.argsort(bins.key, kind="stable"))), rows

    def beyond(self, members: Sequence[int], side: int) -> Rows:
        """See `engine.Reading`."""
        found = []
        for which, local, numbers in self._shared(members):
            rows = self._readings[which].beyond(local, side)
            found.append(replace(rows, series=numbers[rows.series]))
        rows = concat(found)
        return rows.take(np.argsort(rows.series, kind="stable"))

    def whole(self, member: int) -> Whole:
        """See `engine.Reading`."""
        which, at = self._places[member]
        return self._readings[which].whole(at)

    def token(self, member: int) -> Hashable | None:
        """See `engine.Reading`."""
        which, at = self._places[member]
        return self._readings[which].token(at)
