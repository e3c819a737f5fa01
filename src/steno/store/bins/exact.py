"""The engine that reads the exact points: one pass over the parts of all runs, and what is in no part yet."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from steno.errors import CorruptError, StenoError
from steno.store import binned, part_rows, stamps
from steno.store.attempts import Choice
from steno.store.bins import beside, sealed
from steno.store.bins.answer import LeftOut
from steno.store.bins.beside import Source
from steno.store.bins.engine import Facts
from steno.store.bins.folded import Folded
from steno.store.bins.in_memory import InMemory
from steno.store.bins.kept import Kept
from steno.store.bins.long import POINTS_A_BIN, Long, LongRun, Several, whole
from steno.store.bins.moment import Live, Moment, look
from steno.store.bins.over_key import over
from steno.store.bins.rows import Rows, concat, empty
from steno.store.bins.spans import cuts, spans_of
from steno.store.engine import Engine, PartGone, again
from steno.store.image import DiffersError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path

    from steno.ledger.snapshot import Part
    from steno.store.bins.engine import Member, Reading, Shown, Span, Whole
    from steno.store.bins.question import Question

T = TypeVar("T")
_TIMES: Final = ("time", "relative")
_RUNS_KEPT: Final = 20_000
_BYTES_KEPT: Final = 256 << 20
"""Of the points of parts, unpacked."""


class Exact:
    """Reads runs by their parts. Thread-safe; a forked child makes its own."""

    def __init__(self) -> None:
        self._files = Engine()
        self._live = Live()
        self._moments = Kept[Moment](_RUNS_KEPT)
        self._pieces = Kept[dict[int, Rows]](_BYTES_KEPT)

    def token(self, shown: Shown) -> Hashable | None:
        """See `Engine.token`."""
        marks = stamps.of_ended(shown.dir) if shown.remote is None else None
        if marks is None or self._moments.get((shown.dir, marks)) is None:
            return None
        return shown.dir, marks

    def _look(self, shown: Shown) -> Moment:
        """The run as it is; of one that has ended and has not changed since, as it was."""
        marks = stamps.of_ended(shown.dir) if shown.remote is None else None
        found = None if marks is None else self._moments.get((shown.dir, marks))
        if found is None:
            found = look(shown, self._files, self._live)
            if marks is not None and found.is_settled:
                self._moments.put((shown.dir, marks), found, 1)
        return found

    def read(self, question: Question, shown: Sequence[Shown]) -> Reading:
        """See `Engine.read`."""
        facts: list[Facts | None] = []
        left_out: list[LeftOut] = []
        pieces: list[Rows] = []
        where: list[tuple[int, int]] = []
        tokens: list[Hashable] = []
        long: list[LongRun] = []
        moments: dict[int, Moment] = {}
        folded: list[Folded] = []
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), thread_name_prefix="steno-bins") as pool:
            read = pool.map(self._run_of(question), range(len(shown)), shown)
            for number, (run, found) in enumerate(zip(shown, read, strict=True)):
                if isinstance(found, str):
                    facts.append(None)
                    tokens.append(None)
                    left_out.append(LeftOut(run.name, found))
                    continue
                moment, by_key, damage, one = found
                left_out.extend(LeftOut(run.name, why) for why in (*moment.damage, *damage))
                moments[number] = moment
                spans = spans_of(moment, (by_key or {}).values())
                facts.append(Facts(run.name, run.dir, spans, moment.running))
                tokens.append((run.dir, moment.token))
                if one is not None:
                    folded.append(one)
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
            readings.append(self._sound(facts, left_out, long, shown, question))
        return short if len(readings) == 1 else Several(facts, left_out, readings)

    def _folded(self, number: int, run: Shown, moment: Moment, question: Question, by_key: dict[int, Rows]) -> Folded:
        def read(keys: Sequence[int], some: dict[int, Rows]) -> InMemory:
            placed, _ = with_x(some, spans_of(moment, some.values()), question)
            asked = replace(question, keys=tuple(question.keys[key] for key in keys))
            where = [(0, at) for at, key in enumerate(keys) if key in placed]
            return InMemory(asked, [None], [], [placed[key] for key in keys if key in placed], where, [None])

        def anew(key: int) -> InMemory:
            _, found, _ = again(lambda: self._run(run, question, is_long=False))
            return read([key], {at: rows for at, rows in (found or {}).items() if at == key})

        return Folded(number, question, read(range(len(question.keys)), by_key), anew, (run.dir, moment.token))

    def _sound(
        self,
        facts: list[Facts | None],
        left_out: list[LeftOut],
        long: Sequence[LongRun],
        shown: Sequence[Shown],
        question: Question,
    ) -> Long:
        """The long runs; one that cannot be read is left out."""
        sound = Long(self._files, question, [])
        for one in long:
            try:
                sound.add(Long(self._files, question, [one]))
            except (StenoError, OSError) as error:
                facts[one.run] = None
                left_out.append(LeftOut(shown[one.run].name, str(error)))
        return sound

    def _long(self, number: int, run: Shown, moment: Moment, question: Question) -> LongRun:
        held = [moment]

        def ask(read: Callable[[Source], T]) -> T:
            def once() -> T:
                now, held[:] = (held or [self._look(run)])[0], []
                low, high = (None if bound is None else int(bound) for bound in (question.low, question.high))
                answer = read(Source(run.dir, now.view, replace(now.choice, first=low, last=high), question.ranks))
                held[:] = [now]
                return answer

            return again(once)

        def exact(keys: Sequence[int], asked: Question) -> InMemory:
            some = replace(asked, keys=tuple(asked.keys[key] for key in keys))
            _, by_key, _ = again(lambda: self._run(run, some, is_long=False))
            return InMemory(some, [None], [], list((by_key or {}).values()), [(0, key) for key in by_key or {}], [None])

        def nearest(side: int) -> Rows:
            read = beside.nearest
            return ask(lambda source: read(self._files, source, question.keys, side, by_rank=question.by_rank))

        return LongRun(number, ask, exact, nearest, (run.dir, moment.token))

    def _run_of(self, question: Question) -> Any:
        def read(number: int, shown: Shown) -> tuple[Moment, dict[int, Rows] | None, list[str], Folded | None] | str:
            try:
                moment, by_key, damage = again(lambda: self._run(shown, question))
            except (StenoError, OSError) as error:
                return str(error)
            if by_key and question.x in _TIMES and _is_long(moment, question):
                return moment, {}, damage, self._folded(number, shown, moment, question, by_key)
            return moment, by_key, damage, None

        return read

    def _run(
        self, shown: Shown, question: Question, *, is_long: bool | None = None
    ) -> tuple[Moment, dict[int, Rows] | None, list[str]]:
        """The run, its points by key, and what is damaged. No points: there are so many that bins are of use."""
        moment = self._look(shown)
        if is_long is None:
            is_long = question.x == "step" and _is_long(moment, question) and _has_all(shown, moment)
        if is_long:
            return moment, None, []
        keys = [*question.keys, question.x] if question.by_key else question.keys
        found: dict[int, list[Rows]] = {}
        damage: list[str] = []
        for part in moment.parts:
            for key, rows_ in self._part(shown.dir, part, keys, damage).items():
                found.setdefault(key, []).append(rows_)
        for key, rows_ in _unsealed(moment, keys):
            found.setdefault(key, []).append(rows_)
        # The other key's points are of all ranks: often only one of them records it.
        ranks = [None if key == len(question.keys) else question.ranks for key in found]
        by_key = {
            key: chosen(concat(pieces), moment, some) for (key, pieces), some in zip(found.items(), ranks, strict=True)
        }
        return moment, by_key, damage

    def _part(self, run_dir: Path, part: Part, keys: Sequence[str], damage: list[str]) -> dict[int, Rows]:
        import pyarrow as pa

        path = run_dir / part.name
        self._files.here(run_dir, [part])
        try:
            state = os.lstat(path)
        except FileNotFoundError as error:
            raise PartGone(str(path)) from error
        mark = (path, state.st_size, state.st_mtime_ns, state.st_ino, part.crc, tuple(keys))
        known = self._pieces.get(mark)
        if known is not None:
            return known
        image = self._files.image(run_dir, part)
        if image is not None:
            try:
                with image:
                    rows = part_rows.read(image, keys, sealed.COLUMNS)
                    found = {} if rows is None else sealed.by_key(rows, part.node)
            except (DiffersError, CorruptError, pa.ArrowException, OSError, ValueError, KeyError):
                pass  # by what is left of it
            else:
                self._pieces.put(mark, found, sum(one.bytes for one in found.values()) + 1000)
                return found
        return self._left(run_dir, part, keys, damage)

    def _left(self, run_dir: Path, part: Part, keys: Sequence[str], damage: list[str]) -> dict[int, Rows]:
        """The points of a part that is damaged, or of another format."""
        import numpy as np

        path = str(run_dir / part.name)
        left = binned.sealed(self._files, run_dir, [part], keys, range(len(keys)), Choice())
        if path in self._files.losses:
            loss = self._files.losses[path]
            damage.append(f"{loss.kind}, {loss.name}: {loss.count:,} ({loss.reason})")
        elif path in self._files.damaged:
            damage.append(f"damaged part, {part.name}: {part.rows:,} ({self._files.damaged[path]})")
        return {key: sealed.rows_of(left.take(left.key == key)) for key in np.unique(left.key).tolist()}


def _is_long(moment: Moment, question: Question) -> bool:
    return sum(part.rows for part in moment.parts) >= POINTS_A_BIN * question.width


def _has_all(shown: Shown, moment: Moment) -> bool:
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


def _unsealed(moment: Moment, keys: Sequence[str]) -> list[tuple[int, Rows]]:
    """The points of the keys that are in no part, in pieces."""
    import numpy as np

    found: list[tuple[int, Rows]] = []
    for chunk in moment.chunks:
        for number, key in enumerate(keys):
            if key in moment.ids:
                rows = np.flatnonzero(chunk.key == moment.ids[key])
                if len(rows):
                    found.append((number, sealed.rows_of(chunk.take(rows))))
    return found


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
