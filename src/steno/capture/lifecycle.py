"""How a process ends: atexit, an uncaught exception, `sys.exit`, SIGTERM."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import traceback as traces  # early: an import at the end, as it evaluates text, makes the interpreter forget Ctrl-C
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from steno.capture.exit_code import ExitCode
from steno.secrecy import scrub

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_TRACEBACK_CHARS: Final = 64 << 10


class Hooks:
    """The process's ends, reported to one owner. One per process; `install` is for the main thread.

    Args:
        at_exit: called by atexit, in this process only.
        at_term: called in the SIGTERM handler, before the process dies of the signal; must not wait.
    """

    def __init__(self, at_exit: Callable[[], None], at_term: Callable[[], None]) -> None:
        self._at_exit = at_exit
        self._at_term = at_term
        self._registered = False
        self._previous: Callable[..., Any] | None = None
        self._failure: tuple[str, str] | None = None
        self._exit_code = ExitCode()

    @property
    def failure(self) -> tuple[str, str] | None:
        """(error, traceback) of the uncaught exception that ends the program, `sys.exit(1)` too."""
        return self._failure or self._exit_code.failure()

    def install(self, *, term: bool = True) -> None:
        """Take what is free: an own SIGTERM handler of the program stays in its place.

        Args:
            term: False in a child of multiprocessing: a pool that terminates its workers waits for each, and a worker
                that is blocked in a semaphore can miss the signal if Python, not the kernel, has to act on it.
        """
        self._failure = None
        self._exit_code.install()
        if not self._registered:
            atexit.register(self._at_exit)
            self._registered = True
        if sys.excepthook != self._uncaught:
            self._previous, sys.excepthook = sys.excepthook, self._uncaught
        if not term:
            return
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            with contextlib.suppress(ValueError):  # a subinterpreter
                signal.signal(signal.SIGTERM, self._terminated)

    def uninstall(self) -> None:
        """Put back what is still ours; where it cannot be put back, our hook does what was there before."""
        self._exit_code.uninstall()
        if sys.excepthook == self._uncaught:
            sys.excepthook = self._previous or sys.__excepthook__
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) == self._terminated
        ):
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def forked(self) -> None:
        """In a forked child: SIGTERM ends it at once, as without us; its parent's run is not its to mark."""
        self._exit_code.forked()
        if signal.getsignal(signal.SIGTERM) == self._terminated:
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _uncaught(self, kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
        try:
            self._failure = explain(value, traceback)
        finally:
            (self._previous or sys.__excepthook__)(kind, value, traceback)

    def _terminated(self, number: int, _frame: object) -> None:
        try:
            self._at_term()
        finally:
            # Die of the signal, so that whoever sent it sees what it expects.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def is_going_down() -> bool:
    """Whether the caller is in the interpreter's exit hooks, or behind them."""
    main = threading.main_thread()
    # Other threads may go on for hours when the main one has ended: the exit hooks, which it runs, wait for them.
    return sys.is_finalizing() or (not main.is_alive() and main.ident == threading.get_ident())


def is_in_term_handler(raised: TracebackType | None = None) -> bool:
    """Whether the caller is inside the program's own handler of SIGTERM, as far as that is written in Python.

    Args:
        raised: of an exception, which such a handler may have raised.
    """
    code = _term_code() if threading.current_thread() is threading.main_thread() else None
    if code is None:
        return False
    while raised is not None:
        if raised.tb_frame.f_code is code and _holds(raised.tb_frame, raised.tb_frame.f_back):
            return True
        raised = raised.tb_next
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the one way
    while frame is not None:
        if frame.f_code is code and _holds(frame, frame.f_back):
            return True
        frame = frame.f_back
    return False


def _term_code() -> CodeType | None:
    """The code of the handler of SIGTERM: a function, a method, a partial of one, or an object that is called."""
    handler: Any = signal.getsignal(signal.SIGTERM)
    while hasattr(handler, "func"):
        handler = handler.func
    if not hasattr(handler, "__code__"):
        handler = getattr(handler, "__func__", None) or getattr(type(handler), "__call__", None)  # noqa: B004 - its code
    code = getattr(handler, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _holds(frame: FrameType, interrupted: FrameType | None) -> bool:
    """Whether a signal has called this frame's function: it is given the frame that it interrupts."""
    for value in frame.f_locals.values():
        if value is interrupted or (type(value) is tuple and any(one is interrupted for one in value)):
            return interrupted is not None
    return False


def how(error: BaseException | None, traceback: TracebackType | None = None) -> tuple[str, tuple[str, str] | None]:
    """(a run's state, why) when this exception, or none, leaves the program or a `with` block."""
    if error is None or (isinstance(error, SystemExit) and error.code in {None, 0}):
        return "finished", None
    return "failed", explain(error, traceback)


def explain(error: BaseException, traceback: TracebackType | None = None) -> tuple[str, str]:
    """(what happened in one line, the traceback's text)."""
    try:
        text = scrub("".join(traces.format_exception(type(error), error, traceback or error.__traceback__)))
        if isinstance(error, KeyboardInterrupt):
            return "interrupted", text[-_TRACEBACK_CHARS:]
        line = scrub("".join(traces.format_exception_only(type(error), error)).strip())
        return line[:2000], text[-_TRACEBACK_CHARS:]
    except Exception:
        return type(error).__name__, ""
