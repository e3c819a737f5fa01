"""The points of some keys that are in no part yet, each chunk of them sorted once for all who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno.store.bins import sealed
from steno.store.bins.kept import WeightedCache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from steno.store.bins.moment import Moment
    from steno.store.bins.rows import Rows
    from steno.store.points import Points

    Sorted = tuple[Points, NDArray[np.int32], Rows]
    """A chunk, the keys of its rows in order, and the rows."""


class SortedChunks:
    """Sorted chunks of the runs that were asked about last, up to so many bytes. Thread-safe.

    The chunks of a run that goes on are merged so that most points stay in one for long: a chart that asks twice a
    second does not sort them anew. Those that were merged or sealed since are let go.
    """

    def __init__(self, most: int) -> None:
        self._runs = WeightedCache["list[Sorted]"](most)

    def of(self, run_dir: Path, moment: Moment, keys: Sequence[str]) -> Iterator[tuple[int, Rows]]:
        """(position in the keys, its points), in pieces, in the order of the chunks."""
        import numpy as np

        wanted = [(at, moment.ids[key]) for at, key in enumerate(keys) if key in moment.ids]
        if not wanted or not moment.chunks:
            return
        known = self._runs.get(run_dir) or []
        chunks = [next((one for one in known if one[0] is chunk), None) or _sorted(chunk) for chunk in moment.chunks]
        self._runs.put(run_dir, chunks, sum(2 * rows.bytes for _, _, rows in chunks))
        ids = np.array([number for _, number in wanted])
        for _, number, rows in chunks:
            begins, ends = np.searchsorted(number, ids), np.searchsorted(number, ids, side="right")
            for (at, _), begin, end in zip(wanted, begins.tolist(), ends.tolist(), strict=True):
                if begin < end:
                    yield at, rows.take(slice(begin, end))


def _sorted(chunk: Points) -> Sorted:
    import numpy as np

    order = np.argsort(chunk.key, kind="stable")
    return chunk, chunk.key[order], sealed.rows_of(chunk.take(order))
