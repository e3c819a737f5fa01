"""Composer's words: the events of a training loop, its state, and the classes that are called with them."""

from __future__ import annotations

from steno.events.callback import Callback
from steno.events.destination import LoggerDestination
from steno.events.event import Event
from steno.events.level import LogLevel
from steno.events.logger import EventLogger
from steno.events.state import State
from steno.events.time import Time
from steno.events.timestamp import Timestamp

__all__ = ["Callback", "Event", "EventLogger", "LogLevel", "LoggerDestination", "State", "Time", "Timestamp"]

for _name in __all__:
    # A repr names what the user can import, not the file it lives in.
    globals()[_name].__module__ = __name__
