"""Makes batches by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.record import EXACT_FLOAT, Batch, Ref, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from steno.record import Entry

FIRST_TIME = 1_700_000_000_123_456_789
"""When the first record of a hand-made batch was logged, in ns since 1970; the others follow by a millisecond."""


def make_batch(
    records: Iterable[tuple[int, Mapping[str, Any]]],
    *,
    id: int = 1,
    first: int = 1,
    node: int = 0,
    ranks: Iterable[int] | None = None,
    attempt: int = 1,
    entries: Iterable[Entry] = (),
    stored: bool = False,
) -> Batch:
    """A batch of (step, {key: value}) records, as the collector would give it; its arrays refuse to be changed.

    Args:
        records: a value is a float, an int of any size, a str or a `Ref`.
        id: the batch's number.
        first: number of the first record; times follow from it too.
        node: the node's id.
        ranks: one per record; all 0 when left out.
        attempt: of all records.
        entries: as they are.
        stored: lay it out as one that was read back from a part: keys in order, a set for each record.

    Returns:
        The batch; its times follow from `first`, not from the clock.
    """
    import numpy as np

    given = [(step, dict(values)) for step, values in records]
    sets: dict[Any, int] = {}
    chosen: list[int] = []
    value: list[float] = []
    special: dict[int, int | str | Ref] = {}
    for index, (_, values) in enumerate(given):
        keys = tuple(sorted(values) if stored else values)
        chosen.append(sets.setdefault((keys, index if stored else 0), len(sets)))
        for key in keys:
            one = values[key]
            if isinstance(one, str | Ref):
                special[len(value)] = one
                value.append(float("nan"))
                continue
            if isinstance(one, int) and abs(one) > EXACT_FLOAT:
                special[len(value)] = one
            value.append(nearest(one))
    count = len(given)
    numbers = np.arange(first, first + count, dtype=np.int64)
    batch = Batch(
        id=id,
        node=node,
        record=numbers,
        time=FIRST_TIME + (numbers - 1) * 1_000_000,
        step=np.array([step for step, _ in given], np.int64),
        rank=np.array(list(ranks) if ranks is not None else [0] * count, np.int32),
        attempt=np.full(count, attempt, np.int32),
        set=np.array(chosen, np.int32),
        sets=tuple(keys for keys, _ in sets),
        value=np.array(value, np.float64),
        special=special,
        entries=tuple(entries),
    )
    for column in (batch.record, batch.time, batch.step, batch.rank, batch.attempt, batch.set, batch.value):
        column.flags.writeable = False
    return batch
