"""How often something is logged."""

from __future__ import annotations

from enum import IntEnum


class LogLevel(IntEnum):
    """Once in a training, once in an epoch, or once in a batch: FIT < EPOCH < BATCH.

    `LogLevel(2)`, `LogLevel("epoch")` in any case and `LogLevel(LogLevel.EPOCH)` are the same member.

    Raises:
        ValueError: anything else.
    """

    FIT = 1
    EPOCH = 2
    BATCH = 3

    @classmethod
    def _missing_(cls, value: object) -> LogLevel:
        if isinstance(value, str) and value.upper() in cls.__members__:
            return cls[value.upper()]
        shown = repr(value)[:80]
        members = ", ".join(f"{name} ({member.value})" for name, member in cls.__members__.items())
        msg = f"{shown} is no level: use {members}, as steno.LogLevel, number or name"
        raise ValueError(msg)
