"""The bins of one metrics part, made as its row groups go by, as the bytes of the file that lies next to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno import files, inside
from steno.errors import CorruptError
from steno.ledger import bins_format
from steno.ledger.bins import WIDEST, BinInput, Bins, concat, none, of_points, unite
from steno.ledger.bins_name import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.ledger.bins_format import PartIdentity

FEWEST_POINTS: Final = 1024
"""A key with fewer in the part has no bins: its points are read as fast."""
BIN_POINTS: Final = 256
"""So many points, at the least, has a bin whose steps are as dense as its key's are in the part."""
RANKS_BIN_POINTS: Final = 64
"""The same of bins over all ranks: the points of a single step are in one where there are so many ranks.

A bin takes about as much as nine points, and many ranks are never looked at by their points alone.
"""


def write(part: Path, bins: PartBins, of: PartIdentity) -> None:
    """Put a file of bins next to the part, in place of one that is there; none where no key has bins.

    It is not synced, and may be there before its part is: what a power loss tears, and what is another part's by its
    head, answers for nothing and is made anew.

    Raises:
        OSError: no space, no permission; what was there stays.
    """
    path = part.with_name(name_of(part.name))
    data = bins.encoded(of)
    if data is None:
        files.unlink(path, missing_ok=True)
        return
    hidden = path.with_name(f".{path.name}.tmp")
    files.unlink(hidden, missing_ok=True)
    with files.aside(path, hidden):
        files.write_new(hidden, data)


def is_there(part: Path, of: PartIdentity) -> bool:
    """Whether the part has a file of bins of this version, whole and its own."""
    try:
        return bins_format.is_valid(inside.read(part.with_name(name_of(part.name))), of)
    except (OSError, CorruptError):
        return False


