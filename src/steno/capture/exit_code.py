"""The code that a program leaves with by `sys.exit` or `exit`, which no hook of the interpreter gets."""

from __future__ import annotations

import sys
import threading
from _sitebuiltins import Quitter
from dis import get_instructions, opname
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_FILLING: Final = frozenset({"CACHE", "PRECALL", "PUSH_NULL", "NOP", "RESUME"})


class ExitCode:
    """Stands in the place of `sys.exit` and keeps what the main thread leaves with. One per process.

    Whoever catches SystemExit goes on, so that a code counts only when the main program has not run to its own end:
    its outermost frame stands behind a `return` then. Of `raise SystemExit(…)` by hand nothing is left when the hooks
    run: it is seen where it stands in the main program itself with a code in letters, as in `raise SystemExit(1)`.
    """

    def __init__(self) -> None:
        self._before: Any = None
        self._quits: Any = None
        self._code: Any = None
        self._main: FrameType | None = None

    def install(self) -> None:
        """Be called by whoever looks `sys.exit` up from now on."""
        if sys.exit != self._exit:
            self._before, sys.exit = sys.exit, self._exit
            self._quits, Quitter.__call__ = Quitter.__call__, _quitting(self._keep, Quitter.__call__)  # type: ignore[method-assign]
            self._code = None
            self._main = _outermost()

    def uninstall(self) -> None:
        """Put back what was there, if that is possible."""
        if sys.exit == self._exit:
            sys.exit = self._before
            Quitter.__call__ = self._quits  # type: ignore[method-assign]
            self._main = None

    def failure(self) -> tuple[str, str] | None:
        """(what happened in one line, no traceback) when the program has left by a code that is not 0."""
        code = _raised(self._main) if self._code is None else self._code
        if code is None or code == 0 or _has_returned(self._main):
            return None
        return f"SystemExit: {code}"[:2000], ""

    def forked(self) -> None:
        """In a forked child: what the parent was about to leave with is not the child's."""
        self._code = None

    def _keep(self, status: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            self._code = status

    def _exit(self, status: Any = None, /) -> NoReturn:
        self._keep(status)
        self._before(status)
        raise SystemExit(status)


def _quitting(keep: Callable[[Any], None], quits: Callable[..., Any]) -> Callable[..., Any]:
    """What `exit` and `quit` do, which are objects of one class."""

    def call(self: Any, code: Any = None) -> NoReturn:
        keep(code)
        quits(self, code)
        raise SystemExit(code)

    return call


def _raised(frame: FrameType | None) -> Any:
    """The constant of a `raise SystemExit(1)` at which a frame has ended; None where it has ended otherwise."""
    if frame is None:
        return None
    before = [
        one for one in get_instructions(frame.f_code) if one.offset <= frame.f_lasti and one.opname not in _FILLING
    ]
    if len(before) < 4:
        return None
    name, constant, call, raised = before[-4:]
    if (raised.opname, call.opname, name.argval) != ("RAISE_VARARGS", "CALL", "SystemExit"):
        return None
    return constant.argval if constant.opname in {"LOAD_CONST", "LOAD_SMALL_INT"} else None


def _outermost() -> FrameType | None:
    """The frame of the main program."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - the one way
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _has_returned(frame: FrameType | None) -> bool:
    """Whether a frame that runs no more has run to its end; False where that is not known."""
    if frame is None or not 0 <= frame.f_lasti < len(frame.f_code.co_code):
        return False
    return opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN_")
