"""The engine that reads the exact points: one pass over the parts of all runs, and what is in no part yet."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from steno.errors import CorruptError, StenoError
from steno.store import binned, part_rows, stamps
from steno.store.attempts import Choice
from steno.store.bins import part_bins, sealed
from steno.store.bins.answer import LeftOut
from steno.store.bins.engine import Facts, LostMoreError
from steno.store.bins.folded import Folded
from steno.store.bins.in_memory import InMemory
from steno.store.bins.kept import WeightedCache
from steno.store.bins.long import POINTS_A_BIN, Long, LongRun, Several, whole
from steno.store.bins.moment import LivePoints, Moment, look
from steno.store.bins.over_key import over
from steno.store.bins.part_bins import AskedRun
from steno.store.bins.rows import Rows, concat, empty
from steno.store.bins.spans import cuts, spans_of
from steno.store.bins.widths import exponent
from steno.store.engine import Engine, PartGone, again
from steno.store.image import DiffersError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path

    from steno.ledger.snapshot import Part
    from steno.store.bins.engine import Member, Reading, RunToRead, Span, Whole
    from steno.store.bins.question import Question

T = TypeVar("T")
Damage = tuple[str | None, str]
"""A key, None for any, and what is lost of its points."""
Steps = tuple[int | None, int | None]
_Run = tuple[Moment, dict[int, Rows] | None, list[Damage], list[Folded]]
_TIMES: Final = ("time", "relative")
_RUNS_KEPT: Final = 20_000
_BYTES_KEPT: Final = 256 << 20
"""Of the points of parts, unpacked."""
_BESIDE: Final = 1024
"""Steps on each side of a window that are read with it: most series have a point there."""
_MOST_SERIES: Final = 1000
"""Of several questions; the points of short ones are in memory together."""


class Exact:
    """Reads runs by their parts. Thread-safe; a forked child makes its own."""

    def __init__(self) -> None:
        self._files = Engine()
        self._live = LivePoints()
        self._moments = WeightedCache[Moment](_RUNS_KEPT)
        self._pieces = WeightedCache[Rows](_BYTES_KEPT)

    @property
    def most_series(self) -> int:
        """See `CurveEngine.most_series`."""
        return _MOST_SERIES

    def token(self, shown: RunToRead) -> Hashable | None:
        """See `CurveEngine.token`."""
        marks = stamps.of_ended(shown.dir) if shown.remote is None else None
        if marks is None or self._moments.get((shown.dir, marks)) is None:
            return None
        return shown.dir, marks

    def _look(self, shown: RunToRead) -> Moment:
        """The run as it is; of one that has ended and has not changed since, as it was."""
        marks = stamps.of_ended(shown.dir) if shown.remote is None else None
        found = None if marks is None else self._moments.get((shown.dir, marks))
        if found is None:
            found = look(shown, self._files, self._live)
            if marks is not None and found.is_final:
                self._moments.put((shown.dir, marks), found, 1)
        return found

    def read(self, question: Question, shown: Sequence[RunToRead]) -> Reading:
        """See `CurveEngine.read`."""
        facts: list[Facts | None] = []
        left_out: list[LeftOut] = []
        pieces: list[Rows] = []
        where: list[tuple[int, int]] = []
        tokens: list[Hashable] = []
        long: list[LongRun] = []
        moments: dict[int, Moment] = {}
        folded: list[Folded] = []
        for number, (run, found) in enumerate(zip(shown, _each(self._run_of(question), shown), strict=True)):
            if isinstance(found, str):
                facts.append(None)
                tokens.append(None)
                left_out.append(LeftOut(run.name, found))
                continue
            moment, by_key, damage, some = found
            left_out.extend(LeftOut(run.name, why) for why in moment.damage)
            left_out.extend(LeftOut(run.name, why, key) for key, why in damage)
            moments[number] = moment
            spans = spans_of(moment, (by_key or {}).values())
            facts.append(Facts(run.name, run.dir, spans, moment.running))
            tokens.append((run.dir, moment.token))
            folded += some
            if by_key is None:
                long.append(self._long(number, run, moment, question))
                continue
            placed, said = with_x(by_key, spans, question)
            left_out.extend(LeftOut(run.name, why) for why in said)
            pieces.extend(placed.values())
            where.extend((number, key) for key in placed)

        def means(member: Member) -> Whole:
            run, moment = shown[member.run], moments[member.run]
            return whole(self._files, self._long(member.run, run, moment, question), member, question)

        by_files = means if question.x == "step" else None
        short = InMemory(question, facts, left_out, pieces, where, tokens, by_files)
        readings: list[InMemory | Long | Folded] = [short, *folded]
        if long:
            readings.append(self._intact(facts, left_out, long, shown, question))
        return short if len(readings) == 1 else Several(facts, left_out, readings)

    def _folded(
        self, number: int, run: RunToRead, moment: Moment, question: Question, by_key: dict[int, Rows]
    ) -> Folded:
        def read(some: dict[int, Rows]) -> InMemory:
            placed, _ = with_x(some, spans_of(moment, some.values()), question)
            return InMemory(question, [None], [], list(placed.values()), [(0, key) for key in placed], [None])

        def smoothed(member: Member) -> Whole:
            if question.x == "step":
                return whole(self._files, self._long(number, run, moment, question), member, question)
            every = again(lambda: read(self._points(run, self._look(run), question, [member.key])[0]))
            at = [at for at, found in enumerate(every.members) if found.rank == member.rank]
            return every.whole(at[0])

        return Folded(number, question, read(by_key), smoothed, (run.dir, moment.token))

    def _intact(
        self,
        facts: list[Facts | None],
        left_out: list[LeftOut],
        long: Sequence[LongRun],
        shown: Sequence[RunToRead],
        question: Question,
    ) -> Long:
        """The long runs; one that cannot be read is left out."""
        intact = Long(self._files, question, [])
        for one in long:
            try:
                intact.add(Long(self._files, question, [one]))
            except (StenoError, OSError) as error:
                facts[one.run] = None
                left_out.append(LeftOut(shown[one.run].name, str(error)))
        return intact

    def _long(self, number: int, run: RunToRead, moment: Moment, question: Question) -> LongRun:
        held, lost = [moment], self._lost(run, moment)

        def of_moment(read: Callable[[Moment], T]) -> T:
            """By the run as it was looked at, and anew where its parts went away since."""

            def once() -> T:
                now, held[:] = (held or [_wanted(self._look(run), question)])[0], []
                answer = read(now)
                if len(self._lost(run, now)) > len(lost):
                    raise LostMoreError(str(run.dir))
                held[:] = [now]
                return answer

            return again(once)

        def ask(read: Callable[[AskedRun], T]) -> T:
            low, high = (None if bound is None else int(bound) for bound in (question.low, question.high))
            over_ranks = not question.by_rank and question.ranks is None

            def source(now: Moment) -> AskedRun:
                return AskedRun(
                    run.dir, now.view, replace(now.choice, first=low, last=high), question.ranks, over_ranks
                )

            return of_moment(lambda now: read(source(now)))

        def exact(keys: Sequence[int], asked: Question) -> InMemory:
            low, high = (None if bound is None else int(bound) for bound in (asked.low, asked.high))
            by_key, _ = of_moment(lambda now: self._points(run, now, asked, keys, (low, high)))
            return InMemory(asked, [None], [], list(by_key.values()), [(0, key) for key in by_key], [None])

        def nearest(side: int) -> Rows:
            read = part_bins.nearest
            return ask(lambda source: read(self._files, source, question.keys, side, by_rank=question.by_rank))

        return LongRun(number, ask, exact, nearest, (run.dir, moment.token))

    def _run_of(self, question: Question) -> Callable[[int, RunToRead], _Run | str]:
        def read(number: int, shown: RunToRead) -> _Run | str:
            try:
                return again(lambda: self._run(number, shown, question))
            except (StenoError, OSError) as error:
                return str(error)

        return read

    def _run(self, number: int, shown: RunToRead, question: Question) -> _Run:
        """The run, and its points by key, or folded. No points: there are so many that bins are of use."""
        moment, every = _wanted(self._look(shown), question), range(len(question.keys))
        is_long = _is_long(moment, question)
        if is_long and question.x == "step" and _has_all(shown, moment):
            if self._is_narrow(shown, moment, question):
                folded = [some for key in every for some in self._window(number, shown, moment, question, key)]
                return moment, {}, self._lost(shown, moment), folded
            return moment, None, self._lost(shown, moment), []
        if not is_long or question.x not in _TIMES:
            return moment, *self._points(shown, moment, question, every), []
        folded, damage = [], list[Damage]()
        # One key at a time is in memory, where the attempts tell when they were; else the points do, all together.
        for keys in [[key] for key in every] if any(one.started for one in moment.streams) else [every]:
            by_key, said = self._points(shown, moment, question, keys)
            damage += [one for one in said if one not in damage]
            if by_key:
                folded.append(self._folded(number, shown, moment, question, by_key))
        return moment, {}, damage, folded

    def _is_narrow(self, shown: RunToRead, moment: Moment, question: Question) -> bool:
        """Whether the bins next to the parts are too wide for what is asked: points are read then, each once."""
        low, high = question.low, question.high
        is_of_ranks = question.by_rank or question.ranks is not None
        if low is None or high is None or shown.remote is not None or (question.edges and is_of_ranks):
            return False
        first, last = int(low), int(high)
        files = self._files.binfiles(shown.dir, moment.parts)
        widths = (files.widest(shown.dir, part, question.keys, first, last) for part in moment.parts)
        return max(widths, default=0) > 1 << exponent(first, last, question.width)

    def _window(self, number: int, shown: RunToRead, moment: Moment, question: Question, key: int) -> list[Folded]:
        """The points of a key in a window, and those next to it."""
        first, last, names = int(question.low or 0), int(question.high or 0), [question.keys[key]]
        away = max((last - first) // 8, _BESIDE) if question.edges else 0
        steps = first - away, last + away
        files = self._files.binfiles(shown.dir, moment.parts)
        near = tuple(part for part in moment.parts if files.may_have(shown.dir, part, names, *steps))
        rows = self._points(shown, replace(moment, parts=near), question, [key], steps)[0].get(key, empty())
        sides = [(-1, rows.step < first), (1, rows.step > last)] if question.edges else []
        missing = [side for side, there in sides if not there.any()]
        if missing:
            choice = replace(moment.choice, first=first, last=last)
            source = AskedRun(shown.dir, moment.view, choice, None, over_ranks=True)
            ends = [part_bins.nearest(self._files, source, names, side, by_rank=False) for side in missing]
            rows = concat([rows, *ends])
        return [self._folded(number, shown, moment, question, {key: rows})] if len(rows) else []

    def _points(
        self, shown: RunToRead, moment: Moment, question: Question, keys: Sequence[int], steps: Steps = (None, None)
    ) -> tuple[dict[int, Rows], list[Damage]]:
        """By position in the question's keys the chosen points of some of them, and what is damaged.

        What is over a key has that key's points behind the last one. With `steps` only points from the first to the
        last of them may be there: what is read for a window of a long run is not kept.
        """
        numbers = [*keys, len(question.keys)] if question.by_key else list(keys)
        names = [*question.keys, question.x]
        found: dict[int, list[Rows]] = {}
        damage: list[Damage] = []
        wanted = [names[number] for number in numbers]
        for part in self._files.near(shown.dir, moment.parts, wanted, steps):
            for at, rows in self._part(shown.dir, part, wanted, damage, steps).items():
                found.setdefault(numbers[at], []).append(rows)
        for number, name in zip(numbers, wanted, strict=True):
            for points in moment.unsealed(name):
                rows = sealed.rows_of(points)
                found.setdefault(number, []).append(rows if steps == (None, None) else _within(rows, steps))
        # The other key's points are of all ranks: often only one of them records it.
        return {
            key: chosen(concat(pieces), moment, None if key == len(question.keys) else question.ranks)
            for key, pieces in found.items()
        }, damage

    def _part(
        self, run_dir: Path, part: Part, keys: Sequence[str], damage: list[Damage], steps: Steps
    ) -> dict[int, Rows]:
        """By position in the keys the points that a part has of them; what was read of it before is kept."""
        mark: Hashable = (run_dir, part.name, part.bytes, part.crc)
        if run_dir not in self._files.origins:
            try:
                state = os.lstat(run_dir / part.name)
            except FileNotFoundError as error:
                raise PartGone(str(run_dir / part.name)) from error
            mark = (mark, state.st_size, state.st_mtime_ns, state.st_ino)
        found = {at: rows for at, key in enumerate(keys) if (rows := self._pieces.get((mark, key))) is not None}
        missing = [at for at in range(len(keys)) if at not in found]
        if missing:
            read = self._read(run_dir, part, [keys[at] for at in missing], steps)
            if read is not None:
                for number, at in enumerate(missing):
                    found[at] = read.get(number, empty())
                    if steps == (None, None):
                        self._pieces.put((mark, keys[at]), found[at], found[at].bytes + 1000)
            elif len(missing) > 1:  # each key by itself: most have lost nothing
                for at in missing:
                    found[at] = self._part(run_dir, part, [keys[at]], damage, steps).get(0, empty())
            else:
                found[missing[0]] = self._left(run_dir, part, keys[missing[0]], damage)
        return {at: rows for at, rows in found.items() if len(rows)}

    def _read(self, run_dir: Path, part: Part, keys: Sequence[str], steps: Steps) -> dict[int, Rows] | None:
        """The points of keys of a part; None: it is damaged, or of another format."""
        import pyarrow as pa

        image = self._files.image(run_dir, part)
        if image is None:
            return None
        try:
            with image:
                rows = part_rows.read(image, keys, sealed.COLUMNS, steps)
                found = {} if rows is None else sealed.by_key(rows, part.node)
                return found if steps == (None, None) else {key: _within(one, steps) for key, one in found.items()}
        except (DiffersError, CorruptError, pa.ArrowException, OSError, ValueError, KeyError):
            return None

    def _left(self, run_dir: Path, part: Part, key: str, damage: list[Damage]) -> Rows:
        """The points of a part that is damaged, or of another format."""
        left = binned.sealed(self._files, run_dir, [part], [key], [0], Choice())
        damage += [(key, why) for why in self._why(run_dir, part)]
        return sealed.rows_of(left)

    def _lost(self, shown: RunToRead, moment: Moment) -> list[Damage]:
        """What is known to be lost of its parts."""
        return [(None, why) for part in moment.parts for why in self._why(shown.dir, part)]

    def _why(self, run_dir: Path, part: Part) -> list[str]:
        path = str(run_dir / part.name)
        if path in self._files.losses:
            loss = self._files.losses[path]
            return [f"{loss.kind}, {loss.name}: {loss.count:,} ({loss.reason})"]
        if path in self._files.damaged:
            return [f"damaged part, {part.name}: {part.rows:,} ({self._files.damaged[path]})"]
        return []


def _within(rows: Rows, steps: Steps) -> Rows:
    mask = Choice(first=steps[0], last=steps[1]).mask(rows)
    return rows if mask is None or mask.all() else rows.take(mask)


def _each(read: Callable[[int, RunToRead], T], shown: Sequence[RunToRead]) -> list[T]:
    """What is read of each run, of several in parallel."""
    if len(shown) == 1:
        return [read(0, shown[0])]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), thread_name_prefix="steno-bins") as pool:
        return list(pool.map(read, range(len(shown)), shown))


def _wanted(moment: Moment, question: Question) -> Moment:
    """What of a run a question is about: what is over a key has that key's points of all ranks."""
    return moment if question.by_key else moment.of_ranks(question.ranks)


