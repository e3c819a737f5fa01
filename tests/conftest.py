"""The order of tests, and the road of the hot path that they take.

Those that bring a JAX backend to life come last, and no other file may: its threads do not survive a fork, so a process
that has one refuses to fork tasks, and rightly so.

Files whose tests use the fixture `road` run on both roads, all others on the one that users have: the native one where
it is built. `--road python` and `--road native` have all tests run on that one alone.

A test that holds a time against a bound is marked `timing`, and may run again. With `--again`, as `scripts/test` has it,
so may those that drive real processes (`_PROCESSES`); each that had to is named at the end. No other test may.
"""

from __future__ import annotations

import gc
import os
import resource
import shutil
import sys
import tempfile

import pytest

from leaks import nothing_left_behind  # noqa: F401 - a fixture of every test
from steno.journal import native

_LIVE = ("test_jax", "test_nlsq")
_ROADS = {"python": "0", "native": "require"}
"""By road, what `STENO_NATIVE` is."""
_PROCESSES = {"integration", "crash", "browser"}
"""Directories of tests that drive real processes."""
_UNITS_WITH_PROCESSES = """
bare_values capture cards cleaners cli_doctor cli_encoding cli_show cli_sync collector collector_faults
collector_start config_names console destination_docs edits entry_pages fork_warning listener_programs listing
lost_ledger odd_paths open_runs others plain publish_iceberg put_away removal run run_collected run_end
run_finish run_index run_settle store_kept store_stream tasks tasks_children tasks_signals terminal_lines
upload_pace utf8 viewer_api viewer_api_docs viewer_clients viewer_edit viewer_export viewer_keys viewer_live
viewer_media viewer_media_grids viewer_run viewer_security viewer_started viewer_views viewer_watch wakeup
"""
"""Files of tests/unit that start collectors, viewers or programs: they belong in tests/integration."""


def pytest_addoption(parser):
    parser.addoption("--road", choices=_ROADS, help="run all tests on this road of the hot path alone")
    parser.addoption("--again", action="store_true", help="tests that drive real processes may run three times")


def pytest_configure(config):
    """What this user has confirmed stands in his home: tests have one of their own, and their programs with them."""
    if config.getoption("--road"):
        os.environ["STENO_NATIVE"] = _ROADS[config.getoption("--road")]
    if not hasattr(config, "workerinput"):  # workers of xdist have it from the process that starts them
        os.environ["XDG_STATE_HOME"] = place = tempfile.mkdtemp(prefix="steno-tests-")
        config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: item.path.name.startswith(_LIVE))
    again = config.getoption("--again")
    for item in items:
        if (again and _drives_processes(item.path)) or item.get_closest_marker("timing"):
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))


def _drives_processes(path):
    return path.parent.name in _PROCESSES or (
        path.parent.name == "unit" and path.stem.removeprefix("test_") in _UNITS_WITH_PROCESSES.split()
    )


def pytest_collectstart():
    """Nothing of what is imported and collected goes again: to look for garbage there is a third of the time."""
    gc.disable()


def pytest_collection_finish():
    """Leave out what the libraries of all tests hold: a collection of garbage in a test would look at a million objects."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter):
    """Name what needed a second run although it measures no time: a fault, of the test or of the code."""
    again = {one.nodeid for one in terminalreporter.getreports("rerun") if "timing" not in one.keywords}
    if again:
        terminalreporter.section("needed a second run, and measure no time", red=True)
        for name in sorted(again):
            terminalreporter.line(name)


@pytest.fixture(params=_ROADS)
def road(request, monkeypatch):
    """The road of the hot path that recorders made from now on take, in child processes too."""
    chosen = request.config.getoption("--road") or request.param
    if chosen != request.param:
        pytest.skip(f"--road {chosen}")
    if chosen == "native":
        monkeypatch.delenv("STENO_NATIVE", raising=False)
        why = native.chosen()[1]
        if why:
            pytest.skip(f"there is no native road here: {why}")
    monkeypatch.setenv("STENO_NATIVE", _ROADS[chosen])
    return chosen


@pytest.fixture(autouse=True)
def _no_jax_backend_left_behind(request):
    yield
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and getattr(bridge, "_backends", None) and not request.path.name.startswith(_LIVE):
        pytest.fail(f"a JAX backend is live after this test: it belongs in a file whose name begins with {_LIVE[0]}")


@pytest.fixture
def many_open_files():
    """More than 1,024 files are open: the next one has a number that `select` cannot take."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield
    for handle in held:
        os.close(handle)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def kept_ledger(monkeypatch):
    """Runs that have ended keep their machinery: the test looks into it, or harms it."""
    monkeypatch.setenv("STENO_KEEP_LEDGER", "1")
