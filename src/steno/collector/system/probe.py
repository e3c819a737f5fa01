"""A source of the machine's own metrics, and what it measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    Measured = tuple[int | None, dict[str, float]]
    """(the rank whose processes it is about, None for the machine; values by key)."""


class Probe(Protocol):
    """A source of measurements, used by one thread."""

    name: str

    def open(self) -> bool:
        """Begin; False when there is nothing to measure here."""

    def sample(self, passed_secs: float, processes: Mapping[int, frozenset[int]]) -> list[Measured]:
        """Measure now."""

    def close(self) -> None:
        """End."""
