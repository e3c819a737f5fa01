"""`steno.view`: a viewer in a process of its own, for programs and notebooks."""

from __future__ import annotations

import contextlib
import functools
import html
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from steno import paths, settings
from steno.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

_START_SECS = 30.0


class Viewer:
    """A viewer that this program has started. It ends with the program, or at `close`.

    Viewers of the same place with the same options share one process, which ends with the last of them. Thread-safe.
    A forked child does not end it.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        url: str,
        address: str,
        root: str,
        shown: str,
        let_go: Callable[[], None],
    ) -> None:
        self.url = f"{url}{shown}"
        """The address, with the token in it: whoever has it may look."""
        self.address = f"{address}{shown}"
        """The address without the token."""
        token = url.partition("?token=")[2]
        self._framed = f"{address}t/{token}/{shown}" if token else self.address
        self._root = root
        self._process = process
        self._end = weakref.finalize(self, let_go)

    def __repr__(self) -> str:
        return f"<Viewer of {self._root!r} at {self.address}>"

    def _repr_html_(self) -> str:
        place = html.escape(self._framed, quote=True)
        return (
            f'<iframe src="{place}" width="100%" height="640" style="border:1px solid #8884" '
            'referrerpolicy="no-referrer" title="steno"></iframe>'
        )

    def wait(self) -> None:
        """Until it ends, which it does by itself only where it fails or is ended from outside."""
        self._process.wait()

    def close(self) -> None:
        """End it, unless another viewer shares its process; returns when the process is gone."""
        self._end()


class _Server:
    """The process of viewers with the same options; the line that it says when it listens has been read."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.holders = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "steno.viewer", json.dumps(options)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        line = self.process.stdout.readline() if self.process.stdout is not None else b""
        try:
            said = json.loads(line)
        except ValueError:
            said = {"error": "the viewer's process ended before it listened"}
        if "error" in said:
            self.end()
            raise UsageError(said["error"])
        self.url: str = said["url"]
        self.address: str = said["address"]

    def browse(self, shown: str) -> None:
        """Have it open a browser, as it does at its start."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it has just ended
            self.process.stdin.write(json.dumps(shown).encode() + b"\n")
            self.process.stdin.flush()

    def end(self) -> None:
        """End the process; returns when it is gone."""
        with contextlib.suppress(OSError):
            self.process.send_signal(signal.SIGTERM)
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


_lock = threading.RLock()
"""One that its thread may take again: a viewer may be collected, and so let go, at any time."""
_running: dict[tuple[Any, ...], _Server] = {}


def _anew() -> None:
    global _lock
    _lock = threading.RLock()
    _running.clear()


os.register_at_fork(after_in_child=_anew)


def _let_go(server: _Server, owner: int) -> None:
    if os.getpid() != owner:
        return
    with _lock:
        server.holders -= 1
        if server.holders:
            return
        for key in [key for key, one in _running.items() if one is server]:
            del _running[key]
    server.end()


def view(
    dir: str | os.PathLike[str] | None = None,
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    browser: bool | None = None,
    token: bool = True,
    allow_edit: bool = False,
) -> Viewer:
    """Show the runs under a directory in a browser, or in a notebook's cell.

    Args:
        dir: where runs are kept, or the URL of an object store or a database; None: STENO_DIR, else `runs`.
        port: None: the first free one from 7860 on.
        host: the address to listen at; another one than this machine's own needs the token.
        browser: open one; None: only outside of notebooks.
        token: ask for the user's token.
        allow_edit: names, tags, notes and colours of runs may be changed through the page, and views be kept.

    Returns:
        The viewer, in a process next to this one; in a notebook it shows itself. A further viewer of the same place
        with the same options shares that process.

    Raises:
        UsageError: `stenolog[view]` is not installed, the port is taken, or it did not start.
    """
    given = settings.read("STENO_DIR", "runs") if dir is None else dir
    place = str(given) if paths.is_url(given) else paths.local("dir", given)
    return start(place, port=port, host=host, browser=browser, token=token, allow_edit=allow_edit)


def start(
    place: str, *, run: str | None = None, port: int | None, host: str, browser: bool | None, token: bool,
    allow_edit: bool,
) -> Viewer:  # fmt: skip
    """The viewer of a directory, where `run` is given with that run alone drawn; the others as `view`."""
    shown = "" if run is None else f"#runs=none&show={quote(run, safe='')}"
    wanted = not _in_notebook() if browser is None else browser
    same = {"port": port, "host": host, "token": token, "allow_edit": allow_edit}
    key = (place if paths.is_url(place) else paths.absolute("dir", place), *same.values())
    with _lock:
        while True:
            server = _running.get(key)
            if server is None or server.process.poll() is not None:
                server = _running[key] = _Server({"dir": place, "browser": wanted, "shown": shown, **same})
            elif wanted:
                server.browse(shown)
            server.holders += 1
            if _running.get(key) is server:  # else its last viewer has just been collected
                let_go = functools.partial(_let_go, server, os.getpid())
                return Viewer(server.process, server.url, server.address, place, shown, let_go)


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules
