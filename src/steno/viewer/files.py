"""`api/media` and `api/artifact`: files of a run, by ranges, never as a part of our page."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from steno import inside
from steno.errors import RunNotFoundError, UsageError
from steno.viewer import answers, guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from steno.store.artifacts import Artifact
    from steno.viewer.catalogue import Catalogue

_CHUNK: Final = 256 << 10
_DEEPEST: Final = 64
"""More parts than these are in no address of ours."""
_CLAIMS: Final = {".html": guarded.HTML, ".htm": guarded.HTML, ".svg": guarded.SVG}
_FOREVER: Final = "private, max-age=31536000, immutable"


class Files:
    """The files of runs."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def media(self, request: Request) -> Response:
        """`api/media/<run>/<path>`: a file below the run's `media`."""
        return await run_in_threadpool(self._media, request)

    def _media(self, request: Request) -> Response:
        run, parts = self._run(_segments(request, "/api/media/"), "media")
        path = "/".join(parts)
        root = self._catalogue.path(run)
        if inside.relative(path).partition("/")[0] != "media":
            raise UsageError(f"{path!r} is no media file of a run: the addresses are those of api/records")
        place = inside.path(root, path)
        self._catalogue.have(run, inside.relative(path))
        return _send(request, inside.opened(place), path, digest=place.stem)

    async def artifact(self, request: Request) -> Response:
        """`api/artifact/<run>/<name>/<version>/<path>`."""
        return await run_in_threadpool(self._artifact, request)

    def _artifact(self, request: Request) -> Response:
        run, parts = self._run(_segments(request, "/api/artifact/"), None)
        if len(parts) < 2:
            raise UsageError("an artifact's address is api/artifact/<run>/<name>/<version>/<path>")
        found, rest = self._version(run, parts)
        files, path = found.files, "/".join(rest)
        if not path and len(files) == 1 and found.kind == "file":
            path = next(iter(files))
        if path not in files:
            raise UsageError(f"the artifact {found.name!r} has no file {path!r}")
        own = found.digest if found.kind == "file" else None
        return _send(request, inside.opened(files[path]), path, digest=own)

    def _run(self, segments: list[str], below: str | None) -> tuple[str, list[str]]:
        """(run, the rest) of an address: the first segments that name a run, and with `below` stand before that.

        The page sends a run's "/" as %2F, so that a run is one segment. A proxy may have decoded it: nginx does.
        """
        for count in range(1, min(len(segments), _DEEPEST)):
            run = "/".join(segments[:count])
            if below is None or segments[count] == below:
                with contextlib.suppress(RunNotFoundError):
                    self._catalogue.path(run)
                    return run, segments[count:]
        return segments[0], segments[1:]

    def _version(self, run: str, parts: list[str]) -> tuple[Artifact, list[str]]:
        """A version, and the segments behind it; a name's "/" may have been decoded too."""
        reader = self._catalogue.reader(run)
        for count in range(2, min(len(parts), _DEEPEST) + 1):
            with contextlib.suppress(UsageError):
                return reader.artifact("/".join(parts[: count - 1]), digest=parts[count - 1]), parts[count:]
        return reader.artifact(parts[0], digest=parts[1]), parts[2:]


def _segments(request: Request, prefix: str) -> list[str]:
    """The parts of an address as they were sent."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    segments = raw.decode("latin-1").partition("?")[0].partition(prefix)[2].split("/")
    try:
        return [unquote(segment, errors="strict") for segment in segments]
    except UnicodeDecodeError:
        raise UsageError("the address is no UTF-8") from None


def _send(request: Request, fd: int, name: str, digest: str | None) -> Response:
    """The open file, or the part of it that is asked for; takes the descriptor over."""
    taken = False
    try:
        size = os.fstat(fd).st_size
        framed = request.headers.get("sec-fetch-dest") in {"iframe", "frame"}
        claim = _CLAIMS.get(os.path.splitext(name)[1].lower())
        kind, headers = guarded.headers(os.pread(fd, guarded.HEAD_BYTES, 0), name, claim, framed=framed)
        headers["Accept-Ranges"] = "bytes"
        if digest is not None:
            headers["ETag"] = f'"{digest}"'
            headers["Cache-Control"] = _FOREVER
            if headers["ETag"] in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
        span = _span(request.headers.get("range"), size)
        if span is None:
            headers["Content-Range"] = f"bytes */{size}"
            return Response(status_code=416, headers=headers)
        first, count = span
        status = 200
        if "range" in request.headers and (first, count) != (0, size):
            headers["Content-Range"] = f"bytes {first}-{first + count - 1}/{size}"
            status = 206
        headers["Content-Length"] = str(count)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=kind)
        taken = True
        return _Sent(fd, (first, count), status, headers, kind)
    finally:
        if not taken:
            os.close(fd)


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """(first byte, bytes) of one range; what is no single range of bytes is the whole; None: beyond the end."""
    unit, _, text = (header or "").partition("=")
    first, dash, last = text.strip().partition("-")
    if unit.strip() != "bytes" or not dash or "," in text:
        return 0, size
    if any(one and not (one.isascii() and one.isdecimal() and len(one) < 19) for one in (first, last)):
        return 0, size
    if not first:
        count = min(int(last or 0), size)
        return (size - count, count) if count else None
    begin, end = int(first), min(int(last), size - 1) if last else size - 1
    return (begin, end - begin + 1) if begin <= end and begin < size else None


class _Fd:
    """An open file, closed at the end of its answer, however that ends; at the latest when it is dropped."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


class _Sent(StreamingResponse):
    """A part of a file. A client that vanishes leaves a generator that only the garbage collector would end."""

    def __init__(self, fd: int, span: tuple[int, int], status: int, headers: dict[str, str], kind: str) -> None:
        self._file = _Fd(fd)
        super().__init__(_chunks(self._file, *span), status, headers, kind)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _chunks(file: _Fd, first: int, count: int) -> Iterator[bytes]:
    while count:
        part = os.pread(file.fd, min(_CHUNK, count), first)
        if not part:
            return
        first, count = first + len(part), count - len(part)
        yield part


def not_found(error: Exception) -> Response:
    """404 for a file that is not there."""
    what = "the file is not in this copy of the run" if isinstance(error, OSError) else str(error)
    return answers.wrong(404, what)
