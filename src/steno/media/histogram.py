"""Histograms: `steno.Histogram`, of data or of bins."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.histograms import count, equal_edges
from steno.media.arguments import named
from steno.media.arrays import as_array, joined, left_out, seen
from steno.media.raw import Captured, Raw, capture
from steno.utf8 import brief

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

INLINE_BYTES: Final = 4 << 20
"""Data up to this size is counted as it is posted and needs no file; more is counted behind the scalars."""
_MAX_BINS: Final = 16_384
_CHUNK: Final = 1 << 20
_RULES: Final = ("auto", "fd", "doane", "scott", "stone", "rice", "sturges", "sqrt", "tensorflow")
_STATISTICS: Final = ("min", "max", "sum", "sum_squares", "num")
_LARGEST: Final = 1.7976931348623157e308


class Histogram:
    """A histogram for `run.log`: of data, which is copied when logged and counted by the collector, or of bins.

    Args:
        data: numbers of any shape; those that are not finite are counted apart, those that a mask hides not at all.
        bins: how many equal bins; or their edges, rising; or the name of a rule of `numpy.histogram_bin_edges`;
            or "tensorflow" for TensorBoard's exponential ones. At most 16,384; of more edges each so-and-so-many-th
            is taken.
        counts: shape (n,); instead of data, with `edges`. What is negative or not finite counts as 0.
        edges: shape (n + 1,), rising; infinite ones become the largest float64.
        statistics: with counts, what is known of the data: "min", "max", "sum", "sum_squares", and "num", where it
            is not the sum of the counts; the others are reckoned from the middles of the bins.

    What is changed like this is said once per key.

    Raises:
        UsageError: empty, no numbers, edges that do not rise, counts that do not fit them.

    When `log` has returned, the data survives the process.
    """

    __slots__ = ("_bins", "_data", "_meta", "remark")

    @named
    def __init__(
        self,
        data: Any = None,
        *,
        bins: Any = 64,
        counts: Any = None,
        edges: Any = None,
        statistics: Mapping[str, float] | None = None,
    ) -> None:
        self._data: NDArray[Any] | None = None
        self._meta: dict[str, Any] | None = None
        self._bins: Any = None
        if (data is None) == (counts is None) or (counts is None) != (edges is None):
            msg = "Histogram takes either data, or counts and edges"
            raise UsageError(msg)
        self.remark = ""
        """What is changed so that it can be recorded."""
        if data is not None:
            self._data = as_array(seen(data), "Histogram")
            self._bins, remark = usable_bins(bins)
            self.remark = joined(left_out(data, "Histogram"), remark)
        else:
            self._meta, self.remark = _given(counts, edges, statistics or {})

    def __repr__(self) -> str:
        return f"steno.Histogram({self._data.shape if self._data is not None else self._meta})"

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        if self._data is None:
            assert self._meta is not None
            return Captured("histogram", self._meta, remark=self.remark)
        return capture("histogram", {"bins": self._bins}, {"data": self._data}, {"ext": "json"}, remark=self.remark)


def usable_bins(bins: Any) -> tuple[str | int | list[float], str]:
    """(a rule's name, a number of bins, or edges; what was changed of them).

    Raises:
        UsageError: none of them.
    """
    if isinstance(bins, str):
        if bins in _RULES:
            return bins, ""
        msg = f"Histogram: bins={brief(bins)} is no rule; use a number, edges, or one of {', '.join(_RULES)}"
        raise UsageError(msg)
    if hasattr(bins, "__index__") and not hasattr(bins, "__len__"):
        if int(bins) < 1:
            msg = f"Histogram: bins={brief(bins)} is not a number of bins from 1 on"
            raise UsageError(msg)
        cut = f"Histogram: bins={brief(bins)} was cut to {_MAX_BINS}" if int(bins) > _MAX_BINS else ""
        return min(int(bins), _MAX_BINS), cut
    edges, remark = _edges(bins)
    if len(edges) > _MAX_BINS + 1:
        every = -(-(len(edges) - 1) // _MAX_BINS)
        remark = f"Histogram: of {len(edges)} edges every {every}th was taken"
        edges = [*edges[:-1:every], edges[-1]]
    return edges, remark


def _edges(edges: Any) -> tuple[list[float], str]:
    """(finite edges, what was changed of them)."""
    import numpy as np

    given = as_array(edges, "Histogram edges").astype(np.float64).reshape(-1)
    array = np.clip(given[~np.isnan(given)], -_LARGEST, _LARGEST)
    if len(array) < 2 or (array[1:] < array[:-1]).any():
        msg = "Histogram: the edges of n bins are n + 1 rising numbers, two or more"
        raise UsageError(msg)
    return array.tolist(), "" if np.array_equal(array, given) else "Histogram: edges that are not finite were changed"


def _given(counts: Any, edges: Any, statistics: Mapping[str, float]) -> tuple[dict[str, Any], str]:
    import numpy as np

    bounds, remark = _edges(edges)
    given = as_array(counts, "Histogram counts").reshape(-1)
    if len(given) != len(bounds) - 1:
        msg = f"Histogram: {len(given)} counts need {len(given) + 1} edges, not {len(bounds)}"
        raise UsageError(msg)
    if unknown := set(statistics) - set(_STATISTICS):
        msg = f"Histogram: statistics {sorted(unknown)} are unknown; use {', '.join(_STATISTICS)}"
        raise UsageError(msg)
    found = given
    if not np.isfinite(given).all() or (given < 0).any():
        found = np.clip(np.nan_to_num(given, nan=0, posinf=0, neginf=0), 0, None)
        remark = "Histogram: counts that are negative or not finite were taken as 0"
    numbers = found.astype(np.float64)
    limits = np.array(bounds)
    used = np.flatnonzero(numbers)
    with np.errstate(all="ignore"):
        middles = limits[1:] / 2 + limits[:-1] / 2
        guess = {
            "min": bounds[used[0]] if len(used) else math.nan,
            "max": bounds[used[-1] + 1] if len(used) else math.nan,
            "sum": float((numbers * middles).sum()),
            "sum_squares": float((numbers * middles * middles).sum()),
        }
    known = {name: float(value) for name, value in statistics.items()}
    return {"counts": found.tolist(), "edges": bounds, "outside": 0, **guess, **known}, remark


# -- counting ------------------------------------------------------------------------------------------------


def counted(raw: Raw) -> dict[str, Any]:
    """The histogram of captured data, as stands in a `Ref`'s meta; a little of the data in memory at a time."""
    import numpy as np

    data = raw.arrays()["data"].reshape(-1)
    low, high, total, squares, finite = math.inf, -math.inf, 0.0, 0.0, 0
    with np.errstate(all="ignore"):
        for piece in _finite(raw, data):
            if len(piece):
                low, high = min(low, float(piece.min())), max(high, float(piece.max()))
                total += float(piece.sum())
                squares += float(np.square(piece).sum())
                finite += len(piece)
        edges = _edges_for(raw.header["bins"], data, low, high)
        counts = np.zeros(len(edges) - 1, np.int64)
        equal = isinstance(raw.header["bins"], int)
        for piece in _finite(raw, data):
            counts += count(piece, edges, equal=equal)
    if not isinstance(raw.header["bins"], int) and len(counts) > 1:
        counts, edges = _trimmed(counts, edges)
    return {
        "counts": counts.tolist(),
        "edges": [float(edge) for edge in edges],
        "outside": len(data) - finite,
        "min": low if finite else math.nan,
        "max": high if finite else math.nan,
        "sum": total,
        "sum_squares": squares,
    }


def _finite(raw: Raw, data: NDArray[Any]) -> Iterator[NDArray[Any]]:
    import numpy as np

    for at in range(0, len(data), _CHUNK):
        piece = data[at : at + _CHUNK].astype(np.float64)
        whole = np.isfinite(piece)
        yield piece if whole.all() else piece[whole]
        raw.forget()


def _edges_for(bins: Any, data: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    import numpy as np

    if isinstance(bins, list):
        return np.array(bins)
    if low > high:
        return np.array([0.0, 1.0])
    if bins == "tensorflow":
        return tensorflow_edges()
    if isinstance(bins, str):
        bins = _bins_by_rule(bins, data[:: max(1, len(data) // (4 * _CHUNK))], low, high)
    return equal_edges(low, high, bins)


def _bins_by_rule(rule: str, sample: NDArray[Any], low: float, high: float) -> int:
    """How many bins a rule of `numpy.histogram_bin_edges` makes of a sample of the data, within our bounds."""
    import numpy as np

    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)].astype(np.float64)
    elif sample.dtype.kind == "b":
        sample = sample.astype(np.uint8)
    if low == high or not len(sample):
        return 1
    if not math.isfinite(high - low):
        sample, low, high = sample / 2, low / 2, high / 2  # the number of bins is the same
    if rule in {"fd", "auto"}:
        # numpy would make all edges before it says how many there are: a far outlier makes billions.
        quarter, three = np.percentile(sample, [25, 75])
        narrow = 2 * float(three - quarter) * len(sample) ** (-1 / 3)
        if narrow > 0 and (high - low) / narrow > _MAX_BINS:
            return _MAX_BINS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of rules that suit the data badly
            return min(_MAX_BINS, max(1, len(np.histogram_bin_edges(sample, rule, (low, high))) - 1))
    except (ValueError, ArithmeticError, MemoryError):
        return 1  # the numbers are too close to each other for more


def _trimmed(counts: NDArray[Any], edges: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Without the empty bins at both ends, one of which is kept on each side."""
    import numpy as np

    used = np.flatnonzero(counts)
    if not len(used):
        return counts, edges
    first, last = max(0, int(used[0]) - 1), min(len(counts), int(used[-1]) + 2)
    return counts[first:last], edges[first : last + 1]


def tensorflow_edges() -> NDArray[Any]:
    """TensorBoard's own edges: exponential to both sides of 0, from 1e-12 to 1e20."""
    import numpy as np

    steps = math.ceil(math.log(1e32) / math.log(1.1))
    positive = 1e-12 * 1.1 ** np.arange(steps)
    return np.concatenate([-positive[::-1], [0.0], positive])


def encode(raw: Raw, path: Path) -> None:
    """Write the histogram of much data as JSON."""
    import json

    with open(path, "x", encoding="utf-8") as file:
        json.dump(counted(raw), file)


def from_raw(raw: Raw) -> dict[str, Any]:
    """{"counts", "edges", "outside", "min", "max", "sum", "sum_squares"}."""
    return counted(raw)


def from_file(path: Path) -> dict[str, Any]:
    """The same, from its file."""
    import json

    found: dict[str, Any] = json.loads(path.read_bytes())
    return found
