"""The records of one reading as rows, which are filled in any order and then are a `Slice`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steno.journal import format as fmt
from steno.journal.decode import KeySet, Slice
from steno.record import EXACT_FLOAT, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class FrameRows:
    """Columns being filled, one row per record frame."""

    def __init__(self, count: int) -> None:
        self.mono = np.zeros(count, np.int64)
        self.seq = np.zeros(count, np.int64)
        self.step = np.zeros(count, np.int64)
        self.auto = np.zeros(count, np.bool_)
        self.number = np.zeros(count, np.int64)
        self.width = np.zeros(count, np.int64)
        self.bad = np.zeros(count, np.bool_)
        self.blocks: list[tuple[NDArray[np.int64], NDArray[np.float64], dict[tuple[int, int], int]]] = []
        self.odd: list[tuple[int, list[Any]]] = []
        self.inline: dict[tuple[tuple[str, ...], Any], int] = {}
        """(keys, number of the announced set they came under, or how a RICH record is numbered, or 0) → place"""
        self.wall: dict[int, int] = {}
        self.meta: dict[int, dict[str, Any]] = {}
        self.refused: dict[str, str] = {}
        self.times: dict[str, int] = {}

    def refuse(self, key: str, reason: str, times: int = 1) -> None:
        """Values of so many records under this key are in no column."""
        self.refused[key] = reason
        self.times[key] = self.times.get(key, 0) + times


def assembled(rows: FrameRows, known: Mapping[int, KeySet], offsets: NDArray[np.int64]) -> Slice:
    """The slice of these rows; `known` are the announced sets, `offsets` wall minus monotonic time by row."""
    keep = None
    rows.width[rows.bad] = 0
    if not rows.width.all():
        # A record of which nothing could be kept is none: it takes no number and no automatic step.
        keep = rows.width > 0
    splits = np.zeros(len(rows.width) + 1, np.int64)
    np.cumsum(rows.width, out=splits[1:])
    value = np.empty(int(splits[-1]), np.float64)
    special: dict[int, Any] = {}
    for members, block, exact in rows.blocks:
        starts = splits[members]
        width = block.shape[1]
        if len(members) == len(rows.width):
            value[:] = block.reshape(-1)
        else:
            value[starts[:, None] + np.arange(width)] = block
        for (row, column), number in exact.items():
            special[int(starts[row]) + column] = number
    for row, items in rows.odd:
        at = int(splits[row])
        for place, item in enumerate(items, at):
            if item.__class__ is float:
                value[place] = item
            elif isinstance(item, int):
                value[place] = nearest(item)
                if abs(item) > EXACT_FLOAT:
                    special[place] = item
            else:
                value[place] = np.nan
                special[place] = item
    sets, index = _local_sets(rows, known)
    times = rows.mono + offsets
    for row, given in rows.wall.items():
        times[row] = given
    columns: list[NDArray[Any]] = [rows.mono, times, rows.seq, rows.step, rows.auto, index]
    meta = rows.meta
    if keep is not None:
        columns = [column[keep] for column in columns]
        renumber = np.cumsum(keep) - 1
        meta = {int(renumber[row]): what for row, what in meta.items()}
    mono, wall, seq, step, auto, chosen = columns
    return Slice(
        0, 0, 0, mono, wall, seq, step, auto, chosen.astype(np.int32), sets, value, special, meta,
        refused=rows.refused, refused_times=rows.times,
    )  # fmt: skip


def _local_sets(rows: FrameRows, known: Mapping[int, KeySet]) -> tuple[list[KeySet], NDArray[np.int64]]:
    """The key sets of this slice, and each row's place among them."""
    numbers = rows.number
    if len(numbers) == 0:
        return [], numbers
    if (numbers == numbers[0]).all():
        unique, index = numbers[:1], np.zeros(len(numbers), np.int64)
    else:
        unique, index = np.unique(numbers, return_inverse=True)
    inline = list(rows.inline)
    sets: list[KeySet] = []
    for number in unique.tolist():
        if number >= fmt.FIRST_SET:
            sets.append(known[number])
        elif number < 0:
            keys, under = inline[-1 - number]
            options = dict(under) if under.__class__ is tuple else known[under].options if under else None
            sets.append(KeySet(keys, options or None))
        else:
            sets.append(KeySet(()))
    return sets, index
