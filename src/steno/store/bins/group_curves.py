"""The curves of groups, out of the bins of their runs' series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno.store.bins.curve import GroupCurve
from steno.store.bins.groups import Means, across, per_run
from steno.store.bins.smoothed import last_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from steno.store.bins.engine import Reading, Whole
    from steno.store.bins.groups import Grouping
    from steno.store.bins.question import Question

    Lines = Sequence[tuple[Whole, NDArray[np.float64]]]


def group_curves(
    reading: Reading, groups: Grouping, lines: Lines, question: Question, width: int
) -> Iterator[GroupCurve]:
    """By group and key, the curve over the runs' means in each bin.

    Args:
        reading: what was read.
        groups: which group each run is in.
        lines: by series, what `smoothed.whole` gives; empty without smoothing.
        question: what is asked.
        width: of a bin, in the question's unit.
    """
    import numpy as np

    means = per_run(_means(reading, groups, lines, question, width))
    heads, columns = across(means)
    pairs = np.stack([means.group[heads], means.key[heads]])
    names = [None if run is None else run.name for run in reading.runs]
    for number, values in enumerate(groups.values):
        mine = tuple(name for name, of in zip(names, groups.of, strict=True) if of == number and name is not None)
        for key, text in enumerate(question.keys):
            rows = np.flatnonzero((pairs[0] == number) & (pairs[1] == key))
            if len(rows):
                some = {name: column[rows] for name, column in columns.items() if name != "smooth"}
                smooth = columns["smooth"][rows] if lines else None
                yield GroupCurve(values, text, mine, means.index[heads[rows]], **some, smooth=smooth)


def _means(reading: Reading, groups: Grouping, lines: Lines, question: Question, width: int) -> Means:
    import numpy as np

    members = [at for at, one in enumerate(reading.members) if groups.of[one.run] >= 0]
    found, _ = reading.bins(members, width)
    found = found.take(found.finite > 0)
    of = found.key
    runs = np.array([reading.members[at].run for at in members], np.int64)
    keys = np.array([reading.members[at].key for at in members], np.int64)
    group = np.array([groups.of[run] for run in runs.tolist()], np.int64)
    index = found.start // width
    smooth = np.full(len(found), np.nan)
    if lines:
        edges = np.searchsorted(of, np.arange(len(members) + 1))
        for at, member in enumerate(members):
            source, value = lines[member]
            piece = slice(edges[at], edges[at + 1])
            last, there = last_in(source, index[piece], width * question.unit, question)
            smooth[piece] = np.where(there, value[last], np.nan)
    return Means(group[of], keys[of], index, runs[of], found.finite, found.mean, smooth)
