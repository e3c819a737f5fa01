"""How far a destination has got, and its health in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class DeliveryProgress:
    """What is saved with the cursor, but for `errors`."""

    batch: int = 0
    record: int = 0
    """Number of the last record delivered or given up."""
    position: Mapping[str, Any] | None = None
    delivered: int = 0
    skipped: int = 0
    retries: int = 0
    errors: int = 0
    """How often it raised since it was started; a call that is not tried again counts here alone."""


def describe(
    state: str,
    error: str | None,
    progress: DeliveryProgress,
    newest: tuple[int, int],
    left_out: Mapping[str, int] | None = None,
    *,
    flushed: tuple[int, int],
) -> dict[str, Any]:
    """A destination's health, by the same names for each kind.

    `delivered` is the number of the last record that its readers see, by the last flush (batch, record); `lag` how
    many records there are behind that; `count` how many it has taken; `batch`, `record` and `position` its cursor.
    """
    batch, record = newest
    delivered = record if flushed[0] >= batch else flushed[1]
    return {
        "state": state,
        "delivered": delivered,
        "lag": max(record - delivered, 0),
        "batch": progress.batch,
        "record": progress.record,
        "count": progress.delivered,
        "skipped": progress.skipped,
        "retries": progress.retries,
        "errors": progress.errors,
        "error": error,
        "position": progress.position,
        **({"left_out": dict(left_out)} if left_out else {}),
    }
