"""The table of runs in a real browser: sorted and chosen by the server, its state in the address."""

from __future__ import annotations

import os

import pytest
import written
from viewed import ready

import steno
import viewer_server

ROWS = '[role="row"][data-run]'


def names(page):
    return [text.strip() for text in page.locator(f"{ROWS} .name").all_inner_texts()]


def test_the_runs_are_listed_the_newest_first_and_ten_are_drawn(browse, viewer):
    page = browse(viewer.url)
    ready(page)
    assert names(page) == [*(f"digits/cnn-{at}" for at in range(11, -1, -1)), "odd/odd"]
    assert page.locator(f'{ROWS} .eye[aria-pressed="true"]').count() == 10


def test_columns_are_asked_for_when_shown_and_sorted_by_the_server(browse, viewer):
    page = browse(viewer.url)
    ready(page)
    page.get_by_role("button", name="columns").click()
    page.get_by_role("searchbox", name="Search columns").fill("level.max")
    page.get_by_role("checkbox", name="level.max").check()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("columnheader", name="level.max").get_by_role("button", name="level.max", exact=True).click()
    page.wait_for_function("() => document.querySelector('[role=row][data-run]')?.dataset.run === 'digits/cnn-0'")
    page.get_by_role("columnheader", name="level.max").get_by_role("button", name="level.max ▲", exact=True).click()
    page.wait_for_function("() => document.querySelector('[role=row][data-run]')?.dataset.run === 'digits/cnn-11'")
    assert "sort=-level.max" in page.evaluate("location.hash")


def test_where_chooses_with_completion(browse, viewer):
    page = browse(viewer.url)
    ready(page)
    box = page.get_by_role("combobox", name="Which runs")
    page.keyboard.press("/")
    page.keyboard.type("config.op")
    page.get_by_role("listbox").get_by_role("option", name="config.opt.name").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.type('== "adam" and config.seed < 5')
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('[role=row][data-run]').length === 3")
    assert box.input_value() == 'config.opt.name == "adam" and config.seed < 5'
    page.get_by_text("3 of 13 runs").wait_for()


def test_an_error_of_where_points_at_its_place(browse, viewer):
    page = browse(viewer.url, expect=("400",))
    ready(page)
    page.get_by_role("combobox", name="Which runs").fill("config.lr = 1")
    page.keyboard.press("Enter")
    wrong = page.get_by_role("alert")
    wrong.wait_for()
    assert "==" in wrong.inner_text()
    assert wrong.locator("mark").inner_text().strip() == "= 1"
    assert page.locator(ROWS).count() == 13  # what was there stays


def test_a_copied_link_shows_the_same(browse, viewer):
    """wandb#954: what is shown was in no address."""
    page = browse(viewer.url)
    ready(page)
    page.locator('[data-run="digits/cnn-11"] .eye').click()
    page.locator('[data-run="digits/cnn-1"] .eye').click()
    page.locator('[data-run="digits/cnn-2"]').hover()
    page.locator('[data-run="digits/cnn-2"] .pin').click()
    page.get_by_label("log y").check()
    page.get_by_role("searchbox", name="Filter charts").fill("loss|lr")
    ready(page)
    assert "token" not in page.url
    other = browse(page.url, context=page.context)
    ready(other)
    drawn = f'{ROWS} .eye[aria-pressed="true"]'
    both = [[one.get_attribute("aria-label") for one in where.locator(drawn).all()] for where in (page, other)]
    assert both[0] == both[1]
    assert "Draw digits/cnn-1" in both[1]
    assert "Draw digits/cnn-11" not in both[1]
    assert other.get_by_label("log y").is_checked()
    assert other.locator("article").count() == 2
    assert other.locator('.baseline[data-run="digits/cnn-2"]').count() >= 1


