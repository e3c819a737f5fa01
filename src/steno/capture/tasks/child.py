"""Mode "spawn", the child's side: imports the main program, then runs tasks one after the other."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection


STARTED: Final = struct.Struct("<Q")
"""The number of the task that a child begins, in a file that its parent reads when the child is dead."""


def main(fd: int, parent: int, started_fd: int) -> None:
    """Serve the connection until the parent closes it.

    Args:
        fd: the connection.
        parent: meets the end of file when the parent is gone.
        started_fd: where the number of each task goes before it begins.
    """
    from multiprocessing.connection import Connection

    from steno.capture.tasks import life

    # The parent decides what Ctrl-C means; a terminal sends it to all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    life.follow(parent)
    with Connection(fd) as connection:
        try:
            around = pickle.loads(connection.recv_bytes())
            problem = _become(around, parent)
            connection.send_bytes(problem or b"ready")
            if not problem:
                _serve(connection, _recorder(*around["log"]), started_fd)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass


def _become(around: dict[str, Any], parent: int) -> bytes:
    """Be like the parent: paths, arguments, its main program imported. Returns what went wrong, or nothing."""
    import traceback
    from multiprocessing import process, spawn

    from steno.capture.tasks import guard

    # As in a child of multiprocessing's own: parent_process() is what `steno.log` joins the run by.
    process._parent_process = process._ParentProcess("MainProcess", around["parent"], parent)  # type: ignore[attr-defined]
    for name, value in around["environ"].items():
        if value:
            os.environ[name] = value
    me: Any = process.current_process()
    me.authkey = around["authkey"]
    me._inheriting = True
    try:
        spawn.prepare(around["prepare"])
    except BaseException:
        trace = traceback.format_exc()
    else:
        trace = ""
    finally:
        del me._inheriting
    if guard.refused:
        return b"guard\n"
    return f"main\n{trace}".encode() if trace else b""


def _recorder(module: str, name: str) -> Callable[..., None]:
    """What records a result in the run; joins the run at its first use."""
    from importlib import import_module

    if not module:
        return _nowhere
    record: Callable[..., None] = getattr(import_module(module), name)
    return record


def _await_nested() -> None:
    """Tasks that the function asked for belong to it: they end before it is answered."""
    from steno.capture.tasks.owner import owners

    for one in list(owners):
        one.wait()


def _nowhere(_data: Any, _step: Any) -> None:
    """mode="off"."""


def _serve(connection: Connection, log: Callable[..., None], started_fd: int) -> None:
    from steno.capture.tasks import reply

    while True:
        whole, number, step = pickle.loads(connection.recv_bytes())
        body = connection.recv_bytes()
        os.pwrite(started_fd, STARTED.pack(number), 0)

        def record(data: Mapping[str, Any], step: Any = step) -> None:
            log(data, step)

        def load(body: bytes = body) -> Any:
            return pickle.loads(body)

        answer = reply.run(load, record, whole=whole)
        _await_nested()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        connection.send_bytes(answer)
