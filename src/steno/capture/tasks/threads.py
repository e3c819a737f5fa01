"""Mode "threading": tasks in a few daemon threads of our own."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from steno.capture.tasks.task import Task, inside

if TYPE_CHECKING:
    from steno.capture.tasks.register import Register


class Threads:
    """Runs tasks in daemon threads, started as they are needed; the interpreter's exit never waits for them.

    Thread-safe. `func`, arguments and result stay in the process, by reference. A forked child has none of
    the threads: it makes a pool of its own.
    """

    def __init__(self, register: Register, workers: int) -> None:
        self._register = register
        self._workers = workers
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.waiting = self._queue.qsize
        self.submit = self._queue.put

    def prepare(self, _task: Task) -> None:
        """Have a thread for it."""
        if len(self._threads) < self._workers:
            with self._lock:
                if len(self._threads) < self._workers:
                    thread = threading.Thread(target=self._work, name=f"steno-async-{len(self._threads)}", daemon=True)
                    thread.start()
                    self._threads.append(thread)

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
