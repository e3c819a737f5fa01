"""A view as one file, opened from the disk with the network off: the same charts, a zoom, and what it does not have."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
import viewed
import written
from viewed import ready

import steno
import viewer_server

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("handed")
    for at in range(3):
        written.write(place, f"r{at}", steps=20_000, seed=at, config={"lr": 0.1 * at}, tags=(HOSTILE,))
    run = steno.init(project="digits", name="odd", dir=str(place), config={HOSTILE: HOSTILE})
    run.log({HOSTILE: 1.0, "train/loss": 1.0}, step=5)
    assert run.finish(60)
    return place


@pytest.fixture(scope="module")
def viewer(place):
    with viewer_server.viewing(place) as viewer:
        yield viewer


def exported(page, tmp_path):
    with page.expect_download() as started:
        page.get_by_role("button", name="export").click()
    target = tmp_path / "runs.html"
    started.value.save_as(target)
    return target


def opened(browse, target, **options):
    page = browse(target.as_uri(), offline=True, **options)
    ready(page)
    return page


def drawn(page, key):
    from PIL import Image

    shot = page.locator(f'article[data-key="{key}"] .u-over').first.screenshot()
    return Image.open(io.BytesIO(shot)).convert("RGB")


def difference(one, other):
    """The part of the pixels that have another colour in neither picture's neighbourhood of one pixel."""
    assert one.size == other.size
    from PIL import ImageChops, ImageFilter

    apart = 0
    for first, second in ((one, other), (other, one)):
        low, high = second.filter(ImageFilter.MinFilter(3)), second.filter(ImageFilter.MaxFilter(3))
        over = ImageChops.add(ImageChops.subtract(low, first), ImageChops.subtract(first, high)).convert("L")
        apart += int((np.asarray(over) > 40).sum())
    return apart / (one.size[0] * one.size[1])


def test_the_file_shows_the_same_charts_and_zooms(browse, viewer, tmp_path):
    view = "#runs=all&column=config.lr&column=tags&logY=1&smooth=ema~200&sort=-config.lr&filter=loss%7C^lr$%7Cacc"
    page = browse(f"{viewer.url}{view}")
    ready(page)
    target = exported(page, tmp_path)
    file = opened(browse, target)
    page.mouse.move(5, 300)
    for key in ("train/loss", "lr", "val/acc"):
        for one in (page, file):
            one.locator(f'article[data-key="{key}"]').first.scroll_into_view_if_needed()
            ready(one, key)
        assert difference(drawn(page, key), drawn(file, key)) < 0.002, key
    assert [one.inner_text() for one in page.locator(".row .open").all()] == [
        one.inner_text() for one in file.locator(".row .open").all()
    ]
    said = file.locator(".fileline").inner_text()
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC", said)
    assert f"steno {steno.__version__} · 4 runs, 3 charts" in said
    assert "digits" in file.title()
    assert "half-life 200 steps" in file.locator(".toolbar").last.inner_text()
    for gone in ("columns", "views", "export"):
        assert file.get_by_role("button", name=gone).count() == 0
    file.evaluate("location.hash = location.hash + '&zoom=1200~1300'")
    file.reload()
    card = ready(file)
    assert "points" in card.locator(".stands").inner_text()
    assert "bins" not in card.locator(".stands").inner_text() or "full resolution" in card.inner_text()


def test_a_zoom_that_is_finer_than_the_file_says_so(browse, viewer, tmp_path):
    page = browse(f"{viewer.url}#runs=all")
    ready(page)
    file = opened(browse, exported(page, tmp_path))
    assert file.get_by_text("full resolution is not in this file").count() == 0
    file.locator('article[data-key="train/loss"]').scroll_into_view_if_needed()
    file.evaluate("location.hash = '#runs=all&zoom=1234~1236'")
    file.reload()
    ready(file)
    file.get_by_text("full resolution is not in this file: bins of").first.wait_for()


