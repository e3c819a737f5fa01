"""Mode "asyncio": coroutines on the loop that runs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from typing import TYPE_CHECKING, Any

from steno.capture.tasks.task import Task, inside

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from concurrent.futures import Future

    from steno.capture.tasks.owner import Owner


class Coroutines:
    """Schedules tasks on the caller's running loop and holds them until they end.

    Call `submit` on the loop's thread. The loop alone keeps only weak references to its tasks.
    """

    def __init__(self, register: Owner) -> None:
        self._register = register
        self._held: dict[int, tuple[Task, asyncio.AbstractEventLoop, asyncio.Task[None]]] = {}

    def waiting(self) -> int:
        """Tasks that have not ended: on a loop all of them run."""
        return len(self._held)

    def prepare(self, task: Task) -> None:
        """Check what only the call can tell.

        Raises:
            RuntimeError: no loop runs in this thread.
            TypeError: `func` is no coroutine function.
        """
        try:
            task.handle = asyncio.get_running_loop()
        except RuntimeError:
            msg = (
                'mode="asyncio" needs a running event loop, and none runs in this thread: call async_log inside a '
                'coroutine (asyncio.run(main()), then `await run.afinish()` there), or use mode="threading"'
            )
            raise RuntimeError(msg) from None
        func: Any = task.func
        while isinstance(func, functools.partial):
            func = func.func
        plain = inspect.isfunction(func) or inspect.ismethod(func) or inspect.isbuiltin(func)
        if plain and not inspect.iscoroutinefunction(func) and not hasattr(func, "__wrapped__"):
            msg = f'mode="asyncio" takes an async def function, {task.name} is none: use mode="threading" for it'
            raise TypeError(msg)

    def submit(self, task: Task) -> None:
        """Schedule it; its Future can be cancelled until it ends."""
        loop: asyncio.AbstractEventLoop = task.handle
        scheduled = loop.create_task(self._run(task), name=f"steno-async {task.name}")
        self._held[task.number] = (task, loop, scheduled)
        scheduled.add_done_callback(functools.partial(self._ended, task))
        task.future.add_done_callback(functools.partial(self._cancel_too, loop, scheduled))

    async def _run(self, task: Task) -> None:
        inside.set(True)
        register = self._register
        task.begin()
        try:
            made: Awaitable[Any] = task.func(*task.args, **task.kwargs)
            if not inspect.isawaitable(made):
                msg = f'mode="asyncio" takes an async def function, {task.name} is none: use mode="threading" for it'
                raise TypeError(msg)
            result = await made
        except asyncio.CancelledError:
            register.cancel(task)
            raise
        except BaseException as error:
            if register.confirm(task):
                register.fail(task, error)
        else:
            if register.confirm(task):
                register.succeed(task, result)

    def _ended(self, task: Task, scheduled: asyncio.Task[None]) -> None:
        self._held.pop(task.number, None)
        if scheduled.cancelled():
            # It may have been cancelled before its first step.
            self._register.cancel(task)

    @staticmethod
    def _cancel_too(loop: asyncio.AbstractEventLoop, scheduled: asyncio.Task[None], future: Future[Any]) -> None:
        if future.cancelled():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(scheduled.cancel)

    # -- at the end ---------------------------------------------------------------------------------------

    def orphans(self) -> list[Task]:
        """Tasks whose loop is closed: they will never end by themselves."""
        return [task for task, loop, _ in list(self._held.values()) if loop.is_closed()]

    def idle(self) -> list[Task]:
        """Tasks whose loop does not run now."""
        return [task for task, loop, _ in list(self._held.values()) if not loop.is_running()]

    def blocked(self) -> list[Task]:
        """Tasks of the loop that runs in this thread: they cannot go on while it waits."""
        try:
            own = asyncio.get_running_loop()
        except RuntimeError:
            return []
        return [task for task, loop, _ in list(self._held.values()) if loop is own]

    def give_up(self, task: Task) -> None:
        """Ask its loop to cancel it."""
        held = self._held.pop(task.number, None)
        if held is not None:
            with contextlib.suppress(RuntimeError):
                held[1].call_soon_threadsafe(held[2].cancel)

    def stop(self, _deadline: float) -> None:
        """Nothing of ours runs concurrently with the loop."""

    def forked(self) -> None:
        """In a forked child: the parent's loop does not run here."""
        self._held = {}
