"""Who may run again: tests that measure time, and no others; what did is said at the end."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import under_test

TESTS = Path(__file__).resolve().parents[1]
ONCE = """
import pathlib, pytest
def second(name):
    seen = pathlib.Path(name)
    was = seen.exists()
    seen.touch()
    return was
@pytest.mark.timing
def test_time():
    assert second("time")
def test_other():
    assert second("other")
"""


def outcome(place, *options):
    (place / "test_once.py").write_text(ONCE)
    for name in ("conftest.py", "leaks.py", "kept.py"):
        shutil.copy(TESTS / name, place)
    shutil.copy(TESTS.parent / "pyproject.toml", place)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", *options, "test_once.py"],
        cwd=place, env=under_test.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_test_that_measures_time_may_run_again_and_no_other(tmp_path):
    status, said = outcome(tmp_path)
    assert (status, "1 failed, 1 passed, 1 rerun" in said) == (1, True), said
    assert "FAILED test_once.py::test_other" in said


def test_what_ran_again_and_measures_no_time_is_said(tmp_path):
    status, said = outcome(tmp_path, "--reruns", "2")
    assert (status, "2 passed, 2 rerun" in said) == (0, True), said
    named = said.partition("needed a second run, and measure no time")[2]
    assert "test_once.py::test_other" in named
    assert "test_time" not in named
