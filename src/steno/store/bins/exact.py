"""The engine that reads the exact points: one pass over the parts of all runs, and what is in no part yet."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from steno.errors import StenoError
from steno.ledger import bins as bins_
from steno.record import Ref
from steno.store.bins import sealed
from steno.store.bins.answer import LeftOut
from steno.store.bins.engine import Facts, Member
from steno.store.bins.moment import Live, look
from steno.store.bins.rows import Rows, concat, empty, in_order, starts
from steno.store.bins.spans import cuts, spans_of
from steno.store.engine import Engine, PartGone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from steno.ledger.read import Part
    from steno.store.bins.moment import Moment
    from steno.store.bins.question import Question
    from steno.store.bins.shown import Shown
    from steno.store.points import Points

_TRIES: Final = 50
"""So often a run is looked at anew whose parts are merged while it is read."""


class Exact:
    """Reads runs by their parts. Thread-safe; a forked child makes its own."""

    def __init__(self) -> None:
        self._files = Engine()
        self._live = Live()

    def read(self, question: Question, shown: Sequence[Shown]) -> ExactReading:
        """See `Engine.read`."""
        facts: list[Facts | None] = []
        left_out: list[LeftOut] = []
        pieces: list[Rows] = []
        where: list[tuple[int, int]] = []
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), thread_name_prefix="steno-bins") as pool:
            for number, (run, found) in enumerate(zip(shown, pool.map(self._run_of(question), shown), strict=True)):
                if isinstance(found, str):
                    facts.append(None)
                    left_out.append(LeftOut(run.name, found))
                    continue
                moment, by_key, damage = found
                left_out.extend(LeftOut(run.name, why) for why in (*moment.damage, *damage))
                spans = spans_of(moment, by_key.values())
                facts.append(Facts(run.name, run.dir, spans, moment.running))
                for key, rows in sorted(by_key.items()):
                    placed = rows
                    if question.x == "time":
                        placed = replace(rows, x=rows.time)
                    elif question.x == "relative":
                        placed = replace(rows, x=rows.time - cuts(spans, rows.attempt))
                    pieces.append(placed)
                    where.append((number, key))
        return ExactReading(question, facts, left_out, pieces, where)

    def _run_of(self, question: Question) -> Any:
        def read(shown: Shown) -> tuple[Moment, dict[int, Rows], list[str]] | str:
            try:
                for _ in range(_TRIES):
                    try:
                        return self._run(shown, question)
                    except PartGone as gone:
                        missing = str(gone)
                return f"the part {missing} is listed and not there: copy it beside the others"
            except (StenoError, OSError) as error:
                return str(error)

        return read

    def _run(self, shown: Shown, question: Question) -> tuple[Moment, dict[int, Rows], list[str]]:
        moment = look(shown, self._files, self._live)
        keys = [*question.keys, question.x] if question.by_key else question.keys
        found: dict[int, list[Rows]] = {}
        damage: list[str] = []
        for part in moment.parts:
            for key, rows in self._part(shown.dir, part, keys, damage).items():
                found.setdefault(key, []).append(rows)
        for key, rows in _unsealed(moment, keys):
            found.setdefault(key, []).append(rows)
        by_key = {key: _chosen(concat(pieces), moment, question) for key, pieces in found.items()}
        return moment, by_key, damage

    def _part(self, run_dir: Path, part: Part, keys: Sequence[str], damage: list[str]) -> dict[int, Rows]:
        import pyarrow as pa

        path = run_dir / part.name
        good = self._files.files(run_dir, [part])
        if str(path) in self._files.losses:
            loss = self._files.losses[str(path)]
            damage.append(f"{loss.kind}, {loss.name}: {loss.count:,} ({loss.reason})")
        for one in good:
            try:
                return sealed.read(one, keys, part.node)
            except FileNotFoundError as error:
                raise PartGone(str(path)) from error
            except (OSError, pa.ArrowException, ValueError, KeyError) as error:
                damage.append(f"damaged part, {part.name}: {part.rows:,} ({str(error).splitlines()[0]})")
        return {}


def _unsealed(moment: Moment, keys: Sequence[str]) -> list[tuple[int, Rows]]:
    """The points of the keys that are in no part, in pieces."""
    import numpy as np

    found: list[tuple[int, Rows]] = []
    for chunk in moment.chunks:
        for number, key in enumerate(keys):
            if key in moment.ids:
                rows = np.flatnonzero(chunk.key == moment.ids[key])
                if len(rows):
                    found.append((number, _rows_of(chunk.take(rows))))
    return found


def _rows_of(points: Points) -> Rows:
    import numpy as np

    count = len(points)
    other = np.zeros(count, bool)
    other[[row for row, value in points.special.items() if isinstance(value, str | Ref)]] = True
    return Rows(
        series=np.zeros(count, np.int32),
        x=points.step,
        step=points.step,
        time=points.time,
        rank=points.rank,
        attempt=points.attempt,
        node=points.node.astype(np.int64),
        record=points.record,
        value=points.value,
        other=other,
    )


def _chosen(rows: Rows, moment: Moment, question: Question) -> Rows:
    """The points that rewinds leave, of the ranks that are asked for."""
    import numpy as np

    mask = moment.choice.mask(rows)
    if question.ranks is not None:
        some = np.isin(rows.rank, question.ranks)
        mask = some if mask is None else mask & some
    return rows if mask is None or mask.all() else rows.take(mask)


class ExactReading:
    """What was read for one question; see `engine.Reading`."""

    def __init__(
        self,
        question: Question,
        runs: Sequence[Facts | None],
        left_out: Sequence[LeftOut],
        pieces: Sequence[Rows],
        where: Sequence[tuple[int, int]],
    ) -> None:
        self.runs, self.left_out, self.members = runs, left_out, list[Member]()
        self._question = question
        series: list[tuple[int, int, int | None]] = []
        placed: list[Rows] = []
        for rows, (run, key) in zip(pieces, where, strict=True):
            for rank, some in (
                _by_rank(_within(rows, question)) if question.by_rank else [(None, _within(rows, question))]
            ):
                if len(some):
                    placed.append(_numbered(some, len(series)))
                    series.append((run, key, rank))
        self._rows = in_order(concat(placed))
        self._edges = starts(self._rows)
        x = self._rows.x
        for (run, key, rank), begin, end in zip(series, self._edges, self._edges[1:], strict=False):
            self.members.append(Member(run, key, rank, int(end - begin), int(x[begin]), int(x[end - 1])))

    def points(self, members: Sequence[int]) -> Rows:
        """See `engine.Reading`."""
        if len(members) == len(self.members):
            return self._rows
        return concat(
            [
                _numbered(self._rows.take(slice(self._edges[one], self._edges[one + 1])), at)
                for at, one in enumerate(members)
            ]
        )

    def bins(self, members: Sequence[int], width: int) -> tuple[bins_.Bins, Rows]:
        """See `engine.Reading`."""
        if not members:
            return bins_.none(), empty()
        return binned(self.points(members), width, self._question.unit), self.points(members)


def binned(rows: Rows, width: int, unit: int) -> bins_.Bins:
    """The bins of rows that are in order; `record` of a mark is the row's number."""
    import numpy as np

    points = bins_.Points(
        key=rows.series,
        rank=0,
        attempt=0,
        step=rows.x if unit == 1 else rows.x // unit,
        time=rows.time,
        node=0,
        record=np.arange(len(rows)),
        value=rows.value,
        other=rows.other if rows.other.any() else None,
    )
    return bins_.of_points(points, width)


