"""A run's own page in a real browser: why it failed, its configuration, what it printed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import viewed

import viewer_server

PROGRAM = """
    import pathlib, sys, steno
    files = pathlib.Path(sys.argv[1]) / ".files"
    (files / "deep").mkdir(parents=True)
    (files / "model.pt").write_bytes(b"one")
    (files / "deep" / "<b>more<").mkdir()
    (files / "deep" / "<b>more<" / "b>.txt").write_bytes(b"three")
    config = {"opt": {"name": "adam", "betas": [0.9, 0.999]}, "<b>key</b>": "<i>value</i>", **{f"p{at}": at for at in range(20)}}
    with steno.init(project="p", name="good", dir=sys.argv[1], capture="both", config=config, notes="some notes", destinations=["csv"]) as run:
        print("\\x1b[31mred\\x1b[0m <img src=x onerror=alert(1)>")
        print("to stderr", file=sys.stderr)
        for at in range(2500):
            print("line", at)
            if at % 100 == 99:
                run.flush(30)  # a flood is bounded
        run.log({"loss": 1.0, "bad": {}})
        run.event("said", what="<u>it</u>")
        run.log_artifact(str(files / "model.pt"), "model <b>", step=1, metadata={"by": "<i>me</i>"})
        (files / "model.pt").write_bytes(b"second")
        run.log_artifact(str(files / "model.pt"), "model <b>", overwrite=True, step=2, link="latest")
        run.log_artifact(str(files), "all")
    wide = {f"group{at}": {f"value{inner}": inner for inner in range(100)} for at in range(50)}
    with steno.init(project="p", name="wide", dir=sys.argv[1], config=wide) as run:
        run.log({"loss": 1.0})
    with steno.init(project="p", name="bad", dir=sys.argv[1]) as run:
        run.log({"loss": 1.0})
        raise ValueError("it broke <b>here</b>")