def _is_long(moment: Moment, question: Question) -> bool:
    rows = sum(part.rows for part in moment.parts) + sum(map(len, moment.chunks))
    return rows >= POINTS_A_BIN * question.width


def _has_all(shown: RunToRead, moment: Moment) -> bool:
    """Whether each part has the size that it was written with: bins must not hide that points are lost."""
    try:
        return shown.remote is not None or all(
            os.lstat(shown.dir / part.name).st_size == part.bytes for part in moment.parts
        )
    except OSError:
        return False


def with_x(by_key: dict[int, Rows], spans: Sequence[Span], question: Question) -> tuple[dict[int, Rows], list[str]]:
    """The points of each key with their x, and what is to be said of them."""
    over_key = by_key.pop(len(question.keys), empty())
    placed: dict[int, Rows] = {}
    said: list[str] = []
    for key, rows in sorted(by_key.items()):
        placed[key] = rows
        if question.by_key:
            placed[key], without = over(rows, over_key)
            if without:
                said.append(f"no value of {question.x!r} comes before {without:,} points of {question.keys[key]!r}")
        elif question.x == "time":
            placed[key] = replace(rows, x=rows.time)
        elif question.x == "relative":
            placed[key] = replace(rows, x=rows.time - cuts(spans, rows.attempt))
    return placed, said


def chosen(rows: Rows, moment: Moment, ranks: Sequence[int] | None) -> Rows:
    """The points that rewinds leave, of the ranks that are asked for."""
    import numpy as np

    mask = moment.choice.mask(rows)
    if ranks is not None:
        some = np.isin(rows.rank, ranks)
        mask = some if mask is None else mask & some
    return rows if mask is None or mask.all() else rows.take(mask)


_kept: dict[int, Exact] = {}


def shared() -> Exact:
    """The engine of this process, which knows what it has compared with its checksum already.

    A forked child keeps its parent's as it is: closing a database there would wait for threads that it has not.
    """
    return _kept.get(os.getpid()) or _kept.setdefault(os.getpid(), Exact())
