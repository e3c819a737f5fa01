"""One async_log task: what was asked, where it stands, and who may settle it."""

from __future__ import annotations

import _thread
import functools
import time
from concurrent.futures import Future
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from steno.errors import TaskError

MODES: Final = ("threading", "asyncio", "spawn", "fork")
QUEUED: Final = "queued"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
DROPPED: Final = "dropped"
ABANDONED: Final = "abandoned"
ENDS: Final = (DONE, FAILED, CANCELLED, DROPPED, ABANDONED)
"""How a task can end."""

inside: ContextVar[bool] = ContextVar("steno_inside_task", default=False)
"""Whether this thread or coroutine is one of ours, running a task."""


class Task:
    """What one `async_log` call asked for.

    Whoever acquires `claim` settles the task, once: the worker that has its result, or `finish` that
    abandons it. So a task is never both recorded and reported as abandoned.
    """

    __slots__ = (
        "args", "began", "claim", "func", "future", "handle", "kwargs", "label", "mode", "number", "place", "started",
        "state", "step", "submitted",
    )  # fmt: skip

    def __init__(
        self, number: int, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], step: Any, mode: str
    ) -> None:
        self.number = number
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self.step = step
        self.mode = mode
        self.future: Future[Any] = Future()
        self.claim = _thread.allocate_lock()
        self.state = QUEUED
        self.place: int | None = None
        """Sequence number of the record that holds its place, under `step_at="submit"`."""
        self.submitted = time.time_ns()
        self.started = 0
        self.began = 0
        """`started` on the monotonic clock."""
        self.label = ""
        """Its name, once it has ended."""
        self.handle: Any = None
        """The mode's own: the bytes for a child, the asyncio task."""

    @property
    def name(self) -> str:
        """The function's name, as the user knows it."""
        func: Any = self.func
        if self.label:
            return self.label
        while isinstance(func, functools.partial):
            func = func.func
        return str(getattr(func, "__qualname__", None) or type(func).__qualname__)

    def begin(self) -> None:
        """Note that it runs now."""
        self.state = RUNNING
        self.started = time.time_ns()
        self.began = time.monotonic_ns()

    def release(self) -> None:
        """It has ended: keep nothing of the caller's alive but its Future."""
        self.label = self.name
        self.func, self.args, self.kwargs, self.handle = _ended, (), {}, None

    def payload(self, state: str, error: BaseException | None) -> dict[str, Any]:
        """What the run keeps of it: times in ns since 1970."""
        now = time.monotonic_ns()
        payload: dict[str, Any] = {
            "task": self.number,
            "name": self.name,
            "mode": self.mode,
            "state": state,
            "submitted": self.submitted,
            "started": self.started or None,
            "ended": self.started + now - self.began if self.started else time.time_ns(),
            "duration_secs": (now - self.began) / 1e9 if self.started else 0.0,
        }
        if error is not None:
            payload["error"] = describe(error)
        return payload

    def refer(self) -> str:
        """How messages name it."""
        return f"{self.name} (task {self.number}, {self.mode})"


def _ended() -> None:
    """Stands for the function of a task that has ended."""


def describe(error: BaseException) -> str:
    """An error in one line, bounded."""
    try:
        text = str(error)
    except Exception:
        text = "its text could not be read"
    kind = type(error).__name__
    return (f"{kind}: {text}" if text else kind)[:2000]


def full_error(limit: int) -> TaskError:
    """For a task that found no room."""
    from steno.errors import TaskError

    return TaskError(
        f"{limit} async_log tasks are pending already, this one was not run: log less often, give it more workers "
        "(async_workers=, async_processes=), or choose async_full='wait' or 'drop'"
    )
