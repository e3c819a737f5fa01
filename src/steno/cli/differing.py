"""What differs between the configurations of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DEEPEST: Final = 50
MISSING: Final = object()
"""What a run does not have."""


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested names joined by dots, at most `DEEPEST` levels; what is deeper is one value."""
    for name, value in values.items():
        if isinstance(value, dict) and value and prefix.count(".") < DEEPEST:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def differing(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """By name, each run's value or MISSING, of the names that are not the same in all, in the order of first sight.

    True is not 1 here, and NaN is NaN.
    """
    flats = [dict(flat(config)) for config in configs]
    names = dict.fromkeys(name for one in flats for name in one)
    rows = {name: [one.get(name, MISSING) for one in flats] for name in names}
    return {name: row for name, row in rows.items() if any(not _same(row[0], value) for value in row[1:])}


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)
