"""The server's process: its socket, its signals, its end within half a second."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import html
import json
import os
import signal
import socket
import tempfile
import threading
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import files, paths
from steno.errors import UsageError
from steno.viewer import token as token_

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PORT: Final = 7860
_PORTS: Final = 50
"""How many are tried from the first on."""
_END_SECS: Final = 0.25
_ARENA_MAX: Final = -8
"""As <malloc.h> numbers it."""
_MISSING: Final = "the viewer needs packages that are not installed: pip install 'stenolog[view]'"


@dataclass(frozen=True, slots=True)
class Options:
    """How a viewer is served.

    Attributes:
        dir: the directory of runs, or the URL of an object store.
        host, port: where it listens; with `port` None the first free one from 7860 on.
        browser: open one.
        token: ask for the user's token.
        allow_hosts: further names that a viewer without a token answers to.
        allow_edit: names, tags and notes of runs may be changed through the page.
        shown: what the browser is opened with: the view, behind a "#".
        parent: a descriptor. Each line of it is a view, as JSON, to open a browser with; at its end the program that
            started the viewer is gone, and the viewer ends too.
    """

    dir: str
    host: str = "127.0.0.1"
    port: int | None = None
    browser: bool = True
    token: bool = True
    allow_hosts: tuple[str, ...] = ()
    allow_edit: bool = False
    shown: str = ""
    parent: int | None = None


def serve(options: Options, announce: Callable[[str, str | None], None]) -> None:
    """Serve until Ctrl-C, SIGTERM or SIGHUP; at most half a second later the process has nothing of it left.

    Args:
        options: how.
        announce: called once it listens, with the address and, where there is a token, the address that has it.

    Raises:
        UsageError: packages are missing, the port is taken, the host may not be served without a token, or the place
            is a URL of no database.
    """
    try:
        import starlette
        import uvicorn

        del starlette
    except ImportError as error:
        raise UsageError(f"{_MISSING} ({error.name})") from None
    from steno.viewer.app import Viewer
    from steno.viewer.security import LOOPBACK, Rules

    if not options.token and options.host not in {"127.0.0.1", "localhost", "::1"}:
        raise UsageError(f"--no-token with --host {options.host} would show the runs to everybody: take one of the two")
    _share_heap()
    sock = _listen(options.host, options.port)
    port = sock.getsockname()[1]
    root = options.dir if paths.is_url(options.dir) else Path(paths.absolute("dir", options.dir))
    token = token_.of_user()[0] if options.token else None
    hosts = LOOPBACK | {name.lower() for name in options.allow_hosts}
    rules = Rules(token, token_.identity(str(root), port), frozenset(hosts))
    viewer = Viewer(root, options.dir, rules, edit=options.allow_edit)
    config = uvicorn.Config(
        viewer.app, log_level="error", access_log=False, lifespan="on", timeout_graceful_shutdown=1,
        server_header=False, date_header=False, proxy_headers=False, timeout_keep_alive=30,
    )  # fmt: skip
    opened: list[str] = []
    server = _server_type()(config, viewer.live.end, opened)
    shown = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{shown}:{port}/"
    announce(address, None if token is None else f"{address}?token={token}")
    if options.browser:
        opened += _open(address, token, options.shown)
    if options.parent is not None:
        more = lambda shown: opened.extend(_open(address, token, shown))  # noqa: E731
        threading.Thread(target=_end_with, args=(options.parent, server, more), daemon=True).start()
    try:
        asyncio.run(server.serve(sockets=[sock]))
    finally:
        _remove(opened)


def _share_heap() -> None:
    """Have all threads take memory from one heap: each would keep one as large as its largest answer took."""
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def _listen(host: str, port: int | None) -> socket.socket:
    """A listening socket at that port, or at the first free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for one in [port] if port is not None else [*range(PORT, PORT + _PORTS), 0]:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, one))
            sock.listen(256)
        except OSError as error:
            sock.close()
            if port is None and one:
                continue
            raise UsageError(f"cannot listen at {host}:{one}: {error.strerror}; --port chooses another one") from None
        return sock
    raise AssertionError


def _server_type() -> Any:
    """Made late: `pip install stenolog` alone has no uvicorn."""
    import uvicorn

    class Server(uvicorn.Server):
        """Ends streams first: uvicorn alone waits for them for ever."""

        def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None], opened: list[str]) -> None:
            super().__init__(config)
            self._end_streams = end_streams
            self._opened = opened

        def handle_exit(self, sig: int, frame: object) -> None:
            """A signal, or the end of the program that started the viewer."""
            del sig, frame
            self.end()

        def end(self) -> None:
            """Stop serving; what is still being computed for a client is given up soon."""
            self.should_exit = True
            self._end_streams()
            killer = threading.Timer(_END_SECS, _give_up, (self._opened,))  # a query in a thread cannot be stopped
            killer.daemon = True
            killer.start()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Ctrl-C, SIGTERM and a closed terminal end it without a traceback."""
            main = threading.current_thread() is threading.main_thread()
            wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if main else ()
            before = {sig: signal.signal(sig, self.handle_exit) for sig in wanted}
            try:
                yield
            finally:
                for sig, old in before.items():
                    signal.signal(sig, old)

    return Server


def _end_with(fd: int, server: Any, browse: Callable[[str], None]) -> None:
    """Open a browser for each line that comes; end the server when the other end of the pipe is closed."""
    with contextlib.suppress(OSError, ValueError), open(fd, "rb", closefd=False) as lines:
        for line in lines:
            browse(json.loads(line))
    server.end()


def _give_up(opened: list[str]) -> None:
    _remove(opened)
    os._exit(0)


def _remove(paths: list[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            files.unlink(path)


def _open(address: str, token: str | None, shown: str) -> list[str]:
    """Open a browser; returns the files to remove at the end.

    It is given a file that only this user may read: a command line is seen by everybody.
    """
    if token is None:
        webbrowser.open(f"{address}{shown}")
        return []
    fd, path = tempfile.mkstemp(prefix="steno-view-", suffix=".html")  # mode 0600
    target = html.escape(f"{address}?token={token}{shown}", quote=True)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(
            '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
            f'<meta http-equiv="refresh" content="0; url={target}"><title>steno</title>'
        )
    webbrowser.open(Path(path).as_uri())
    return [path]
