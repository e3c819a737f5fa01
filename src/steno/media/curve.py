"""Precision-recall curves: labels and predictions at the call, the curve in the collector; and settled values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.media.arrays import as_array, extent
from steno.media.raw import Captured, Raw, capture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

ROWS: Final = ("true_positives", "false_positives", "true_negatives", "false_negatives", "precision", "recall")
MOST_THRESHOLDS: Final = 127
"""What TensorBoard's plugin shows; the writers that ours follow cut there too."""
_SMALLEST: Final = 1e-7


class PrCurve:
    """A precision-recall curve; not public: writers make it.

    Args:
        labels: n truth values, bool or 0 and 1.
        predictions: n probabilities in [0, 1].
        thresholds: how many points the curve has, 2 to 127; more are cut.
        weights: n not negative numbers, or one for all; None: 1.

    Raises:
        UsageError: empty, of different sizes, or out of range.
    """

    __slots__ = ("_arrays", "_thresholds")

    def __init__(self, labels: Any, predictions: Any, thresholds: int = MOST_THRESHOLDS, weights: Any = None) -> None:
        truth = as_array(labels, "PR curve, labels").reshape(-1)
        found = as_array(predictions, "PR curve, predictions").reshape(-1)
        if len(truth) != len(found):
            raise UsageError(f"PR curve: {len(truth)} labels for {len(found)} predictions; there must be as many")
        low, high = extent(found, "PR curve, predictions")
        if low < 0 or high > 1:
            raise UsageError(f"PR curve: predictions lie in [0, 1], these in [{low:g}, {high:g}]")
        low, high = extent(truth, "PR curve, labels")
        if low < 0 or high > 1:
            raise UsageError(f"PR curve: labels are 0 or 1, these lie in [{low:g}, {high:g}]")
        self._thresholds = checked_thresholds(thresholds)
        self._arrays = {"labels": truth, "predictions": found}
        if weights is not None:
            scale = as_array(weights, "PR curve, weights").reshape(-1)
            if len(scale) not in {1, len(found)} or extent(scale, "PR curve, weights")[0] < 0:
                raise UsageError(f"PR curve: {len(scale)} weights; one, or one not negative for each of {len(found)}")
            self._arrays["weights"] = scale

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        meta = {"ext": "json", "thresholds": self._thresholds}
        return capture("pr_curve", {"thresholds": self._thresholds}, self._arrays, meta)


def checked_thresholds(thresholds: Any) -> int:
    """The number of thresholds, cut to what is shown.

    Raises:
        UsageError: no whole number from 2 on.
    """
    if isinstance(thresholds, bool) or not hasattr(thresholds, "__index__") or int(thresholds) < 2:
        raise UsageError(f"PR curve: num_thresholds={thresholds!r}; a whole number from 2 on is needed")
    return min(int(thresholds), MOST_THRESHOLDS)


class Settled:
    """A value that its meta says whole; not public: writers make it.

    Args:
        kind: a media kind.
        meta: plain data.
    """

    __slots__ = ("_kind", "_meta")

    def __init__(self, kind: str, meta: Mapping[str, Any]) -> None:
        self._kind = kind
        self._meta = meta

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        return Captured(self._kind, self._meta)


def given_curve(rows: Sequence[Any], thresholds: Any) -> Settled:
    """A curve whose six rows are known, in the order of `ROWS`.

    Raises:
        UsageError: rows of different lengths, or of none.
    """
    arrays = {name: as_array(row, f"PR curve, {name}").reshape(-1) for name, row in zip(ROWS, rows, strict=True)}
    sizes = {len(array) for array in arrays.values()}
    if len(sizes) != 1:
        shown = ", ".join(f"{name}: {len(array)}" for name, array in arrays.items())
        raise UsageError(f"PR curve: its rows are of one length, not {shown}")
    for name, array in arrays.items():
        extent(array, f"PR curve, {name}")
    curve = [[float(value) for value in array] for array in arrays.values()]
    return Settled("pr_curve", {"curve": curve, "thresholds": checked_thresholds(thresholds)})


def counted(raw: Raw) -> dict[str, Any]:
    """The curve of captured labels and predictions: {"curve": six rows as of `ROWS`, "thresholds"}."""
    import numpy as np

    arrays = raw.arrays()
    count = int(raw.header["thresholds"])
    labels = arrays["labels"].astype(np.float64)
    weights: Any = arrays["weights"].astype(np.float64) if "weights" in arrays else 1.0
    bins = np.floor(arrays["predictions"].astype(np.float64) * (count - 1)).astype(np.int64)
    hits = np.bincount(bins, labels * weights, count)
    misses = np.bincount(bins, (1.0 - labels) * weights, count)
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
