"""A follower: the courier of a destination that was asked for by name, whose batches come from the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.collector import catalogue
from steno.delivery.courier import Courier
from steno.destinations import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from steno.delivery.progress import DeliveryProgress
    from steno.destinations.asked import WantedDestination
    from steno.record import Batch

Follower = Courier


def follow(
    wanted: WantedDestination,
    run_dir: Path,
    node: int,
    config: Mapping[str, Any],
    *,
    fetch: Callable[[int], Batch | None],
    newest: Callable[[], tuple[int, int]],
    save: Callable[[DeliveryProgress], None],
    progress: DeliveryProgress,
    say: Callable[[str, str], None],
) -> Follower:
    """A follower in this process, not started yet. See `Courier`; `fetch` is asked only for what is there."""
    return Follower(
        wanted.name,
        lambda: registry.create(wanted.name, dict(wanted.options)),
        catalogue.run_info(run_dir, node, config, wanted.options),
        fetch=lambda number: fetch(number) if number <= newest()[0] else None,
        newest=newest,
        save=save,
        progress=progress,
        say=say,
    )