def test_nothing_in_it_is_markup_and_rows_are_hidden_and_sorted(browse, viewer, tmp_path):
    page = browse(f"{viewer.url}#runs=all&column=tags&column=config.lr")
    ready(page)
    file = opened(browse, exported(page, tmp_path))
    assert HOSTILE in " ".join(file.locator(".row .cell").all_inner_texts())
    assert HOSTILE in file.locator("article h3").all_inner_texts()
    assert file.locator("article img, .row img").count() == 0
    assert file.evaluate("document.scripts.length") == 2
    before = file.locator('article[data-key="train/loss"] .stands').inner_text()
    file.locator('[data-run="digits/r0"] .eye').click()
    file.wait_for_function(
        "(before) => document.querySelector('article[data-key=\"train/loss\"] .stands').textContent !== before",
        arg=before,
    )
    file.get_by_role("button", name="config.lr", exact=True).click()
    file.wait_for_function("() => document.querySelector('.row[data-run]').dataset.run === 'digits/r0'")
    assert viewed.Picture(file.locator('article[data-key="train/loss"]')).columns()


def test_a_view_of_a_thousand_runs_has_what_fits_into_20_mb_and_says_what_does_not(browse, tmp_path):
    rng, place = np.random.default_rng(0), tmp_path / "runs"
    for at in range(4):  # between two copies of a run lies more than gzip looks back
        run = steno.init(project="p", name=f"r{at:04}", dir=str(place))
        for step, (one, other) in enumerate(rng.normal(size=(2800, 2)).tolist()):
            run.log({"a/noise": one, "b/noise": other}, step=step)
        assert run.finish(60)
        written.copied(place / "p" / f"r{at:04}", [f"r{like:04}" for like in range(at + 4, 1000, 4)])
    for at in range(1000):
        path = place / "p" / f"r{at:04}" / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "created": at}))
    target = tmp_path / "runs.html"
    with viewer_server.serving(place) as asker:
        answer = asker.post("/api/export", {"view": "runs=all", "width": 1600})
    assert answer.status == 200
    assert 10_000_000 < len(answer.body) <= 20_000_000
    target.write_bytes(answer.body)
    file = browse(target.as_uri(), offline=True)
    card = ready(file, "a/noise")
    assert card.locator(".stands").inner_text().startswith("1,000 lines, 2.8 M points")
    assert viewed.Picture(card).columns()
    assert "1,000 runs, 1 chart" in file.locator(".fileline").inner_text()
    assert "1 chart is left out, for want of room" in file.locator(".fileline").inner_text()


def test_a_view_without_runs_is_said_on_the_page(browse, viewer):
    page = browse(f"{viewer.url}#runs=none", expect=("400",))
    page.get_by_role("button", name="export").click()
    page.get_by_role("alert").get_by_text("draws no run").wait_for()


def test_an_export_says_how_far_it_is_and_can_be_cancelled(browse, viewer, tmp_path):
    page = browse(f"{viewer.url}#runs=all", expect=("net::ERR_ABORTED", "ERR_FAILED"))
    ready(page)
    page.evaluate(
        """() => {
          window.told = [];
          const status = document.querySelector('.exporting [role=status]');
          new MutationObserver(() => window.told.push(status.textContent)).observe(status, {childList: true, characterData: true, subtree: true});
        }"""
    )
    exported(page, tmp_path)
    told = page.evaluate("window.told")
    assert told[0] == "reading the runs…"
    assert any(re.fullmatch(r"\d+ of \d+ charts( in detail)?…", one) for one in told), told
    assert told[-1] == ""
    page.route("**/api/export", lambda route: None)  # it takes for ever
    page.get_by_role("button", name="export", exact=True).press("Enter")
    page.locator(".exporting").get_by_text("reading the runs…").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "cancel export"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="export", exact=True).wait_for()
    assert page.locator(".exporting [role=status]").inner_text() == ""
    assert page.locator(".said").count() == 0
    page.unroute("**/api/export")
    exported(page, tmp_path)
