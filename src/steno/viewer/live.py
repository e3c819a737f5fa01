"""`api/live` and `api/news`: that something has changed, never what; the page then asks for what it shows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import StreamingResponse

from steno.viewer import answers
from steno.viewer.news import NewsFeed, until
from steno.viewer.watch import RunWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from steno.viewer.catalogue import Catalogue

BEAT_SECS: Final = 10.0
_LEAST_SECS: Final = 0.5
"""Between two events of one client."""
_WATCHED_SECS: Final = 30.0
"""A client that polls is there for so long after each question."""
_MOST_RUNS: Final = 10_000
_HEADERS: Final = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


class LiveStreams:
    """The streams of all clients."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.news = NewsFeed()
        self._watch = RunWatch(catalogue, self.news.add, self._wanted)
        self._clients = 0
        self._polled = -1e9
        self._over = False
        self._ending = asyncio.Event()

    def start(self) -> None:
        """Begin to look around; called in the server's loop."""
        self.news.bind(asyncio.get_running_loop())
        self._watch.start()

    def end(self) -> None:
        """End every stream now. May be called from a signal handler of the loop."""
        self._over = True
        self.news.wake(self._ending.set)

    def notify(self) -> None:
        """Tell everybody now that the list has changed. May be called from any thread."""
        self.news.add(True, {})

    def close(self) -> None:
        """End the thread."""
        self._watch.close()

    def _wanted(self) -> bool:
        return self._clients > 0 or time.monotonic() - self._polled < _WATCHED_SECS

    async def live(self, request: Request) -> Response:
        """`api/live`."""
        known = request.headers.get("last-event-id") or request.query_params.get("since")
        return StreamingResponse(
            self._events(_runs(request), known), media_type="text/event-stream; charset=utf-8", headers=_HEADERS
        )

    async def _events(self, watched: frozenset[str], known: str | None) -> AsyncIterator[bytes]:
        self._clients += 1
        try:
            self._watch.wake()
            id = known if known is not None else self.news.last
            yield _event("beat", id if known is None else None, {})
            beat = time.monotonic() + BEAT_SECS
            while not self._over:
                id, found = self.news.since(id, watched)
                if found != {}:
                    yield _event("reset", id, {}) if found is None else _event("news", id, found)
                    await until(self._ending, _LEAST_SECS)
                    continue
                if time.monotonic() >= beat:
                    beat = time.monotonic() + BEAT_SECS
                    yield _event("beat", id, {})
                await self.news.wait(max(beat - time.monotonic(), 0.01))
        finally:
            self._clients -= 1

    async def ask(self, request: Request) -> Response:
        """`api/news`: the same for a client whose stream is held up on its way."""
        self._polled = time.monotonic()
        self._watch.wake()
        since = request.query_params.get("since")
        id, found = (self.news.last, {}) if since is None else self.news.since(since, _runs(request))
        if found is None:
            return answers.data({"id": id, "reset": True, "list": True, "runs": {}})
        return answers.data({"id": id, "reset": False, "list": False, "runs": {}, **found})


def _runs(request: Request) -> frozenset[str]:
    return frozenset(request.query_params.getlist("runs")[:_MOST_RUNS])


def _event(name: str, id: str | None, data: dict[str, Any]) -> bytes:
    head = "" if id is None else f"id: {id}\n"
    return f"{head}event: {name}\n".encode() + b"data: " + answers.encoded(data) + b"\n\n"
