"""Moments as text for programs."""

from __future__ import annotations

import datetime as dt


def iso(nanos: int) -> str:
    """Nanoseconds since 1970 as ISO 8601 in UTC, with all nine digits."""
    seconds, rest = divmod(int(nanos), 1_000_000_000)
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
