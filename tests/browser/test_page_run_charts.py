"""The charts of one run on its own page: its lines alone, the machine's under the same cursor, each rank's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from viewed import asks, ready

import steno
import viewer_server

RANKS = """
import sys, time
import steno
with steno.init(project="p", name="job", dir=sys.argv[1], system_metrics=1) as run:
    for step in range(6):
        run.log({"x/y": step + 100.0 * run.rank}, step=step)
        time.sleep(1)  # the middle of the run lies between samples of the machine
"""


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    place = tmp_path_factory.mktemp("ranks")
    for name in ("a", "b"):
        with steno.init(project="p", name=name, dir=str(place)) as run:
            run.log({"x/y": 1.0, "of others": 1.0}, step=0)
            run.log({"x/y": 2.0}, step=5)
            assert run.finish(60)
    job = {**os.environ, "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "job"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, str(place)], env={**job, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    assert [rank.wait(90) for rank in ranks] == [0, 0]
    with viewer_server.viewing(place) as viewer:
        yield viewer


def test_only_this_run_is_drawn_and_closing_brings_the_others_back(browse, viewer):
    page = browse(viewer.url)
    ready(page, "of others")
    asked = asks(page)
    page.locator('[data-run="p/job"]').get_by_role("button", name="p/job", exact=True).click()
    run = page.get_by_role("dialog", name="Run p/job")
    run.get_by_role("tab", name="charts").click()
    card = ready(page, "x/y", ".runpage")
    assert {run for one in asked for run in one["runs"]} == {"p/job"}
    assert card.locator(".stands").inner_text().startswith("1 line")
    assert page.locator('article[data-key="of others"]').count() == 0
    # The lines of other runs never stand in for this one's.
    assert page.locator(".both article").count() == 0
    page.keyboard.press("Escape")
    ready(page, "of others")
    assert ready(page, "x/y").locator(".stands").inner_text().startswith("3 lines")


def test_the_machine_has_a_section_under_the_same_cursor(browse, viewer):
    page = browse(f"{viewer.url}#open=p/job&tab=charts&x=time")
    card = ready(page, "x/y", ".runpage")
    sections = page.locator(".runpage .section").all_inner_texts()
    assert sections[-1].split()[1] == "system"
    # The cursor is in the charts that are there when it moves.
    page.locator('.runpage article[data-key^="system/"] .u-cursor-x').first.wait_for(state="attached")
    page.wait_for_function("() => !document.querySelector('article.loading')")
    card.locator(".u-over").hover()
    when = card.locator(".tip .when")
    when.wait_for()
    page.wait_for_function(
        """() => {
          const lines = [...document.querySelectorAll('.runpage article[data-key^="system/"] .u-cursor-x')];
          return lines.length > 0 && lines.every((one) => new DOMMatrix(getComputedStyle(one).transform).m41 > 0);
        }"""
    )


def test_each_rank_is_a_line(browse, viewer):
    page = browse(f"{viewer.url}#open=p/job&tab=charts&filter=x/y")
    card = ready(page, "x/y", ".runpage")
    page.get_by_label("ranks").select_option("all")
    page.wait_for_function("() => document.querySelector('.runpage .stands')?.textContent.startsWith('2 lines')")
    card.locator(".u-over").hover()
    tip = card.locator(".tip")
    tip.wait_for()
    assert [one.split("·")[-1].strip() for one in tip.locator(".of").all_inner_texts()] == ["rank 1", "rank 0"]


def test_a_card_of_the_run_is_seen_over_the_whole_page(browse, viewer):
    page = browse(f"{viewer.url}#open=p/job&tab=charts&filter=x/y")
    ready(page, "x/y", ".runpage").hover()
    page.locator(".runpage").get_by_role("button", name="Full size: x/y").click()
    full = page.get_by_role("dialog", name="x/y")
    full.locator("canvas").first.wait_for()
    assert full.locator(".stands").inner_text().startswith("1 line")
