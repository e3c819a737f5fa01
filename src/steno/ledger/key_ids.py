"""The ids that a ledger gives to keys, kept in memory within a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_IDS_KEPT = 200_000


class KeyIds:
    """The keys of a ledger by their ids, for one `Poster`; inside its transactions.

    After a transaction that failed, make another one: this one knows ids that the ledger does not have.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._sets: dict[tuple[str, ...], NDArray[np.int32]] = {}
        self._ids: dict[str, int] = {}
        self._sets_before: frozenset[tuple[str, ...]] = frozenset()
        row = connection.execute("select max(id) from keys").fetchone()
        self._next_id = (row[0] or 0) + 1
        self._all_known = self._next_id == 1

    def __len__(self) -> int:
        """Keys that are in memory."""
        return len(self._ids)

    def ids_of(self, sets: Sequence[tuple[str, ...]]) -> list[NDArray[np.int32]]:
        """For each key set the ids of its keys, in its order; new keys get ids."""
        known = self._sets
        new = [keys for keys in sets if keys not in known]
        if new:
            self._learn({key for keys in new for key in keys})
            if len(known) > _IDS_KEPT // 16:
                known.clear()
                new = list(sets)
                self._learn({key for keys in new for key in keys})
            for keys in new:
                known[keys] = np.array([self._ids[key] for key in keys], np.int32)
        out = [known[keys] for keys in sets]
        if len(self._ids) > _IDS_KEPT:
            # A run whose keys never repeat must not fill the memory.
            self._ids.clear()
            known.clear()
            self._all_known = False
        return out

    def fresh_names(self, sets: Iterable[tuple[str, ...]]) -> int:
        """Keys over the sets that the batch before did not have: a run of few wide sets is no storm of keys."""
        before, self._sets_before = self._sets_before, frozenset(sets)
        return sum(map(len, self._sets_before - before))

    def _learn(self, keys: Iterable[str]) -> None:
        """Have the ids of these keys in `_ids`, giving ids to new ones."""
        wanted = [key for key in keys if key not in self._ids]
        if not wanted:
            return
        if not self._all_known:
            for at in range(0, len(wanted), 500):
                some = wanted[at : at + 500]
                marks = ",".join("?" * len(some))
                self._ids.update(self._connection.execute(f"select key, id from keys where key in ({marks})", some))
            wanted = [key for key in wanted if key not in self._ids]
        rows = list(enumerate(wanted, self._next_id))
        self._connection.executemany("insert into keys values(?, ?)", rows)
        self._ids.update((key, id) for id, key in rows)
        self._next_id += len(rows)
