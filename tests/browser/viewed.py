"""What tests of the page share: complaints of a page, what a chart shows."""

from __future__ import annotations

import io


def listen(page, complaints, expect=()):
    """Errors of scripts and of the policy, requests that fail or go elsewhere; but those that hold a text of `expect`."""

    def complain(text):
        if not any(one in text for one in expect):
            complaints.append(text)

    def asked(request):
        if _host(request.url) not in {None, _host(page.url) or _host(request.url)}:
            complain(f"elsewhere: {request.url}")

    page.on("pageerror", lambda error: complain(f"error: {error}"))
    page.on("console", lambda message: message.type == "error" and complain(f"console: {message.text}"))
    page.on("response", lambda answer: answer.status >= 400 and complain(f"{answer.status}: {answer.url}"))
    page.on("request", asked)
    page.on("dialog", lambda dialog: (complain(f"dialog: {dialog.message}"), dialog.dismiss()))


def _host(url):
    scheme, _, rest = url.partition("://")
    return rest.split("/")[0] if scheme in {"http", "https"} and rest else None


def ready(page, key="train/loss", prefix=""):
    """The card of a key, once it shows its chart and no card on the screen waits for an answer."""
    card = page.locator(f'{prefix} article[data-key="{key}"]').first
    card.locator("canvas").first.wait_for()
    page.wait_for_function("() => !document.querySelector('article.loading')")
    return card


def asks(page):
    """A list that fills with what the page asks of api/chart."""
    found = []

    def asked(request):
        if request.url.endswith("/api/chart"):
            found.append(request.post_data_json)

    page.on("request", asked)
    return found


class Picture:
    """The plot of a card, in pixels, without its axes."""

    def __init__(self, card):
        from PIL import Image

        self.image = Image.open(io.BytesIO(card.locator(".u-over").first.screenshot())).convert("RGB")
        self.width, self.height = self.image.size

    def columns(self, low=0.0, high=1.0, least=60):
        """Those columns that have colour, and how much at least, between two heights, 0 at the top; the grid is grey."""
        found = []
        for x in range(self.width):
            for y in range(int(low * self.height), max(int(high * self.height), int(low * self.height) + 1)):
                red, green, blue = self.image.getpixel((x, y))
                if max(red, green, blue) - min(red, green, blue) > least:
                    found.append(x)
                    break
        return found


def serious(page, but=()):
    """What axe-core says that keeps somebody from the page, or stands in their way, but for these rules.

    The page's policy must be passed by.
    """
    from axe_playwright_python.sync_playwright import Axe

    return [
        (one["id"], one["nodes"][0]["html"][:200])
        for one in Axe().run(page).response["violations"]
        if one["impact"] in {"moderate", "serious", "critical"} and one["id"] not in but
    ]


BEYOND = """() => {
  const scrolls = (one) => one && one !== document.body &&
    (["auto", "scroll"].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
  const box = (one) => one.getBoundingClientRect();
  const shown = [...document.querySelectorAll("button, input, select, a, h1, h2, h3, td, th, p, pre")]
    .filter((one) => one.checkVisibility({visibilityProperty: true}) && box(one).width > 1)
    .filter((one) => box(one).top < innerHeight && !scrolls(one.parentElement));
  const open = document.querySelector("dialog[open]");
  const wide = document.documentElement.scrollWidth > innerWidth ? ["the document"] : [];
  return wide.concat(shown.filter((one) => !open || open.contains(one))
    .filter((one) => box(one).left < -1 || box(one).right > innerWidth + 1)
    .map((one) => one.outerHTML.slice(0, 120)));
}"""


def beyond(page):
    """What goes over the edge of the screen and cannot be scrolled to."""
    return page.evaluate(BEYOND)