def test_back_takes_a_choice_back(browse, viewer):
    page = browse(viewer.url)
    ready(page)
    eye = page.locator('[data-run="digits/cnn-11"] .eye')
    eye.click()
    assert eye.get_attribute("aria-pressed") == "false"
    page.go_back()
    page.wait_for_function("""() => document.querySelector('[data-run="digits/cnn-11"] .eye').ariaPressed === 'true'""")


def test_the_others_show_their_difference_to_the_baseline(browse, viewer):
    page = browse(f"{viewer.url}#column=config.seed&baseline=digits/cnn-3")
    page.locator('.sticky [data-run="digits/cnn-3"]').wait_for()
    page.locator('[data-run="digits/cnn-5"] .delta').wait_for()
    assert page.locator('[data-run="digits/cnn-5"] .delta').inner_text() == "+2"
    assert page.locator('[data-run="digits/cnn-1"] .delta').inner_text() == "−2"


def test_runs_are_compared(browse, viewer):
    page = browse(viewer.url)
    ready(page)
    for run in ("cnn-1", "cnn-2"):
        page.get_by_role("checkbox", name=f"Compare digits/{run}", exact=True).check()
    page.get_by_role("button", name="compare 2").click()
    dialog = page.get_by_role("dialog", name="Compare")
    dialog.get_by_text("configuration that differs").wait_for()
    rows = dict(text.split("\t", 1) for text in dialog.locator("tbody tr:not(.part)").all_inner_texts())
    assert rows["opt.name"] == "sgd\tadam"
    assert rows["seed"] == "1\t2"
    dialog.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("button", name="draw only these").click()
    page.wait_for_function("""() => document.querySelectorAll('[data-run] .eye[aria-pressed="true"]').length === 2""")


def test_keys_move_in_the_table(browse, viewer):
    page = browse(viewer.url)
    ready(page)
    for key in "jj":
        page.keyboard.press(key)
    run = page.locator(".row.at").get_attribute("data-run")
    eye = page.locator(f'[data-run="{run}"] .eye')
    before = eye.get_attribute("aria-pressed")
    page.keyboard.press("x")
    assert eye.get_attribute("aria-pressed") != before
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Keys").wait_for(state="hidden")


def test_colours_are_stable_and_follow_a_value(browse, viewer):
    page = browse(viewer.url)
    ready(page)

    def colour(run):
        return page.locator(f'[data-run="{run}"] .eye i').evaluate("(node) => getComputedStyle(node).backgroundColor")

    before = colour("digits/cnn-9")
    page.locator('[data-run="digits/cnn-11"] .eye').click()
    assert colour("digits/cnn-9") == before
    other = browse(f"{viewer.url}#runs=all&filter=train&colourBy=config.opt.name")
    ready(other)
    page = other
    assert colour("digits/cnn-2") == colour("digits/cnn-4") != colour("digits/cnn-3")
    assert colour("digits/cnn-3") == colour("digits/cnn-5")


@pytest.fixture(scope="module")
def many_runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    run = steno.init(project="p", name="r0000", dir=str(place))
    run.log({"loss": 1.0})
    assert run.finish(60)
    written.sealed(place / "p" / "r0000")
    for at in range(1, 10_000):  # what a row needs of a run
        other = place / "p" / f"r{at:04}"
        other.mkdir()
        for name in ("run.json", "manifest.json"):
            os.link(place / "p" / "r0000" / name, other / name)
    with viewer_server.viewing(place) as viewer:
        yield viewer


def test_only_rows_on_the_screen_are_in_the_page(browse, many_runs):
    page = browse(f"{many_runs.url}#sort=id&runs=1")
    page.locator(ROWS).first.wait_for()
    assert page.locator(ROWS).count() < 80
    last = page.locator('[role="table"]').get_attribute("aria-rowcount")
    assert last == "10001"
    page.locator(".tablescroll").evaluate("(node) => node.scrollTo(0, node.scrollHeight)")
    page.locator('[role="row"][aria-rowindex="10001"]').wait_for()
    assert page.locator(ROWS).count() < 80
