"""The bins of points that no part has yet: a chart of a run that goes on counts most of them once."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno.ledger.bins import Bins, Marks, concat, none, of_points
from steno.store.binfiles import chosen, points_of
from steno.store.bins.kept import WeightedCache
from steno.store.chunk import narrow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.store.attempts import Choice
    from steno.store.binfiles import Level
    from steno.store.chunk import Chunk
    from steno.store.points import Points

LEAST_ROWS: Final = 8192
"""A chunk of fewer points is counted anew."""
_BIN_POINTS: Final = 16
"""About so many points has a bin at least: few, since a run that goes on is short at first."""
_KEY_BINS: Final = 1024
"""About so many bins has a key of a chunk at most: no chart has more, and a bin takes 330 bytes."""
_POINTS: Final = 1 << 14
"""About so many are unpacked at a time, for 200 bytes each, which the allocator keeps afterwards."""
_ROWS_KEPT: Final = 400_000
"""Bins, about 250 bytes each."""


class ChunkBins:
    """Bins of the chunks that were asked about last. Thread-safe.

    Chunks are merged so that most points stay in one for long. Those that were merged or sealed since are let go.
    """

    def __init__(self) -> None:
        self._runs = WeightedCache["list[tuple[Chunk, Bins]]"](_ROWS_KEPT)

    def read(
        self, run_dir: Path, chunks: Sequence[Chunk], numbers: NDArray[np.int32], choice: Choice, level: Level
    ) -> tuple[list[Bins], list[Points]]:
        """The chosen points of keys, in bins and those that are in none.

        Args:
            run_dir: the run's directory.
            chunks: all of its points that no part has.
            numbers: by the number of a key, the position in the keys that are wanted, or -1.
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
            wanted = numbers[chunk.keys] >= 0
            if bins is None:
                rest = [chunk.points(wanted)] if wanted.any() else []
            else:
                some, rest = _parted(chunk, bins.take(numbers[bins.key] >= 0), wanted, choice, level)
                inside.append(some)
            for points in rest:
                mask = choice.mask(points)
                outside.append(points if mask is None else points.take(mask))
        return inside, outside


def _bins(chunk: Chunk) -> Bins:
    found: list[Bins] = []
    begin = 0
    while begin < len(chunk.keys):
        end = max(int(np.searchsorted(chunk.edges, chunk.edges[begin] + _POINTS, side="right")) - 1, begin + 1)
        wanted = np.zeros(len(chunk.keys), bool)
        wanted[begin:end] = True
        found.append(_counted(chunk.points(wanted)))
        begin = end
    # Most runs have no NaN, no infinity and one rank: half of the columns are one value each.
    bins: Bins = _narrowed(concat(found))
    return bins


def _narrowed(value: Any) -> Any:
    columns = {one.name: getattr(value, one.name) for one in fields(value)}
    return type(value)(
        **{name: _narrowed(one) if isinstance(one, Marks) else narrow(one) for name, one in columns.items()}
    )


def _counted(every: Points) -> Bins:
    order = np.lexsort((every.record, every.node, every.step, every.attempt, every.rank, every.key))
    points = points_of(every.take(order))
    heads = np.flatnonzero(np.r_[True, np.diff(points.key) != 0])
    sizes = np.diff(heads, append=len(order))
    span = (np.maximum.reduceat(points.step, heads) - np.minimum.reduceat(points.step, heads)).astype(float) + 1
    share = np.maximum(_BIN_POINTS / sizes, 1 / _KEY_BINS)
    width = np.exp2(np.clip(np.ceil(np.log2(np.maximum(span * share, 1))), 0, 62)).astype(np.int64)
    return of_points(points, np.repeat(width, sizes))


def _parted(
    chunk: Chunk, bins: Bins, wanted: NDArray[np.bool_], choice: Choice, level: Level
) -> tuple[Bins, list[Points]]:
    """The bins that answer, and the points of the wanted keys of the chunk that are in none of them."""
    left: list[Points] = []
    if level.width is not None:
        narrow = bins.width <= level.width
        rest = wanted & ~np.isin(chunk.keys, bins.key[narrow])
        if rest.any():
            left.append(chunk.points(rest))
        bins = bins.take(narrow)
    edges = np.r_[0, np.flatnonzero(np.diff(bins.key)) + 1, len(bins)] if len(bins) else np.zeros(1, np.int64)
    pieces: list[NDArray[np.int64]] = []
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        rows, cut = chosen(bins.take(slice(begin, end)), choice, level)
        pieces.append(begin + rows)
        points = chunk.of(int(bins.key[begin])) if cut else None
        if points is not None:
            firsts, lasts = np.array(cut, np.int64).T
            at = np.searchsorted(firsts, points.step, side="right") - 1
            left.append(points.take((at >= 0) & (points.step <= lasts[at])))
    return (bins.take(np.concatenate(pieces)) if pieces else none()), left
