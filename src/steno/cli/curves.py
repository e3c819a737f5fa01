"""A run's curves in the terminal: which keys, and a chart for each."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from steno.cli import about, chart, terminal
from steno.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steno.store.reader import RunReader
    from steno.store.series import Series

CHARTS = 4
"""Charts drawn when no key is asked for."""


def choose(keys: list[str], patterns: list[str] | None) -> list[str]:
    """The keys that a pattern names, in the order of the patterns; all where there is none."""
    if not patterns:
        return list(keys)
    chosen: list[str] = []
    for pattern in patterns:
        hits = [key for key in keys if key == pattern] or fnmatch.filter(keys, pattern)
        if not hits:
            raise UsageError(f"no key matches {pattern!r}; the run has {_few(keys)}")
        chosen += [key for key in hits if key not in chosen]
    return chosen


def interesting(keys: list[str], summary: Mapping[str, Any], most: int = CHARTS) -> list[str]:
    """Which keys to draw unasked: those with numbers, losses and accuracies before the rest."""

    def place(key: str) -> int:
        return next((index for index, word in enumerate(("loss", "acc", "reward", "grad")) if word in key.lower()), 9)

    media = set(about.media_keys(summary))
    return sorted((key for key in keys if key not in media), key=place)[:most]


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "") if keys else "no keys yet"


def chart_of(reader: RunReader, key: str, *, ranks: list[int] | None, points: int, height: int = 16) -> str:
    """One key's chart, a line per rank; of a key without numbers, what its values are and where."""
    found = by_rank(reader, key, ranks, points)
    odd = {id(series): unnumbered(series) for _, series in found}
    if any(odd.values()) and all(odd[id(series)] == len(series.value) for _, series in found):
        return about.described(reader, key, [series for _, series in found])
    lines = [chart.ChartLine(f"rank {rank}", series.step, series.value, odd[id(series)]) for rank, series in found]
    return chart.draw(key, lines, height=height, color=terminal.in_color())


def unnumbered(series: Series) -> int:
    """How many of the values are texts or media."""
    return sum(not isinstance(value, int) for value in series.special.values())


def by_rank(reader: RunReader, key: str, ranks: list[int] | None, points: int) -> list[tuple[int, Series]]:
    """(rank, its points) of these ranks, or of all. Raises UsageError for a rank that the run does not have."""
    known = list(reader.info.ranks) or [0]
    wanted = ranks if ranks is not None else known
    unknown = [rank for rank in wanted if rank not in known]
    if unknown:
        raise UsageError(f"the run has no rank {unknown[0]}; it has {', '.join(map(str, known))}")
    return [(rank, reader.series(key, rank=rank, points=points)) for rank in wanted]
