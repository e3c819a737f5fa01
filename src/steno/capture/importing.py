"""Before a fork, imports that other threads are in the middle of end: the child would wait for theirs for ever."""

from __future__ import annotations

import importlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LIMIT_SECS: Final = 5.0
"""An import that takes longer is left alone: it may itself wait for the thread that forks."""
_LOOK_SECS: Final = 0.001
_locks: Final[Mapping[str, Callable[[], Any]]] = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
"""Python's lock of each module that is being imported. It does not renew them in a child, as it does its other ones."""


def _is_under_way() -> bool:
    me = threading.get_ident()
    return any(getattr(known(), "owner", None) not in {None, me} for known in list(_locks.values()))


def _wait_for_imports() -> None:
    if _is_under_way():
        deadline = time.monotonic() + _LIMIT_SECS
        while _is_under_way() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECS)


# Hooks run backwards: registered before the others of this package, this one is the last before the fork.
os.register_at_fork(before=_wait_for_imports)
