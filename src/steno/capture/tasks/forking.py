"""Mode "fork": each task in a child forked at the call, with the caller's state as it is then."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import struct
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from steno.capture.tasks import life, reply
from steno.capture.tasks.spawning import fate
from steno.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steno.capture.tasks.owner import Owner
    from steno.capture.tasks.task import Task

CHILDREN: Final = 64
"""Forked children alive at one time, those waiting for their turn included; each costs its page tables."""
_LENGTH: Final = struct.Struct("<Q")
_GO: Final = b"g"
_LOOK_MILLIS: Final = 250


class _Child:
    """A forked child, seen from its parent."""

    __slots__ = ("answer", "gate", "pid", "result", "status", "task")

    def __init__(self, task: Task, pid: int, gate: int, result: int) -> None:
        self.task = task
        self.pid = pid
        self.gate = gate
        """Writing end: it runs when it reads one byte, and leaves when it reads the end."""
        self.result = result
        self.answer = bytearray()
        self.status: int | None = None
        """How it ended, once it was waited for."""


class Forking:
    """Forks on the caller's thread, so that the child has the caller's state as it was at the call.

    A few children work at one time, up to CHILDREN wait for their turn. One daemon thread reads what they
    send. Thread-safe. A child ends by `os._exit`: no exit handler, no thread and no lock of the parent's
    matters there but the user's own.
    """

    def __init__(self, register: Owner, processes: int) -> None:
        self._register = register
        self._processes = processes
        self._lock = threading.RLock()  # a signal handler may submit too
        self._queued: deque[_Child] = deque()
        self._working: dict[int, _Child] = {}
        """By file number of the result's reading end."""
        self._dying: list[int] = []
        self._wake: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    def waiting(self) -> int:
        """Children that are alive, scaled so that CHILDREN of them fill the queue."""
        alive = len(self._queued) + len(self._working)
        return alive if alive < CHILDREN else max(alive, self._register.limit)

    def prepare(self, task: Task) -> None:
        """Nothing: a refusal is the Future's."""

    def submit(self, task: Task) -> None:
        """Fork. The child waits until the thread lets it go."""
        reason = why_not()
        if reason:
            self._register.fail(task, TaskError(f'mode="fork" was refused: {reason}; use mode="spawn"'))
            return
        try:
            self._fork(task)
        except (OSError, RuntimeError) as error:
            self._register.fail(task, TaskError(f"no child could be forked for {task.name}: {error}"))

    def _fork(self, task: Task) -> None:
        for stream in (sys.stdout, sys.stderr):
            # What the parent has buffered would be printed by both.
            with contextlib.suppress(Exception):
                stream.flush()
        with self._lock:
            if self._stopping:
                raise RuntimeError("the run is finished")
            parent = life.read_end()
            if self._wake is None:
                self._wake = os.pipe()
                os.set_blocking(self._wake[1], False)
            gate = os.pipe()
            try:
                result = os.pipe()
            except OSError:
                _close(*gate)
                raise
            try:
                pid = os.fork()
            except OSError:
                _close(*gate, *result)
                raise
            if pid == 0:
                _be_child(self._register, task, gate, result, parent)
            _close(gate[0], result[1])
            self._queued.append(_Child(task, pid, gate[1], result[0]))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="steno-fork", daemon=True)
                self._thread.start()
            self._nudge()

    def _nudge(self) -> None:
        """By the holder of the lock: the thread closes the pipe under it, and its number may be another file's."""
        if self._wake is not None:
            with contextlib.suppress(OSError):
                os.write(self._wake[1], b"w")

    # -- the thread ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        assert self._wake is not None
        wake, waker = self._wake
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        while True:
            self._let_go(poll)
            self._reap()
            # After these two, which may have seen to the last child: with none left, nothing ends the wait below.
            if self._stopping and not self._queued and not self._working:
                break
            busy = self._working or self._dying
            for fd, _ in poll.poll(_LOOK_MILLIS if busy else None):
                if fd == wake:
                    os.read(wake, 4096)
                elif fd in self._working:
                    self._read(self._working[fd], poll)
            for child in list(self._working.values()):
                self._look(child, poll)
        for pid in self._dying:
            _kill(pid)
            _wait(pid)
        with self._lock:
            _close(wake, waker)
            self._wake = None

    def _let_go(self, poll: select.poll) -> None:
        while self._queued and len(self._working) < self._processes:
            child = self._queued.popleft()
            if not self._register.begin(child.task):
                _kill(child.pid)
                _close(child.gate, child.result)
                self._dying.append(child.pid)
                continue
            self._working[child.result] = child
            poll.register(child.result, select.POLLIN)
            with contextlib.suppress(OSError):
                os.write(child.gate, _GO)

    def _read(self, child: _Child, poll: select.poll) -> None:
        try:
            piece = os.read(child.result, 1 << 20)
        except OSError:
            piece = b""
        child.answer += piece
        length = _LENGTH.unpack_from(child.answer)[0] if len(child.answer) >= _LENGTH.size else None
        if length is not None and len(child.answer) - _LENGTH.size >= length:
            answer = reply.read(bytes(child.answer[_LENGTH.size :]))
            self._forget(child, poll)
            self._dying.append(child.pid)
            if answer.error is not None:
                self._register.fail(child.task, answer.error)
            else:
                self._register.succeed(child.task, answer.value, recorded=answer.recorded)
        elif not piece:
            self._bury(child, poll, _wait(child.pid) if child.status is None else child.status)

    def _look(self, child: _Child, poll: select.poll) -> None:
        """A child of the child may hold the pipe open after its end."""
        if child.result not in self._working:
            return
        try:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            child.status = os.waitstatus_to_exitcode(status)
            while child.result in self._working and _is_readable(child.result):
                before = len(child.answer)
                self._read(child, poll)
                if len(child.answer) == before:
                    break
            if child.result in self._working:
                self._bury(child, poll, child.status)

    def _bury(self, child: _Child, poll: select.poll, status: int | None) -> None:
        self._forget(child, poll)
        self._register.fail(child.task, TaskError(f"the child process that ran {child.task.name} {fate(status)}"))

    def _forget(self, child: _Child, poll: select.poll) -> None:
        if self._working.pop(child.result, None) is not None:
            poll.unregister(child.result)
            _close(child.result, child.gate)

    def _reap(self) -> None:
        for pid in list(self._dying):
            try:
                gone, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                gone = pid
            if gone:
                self._dying.remove(pid)

    # -- the end ------------------------------------------------------------------------------------------

    def give_up(self, task: Task) -> None:
        """Kill the child."""
        for child in [*self._queued, *self._working.values()]:
            if child.task is task:
                _kill(child.pid)

    def stop(self, deadline: float) -> None:
        """End the thread, which ends what is left; its children are killed already."""
        with self._lock:
            self._stopping = True
            self._nudge()
        if self._thread is not None:
            self._thread.join(max(0.1, min(0.5, deadline - time.monotonic())))

    def forked(self) -> None:
        """In a forked child, this mode's or another: close what leads to the siblings."""
        for child in [*self._queued, *self._working.values()]:
            _close(child.gate, child.result)
        if self._wake is not None:
            _close(*self._wake)
        self._queued.clear()
        self._working.clear()


