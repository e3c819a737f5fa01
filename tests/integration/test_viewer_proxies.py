"""The viewer behind real proxies that put it under a prefix and rewrite Host: nginx with its defaults, Jupyter's."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import steno
import viewer_server

PREFIX = "/people/steno"
NGINX = """
daemon off;
error_log stderr;
pid {place}/nginx.pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
  uwsgi_temp_path {place}; scgi_temp_path {place};
  server {{
    listen 127.0.0.1:{port};
    location {prefix}/ {{ proxy_pass http://127.0.0.1:{viewer}/; }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, "the proxy ended"
        time.sleep(0.1)
    pytest.fail("the proxy does not listen")


@contextlib.contextmanager
def nginx(viewer: int, place: Path):
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not os.path.exists(program):
        assert "CI" not in os.environ, "nginx is missing: scripts/browser installs it"
        pytest.skip("nginx is missing: scripts/browser installs it")
    port = free_port()
    config = place / "nginx.conf"
    config.write_text(NGINX.format(place=place, port=port, viewer=viewer, prefix=PREFIX))
    process = subprocess.Popen([program, "-c", str(config), "-p", str(place)], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield port, PREFIX, []
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def jupyter(viewer: int, place: Path):
    pytest.importorskip("jupyter_server_proxy")
    port = free_port()
    env = {**os.environ, "HOME": str(place), "JUPYTER_CONFIG_DIR": str(place), "JUPYTER_ALLOW_INSECURE_WRITES": "1"}
    process = subprocess.Popen(
        [
            sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
            "--ServerApp.base_url=/user/ada/", "--IdentityProvider.token=jup", f"--ServerApp.root_dir={place}",
            "--ServerApp.jpserver_extensions={'jupyter_server_proxy': True}",
        ],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for_port(port, process)
        # Its own `?token=` and ours have one name: people are let in by Jupyter's cookie, as a browser has it.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/user/ada/login?token=jup")
        cookies = connection.getresponse().headers.get_all("set-cookie")
        connection.close()
        yield port, f"/user/ada/proxy/{viewer}", [line.partition(";")[0] for line in cookies]
    finally:
        process.terminate()
        process.wait(20)


class Through:
    """Asks the viewer through a proxy, with a browser's cookies."""

    def __init__(self, port: int, prefix: str, cookies: list[str]) -> None:
        self.port, self.prefix = port, prefix
        self.cookies = dict(one.split("=", 1) for one in cookies)
        self.connections: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        for one in self.connections:
            one.close()

    def open(self, path: str, method: str = "GET", data: object = None, **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.connections.append(connection)
        cookies = (
            {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        )
        body = None if data is None else json.dumps(data)
        connection.request(method, f"{self.prefix}{path}", body, {**cookies, **headers})
        answer = connection.getresponse()
        for line in answer.headers.get_all("set-cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            assert "path" not in line.lower() or name in {"_xsrf", "username-127-0-0-1"}, "our cookie has no Path"
            self.cookies[name] = value
        return answer


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("viewed")
    with steno.init(project="p", name="a", dir=str(place)) as run:
        for step in range(5):
            run.log({"x": float(step), "seen": steno.Image(np.full((8, 8, 3), 40 * step, np.uint8))}, step=step)
        (place / "model.pt").write_bytes(b"weights" * 1000)
        run.log_artifact(place / "model.pt", name="model/best")
        assert run.finish(60)
    return place


@pytest.mark.timing
@pytest.mark.parametrize("proxy", [nginx, jupyter])
def test_the_viewer_works_under_a_prefix(proxy, place, tmp_path, request):
    """tensorboard#5531: absolute addresses break behind a proxy's prefix."""
    with viewer_server.serving(place) as asker, proxy(asker.port, tmp_path) as (port, prefix, cookies):
        through = Through(port, prefix, cookies)
        request.addfinalizer(through.close)
        opened = through.open(f"/?token={asker.token}&a=1")
        assert opened.status == 303
        assert opened.headers["location"] == "./?a=1", "an address of our own would leave the prefix"
        page = through.open("/?a=1")
        assert page.status == 200
        page_bytes = page.read()
        assert json.loads(through.open("/api/runs").read())["rows"][0]["run"] == "p/a"
        config = json.loads(through.open("/api/config?run=p%2Fa").read())
        assert config["state"] == "finished"
        xsrf = {"X-XSRFToken": through.cookies["_xsrf"]} if "_xsrf" in through.cookies else {}
        own = {"X-Steno": "1", "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json", **xsrf}
        card = {"runs": ["p/a"], "cards": [{"id": "a", "keys": ["x"]}]}
        assert through.open("/api/chart", "POST", card, **own).status == 200
        stranger = Through(port, prefix, [one for one in cookies if not one.startswith("steno")])
        request.addfinalizer(stranger.close)
        assert stranger.open("/api/runs").status == 401
        index = {"runs": ["p/a"], "cards": [{"id": "a", "key": "seen", "step": 4}]}
        # By the cookie, and by the path without one: the same bytes of the page, a run's files, and news.
        for asks, begin in ((through, ""), (stranger, f"/t/{asker.token}")):
            assert asks.open(f"{begin}/").read() == page_bytes
            assert asks.open(f"{begin}/page.js").headers["content-type"].startswith("text/javascript")
            (card_of,) = json.loads(asks.open(f"{begin}/api/media-index", "POST", index, **own).read())["cards"]
            (item,) = card_of["items"]
            picture = asks.open(f"{begin}/api/media/p%2Fa/{item['file']}")
            assert (picture.status, picture.headers["content-type"]) == (200, "image/png")
            assert "sandbox" in picture.headers["content-security-policy"]
            assert picture.read().startswith(b"\x89PNG")
            (kept,) = json.loads(asks.open(f"{begin}/api/artifacts?run=p%2Fa").read())["artifacts"]
            part = asks.open(f"{begin}/api/artifact/p%2Fa/model%2Fbest/{kept['digest']}/model.pt", Range="bytes=7-13")
            assert (part.status, part.read()) == (206, b"weights")
            # News must not wait in the proxy's buffer.
            began = time.monotonic()
            stream = asks.open(f"{begin}/api/live?runs=p%2Fa", Accept="text/event-stream")  # as an EventSource asks
            assert stream.readline().startswith(b"id: ")
            assert time.monotonic() - began < 5
            stream.close()
