"""How a child of multiprocessing ends, which no public hook tells in all versions of Python.

Up to 3.12 its finalizers run while the exception that ends it is on its way. From 3.13 on they run after the
exception was printed. `threading._shutdown` is called before that, by the frame that knows the exit status.
"""

from __future__ import annotations

import sys
import threading
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

from steno.capture.lifecycle import how

if TYPE_CHECKING:
    from collections.abc import Callable

_status: int | None = None


def at_end(call: Callable[[], None]) -> None:
    """Have this child call it at its end: it leaves without atexit up to Python 3.12."""
    Finalize(None, call, exitpriority=0)
    if sys.version_info >= (3, 13):
        threading._register_atexit(_look)  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public is called so early


def failure() -> tuple[str, str] | None:
    """(what ends this child in one line, its traceback where it is known), asked while it ends; None: it ends well."""
    error = sys.exc_info()[1]
    if error is not None:
        return how(error)[1]
    return (f"exit status {_status}", "") if _status else None


def _look() -> None:
    global _status
    frame = sys._getframe()  # noqa: SLF001 - as `inspect` does
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "_bootstrap" and "exitcode" in frame.f_locals:
            _status = frame.f_locals["exitcode"]
