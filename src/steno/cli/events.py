"""A run's records as event files in a directory of their own, written by the tensorboard destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.errors import UsageError
from steno.record import EXACT_FLOAT, Batch, Entry, Record, RunInfo

if TYPE_CHECKING:
    from pathlib import Path

    from steno.store.book import Book

BATCH_RECORDS = 10_000
ALL_RECORDS = 2**43
"""More than a node can have numbered, and less than the distance between two nodes' numbers."""


def write(book: Book, target: Path) -> int:
    """Write all of a run's points; returns how many. Rank 0 in `target` itself, the others in `target/rank-N`.

    Raises:
        UsageError: the directory cannot be made, or something is in it already.
    """
    from steno.destinations.registry import create

    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise UsageError(f"{target} is not empty; name a new directory with --out")
    except OSError as error:
        raise UsageError(f"cannot write event files in {target}: {error.strerror or error}") from error
    info = book.info
    destination = create("tensorboard")
    points = 0
    destination.open(RunInfo(target, info.id, info.name, info.project, info.config, layout="logdir"))
    try:
        found = sorted(book.tail(last=ALL_RECORDS, follow=False), key=lambda one: one.record)
        for start in range(0, len(found), BATCH_RECORDS):
            batch = _batch(start, found[start : start + BATCH_RECORDS])
            destination.write(batch)
            points += len(batch.value)
        destination.flush()
    finally:
        destination.close()
    return points


def _batch(id: int, chunk: list[Record | Entry]) -> Batch:
    """The records in columns, in their order."""
    import numpy as np

    records = [one for one in chunk if isinstance(one, Record)]
    sets: dict[tuple[str, ...], int] = {}
    values: list[float] = []
    special: dict[int, Any] = {}
    for record in records:
        sets.setdefault(tuple(record.values), len(sets))
        for value in record.values.values():
            if isinstance(value, float):
                values.append(value)
                continue
            if not isinstance(value, int):
                special[len(values)] = value
                values.append(float("nan"))
                continue
            if abs(value) > EXACT_FLOAT:
                special[len(values)] = value
            values.append(_nearest(value))
    return Batch(
        id=id,
        node=0,
        record=np.array([one.record for one in records], np.int64),
        time=np.array([one.time for one in records], np.int64),
        step=np.array([one.step for one in records], np.int64),
        rank=np.array([one.rank for one in records], np.int32),
        attempt=np.array([one.attempt for one in records], np.int32),
        set=np.array([sets[tuple(one.values)] for one in records], np.int32),
        sets=tuple(sets),
        value=np.array(values, np.float64),
        special=special,
        entries=tuple(one for one in chunk if isinstance(one, Entry)),
    )


def _nearest(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
