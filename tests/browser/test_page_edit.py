"""Edits on the page: in the table, of selected runs, on a run's page; every tab shows them; nothing without leave."""

from __future__ import annotations

import pytest
import viewed
import written
from viewed import ready

import steno
import viewer_server

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("edited")
    for at in range(3):
        written.write(place, f"r{at}", steps=300, seed=at)
    return place


@pytest.fixture(scope="module")
def viewer(place):
    with viewer_server.viewing(place, allow_edit=True) as viewer:
        yield viewer


def row(page, name):
    return page.locator(f'[data-run="digits/{name}"]').first


def test_without_leave_nothing_can_be_edited(browse, place):
    with viewer_server.viewing(place) as viewer:
        page = browse(f"{viewer.url}#compare=digits/r0&column=tags&column=notes")
        page.get_by_role("button", name="compare 1").wait_for()
        assert page.locator(".pencil").count() == 0
        assert page.get_by_role("button", name="edit 1").count() == 0
        row(page, "r0").get_by_role("button", name="digits/r0", exact=True).click()
        page.get_by_role("table", name="Facts").wait_for()
        assert page.get_by_label("Edit the run").count() == 0
        page.close()  # it asks for news as long as it is open


def test_a_cell_is_edited_in_its_place_and_each_tab_shows_it(browse, viewer, place):
    address = f"{viewer.url}#column=tags&column=notes"
    page = browse(address)
    other = browse(address, context=page.context)
    row(other, "r0").wait_for()
    row(page, "r0").hover()
    row(page, "r0").get_by_label("Edit tags of digits/r0").click()
    box = page.get_by_label("tags of digits/r0", exact=True)
    box.fill(f"good, {HOSTILE}")
    box.press("Enter")
    row(page, "r0").get_by_text(f"good, {HOSTILE}").wait_for()
    row(other, "r0").get_by_text(f"good, {HOSTILE}").wait_for()
    row(page, "r0").get_by_label("Edit notes of digits/r0").click()
    page.get_by_label("notes of digits/r0", exact=True).fill("never saved")
    page.keyboard.press("Escape")
    assert steno.open(place / "digits" / "r0").info.tags == ("good", HOSTILE)
    assert steno.open(place / "digits" / "r0").info.notes == ""
    assert page.locator(".row img").count() == 0


def test_selected_runs_are_edited_at_once(browse, viewer, place):
    page = browse(f"{viewer.url}#compare=digits/r1&compare=digits/r2&column=tags")
    card = ready(page)
    before = viewed.Picture(card).columns()
    page.get_by_role("button", name="edit 2").click()
    box = page.get_by_role("dialog", name="Edit runs")
    box.get_by_label("Tags").fill("x, y")
    box.get_by_role("button", name="add").click()
    for name in ("r1", "r2"):
        row(page, name).get_by_text("x, y").wait_for()
    box.get_by_label("Notes").fill("both of them")
    box.get_by_role("button", name="set").first.click()
    box.locator('input[type="color"]').fill("#ff00ff")
    box.get_by_role("button", name="set").nth(1).click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.row .eye i')].filter((one) => one.style.background === 'rgb(255, 0, 255)').length === 2"
    )
    assert before
    box.get_by_role("button", name="archive", exact=True).click()
    page.get_by_text("2 runs changed").wait_for()
    row(page, "r1").wait_for(state="detached")
    page.get_by_role("button", name="undo").click()
    for name in ("r1", "r2"):
        row(page, name).wait_for()
        found = steno.open(place / "digits" / name).info
        assert (found.tags, found.notes, found.colour, found.archived) == (("x", "y"), "both of them", "#ff00ff", False)


def test_the_runs_page_edits_name_notes_and_tags(browse, viewer, place):
    page = browse(f"{viewer.url}#open=digits/r0")
    run = page.get_by_role("dialog", name="Run digits/r0")
    run.get_by_label("notes").fill("it diverged\nat 200")
    run.get_by_label("notes").press("Control+Enter")
    run.get_by_label("Add a tag").fill("bad")
    run.get_by_label("Add a tag").press("Enter")
    run.get_by_label("Remove the tag bad").wait_for()
    run.get_by_label("name").fill("renamed")
    run.get_by_label("name").press("Enter")
    run.get_by_role("heading", name="digits/renamed").wait_for()
    run.get_by_label("Remove the tag bad").click()
    run.get_by_label("Remove the tag bad").wait_for(state="detached")
    found = steno.open(place / "digits" / "r0").info
    assert (found.name, found.notes) == ("renamed", "it diverged\nat 200")
    assert "bad" not in found.tags
    run.get_by_label("name").fill("r1")
    run.get_by_label("name").press("Enter")
    page.get_by_role("alert").get_by_text("a run already").wait_for()
    steno.open(place / "digits" / "r0").edit(name="", notes="", tags=[])


def test_a_run_that_cannot_be_changed_is_said_by_itself(browse, viewer, place):
    (place / "digits" / "r2" / "edits.jsonl").unlink(missing_ok=True)
    (place / "digits" / "r2" / "edits.jsonl").mkdir()
    try:
        page = browse(f"{viewer.url}#compare=digits/r1&compare=digits/r2&column=tags")
        page.get_by_role("button", name="edit 2").click()
        box = page.get_by_role("dialog", name="Edit runs")
        box.get_by_label("Tags").fill("z")
        box.get_by_role("button", name="add").click()
        said = page.get_by_role("alert")
        said.get_by_text("1 run of 2 not changed").wait_for()
        assert "digits/r2" in said.inner_text()
        assert "z" in steno.open(place / "digits" / "r1").info.tags
    finally:
        (place / "digits" / "r2" / "edits.jsonl").rmdir()
        steno.open(place / "digits" / "r1").edit(tags=[])
