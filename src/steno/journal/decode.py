"""Frames to columns: what a tailer returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steno.record import Ref


class Hole:
    """The one value of `HOLE`: a device value that is not there yet."""

    def __repr__(self) -> str:
        return "HOLE"


HOLE: Final = Hole()


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys in order, and options that hold for every record with this set."""

    keys: tuple[str, ...]
    options: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RawEntry:
    """A record that is not a point, as journalled."""

    mono: int
    wall: int
    seq: int
    kind: str
    payload: dict[str, Any]
    step: int | None


@dataclass(frozen=True, slots=True)
class RawFill:
    """Late values of the record with this sequence number."""

    seq: int
    values: dict[str, float | int | str | Ref]
    logged: dict[str, Any] | None = None
    """The values as they were logged, where the reader asked for that."""
    stream: str = ""
    """The journal that has the record, if it is not this one: its process has left that."""


@dataclass(slots=True)
class Slice:
    """Frames `start:end` of one segment as columns: `n` records, `p` points; see docs/design.md."""

    start: int
    end: int
    lost_bytes: int
    mono: NDArray[np.int64]
    wall: NDArray[np.int64]
    seq: NDArray[np.int64]
    step: NDArray[np.int64]
    auto: NDArray[np.bool_]
    set: NDArray[np.int32]
    sets: list[KeySet]
    value: NDArray[np.float64]
    special: dict[int, int | str | Ref | Hole] = field(default_factory=dict)
    meta: dict[int, dict[str, Any]] = field(default_factory=dict)
    entries: list[RawEntry] = field(default_factory=list)
    fills: list[RawFill] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """key → reason, for values the journal took and no column can hold."""
    refused_times: dict[str, int] = field(default_factory=dict)
    """key → in how many records."""