def why_not() -> str:
    """Why a fork of this process is known to break; empty when it is not."""
    torch = sys.modules.get("torch")
    if torch is not None:
        with contextlib.suppress(Exception):
            if torch.cuda.is_initialized():
                return "CUDA is initialised in this process, and a forked child cannot use it"
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and getattr(bridge, "_backends", None):
        return "a JAX backend is live in this process, and its threads do not exist in a forked child"
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/self/fd/{name}") == "/dev/nvidia-uvm":
                    return "CUDA is initialised in this process, and a forked child cannot use it"
    return ""


def _is_readable(handle: int) -> bool:
    """Not by `select`, which cannot take a file number above 1,023."""
    look = select.poll()
    look.register(handle, select.POLLIN)
    return bool(look.poll(0))


# -- in the child -------------------------------------------------------------------------------------------


def _be_child(register: Owner, task: Task, gate: tuple[int, int], result: tuple[int, int], parent: int) -> None:
    """Run the task and leave; never returns to the caller's code."""
    status = 1
    try:
        _close(gate[1], result[0])
        _make_independent(parent)
        if os.read(gate[0], 1) == _GO:
            recorder = register.recorder
            func, args, kwargs, step = task.func, task.args, task.kwargs, task.step

            def record(data: Mapping[str, Any]) -> None:
                recorder.log(data, step)

            answer = reply.run(lambda: (func, args, kwargs), record, whole=task.place is not None)
            # The function's own tasks are the child's; what it logged must be in the journal before it answers.
            register.close(None)
            if getattr(recorder, "stream", ""):
                recorder.close()
            _send(result[1], answer)
            status = 0
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
    except BaseException:
        import traceback

        with contextlib.suppress(BaseException):
            traceback.print_exc()
            sys.stderr.flush()
    finally:
        os._exit(status)


def _make_independent(parent: int) -> None:
    """What a child of a training process needs to live on its own."""
    # Collecting would touch, and so copy, every page of the parent's objects.
    gc.freeze()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Ctrl-C is the parent's to decide; its SIGTERM handler would speak for the whole run.
        with contextlib.suppress(ValueError, OSError):
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
    with contextlib.suppress(ValueError, OSError):
        signal.set_wakeup_fd(-1)
    torch = sys.modules.get("torch")
    if torch is not None:
        # OpenMP's threads did not come along: a parallel region would wait for them for ever.
        with contextlib.suppress(Exception):
            torch.set_num_threads(1)
    life.follow(parent)


def _send(fd: int, answer: bytes) -> None:
    view = memoryview(_LENGTH.pack(len(answer)) + answer)
    while view:
        view = view[os.write(fd, view) :]


# -- small things -----------------------------------------------------------------------------------------


def _close(*fds: int) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _wait(pid: int) -> int | None:
    """The exit status of a child that has closed its pipe; killed if it does not leave in a second."""
    until = time.monotonic() + 1.0
    try:
        while True:
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > until:
                _kill(pid)
                until = float("inf")
            time.sleep(0.001)
    except ChildProcessError:
        return None