"""


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    place = tmp_path_factory.mktemp("printed")
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(place)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert "it broke" in done.stderr
    with viewer_server.viewing(place) as viewer:
        yield viewer


def test_a_failed_run_shows_its_traceback_first(browse, viewer):
    page = browse(viewer.url)
    page.locator('[data-run="p/bad"]').get_by_role("button", name="p/bad", exact=True).click()
    run = page.get_by_role("dialog", name="Run p/bad")
    run.locator(".failure").wait_for()
    assert "ValueError: it broke <b>here</b>" in run.locator(".failure").inner_text()
    page.wait_for_function("location.hash.includes('open=p/bad')")
    page.keyboard.press("Escape")
    run.wait_for(state="hidden")
    page.wait_for_function("!location.hash.includes('open=')")


def test_the_configuration_is_a_tree_that_is_searched(browse, viewer):
    page = browse(f"{viewer.url}#open=p/good")
    run = page.get_by_role("dialog", name="Run p/good")
    tree = run.get_by_role("tree", name="configuration")
    tree.get_by_role("treeitem", name="opt.name = adam", exact=True).wait_for()
    assert tree.get_by_role("treeitem", name="<b>key</b> = <i>value</i>", exact=True).count() == 1
    assert run.get_by_role("cell", name="some notes", exact=True).count() == 1
    group = tree.get_by_role("treeitem", name="opt", exact=True)
    group.get_by_role("button").click()
    assert group.get_attribute("aria-expanded") == "false"
    assert tree.get_by_role("treeitem", name="opt.name = adam", exact=True).count() == 0
    run.get_by_role("searchbox", name="Search configuration").fill("betas")
    tree.get_by_role("treeitem", name="opt.betas = 0.9, 0.999", exact=True).wait_for()
    assert tree.get_by_role("treeitem").count() == 2


def test_thousands_of_values_are_closed_at_first_and_those_on_the_screen_are_in_the_page(browse, viewer):
    page = browse(f"{viewer.url}#open=p/wide")
    tree = page.get_by_role("tree", name="configuration")
    tree.wait_for()
    assert tree.bounding_box()["height"] == 24 * 50
    page.get_by_role("button", name="open all").click()
    page.wait_for_function("() => document.querySelector('[role=tree]').getBoundingClientRect().height > 24 * 5000")
    assert tree.get_by_role("treeitem").count() < 80
    page.get_by_role("searchbox", name="Search configuration").fill("group49.value99")
    tree.get_by_role("treeitem", name="group49.value99 = 99", exact=True).wait_for()
    page.get_by_text("1 value of 5,000").wait_for()


def test_health_and_attempts_are_said_in_words(browse, viewer):
    page = browse(f"{viewer.url}#open=p/good")
    health = page.get_by_role("region", name="Health")
    health.get_by_text("refused: 1 of bad (an empty dict has no values)").wait_for()
    health.get_by_text("One thing needs a look.").wait_for()
    row = health.get_by_role("table", name="Destinations").locator("tbody tr").inner_text()
    assert row.startswith("csv")
    assert "all delivered" in row
    attempt = page.get_by_role("table", name="Attempts").locator("tbody tr").inner_text().split("\t")
    assert attempt[0] == "1"
    assert attempt[-1] == "finished"


def test_artifacts_have_versions_files_and_downloads(browse, viewer):
    page = browse(f"{viewer.url}#open=p/good&tab=artifacts")
    run = page.get_by_role("dialog", name="Run p/good")
    model = run.locator('[data-artifact="model <b>"]')
    model.get_by_role("button", name="2 versions").click()
    model.locator(".version").nth(1).wait_for()
    assert "latest" in model.locator(".version").first.inner_text()
    for version, content in ((0, b"second"), (1, b"one")):
        with page.expect_download() as waiting:
            model.locator(".version").nth(version).get_by_role("link", name="download").click()
        assert waiting.value.path().read_bytes() == content
    directory = run.locator('[data-artifact="all"]')
    directory.get_by_role("button", name="files").click()
    with page.expect_download() as waiting:
        directory.get_by_role("link", name="deep/<b>more</b>.txt").click()
    assert waiting.value.path().read_bytes() == b"three"
    run.get_by_role("searchbox", name="Search artifacts").fill("LATEST")
    page.keyboard.press("Enter")
    run.get_by_text("1 artifact", exact=True).wait_for()
    assert run.locator(".artifacts b, .artifacts img").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_stands_in_the_way(browse, viewer, theme):
    page = browse(f"{viewer.url}#open=p/good", color_scheme=theme, bypass_csp=True)
    shown = {
        "overview": ".treerow", "charts": "article canvas", "output": ".line", "records": ".line", "artifacts": ".artifact",
    }  # fmt: skip
    for tab, what in shown.items():
        page.get_by_role("tab", name=tab).click()
        page.locator(".runpage").locator(what).first.wait_for()
        assert viewed.serious(page) == [], tab


def test_on_a_phone_each_part_is_as_wide_as_the_phone(browse, viewer):
    page = browse("about:blank")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{viewer.url}#open=p/good")
    parts = {
        "overview": page.get_by_role("region", name="Health").locator("li"),
        "charts": page.locator(".runpage article canvas"),
        "output": page.locator(".line").filter(has_text="line 1"),
        "records": page.locator(".line").filter(has_text="start"),
        "artifacts": page.locator(".artifact"),
    }
    for name, shown in parts.items():
        page.get_by_role("tab", name=name).click()
        shown.first.wait_for()
        assert viewed.beyond(page) == [], name
    for one in ("output", "records"):
        page.get_by_role("tab", name=one).click()
        parts[one].first.wait_for()
        lines = page.locator(".lines").bounding_box()
        assert lines["height"] > 500, "the lines have the screen, not what stands above them"


def test_on_a_phone_attempts_are_a_list_that_names_each_value(browse, viewer):
    page = browse("about:blank")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{viewer.url}#open=p/good")
    table = page.get_by_role("table", name="Attempts")
    cells = table.get_by_role("cell").filter(visible=True)
    cells.first.wait_for()
    assert all(one.bounding_box()["height"] < 30 for one in cells.all()), "no value is broken into pieces"
    assert table.get_by_role("rowheader").count() == 1
    said = cells.last.evaluate("one => getComputedStyle(one, '::before').content")
    assert said == '"outcome"'
    assert cells.last.inner_text() == "finished"


def test_what_was_printed_has_its_colours_and_is_searched(browse, viewer):
    page = browse(f"{viewer.url}#open=p/good")
    run = page.get_by_role("dialog", name="Run p/good")
    run.get_by_role("tab", name="output").click()
    red = run.locator(".line .c1")
    red.wait_for()
    assert red.inner_text() == "red"
    assert run.locator(".line .words").first.inner_text() == "red <img src=x onerror=alert(1)>"
    assert run.locator(".line.stderr .words").inner_text() == "to stderr"
    assert run.locator(".line img").count() == 0
    assert run.locator(".line").count() < 120
    run.get_by_role("button", name="end").click()
    run.get_by_text("line 2499", exact=True).wait_for()
    run.get_by_role("searchbox", name="Search").fill("LINE 123")
    page.keyboard.press("Enter")
    run.get_by_text("11 lines").wait_for()
    run.locator(".line", has_text="line 1231").get_by_role("button").click()
    run.get_by_text("2,502 lines").wait_for()
    marked = run.locator(".line.marked")
    marked.wait_for()
    assert marked.locator(".words").inner_text() == "line 1231"
    run.get_by_text("line 1230", exact=True).wait_for()


def test_one_goes_to_a_line_and_takes_all_of_them_away(browse, viewer):
    page = browse(f"{viewer.url}#open=p/good&tab=output")
    run = page.get_by_role("dialog", name="Run p/good")
    run.get_by_text("2,502 lines").wait_for()
    run.get_by_label("Go to line").fill("2,003")
    page.keyboard.press("Enter")
    marked = run.locator(".line.marked")
    marked.wait_for()
    assert (marked.locator(".no").inner_text(), marked.locator(".words").inner_text()) == ("2003", "line 2000")
    with page.expect_download() as waiting:
        run.get_by_role("link", name="download").click()
    lines = waiting.value.path().read_text().splitlines()
    assert lines[:2] == ["red <img src=x onerror=alert(1)>", "to stderr"]
    assert lines[2:] == [f"line {at}" for at in range(2500)]


def test_records_are_chosen_by_kind_key_and_rank(browse, viewer):
    page = browse(f"{viewer.url}#open=p/good&tab=records")
    run = page.get_by_role("dialog", name="Run p/good")
    kinds = run.get_by_label("Kind")
    kinds.locator("option", has_text="output (2,502)").wait_for(state="attached")
    kinds.select_option("event")
    run.get_by_text("1 record", exact=True).wait_for()
    assert "<u>it</u>" in run.locator(".line .words").inner_text()
    assert run.locator(".line u").count() == 0
    kinds.select_option("artifact")
    page.wait_for_function("() => document.querySelector('.line .words')?.textContent.includes('model')")
    run.get_by_label("Key").fill("loss")
    page.keyboard.press("Enter")
    run.locator(".line .words", has_text="1").first.wait_for()
    run.get_by_text("1 record", exact=True).wait_for()


def test_the_end_is_followed_while_the_run_goes_on(browse, tmp_path):
    import steno

    with viewer_server.viewing(tmp_path) as viewer, steno.init(project="p", name="live", dir=str(tmp_path)) as run:
        entry = run._started.recorder.entry
        for at in range(3000):
            entry("output", {"stream": "stdout", "text": f"line {at}"})
        assert run.flush(30)
        page = browse(f"{viewer.url}#open=p/live&tab=output")
        page.get_by_text("line 2999", exact=True).wait_for()
        for at in range(3000, 3300):
            entry("output", {"stream": "stdout", "text": f"line {at}"})
        assert run.flush(30)
        page.get_by_text("line 3299", exact=True).wait_for()
        # Who reads further up is left there.
        page.get_by_role("button", name="top").click()
        page.get_by_text("line 0", exact=True).wait_for()
        entry("output", {"stream": "stdout", "text": "the last"})
        assert run.flush(30)
        page.get_by_text("3,301 lines").wait_for()
        assert page.get_by_text("line 0", exact=True).count() == 1
        page.close()
