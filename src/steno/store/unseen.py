"""Whether anybody saw how a crashed run ended, or its writers are only not there any more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from steno.errors import StenoError
from steno.ledger.read import Reader

if TYPE_CHECKING:
    from pathlib import Path


def ended_so(run_dir: Path) -> bool:
    """Whether the ledgers of a crashed run still call its writers alive: no collector was there to see their end."""
    try:
        if not os.listdir(run_dir / ".steno" / "journal"):
            return False
        known = Reader(run_dir).snapshot(batches=False).streams
    except (OSError, StenoError):
        return False  # it has ended, and its machinery is put away
    latest = max((one.attempt for one in known), default=0)
    states = {one.state for one in known if one.attempt == latest and one.primary}
    return bool(states & {"live", "adopted"}) and not states & {"dead", "lost", "failed"}
