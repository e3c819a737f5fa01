"""Precision-recall curves: labels and predictions at the call, the curve in the collector; and settled values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.media.arrays import as_array, extent, joined
from steno.media.raw import Captured, Raw, capture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

ROWS: Final = ("true_positives", "false_positives", "true_negatives", "false_negatives", "precision", "recall")
MOST_THRESHOLDS: Final = 127
"""What TensorBoard's plugin shows; the writers that ours follow cut there too."""
_SMALLEST: Final = 1e-7
_SLACK: Final = 1e-3
"""Rounding leaves probabilities a little above 1, which count as 1: nobody is warned."""


class PrCurve:
    """A precision-recall curve; not public: writers make it.

    Args:
        labels: n truth values, bool or 0 and 1.
        predictions: n probabilities in [0, 1]; others are not counted, which is said once per key.
        thresholds: how many points the curve has, 1 to 127; more are cut.
        weights: n numbers, or what numpy spreads over the labels; None: 1.

    Raises:
        UsageError: of different sizes, or no numbers.
    """

    __slots__ = ("_arrays", "_thresholds", "remark")

    def __init__(self, labels: Any, predictions: Any, thresholds: int = MOST_THRESHOLDS, weights: Any = None) -> None:
        truth = as_array(labels, "PR curve, labels", may_be_empty=True)
        found = as_array(predictions, "PR curve, predictions", may_be_empty=True)
        if truth.size != found.size:
            raise UsageError(f"PR curve: {truth.size} labels for {found.size} predictions; there must be as many")
        self._thresholds = checked_thresholds(thresholds)
        self._arrays = {"labels": truth.reshape(-1), "predictions": found.reshape(-1)}
        self.remark = joined(_outside(found, "predictions"), _outside(truth, "labels"))
        """What is unusual about it."""
        if weights is not None:
            self._arrays["weights"] = _spread(as_array(weights, "PR curve, weights", may_be_empty=True), truth)

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        meta = {"ext": "json", "thresholds": self._thresholds}
        return capture("pr_curve", {"thresholds": self._thresholds}, self._arrays, meta, remark=self.remark)


def _outside(array: NDArray[Any], what: str) -> str:
    low, high, broken = extent(array)
    if not broken and low >= 0 and high <= 1 + _SLACK:
        return ""
    becomes = "those outside are not counted" if what == "predictions" else "they count by their value"
    return f"PR curve: {what} lie in [0, 1], these in [{low:g}, {high:g}]{' and NaN or inf' * broken}; {becomes}"


def _spread(weights: NDArray[Any], truth: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    if weights.size == 1:
        return weights.reshape(-1)
    if weights.size == truth.size:
        return weights.reshape(-1)
    try:
        return np.broadcast_to(weights, truth.shape).reshape(-1)
    except ValueError:
        raise UsageError(f"PR curve: {weights.size} weights; one, or one for each of {truth.size} labels") from None


def checked_thresholds(thresholds: Any) -> int:
    """The number of thresholds, cut to what is shown.

    Raises:
        UsageError: no whole number from 1 on.
    """
    if not hasattr(thresholds, "__index__") or int(thresholds) < 1:
        raise UsageError(f"PR curve: num_thresholds={thresholds!r}; a whole number from 1 on is needed")
    return min(int(thresholds), MOST_THRESHOLDS)


class Settled:
    """A value that its meta says whole; not public: writers make it.

    Args:
        kind: a media kind.
        meta: plain data.
        remark: what is changed so that it can be recorded.
    """

    __slots__ = ("_kind", "_meta", "remark")

    def __init__(self, kind: str, meta: Mapping[str, Any], remark: str = "") -> None:
        self._kind = kind
        self._meta = meta
        self.remark = remark

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        return Captured(self._kind, self._meta, remark=self.remark)


def given_curve(rows: Sequence[Any], thresholds: Any) -> Settled:
    """A curve whose six rows are known, in the order of `ROWS`.

    Raises:
        UsageError: rows of different lengths, or of none.
    """
    arrays = {
        name: as_array(row, f"PR curve, {name}", may_be_empty=True).reshape(-1)
        for name, row in zip(ROWS, rows, strict=True)
    }
    sizes = {len(array) for array in arrays.values()}
    if len(sizes) != 1:
        shown = ", ".join(f"{name}: {len(array)}" for name, array in arrays.items())
        raise UsageError(f"PR curve: its rows are of one length, not {shown}")
    curve = [[float(value) for value in array] for array in arrays.values()]
    # Here the number is only what the plugin gets: it does not count anything.
    asked = max(1, thresholds) if hasattr(thresholds, "__index__") else thresholds
    return Settled("pr_curve", {"curve": curve, "thresholds": checked_thresholds(asked)})


def counted(raw: Raw) -> dict[str, Any]:
    """The curve of captured labels and predictions: {"curve": six rows as of `ROWS`, "thresholds"}."""
    import numpy as np

    arrays = raw.arrays()
    count = int(raw.header["thresholds"])
    labels = arrays["labels"].astype(np.float64)
    weights: Any = arrays["weights"].astype(np.float64) if "weights" in arrays else 1.0
    found = arrays["predictions"]
    with np.errstate(all="ignore"):
        # As the writers that ours follow have it: in the precision given, and what lies outside is in no bin.
        bins = np.floor((found if found.dtype.kind == "f" else found.astype(np.float64)) * (count - 1))
        inside = (bins >= 0) & (bins < count)
        placed = bins[inside].astype(np.int64)
        hits = np.bincount(placed, (labels * weights)[inside], count)
        misses = np.bincount(placed, ((1.0 - labels) * weights)[inside], count)
        positives, false_positives = np.cumsum(hits[::-1])[::-1], np.cumsum(misses[::-1])[::-1]
        negatives, false_negatives = false_positives[0] - false_positives, positives[0] - positives
        precision = positives / np.maximum(_SMALLEST, positives + false_positives)
        recall = positives / np.maximum(_SMALLEST, positives + false_negatives)
    rows = (positives, false_positives, negatives, false_negatives, precision, recall)
    return {"curve": [row.tolist() for row in rows], "thresholds": count}


def encode(raw: Raw, path: Path) -> None:
    """Write the curve as JSON."""
    with open(path, "x", encoding="utf-8") as file:
        json.dump(counted(raw), file)


def from_raw(raw: Raw) -> dict[str, NDArray[Any]]:
    """The curve by the names of its rows."""
    return _named(counted(raw))


def from_file(path: Path) -> dict[str, NDArray[Any]]:
    """The same, from its file."""
    return _named(json.loads(path.read_bytes()))


def _named(found: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    import numpy as np

    return {name: np.array(row) for name, row in zip(ROWS, found["curve"], strict=True)}
