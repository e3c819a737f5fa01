"""The page's own files, as they were built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import FileResponse, PlainTextResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

PAGE: Final = Path(__file__).parent / "page"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; frame-src 'self'; worker-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'"
)
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}


class Page:
    """The files below `page`, listed once: nothing else can be asked for."""

    def __init__(self) -> None:
        self._files = {
            path.relative_to(PAGE).as_posix(): path
            for path in sorted(PAGE.rglob("*"))
            if path.is_file() and path.suffix in _TYPES
        }

    async def serve(self, request: Request) -> Response:
        """The page at "/", or one of its files."""
        name = request.scope["path"].lstrip("/") or "index.html"
        path = self._files.get(name)
        if path is None:
            missing = "the page is not in this installation" if name == "index.html" else "there is no such page"
            return PlainTextResponse(missing, 404)
        answer = FileResponse(path, media_type=_TYPES[path.suffix])
        if name.startswith("assets/"):  # named after their content
            answer.headers["Cache-Control"] = "private, max-age=31536000, immutable"
        return answer
