"""Live in a real browser: a new run and new points appear by themselves, by one stream for all tabs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import time

import pytest
import written
from viewed import asks, ready

import viewer_server

PROGRAM = """
    import sys, time, steno
    run = steno.init(project="live", name=sys.argv[2], dir=sys.argv[1])
    print("started", flush=True)
    step = 0
    for line in sys.stdin:
        for _ in range(int(line)):
            run.log({"loss": 1 / (step + 1)}, step=step)
            step += 1
        run.flush(30)
        print(step, flush=True)
    run.finish(60)
"""


class Training:
    """A program that logs when it is told to."""

    def __init__(self, place, name):
        command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(place), name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout.readline() == "started\n"

    def log(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()


@pytest.fixture
def train(tmp_path):
    programs = []

    def started(name="one"):
        programs.append(Training(tmp_path, name))
        return programs[-1]

    yield started
    for one in programs:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        one.process.stdin.close()
        one.process.stdout.close()


@pytest.fixture
def viewer(tmp_path):
    with viewer_server.viewing(tmp_path) as viewer:
        yield viewer


def streams(page):
    found = []
    page.on("request", lambda request: "/api/live" in request.url and found.append(request.url))
    return found


def test_points_a_new_run_and_its_end_appear(viewer, train, browse):
    one = train()
    one.log(10)
    page = browse(viewer.url)
    card = ready(page, "loss")
    page.locator(".way.live").wait_for()
    one.log(90)
    page.get_by_text("1 line, 100 points").wait_for()
    two = train("two")
    two.log(5)
    began = time.monotonic()
    page.locator('[data-run="live/two"]').wait_for()
    print("a new run after", time.monotonic() - began)
    page.get_by_text("2 lines, 105 points").wait_for()
    assert card.count() == 1
    one.end()
    page.locator('[data-run="live/one"] .state.finished').wait_for()
    two.end()


def test_seven_tabs_share_one_stream_and_the_next_takes_over(viewer, train, browse):
    """A browser has six connections to a host: a stream for each tab would keep the seventh from loading."""
    one = train()
    one.log(10)
    first = browse(viewer.url)
    ready(first, "loss")
    first.locator(".way.live").wait_for()
    others = [browse(viewer.url.partition("?")[0], context=first.context) for _ in range(6)]
    asked = [streams(page) for page in others]
    for page in others:
        ready(page, "loss")
        page.locator(".way.live").wait_for()
    one.log(10)
    for page in (first, *others):
        page.get_by_text("1 line, 20 points").wait_for()
    assert asked == [[]] * 6
    first.close()
    one.log(10)
    for page in others:
        page.get_by_text("1 line, 30 points").wait_for()
    assert sum(map(len, asked)) >= 1
    one.end()


def test_a_hidden_tab_asks_nothing_and_catches_up(viewer, train, browse):
    one = train()
    one.log(10)
    page = browse(viewer.url)
    ready(page, "loss")
    page.locator(".way.live").wait_for()
    page.evaluate(
        """() => {
          Object.defineProperty(document, 'hidden', {configurable: true, get: () => window.away});
          window.away = true;
          document.dispatchEvent(new Event('visibilitychange'));
        }"""
    )
    page.wait_for_timeout(300)
    asked = asks(page)
    one.log(10)
    page.wait_for_timeout(1500)
    assert asked == []
    page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
    page.get_by_text("1 line, 20 points").wait_for()
    one.end()


def test_ended_runs_cost_nothing(viewer, train, browse):
    one = train()
    one.log(10)
    one.end()
    page = browse(viewer.url)
    ready(page, "loss")
    page.locator(".way.live").wait_for()
    asked = asks(page)
    page.wait_for_timeout(2500)
    assert asked == []


def test_the_page_says_when_the_viewer_is_gone(viewer, train, browse):
    one = train()
    one.log(10)
    one.end()
    page = browse(viewer.url, expect=("ERR_", "Failed to fetch"))
    ready(page, "loss")
    viewer.close()
    page.get_by_label("log y").check()
    page.get_by_role("searchbox", name="Filter charts").fill("lo")
    page.get_by_role("combobox", name="Which runs").fill('name == "one"')
    page.keyboard.press("Enter")
    page.get_by_text("Is steno view still running?").first.wait_for()


def test_where_the_stream_is_held_back_the_page_polls_and_says_so(viewer, train, browse):
    one = train()
    one.log(10)
    page = browse("about:blank", expect=("ERR_FAILED",))
    page.add_init_script("const now = Date.now; window.later = 0; Date.now = () => now() + window.later;")
    page.route("**/api/live*", lambda route: route.abort())
    page.goto(viewer.url)
    ready(page, "loss")
    page.evaluate("window.later = 30_000")
    page.locator(".way.polling").wait_for()
    one.log(10)
    page.get_by_text("1 line, 20 points").wait_for()
    one.end()


def test_a_run_that_vanishes_is_said_and_the_others_stay(viewer, train, browse, tmp_path):
    for name in ("one", "two"):
        program = train(name)
        program.log(10)
        program.end()
    written.sealed(tmp_path / "live" / "one")
    page = browse(viewer.url)
    ready(page, "loss")
    page.locator(".way.live").wait_for()
    shutil.rmtree(tmp_path / "live" / "one")
    page.locator('[data-run="live/one"]').wait_for(state="detached")
    page.get_by_text("1 line, 10 points").wait_for()
    page.goto(f"{viewer.address}#runs=none&show=live/one&show=live/two")
    page.reload()
    page.locator(".warn, .damaged").first.wait_for()
    page.get_by_text("1 line, 10 points").wait_for()