def _within(rows: Rows, question: Question) -> Rows:
    import numpy as np

    low, high = question.low, question.high
    if question.by_key or (low is None and high is None):
        return rows
    mask = np.ones(len(rows), bool)
    if low is not None:
        mask &= rows.x >= low
    if high is not None:
        mask &= rows.x <= high
    return rows if mask.all() else rows.take(mask)


def _by_rank(rows: Rows) -> list[tuple[int, Rows]]:
    import numpy as np

    if not len(rows):
        return []
    if (rows.rank == rows.rank[0]).all():
        return [(int(rows.rank[0]), rows)]
    order = np.argsort(rows.rank, kind="stable")
    ranks = rows.rank[order]
    edges = np.r_[0, np.flatnonzero(np.diff(ranks)) + 1, len(ranks)].tolist()
    return [(int(ranks[begin]), rows.take(order[begin:end])) for begin, end in itertools.pairwise(edges)]


def _numbered(rows: Rows, series: int) -> Rows:
    import numpy as np

    return replace(rows, series=np.full(len(rows), series, np.int32))


_LOCK = threading.Lock()
_kept: dict[int, Exact] = {}


def shared() -> Exact:
    """The engine of this process, which knows what it has compared with its checksum already."""
    with _LOCK:
        if os.getpid() not in _kept:
            _kept.clear()
            _kept[os.getpid()] = Exact()
        return _kept[os.getpid()]
