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
from urllib.parse import quote

from steno import paths, settings
from steno.errors import UsageError

_START_SECS = 30.0


class Viewer:
    """A viewer that this program has started. It ends with the program, or at `close`.

    Thread-safe. A forked child does not end it.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, address: str, root: str, shown: str) -> None:
        self.url = f"{url}{shown}"
        """The address, with the token in it: whoever has it may look."""
        self.address = f"{address}{shown}"
        """The address without the token."""
        token = url.partition("?token=")[2]
        self._framed = f"{address}t/{token}/{shown}" if token else self.address
        self._root = root
        self._process = process
        self._end = weakref.finalize(self, _end, process, os.getpid())

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
        The viewer, in a process of its own; in a notebook it shows itself.

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
    options: dict[str, Any] = {
        "dir": place, "port": port, "host": host, "browser": wanted, "token": token, "shown": shown,
        "allow_edit": allow_edit,
    }  # fmt: skip
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
    return Viewer(process, said["url"], said["address"], place, shown)


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules
