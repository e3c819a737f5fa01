"""Ranks, and runs that are silent, in a real browser."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from viewed import asks, ready

import viewer_server

RANK = """
    import sys, steno
    run = steno.init(project="p", name="r", dir=sys.argv[1])
    for step in range(50):
        run.log({"x": step + 100.0 * (run.rank == 2)}, step=step)
    assert run.finish(60)
"""
SILENT = """
    import sys, steno
    run = steno.init(project="p", name="silent", dir=sys.argv[1])
    run.log({"x": 1.0})
    assert run.flush(30)
    print("logged", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    place = tmp_path_factory.mktemp("ranks")
    job = {**os.environ, "WORLD_SIZE": "3", "TORCHELASTIC_RUN_ID": "job"}
    command = [sys.executable, "-c", textwrap.dedent(RANK), str(place)]
    ranks = [subprocess.Popen(command, env={**job, "RANK": str(at), "LOCAL_RANK": str(at)}) for at in range(3)]
    assert [rank.wait(90) for rank in ranks] == [0, 0, 0]
    with viewer_server.viewing(place) as viewer:
        yield viewer


@pytest.mark.parametrize(("ranks", "told"), [("", "1 line"), ("all", "3 lines"), ("band", "1 line"), ("odd", "1 line")])
def test_ranks_are_lines_a_band_or_the_one_that_deviates(browse, viewer, ranks, told):
    page = browse("about:blank")
    asked = asks(page)
    page.goto(f"{viewer.url}#ranks={ranks}")
    card = ready(page, "x")
    assert asked[-1]["cards"][0]["ranks"] == (ranks or None)
    assert card.locator(".stands").inner_text().startswith(told)
    box = card.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.locator(".tip .value").first.wait_for()
    labels = page.locator(".tip .value").all_inner_texts()
    assert len(labels) == (3 if ranks == "all" else 1)
    if ranks in {"all", "odd"}:
        assert "rank 2" in labels[0]  # the largest value comes first
    if ranks == "band":
        assert "n 3" in labels[0]


def test_a_run_that_records_no_more_is_marked_as_stalled(browse, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(SILENT), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout.readline() == "logged\n"
            old = time.time() - 3600
            for path in (tmp_path / "p" / "silent" / ".steno" / "nodes").rglob("ledger.sqlite*"):
                os.utime(path, (old, old))
            with viewer_server.viewing(tmp_path) as viewer:
                page = browse(viewer.url)
                row = page.locator('[data-run="p/silent"]')
                row.get_by_text("stalled", exact=True).wait_for()
                page.close()
        finally:
            program.stdin.close()
            assert program.wait(60) == 0


def test_a_run_whose_end_nobody_saw_is_gone_and_one_that_was_seen_to_die_is_crashed(browse, tmp_path):
    """The first as when a machine goes down: the writer and its collector end in the same moment."""
    for name in ("unseen", "seen"):
        command = [sys.executable, "-c", textwrap.dedent(SILENT).replace("silent", name), str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout.readline() == "logged\n"
            others = collectors(tmp_path / "p" / name) if name == "unseen" else []
            assert bool(others) == (name == "unseen")
            for pid in others:
                os.kill(pid, signal.SIGSTOP)
            program.kill()
            program.wait()
            for pid in others:
                os.kill(pid, signal.SIGKILL)
    with viewer_server.viewing(tmp_path) as viewer:
        page = browse(viewer.url)
        page.locator('[data-run="p/seen"]').get_by_text("crashed", exact=True).wait_for()
        page.locator('[data-run="p/unseen"]').get_by_text("gone", exact=True).wait_for()
        page.close()


def collectors(run):
    """Process ids of those that collect this run."""
    found = []
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            words = (place / "cmdline").read_bytes().split(b"\0")
            if b"steno.collector" in b" ".join(words) and any(one.startswith(os.fsencode(run)) for one in words):
                found.append(int(place.name))
    return found


def test_without_locks_the_page_polls(browse, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(SILENT), str(tmp_path)]
    with viewer_server.viewing(tmp_path) as viewer:
        page = browse("about:blank")
        page.add_init_script("Object.defineProperty(Navigator.prototype, 'locks', {get: () => undefined})")
        streams = []
        page.on("request", lambda request: "api/live" in request.url and streams.append(request.url))
        page.goto(viewer.url)
        page.locator(".way.polling").wait_for()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
            try:
                assert program.stdout.readline() == "logged\n"
                page.locator('[data-run="p/silent"]').wait_for()
            finally:
                program.stdin.close()
                assert program.wait(60) == 0
        page.wait_for_timeout(500)
        assert streams == []
        page.close()
