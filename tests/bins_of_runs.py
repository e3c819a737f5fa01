"""The bins of a run beside those that its exact series gives."""

from __future__ import annotations

import numpy as np

import steno
from steno.ledger import bins as bins_
from steno.ledger.bins import BinInput, Bins
from steno.record import Ref
from steno.store import attempts, binned
from steno.store.binfiles import Level, points_of


def exact_bins(series: steno.Series, width: int) -> Bins:
    """The bins of a series that was read point by point."""
    other, exact = np.zeros(len(series), bool), np.zeros(len(series), bool)
    for row, value in series.special.items():
        (other if isinstance(value, str | Ref) else exact)[row] = True
    return bins_.of_points(
        BinInput(
            0, series.rank, series.attempt, series.step, series.time.astype(np.int64), series.node, series.record,
            series.value, other, exact,
        ),
        width,
    )  # fmt: skip


def parted(reader: steno.RunReader, key: str, level: Level, **chosen) -> tuple[Bins, Bins, int]:
    """The bins of a run's key at one width, those that its points have, and how many points had none in a file."""
    view = reader._own.view()
    picked = {"attempt": "latest", "rank": None, "steps": None, **chosen}
    choice = attempts.choose(reader._own.attempts(), picked["attempt"], picked["rank"], picked["steps"])
    bins, rows = binned.read(reader._own.engine, reader.dir, view, [key], choice, level)
    width = max([64, *bins.width.tolist()])
    found = bins_.unite(bins_.concat([bins, bins_.of_points(points_of(rows), width)]), width)
    return found, exact_bins(reader.series(key, **chosen), width), len(rows)


def same(found: Bins, exact: Bins) -> None:
    for name in ("rank", "attempt", "start", "count", "nan", "posinf", "neginf", "other", "exact"):
        assert getattr(found, name).tolist() == getattr(exact, name).tolist(), name
    for name in bins_.MARKED:
        for column in ("step", "time", "node", "record", "value"):
            mine, theirs = getattr(getattr(found, name), column), getattr(getattr(exact, name), column)
            np.testing.assert_array_equal(mine, theirs, f"{name}.{column}")
            assert np.array_equal(np.signbit(mine), np.signbit(theirs)) or np.isnan(mine).any()
    size = np.maximum(np.abs(exact.min.value), np.abs(exact.max.value))
    some = exact.finite > 0
    assert (np.abs(found.mean - exact.mean)[some] <= 1e-12 * size[some]).all()
    plain = some & (size < 1e150)
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.abs(np.sqrt(found.m2 / found.finite) - np.sqrt(exact.m2 / exact.finite))
    assert (apart[plain] <= 1e-12 * size[plain]).all()
