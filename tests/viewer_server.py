"""A viewer in a process of its own, asked over a real socket as a browser or a stranger would."""

from __future__ import annotations

import contextlib
import http.client
import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import steno
from steno.viewer.started import Viewer

SAME = {"X-Steno": "1", "Sec-Fetch-Site": "same-origin"}


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def cards(self) -> list[dict[str, Any]]:
        """The cards of `api/chart`, each series with its columns as arrays."""
        (size,) = struct.unpack_from("<I", self.body)
        assert (4 + size) % 8 == 0
        cards = json.loads(self.body[4 : 4 + size])["cards"]
        rest = self.body[4 + size :]
        for card in cards:
            for one in card.get("series", ()):
                one["columns"] = {name: _column(rest, place, one["rows"]) for name, place in one["columns"].items()}
        return cards


def _column(rest: bytes, place: dict[str, Any], rows: int) -> np.ndarray:
    if place["dtype"] == "const":
        return np.full(rows, place["value"], np.float64)
    assert place["offset"] % 8 == 0
    assert place["length"] == rows
    return np.frombuffer(rest, np.dtype(place["dtype"]), rows, place["offset"])


class Asker:
    """Asks one viewer."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.address = viewer.address
        self.token = viewer.url.partition("?token=")[2].partition("#")[0]
        self.host, _, port = viewer.address.removeprefix("http://").partition("/")[0].partition(":")
        self.port = int(port)

    def ask(
        self, path: str, method: str = "GET", data: Any = None, *, token: str | None = "", **headers: str
    ) -> Answer:
        """One request; names of headers have "_" for "-". `token`: None for none, else the viewer's own by default."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None and self.token:
            sent.setdefault("Authorization", f"Bearer {token or self.token}")
        body = None
        if data is not None:
            body = data if isinstance(data, bytes) else json.dumps(data).encode()
            sent.setdefault("Content-Type", "application/json")
        with contextlib.closing(http.client.HTTPConnection(self.host, self.port, timeout=60)) as connection:
            connection.putrequest(method, path, skip_host="Host" in sent, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            found = connection.getresponse()
            return Answer(found.status, found.headers, found.read())

    def post(self, path: str, data: Any, **headers: str) -> Answer:
        """A request of the page's own."""
        return self.ask(
            path, "POST", data, **{name.replace("-", "_"): value for name, value in SAME.items()}, **headers
        )

    def card(self, **card: Any) -> dict[str, Any]:
        """The answer for one card."""
        answer = self.post("/api/chart", {"cards": [{"id": "a", **card}]})
        assert answer.status == 200, answer.body
        return answer.cards()[0]


@contextlib.contextmanager
def viewing(place: Any, **options: Any):
    """A viewer over a directory of runs, or an object store."""
    viewer = steno.view(place, browser=False, **options)
    try:
        yield viewer
    finally:
        viewer.close()


@contextlib.contextmanager
def serving(place: Any, **options: Any):
    """What asks such a viewer."""
    with viewing(place, **options) as viewer:
        yield Asker(viewer)


def strange(*words: str) -> st.SearchStrategy[Any]:
    """JSON that a stranger could post: any, with these words in it, which mean something to the viewer."""
    return st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | st.sampled_from([*words]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    )
