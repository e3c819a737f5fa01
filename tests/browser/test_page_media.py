"""Images on the page: one slider for all runs, boxes and masks, zoom to the pixels, what is damaged says so."""

from __future__ import annotations

import io

import numpy as np
import pictured
import pytest
import viewed
from pictured import HOSTILE

import steno
import viewer_server


@pytest.fixture(scope="module")
def media_place(tmp_path_factory):
    place = tmp_path_factory.mktemp("pictured")
    pictured.write(place, "a")
    pictured.write(place, "b", every=5)
    pictured.write(place, "late", first=8, steps=4)
    return place


@pytest.fixture(scope="module")
def media(media_place):
    with viewer_server.viewing(media_place) as viewer:
        yield viewer


def shown(page, key="val/sample", prefix=""):
    """The card of a key, once all its images near the screen are there."""
    card = page.locator(f'{prefix} article[data-key="{key}"]').first
    card.locator(".tile img").first.wait_for()
    page.wait_for_function(
        "() => !document.querySelector('article.loading') "
        "&& [...document.querySelectorAll('.tile img')].every((one) => one.complete && one.naturalWidth)"
    )
    return card


def steps(card):
    return {
        one.get_attribute("data-run"): one.get_attribute("data-step") for one in card.locator(".tile[data-run]").all()
    }


def pixels(locator):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)


def test_one_slider_moves_all_runs_to_their_nearest_step(browse, media):
    page = browse(f"{media.url}#filter=sample")
    card = shown(page)
    assert steps(card) == {"media/a": "11", "media/b": "10", "media/late": "11"}
    assert "1 of an earlier step" in card.locator(".stands").inner_text()
    slider = card.get_by_role("slider", name="Step")
    slider.focus()
    page.keyboard.press("Home")
    card.locator('.tile[data-run="media/a"][data-step="0"]').wait_for()
    assert "step 0" in card.locator("output").first.inner_text()
    assert "its first is at step 8" in card.locator(".tile.none").inner_text()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    card.locator('.tile[data-run="media/a"][data-step="7"]').wait_for()
    assert steps(card) == {"media/a": "7", "media/b": "5"}
    assert card.locator('.tile[data-run="media/b"] figcaption b').inner_text() == "step 5"
    assert card.locator('.tile[data-run="media/a"] figcaption b').count() == 0
    assert "media=7" in page.url
    page.reload()
    assert steps(shown(page)) == {"media/a": "7", "media/b": "5"}


def test_a_list_is_one_card_and_all_cards_have_one_step(browse, media):
    page = browse(f"{media.url}#filter=sample|more&media=3&closed=nothing")
    more = shown(page, "more")
    assert more.locator(".tile[data-run='media/a']").count() == 2
    more.get_by_role("slider", name="Step").focus()
    page.keyboard.press("ArrowRight")
    more.locator('.tile[data-run="media/a"][data-step="4"]').first.wait_for()
    page.locator('article[data-key="val/sample"] .tile[data-run="media/a"][data-step="4"]').wait_for()


