"""Last, min, max and count of each key, kept up as points come: what a card says, and what `RunReader.summary` adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from steno.record import Batch, Ref

    Special = int | str | Ref

_ORDER: Final = ("step", "attempt", "rank", "record")
"""Of two points of a key, the one that is greater by these is the later one."""
_SETS_KEPT: Final = 4096
_ODD_SETS: Final = 8
"""Fewer records than that for each set of keys: its points are gathered by key, not by set."""


class TotalsTable:
    """One row per key: `count`, and value and place of the last, smallest and largest point, arrays of shape (k,).

    `last_*` is the last by step, attempt, rank and record. `min_*` and `max_*` are of the numbers, NaN aside, and the
    first of equal ones; NaN where there is none. `special` has, by row, a last value that no float64 holds.
    """

    _INTS: Final = (
        "count",
        *(f"last_{name}" for name in _ORDER),
        *(f"{end}_{name}" for end in ("min", "max") for name in _ORDER[:-1]),
    )
    _FLOATS: Final = ("last", "min", "max")
    COLUMNS: Final = (*_INTS, *_FLOATS)

    def __init__(self, length: int = 0) -> None:
        self.special: dict[int, Special] = {}
        self.columns: dict[str, NDArray[Any]] = {
            **{name: np.zeros(length, np.int64) for name in self._INTS},
            **{name: np.full(length, np.nan) for name in self._FLOATS},
        }

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def grow(self, length: int) -> None:
        """Have room for so many rows."""
        held = len(self["count"])
        if length > held:
            more = TotalsTable(max(length - held, held))
            self.columns = {name: np.concatenate([self[name], more[name]]) for name in self.COLUMNS}


class Totals:
    """By key what `TotalsTable` says, of the points that rewinds leave; use it from one thread.

    Args:
        hidden: (attempt, step) of each rewind: points of attempts before it, from the step on, do not count.
    """

    def __init__(self, hidden: Iterable[tuple[int, int]] = ()) -> None:
        self.hidden = tuple(hidden)
        self.ids: dict[str, int] = {}
        """Every key that had a point, hidden ones too: its row."""
        self.rows = TotalsTable()
        self.reach = -(2**63)
        """The highest step of any point."""
        self._sets: dict[tuple[str, ...], NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def hide(self, attempt: int, step: int) -> bool:
        """Have a rewind count; False: it hides points that were added, so all must be added anew."""
        self.hidden = (*self.hidden, (attempt, step))
        return self.reach < step

    def _learn(self, names: Iterable[str]) -> NDArray[np.int64]:
        ids = self.ids
        found = np.fromiter((ids.setdefault(name, len(ids)) for name in names), np.int64)
        self.rows.grow(len(ids))
        return found

    # -- adding ------------------------------------------------------------------------------------------

    def add_batch(self, batch: Batch) -> None:
        """Add a batch's points."""
        if not len(batch.value):
            return
        if len(batch.sets) > 1 and len(batch.sets) * _ODD_SETS > len(batch):
            self._add_flat_batch(batch)
            return
        splits = batch.splits()
        for number, keys in enumerate(batch.sets):
            chosen = np.flatnonzero(batch.set == number) if len(batch.sets) > 1 else np.arange(len(batch))
            if not len(chosen) or not keys:
                continue
            ids = self._sets.get(keys)
            if ids is None:
                if len(self._sets) >= _SETS_KEPT:
                    self._sets.clear()
                ids = self._sets[keys] = self._learn(keys)
            self._add_set(batch, ids, chosen, splits)

    def _add_set(self, batch: Batch, ids: NDArray[np.int64], chosen: NDArray[Any], splits: NDArray[np.int64]) -> None:
        """The records `chosen` of one set of keys: each column of their values is one key's."""
        places = {name: getattr(batch, name)[chosen] for name in _ORDER}
        mask = self._shown(places)
        if mask is not None:
            chosen = chosen[mask]
            places = {name: column[mask] for name, column in places.items()}
            if not len(chosen):
                return
        # In order, so that the first of equal values is the earliest; as a rule they are.
        step = places["step"]
        if len(step) > 1 and not bool((step[1:] > step[:-1]).all()):
            order = np.lexsort([places[name] for name in reversed(_ORDER)])
            chosen, places = chosen[order], {name: column[order] for name, column in places.items()}
        width = len(ids)
        if len(chosen) == len(batch) and bool((chosen[1:] > chosen[:-1]).all()):
            values = batch.value.reshape(-1, width)
        else:
            values = batch.value[splits[chosen][:, None] + np.arange(width)]
        top = len(chosen) - 1
        new = TotalsTable(width)
        new.columns["count"] = np.full(width, len(chosen), np.int64)
        new.columns["last"] = values[top]
        for name in _ORDER:
            new.columns[f"last_{name}"] = np.full(width, places[name][top], np.int64)
        if batch.special:
            first = int(splits[chosen[top]])
            new.special = {at: batch.special[first + at] for at in range(width) if first + at in batch.special}
        for end, least, beats in (("min", np.fmin, np.less), ("max", np.fmax, np.greater)):
            best = new.columns[end] = least.reduce(values, axis=0)
            best[beats(self.rows[end][ids], best)] = np.nan  # where it is does not matter then
            wanted = np.flatnonzero(~np.isnan(best))
            at = (values[:, wanted] == best[wanted]).argmax(axis=0)
            best[wanted] = values[at, wanted]  # of -0.0 and 0.0 the first too
            for name in _ORDER[:-1]:
                new[f"{end}_{name}"][wanted] = places[name][at]
        self._unite(ids, new)

    def _add_flat_batch(self, batch: Batch) -> None:
        sizes = [len(keys) for keys in batch.sets]
        used = set(np.unique(batch.set).tolist())
        flat = np.concatenate(
            [self._learn(keys) if at in used else np.zeros(len(keys), np.int64) for at, keys in enumerate(batch.sets)]
        )
        starts = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        widths, splits = batch.widths(), batch.splits()
        key = flat[np.repeat(starts[batch.set] - splits[:-1], widths) + np.arange(len(batch.value))]
        self._add(key, {name: np.repeat(getattr(batch, name), widths) for name in _ORDER}, batch.value, batch.special)

    def add_points(
        self,
        names: Sequence[str],
        key: NDArray[Any],
        places: Mapping[str, NDArray[Any]],
        value: NDArray[np.float64],
        special: Mapping[int, Special],
    ) -> None:
        """Add points given by row.

        Args:
            names: of the keys.
            key: each point's place among them.
            places: `step`, `attempt`, `rank` and `record` of each.
            value: NaN for a text or a file.
            special: by row, what no float64 holds.
        """
        if len(value):
            self._add(self._learn(names)[key], places, value, special)

    def _add(
        self, key: NDArray[Any], places: Mapping[str, NDArray[Any]], value: NDArray[Any], special: Mapping[int, Special]
    ) -> None:
        rows = np.arange(len(value))
        mask = self._shown(places)
        if mask is not None:
            rows = rows[mask]
        if bool((key[1:] < key[:-1]).any()):
            rows = rows[np.argsort(key[rows], kind="stable")]
        if not len(rows):
            return
        groups = _Groups(key[rows])
        new = TotalsTable(len(groups.starts))
        new.columns["count"] = groups.sizes
        last = _picked(rows, groups, [(places[name], np.maximum) for name in _ORDER])
        new.columns["last"] = value[last]
        for name in _ORDER:
            new.columns[f"last_{name}"] = places[name][last].astype(np.int64)
        if special:
            new.special = {at: special[row] for at, row in enumerate(last.tolist()) if row in special}
        earliest: list[Any] = [(places[name], np.minimum) for name in _ORDER[:-1]]
        for end, least in (("min", np.fmin), ("max", np.fmax)):
            best = new.columns[end] = least.reduceat(value[rows], groups.starts)
            wanted = np.flatnonzero(~np.isnan(best))
            equal = value[rows] == np.repeat(best, groups.sizes)
            at = _picked(rows[equal], _Groups(key[rows[equal]]), earliest)
            best[wanted] = value[at]
            for name in _ORDER[:-1]:
                new[f"{end}_{name}"][wanted] = places[name][at]
        self._unite(key[rows[groups.starts]], new)

    def _shown(self, places: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_] | None:
        """The points that no rewind hides; None: all."""
        self.reach = max(self.reach, int(places["step"].max()))
        mask: NDArray[np.bool_] | None = None
        for attempt, step in self.hidden:
            term = (places["attempt"] >= attempt) | (places["step"] < step)
            mask = term if mask is None else mask & term
        return None if mask is None or bool(mask.all()) else mask

    # -- uniting -----------------------------------------------------------------------------------------

    def add_rows(self, names: Sequence[str], new: TotalsTable, reach: int) -> None:
        """Add what other totals, of other points, have come to, under the same rewinds."""
        self.reach = max(self.reach, reach)
        ids = self._learn(names)
        shown = np.flatnonzero(new["count"][: len(names)])
        some = TotalsTable()
        some.columns = {name: new[name][shown] for name in TotalsTable.COLUMNS}
        some.special = {at: new.special[row] for at, row in enumerate(shown.tolist()) if row in new.special}
        self._unite(ids[shown], some)

    def _unite(self, ids: NDArray[np.int64], new: TotalsTable) -> None:
        """TotalsTable of other points of these keys, each key once and with points."""
        if not len(ids):
            return
        held = self.rows
        is_first = held["count"][ids] == 0
        later, tied = is_first.copy(), ~is_first
        for name in _ORDER:
            old, other = held[f"last_{name}"][ids], new[f"last_{name}"]
            later |= tied & (other > old)
            tied &= other == old
        later |= tied  # of two nodes' records with one number the one that is added later
        for end, beats in (("min", np.less), ("max", np.greater)):
            old, other = held[end][ids], new[end]
            better = ~np.isnan(other) & (np.isnan(old) | beats(other, old))
            tied = other == old
            for name in _ORDER[:-1]:
                old, other = held[f"{end}_{name}"][ids], new[f"{end}_{name}"]
                better |= tied & (other < old)
                tied &= other == old
            _put(held, new, ids, better, (end, *(f"{end}_{name}" for name in _ORDER[:-1])))
        held["count"][ids] += new["count"]
        _put(held, new, ids, later, ("last", *(f"last_{name}" for name in _ORDER)))
        if held.special or new.special:
            for at in np.flatnonzero(later).tolist():
                held.special.pop(int(ids[at]), None)
                if at in new.special:
                    held.special[int(ids[at])] = new.special[at]

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each key with points that are shown, in order, and its row; `last` is the value as it was logged."""
        columns = {name: self.rows[name].tolist() for name in TotalsTable.COLUMNS}
        for key in sorted(self.ids):
            at = self.ids[key]
            if columns["count"][at]:
                row = {name: columns[name][at] for name in TotalsTable.COLUMNS}
                if at in self.rows.special:
                    row["last"] = self.rows.special[at]
                yield key, row


class _Groups:
    """Runs of equal keys."""

    def __init__(self, key: NDArray[Any]) -> None:
        edges = np.flatnonzero(key[1:] != key[:-1]) + 1
        self.starts = np.concatenate([np.zeros(min(len(key), 1), np.int64), edges])
        self.sizes = np.diff(self.starts, append=len(key))


def _picked(rows: NDArray[Any], groups: _Groups, by: Sequence[tuple[NDArray[Any], Any]]) -> NDArray[Any]:
    """Of each group the row that is best by the columns, the first column first."""
    owner = np.repeat(np.arange(len(groups.starts)), groups.sizes)
    starts, sizes = groups.starts, groups.sizes
    for column, best in by:
        if len(rows) == len(starts):
            break
        found = column[rows]
        kept = found == np.repeat(best.reduceat(found, starts), sizes)
        rows, owner = rows[kept], owner[kept]
        narrowed = _Groups(owner)
        starts, sizes = narrowed.starts, narrowed.sizes
    chosen: NDArray[Any] = rows[starts]
    return chosen


def _put(
    held: TotalsTable, new: TotalsTable, ids: NDArray[Any], chosen: NDArray[np.bool_], names: Iterable[str]
) -> None:
    if chosen.all():
        for name in names:
            held[name][ids] = new[name]
    elif chosen.any():
        for name in names:
            held[name][ids[chosen]] = new[name][chosen]
