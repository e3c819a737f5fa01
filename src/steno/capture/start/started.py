"""A run that has been started, as this process records into it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from steno.errors import ClosedError
from steno.events.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from steno.capture.inprocess.feed import Feed
    from steno.capture.nothing import Nothing
    from steno.capture.output.capture import Capture
    from steno.capture.recorder import Recorder
    from steno.capture.start.watchdog import Watchdog
    from steno.settings import Settings

_MADE_SECS: Final = 5.0


@dataclass(slots=True)
class StartedRun:
    """A run as this process records into it: identity, recorder, feeds, watchdog."""

    dir: Path
    id: str
    name: str
    project: str
    rank: int
    attempt: int
    config: dict[str, Any]
    recorder: Recorder | Nothing
    watchdog: Watchdog
    settings: Settings
    strict: bool = False
    primary: bool = True
    feeds: list[Feed] = field(default_factory=list)
    run: Any = None
    """The run as the user holds it, which is made last."""
    position: Position = field(default_factory=Position)
    """Where the loop stands by the events of this process."""
    output: Capture | None = None
    discard: Callable[[], bool] | None = None
    """Ends a run into which nothing was recorded without a trace; False: something was."""
    _exported: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    def made(self) -> Any:
        """The user's run; a destination's thread may be ahead of `init`, and waits for it a moment."""
        deadline = time.monotonic() + _MADE_SECS
        while self.run is None:
            if time.monotonic() >= deadline:
                msg = "the run did not come about"
                raise ClosedError(msg)
            time.sleep(0.001)
        return self.run

    def export(self, values: Mapping[str, str]) -> None:
        """Set environment variables for children until `restore`."""
        for name, value in values.items():
            self._exported[name] = (value, os.environ.get(name))
            os.environ[name] = value

    def restore(self) -> None:
        """Put the environment back, where nobody has changed it since."""
        for name, (ours, before) in self._exported.items():
            if os.environ.get(name) == ours:
                if before is None:
                    del os.environ[name]
                else:
                    os.environ[name] = before
        self._exported.clear()

    def stop_observing(self) -> None:
        """What is printed from now on is not recorded."""
        if self.output is not None:
            self.output.close()

    def abandon(self) -> None:
        """In a forked child: feeds and collector are the parent's."""
        self.feeds = []
        self.primary = False
        self.watchdog.abandon()