def test_boxes_and_masks_are_toggled_by_label_and_confidence(browse, media):
    page = browse(f"{media.url}#filter=sample&runs=none&show=media/a&media=0")
    card = shown(page)
    labels = card.get_by_role("group", name="Labels")
    labels.get_by_text("m: class 300").wait_for()
    assert {"cat", HOSTILE, "m: sky", "m: class 300"} <= set(labels.locator("label span").all_inner_texts())
    tile = card.locator(".fitted")
    labels.get_by_role("button").click()  # none
    page.wait_for_timeout(200)
    bare = pixels(tile)
    assert np.ptp(bare, axis=2).max() <= 3, "boxes and masks are hidden, and the picture is grey"
    middle = bare.shape[0] // 2
    assert abs(bare[middle, bare.shape[1] // 4] - 40).max() <= 2
    assert abs(bare[middle, 3 * bare.shape[1] // 4] - 200).max() <= 2
    labels.get_by_label("m: sky").check()
    page.wait_for_timeout(200)
    sky = pixels(tile)
    changed = np.abs(sky - bare).max(axis=2) > 10
    assert changed[: middle - 2].mean() > 0.95
    assert changed[middle + 2 :].mean() < 0.01
    labels.get_by_label("m: sky").uncheck()
    labels.get_by_label("cat").check()
    page.wait_for_timeout(200)
    assert (np.abs(pixels(tile) - bare).max(axis=2) > 10)[:middle, : bare.shape[1] // 2].any()
    page.get_by_label("Least confidence").fill("0.95")
    page.wait_for_timeout(200)
    assert np.abs(pixels(tile) - bare).max() <= 3


def test_a_copied_link_shows_and_hides_the_same_labels(browse, media):
    page = browse(f"{media.url}#filter=sample&runs=none&show=media/a&media=0")
    labels = shown(page).get_by_role("group", name="Labels")
    labels.get_by_label("m: sky").uncheck()
    labels.get_by_label(HOSTILE).uncheck()
    labels.get_by_label("Least confidence").fill("0.3")
    link = page.evaluate("location.hash")
    other = browse(f"{media.url}{link}")
    labels = shown(other).get_by_role("group", name="Labels")
    labels.get_by_text("m: class 300").wait_for()
    names = [labels.get_by_label(name, exact=True) for name in ("cat", "m: class 300", "m: sky", HOSTILE)]
    assert [one.is_checked() for one in names] == [True, True, False, False]
    assert labels.get_by_label("Least confidence").input_value() == "0.3"
    labels.get_by_role("button", name="show all").click()
    labels.get_by_role("button", name="hide all").click()
    other.go_back()
    assert labels.get_by_label("cat", exact=True).is_checked()


def test_zoom_shows_the_pixels_as_they_are(browse, media):
    page = browse(f"{media.url}#filter=more&runs=none&show=media/a&media=5")
    shown(page, "more").locator(".picture").first.click()
    dialog = page.get_by_role("dialog", name="more/0")
    image = dialog.locator(".stage img")
    image.wait_for()
    page.wait_for_function("() => document.querySelector('.stage img').classList.contains('pixels')")
    assert image.evaluate("one => getComputedStyle(one).imageRendering") == "pixelated"
    page.keyboard.press("1")
    page.wait_for_function("() => document.querySelector('.stage img').getBoundingClientRect().width === 64")
    assert dialog.locator(".zoombar output").inner_text() == "100 %"
    assert image.evaluate("one => getComputedStyle(one).imageRendering") == "auto"
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert dialog.locator(".zoombar output").inner_text() == "225 %"
    edge = image.bounding_box()
    page.mouse.move(edge["x"] + edge["width"] * 0.75, edge["y"] + edge["height"] / 2)
    dialog.get_by_text("rgba 195 195 195 255").wait_for()
    assert "x 48, y 32" in dialog.locator("footer").inner_text()
    before = image.bounding_box()["width"]
    page.mouse.wheel(0, -300)
    page.wait_for_function(
        "before => document.querySelector('.stage img').getBoundingClientRect().width > 1.9 * before", arg=before
    )
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_an_enlarged_image_follows_the_slider_at_the_same_place(browse, media):
    page = browse(f"{media.url}#filter=more&runs=none&show=media/a&media=5")
    shown(page, "more").locator(".picture").first.click()
    dialog = page.get_by_role("dialog", name="more/0 · step 5")
    image = dialog.locator(".stage img")
    page.wait_for_function("() => document.querySelector('.stage img').classList.contains('pixels')")
    page.keyboard.press("1")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => document.querySelector('.stage img').getBoundingClientRect().width === 64")
    before, place = image.get_attribute("src"), image.bounding_box()
    slider = page.locator("dialog.zoom").get_by_role("slider", name="Step")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("dialog", name="more/0 · step 6").wait_for()
    assert page.locator(".stage img").get_attribute("src") != before
    page.wait_for_function("() => document.querySelector('.stage img').complete")
    assert page.locator(".stage img").bounding_box() == place


def test_only_what_is_on_the_screen_is_asked_for(browse, tmp_path):
    with steno.init(project="p", name="many", dir=str(tmp_path)) as run:
        run.log({"many": [steno.Image(np.full((8, 8), at, np.uint8)) for at in range(200)]}, step=0)
        assert run.finish(120)
    with viewer_server.viewing(tmp_path) as viewer:
        page = browse("about:blank")
        asked = []
        page.on("request", lambda request: "/api/media/" in request.url and asked.append(request.url))
        page.goto(viewer.url)
        card = shown(page, "many")
        page.wait_for_timeout(500)
        assert card.locator(".tile").count() == 200
        assert 1 <= len(asked) <= 60
        card.locator(".tile").last.scroll_into_view_if_needed()
        card.locator(".tile").last.locator("img").wait_for()
        assert len(asked) < 120
        page.close()


def test_new_steps_appear_and_an_older_one_stays(browse, tmp_path):
    with steno.init(project="p", name="live", dir=str(tmp_path)) as run, viewer_server.viewing(tmp_path) as viewer:
        run.log({"sample": steno.Image(pictured.picture(0))}, step=0)
        assert run.flush(30)
        page = browse(viewer.url, expect=("404",))
        card = shown(page, "sample")
        for step in (1, 2):
            run.log({"sample": steno.Image(pictured.picture(step))}, step=step)
            assert run.flush(30)
            card.locator(f'.tile[data-step="{step}"] img').wait_for()
        card.get_by_role("slider", name="Step").focus()
        page.keyboard.press("ArrowLeft")
        card.locator('.tile[data-step="1"]').wait_for()
        run.log({"sample": steno.Image(pictured.picture(3))}, step=3)
        assert run.flush(30)
        page.wait_for_function("() => document.querySelector('.stepper input').max === '3'")
        assert card.locator('.tile[data-step="1"]').count() == 1
        page.close()


def test_damaged_and_missing_files_are_tiles_that_say_so(browse, tmp_path):
    run = pictured.write(tmp_path, "bad", steps=3)
    with steno.open(run.dir) as reader:
        items = reader.media("val/sample")
        items[0].path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\xff" * 100)
        items[1].path.unlink()
        items[2].attached["m"].path.write_bytes(b"no png")
    with viewer_server.viewing(tmp_path) as viewer:
        for step, words in enumerate(("damaged", "not in this copy", "the mask m cannot be read")):
            page = browse(f"{viewer.url}#filter=sample&media={step}")
            page.locator(".tile .broken").wait_for()
            assert words in page.locator(".tile .broken").inner_text()
            page.close()


def test_no_caption_and_no_label_becomes_markup(browse, media):
    page = browse(f"{media.url}#filter=sample&media=0")
    card = shown(page)
    assert f"{HOSTILE} at 0" in card.locator(".caption").first.inner_text()
    card.locator(".picture").first.click()
    page.get_by_role("dialog").get_by_text(HOSTILE).first.wait_for()
    assert page.locator("img[src=x]").count() == 0


def test_every_type_of_image_is_shown(browse, tmp_path):
    from PIL import Image

    values = {}
    for kind in ("png", "jpg", "gif", "webp", "bmp"):
        Image.fromarray(pictured.picture(0)).save(tmp_path / f"one.{kind}")
        values[kind] = steno.Image(tmp_path / f"one.{kind}")
    with steno.init(project="p", name="kinds", dir=str(tmp_path)) as run:
        run.log(values, step=0)
        assert run.finish(120)
    with viewer_server.viewing(tmp_path) as viewer:
        page = browse(viewer.url)
        page.set_viewport_size({"width": 1440, "height": 2000})
        for kind in values:
            image = page.locator(f'article[data-key="{kind}"] .tile img')
            image.wait_for()
            assert image.evaluate("one => one.decode().then(() => one.naturalWidth)") == 64, kind
        page.close()


def test_the_page_of_a_run_has_its_media(browse, media):
    page = browse(f"{media.url}#filter=sample&open=media/b&tab=charts")
    card = shown(page, prefix="dialog")
    assert steps(card) == {"media/b": "10"}


def test_a_card_in_full_size(browse, media):
    page = browse(f"{media.url}#filter=sample&card=val/sample")
    card = shown(page, prefix="dialog")
    assert card.locator(".tile.large").count() == 3
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_media_fit_the_screen_and_nothing_serious_stands_in_the_way(browse, media, size):
    for theme in ("light", "dark"):
        page = browse(f"{media.url}#filter=sample|more", color_scheme=theme, bypass_csp=True)
        page.set_viewport_size({"width": size[0], "height": size[1]})
        shown(page, "more")
        page.wait_for_function("wide => document.documentElement.scrollWidth <= wide", arg=size[0])
        serious = viewed.serious(page)
        assert serious == [], theme
        page.locator('article[data-key="more"] .picture').first.click()
        page.locator("dialog.zoom .stage img").wait_for()
        assert viewed.serious(page) == [], theme
        page.wait_for_function("wide => document.documentElement.scrollWidth <= wide", arg=size[0])
