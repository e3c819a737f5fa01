"""Where a batch's entries stand among its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from steno.record import Batch, Entry, Record


def places(batch: Batch) -> list[int]:
    """For each entry the index of the record it stands before, shape (entries,).

    Late values repeat old record numbers, so the running maximum is what rises.
    """
    import numpy as np

    if not batch.entries:
        return []
    highest = np.maximum.accumulate(batch.record) if len(batch) else batch.record
    found = np.searchsorted(highest, np.array([entry.record for entry in batch.entries], np.int64))
    return [int(place) for place in found]


def merged(batch: Batch) -> Iterator[Record | Entry]:
    """Records and entries in one order, the same however the batch was stored."""
    waiting = sorted(zip(places(batch), range(len(batch.entries)), strict=True), reverse=True)
    for index, record in enumerate(batch.records()):
        while waiting and waiting[-1][0] <= index:
            yield batch.entries[waiting.pop()[1]]
        yield record
    while waiting:
        yield batch.entries[waiting.pop()[1]]
