"""Viewers that a program starts: those of one place share a process, which ends with the last of them."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from urllib.request import Request, urlopen

import pytest

import steno
from steno.viewer import started


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    place = tmp_path / "runs"
    place.mkdir()
    others = dict(started._running)  # viewers of fixtures that live longer
    yield place
    assert started._running == others


def answers(viewer):
    token = viewer.url.partition("?token=")[2]
    with urlopen(Request(f"{viewer.address}api/server", headers={"Authorization": f"Bearer {token}"})) as found:
        return json.load(found)


def is_there(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_viewers_of_a_place_share_a_process_until_the_last_is_closed(place, monkeypatch):
    monkeypatch.chdir(place.parent)
    first, second = steno.view(place, browser=False), steno.view("runs", browser=False)
    pid = first._process.pid
    assert (second._process.pid, second.url) == (pid, first.url)
    first.close()
    first.close()
    assert answers(second)["version"] == steno.__version__
    third = steno.view(place, browser=False)
    assert third._process.pid == pid
    del second
    gc.collect()
    assert answers(third)
    third.close()
    assert not is_there(pid)


def test_other_places_and_other_options_have_processes_of_their_own(place, tmp_path):
    (tmp_path / "others").mkdir()
    every = [
        steno.view(place, browser=False),
        steno.view(place, browser=False, allow_edit=True),
        steno.view(place, browser=False, token=False),
        steno.view(tmp_path / "others", browser=False),
    ]
    assert len({one._process.pid for one in every}) == len({one.address for one in every}) == 4
    assert [answers(one)["edit"] for one in every] == [False, True, False, False]
    for one in every:
        one.close()
        assert not is_there(one._process.pid)


def test_a_process_that_was_killed_is_not_taken_again(place):
    first = steno.view(place, browser=False)
    first._process.send_signal(signal.SIGKILL)
    first.wait()
    second = steno.view(place, browser=False)
    assert second._process.pid != first._process.pid
    first.close()
    assert answers(second)
    second.close()


def test_threads_that_start_one_together_share_it(place):
    found = []
    threads = [threading.Thread(target=lambda: found.append(steno.view(place, browser=False))) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len({one._process.pid for one in found}) == 1
    for one in found:
        one.close()
    assert not is_there(found[0]._process.pid)


def test_one_that_shares_a_process_opens_a_browser_too(place, tmp_path, monkeypatch):
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\ncat "${{1#file://}}" >> {tmp_path}/opened\nprintf "%s\\n" "$*" >> {tmp_path}/given\n'
    )
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    first = steno.view(place, browser=True)
    second = started.start(
        str(place), run="a b", port=None, host="127.0.0.1", browser=True, token=True, allow_edit=False
    )
    assert second._process.pid == first._process.pid
    until = time.monotonic() + 60
    while not ((tmp_path / "given").exists() and len((tmp_path / "given").read_text().split()) == 2):
        assert time.monotonic() < until
        time.sleep(0.02)
    token = first.url.partition("?token=")[2]
    opened = (tmp_path / "opened").read_text()
    assert opened.count("<!doctype html>") == 2
    assert f"{token}#runs=none&amp;show=a%20b" in opened
    assert token not in (tmp_path / "given").read_text()
    first.close()
    second.close()
    assert not list(tmp_path.glob("steno-view-*"))


def test_a_forked_child_has_its_own_and_ends_no_other(place):
    program = """
import os, sys, steno
first = steno.view(sys.argv[1], browser=False)
child = os.fork()
if child == 0:
    own = steno.view(sys.argv[1], browser=False)
    assert own._process.pid != first._process.pid
    own.close()
    first.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert first._process.poll() is None
first.close()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(place)], check=True, timeout=120)
