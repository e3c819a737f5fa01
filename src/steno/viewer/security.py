"""Who may ask: the token in its three ways, hosts without a token, and requests that change something."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from steno.viewer import answers
from steno.viewer import token as token_

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SAFE: Final = frozenset({"GET", "HEAD"})
_OPEN: Final = frozenset({"/api/login", "/ask.js"})
"""What is answered to everybody: how one shows the token."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a server lets in."""

    token: str | None
    """None: whoever reaches the server may look."""
    identity: str
    hosts: frozenset[str] = field(default=LOOPBACK)
    """Names without port that `Host` may have where there is no token."""

    @property
    def cookie(self) -> str:
        """Its name, another one for each server: browsers keep cookies by host, not by port."""
        return f"steno-{self.identity}"

    def give_cookie(self, answer: Response) -> None:
        """Let the browser that gets this answer in from now on."""
        # No Path: the browser takes the directory of the address it asked for, a proxy's prefix with it.
        made = f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Max-Age=31536000"
        answer.headers.append("Set-Cookie", made)


class Guard:
    """Stands before the application: each request passes here, and each answer gets its headers here.

    With a token `Host` is not judged, since proxies rewrite it, and a page that reaches us by a rebound name has no
    token. Without one only names of this machine are taken.
    """

    def __init__(self, app: ASGIApp, rules: Rules, page_policy: str) -> None:
        self._app = app
        self._rules = rules
        self._page_policy = page_policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        framed = self._by_path(scope)
        headers = Headers(scope=scope)

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._seal(MutableHeaders(scope=message), framed=framed)
            await send(message)

        refusal = self._refusal(scope, headers, framed=framed)
        await (self._app if refusal is None else refusal)(scope, receive, sealed)

    def _refusal(self, scope: Scope, headers: Headers, *, framed: bool) -> Response | None:
        rules = self._rules
        if rules.token is None:
            host = _host_of(headers.get("host", ""))
            if host not in rules.hosts:
                return answers.wrong(
                    403,
                    f"this viewer has no token and does not answer to the name {host!r}",
                    f"start it with --allow-host {host}, or without --no-token",
                )
        else:
            found = self._exchanged(scope)
            if found is not None:
                return found
            if not framed and not self._has_token(headers) and scope["path"] not in _OPEN:
                return answers.ask(scope)
        if scope["method"] not in _SAFE:
            return _cross_site(headers)
        return None

    def _by_path(self, scope: Scope) -> bool:
        """Whether the address begins with `t/<token>/`, which is then taken off."""
        path: str = scope["path"]
        if not path.startswith("/t/"):
            return False
        given, slash, rest = path[3:].partition("/")
        if self._rules.token is None or not slash or not token_.same(given, self._rules.token):
            return False
        scope["path"] = f"/{rest}"
        # As it was sent: a run's own "/" is %2F there.
        scope["raw_path"] = b"/" + scope["raw_path"].partition(b"/t/")[2].partition(b"/")[2]
        return True

    def _has_token(self, headers: Headers) -> bool:
        token = self._rules.token or ""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and token_.same(given.strip(), token):
            return True
        for line in headers.getlist("cookie"):
            for one in line.split(";"):
                name, _, value = one.strip().partition("=")
                if name == self._rules.cookie and token_.same(value, token):
                    return True
        return False

    def _exchanged(self, scope: Scope) -> Response | None:
        """The answer to an address with `?token=`: the same address without it, and a cookie."""
        query = scope["query_string"].decode("latin-1")
        if scope["method"] not in _SAFE or "token=" not in query:
            return None
        pairs = parse_qsl(query, keep_blank_values=True)
        given = [value for name, value in pairs if name == "token"]
        if not given:
            return None
        rest = urlencode([(name, value) for name, value in pairs if name != "token"])
        # Relative, since only the browser knows under which prefix a proxy has put us.
        last = quote(scope["path"].rpartition("/")[2], safe="", errors="replace")
        place = f"./{last}{f'?{rest}' if rest else ''}"
        answer = Response(status_code=303, headers={"Location": place})
        if token_.same(given[-1], self._rules.token or ""):
            self._rules.give_cookie(answer)
        return answer

    def _seal(self, headers: MutableHeaders, *, framed: bool) -> None:
        headers["Referrer-Policy"] = "no-referrer"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers.setdefault("Cache-Control", "no-store")
        if "content-security-policy" not in headers:
            # Only an address that holds the token may stand in a frame of another page: a notebook's.
            ancestors = "*" if framed else "'self'"
            headers["Content-Security-Policy"] = f"{self._page_policy}; frame-ancestors {ancestors}"


def _cross_site(headers: Headers) -> Response | None:
    """Why a request that may change something is refused; None: it comes from our page, or from no browser."""
    if headers.get("x-steno") != "1":
        return answers.wrong(403, "the header X-Steno is missing", "send `X-Steno: 1` with each request but GET")
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        good = site == "same-origin"
    elif origin is not None:
        good = urlsplit(origin).netloc == headers.get("host", "")
    else:
        # No browser sends neither; a cookie without them is not believed.
        good = headers.get("authorization", "").lower().startswith("bearer ")
    if good:
        return None
    return answers.wrong(403, "the request comes from another site", "send it from the viewer's own page")


def _host_of(header: str) -> str:
    """The name in a `Host` header, in lower case, without the port."""
    text = header.strip().lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0]
