"""Heat maps of histograms and logged tables on the page: what is drawn is what was logged, to the last digit."""

from __future__ import annotations

import io

import numpy as np
import pytest
import viewed

import steno
import viewer_server

HOSTILE = "<img src=x onerror=alert(1)>"
BIG = 2**62
N = 5000


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    place = tmp_path_factory.mktemp("grids")
    for name in ("a", "b"):
        with steno.init(project="p", name=name, dir=str(place)) as run:
            for step in range(20):
                # All values low in the first half of the run, all high in the second.
                counts = [100, 0, 0, 0] if step < 10 else [0, 0, 0, 100]
                edges = [0, 1, 2, 3, 4]
                run.log(
                    {
                        "steps": steno.Histogram(counts=counts, edges=edges),
                        "spread": steno.Histogram(np.linspace(0, step + 1, 500)),
                    },
                    step=step,
                )
            rows = {
                "class": [f"c{at % 5}" for at in range(N)],
                "score": [at / 7 for at in range(N)],
                "big": [BIG + at for at in range(N)],
                HOSTILE: [f"<script>alert({at})</script>" for at in range(N)],
            }
            run.log({"results": steno.Table(rows, caption=HOSTILE)}, step=0)
            assert run.finish(120)
    with viewer_server.viewing(place) as viewer:
        yield viewer


def heats(browse, viewer, key, **options):
    page = browse(f"{viewer.url}#filter=^{key}$", **options)
    card = page.locator(f'article[data-key="{key}"]')
    card.locator(".heat canvas").first.wait_for()
    page.wait_for_function("() => [...document.querySelectorAll('.heat canvas')].every((one) => one.width > 320)")
    return page, card


def test_a_heat_map_shows_each_bin_at_its_steps(browse, viewer):
    from PIL import Image

    page, card = heats(browse, viewer, "steps")
    assert card.locator(".heat").count() == 2
    assert "4 bins as they were logged" in card.inner_text()
    page.wait_for_timeout(300)
    shot = Image.open(io.BytesIO(card.locator(".heat canvas").first.screenshot())).convert("L")
    grid = np.asarray(shot)[4:-18, 52:-6].astype(int)
    high, wide = grid.shape
    dark = grid < 100
    assert dark[int(0.8 * high) : high - 3, 3 : int(0.45 * wide)].mean() > 0.95, "low values, first half"
    assert dark[3 : int(0.2 * high), int(0.55 * wide) : wide - 3].mean() > 0.95, "high values, second half"
    assert dark[int(0.3 * high) : int(0.7 * high)].mean() < 0.02
    box = card.locator(".heat .content").first.bounding_box()
    page.mouse.move(box["x"] + 52 + 5, box["y"] + box["height"] - 18 - 5)
    card.get_by_text("step 0: 100 (100 %) in 0 … 1").wait_for()


def test_bins_that_differ_are_shared_out_and_the_card_says_so(browse, viewer):
    page, card = heats(browse, viewer, "spread")
    assert "shared out to" in card.inner_text()
    card.get_by_role("slider", name="Step").focus()
    page.keyboard.press("Home")
    assert "media=0" in page.url
    card.locator(".stands", has_text="of an earlier step").wait_for(state="detached")


def tables(browse, viewer, **options):
    page = browse(f"{viewer.url}#filter=^results$&runs=none&show=p/a", expect=("400",), **options)
    card = page.locator('article[data-key="results"]')
    card.get_by_role("cell", name="c0").first.wait_for()
    return page, card


def column(card, at):
    return [row.locator("[role=cell]").nth(at).inner_text() for row in card.locator("[role=row]").all()[1:6]]


def test_a_table_has_only_the_rows_on_the_screen_and_every_digit(browse, viewer):
    page, card = tables(browse, viewer)
    assert "5,000 rows" in card.inner_text()
    assert card.get_by_role("row").count() < 60
    assert column(card, 2)[:2] == [str(BIG), str(BIG + 1)]
    assert column(card, 1)[1] == repr(1 / 7)
    card.locator(".loggedrows").evaluate("one => { one.scrollTop = one.scrollHeight; }")
    card.get_by_role("cell", name=str(BIG + N - 1)).wait_for()


def test_a_table_is_sorted_and_filtered(browse, viewer):
    page, card = tables(browse, viewer)
    big = card.get_by_role("columnheader", name="big")
    big.get_by_role("button").click()
    big.get_by_role("button").click()
    card.get_by_role("cell", name=str(BIG + N - 1)).wait_for()
    assert column(card, 2)[:2] == [str(BIG + N - 1), str(BIG + N - 2)]
    card.get_by_label("Filter of class").fill("= c3")
    card.get_by_label("Filter of score").fill("< 10")
    card.get_by_text("14 of 5,000 rows").wait_for()
    assert set(column(card, 0)) == {"c3"}
    card.get_by_label("Filter of score").fill("< x")
    card.get_by_text("no number").wait_for()
    card.get_by_label("Filter of score").fill("")
    card.get_by_label("Any column holds").fill("alert(4998)")
    card.get_by_text("1 of 5,000 rows").wait_for()


def test_no_cell_and_no_name_of_a_column_becomes_markup(browse, viewer):
    page, card = tables(browse, viewer)
    assert HOSTILE in card.get_by_role("columnheader").last.inner_text()
    assert column(card, 3)[0] == "<script>alert(0)</script>"
    assert card.locator(".caption").inner_text() == HOSTILE
    assert page.locator("img[src=x], .logged script").count() == 0


@pytest.mark.parametrize("size", [(1440, 1400), (390, 844)])
def test_nothing_serious_stands_in_the_way(browse, viewer, size):
    for theme in ("light", "dark"):
        page = browse(f"{viewer.url}#filter=results|steps", color_scheme=theme, bypass_csp=True)
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.get_by_role("cell", name="c0").first.wait_for()
        page.wait_for_function("wide => document.documentElement.scrollWidth <= wide", arg=size[0])
        assert viewed.serious(page) == [], theme
