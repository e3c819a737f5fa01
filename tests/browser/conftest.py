"""A real Chromium and a real viewer; without a browser the tests fail in CI and are skipped elsewhere."""

from __future__ import annotations

import importlib.util
import math
import os
import random
import shutil

import pytest

import steno
import viewed

pytest.importorskip("starlette", reason="pip install 'stenolog[view]'") if not os.environ.get("CI") else None


def _missing(what):
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


@pytest.fixture(scope="session")
def chromium():
    """The browser, one for all tests of a process."""
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
        viewed.listen(page, complaints, expect)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def write(place, name, *, project="digits", steps=3000, config=None, seed=0, **options):
    """A run with spikes, NaN and infinities at known steps."""
    rng = random.Random(seed)
    run = steno.init(project=project, name=name, dir=str(place), config=config or {}, **options)
    for step in range(steps):
        loss = math.exp(-step / 800) + 0.05 * rng.random() + 0.02 * seed
        values = {"train/loss": loss, "lr": 0.1 * (1 - step / steps)}
        if step == 1234:
            values["train/loss"] = 9.0 + seed
        elif step == 2000:
            values["train/loss"] = math.nan
        elif step == 2400:
            values["train/loss"] = math.inf
        elif step == 2600:
            values["train/loss"] = -math.inf
        if step % 100 == 0:
            values["val/acc"] = 1 - loss
        run.log(values, step=step)
    assert run.finish(60)


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Twelve runs with the same keys, one of them with names that would be markup."""
    place = tmp_path_factory.mktemp("viewed")
    for at in range(12):
        config = {"lr": 10.0 ** -(1 + at % 4), "seed": at, "opt": {"name": ("adam", "sgd")[at % 2]}}
        write(place, f"cnn-{at}", config=config, seed=at, group=f"g{at % 3}", tags=("baseline",) if at == 3 else ())
    run = steno.init(project="odd", name="odd", dir=str(place), config={"<img src=x onerror=alert(1)>": "<b>x</b>"}, notes="<script>alert(1)</script>")
    for step in range(20):
        run.log({"<img src=x onerror=alert(1)>": step, "a&amp;b/<b>c</b>": -step, "mixed": (-1) ** step}, step=step)
    assert run.finish(60)
    return place


@pytest.fixture(scope="session")
def viewer(place):
    with viewed.serving(place) as viewer:
        yield viewer
