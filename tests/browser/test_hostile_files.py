"""Files of a run in a real browser that has the cookie: none can read what the page can, however it is opened."""

from __future__ import annotations

import json

import pytest

import steno
import viewer_server

ATTACK = """
const say = (what, found) => (window.opener || parent).postMessage([what, String(found)], "*");
const guarded = (what, act) => { try { say(what, act()); } catch (error) { say(what, "refused"); } };
guarded("cookie", () => document.cookie);
guarded("origin", () => window.origin);
guarded("parent", () => parent.document.title);
guarded("storage", () => localStorage.length);
for (const place of ["/api/runs", "../../../../api/runs", location.origin + "/api/runs"])
  fetch(place, {credentials: "include"}).then((a) => a.text(), () => "refused").then((text) => say("fetch", text));
const image = new Image();
image.onload = () => say("image", "loaded");
image.onerror = () => say("image", "refused");
image.src = new URL("../../../../api/server", location.href);
navigator.sendBeacon && guarded("beacon", () => navigator.sendBeacon("/api/runs", "x"));
setTimeout(() => say("done", ""), 1500);
"""
PAGE = f"<!doctype html><title>hostile</title><script>{ATTACK}</script>"
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><rect width="40" height="40"/><script><![CDATA[{ATTACK}]]></script></svg>'
KEY = "<img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    place = tmp_path_factory.mktemp("hostile")
    (place / "files").mkdir()
    (place / "files" / "page.html").write_text(PAGE)
    (place / "files" / "drawing.svg").write_text(SVG)
    (place / "files" / "photo.png").write_text(PAGE)
    with steno.init(project="p<b>", name="a", dir=str(place / "runs"), tags=[KEY], notes=KEY, config={KEY: KEY}) as run:
        run.log({KEY: 1.0, "page": steno.Html(PAGE), "text": KEY}, step=0)
        run.log({KEY: 2.0}, step=1)
        for name in ("page.html", "drawing.svg", "photo.png"):
            run.log_artifact(str(place / "files" / name), name)
        assert run.finish(60)
    with viewer_server.viewing(place / "runs") as viewer:
        yield viewer


def addresses(page) -> dict[str, str]:
    """What each file's address is, relative to the page."""
    row = page.evaluate("fetch('api/runs').then((answer) => answer.json())")["rows"][0]["run"]
    run = page.evaluate("encodeURIComponent", row)
    media = page.evaluate("place => fetch(place).then((answer) => answer.json())", f"api/records?run={run}&key=page")
    found = {"page": f"api/media/{run}/{media['records'][0]['value']['file']}"}
    with steno.open(json.loads(json.dumps(row)), dir=page.runs) as reader:
        for one in reader.artifacts():
            found[one.name] = f"api/artifact/{run}/{one.name}/{one.digest}/{one.source}"
    return found


@pytest.fixture
def opened(hostile, browse):
    page = browse(hostile.url, expect=("hostile", "Content Security Policy", "sandbox", "404", "net::ERR"))
    page.wait_for_function("() => document.querySelector('canvas') !== null")
    page.runs = hostile._root
    return page


@pytest.mark.parametrize("name", ["page", "page.html", "drawing.svg", "photo.png"])
def test_a_file_in_a_frame_of_the_page_reaches_nothing(opened, name):
    said = opened.evaluate(
        """place => new Promise((done) => {
          const found = [];
          addEventListener("message", (event) => {
            found.push([...event.data, event.origin]);
            if (event.data[0] === "done") done(found);
          });
          const frame = document.createElement("iframe");
          frame.src = place;
          document.body.append(frame);
          setTimeout(() => done(found), 4000);
        })""",
        addresses(opened)[name],
    )
    if name in {"page", "page.html"}:
        assert {what for what, _, _ in said} >= {"cookie", "fetch", "done"}, (
            "the script did not run: this tests nothing"
        )
    for what, found, origin in said:
        assert origin == "null"
        if what in {"cookie", "parent", "storage", "fetch", "image"}:
            assert found == "refused", (what, found)
        if what == "origin":
            assert found == "null"


@pytest.mark.parametrize("name", ["page", "page.html", "drawing.svg", "photo.png"])
def test_a_file_in_a_tab_of_its_own_is_a_download(opened, name):
    """The cookie is there: the tab is of the same browser."""
    with opened.expect_download() as waiting:
        opened.evaluate("place => { location.href = place; }", addresses(opened)[name])
    waiting.value.delete()
    assert opened.evaluate("fetch('api/runs').then((answer) => answer.status)") == 200


def test_a_drawing_in_an_image_is_seen_and_runs_nothing(opened):
    size = opened.evaluate(
        """place => new Promise((done) => {
          addEventListener("message", (event) => done(["ran", event.data]));
          const image = new Image();
          image.onload = () => setTimeout(() => done([image.naturalWidth, image.naturalHeight]), 500);
          image.onerror = () => done("refused");
          image.src = place;
        })""",
        addresses(opened)["drawing.svg"],
    )
    assert size == [40, 40]


def test_names_are_text(opened):
    """Of a project, a key, a tag: none becomes markup."""
    assert opened.title() != "owned"
    assert opened.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert KEY in opened.evaluate("document.body.innerText")


def test_another_page_cannot_ask_in_the_user_s_name(opened, chromium):
    """A page of another origin in the same browser: its requests have no cookie, and its answers cannot be read."""
    import http.server
    import threading

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title>")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        other = opened.context.new_page()
        other.goto(f"http://localhost:{server.server_port}/")
        base = opened.url.partition("#")[0].replace("/index.html", "/")
        for options in ({}, {"credentials": "include"}, {"mode": "no-cors", "credentials": "include"}):
            found = other.evaluate(
                "([place, options]) => fetch(place, options).then((a) => a.text(), () => 'refused')",
                [f"{base}api/runs", options],
            )
            assert found in {"refused", ""}, options
        posted = other.evaluate(
            "place => fetch(place, {method: 'POST', body: '{}', headers: {'X-Steno': '1'}, credentials: 'include'})"
            ".then(() => 'answered', () => 'refused')",
            f"{base}api/runs",
        )
        assert posted == "refused"
        other.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
