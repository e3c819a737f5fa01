"""The code that a program leaves with by `sys.exit`, which no hook of the interpreter is told."""

from __future__ import annotations

import sys
import threading
from dis import opname
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from types import FrameType


class ExitCode:
    """Stands in the place of `sys.exit` and keeps what the main thread leaves with. One per process.

    Whoever catches SystemExit goes on, so that a code counts only when the main program has not run to its own end:
    its outermost frame stands behind a `return` then. `raise SystemExit(1)` by hand is not seen.
    """

    def __init__(self) -> None:
        self._before: Any = None
        self._code: Any = None
        self._main: FrameType | None = None

    def install(self) -> None:
        """Be called by whoever looks `sys.exit` up from now on."""
        if sys.exit != self._exit:
            self._before, sys.exit = sys.exit, self._exit
            self._code = None
            self._main = _outermost()

    def uninstall(self) -> None:
        """Put back what was there, if that is possible."""
        if sys.exit == self._exit:
            sys.exit = self._before
            self._main = None

    def failure(self) -> tuple[str, str] | None:
        """(what happened in one line, no traceback) when the program has left by a code that is not 0."""
        code = self._code
        if code is None or code == 0 or _has_returned(self._main):
            return None
        return f"SystemExit: {code}"[:2000], ""

    def forked(self) -> None:
        """In a forked child: what the parent was about to leave with is not the child's."""
        self._code = None

    def _exit(self, status: Any = None, /) -> NoReturn:
        if threading.current_thread() is threading.main_thread():
            self._code = status
        self._before(status)
        raise SystemExit(status)


def _outermost() -> FrameType | None:
    """The frame of the main program."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - the one way
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _has_returned(frame: FrameType | None) -> bool:
    """Whether a frame that runs no more has run to its end; False where that cannot be told."""
    if frame is None or not 0 <= frame.f_lasti < len(frame.f_code.co_code):
        return False
    return opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN_")
