"""Hand-made slices for the tests of the ledger."""

from __future__ import annotations

import itertools

import numpy as np

from steno.journal.decode import HOLE, KeySet, RawEntry, RawFill, Slice
from steno.ledger.incoming import StreamInfo

_ends = itertools.count(5000, 1000)
_last: dict[str, int] = {}


def info(stream="s-1", segment=0, rank=0, **more):
    return StreamInfo(stream=stream, segment=segment, pid=1, host="here", rank=rank, **more)


def piece(rows, *, start=4096, end=None, fills=(), entries=(), refused=None, lost=0, meta=None, options=None):
    """A slice of (mono, step or None, {key: value}, [seq]) rows."""
    sets, places, chosen, value, special = [], {}, [], [], {}
    for row in rows:
        keys = tuple(row[2])
        if keys not in places:
            places[keys] = len(sets)
            sets.append(KeySet(keys, options))
        chosen.append(places[keys])
        for item in row[2].values():
            if isinstance(item, float):
                value.append(item)
            elif isinstance(item, int):
                value.append(float(item))
                if abs(item) > 2**53:
                    special[len(value) - 1] = item
            else:
                value.append(float("nan"))
                special[len(value) - 1] = item
    mono = np.array([row[0] for row in rows], np.int64)
    seq = np.array([row[3] if len(row) > 3 else 100 + at for at, row in enumerate(rows)], np.int64)
    return Slice(
        start=start,
        end=end if end is not None else start + 100 * max(len(rows), 1),
        lost_bytes=lost,
        mono=mono,
        wall=mono + 10**18,
        seq=seq,
        step=np.array([row[1] or 0 for row in rows], np.int64),
        auto=np.array([row[1] is None for row in rows], np.bool_),
        set=np.array(chosen, np.int32),
        sets=sets,
        value=np.array(value, np.float64),
        special=special,
        meta=meta or {},
        entries=[RawEntry(mono=m, wall=m + 10**18, seq=q, kind=k, payload=p, step=None) for m, q, k, p in entries],
        fills=[RawFill(q, v) for q, v in fills],
        refused=refused or {},
    )


__all__ = ["HOLE", "info", "piece"]
