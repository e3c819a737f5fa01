"""Runs compared in a real browser: side by side, as points, as lines over axes; what has no place is counted."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import viewed
from viewed import ready

import steno
import viewer_server

HOSTILE = "<img src=x onerror=alert(1)>"
RUNS = 12


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    place = tmp_path_factory.mktemp("compared")
    for at in range(RUNS):
        config = {"lr": 10.0 ** -(1 + at % 4), "opt": ("adam", "sgd", "lion")[at % 3], HOSTILE: HOSTILE, "seed": at}
        if at == 3:
            config["lr"] = math.nan
        with steno.init(project="p", name=f"r{at}", dir=str(place), config=config) as run:
            run.log({"loss": 1.0 + at, "val/acc": (math.inf if at == 5 else at / 10), f"{HOSTILE}/x": at}, step=0)
            if at != 4:
                run.summary["score"] = at * 2.0
            assert run.finish(60)
    with viewer_server.viewing(place) as viewer:
        yield viewer


def told(page):
    return page.locator(".told").inner_text()


def wait_told(page, text):
    page.wait_for_function("text => document.querySelector('.told')?.textContent.includes(text)", arg=text)


def test_the_summary_stands_side_by_side_with_the_best_the_worst_and_differences(browse, viewer):
    page = browse(f"{viewer.url}#compare=p/r1&compare=p/r2&compare=p/r6&baseline=p/r2&plot=side")
    dialog = page.get_by_role("dialog", name="Compare")

    def row(name):
        found = dialog.locator("tbody tr", has=page.get_by_role("rowheader", name=name))
        found.first.wait_for()
        return found.first

    assert row("score").locator("td").all_inner_texts() == ["▽ 2−2", "4", "★ 12+8"]
    assert row("loss").locator("td").all_inner_texts() == ["★ 2−1", "3", "▽ 7+4"]
    assert row("val/acc").locator("td.best").inner_text().startswith("★ 0.6")
    row("loss").get_by_role("button", name="loss").click()  # nobody said
    assert row("loss").locator("td.best").count() == 0
    row("loss").get_by_role("button", name="loss").click()  # more is better
    assert row("loss").locator("td.best").inner_text().startswith("★ 7")
    assert "better=%2Bloss" in page.evaluate("location.hash")
    dialog.get_by_label("Which value of a metric").select_option("max")
    dialog.get_by_text("metrics, largest value").wait_for()
    dialog.get_by_role("searchbox", name="Filter metrics").fill("acc")
    dialog.get_by_text("1 metric.").wait_for()
    assert dialog.locator("tbody img, thead img").count() == 0


def points(page):
    """Where the points are on the picture, by the arrow keys."""
    canvas = page.locator(".picture canvas").first
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.locator(".picture .ring").wait_for()
    return canvas


def test_each_run_is_a_point_and_those_without_one_are_counted(browse, viewer):
    page = browse(f"{viewer.url}#plot=scatter&dotX=config.lr&dotY=val/acc.last&dotColour=config.opt&dotLogX=1")
    wait_told(page, "10 runs of 12")
    assert told(page) == "10 runs of 12; config.lr: 1 is NaN; val/acc.last: 1 is +inf"
    legend = page.get_by_role("list", name="Colours by config.opt")
    assert [one.strip() for one in legend.get_by_role("listitem").all_inner_texts()] == ["adam", "lion", "sgd"]
    points(page)
    assert "config.lr" in page.locator(".picture .tip").inner_text()
    ring = page.locator(".picture .ring").bounding_box()
    page.keyboard.press("ArrowRight")
    run = page.locator(".picture .tip .when").inner_text()
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name=f"Run {run}").wait_for()
    page.keyboard.press("Escape")
    page.mouse.move(ring["x"] + 8, ring["y"] + 8)
    page.locator(".picture .tip").wait_for()
    page.mouse.down()
    page.mouse.up()
    page.locator("dialog.runpage").wait_for()


def test_columns_are_picked_by_name_and_stand_in_the_address(browse, viewer):
    page = browse(viewer.url)
    ready(page, "loss")
    page.get_by_role("button", name="compare all").click()
    page.get_by_text("Choose a column for x").wait_for()
    for label, name in (("x", "summary.score"), ("y", "loss.last")):
        box = page.get_by_role("toolbar", name="Scatter").get_by_label(label, exact=True)
        box.fill(name)
        page.keyboard.press("Enter")
    wait_told(page, "11 runs of 12; summary.score: 1 has no value")
    assert "dotX=summary.score" in page.evaluate("location.hash")
    page.go_back()
    page.go_back()
    page.get_by_text("Choose a column for x").wait_for()


def test_it_is_over_the_runs_of_the_query(browse, viewer):
    page = browse(
        f"{viewer.url}#plot=scatter&dotX=config.seed&dotY=loss.last&where=config.opt%20%3D%3D%20%22adam%22&runs=1"
    )
    wait_told(page, "4 runs of 4")
    page.get_by_role("heading", name="runs that match").wait_for()


def test_an_unknown_column_says_that_nothing_has_it(browse, viewer):
    page = browse(f"{viewer.url}#plot=scatter&dotX=config.none&dotY=loss.last")
    wait_told(page, "0 runs of 12; config.none: 12 have no value")


PARALLEL = "#plot=parallel&axes=config.lr&axes=config.opt&axes=loss.last&axes=val/acc.last"


def strip(page, name):
    return page.locator(f'.strip[data-axis="{name}"]')


def drag(page, name, high, low):
    box = strip(page, name).bounding_box()
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + high * box["height"])
    page.mouse.down()
    page.mouse.move(x, box["y"] + (high + low) / 2 * box["height"])
    page.mouse.move(x, box["y"] + low * box["height"])
    page.mouse.up()


def test_a_range_on_an_axis_keeps_its_runs(browse, viewer):
    page = browse(f"{viewer.url}{PARALLEL}")
    wait_told(page, "12 runs of 12")
    assert "config.lr: 1 is NaN" in told(page)
    drag(page, "config.opt", 0.0, 0.2)  # the uppermost word is the last
    wait_told(page, "4 runs of 12")
    assert "kept: config.opt sgd" in told(page)
    assert "brush=%5B%22config.opt%22%2C%22sgd%22%2C%22sgd%22%5D" in page.evaluate("location.hash")
    drag(page, "loss.last", 0.0, 0.4)
    wait_told(page, "kept: config.opt sgd, loss.last")
    other = browse(page.url, context=page.context)
    wait_told(other, told(page).partition(";")[0])
    count = int(told(page).split()[0])
    assert 0 < count < 4
    page.get_by_role("button", name=f"draw {count} run").click()
    ready(page, "loss")
    assert page.locator('.eye[aria-pressed="true"]').count() == count
    page.go_back()
    page.get_by_role("button", name="all ranges away").click()
    wait_told(page, "12 runs of 12")


def test_those_without_a_place_on_an_axis_have_one_of_their_own(browse, viewer):
    page = browse(f"{viewer.url}{PARALLEL}")
    wait_told(page, "12 runs of 12")
    drag(page, "val/acc.last", 0.95, 0.99)
    wait_told(page, "1 run of 12")
    assert "kept: val/acc.last without a place" in told(page)
    strip(page, "val/acc.last").click(position={"x": 14, "y": 20})
    wait_told(page, "12 runs of 12")


def test_axes_are_added_moved_taken_away_and_turned(browse, viewer):
    page = browse(f"{viewer.url}{PARALLEL}")
    wait_told(page, "12 runs of 12")
    box = page.get_by_label("another axis")
    box.fill("duration")
    page.keyboard.press("Enter")
    strip(page, "duration").wait_for()
    page.get_by_role("button", name="duration to the left").click()
    page.wait_for_function("() => location.hash.indexOf('axes=duration') < location.hash.indexOf('axes=val')")
    assert page.get_by_role("button", name="Logarithmic: config.lr").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Logarithmic: config.lr").click()
    page.wait_for_function(
        "() => document.querySelector('[aria-label=\"Logarithmic: config.lr\"]').ariaPressed === 'false'"
    )
    page.get_by_role("button", name="Remove the axis duration").click()
    strip(page, "duration").wait_for(state="detached")


def test_names_and_values_are_no_markup(browse, viewer):
    name = f"`config.{HOSTILE}`"
    page = browse(f"{viewer.url}#plot=parallel&axes={name}&axes=`{HOSTILE}/x.last`&dotColour={name}")
    wait_told(page, "12 runs of 12")
    assert page.locator(".compare img").count() == 0
    assert HOSTILE in page.locator(".many .values").inner_text()
    page.get_by_role("tab", name="scatter").click()
    assert page.locator(".compare img").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_stands_in_the_way(browse, viewer, theme):
    plots = (PARALLEL, "#plot=scatter&dotX=config.seed&dotY=loss.last", "#plot=side&compare=p/r1&compare=p/r2")
    for plot in plots:
        page = browse(f"{viewer.url}{plot}", color_scheme=theme, bypass_csp=True)
        page.locator(".picture canvas, td.best").first.wait_for()
        assert viewed.serious(page) == [], plot


@pytest.mark.parametrize("plot", [PARALLEL, "#plot=scatter&dotX=config.seed&dotY=loss.last", "#plot=side&compare=p/r1"])
def test_on_a_phone_it_is_as_wide_as_the_phone(browse, viewer, plot):
    page = browse("about:blank")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{viewer.url}{plot}")
    page.locator(".picture canvas, .comparescroll table").first.wait_for()
    assert viewed.beyond(page) == []
    assert page.evaluate("document.querySelector('.compare').getBoundingClientRect().width") <= 390
    assert (
        page.get_by_role("button", name="Close").bounding_box()["y"] < page.get_by_role("tab").first.bounding_box()["y"]
    )


def test_on_a_phone_no_axis_hides_the_name_of_another(browse, viewer):
    page = browse("about:blank")
    page.set_viewport_size({"width": 390, "height": 844})
    names = ("config.opt", "config.seed", "val/acc.max", "loss.last", "score", "config.lr", "duration", "started")
    page.goto(f"{viewer.url}#plot=parallel&{'&'.join(f'axes={one}' for one in names)}")
    heads = page.locator(".axes b")
    page.wait_for_function(f"() => document.querySelectorAll('.axes b').length === {len(names)}")
    boxes = sorted((one.bounding_box() for one in heads.all()), key=lambda one: one["x"])
    assert all(one["x"] + one["width"] <= other["x"] for one, other in pairwise(boxes))
    assert viewed.beyond(page) == []
    room = page.locator(".axesroom")
    assert room.evaluate("one => one.scrollWidth > one.clientWidth"), "with many axes one scrolls"
