"""A ledger opened for reading, from any process and without writing a byte there."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from steno import inside
from steno.errors import CorruptError
from steno.journal import place as places
from steno.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRIES = 40


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection inside one read transaction, creating nothing next to the ledger.

    Raises:
        sqlite3.Error: it is not there or not readable.
    """
    with contextlib.ExitStack() as stack:
        connection = _open(path, stack)
        stack.callback(connection.close)
        connection.execute("begin")
        yield connection


def _open(path: Path, stack: contextlib.ExitStack) -> sqlite3.Connection:
    wal, shm = Path(f"{path}-wal"), Path(f"{path}-shm")
    if not os.path.isfile(path) or any(one.exists() and not one.is_file() for one in (wal, shm)):
        msg = f"no ledger at {path}"  # SQLite would wait for the other end of a pipe
        raise sqlite3.OperationalError(msg)
    path = Path(os.path.realpath(path))
    if len(os.fsencode(path)) > places.LEDGER_PATH_BYTES:
        return _copied(path, wal, stack)  # of a run that was moved there: SQLite opens none at a path so long
    for _ in range(_TRIES):
        mode = "mode=ro"
        if not wal.exists():
            if _is_wal(path):
                mode = "mode=ro&immutable=1"  # nobody has it open; an ordinary open would make -wal and -shm
        elif not shm.exists():
            return _copied(path, wal, stack)
        try:
            connection = _connect(path, mode)
            connection.execute("select 1 from meta limit 1").fetchone()
        except sqlite3.OperationalError as error:
            if "unable to open" in str(error) or "readonly" in str(error):
                return _copied(path, wal, stack)
            raise
        if "immutable" not in mode or not wal.exists():
            return connection
        connection.close()  # a collector came meanwhile: what we would read may change under us
    msg = f"the ledger {path} is opened and closed too often to be read"
    raise sqlite3.OperationalError(msg)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{str(path).replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?{mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False)
    return _guarded(connection)


def _guarded(connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        schema.guard(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_wal(path: Path) -> bool:
    """Whether its header says that it has a -wal. SQLite would say no wherever it is told that nothing changes."""
    try:
        with open(inside.opened(path), "rb") as file:
            return file.read(20)[18:] == b"\2\2"
    except (OSError, CorruptError):
        return False  # SQLite will say what is wrong


def _copied(path: Path, wal: Path, stack: contextlib.ExitStack) -> sqlite3.Connection:
    """The ledger of a dead or foreign run with its -wal but nobody's -shm: read a copy, so that none is made."""
    place = stack.enter_context(tempfile.TemporaryDirectory(prefix="steno-ledger-"))
    copy = Path(place) / path.name
    try:
        shutil.copyfile(path, copy)
    except FileNotFoundError as error:  # put away in this moment
        msg = f"no ledger at {path}"
        raise sqlite3.OperationalError(msg) from error
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(wal, f"{copy}-wal")
    return _guarded(sqlite3.connect(copy, isolation_level=None, check_same_thread=False))
