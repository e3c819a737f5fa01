"""Equal bins for any finite numbers, where numpy refuses to make them, and what falls into them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def equal_edges(low: float, high: float, bins: int) -> NDArray[np.float64]:
    """Rising edges of `bins` equal bins from `low` to `high`, or of as many as float64 can tell apart.

    Args:
        low: the smallest number, finite.
        high: the largest, finite, not below `low`. Equal to it, the bins are one unit wide together, or as
            little as float64 allows at that magnitude; `numpy.histogram` does the same where it can.
        bins: 1 or more.

    Returns:
        Two to `bins + 1` edges, shape (n + 1,), each larger than the one before.

    """
    import numpy as np

    with np.errstate(all="ignore"):
        return _equal_edges(low, high, bins)


def _equal_edges(low: float, high: float, bins: int) -> NDArray[np.float64]:
    import numpy as np

    if low == high:
        half = max(0.5, float(np.spacing(abs(low))))
        limit = float(np.finfo(np.float64).max)
        low, high = max(low - half, -limit), min(high + half, limit)
    if math.isfinite(high - low):
        edges = np.linspace(low, high, bins + 1)
    else:
        edges = 2 * np.linspace(low / 2, high / 2, bins + 1)  # the range itself is wider than a float64
    edges[0], edges[-1] = low, high
    return edges if bool((edges[1:] > edges[:-1]).all()) else np.unique(np.clip(edges, low, high))


def count(values: NDArray[np.float64], edges: NDArray[np.float64], *, equal: bool) -> NDArray[np.int64]:
    """How many of the finite `values` fall into each bin; the last bin has its upper edge too.

    Args:
        values: shape (k,).
        edges: shape (n + 1,), rising.
        equal: whether the edges are those of `equal_edges`; counting needs no search then.

    """
    import numpy as np

    bins, width = len(edges) - 1, float(edges[-1]) - float(edges[0])
    # numpy scales by bins / width, which must be a number.
    if equal and 0 < width < math.inf and math.isfinite(bins / width):
        try:
            return np.histogram(values, bins, (edges[0], edges[-1]))[0]
        except ValueError:
            pass  # the bins are too narrow for numpy's arithmetic, and not for a search
    return np.histogram(values, edges)[0]
