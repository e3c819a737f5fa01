"""The page as a whole: nothing of a run is markup, every screen and theme works, it helps where there is nothing."""

from __future__ import annotations

import shutil

import pytest
import viewed
import written
from viewed import ready

import steno
import viewer_server

HOSTILE = "<img src=x onerror=alert(1)>"


def test_nothing_of_a_run_becomes_markup(browse, viewer):
    page = browse(f"{viewer.url}#runs=none&show=odd/odd&column=notes&column=`config.{HOSTILE}`&baseline=odd/odd")
    page.locator("article canvas").first.wait_for()
    titles = page.locator("article h3").all_inner_texts()
    assert HOSTILE in titles
    assert "a&amp;b/<b>c</b>" in titles
    assert "<script>alert(1)</script>" in page.locator('[data-run="odd/odd"]').first.inner_text()
    assert page.locator("article img, article b, .row b, .row img, .row script").count() == 0


def test_an_empty_directory_says_what_to_do_and_the_first_run_appears(browse, tmp_path):
    with viewer_server.viewing(tmp_path / "none") as viewer:
        page = browse(viewer.url)
        page.get_by_text("No runs in").wait_for()
        assert "steno.init" in page.locator("main pre").inner_text()
        run = steno.init(project="p", name="first", dir=str(tmp_path / "none"))
        run.log({"loss": 1.0})
        page.locator('[data-run="p/first"]').wait_for()
        ready(page, "loss")
        assert run.finish(60)
        page.close()  # before its viewer, which it asks


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    place_ = tmp_path_factory.mktemp("damaged")
    for name in ("good", "bad"):
        written.write(place_, name)
    parts = written.sealed(place_ / "digits" / "bad")
    for path in parts:
        content = bytearray(path.read_bytes())
        content[4 : len(content) - 8] = b"\xff" * (len(content) - 12)
        path.write_bytes(content)
    for path in [*(place_ / "digits" / "bad").rglob("card*"), *(place_ / "digits" / "bad").rglob("summary.parquet")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with viewer_server.viewing(place_) as viewer:
        yield viewer


def test_a_damaged_run_is_said_and_the_others_are_drawn(browse, damaged):
    page = browse(damaged.url)
    card = ready(page)
    assert card.locator(".stands").inner_text().startswith("1 line")
    assert page.locator('[data-run="digits/bad"]').count() == 1
    said = page.locator(".warn, .damaged")
    said.first.wait_for()
    assert "digits/bad" in " ".join(one.inner_text() + (one.get_attribute("title") or "") for one in said.all())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_the_page_fits_the_screen(browse, viewer, theme, size):
    page = browse(viewer.url, color_scheme=theme)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.locator("article canvas").first.wait_for()
    # What is drawn follows a new size in the frames after it.
    fits = "([wide, high]) => document.documentElement.scrollWidth <= wide && document.documentElement.scrollHeight <= high"
    page.wait_for_function(fits, arg=list(size))
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) == (theme == "dark")


def test_a_theme_of_ones_own_stays(browse, viewer):
    page = browse(viewer.url, color_scheme="light")
    page.locator("article canvas").first.wait_for()
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    page.locator("article canvas").first.wait_for()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_nothing_moves_while_it_loads(browse, viewer):
    page = browse("about:blank")
    page.add_init_script(
        """window.moved = 0;
        new PerformanceObserver((list) => { for (const one of list.getEntries()) window.moved += one.value; })
          .observe({type: 'layout-shift', buffered: true});"""
    )
    page.goto(viewer.url)
    ready(page)
    assert page.evaluate("window.moved") < 0.1


def test_nothing_serious_stands_in_the_way_of_those_who_see_or_move_otherwise(browse, viewer):
    """By axe-core. The page's policy allows no script of others, so the checks come in past it."""
    for theme in ("light", "dark"):
        page = browse(f"{viewer.url}#baseline=digits/cnn-3&smooth=ema~100", color_scheme=theme, bypass_csp=True)
        page.locator("article canvas").first.wait_for()
        page.get_by_role("button", name="columns").click()
        assert viewed.serious(page) == [], theme


def test_a_grouped_card_says_which_colour_is_which_group(browse, viewer):
    page = browse(f"{viewer.url}#group=config.opt.name&runs=all&filter=loss")
    said = ready(page).locator(".groups")
    said.wait_for()
    assert {one.strip() for one in said.locator("> span").all_inner_texts()} == {"adam (6)", "sgd (6)"}
    assert {*said.get_attribute("title").split(" · ")} == {"config.opt.name = adam (6)", "config.opt.name = sgd (6)"}
    page = browse(f"{viewer.url}#group=config.opt.name&group=config.lr&runs=all&filter=loss")
    assert "config.opt.name = adam, config.lr = 0.1 (3)" in ready(page).locator(".groups").inner_text()
