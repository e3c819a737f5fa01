"""All async_log tasks of a process: taken in, settled once, waited for."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from steno.capture.tasks import reserve, uninterrupted
from steno.capture.tasks.owner import owners
from steno.capture.tasks.reply import not_a_dict
from steno.capture.tasks.task import (
    ABANDONED,
    CANCELLED,
    DONE,
    DROPPED,
    ENDS,
    FAILED,
    MODES,
    QUEUED,
    RUNNING,
    Task,
    describe,
    full_error,
    inside,
)
from steno.errors import ClosedError, TaskError
from steno.record import TASK
from steno.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from steno.capture.nothing import Nothing
    from steno.capture.recorder import Recorder

_PLACES: Final = ("complete", "submit")
_OWN: Final = ("step", "mode", "step_at")
_POLL_SECS: Final = 0.02
_PATIENCE_SECS: Final = 2.0
_NAMED: Final = 10


class Register:
    """Takes tasks in, records what they return, and knows all that have not ended.

    Thread-safe. `async_log` never raises for a fault, only for misuse; the error of a task is its Future's.
    A forked child begins with none: its parent's tasks are its parent's. If the process dies now, tasks
    that have not ended are lost with it; what was recorded stays.

    Args:
        recorder: where results go.
        report: called with (key, message) once per key.
        settings: how many run and wait; None: as the environment says.
        child_log: (module, function) that records in a spawned child; empty where nothing is recorded.
    """

    def __init__(
        self,
        recorder: Recorder | Nothing,
        *,
        report: Callable[[str, str], None],
        settings: Settings | None = None,
        child_log: tuple[str, str] = ("", ""),
    ) -> None:
        self.recorder = recorder
        self.report = report
        self.settings = settings = settings or Settings()
        self.limit = settings.async_queue
        self.child_log = child_log
        self._numbers = itertools.count(1)
        self._counts = {mode: dict.fromkeys(ENDS, 0) for mode in MODES}
        self._begin_anew()
        owners.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()  # a signal handler may submit too
        self._live: dict[int, Task] = {}
        self._pools: dict[str, Any] = {}
        self._ended = threading.Event()
        self._closing = False
        self._closed = False

    # -- taking in ----------------------------------------------------------------------------------------

    def async_log(
        self,
        func: Callable[..., Any],
        /,
        *args: Any,
        step: int | None = None,
        mode: str = "threading",
        step_at: str = "complete",
        **kwargs: Any,
    ) -> Future[Any]:
        """Run `func(*args, **kwargs)` elsewhere and record the dict it returns; see `Run.async_log`."""
        pool = self._pools.get(mode)
        if pool is None:
            pool = self._pool(mode)
        if self._closing and (self._closed or not inside.get()):
            msg = "async_log was called after finish: the run takes no more tasks; call steno.init for a new one"
            raise ClosedError(msg)
        if not callable(func):
            msg = f"async_log takes a function and its arguments, not {type(func).__name__}"
            raise TypeError(msg)
        task = Task(next(self._numbers), func, args, kwargs, step, mode)
        pool.prepare(task)
        if step_at != "complete":
            if step_at not in _PLACES:
                raise ValueError(f"step_at={step_at!r} is not known: use {' or '.join(map(repr, _PLACES))}")
            if step is None:
                task.place = reserve.reserve(self.recorder)
        if step is not None:
            self._mind_clash(task)
        if pool.waiting() >= self.limit and not self._found_room(pool, task):
            return task.future
        self._live[task.number] = task
        pool.submit(task)
        return task.future

    def _pool(self, mode: str) -> Any:
        """The mode's pool, made at its first task.

        Raises:
            ValueError: no such mode.
        """
        if mode not in MODES:
            known = ", ".join(map(repr, MODES))
            msg = f"mode={mode!r} is not known: use {known}. A function gets a mode= of its own by functools.partial"
            raise ValueError(msg)
        with self._lock:
            pool: Any = self._pools.get(mode)
            if pool is not None:
                return pool
            if mode == "threading":
                pool = uninterrupted.import_module("steno.capture.tasks.threads").Threads(
                    self, self.settings.async_workers
                )
            elif mode == "asyncio":
                pool = uninterrupted.import_module("steno.capture.tasks.coroutines").Coroutines(self)
            elif mode == "spawn":
                pool = uninterrupted.import_module("steno.capture.tasks.spawning").Spawning(
                    self, self.settings.async_processes
                )
            else:
                pool = uninterrupted.import_module("steno.capture.tasks.forking").Forking(
                    self, self.settings.async_processes
                )
            self._pools[mode] = pool
            return pool

    def _found_room(self, pool: Any, task: Task) -> bool:
        """Apply the policy to a task that comes when its mode is full; False: it is settled."""
        own_worker = inside.get() or task.mode == "asyncio"
        if self.settings.async_full == "wait" and not own_worker:
            while pool.waiting() >= self.limit and not self._closing:
                time.sleep(0.001)
            return True
        self._live[task.number] = task
        if self.settings.async_full == "drop":
            self._conclude(task, DROPPED, None)
        else:
            # Of our own workers none may wait for room that they have to make.
            self.fail(task, full_error(self.limit))
        return False

    def _mind_clash(self, task: Task) -> None:
        code = getattr(task.func, "__code__", None)
        if code is not None and "step" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            self.report(f"async_log/{task.name}/step", f"async_log keeps step= for itself: {_remedy(task, 'step')}")

    # -- how a task ends ----------------------------------------------------------------------------------

    def begin(self, task: Task) -> bool:
        """Whether the task is to be run; False: it was cancelled or abandoned meanwhile."""
        if not self.confirm(task):
            return False
        task.begin()
        return True

    def confirm(self, task: Task) -> bool:
        """Whether the task still counts; from here on its Future cannot be cancelled."""
        with self._lock:
            if task.claim.locked():
                return False
            if task.future.set_running_or_notify_cancel():
                return True
        self._conclude(task, CANCELLED, None)
        return False

    def succeed(self, task: Task, result: Any, *, recorded: bool = False) -> None:
        """Record what it returned, then resolve its Future: whoever sees the result finds it in the journal."""
        if not isinstance(result, Mapping):
            self.fail(task, TypeError(not_a_dict(task.func, result)))
            return
        if not task.claim.acquire(blocking=False):
            return
        try:
            if task.place is not None:
                reserve.complete(self.recorder, task.place, result)
            elif result and not recorded:
                self.recorder.log(result, task.step)
        except BaseException as error:
            self._let_place_go(task)
            self._close(task, FAILED, error, None)
        else:
            self._close(task, DONE, None, result)

    def fail(self, task: Task, error: BaseException) -> None:
        """Its error becomes the Future's; said once per function."""
        if isinstance(error, TypeError):
            self._explain_clash(task, error)
        if self._conclude(task, FAILED, error):
            self.report(
                f"async_log/{task.name}", f"async_log: {task.refer()} failed: {describe(error)}; its Future has all"
            )

    def cancel(self, task: Task) -> None:
        """It was cancelled before it had a result."""
        self._conclude(task, CANCELLED, None)

    def _conclude(self, task: Task, state: str, error: BaseException | None) -> bool:
        if not task.claim.acquire(blocking=False):
            return False
        self._let_place_go(task)
        self._close(task, state, error, None)
        return True

    def _let_place_go(self, task: Task) -> None:
        """Its number stays unused."""
        if task.place is not None:
            reserve.complete(self.recorder, task.place, {})

    def _close(self, task: Task, state: str, error: BaseException | None, result: Any) -> None:
        """Its entry in the run, its count, its Future; by the holder of its claim."""
        task.state = state
        try:
            self.recorder.entry(TASK, task.payload(state, error), task.step if isinstance(task.step, int) else None)
        except Exception as problem:
            self.report("async_log", f"the entry of {task.refer()} was not recorded: {problem!r}")
        with self._lock:
            self._counts[task.mode][state] += 1
        # The callbacks of the Future are the user's: what they raise ends no worker of ours.
        try:
            if error is not None:
                task.future.set_exception(error)
            elif state == DONE:
                task.future.set_result(result)
            elif not task.future.cancelled():
                _cancel(task.future)
        except BaseException as problem:
            self.report("async_log/callback", f"a callback of {task.refer()} raised {problem!r}")
        self._live.pop(task.number, None)
        if self._closing:
            self._ended.set()
        task.release()

    def _explain_clash(self, task: Task, error: TypeError) -> None:
        text = str(error)
        for word in _OWN:
            if f"'{word}'" in text and "argument" in text:
                error.add_note(f"async_log keeps {word}= for itself: {_remedy(task, word)}")

    # -- the end ------------------------------------------------------------------------------------------

    def close(self, timeout: float | None = None) -> list[str]:
        """Take no more tasks and wait for those there are.

        Args:
            timeout: seconds; None waits without limit, and says after two seconds what it waits for.
                Ctrl-C abandons them.

        Returns:
            What was abandoned, by name and state.
        """
        if self._closed:
            return []
        self._closing = True
        deadline = float("inf") if timeout is None else time.monotonic() + max(timeout, 0.0)
        left: list[str] = []
        coroutines = self._pools.get("asyncio")
        if coroutines is not None:
            left += self._abandon(
                coroutines.blocked(),
                "finish was called inside the event loop that has to run them; use `await run.afinish()` there",
            )
        try:
            why = self._wait(deadline)
        except KeyboardInterrupt:
            why = "Ctrl-C"
        self._closed = True
        left += self._abandon(list(self._live.values()), why)
        self._wait_for_workers(min(deadline, time.monotonic() + 0.1))
        for pool in list(self._pools.values()):
            pool.stop(deadline)
        return left

    def wait(self) -> None:
        """Wait until no task is left, without ending anything: a child does before it answers."""
        self._wait(float("inf"))

    def _wait(self, deadline: float) -> str:
        since = time.monotonic()
        said = False
        idle_since: float | None = None
        while self._live:
            self._ended.clear()
            now = time.monotonic()
            if now >= deadline:
                return f"finish had {max(deadline - since, 0):.3g} s for them"
            for task in list(self._live.values()):
                if task.future.cancelled():
                    self.cancel(task)
            coroutines = self._pools.get("asyncio")
            if coroutines is not None:
                self._abandon(coroutines.orphans(), "their event loop is closed")
                idle = coroutines.idle()
                idle_since = (idle_since or now) if idle else None
                if idle_since is not None and now - idle_since > 0.5:
                    self._abandon(idle, "their event loop does not run; finish by `await run.afinish()` inside it")
            if not said and now - since > _PATIENCE_SECS:
                said = True
                self.report(
                    "async_log/waiting",
                    f"finish waits for {len(self._live)} async_log tasks ({_names(list(self._live.values()))}); "
                    "Ctrl-C abandons them",
                )
            if self._live:
                self._ended.wait(max(0.0, min(_POLL_SECS, deadline - now)))
        return ""

    def _abandon(self, tasks: list[Task], why: str) -> list[str]:
        """Give these tasks up: errors in their Futures, one line on stderr."""
        left: list[tuple[Task, str]] = []
        with self._lock:
            left += [(task, task.state) for task in tasks if task.claim.acquire(blocking=False)]
        names = [f"{task.name} ({state})" for task, state in left]
        for task, state in left:
            pool = self._pools.get(task.mode)
            if pool is not None:
                pool.give_up(task)
            self._let_place_go(task)
            self._close(task, ABANDONED, TaskError(f"{task.refer()} was abandoned while {state}: {why}"), None)
        if names:
            some = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
            self.report(f"async_log/abandoned/{why}", f"{len(names)} async_log tasks were abandoned: {some}: {why}")
        return names

    def _wait_for_workers(self, deadline: float) -> None:
        """Wait for workers that are recording a result just now."""
        while self._live and time.monotonic() < deadline:
            time.sleep(0.001)

    @staticmethod
    def calls() -> bool:
        """Whether the caller is a task."""
        return inside.get()

    def health(self) -> dict[str, dict[str, int]]:
        """Per mode that was used: queued, running, and how the others ended."""
        out = {mode: {QUEUED: 0, RUNNING: 0, **counts} for mode, counts in self._counts.items() if mode in self._pools}
        for task in list(self._live.values()):
            if task.state in {QUEUED, RUNNING}:
                out[task.mode][task.state] += 1
        return out

    def forked(self) -> None:
        """In a forked child: the tasks and pools are the parent's."""
        for pool in self._pools.values():
            pool.forked()
        self._begin_anew()
        for counts in self._counts.values():
            counts.update(dict.fromkeys(ENDS, 0))


def _cancel(future: Future[Any]) -> None:
    """Cancel a Future that may be running already."""
    from concurrent.futures import CancelledError

    if not future.cancel():
        future.set_exception(CancelledError())


def _remedy(task: Task, word: str) -> str:
    return (
        f"it numbers the record and does not reach {task.name}(); "
        f"give the function its own by functools.partial({task.name}, {word}=...)"
    )


def _names(tasks: list[Task]) -> str:
    names = list(dict.fromkeys(task.name for task in tasks))
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _forked() -> None:
    for owner in list(owners):
        owner.forked()


os.register_at_fork(after_in_child=_forked)
