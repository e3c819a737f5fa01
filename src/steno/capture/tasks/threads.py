"""Mode "threading": tasks in a few daemon threads of our own."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from steno.capture.tasks.task import Task, inside
from steno.errors import TaskError

if TYPE_CHECKING:
    from steno.capture.tasks.owner import Owner


class Threads:
    """Runs tasks in daemon threads, started as they are needed; the interpreter's exit never waits for them.

    Thread-safe. `func`, arguments and result stay in the process, by reference. A forked child has none of
    the threads: it makes a pool of its own.
    """

    def __init__(self, register: Owner, workers: int) -> None:
        self._register = register
        self._workers = workers
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._lock = threading.RLock()  # a signal handler may submit too
        self._threads: list[threading.Thread] = []
        self.waiting = self._queue.qsize

    def prepare(self, task: Task) -> None:
        """Nothing to check."""

    def submit(self, task: Task) -> None:
        """Queue it, and have a thread for it."""
        if len(self._threads) < self._workers and not self._have_thread():
            self._register.fail(task, TaskError("no thread could be started for it"))
            return
        self._queue.put(task)

    def _have_thread(self) -> bool:
        with self._lock:
            if len(self._threads) < self._workers:
                name = f"steno-async-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the process may have no more threads, or is ending
                    return bool(self._threads)
                self._threads.append(thread)
        return True

    def _work(self) -> None:
        inside.set(True)
        take, register = self._queue.get, self._register
        while (task := take()) is not None:
            if register.begin(task):
                # BaseException: SystemExit in a task ends the task, not the worker.
                try:
                    result = task.func(*task.args, **task.kwargs)
                except BaseException as error:
                    register.fail(task, error)
                else:
                    register.succeed(task, result)
            # Nothing of the last task is kept alive while the thread waits.
            result = task = None

    def stop(self, _deadline: float) -> None:
        """Let idle threads go; one whose task never ends stays behind, as a daemon."""
        for _ in self._threads:
            self._queue.put(None)

    def give_up(self, task: Task) -> None:
        """Nothing: a thread cannot be stopped from outside."""

    def forked(self) -> None:
        """In a forked child: nothing to close."""
