"""`steno.view`: a viewer in a process of its own, for programs and notebooks."""

from __future__ import annotations

import contextlib
import html
import json
import os
import signal
import subprocess
import sys
import weakref
from typing import Any

from steno import paths, settings
from steno.errors import UsageError

_START_SECS = 30.0


class Viewer:
    """A viewer that this program has started. It ends with the program, or at `close`.

    Thread-safe. A forked child does not end it.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, address: str, root: str) -> None:
        self.url = url
        """The address, with the token in it: whoever has it may look."""
        self.address = address
        """The address without the token."""
        self._framed = f"{address}t/{url.partition('?token=')[2]}/" if "?token=" in url else address
        self._root = root
        self._run = ""
        self._process = process
        self._end = weakref.finalize(self, _end, process, os.getpid())

    def __repr__(self) -> str:
        return f"<Viewer of {self._root!r} at {self.address}>"

    def _repr_html_(self) -> str:
        place = html.escape(f"{self._framed}{self._run}", quote=True)
        return (
            f'<iframe src="{place}" width="100%" height="640" style="border:1px solid #8884" '
            'referrerpolicy="no-referrer" title="steno"></iframe>'
        )

    def close(self) -> None:
        """End it; returns when its process is gone."""
        self._end()


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return
    with contextlib.suppress(OSError):
        process.send_signal(signal.SIGTERM)
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def view(
    dir: str | os.PathLike[str] | None = None,
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    browser: bool | None = None,
    token: bool = True,
) -> Viewer:
    """Show the runs under a directory in a browser, or in a notebook's cell.

    Args:
        dir: where runs are kept; None: STENO_DIR, else `runs`.
        port: None: the first free one from 7860 on.
        host: the address to listen at; another one than this machine's own needs the token.
        browser: open one; None: only outside of notebooks.
        token: ask for the user's token.

    Returns:
        The viewer, in a process of its own; in a notebook it shows itself.

    Raises:
        UsageError: `stenolog[view]` is not installed, the port is taken, or it did not start.
    """
    place = paths.local(
        "dir", settings.read("STENO_DIR", "runs") if dir is None else dir, "`steno show URL` reads there"
    )
    wanted = not _in_notebook() if browser is None else browser
    options: dict[str, Any] = {"dir": place, "port": port, "host": host, "browser": wanted, "token": token}
    process = subprocess.Popen(
        [sys.executable, "-m", "steno.viewer", json.dumps(options)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    line = process.stdout.readline() if process.stdout is not None else b""
    try:
        said = json.loads(line)
    except ValueError:
        said = {"error": "the viewer's process ended before it listened"}
    if "error" in said:
        _end(process, os.getpid())
        raise UsageError(said["error"])
    return Viewer(process, said["url"], said["address"], place)


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules
