"""Where records go; and the words for those who write a destination."""

from __future__ import annotations

from steno.destinations.base import Destination
from steno.errors import Retry, Skip, Stop
from steno.record import Batch, Entry, Record, Ref, RunInfo

__all__ = ["Batch", "Destination", "Entry", "Record", "Ref", "Retry", "RunInfo", "Skip", "Stop"]

for _name in __all__:
    # A repr names what the user can import, not the file it lives in.
    globals()[_name].__module__ = __name__
