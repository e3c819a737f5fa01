"""A run's own page in a real browser: why it failed, its configuration, what it printed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import viewer_server

PROGRAM = """
    import sys, steno
    config = {"opt": {"name": "adam", "betas": [0.9, 0.999]}, "<b>key</b>": "<i>value</i>", **{f"p{at}": at for at in range(20)}}
    with steno.init(project="p", name="good", dir=sys.argv[1], capture="both", config=config, notes="some notes") as run:
        print("\\x1b[31mred\\x1b[0m <img src=x onerror=alert(1)>")
        print("to stderr", file=sys.stderr)
        for at in range(2500):
            print("line", at)
            if at % 100 == 99:
                run.flush(30)  # a flood is bounded
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
    assert "open=p/bad" in page.evaluate("location.hash")
    page.keyboard.press("Escape")
    run.wait_for(state="hidden")
    assert "open=" not in page.evaluate("location.hash")


def test_the_configuration_is_a_list_that_is_searched(browse, viewer):
    page = browse(f"{viewer.url}#open=p/good")
    run = page.get_by_role("dialog", name="Run p/good")
    run.get_by_role("cell", name="adam", exact=True).wait_for()
    assert run.get_by_role("cell", name="<i>value</i>", exact=True).count() == 1
    assert run.get_by_role("cell", name="some notes", exact=True).count() == 1
    run.get_by_role("searchbox", name="Search configuration").fill("betas")
    run.get_by_role("cell", name="0.9, 0.999", exact=True).wait_for()
    assert run.get_by_role("cell", name="adam", exact=True).count() == 0


def test_what_was_printed_has_its_colours_and_is_searched(browse, viewer):
    page = browse(f"{viewer.url}#open=p/good")
    run = page.get_by_role("dialog", name="Run p/good")
    run.get_by_role("tab", name="output").click()
    red = run.locator(".line .c1")
    red.wait_for()
    assert red.inner_text() == "red"
    assert run.locator(".line").first.inner_text() == "red <img src=x onerror=alert(1)>"
    assert run.locator(".line.stderr").inner_text() == "to stderr"
    assert run.locator(".line img").count() == 0
    assert run.locator(".line").count() < 120
    run.get_by_role("button", name="end").click()
    run.get_by_text("line 2499", exact=True).wait_for()
    run.get_by_role("searchbox", name="Search").fill("line 123")
    page.keyboard.press("Enter")
    run.get_by_text("11 lines").wait_for()
