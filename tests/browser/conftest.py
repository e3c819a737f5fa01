"""A real Chromium and a real viewer; without a browser the tests fail in CI and are skipped elsewhere."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest
import viewed
import written

import steno
import viewer_server


def _missing(what):
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


@pytest.fixture(scope="module")
def chromium():
    """The browser. One for each file: as long as it is there an event loop runs, which tests of others must not meet."""
    path = shutil.which("chromium")
    if path is None:
        _missing("Chromium is missing: sudo scripts/browser")
    if importlib.util.find_spec("playwright") is None:
        _missing("playwright is missing: pip install 'stenolog[test]'")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium):
    """Opens addresses in contexts of their own; what a page complains about fails the test."""
    contexts, complaints = [], []

    def opened(address, *, expect=(), **options):
        context = options.pop("context", None)
        if context is None:
            context = chromium.new_context(viewport={"width": 1440, "height": 900}, **options)
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        viewed.listen(page, complaints, expect)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Twelve runs with the same keys, one of them with names that would be markup."""
    place = tmp_path_factory.mktemp("viewed")
    run = steno.init(
        project="odd",
        name="odd",
        dir=str(place),
        config={"<img src=x onerror=alert(1)>": "<b>x</b>"},
        notes="<script>alert(1)</script>",
    )
    for step in range(20):
        run.log({"<img src=x onerror=alert(1)>": step, "a&amp;b/<b>c</b>": -step, "mixed": (-1) ** step}, step=step)
    assert run.finish(60)
    for at in range(12):
        config = {"lr": 10.0 ** -(1 + at % 4), "seed": at, "opt": {"name": ("adam", "sgd")[at % 2]}}
        written.write(
            place, f"cnn-{at}", config=config, seed=at, group=f"g{at % 3}", tags=("baseline",) if at == 3 else ()
        )
    return place


@pytest.fixture(scope="session")
def viewer(place):
    with viewer_server.viewing(place) as viewer:
        yield viewer
