"""The bins of points that no part has yet: a chart of a run that goes on counts most of them once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from steno.ledger.bins import Bins, none, of_points
from steno.store.binfiles import chosen, points_of
from steno.store.bins.kept import WeightedCache

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.store.attempts import Choice
    from steno.store.binfiles import Level
    from steno.store.points import Points

LEAST_ROWS: Final = 8192
"""A chunk of fewer points is counted anew."""
_BIN_POINTS: Final = 16
"""About so many points has a bin: few, since a run that goes on is short at first."""
_ROWS_KEPT: Final = 400_000
"""Bins, about 250 bytes each."""


class ChunkBins:
    """Bins of the chunks that were asked about last. Thread-safe.

    Chunks are merged so that most points stay in one for long. Those that were merged or sealed since are let go.
    """

    def __init__(self) -> None:
        self._runs = WeightedCache["list[tuple[Points, Bins]]"](_ROWS_KEPT)

    def read(
        self, run_dir: Path, chunks: Sequence[Points], numbers: NDArray[np.int32], choice: Choice, level: Level
    ) -> tuple[list[Bins], list[Points]]:
        """The chosen points of keys, in bins and those that are in none.

        Args:
            run_dir: the run's directory.
            chunks: all of its points that no part has.
            numbers: by `Points.key`, the position in the keys that are wanted, or -1.
            choice: which points.
            level: which bins.
        """
        known = self._runs.get(run_dir) or []
        held = [
            next((one for one in known if one[0] is chunk), None) or (chunk, _bins(chunk))
            for chunk in chunks
            if len(chunk) >= LEAST_ROWS
        ]
        self._runs.put(run_dir, held, sum(len(bins) for _, bins in held))
        found = {id(chunk): bins for chunk, bins in held}
        inside: list[Bins] = []
        outside: list[Points] = []
        for chunk in chunks:
            bins = found.get(id(chunk))
            rest = numbers[chunk.key] >= 0
            if bins is not None:
                some, rest = _parted(chunk, bins.take(numbers[bins.key] >= 0), rest, choice, level)
                inside.append(some)
            if rest.any():
                points = chunk.take(rest)
                mask = choice.mask(points)
                outside.append(points if mask is None else points.take(mask))
        return inside, outside


def _bins(chunk: Points) -> Bins:
    order = np.lexsort((chunk.record, chunk.node, chunk.step, chunk.attempt, chunk.rank, chunk.key))
    points = points_of(chunk.take(order))
    heads = np.flatnonzero(np.r_[True, np.diff(points.key) != 0])
    sizes = np.diff(heads, append=len(order))
    span = (np.maximum.reduceat(points.step, heads) - np.minimum.reduceat(points.step, heads)).astype(float) + 1
    width = np.exp2(np.clip(np.ceil(np.log2(np.maximum(span * _BIN_POINTS / sizes, 1))), 0, 62)).astype(np.int64)
    return of_points(points, np.repeat(width, sizes))


def _parted(
    chunk: Points, bins: Bins, wanted: NDArray[np.bool_], choice: Choice, level: Level
) -> tuple[Bins, NDArray[np.bool_]]:
    """The bins that answer, and which of the wanted points of the chunk are in none of them."""
    if level.width is not None:
        narrow = bins.width <= level.width
        rest = wanted & ~np.isin(chunk.key, np.unique(bins.key[narrow])) if not narrow.all() else np.zeros_like(wanted)
        bins = bins.take(narrow)
    else:
        rest = np.zeros_like(wanted)
    edges = np.r_[0, np.flatnonzero(np.diff(bins.key)) + 1, len(bins)] if len(bins) else np.zeros(1, np.int64)
    pieces: list[NDArray[np.int64]] = []
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        rows, cut = chosen(bins.take(slice(begin, end)), choice, level)
        pieces.append(begin + rows)
        if cut:
            firsts, lasts = np.array(cut, np.int64).T
            mine = np.flatnonzero(chunk.key == bins.key[begin])
            at = np.searchsorted(firsts, chunk.step[mine], side="right") - 1
            rest[mine[(at >= 0) & (chunk.step[mine] <= lasts[at])]] = True
    return (bins.take(np.concatenate(pieces)) if pieces else none()), rest
