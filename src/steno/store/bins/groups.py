"""Groups of runs: what their runs share, and the mean of the runs' means in each bin."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno.errors import StenoError, UsageError
from steno.store import where
from steno.store.cards import summarise

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from steno.store.bins.engine import RunToRead
    from steno.store.run_summary import RunSummary

_FIELDS: Final = ("group", "state", "project", "name", "id", "notes", "tags")


def names_of(group: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """The names that `group=` gives; None: no groups are wanted; empty: one of all runs.

    Raises:
        UsageError: one is no name of a run's configuration, nor another fact of it.
    """
    if group is None:
        return None
    given = [group] if isinstance(group, str) else list(group)
    if not all(isinstance(one, str) for one in given):
        raise UsageError(f"group={group!r}: names such as config.lr are needed")
    names = tuple(dict.fromkeys(map(where.name_of, given)))
    for name in names:
        head, _, rest = name.partition(".")
        if name not in _FIELDS and not (head in {"config", "summary"} and rest):
            near = difflib.get_close_matches(name, _FIELDS, n=1, cutoff=0.7)
            hint = f"did you mean {near[0]!r}" if near else f"did you mean 'config.{name}'"
            raise UsageError(
                f"group={name!r}: {hint}? Groups are by config.NAME, summary.NAME, or {', '.join(_FIELDS)}"
            )
    return names


_LARGE: Final = 1e150
"""Whose square is still a number."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which group each run is in."""

    values: tuple[tuple[Any, ...], ...]
    """By group, what its runs share, in the order of the names; None where a run has nothing of the name."""
    of: tuple[int, ...]
    """By run its group; -1: what it has cannot be read."""


def grouping(names: Sequence[str], runs: Sequence[RunToRead]) -> Grouping:
    """The groups of the runs, in the order in which they are first met."""
    known: dict[Hashable, int] = {}
    values: list[tuple[Any, ...]] = []
    of: list[int] = []
    for run in runs:
        try:
            summary = run.summary or summarise(run.dir)
            found = tuple(_value(summary, name) for name in names)
        except (StenoError, OSError):
            of.append(-1)
            continue
        number = known.setdefault(_same(found), len(values))
        if number == len(values):
            values.append(found)
        of.append(number)
    return Grouping(tuple(values), tuple(of))


def _value(summary: RunSummary, name: str) -> Any:
    found = summary.value(name)
    return None if found is where.MISSING else found


def _same(value: Any) -> Hashable:
    """Equal for values that the language `where` calls equal, and for two NaNs; 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, float) and math.isnan(value):
        return ("nan",)
    if isinstance(value, int | float):
        return ("number", value)
    if isinstance(value, list | tuple):
        return ("list", tuple(map(_same, value)))
    if hasattr(value, "items"):
        return ("dict", tuple(sorted((str(key), _same(one)) for key, one in value.items())))
    return (type(value).__name__, str(value))


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """The mean of each run in each bin; arrays of shape (n,)."""

    group: NDArray[np.int64]
    key: NDArray[np.int64]
    index: NDArray[np.int64]
    """Number of the bin."""
    run: NDArray[np.int64]
    count: NDArray[np.int64]
    """Finite points."""
    mean: NDArray[np.float64]
    smooth: NDArray[np.float64]
    """Smoothed value at the last place in the bin; NaN without."""


def per_run(means: Means) -> Means:
    """One row per run, key and bin, out of those of its ranks; in order of group, key, bin and run."""
    import numpy as np

    order = np.lexsort((means.run, means.index, means.key, means.group))
    columns = tuple(column[order] for column in (means.group, means.key, means.index, means.run))
    count, mean, smooth = means.count[order], means.mean[order], means.smooth[order]
    heads = heads_of(columns)
    if len(heads) == len(order):
        return Means(columns[0], columns[1], columns[2], columns[3], count, mean, smooth)
    total = np.add.reduceat(count, heads)
    sizes = np.diff(heads, append=len(order))
    # About the first rank's mean, so that equal values give exactly that.
    base = mean[heads]
    united = base + np.add.reduceat(count * (mean - np.repeat(base, sizes)), heads) / total
    there = ~np.isnan(smooth)
    with np.errstate(invalid="ignore", divide="ignore"):
        line = np.add.reduceat(np.where(there, count * smooth, 0.0), heads) / np.add.reduceat(
            np.where(there, count, 0), heads
        )
    group, key, index, run = (column[heads] for column in columns)
    return Means(group, key, index, run, total, united, line)


def heads_of(columns: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Where rows that are equal in all columns begin."""
    import numpy as np

    if not len(columns[0]):
        return np.empty(0, np.int64)
    new = np.ones(len(columns[0]), bool)
    new[1:] = False
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


def across(means: Means) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Of `per_run` rows: where each group's key's bin begins, and n, mean, std, stderr, min, max and smooth there."""
    import numpy as np

    heads = heads_of((means.group, means.key, means.index))
    n = np.diff(heads, append=len(means.mean))
    if not len(heads):
        empty = np.empty(0)
        return heads, {"n": n, **dict.fromkeys(("mean", "std", "stderr", "min", "max", "smooth"), empty)}
    least, most = np.minimum.reduceat(means.mean, heads), np.maximum.reduceat(means.mean, heads)
    # Sums and squares of values near 1e308 are too large; a power of two as their unit costs no digit.
    largest = np.maximum(-least, most)
    unit = np.where(largest > _LARGE, np.ldexp(1.0, np.frexp(largest)[1] - 1), 1.0)
    given = means.mean / np.repeat(unit, n)
    base = given[heads]
    mean = base + np.add.reduceat(given - np.repeat(base, n), heads) / n
    away = given - np.repeat(mean, n)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        squares = np.add.reduceat(away * away, heads) - np.add.reduceat(away, heads) ** 2 / n
        std = np.where(n > 1, np.sqrt(np.maximum(squares, 0.0) / (n - 1)), np.nan) * unit
        there = ~np.isnan(means.smooth)
        smooth = np.add.reduceat(np.where(there, means.smooth, 0.0), heads) / np.add.reduceat(there.astype(int), heads)
    return heads, {
        "n": n,
        "mean": mean * unit,
        "std": std,
        "stderr": std / np.sqrt(n),
        "min": least,
        "max": most,
        "smooth": smooth,
    }
