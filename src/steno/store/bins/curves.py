"""Curves of many runs at once: which width their bins have, and what becomes of each series."""

from __future__ import annotations

import itertools
import os
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from steno.errors import UsageError
from steno.store import engines
from steno.store.bins import exact, spans
from steno.store.bins.answer import Curves
from steno.store.bins.curve import Curve, CurveBins, CurvePoints, Place, read_only
from steno.store.bins.group_curves import group_curves
from steno.store.bins.groups import grouping, names_of
from steno.store.bins.kept import Kept
from steno.store.bins.question import ask
from steno.store.bins.shown import shown
from steno.store.bins.smoothed import of_curve, whole
from steno.store.bins.widths import narrowest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from steno.ledger.bins import Bins, Marks
    from steno.store.bins.answer import LeftOut
    from steno.store.bins.engine import Engine, Facts, Reading, Whole
    from steno.store.bins.groups import Grouping
    from steno.store.bins.question import Question
    from steno.store.bins.rows import Rows

_kept = Kept[tuple[Any, Curves]](64 << 20)
"""Answers about ended runs, which stay as they are."""


def _anew() -> None:
    global _kept
    _kept = Kept[tuple[Any, Curves]](
        64 << 20
    )  # a lock that another thread held at the fork is never let go in the child


os.register_at_fork(after_in_child=_anew)


def bins(
    keys: str | Iterable[str],
    runs: Any = None,
    *,
    x: str = "step",
    range: Sequence[Any] | None = None,
    width: int = 500,
    ranks: int | str | Iterable[int] | None = None,
    group: str | Iterable[str] | None = None,
    smooth: tuple[str, float] | None = None,
    edges: bool = False,
    dir: str | os.PathLike[str] | None = None,
) -> Curves:
    """Curves of many runs at once: each as its points where they are few, else as bins with exact extremes.

    Bins are `[i * w, (i + 1) * w)`, with `w` a power of two of a step (of a second, from 1/512 s on, where x is a
    time), the same for all curves of an answer, the smallest that gives at most `width` bins. A series with at
    most `2 * width` points in the range comes as its points. Points that a rewind hides are in none.

    Args:
        keys: one or several.
        runs: what `steno.runs` gives, a run or several by name, directory or URL, a directory of runs; None: all
            runs under `dir`.
        x: "step"; "time"; "relative": since the run's first record, without the gaps between attempts; or a key:
            its last value at or before each record. Such a curve is all its points in order of record, in which x
            may fall; `is_monotonic` says whether it does not.
        range: (first, last) in units of x, both included; None leaves a side open. Times are seconds since 1970,
            or datetimes; relative ones are seconds.
        width: at most so many bins, 1 to 8,192.
        ranks: None: the points of all ranks together; "all": a curve for each; a rank or a list of ranks: a curve
            for each of those.
        group: names of the `where` language such as "config.lr": for each of their values a mean over runs, in
            `groups`; []: one over all runs.
        smooth: (kind, width): a smoothed line beside each curve, of the whole series, whatever `range` is. "ema":
            time-weighted and debiased, a point weighs exp(-d / width) at a distance d before; "gaussian": of that
            standard deviation; "mean": of all within half a width. The width is in units of x, of times in seconds.
        edges: each curve also has the nearest point on both sides of `range`, as `before` and `after`, so that its line
            can be drawn to the ends; one without a point in the range is there where it has both. Over a key there
            are none.
        dir: where runs are kept, for names; None: STENO_DIR, else `runs`.

    Returns:
        The curves by run, key and rank. A run that is damaged or gone costs no other; `left_out` names it.

    Raises:
        RunNotFoundError: there is no run at all.
        UsageError: an argument is not what it may be.
    """
    question = ask(keys, x, range, width, ranks, smooth, edges=edges)
    names = names_of(group)
    if names is not None and question.by_key:
        raise UsageError("group= needs bins, and over a key there are none: ask for step, time or relative")
    found, missing = shown(runs, dir)
    groups = None if names is None else grouping(names, found)
    other, _ = engines.only([run.url or run.dir for run in found], "steno.bins")
    engine: Engine = exact.shared() if other is None else other.curves()
    about = (question, repr(groups), tuple(run.name for run in found))
    kept = None if missing else _kept.get(about)
    answer = None
    if kept is not None and kept[0] == tuple(engine.token(run) for run in found):
        answer = kept[1]
    if answer is None:
        answer = _answer(question, engine.read(question, found), groups, missing)
        tokens = tuple(engine.token(run) for run in found)
        if None not in tokens and not answer.left_out:
            _kept.put(about, (tokens, answer), answer.bytes)
    return answer


