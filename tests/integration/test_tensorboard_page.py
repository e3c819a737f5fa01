"""The real TensorBoard in headless Chromium: its pages of one of our runs, tag by tag and pixel by pixel."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

import steno

CHROMIUM = Path("/usr/bin/chromium")
STEPS = 100
SIZE = (1400, 1800)
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
SCALARS, IMAGES, HISTOGRAMS = {"train/loss", "train/accuracy"}, {"media/squares"}, {"media/weights"}
PAGES = {
    "timeseries": SCALARS | IMAGES | HISTOGRAMS,
    "scalars": SCALARS,
    "images": IMAGES,
    "histograms": HISTOGRAMS,
}
# What a page shows: the texts of displayed leaves and the boxes of charts. TensorBoard's pages are custom elements
# with shadow roots, which --dump-dom leaves out.
SHOWN = """(() => {
  const texts = [], boxes = {curve: [], picture: [], ridges: []};
  const kinds = {'LINE-CHART': 'curve', 'VZ-LINE-CHART2': 'curve',
                 'TB-HISTOGRAM': 'ridges', 'VZ-HISTOGRAM-TIMESERIES': 'ridges'};
  (function walk(node) {
    const box = node.getBoundingClientRect?.();
    const kind = node.tagName === 'IMG' && node.naturalWidth === 40 ? 'picture' : kinds[node.tagName];
    if (kind && box.width) boxes[kind].push([box.left, box.top, box.right, box.bottom].map(Math.round));
    if (!box || box.width) for (const child of node.childNodes) if (child.nodeType === 3) texts.push(child.data.trim());
    for (const child of node.children) walk(child);
    if (node.shadowRoot) walk(node.shadowRoot);
  })(document.body);
  // Time Series breaks a long tag in two elements and has it whole as their title.
  for (const titled of document.querySelectorAll('[title]')) texts.push(titled.title);
  return {texts, boxes};
})()"""

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: scripts/test-integrations tensorboard installs it"
    ),
]


@contextmanager
def ended(process: subprocess.Popen):
    """Kills the process and all it started."""
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


class Browser:
    """Headless Chromium, driven by the DevTools protocol over two pipes: no port is opened."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session: dict[str, str] = {}
        self.asked: set[str] = set()
        (page,) = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self.call("Network.enable")
        self.call("Page.enable")

    def call(self, method: str, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, **self._session}
        os.write(self._send, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            while b"\0" in self._rest:
                one, self._rest = self._rest.split(b"\0", 1)
                got = json.loads(one)
                if got.get("method") == "Network.requestWillBeSent":
                    self.asked.add(got["params"]["request"]["url"])
                if got.get("id") == number:
                    assert "error" not in got, got
                    return got["result"]
            ready, _, _ = select.select([self._receive], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{method} was not answered"
            more = os.read(self._receive, 1 << 20)
            assert more, "chromium ended"
            self._rest += more

    def evaluate(self, expression: str):
        got = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def go(self, address: str) -> None:
        # TensorBoard takes a change of the hash alone for a change of state: each page begins from nothing.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)

    def picture(self, keep: Path) -> np.ndarray:
        """(height, width, 3) of uint8: what the page looks like now; kept as a file as well."""
        from PIL import Image

        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        keep.write_bytes(data)
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def address(place):
    squares = np.zeros((40, 40, 3), np.uint8)
    for colour, (top, left) in zip(COLOURS, [(0, 0), (0, 20), (20, 0), (20, 20)], strict=True):
        squares[top : top + 20, left : left + 20] = colour
    rng = np.random.default_rng(5)
    with steno.init(project="page", name="shown", dir=place / "runs", destinations=["tensorboard"]) as run:
        for step in range(STEPS):
            run.log({"train/loss": 1 / (1 + step / 10), "train/accuracy": step / STEPS}, step=step)
            if step % 20 == 0:
                weights = rng.normal(step / 20, 1, 5000)
                run.log({"media/squares": steno.Image(squares), "media/weights": steno.Histogram(weights)}, step=step)
    command = [sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir", str(run.dir)]
    command += ["--host", "127.0.0.1", "--port", "0"]
    said = place / "tensorboard.txt"
    with said.open("w") as err, ended(subprocess.Popen(command, stderr=err, start_new_session=True)) as server:
        deadline = time.monotonic() + 60
        while (found := re.search(r"http://127\.0\.0\.1:\d+/", said.read_text())) is None:
            assert server.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.1)
        yield found[0]


@pytest.fixture(scope="module")
def browser(place, address):
    theirs_in, send = os.pipe()
    receive, theirs_out = os.pipe()
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
    ]
    command += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--no-proxy-server"]
    command += [f"--user-data-dir={place / 'profile'}", f"--window-size={SIZE[0]},{SIZE[1]}", "--remote-debugging-pipe"]
    # Chromium reads its orders from descriptor 3 and answers on 4.
    shell = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command, "about:blank"]
    try:
        with (place / "chromium.txt").open("w") as err:
            started = subprocess.Popen(shell, stderr=err, pass_fds=(theirs_in, theirs_out), start_new_session=True)
    finally:
        os.close(theirs_in)
        os.close(theirs_out)
    try:
        with ended(started):
            one = Browser(send, receive)
            yield one
            assert {url for url in one.asked if not url.startswith((address, "data:", "blob:", "about:"))} == set()
    finally:
        os.close(send)
        os.close(receive)


