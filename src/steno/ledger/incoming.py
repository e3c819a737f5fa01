"""What a posting is made of besides slices: whose segment a slice comes from, and the collector's own entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steno.journal.format import SegmentIdentity


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """Whose segment a slice comes from."""

    stream: str
    segment: int
    pid: int
    host: str = ""
    boot: str = ""
    rank: int = 0
    attempt: int = 1
    primary: bool = True
    started: int = 0

    @classmethod
    def of(cls, identity: SegmentIdentity) -> StreamInfo:
        """From the identity that the segment carries."""
        return cls(
            stream=identity.stream,
            segment=identity.number,
            pid=identity.pid,
            host=identity.host,
            boot=identity.boot,
            rank=identity.rank,
            attempt=identity.attempt,
            primary=identity.primary,
            started=identity.wall,
        )


@dataclass(frozen=True, slots=True)
class Own:
    """An entry that is the collector's, not a process's."""

    kind: str
    payload: Mapping[str, Any]
    step: int | None = None
    rank: int = 0
    attempt: int = 0
    """0: the latest."""
