"""The watch over what tests leave behind: each kind of leak fails its test, and that test alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import leaks
import under_test

LEAKS = {
    "environment_new": ('os.environ["LEFT"] = "x"', "environment variable LEFT was 'not set' and is 'x'"),
    "environment_changed": ('os.environ["HOME"] = "/x"', "environment variable HOME was"),
    "environment_gone": ('del os.environ["USED"]', "environment variable USED was 'here' and is 'not set'"),
    "directory": ("os.chdir(tmp_path)", "working directory was"),
    "directory_gone": ("os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')", "is 'a directory that is gone'"),
    "umask": ("os.umask(0o027)", "and is '0027'"),
    "import_path": ("sys.path.append('/nowhere')", "sys.path was"),
    "handler": ("signal.signal(signal.SIGUSR1, lambda *_: None)", "handler of SIGUSR1 was"),
    "blocked_signal": ("signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})", "blocked signals was"),
    "no_garbage_collection": ("gc.disable()", "garbage collection was True and is False"),
    "stdin": ("sys.stdin = io.StringIO()", "sys.stdin was"),
    "stdout": ("sys.stdout = io.StringIO()", "sys.stdout was"),
    "stderr": ("sys.stderr = io.StringIO()", "sys.stderr was"),
    "excepthook": ("sys.excepthook = lambda *_: None", "sys.excepthook was"),
    "unraisablehook": ("sys.unraisablehook = lambda *_: None", "sys.unraisablehook was"),
    "excepthook_of_threads": ("threading.excepthook = lambda *_: None", "threading.excepthook was"),
    "context_variable": ("inside.set(True)", "context variable steno_inside_task was 'not set' and is True"),
    "current_run": ("begin(tmp_path, 'current')", "open run: 'current'"),
    "run_beside": ("begin(tmp_path, 'a'); begin(tmp_path, 'b'); steno.finish()", "open run: 'b'"),
    "thread": ("hold()", "thread: held, a daemon, runs Event.wait"),
    "plain_thread": ("_thread.start_new_thread(held.wait, ()); time.sleep(0.1)", "thread: started by _thread, at"),
    "thread_behind_one_that_ended": ("quick = hold(); release(quick); hold()", "thread: held, a daemon"),
    "child": ("keep.append(sleeper())", "child process: "),
    "child_of_another_thread": ("start(lambda: keep.append(sleeper())).join(); time.sleep(0.1)", "child process: "),
    "child_nobody_waited_for": ("keep.append(subprocess.Popen(['true']))", "ended, and nobody has waited for it"),
    "file": ("keep.append(open(__file__))", "test_leaking.py"),
    "pipe": ("os.pipe()", "open file: "),
    "socket": ("keep.append(socket.socket())", "socket:["),
    "file_by_another_ones_number": ("os.close(spare[0]); os.dup2(2, spare[0])", "open file: "),
    "all_at_once": ("os.umask(0o077); os.pipe(); hold()", "thread: held"),
    "failing": ("os.pipe(); assert 0", "open file: "),
    "skipping": ("os.pipe(); pytest.skip()", "open file: "),
}
"""Name of the test → (what it does, what is said of it)."""
CLEAN = {
    "nothing": "pass",
    "environment_put_back": 'monkeypatch.setenv("LEFT", "y"); monkeypatch.delenv("USED")',
    "directory_put_back": "monkeypatch.chdir(tmp_path)",
    "streams_put_back": "capsys.readouterr()",
    "run_that_ended": "begin(tmp_path, 'ended').finish()",
    "thread_that_ends_soon": "start(lambda: time.sleep(0.1))",
    "child_that_ended": "subprocess.run(['true'], check=True)",
    "file_that_was_closed": "open(__file__).close()",
    "file_in_a_cycle_of_garbage": "cycle = [open(__file__)]; cycle.append(cycle)",
    "fixture_of_the_file": "assert os.fstat(outer)",
    "set_by_an_import": 'os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"',
    "event_loop_of_fsspec": "import fsspec.asyn; fsspec.asyn.get_loop()",
    "tracker_of_multiprocessing": (
        "import multiprocessing.resource_tracker; multiprocessing.resource_tracker.ensure_running()"
    ),
    "pipe_to_task_children": "life.read_end()",
    "last_of_all": "assert [*leaks.changed(first)] == []; assert steno.current() is None",
}
"""The same for tests that nothing may be said of; the last one finds put back what the others have changed."""
HEAD = """
import _thread, gc, io, os, signal, socket, subprocess, sys, threading, time
import pytest
import steno
from steno.capture.tasks import life
from steno.capture.tasks.task import inside

import leaks

keep, held, spare = [], threading.Event(), list(os.pipe())
first = leaks.settings()

def start(target):
    thread = threading.Thread(target=target, daemon=True, name="held")
    thread.start()
    return thread

def hold():
    event = threading.Event()
    thread = start(event.wait)
    thread.event = event
    return thread

def release(thread):
    thread.event.set()
    thread.join()

def sleeper():
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

def begin(place, name):
    from steno.face import init_additional
    return init_additional(project="p", name=name, dir=place, collector=False)

@pytest.fixture(scope="module")
def outer():
    read, write = os.pipe()
    yield read
    os.close(read)
    os.close(write)
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Name of a test → what was said of it, by a run of them all; "" for nothing."""
    place = tmp_path_factory.mktemp("leaking")
    bodies = {**{name: body for name, (body, _) in LEAKS.items()}, **CLEAN}
    tests = [
        f"def test_{name}(tmp_path, monkeypatch, {'capsys' if 'streams' in name else 'request'}"
        f"{', outer' if 'outer' in body else ''}):\n    {body}\n"
        for name, body in bodies.items()
    ]
    (place / "test_leaking.py").write_text("\n\n".join([textwrap.dedent(HEAD), *tests]))
    (place / "conftest.py").write_text("import leaks\nfrom leaks import nothing_left_behind\nleaks.GRACE_SECS = 0.3\n")
    # -s: else pytest itself puts the streams back after each phase of a test. The rest as scripts/test has it: a second
    # attempt would take what the first one left for what was there.
    options = [
        "-q",
        "-s",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "--reruns",
        "1",
        "--rerun-except",
        "LeakError",
    ]
    subprocess.run(
        [sys.executable, "-m", "pytest", "--junitxml=out.xml", *options],
        cwd=place,
        env={
            **os.environ,
            "PYTHONPATH": under_test.import_path(Path(leaks.__file__).parent),
            "USED": "here",
            "STENO_COLLECTOR": "off",
        },
        capture_output=True,
        check=False,
        timeout=100,
    )
    found = {}
    for case in ET.parse(place / "out.xml").iter("testcase"):
        said = [one.text for one in case if one.tag in {"error", "failure"}]
        name = case.get("name").removeprefix("test_")
        found[name] = found.get(name, "") + "".join(said)
    return found


@pytest.mark.parametrize("name", LEAKS)
def test_what_is_left_behind_fails_the_test(verdicts, name):
    assert "LeakError: this test leaves its process changed" in verdicts[name]
    assert LEAKS[name][1] in verdicts[name]


@pytest.mark.parametrize("name", CLEAN)
def test_what_is_put_back_or_kept_for_a_reason_does_not(verdicts, name):
    assert not verdicts[name], verdicts[name]


def test_two_looks_cost_less_than_2_ms():
    def once():
        began = time.perf_counter()
        before, held = leaks.settings(), leaks.holdings()
        assert not [*leaks.changed(before), *leaks.left(held)]
        return time.perf_counter() - began

    assert min(once() for _ in range(50)) < 2e-3
