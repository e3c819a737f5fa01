"""Kept views on the page: saved, opened, renamed, removed; one that is damaged says so; none is written without leave."""

from __future__ import annotations

import json

import pytest
import written
from viewed import ready

import viewer_server
from steno.viewer.kept import FOLDER


@pytest.fixture
def place(tmp_path):
    written.write(tmp_path, "r0", steps=200)
    return tmp_path


def test_a_view_is_saved_opened_renamed_and_removed(browse, place):
    with viewer_server.viewing(place, allow_edit=True) as viewer:
        page = browse(f"{viewer.url}#smooth=ema~40&column=config.lr", expect=("409", "400"))
        ready(page)
        page.get_by_role("button", name="views").click()
        box = page.get_by_role("dialog", name="Views")
        box.get_by_label("Name of the view").fill("smooth <b>one</b>")
        page.keyboard.press("Enter")
        box.get_by_role("alert").get_by_text("path separator").wait_for()
        box.get_by_label("Name of the view").fill("smooth <b>")
        page.keyboard.press("Enter")
        box.get_by_role("link", name="smooth <b>").wait_for()
        assert (
            json.loads((place / FOLDER / "smooth <b>.json").read_text())["view"] == "column=config.lr&smooth=ema%7E40"
        )
        other = browse(viewer.url)
        ready(other)
        other.get_by_role("button", name="views").click()
        other.get_by_role("link", name="smooth <b>").click()
        other.wait_for_function("() => location.hash.includes('smooth=ema')")
        assert other.locator('select:near(:text("smoothing"))').first.is_visible()
        assert other.get_by_role("dialog", name="Views").count() == 0
        box.get_by_label("Name of the view").fill("smooth <b>")
        box.get_by_role("button", name="save").click()
        box.get_by_role("button", name="replace").click()
        box.get_by_role("button", name="replace").wait_for(state="detached")
        box.get_by_role("button", name="Rename smooth <b>").click()
        box.get_by_label("New name of smooth <b>").fill("plain")
        page.keyboard.press("Enter")
        box.get_by_role("link", name="plain").wait_for()
        box.get_by_role("button", name="Remove plain").click()
        box.get_by_role("button", name="keep").click()
        box.get_by_role("button", name="Remove plain").click()
        box.get_by_role("button", name="remove", exact=True).click()
        box.get_by_text("No view is kept here yet").wait_for()
        assert [*(place / FOLDER).iterdir()] == []


def test_without_leave_views_are_opened_and_a_damaged_one_says_so(browse, place):
    (place / FOLDER).mkdir()
    (place / FOLDER / "good.json").write_text(json.dumps({"steno_view": 1, "view": "logY=1", "saved": ""}))
    (place / FOLDER / "bad.json").write_text("{<img src=x onerror=alert(1)>")
    with viewer_server.viewing(place) as viewer:
        page = browse(viewer.url)
        ready(page)
        page.get_by_role("button", name="views").click()
        box = page.get_by_role("dialog", name="Views")
        box.get_by_role("alert").get_by_text("cannot be opened: its file is damaged").wait_for()
        assert box.get_by_label("Name of the view").count() == 0
        assert box.get_by_role("button", name="Remove good").count() == 0
        box.get_by_role("link", name="good").click()
        page.wait_for_function("() => location.hash === '#logY=1'")
        assert page.get_by_label("log y").is_checked()
        page.go_back()
        page.wait_for_function("() => location.hash === ''")
        assert not page.get_by_label("log y").is_checked()
        page.close()
