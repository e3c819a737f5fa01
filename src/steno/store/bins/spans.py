"""When the attempts of a run were, and the gaps between them that are cut out of its relative time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno.store.attempts import Attempt
from steno.store.bins.answer import Mark
from steno.store.bins.engine import Facts, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from steno.store.bins.moment import Moment
    from steno.store.bins.question import Question
    from steno.store.bins.rows import Rows


def spans_of(moment: Moment, rows: Iterable[Rows]) -> tuple[Span, ...]:
    """The attempts with their first and last records: by the run's streams, else by the points that were read."""
    import numpy as np

    known = {one.attempt: one for one in moment.attempts}
    began: dict[int, int] = {}
    ended: dict[int, int] = {}
    for stream in moment.streams:
        if stream.started:
            began[stream.attempt] = min(stream.started, began.get(stream.attempt, stream.started))
            ended[stream.attempt] = max(stream.last_time, ended.get(stream.attempt, 0))
    if not began:
        for some in rows:
            for attempt in np.unique(some.attempt).tolist():
                times = some.time[some.attempt == attempt]
                first, last = int(times.min()), int(times.max())
                began[attempt] = min(first, began.get(attempt, first))
                ended[attempt] = max(last, ended.get(attempt, last))
    return tuple(
        Span(known.get(number) or Attempt(number), began.get(number, 0), ended.get(number, 0))
        for number in sorted({*known, *began})
    )


def _shifts(spans: Sequence[Span]) -> dict[int, tuple[int, int]]:
    """By attempt: what is taken off a time, and the gap before it, in nanoseconds."""
    out: dict[int, tuple[int, int]] = {}
    zero, cut, ended = None, 0, 0
    for span in spans:
        if not span.began:
            continue
        if zero is None:
            zero, ended = span.began, span.began
        gap = max(span.began - ended, 0)
        cut += gap
        ended = max(ended, span.ended, span.began)
        out[span.attempt.attempt] = (zero + cut, gap)
    return out


def cuts(spans: Sequence[Span], attempt: NDArray[np.int32]) -> NDArray[np.int64]:
    """By point, what is taken off its time to make it relative: the run's begin, and the gaps between attempts."""
    import numpy as np

    shifts = {number: shift for number, (shift, _) in _shifts(spans).items()}
    if not shifts or not len(attempt):
        return np.zeros(len(attempt), np.int64)
    out = np.full(len(attempt), next(iter(shifts.values())), np.int64)
    if len(shifts) > 1 or int(attempt[0]) not in shifts:
        for number in np.unique(attempt).tolist():
            if number in shifts:
                out[attempt == number] = shifts[number]
    return out


def marks_of(runs: Iterable[Facts | None], question: Question) -> tuple[Mark, ...]:
    """The attempts after the first of each run."""
    found = []
    for run in runs:
        if run is None:
            continue
        shifts = _shifts(run.spans)
        for span in run.spans[1:]:
            attempt = span.attempt
            shift, gap = shifts.get(attempt.attempt, (None, None))
            x: float | None = None
            if question.x == "step":
                x = attempt.rewind
            elif question.x == "time":
                x = span.began / 1e9 if span.began else None
            elif question.x == "relative" and shift is not None:
                x = (span.began - shift) / 1e9
            found.append(
                Mark(
                    run.name, attempt.attempt, attempt.rewind, span.began or attempt.started, x,
                    None if gap is None else gap / 1e9,
                )
            )  # fmt: skip
    return tuple(found)
