"""Many points of a run, read as points: folded into bins at once, so that those of few keys are in memory together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from steno.ledger import bins as bins_
from steno.store.bins import part_bins
from steno.store.bins.in_memory import binned
from steno.store.bins.rows import Rows, concat, empty, of_some
from steno.store.bins.widths import narrowest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from steno.ledger.bins import Bins
    from steno.store.bins.engine import Member, Whole
    from steno.store.bins.in_memory import InMemory
    from steno.store.bins.question import Question


class Folded:
    """See `engine.Reading`; of one run.

    Args:
        run: its position in the runs.
        question: what is asked.
        read: all of it, in memory.
        smoothed: reads a series anew, as what it is smoothed from.
        token: the same as long as its points are.
    """

    def __init__(
        self, run: int, question: Question, read: InMemory, smoothed: Callable[[Member], Whole], token: Hashable
    ) -> None:
        self.members: list[Member] = [replace(one, run=run) for one in read.members]
        self._question, self._smoothed, self._token = question, smoothed, token
        self._rows: dict[int, Rows] = {}
        many = []
        for at, one in enumerate(self.members):
            if one.total <= 2 * question.width:
                # A copy: a slice would keep all rows in memory.
                self._rows[at] = read.points([at]).take(np.arange(one.total))
            else:
                many.append(at)
        # No width of an answer is narrower: this run is only one of those that it is chosen for.
        bins, named = read.bins(many, 1 << narrowest(self.members, question))
        self._bins = replace(bins, key=np.array(many, np.int32)[bins.key]) if many else bins
        self._bins, self._named = _compact(self._bins, named)
        every = range(len(self.members))
        self._beyond = {side: read.beyond(every, side) for side in (-1, 1)} if question.edges else {}

    def points(self, members: Sequence[int]) -> Rows:
        """See `engine.Reading`."""
        return concat(
            [
                replace(self._rows[one], series=np.full(len(self._rows[one]), at, np.int32))
                for at, one in enumerate(members)
            ]
        )

    def bins(self, members: Sequence[int], width: int) -> tuple[Bins, Rows]:
        """See `engine.Reading`."""
        number = np.full(len(self.members), -1, np.int32)
        number[list(members)] = np.arange(len(members))
        mine = number[self._bins.key] >= 0
        held = self._bins.take(mine)
        found, named = [replace(held, key=number[held.key])], [self._named]
        begin = len(self._named)
        for at, one in enumerate(members):
            if one in self._rows:
                rows = replace(self._rows[one], series=np.full(len(self._rows[one]), at, np.int32))
                found.append(part_bins.shifted(binned(rows, width, self._question.unit), begin))
                named.append(rows)
                begin += len(rows)
        return bins_.unite(bins_.concat(found), width), concat(named)

    def beyond(self, members: Sequence[int], side: int) -> Rows:
        """See `engine.Reading`."""
        return of_some(self._beyond[side], members)

    def whole(self, member: int) -> Whole:
        """See `engine.Reading`."""
        return self._smoothed(self.members[member])

    def token(self, _: int) -> Hashable | None:
        """See `engine.Reading`."""
        return self._token


def _compact(bins: Bins, rows: Rows) -> tuple[Bins, Rows]:
    """The bins with those rows alone that they name, in their order."""
    if not len(bins):
        return bins, empty()
    used = np.unique(np.concatenate([getattr(bins, name).record for name in part_bins.MARKS]))
    return part_bins.renamed(bins, lambda record: np.searchsorted(used, record)), rows.take(used)