def _answer(question: Question, reading: Reading, groups: Grouping | None, missing: Sequence[LeftOut]) -> Curves:
    shift = narrowest(reading.members, question)
    lines = [whole(reading, at, question) for at, _ in enumerate(reading.members)] if question.smooth else []
    curves = _curves(reading, question, shift, lines)
    means = [] if groups is None else list(group_curves(reading, groups, lines, question, 1 << shift))
    for one in (*curves, *means):
        read_only(one)
    return Curves(
        keys=question.keys,
        x=question.x,
        runs=tuple(run.name for run in reading.runs if run is not None),
        width=_width(question, shift),
        curves=tuple(curves),
        groups=tuple(means),
        marks=spans.marks_of(reading.runs, question),
        left_out=(*missing, *reading.left_out),
    )


def _width(question: Question, shift: int) -> float:
    if question.by_key:
        return 0
    return 1 << shift if question.x == "step" else 2.0 ** (shift - 9)


def _curves(
    reading: Reading, question: Question, shift: int, lines: Sequence[tuple[Whole, NDArray[np.float64]]]
) -> list[Curve]:
    members = reading.members
    most = sys.maxsize if question.by_key else 2 * question.width
    few = [at for at, one in enumerate(members) if one.total <= most]
    many = [at for at, one in enumerate(members) if one.total > most]
    rows = reading.points(few)
    found: dict[int, tuple[CurvePoints | None, CurveBins | None]] = {}
    begin = 0
    for at in few:
        end = begin + members[at].total
        found[at] = (_points(rows.take(slice(begin, end)), question), None)
        begin = end
    if many:
        several = _bins(*reading.bins(many, 1 << shift), shift, question)
        found.update((at, (None, one)) for at, one in zip(many, several, strict=True))
    before, after = ({}, {}) if not question.edges else (_beyond(reading, side, question) for side in (-1, 1))
    out = []
    for at, one in enumerate(members):
        run, (points, bins_) = _of(reading.runs[one.run]), found[at]
        rising = not question.by_key or points is None or bool((points.x[1:] >= points.x[:-1]).all())
        curve = Curve(
            run.name, run.dir, question.keys[one.key], one.rank, one.total, points, bins_, rising,
            before=before.get(at), after=after.get(at),
        )  # fmt: skip
        if lines:
            line = of_curve(*lines[at], curve, question.unit << shift, question, partial(_axis, question=question))
            curve = replace(curve, smoothed=line)
        out.append(curve)
    return out


def _beyond(reading: Reading, side: int, question: Question) -> dict[int, Place]:
    """By member, the point next to the range on a side."""
    rows = reading.beyond(range(len(reading.members)), side)
    found = Place(_axis(rows.x, question), rows.step, rows.time.view("datetime64[ns]"), rows.attempt, rows.value)
    return {member: found.take(slice(at, at + 1)) for at, member in enumerate(rows.series.tolist())}


def _of(run: Facts | None) -> Facts:
    assert run is not None
    return run


def _axis(x: NDArray[Any], question: Question) -> NDArray[Any]:
    kinds = {"time": "datetime64[ns]", "relative": "timedelta64[ns]"}
    return x.view(kinds[question.x]) if question.x in kinds else x


def _points(rows: Rows, question: Question) -> CurvePoints:
    return CurvePoints(
        x=_axis(rows.x, question),
        step=rows.step,
        time=rows.time.view("datetime64[ns]"),
        rank=rows.rank,
        attempt=rows.attempt,
        value=rows.value,
        other=rows.other,
    )


def _bins(found: Bins, rows: Rows, shift: int, question: Question) -> list[CurveBins]:
    """The bins of each series, out of those of all."""
    import numpy as np

    index = found.start >> shift
    finite = found.finite
    with np.errstate(invalid="ignore", divide="ignore"):
        std = np.sqrt(found.m2 / finite)
    empty = finite == 0
    absent = empty if empty.any() else None
    places = [_place(one, None, rows, question) for one in (found.first, found.last)]
    places += [_place(one, absent, rows, question) for one in (found.min, found.max)]
    edges = np.r_[0, np.flatnonzero(np.diff(found.key)) + 1, len(found)].tolist()
    out = []
    for begin, end in itertools.pairwise(edges):
        piece = slice(begin, end)
        first, last, low, high = (Place(*(column[piece] for column in columns)) for columns in places)
        out.append(
            CurveBins(
                index[piece], found.count[piece], found.nan[piece], found.posinf[piece], found.neginf[piece],
                found.other[piece], first, last, low, high, found.mean[piece], std[piece],
            )
        )  # fmt: skip
    return out


def _place(marks: Marks, absent: NDArray[np.bool_] | None, rows: Rows, question: Question) -> tuple[NDArray[Any], ...]:
    import numpy as np

    at = marks.record
    columns = [_axis(rows.x, question)[at], rows.step[at], rows.time.view("datetime64[ns]")[at], rows.attempt[at]]
    if absent is not None:
        for column in columns:
            column[absent] = np.zeros((), column.dtype)
    return (*columns, marks.value)
