"""The points of some keys that are in no part yet, each chunk of them sorted once for all who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno.store.bins import sealed
from steno.store.bins.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from steno.store.bins.moment import Moment
    from steno.store.bins.rows import Rows
    from steno.store.points import Points


class Unsealed:
    """Sorted chunks, the last used ones up to so many bytes. Thread-safe.

    The chunks of a run that goes on are merged so that most points stay in one for long: a chart that asks twice a
    second does not sort them anew.
    """

    def __init__(self, most: int) -> None:
        self._sorted = Kept[tuple["Points", "NDArray[np.int32]", "Rows"]](most)

    def of(self, moment: Moment, keys: Sequence[str]) -> Iterator[tuple[int, Rows]]:
        """(position in the keys, its points), in pieces, in the order of the chunks."""
        import numpy as np

        wanted = [(at, moment.ids[key]) for at, key in enumerate(keys) if key in moment.ids]
        if not wanted:
            return
        ids = np.array([number for _, number in wanted])
        for chunk in moment.chunks:
            number, rows = self._of(chunk)
            begins, ends = np.searchsorted(number, ids), np.searchsorted(number, ids, side="right")
            for (at, _), begin, end in zip(wanted, begins.tolist(), ends.tolist(), strict=True):
                if begin < end:
                    yield at, rows.take(slice(begin, end))

    def _of(self, chunk: Points) -> tuple[NDArray[np.int32], Rows]:
        """The chunk by key: the keys of the rows, and the rows."""
        import numpy as np

        found = self._sorted.get(id(chunk))
        if found is None or found[0] is not chunk:
            order = np.argsort(chunk.key, kind="stable")
            rows = sealed.rows_of(chunk.take(order))
            found = (chunk, chunk.key[order], rows)
            self._sorted.put(id(chunk), found, rows.bytes + 2000)
        return found[1], found[2]