class PartBins:
    """Gathers the bins of a part. `add` takes its points once each, in order of key, rank, attempt and step.

    Args:
        names: of all keys of the part, in order; `BinInput.key` counts in them.
        totals: by key, how many points it has in the part.
        fewest: keys with fewer points have no bins.
        bin_points: so many has a bin.
    """

    def __init__(
        self,
        names: Sequence[str],
        totals: NDArray[np.int64],
        fewest: int = FEWEST_POINTS,
        bin_points: int = BIN_POINTS,
    ) -> None:
        self.names = list(names)
        self._totals, self._bin_points = totals, bin_points
        self._wanted = totals >= fewest
        self._pieces: list[Bins] = []

    def wants(self, keys: NDArray[Any]) -> bool:
        """Whether one of the keys, a stretch in order, has bins."""
        return bool(self._wanted[int(keys[0]) : int(keys[-1]) + 1].any())

    def add(self, points: BinInput) -> None:
        """Take the next points; those of keys without bins may be left out."""
        key = points.key if isinstance(points.key, np.ndarray) else np.full(len(points.value), points.key)
        if not len(key) or not self._wanted.any():
            return
        numbers, heads, sizes = _runs(key)
        if not self._wanted[numbers].all():
            if not self._wanted[numbers].any():
                return
            points = points.take(np.flatnonzero(np.repeat(self._wanted[numbers], sizes)))
            numbers, heads, sizes = _runs(points.key)
        dense = _dense(points, heads, sizes, self._bin_points)
        # Of a key that goes on in another row group the width is chosen when all of it is there.
        dense = np.where(sizes < self._totals[numbers], np.maximum(dense // 4, 1), dense)
        self._pieces.append(of_points(points, int(dense[0]) if (dense == dense[0]).all() else np.repeat(dense, sizes)))

    def gathered(self) -> Bins:
        """What is there so far, of several widths, whether a bin has many points or few."""
        return concat(self._pieces)

    def levels(self) -> tuple[list[str], Bins, Bins]:
        """The keys that have bins, and the bins of level 1 and 2."""
        bins = concat(self._pieces)
        fine = trimmed(bins, self._totals, self._bin_points) if len(bins) else none()
        if not len(fine):
            return [], none(), none()
        number, place = np.unique(fine.key, return_inverse=True)
        coarse = unite(fine, bins_format.coarser(fine.width))
        again = np.searchsorted(number, coarse.key)
        names = [self.names[at] for at in number.tolist()]
        return names, _renamed(fine, place), _renamed(coarse, again)

    def encoded(self, of: PartIdentity) -> bytes | None:
        """The bytes of the file; None where no key has bins."""
        names, fine, coarse = self.levels()
        return None if not names else bins_format.encoded(of, names, (fine, coarse))


def _runs(key: NDArray[np.integer] | int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The keys in their order, where the points of each begin, and how many these are."""
    key = np.asarray(key)
    heads = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    return key[heads].astype(np.int64), heads, np.diff(heads, append=len(key))


def _dense(points: BinInput, heads: NDArray[np.int64], sizes: NDArray[np.int64], bin_points: int) -> NDArray[np.int64]:
    """By key, the width in which as many points lie as a bin must have, were they spread evenly."""
    new = np.zeros(len(points.value), np.bool_)
    new[heads] = True
    for column in (points.rank, points.attempt):
        if isinstance(column, np.ndarray):
            new[1:] |= column[1:] != column[:-1]
    begins = np.flatnonzero(new)
    ends = np.append(begins[1:], len(new)) - 1
    spans = points.step[ends].astype(np.float64) - points.step[begins] + 1
    return _widths(np.add.reduceat(spans, np.searchsorted(begins, heads)), sizes, bin_points)


def _widths(spans: NDArray[np.float64], points: NDArray[np.int64], bin_points: int) -> NDArray[np.int64]:
    """The smallest powers of two in which a bin has enough points, given the steps that they are spread over."""
    exponents = np.ceil(np.log2(np.maximum(spans * bin_points / points, 1)) - 1e-9)
    return np.left_shift(np.int64(1), np.minimum(exponents, WIDEST.bit_length() - 1).astype(np.int64))


def trimmed(bins: Bins, totals: NDArray[np.int64], bin_points: int = BIN_POINTS) -> Bins:
    """All bins of a key at one width, and no key's that has too many of them for its points (`totals`, by key).

    Bins with fewer points than half of `bin_points` on average cost too many bytes: they are made wider, or left out.
    """
    bins = unite(bins, _final(bins, bin_points))
    while True:
        number, heads, sizes = _runs(bins.key)
        crowded = sizes * (bin_points // 2) > totals[number]
        widest = bins.width[heads] >= WIDEST
        if not crowded.any():
            return bins
        if (crowded & widest).any():
            bins = bins.take(np.repeat(~(crowded & widest), sizes))
            if not len(bins):
                return bins
            continue
        bins = unite(bins, np.repeat(np.where(crowded, bins.width[heads] * 2, bins.width[heads]), sizes))


def _final(bins: Bins, bin_points: int) -> NDArray[np.int64]:
    """By bin, the width that all points of its key ask for, and none of its bins is wider than."""
    order = np.lexsort((bins.first.step, bins.attempt, bins.rank, bins.key))
    key, rank, attempt = bins.key[order], bins.rank[order], bins.attempt[order]
    number, heads, _ = _runs(key)
    new = np.ones(len(key), np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (rank[1:] != rank[:-1]) | (attempt[1:] != attempt[:-1])
    begins = np.flatnonzero(new)
    ends = np.append(begins[1:], len(new)) - 1
    spans = bins.last.step[order][ends].astype(np.float64) - bins.first.step[order][begins] + 1
    points = np.add.reduceat(bins.count[order], heads)
    wanted = _widths(np.add.reduceat(spans, np.searchsorted(begins, heads)), points, bin_points)
    widest = np.maximum(wanted, np.maximum.reduceat(bins.width[order], heads))
    return widest[np.searchsorted(number, bins.key)]


def _renamed(bins: Bins, key: NDArray[np.int64]) -> Bins:
    return replace(bins, key=key.astype(np.int32))
