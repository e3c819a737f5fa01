"""The recorders of this process, and what a fork does to them."""

from __future__ import annotations

import os
import time
import weakref
from typing import Any, Final

RECORDERS: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
"""Each `Recorder` that is open."""
_PAUSE_SECS: Final = 0.05
"""What a fork waits at most for the keepers."""


def _forking() -> None:
    deadline = time.monotonic() + _PAUSE_SECS
    for recorder in list(RECORDERS):
        recorder.pause(deadline)
    for recorder in list(RECORDERS):
        recorder.appender.before_fork()


def _has_forked() -> None:
    for recorder in list(RECORDERS):
        recorder.appender.after_fork_in_parent()


def _forked() -> None:
    for recorder in list(RECORDERS):
        recorder.forked()


os.register_at_fork(before=_forking, after_in_parent=_has_forked, after_in_child=_forked)
