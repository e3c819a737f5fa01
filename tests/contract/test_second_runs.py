"""Who may run again: tests that measure time, and those that drive real processes; what did is said at the end."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import under_test

TESTS = Path(__file__).resolve().parents[1]
ONCE = """
import pathlib, pytest
def second(name):
    seen = pathlib.Path(__file__).with_name(name)
    was = seen.exists()
    seen.touch()
    return was
@pytest.mark.timing
def test_time():
    assert second("time")
def test_other():
    assert second("other")
"""
PROCESSES, OTHERS = ["browser", "crash", "integration"], ["contract", "fuzz", "unit"]


def outcome(place, *options):
    """(exit status, output) of pytest over ONCE in each directory of those names, with the project's conftest."""
    for where in PROCESSES + OTHERS:
        (place / where).mkdir()
        (place / where / f"test_{where}.py").write_text(ONCE)
    for name in ("conftest.py", "leaks.py", "kept.py"):
        shutil.copy(TESTS / name, place)
    shutil.copy(TESTS.parent / "pyproject.toml", place)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", *options, "."],
        cwd=place, env=under_test.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def failed(said):
    """The directories whose unmarked test failed the build."""
    lines = [line.split(" - ")[0] for line in said.splitlines() if line.startswith("FAILED")]
    return sorted(line.removeprefix("FAILED ").removesuffix("::test_other").split("/")[0] for line in lines)


def test_under_the_script_what_drives_processes_may_run_again_and_is_named(tmp_path):
    """Every other test fails the build at its first failure, unless it measures time."""
    (command,) = [line for line in (TESTS.parent / "scripts" / "test").read_text().splitlines() if "-m pytest" in line]
    status, said = outcome(tmp_path, *[word for word in command.split() if word.startswith("--")])
    assert (status, "3 failed, 9 passed, 9 rerun" in said) == (1, True), said
    assert failed(said) == OTHERS
    named = said.partition("needed a second run, and measure no time")[2].partition("\n")[2].partition("===")[0].split()
    assert [name for name in named if "::" in name] == [f"{where}/test_{where}.py::test_other" for where in PROCESSES]


def test_without_the_option_only_what_measures_time_may(tmp_path):
    status, said = outcome(tmp_path)
    assert (status, "6 failed, 6 passed, 6 rerun" in said) == (1, True), said
    assert failed(said) == sorted(PROCESSES + OTHERS)


def test_units_that_may_run_again_are_there():
    named = runpy.run_path(str(TESTS / "conftest.py"))["_UNITS_WITH_PROCESSES"].split()
    assert named == sorted(named)
    assert [name for name in named if not (TESTS / "unit" / f"test_{name}.py").exists()] == []
