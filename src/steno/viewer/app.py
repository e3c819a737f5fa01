"""The application: the resources at their addresses, behind the guard."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

import steno
from steno.errors import StenoError
from steno.viewer import answers, asked
from steno.viewer import token as token_
from steno.viewer.artifacts import ArtifactLists
from steno.viewer.catalogues import catalogue_of
from steno.viewer.chart import Charts
from steno.viewer.edit import EditResource
from steno.viewer.export import Export
from steno.viewer.files import Files, not_found
from steno.viewer.gallery import Gallery
from steno.viewer.heat import Heat
from steno.viewer.kept import KeptViews
from steno.viewer.live import LiveStreams
from steno.viewer.overview import Overview
from steno.viewer.page import POLICY, Page
from steno.viewer.records import Records
from steno.viewer.run import OneRun
from steno.viewer.runs import Runs
from steno.viewer.security import Guard, Rules
from steno.viewer.stall import Stall
from steno.viewer.tables import Tables
from steno.viewer.views import Views

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_AS_THEY_ARE = ("/api/media/", "/api/artifact/", "/api/live", "/api/series", "/api/export")


class Viewer:
    """The application over one directory of runs.

    Args:
        root: the directory, which need not be there yet; a text is the URL of an object store or of a database.
        shown: what the page calls it.
        rules: who may ask.
        edit: whether runs may be changed, and views kept next to them.
    """

    def __init__(self, root: Path | str, shown: str, rules: Rules, *, edit: bool = False) -> None:
        self.catalogue = catalogue_of(root)
        self._kept = KeptViews(root)
        self.live = LiveStreams(self.catalogue)
        self._shown = shown
        self._rules = rules
        self._edit = edit
        self.app: ASGIApp = Guard(self._application(), rules, POLICY)

    def _application(self) -> ASGIApp:
        table, one = Runs(self.catalogue, Stall(self.catalogue)), OneRun(self.catalogue)
        overview, artifacts = Overview(self.catalogue), ArtifactLists(self.catalogue)
        records = Records(self.catalogue)
        charts, files = Charts(self.catalogue), Files(self.catalogue)
        views = Views(self._kept, allowed=self._edit, changed=self.live.notify)
        edit = EditResource(self.catalogue, allowed=self._edit, changed=self.live.notify)
        gallery = Gallery(self.catalogue)
        made = Starlette(
            routes=[
                Route("/api/hello", self._hello),
                Route("/api/login", self._login, methods=["POST"]),
                Route("/api/server", self._server),
                Route("/api/runs", table.runs, methods=["GET", "POST"]),
                Route("/api/columns", table.columns),
                Route("/api/keys", one.keys, methods=["GET", "POST"]),
                Route("/api/config", overview.config),
                Route("/api/health", overview.health),
                Route("/api/artifacts", artifacts.artifacts),
                Route("/api/records", records.records),
                Route("/api/output", records.output),
                Route("/api/chart", charts.chart, methods=["POST"]),
                Route("/api/series", charts.series),
                Route("/api/export", Export(self.catalogue, table, one, charts).export, methods=["POST"]),
                Route("/api/views", views.list),
                Route("/api/views/save", views.save, methods=["POST"]),
                Route("/api/views/rename", views.call, methods=["POST"]),
                Route("/api/views/remove", views.drop, methods=["POST"]),
                Route("/api/edit", edit.edit, methods=["POST"]),
                Route("/api/live", self.live.live),
                Route("/api/news", self.live.ask),
                Route("/api/media-index", gallery.index, methods=["POST"]),
                Route("/api/media-heat", Heat(self.catalogue, gallery).heat, methods=["POST"]),
                Route("/api/media-table", Tables(self.catalogue).table, methods=["POST"]),
                Route("/api/media/{rest:path}", files.media),
                Route("/api/artifact/{rest:path}", files.artifact),
                Route("/api/{rest:path}", _no_such),
                Route("/ask.js", _ask_script),
                Route("/{rest:path}", Page().serve),
            ],
            exception_handlers={
                asked.TooMuchError: _too_much, StenoError: _refused, FileNotFoundError: _missing, Exception: _failed,
            },
            lifespan=self._lifespan,
        )  # fmt: skip
        return _Compressed(made)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.live.start()
        yield
        self.live.close()
        self.catalogue.close()

    async def _hello(self, _: Request) -> Response:
        return answers.data({})

    async def _server(self, _: Request) -> Response:
        return answers.data({"version": steno.__version__, "dir": self._shown, "edit": self._edit})

    async def _login(self, request: Request) -> Response:
        given = asked.text(await asked.body(request), "token") or ""
        if self._rules.token is None or not token_.same(given, self._rules.token):
            return answers.wrong(401, "this is not the viewer's token", "`steno view` prints the address that has it")
        answer = answers.data({})
        self._rules.give_cookie(answer)
        return answer


class _Compressed:
    """Compresses what the page asks for; files are sent by ranges, and an event must not wait in a compressor."""

    def __init__(self, app: ASGIApp) -> None:
        self._plain = app
        self._compressed = GZipMiddleware(app, minimum_size=1024, compresslevel=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plain = scope["type"] != "http" or scope["path"].startswith(_AS_THEY_ARE)
        await (self._plain if plain else self._compressed)(scope, receive, send)


async def _ask_script(_: Request) -> Response:
    return answers.ask_script()


async def _no_such(_: Request) -> Response:
    return answers.wrong(404, "there is no such resource", "docs/viewer-api.md has the list")


async def _refused(_: Request, error: Any) -> Response:
    return answers.of_error(error)


async def _too_much(_: Request, error: Any) -> Response:
    return answers.wrong(413, **answers.said(error))


async def _missing(_: Request, error: Any) -> Response:
    return not_found(error)


async def _failed(_: Request, error: Exception) -> Response:
    return answers.wrong(500, f"steno failed here: {type(error).__name__}: {error}", "the others are not affected")
