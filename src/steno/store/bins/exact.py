"""The engine that reads the exact points: one pass over the parts of all runs, and what is in no part yet."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from steno.errors import StenoError
from steno.record import Ref
from steno.store.bins import sealed
from steno.store.bins.answer import LeftOut
from steno.store.bins.engine import Facts
from steno.store.bins.in_memory import InMemory
from steno.store.bins.moment import Live, look
from steno.store.bins.over_key import over
from steno.store.bins.rows import Rows, concat, empty
from steno.store.bins.spans import cuts, spans_of
from steno.store.engine import Engine, PartGone

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
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

    def read(self, question: Question, shown: Sequence[Shown]) -> InMemory:
        """See `Engine.read`."""
        facts: list[Facts | None] = []
        left_out: list[LeftOut] = []
        pieces: list[Rows] = []
        where: list[tuple[int, int]] = []
        tokens: list[Hashable] = []
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), thread_name_prefix="steno-bins") as pool:
            for number, (run, found) in enumerate(zip(shown, pool.map(self._run_of(question), shown), strict=True)):
                if isinstance(found, str):
                    facts.append(None)
                    tokens.append(None)
                    left_out.append(LeftOut(run.name, found))
                    continue
                moment, by_key, damage = found
                left_out.extend(LeftOut(run.name, why) for why in (*moment.damage, *damage))
                spans = spans_of(moment, by_key.values())
                facts.append(Facts(run.name, run.dir, spans, moment.running))
                tokens.append((run.dir, moment.token))
                over_key = by_key.pop(len(question.keys), empty())
                for key, rows in sorted(by_key.items()):
                    placed = rows
                    if question.by_key:
                        placed, without = over(rows, over_key)
                        if without:
                            why = (
                                f"no value of {question.x!r} comes before {without:,} points of {question.keys[key]!r}"
                            )
                            left_out.append(LeftOut(run.name, why))
                    elif question.x == "time":
                        placed = replace(rows, x=rows.time)
                    elif question.x == "relative":
                        placed = replace(rows, x=rows.time - cuts(spans, rows.attempt))
                    pieces.append(placed)
                    where.append((number, key))
        return InMemory(question, facts, left_out, pieces, where, tokens)

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
        # The other key's points are of all ranks: often only one of them records it.
        ranks = [None if key == len(question.keys) else question.ranks for key in found]
        by_key = {
            key: _chosen(concat(pieces), moment, some) for (key, pieces), some in zip(found.items(), ranks, strict=True)
        }
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


def _chosen(rows: Rows, moment: Moment, ranks: Sequence[int] | None) -> Rows:
    """The points that rewinds leave, of the ranks that are asked for."""
    import numpy as np

    mask = moment.choice.mask(rows)
    if ranks is not None:
        some = np.isin(rows.rank, ranks)
        mask = some if mask is None else mask & some
    return rows if mask is None or mask.all() else rows.take(mask)


_LOCK = threading.Lock()
_kept: dict[int, Exact] = {}


def shared() -> Exact:
    """The engine of this process, which knows what it has compared with its checksum already."""
    with _LOCK:
        if os.getpid() not in _kept:
            _kept.clear()
            _kept[os.getpid()] = Exact()
        return _kept[os.getpid()]
