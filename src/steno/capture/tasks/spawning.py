"""Mode "spawn", the parent's side: warm child processes, each driven by one thread."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any, Final

from steno.capture.tasks import life, reply
from steno.capture.tasks.child import STARTED
from steno.capture.tasks.guard import MESSAGE
from steno.errors import TaskError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from steno.capture.tasks.owner import Owner
    from steno.capture.tasks.task import Task

_PROTOCOL: Final = 5
_END_SECS: Final = 2.0


class Spawning:
    """Keeps children ready; a task goes to the first that is free. A child that dies costs its own task.

    `concurrent.futures.ProcessPoolExecutor` breaks for ever with its first dead child, joins its threads at
    the interpreter's exit, and cannot be ended in a given time; so the pool is our own.
    Thread-safe. Function and arguments are pickled at the call, so the child sees them as they were then.
    """

    def __init__(self, register: Owner, processes: int) -> None:
        self._register = register
        self._processes = processes
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._lock = threading.RLock()  # a signal handler may submit too
        self._lines: list[_Line] = []
        self.unguarded = ""
        """Why no child can ever start from this program."""
        self.waiting = self._queue.qsize

    def prepare(self, task: Task) -> None:
        """Nothing: pickling may fail, and that is the Future's."""

    def submit(self, task: Task) -> None:
        """Pickle it and queue it."""
        from steno.capture.tasks.guard import refuse_import

        try:
            refuse_import('async_log(mode="spawn")')
            task.handle = pickle.dumps((task.func, task.args, task.kwargs), _PROTOCOL)
        except Exception as error:
            problem = TaskError(
                f'{task.name} cannot be sent to a child process ({type(error).__name__}: {error}): mode="spawn" needs '
                'a function at the top level of a module, and arguments that can be pickled; else use mode="threading" '
                'or mode="fork"'
            )
            problem.__cause__ = error
            self._register.fail(task, problem)
            return
        if len(self._lines) < self._processes and not self._have_line():
            self._register.fail(task, TaskError("no thread could be started for its child process"))
            return
        self._queue.put(task)

    def _have_line(self) -> bool:
        with self._lock:
            if len(self._lines) < self._processes:
                line = _Line(self, self._register, self._queue, len(self._lines))
                try:
                    line.thread.start()
                except RuntimeError:  # the process may have no more threads, or is ending
                    return bool(self._lines)
                self._lines.append(line)
        return True

    def give_up(self, task: Task) -> None:
        """Kill the child that runs it."""
        for line in self._lines:
            if line.task is task:
                line.kill()

    def stop(self, deadline: float) -> None:
        """Let the children end; what has not ended in time is killed."""
        for _ in self._lines:
            self._queue.put(None)
        until = min(deadline, time.monotonic() + _END_SECS)
        for line in self._lines:
            line.thread.join(max(0.0, until - time.monotonic()))
        for line in self._lines:
            if line.thread.is_alive():
                line.kill()
        for line in self._lines:
            line.thread.join(0.1)

    def forked(self) -> None:
        """In a forked child: close the connections, or the children would outlive their parent."""
        for line in self._lines:
            line.abandon()


