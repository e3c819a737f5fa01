"""The page by the keyboard alone: each stop is seen, nothing holds the focus, and what is closed gives it back."""

from __future__ import annotations

import pytest
import viewed
from viewed import ready

import viewer_server

FOCUSED = """() => {
  const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
  return {name: one.getAttribute('aria-label') ?? one.textContent.trim(), ring: style.outlineStyle === 'solid' && parseInt(style.outlineWidth) >= 2,
    seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight && style.opacity !== '0', id: one === document.body ? '' : one.outerHTML};
}"""
OPEN = "() => [...document.querySelectorAll('dialog[open], [role=dialog]')].map(one => one.getAttribute('aria-label'))"


def focused(page):
    return page.evaluate(FOCUSED)["name"]


@pytest.fixture(scope="module")
def editable(place):
    with viewer_server.viewing(place, allow_edit=True) as viewer:
        yield viewer


def test_tab_goes_from_one_thing_to_the_next_and_each_shows_that_it_is_there(browse, editable):
    page = browse(editable.url)
    ready(page)
    stops = []
    for _ in range(40):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUSED))
    assert [one["name"] for one in stops[:5]] == ["Which runs", "views", "export", "Dark", "Keys"]
    assert [one["name"] for one in stops if not (one["ring"] and one["seen"])] == []
    assert len({one["id"] for one in stops}) == len(stops)
    assert page.get_by_role("combobox", name="Which runs").input_value() == ""
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(FOCUSED)["id"] == stops[-2]["id"]


@pytest.mark.parametrize(
    ("opener", "name", "first"),
    [("views", "Views", "Close"), ("columns", "Columns", "Search columns"), ("edit 1", "Edit runs", "Tags")],
)
def test_what_opens_beside_a_button_has_the_focus_and_escape_gives_it_back(browse, editable, opener, name, first):
    page = browse(editable.url)
    ready(page)
    page.get_by_role("checkbox", name="Compare digits/cnn-1", exact=True).check()
    button = page.get_by_role("button", name=opener, exact=True)
    for leave in ("inside", "outside"):
        button.focus()
        page.keyboard.press("Enter")
        page.get_by_role("dialog", name=name).wait_for()
        page.wait_for_function("name => document.activeElement.getAttribute('aria-label') === name", arg=first)
        if leave == "outside":
            page.get_by_role("button", name="Keys").focus()
        page.keyboard.press("Escape")
        page.get_by_role("dialog", name=name).wait_for(state="detached")
        assert focused(page) == (opener if leave == "inside" else "Keys")


@pytest.mark.parametrize("how", ["Escape", "Close"])
@pytest.mark.parametrize(
    ("opener", "name"),
    [("compare 1", "Compare"), ("Full size: train/loss", "train/loss"), ("digits/cnn-11", "Run digits/cnn-11")],
)
def test_what_covers_the_page_gives_the_focus_back(browse, editable, opener, name, how):
    page = browse(editable.url)
    ready(page)
    page.get_by_role("checkbox", name="Compare digits/cnn-1", exact=True).check()
    page.get_by_role("button", name=opener, exact=True).focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=name, exact=True)
    dialog.wait_for()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert dialog.evaluate(
            "(one) => one.contains(document.activeElement) || document.activeElement === document.body"
        )
    if how == "Close":
        dialog.get_by_role("button", name="Close", exact=True).focus()
    page.keyboard.press("Enter" if how == "Close" else "Escape")
    dialog.wait_for(state="detached")
    page.wait_for_function(
        "name => [document.activeElement.ariaLabel, document.activeElement.textContent.trim()].includes(name)",
        arg=opener,
    )
    assert page.evaluate(OPEN) == []


def test_the_keys_are_listed_and_do_what_the_list_says(browse, editable):
    page = browse(editable.url)
    ready(page)
    page.keyboard.press("?")
    listed = page.get_by_role("dialog", name="Keys")
    listed.wait_for()
    assert {"/", "f", "z", "d", "?", "Escape"} <= {*listed.locator("kbd").all_inner_texts()}
    page.keyboard.press("Escape")
    listed.wait_for(state="detached")
    page.keyboard.press("/")
    assert focused(page) == "Which runs"
    page.keyboard.type("config.se")
    page.get_by_role("listbox").get_by_role("option", name="config.seed").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("listbox").wait_for(state="detached")
    assert focused(page) == "Which runs"
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    assert focused(page) == "Filter charts"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("l")
    page.locator("input:checked").and_(page.get_by_label("log y")).wait_for()
    page.keyboard.press("d")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_phone_shows_what_is_open_whole(browse, editable):
    page = browse(editable.url)
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("article canvas").first.wait_for()
    for opener in ("views", "columns", "Keys"):
        page.get_by_role("button", name=opener, exact=True).click()
        page.get_by_role("dialog").wait_for()
        assert viewed.beyond(page) == [], opener
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
