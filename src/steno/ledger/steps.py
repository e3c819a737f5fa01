"""Numbering of automatic steps, whole columns at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from steno.record import LAST_STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from steno.journal.decode import KeySet

RUN = ("run", "")
"""(scope, name) of the counter of `run.log(step=None)`."""
SEED = ("seed", "")
"""The counter from which counters of keys begin: 0, or where a writer's purge_step has set it."""
OF_KEY = "\x1f"
"""Stands in the name of a counter between its kind and its key."""
OF_NODE = "@"
"""Stands in the scope of a counter that was another node's before its number."""
OF_OTHERS = (OF_KEY, OF_NODE)

Counter = tuple[str, str]


def seed_of(name: Counter) -> Counter:
    """The counter from which a counter of a key begins."""
    _, sign, node = name[0].partition(OF_NODE)
    return (SEED[0] + sign + node, SEED[1])


def is_of_key(name: Counter) -> bool:
    """Whether a counter is of one key, as writers have them."""
    return OF_KEY in name[1]


def number(step: NDArray[np.int64], auto: NDArray[np.bool_], following: int) -> int:
    """Fill in the automatic steps of rows that share one counter, in place.

    Args:
        step: shape (n,), explicit steps; those under `auto` are overwritten.
        auto: shape (n,), which rows are to be numbered.
        following: the counter's next step.

    Returns:
        The counter's next step after these rows: an explicit step raises it to step + 1.

    """
    if not len(step):
        return following
    if not auto.any():
        return max(following, min(int(step.max()), LAST_STEP) + 1)
    if auto.all():
        step[:] = np.arange(following, following + len(step))
        return following + len(step)
    # With `before` automatic rows so far, an automatic step is `floor + before`, and an explicit
    # step s lifts the floor to s + 1 - before: a running maximum, no loop.
    before: NDArray[np.int64] = np.cumsum(auto) - auto
    lifts = np.where(auto, np.iinfo(np.int64).min, np.clip(step, -LAST_STEP, LAST_STEP) + 1 - before)
    floor = np.maximum(np.maximum.accumulate(lifts), following)
    step[auto] = (floor + before)[auto]
    return int(floor[-1]) + int(before[-1]) + int(auto[-1])


def number_all(
    *,
    step: NDArray[np.int64],
    auto: NDArray[np.bool_],
    chosen: NDArray[np.int32],
    sets: Sequence[KeySet],
    stream: NDArray[np.int32],
    streams: Sequence[str],
    counters: Callable[[Counter], int],
    suffix: str = "",
) -> dict[Counter, int]:
    """Number the automatic steps of one posting, in place, each row by its key set's counter.

    Args:
        step: shape (n,), in the order of posting.
        auto: shape (n,).
        chosen: shape (n,), index into `sets`.
        sets: the key sets.
        stream: shape (n,), index into `streams`.
        streams: the streams' names.
        counters: the next step of a counter, 0 for a new one.
        suffix: of the scopes of all counters, where they are another node's.

    Returns:
        The next steps of the counters that moved.

    """
    run = (RUN[0] + suffix, RUN[1])
    special = [bool(one.options and ("counter" in one.options or "per" in one.options)) for one in sets]
    if not any(special):
        return {run: number(step, auto, counters(run))} if len(step) else {}
    own = np.array(special)[chosen]
    moved: dict[Counter, int] = {}
    plain = np.flatnonzero(~own)
    if len(plain):
        part = step[plain]
        moved[run] = number(part, auto[plain], counters(run))
        step[plain] = part
    rows = np.flatnonzero(own)
    pair = chosen[rows].astype(np.int64) * len(streams) + stream[rows]
    kinds, group = np.unique(pair, return_inverse=True)
    names = [_names(sets[kind // len(streams)], streams[kind % len(streams)], suffix) for kind in kinds.tolist()]
    shared = {name for some in names for name in some}
    if all(len(some) == 1 for some in names) and len(shared) * 8 < len(rows):
        place = {name: index for index, name in enumerate(shared)}
        group = np.array([place[some[0]] for some in names])[group]
        order = np.argsort(group, kind="stable")
        ends = np.searchsorted(group[order], np.arange(len(shared)), side="right")
        begin = 0
        for name, stop in zip(place, ends.tolist(), strict=True):
            members = rows[order[begin:stop]]
            part = step[members]
            moved[name] = number(part, auto[members], counters(name))
            step[members] = part
            begin = stop
        return moved
    for row, kind, counted in zip(rows.tolist(), group.tolist(), auto[rows].tolist(), strict=True):
        mine = names[kind]
        following = max(moved[name] if name in moved else counters(name) for name in mine)
        if counted:
            step[row] = following
            following += 1
        else:
            following = max(following, min(int(step[row]), LAST_STEP) + 1)
        for name in mine:
            moved[name] = following
    return moved


def _names(keyset: KeySet, stream: str, suffix: str) -> list[Counter]:
    """The counters a record of this set moves: one per key where the set names a kind."""
    options = keyset.options or {}
    scope = f"stream:{stream}" if options.get("per") == "stream" else RUN[0] + suffix
    kind = options.get("counter")
    if kind is None:
        return [(scope, "")]
    return [(scope, f"{kind}{OF_KEY}{key}") for key in keyset.keys] or [(scope, str(kind))]
