"""What the collector itself measures, as a slice that no journal holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from steno.journal.decode import KeySet, Slice

if TYPE_CHECKING:
    from collections.abc import Mapping

STREAM = "system"
"""Stands for the journal that samples do not have."""
_APART = {"per": "stream"}
"""Samples move a counter of their own, never that of the run's automatic steps."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Measured at one moment."""

    mono: int
    """Monotonic nanoseconds."""
    wall: int
    """Nanoseconds since 1970."""
    rank: int
    values: Mapping[str, float]

    def as_slice(self, step: int) -> Slice:
        """One record of this step."""
        none = np.zeros(1, np.int64)
        return Slice(
            start=0,
            end=0,
            lost_bytes=0,
            mono=np.array([self.mono], np.int64),
            wall=np.array([self.wall], np.int64),
            seq=none,
            step=np.array([step], np.int64),
            auto=np.zeros(1, np.bool_),
            set=np.zeros(1, np.int32),
            sets=[KeySet(tuple(self.values), dict(_APART))],
            value=np.array(list(self.values.values()), np.float64),
        )