class _Line:
    """One thread and the child it drives."""

    def __init__(self, pool: Spawning, register: Owner, queue: SimpleQueue[Any], number: int) -> None:
        self._pool = pool
        self._register = register
        self._queue = queue
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._poll: select.poll | None = None
        self._started_file: IO[bytes] | None = None
        """Holds the number of the task that the child began last: read when it is dead."""
        self.task: Task | None = None
        self.thread = threading.Thread(target=self._work, name=f"steno-spawn-{number}", daemon=True)

    def _work(self) -> None:
        take = self._queue.get
        while (task := take()) is not None:
            self.task = task
            try:
                if self._register.begin(task):
                    self._run(task)
            except BaseException as error:
                self._register.fail(task, TaskError(f"the child process could not be used: {error!r}"))
                self._drop()
            self.task = task = None
        self._end()

    def _run(self, task: Task) -> None:
        for last in (False, True):
            if self._child is None or self._child.poll() is not None:
                self._drop()
                problem = self._start()
                if problem is not None:
                    self._register.fail(task, problem)
                    return
            raw = self._ask(task)
            if raw is not None:
                self._hand_over(task, reply.read(raw))
                return
            # A child that died while it was idle has not begun: another one may have the task.
            started = self._has_started(task)
            if last or started:
                self._register.fail(task, self._obituary(task))
            self._drop()
            if started:
                return

    def _ask(self, task: Task) -> bytes | None:
        """The child's answer; None when it is gone."""
        assert self._connection is not None
        try:
            self._connection.send_bytes(pickle.dumps((task.place is not None, task.number, task.step), _PROTOCOL))
            self._connection.send_bytes(task.handle)
        except OSError:
            return None
        return self._receive()

    def _hand_over(self, task: Task, answer: reply.Reply) -> None:
        if answer.error is not None:
            self._register.fail(task, answer.error)
        else:
            self._register.succeed(task, answer.value, recorded=answer.recorded)

    # -- the child ------------------------------------------------------------------------------------------

    def _start(self) -> BaseException | None:
        """Start the child and wait until it has imported the main program; why not, if it could not."""
        from multiprocessing.connection import Connection

        if self._pool.unguarded:
            return TaskError(self._pool.unguarded)
        ours, theirs = socket.socketpair()
        self._started_file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
        with theirs:
            source = str(Path(__file__).resolve().parents[4])
            parent = life.read_end()
            code = (
                f"import sys; sys.path.insert(0, {source!r}); "
                f"from steno.capture.tasks.child import main; "
                f"main({theirs.fileno()}, {parent}, {self._started_file.fileno()})"
            )
            try:
                self._child = subprocess.Popen(
                    [sys.executable, *subprocess._args_from_interpreter_flags(), "-c", code],  # type: ignore[attr-defined]
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), parent, self._started_file.fileno()),
                )
            except OSError as error:
                ours.close()
                return TaskError(f"a child process could not be started: {error}")
        self._connection = Connection(ours.detach())
        self._poll = select.poll()
        self._poll.register(self._connection.fileno(), select.POLLIN)
        try:
            self._connection.send_bytes(pickle.dumps(_circumstances(self._register.child_log), _PROTOCOL))
        except OSError:
            pass
        raw = self._receive()
        if raw == b"ready":
            return None
        problem = self._refusal(raw)
        self._drop()
        return problem

    def _refusal(self, raw: bytes | None) -> TaskError:
        if raw is None:
            return TaskError(f"a child process died while it started: {self._fate()}; its messages are on stderr")
        kind, _, text = raw.decode("utf-8", "replace").partition("\n")
        if kind == "guard":
            self._pool.unguarded = f'mode="spawn" cannot start: {MESSAGE}'
            return TaskError(self._pool.unguarded)
        return TaskError(
            'mode="spawn" cannot start: importing the main program in the child failed. If it works as a script only, '
            f'put its work under  if __name__ == "__main__":\n{text}'
        )

    def _has_started(self, task: Task) -> bool:
        return self._started_file is not None and os.pread(self._started_file.fileno(), 8, 0) == STARTED.pack(
            task.number
        )

    def _receive(self) -> bytes | None:
        """The child's next message; None when it is gone."""
        connection, poll = self._connection, self._poll
        if connection is None or poll is None or self._child is None:
            return None
        try:
            # A child of the child may hold the connection open: look for the child itself now and then.
            while not poll.poll(1000):
                if self._child.poll() is not None and not poll.poll(0):
                    return None
            return connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def _obituary(self, task: Task) -> TaskError:
        return TaskError(f"the child process that ran {task.name} {self._fate()}; the next task gets a new one")

    def _fate(self) -> str:
        child = self._child
        if child is None:
            return "is gone"
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1.0)
        return fate(child.returncode)

    def kill(self) -> None:
        """End the child at once; its thread sees that it is gone."""
        child = self._child
        if child is not None:
            with contextlib.suppress(OSError):
                child.kill()

    def _drop(self) -> None:
        connection, child, started = self._connection, self._child, self._started_file
        self._connection = self._child = self._poll = self._started_file = None
        if connection is not None:
            connection.close()
        if started is not None:
            started.close()
        if child is not None:
            with contextlib.suppress(OSError):
                child.kill()
            child.wait()

    def _end(self) -> None:
        """Let the child end by itself: it may still close a journal. `stop` kills it when time is up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._child is not None:
            self._child.wait()
        if self._started_file is not None:
            self._started_file.close()

    def abandon(self) -> None:
        """In a forked child: close what belongs to the parent."""
        connection, child = self._connection, self._child
        self._connection = self._child = None
        if self._started_file is not None:
            self._started_file.close()
        if connection is not None:
            with contextlib.suppress(OSError):
                os.close(connection.fileno())
            connection._handle = None  # type: ignore[attr-defined]
        if child is not None:
            child.returncode = 0  # not ours to wait for


def _circumstances(log: tuple[str, str]) -> dict[str, Any]:
    """What a child needs to be like this process, after `multiprocessing.spawn.get_preparation_data`.

    That one is not called, for it fixes multiprocessing's start method as a side effect.
    """
    from multiprocessing import process

    start_dir = getattr(process, "ORIGINAL_DIR", None)
    main: Any = sys.modules["__main__"]
    data: dict[str, Any] = {
        "name": "steno-spawn",
        "sys_path": [path or os.getcwd() for path in sys.path],
        "sys_argv": list(sys.argv),
        "orig_dir": start_dir,
        "dir": os.getcwd(),
    }
    name, path = getattr(getattr(main, "__spec__", None), "name", None), getattr(main, "__file__", None)
    if name is not None:
        data["init_main_from_name"] = name
    elif path is not None:
        if not os.path.isabs(path) and start_dir is not None:
            path = os.path.join(start_dir, path)
        data["init_main_from_path"] = os.path.normpath(path)
    return {
        "prepare": data,
        "authkey": bytes(process.current_process().authkey),
        "environ": {name: os.environ.get(name, "") for name in ("STENO_RUN_DIR", "STENO_RUN_AS")},
        "log": log,
        "parent": os.getpid(),
    }


def fate(status: int | None) -> str:
    """How a child ended, in words."""
    if status is None:
        return "closed its connection"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        hint = " (out of memory?)" if -status == signal.SIGKILL else ""
        return f"was killed by {name}{hint}"
    return f"exited with status {status}"
