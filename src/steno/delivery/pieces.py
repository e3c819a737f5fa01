"""Pieces of a batch: by kind, by half, without some records."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from steno.record import Batch

POINTS = "points"


def of_kinds(batch: Batch, kinds: Collection[str]) -> Batch:
    """The batch with only the kinds a destination takes."""
    entries = tuple(entry for entry in batch.entries if entry.kind in kinds)
    if POINTS not in kinds and len(batch):
        batch = rows(batch, np.empty(0, np.int64))
    return batch if len(entries) == len(batch.entries) else dataclasses.replace(batch, entries=entries)


def size(batch: Batch) -> int:
    """Records and entries."""
    return len(batch) + len(batch.entries)


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """Two halves of a batch of at least two, in order; entries come after points."""
    middle = size(batch) // 2
    index = np.arange(len(batch))
    first, second = rows(batch, index[:middle]), rows(batch, index[middle:])
    of_first = max(middle - len(batch), 0)
    return (
        dataclasses.replace(first, entries=batch.entries[:of_first]),
        dataclasses.replace(second, entries=batch.entries[of_first:]),
    )


def numbers(batch: Batch) -> list[int]:
    """The numbers of its records and entries."""
    return [*batch.record.tolist(), *(entry.record for entry in batch.entries)]


def rows(batch: Batch, index: NDArray[np.int64]) -> Batch:
    """These rows of a batch, with its entries."""
    if len(index) == len(batch):
        return batch
    splits, widths = batch.splits()[:-1][index], batch.widths()[index]
    target = np.cumsum(widths) - widths
    points = np.repeat(splits - target, widths) + np.arange(int(widths.sum()))
    special = {}
    if batch.special:
        where = {point: at for at, point in enumerate(points.tolist()) if point in batch.special}
        special = {at: batch.special[point] for point, at in where.items()}
    place = {row: at for at, row in enumerate(index.tolist())} if batch.meta else {}
    return dataclasses.replace(
        batch,
        record=batch.record[index],
        time=batch.time[index],
        step=batch.step[index],
        rank=batch.rank[index],
        attempt=batch.attempt[index],
        set=batch.set[index],
        value=batch.value[points],
        special=special,
        meta={place[row]: what for row, what in batch.meta.items() if row in place},
    )
