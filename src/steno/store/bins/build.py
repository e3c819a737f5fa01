"""What becomes of each series of a reading: how wide its bins are, its points or its bins, its smoothed line."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from steno.store.bins import spans
from steno.store.bins.answer import Curves
from steno.store.bins.curve import BinPoints, Curve, CurveBins, CurvePoints, read_only
from steno.store.bins.group_curves import group_curves
from steno.store.bins.smoothed import of_curve, whole
from steno.store.bins.widths import narrowest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from steno.ledger.bins import Bins, Marks
    from steno.store.bins.answer import LeftOut
    from steno.store.bins.engine import Facts, Reading, Whole
    from steno.store.bins.groups import Grouping
    from steno.store.bins.question import Question
    from steno.store.bins.rows import Rows


def build(question: Question, groups: Grouping | None, reading: Reading, missing: Sequence[LeftOut]) -> Curves:
    """The answer to a question, out of what was read for it.

    Args:
        question: what is asked.
        groups: which group each run is in; None: no groups are wanted.
        reading: the series of its keys.
        missing: what is left out in addition to what the reading says.
    """
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


def _beyond(reading: Reading, side: int, question: Question) -> dict[int, BinPoints]:
    """By member, the point next to the range on a side."""
    rows = reading.beyond(range(len(reading.members)), side)
    found = BinPoints(
        _axis(rows.x, question), rows.step, rows.time.view("datetime64[ns]"), rows.rank, rows.attempt, rows.value
    )
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
        first, last, low, high = (BinPoints(*(column[piece] for column in columns)) for columns in places)
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
    every = _axis(rows.x, question), rows.step, rows.time.view("datetime64[ns]"), rows.rank, rows.attempt
    columns = [column[at] for column in every]
    if absent is not None:
        for column in columns:
            column[absent] = np.zeros((), column.dtype)
    return (*columns, marks.value)