def coloured(pixels: np.ndarray) -> np.ndarray:
    """True where a pixel is not grey: neither background nor grid, axis or label."""
    return np.ptp(pixels.astype(int), axis=-1) > 25


def heights(pixels: np.ndarray) -> np.ndarray:
    """Of the curve above the lower edge, in pixels, column by column where there is one."""
    seen = coloured(pixels)
    columns = np.flatnonzero(seen.any(axis=0))
    assert len(columns) > pixels.shape[1] / 2, "no curve across the chart"
    return np.array([len(seen) - np.flatnonzero(seen[:, column]).mean() for column in columns])


def check_curves(accuracy: np.ndarray, loss: np.ndarray) -> None:
    """A line upwards; a hyperbola downwards, whose first half falls most."""
    up, down = heights(accuracy), heights(loss)
    assert np.corrcoef(np.arange(len(up)), up)[0, 1] > 0.99
    assert np.ptp(up) > len(accuracy) / 3
    middle = down[len(down) // 2]
    assert down[:5].max() - middle > 3 * (middle - down[-5:].min()) > 0


def check_picture(pixels: np.ndarray) -> None:
    """Every colour is in its corner."""
    high, wide = (size // 4 for size in pixels.shape[:2])
    corners = [pixels[y * high, x * wide] for y, x in [(1, 1), (1, 3), (3, 1), (3, 3)]]
    assert [tuple(map(int, corner)) for corner in corners] == COLOURS


def check_ridges(pixels: np.ndarray) -> None:
    """A ridge for each of five steps, darker by step, each further right."""
    colours, counts = np.unique(pixels[coloured(pixels)], axis=0, return_counts=True)
    ridges = sorted(colours[counts > 100].tolist(), key=sum, reverse=True)
    assert len(ridges) == 5, (ridges, counts)
    middles = [np.nonzero((pixels == ridge).all(axis=-1))[1].mean() for ridge in ridges]
    assert middles == sorted(middles)


def check(browser: Browser, page: str, keep: Path) -> None:
    shown = browser.evaluate(SHOWN)
    every = set().union(*PAGES.values())
    assert every & set(shown["texts"]) == PAGES[page]
    curves, pictures, ridges = (shown["boxes"][kind] for kind in ("curve", "picture", "ridges"))
    assert (len(curves), len(pictures), len(ridges)) == tuple(
        len(kind & PAGES[page]) for kind in (SCALARS, IMAGES, HISTOGRAMS)
    )
    pixels = browser.picture(keep)
    cut = [[pixels[y:bottom, x:right] for x, y, right, bottom in boxes] for boxes in (curves, pictures, ridges)]
    if curves:
        check_curves(*cut[0])
    for picture in cut[1]:
        check_picture(picture)
    for ridge in cut[2]:
        check_ridges(ridge)


@pytest.mark.parametrize("page", PAGES)
def test_page(browser, address, place, page):
    browser.go(f"{address}#{page}")
    deadline = time.monotonic() + 45
    while True:
        try:
            return check(browser, page, place / f"{page}.png")
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
