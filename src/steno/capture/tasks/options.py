"""The settings of async_log that `init` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from steno.errors import UsageError

POLICIES: Final = ("raise", "wait", "drop")


@dataclass(frozen=True, slots=True)
class Options:
    """How many tasks run and wait.

    Raises:
        UsageError: a bad number or policy.
    """

    workers: int = 4
    """Threads of mode "threading"."""
    processes: int = 2
    """Children of mode "spawn", and of "fork" at work at one time."""
    queue: int = 10_000
    """Tasks that may be pending in each mode."""
    full: str = "raise"
    """What becomes of a task beyond them: "raise" (an error in its Future), "wait" or "drop"."""

    def __post_init__(self) -> None:
        for name in ("workers", "processes", "queue"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise UsageError(f"async_{name}={number!r}: a number from 1 on is needed")
        if self.full not in POLICIES:
            raise UsageError(f"async_full={self.full!r} is not known: use {', '.join(map(repr, POLICIES))}")
