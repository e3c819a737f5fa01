"""What `finish` waits for and says, how long an exit takes, and who does what is left."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import run_programs
from run_programs import wait_for

import steno
import under_test
from steno.capture import lifecycle
from steno.capture.open_runs import RUNS

HUNG = """
import os, sys, time, steno
sys.executable = {script!r}
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    run_programs.no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    yield
    for one in RUNS.all():
        one.end("finished", timeout=0, announce=False)
    run_programs.no_further_run()
    RUNS._hooks.uninstall()  # a run that ended in another thread leaves SIGTERM's
    with contextlib.suppress(FileNotFoundError):  # a run that has ended puts its machinery away meanwhile
        for status in tmp_path.rglob("status.json"):
            pid = json.loads(status.read_text())["pid"]
            wait_for(lambda pid=pid: not collects(pid), 30)


def collects(pid: int) -> bool:
    try:
        return b"steno.collector" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture
def hung(tmp_path):
    """What begins a program whose collectors do nothing."""
    script = tmp_path / "interpreter"
    script.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nexec sleep 120\n")
    script.chmod(0o755)
    yield HUNG.format(script=str(script))
    for pid in (tmp_path / "pids").read_text().split() if (tmp_path / "pids").exists() else ():
        os.kill(int(pid), signal.SIGKILL)


def late(monkeypatch, tmp_path, secs: float) -> None:
    """Collectors of this process begin so much later."""
    script = tmp_path / "interpreter"
    script.write_text(f'#!/bin/sh\nsleep {secs}\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


# -- what finish waits for -----------------------------------------------------------------------------------


class Last:
    """Logs at its end, when all else is posted. Before that it may have somebody stopped."""

    kinds = frozenset({"points", "event"})

    def __init__(self, stop=lambda: None):
        self.stop = stop
        self.run = None

    def open(self, run):
        pass

    def write(self, batch):
        pass

    def flush(self):
        pass

    def close(self):
        self.stop()
        self.run.log({"last": 1.0})


def test_what_a_destination_object_logs_at_its_end_is_posted_when_finish_says_so():
    last = Last()
    run = last.run = steno.init(name="a", destinations=[last])
    run.log({"x": 1.0})
    assert run.finish() is True
    book = steno.open(run.dir)
    assert book.series("last").value.tolist() == [1.0]


def test_finish_is_false_while_what_a_destination_object_logged_at_its_end_is_not_posted(capfd):
    """The collector stands still from then on: what was posted before is not enough."""

    def stop():
        os.kill(collector, signal.SIGSTOP)
        threads = Path(f"/proc/{collector}/task").glob("*/stat")
        for thread in threads:
            wait_for(lambda thread=thread: thread.read_text().rpartition(") ")[2][0] == "T", 10)

    last = Last(stop)
    run = last.run = steno.init(name="a", destinations=[last])
    run.log({"x": 1.0})
    assert run.flush(30)
    collector = run.health()["collector"]["pid"]
    try:
        assert run.finish(1.0) is False
    finally:
        os.kill(collector, signal.SIGCONT)
    assert "are to be posted by the collector" in capfd.readouterr().err.splitlines()[-1]


def test_finish_waits_for_a_collector_that_comes_late_and_says_so(monkeypatch, tmp_path, capfd):
    late(monkeypatch, tmp_path, 3)
    run = steno.init(name="a", destinations=["csv", "tensorboard"])
    for step in range(100):
        run.log({"x": float(step)}, step=step)
    assert run.finish() is True
    book = steno.open(run.dir)
    assert (book.info.state, len(book.series("x").step)) == ("finished", 100)
    assert len((run.dir / "metrics.csv").read_text().splitlines()) == 101
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("steno: the run 'a' waits up to 28 s more for its end: ")
    assert "kB of this process's records are to be posted by the collector (process " in line
    assert line.endswith("Ctrl-C ends the wait")


def test_a_media_value_has_its_file_when_finish_says_so():
    run = steno.init(name="a")
    rng = np.random.default_rng(0)
    for step in range(8):
        run.log({"image": steno.Image(rng.integers(0, 255, (600, 800, 3), np.uint8))}, step=step)
    run.log({"small": steno.Image(np.zeros((4, 4), np.uint8)), "text": steno.Text("words")})
    assert run.finish() is True
    items = [item for key in ("image", "small") for item in steno.open(run.dir).media(key)]
    assert len(items) == 9
    assert all(item.path is not None and item.path.stat().st_size for item in items)


def test_media_of_a_writer_have_their_files_when_close_says_so():
    with steno.SummaryWriter("logs") as writer:
        for step in range(8):
            writer.add_image("noise", np.random.default_rng(step).random((3, 400, 500)), step)
        assert writer.close() is True
    assert all(item.path is not None for item in steno.open("logs").media("noise"))


def test_a_value_that_cannot_be_encoded_makes_it_false_and_is_named(capfd, monkeypatch, tmp_path):
    absent = tmp_path / "absent"
    (absent / "av").mkdir(parents=True)
    (absent / "av/__init__.py").write_text("raise ImportError('av is not there')")
    monkeypatch.setenv("PYTHONPATH", under_test.import_path(absent))
    run = steno.init(name="a")
    run.log({"film": steno.Video(np.zeros((4, 16, 16, 3), np.uint8), axes="THWC")})
    assert run.finish() is False
    assert "1 media values could not be encoded and are kept as they were captured" in capfd.readouterr().err


@pytest.mark.parametrize("logger", ["RunLogger", "SummaryWriter"])
def test_flush_of_loggers_waits_for_event_files(logger, tmp_path):
    made = (
        steno.RunLogger("a", "logs", destinations=["tensorboard", "csv"])
        if logger == "RunLogger"
        else steno.SummaryWriter("logs/a")
    )
    add = made.log_scalar if logger == "RunLogger" else made.add_scalar
    for step in range(3):
        add("loss", float(step), step)
        assert made.flush() is True
        events = list(tmp_path.glob("logs/a/**/events.out.tfevents.*"))
        assert sum(path.read_bytes().count(b"loss") for path in events) == step + 1
    made.close()


def test_flush_may_wait_for_the_files_of_destinations():
    run = steno.init(name="a", destinations=["csv", "jsonl"])
    for step in range(5):
        run.log({"x": float(step)}, step=step)
        assert run.flush(30, files=True)
        assert len((run.dir / "metrics.csv").read_text().splitlines()) == step + 2
    assert steno.flush(files=True)


class Slow:
    """Takes a record in each half second."""

    def __init__(self) -> None:
        self.got = 0

    def open(self, run):
        pass

    def write(self, batch):
        time.sleep(0.5)
        self.got += len(batch)

    def flush(self):
        pass

    def close(self):
        pass


def test_a_destination_object_is_waited_for_as_long_as_it_moves(monkeypatch):
    from steno.capture.inprocess import feed

    monkeypatch.setattr(feed, "_READ_BYTES", 1)
    slow = Slow()
    run = steno.init(name="a", destinations=[slow], settings={"collector": False})
    for step in range(8):
        run.log({"x": float(step)}, step=step)
        time.sleep(0.12)
    run.finish()
    assert slow.got == 8


# -- how long, and what is said -------------------------------------------------------------------------------


@pytest.mark.timing
def test_ctrl_c_ends_the_wait(hung, tmp_path):
    code = hung + (
        "run = steno.init(name='a', destinations=['csv'])\nrun.log({'x': 1.0})\nprint('now', flush=True)\n"
        "print(run.finish(), run.finish(), run.ended, flush=True)\n"
    )
    with run_programs.start(code, tmp_path, STENO_COLLECTOR="on") as program:
        program.stdout.readline()
        time.sleep(2.5)
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
    assert (program.returncode, out) == (0, "False False True\n")
    assert time.monotonic() - began < 3
    waits, ctrl_c, left, again = err.splitlines()
    assert "waits up to 28 s more" in waits
    assert ctrl_c == "steno: Ctrl-C has ended the wait for the end of the run 'a'"
    assert "the run 'a' has ended and not all is done: " in left
    assert left.endswith(f"`steno sync {tmp_path}/runs/default/a` does what is left")
    assert again == left
    assert run_programs.entries(tmp_path / "runs/default/a", "finish") == [{"state": "finished"}]


@pytest.mark.timing
@pytest.mark.parametrize("timeout", ["0", "0.3"])
def test_a_false_says_what_is_owed_and_keeps_its_limit(hung, timeout, tmp_path):
    code = hung + (
        f"run = steno.init(name='a')\nrun.log({{'x': 1.0}})\nbegan = time.monotonic()\nok = run.finish({timeout})\n"
        "print(ok, time.monotonic() - began)\n"
    )
    done = run_programs.run(code, tmp_path, STENO_COLLECTOR="on")
    ok, took = done.stdout.split()
    assert ok == "False"
    assert float(took) < float(timeout) + 0.7
    (line,) = done.stderr.splitlines()
    assert "kB of this process's records are to be posted by the collector (process " in line


def test_a_false_of_a_run_without_a_collector_names_the_command(capfd):
    run = steno.init(name="a", settings={"collector": False})
    run.log({"x": 1.0})
    assert run.finish() is False
    (line,) = capfd.readouterr().err.splitlines()
    assert "are to be posted by a collector, and none is at work. `steno sync " in line


def test_a_false_because_another_thread_ends_it_says_so(capfd):
    run = steno.init(name="a", settings={"collector": False})
    release = threading.Event()
    run.async_log(lambda: release.wait(30) and {"x": 1.0})
    other = threading.Thread(target=run.finish)
    other.start()
    wait_for(lambda: run._ending.tasks._closing)
    assert run.finish(0.1) is False
    assert "is being ended by another thread, which was not done in time" in capfd.readouterr().err
    release.set()
    other.join(30)


class Gone:
    """Is told nothing and does not return before the test ends."""

    open = flush = close = lambda self, *_: None

    def __init__(self):
        self.ended = threading.Event()

    def write(self, batch):
        self.ended.wait(3600)


@pytest.fixture
def gone():
    made = Gone()
    yield made
    made.ended.set()


@pytest.mark.timing
def test_a_destination_object_that_hangs_costs_two_seconds_and_is_named(capfd, gone):
    run = steno.init(name="a", destinations=[gone])
    run.log({"x": 1.0})
    began = time.monotonic()
    assert run.finish() is False
    assert time.monotonic() - began < 5
    line = capfd.readouterr().err.splitlines()[-1]
    assert "the destination object 'Gone' has not taken all" in line
    # Nobody goes on with it, and nothing else is owed.
    assert "while this process lives" in line
    assert "collector" not in line
    assert "steno sync" not in line


SINK = """
import time
class Sink:
    def open(self, run): pass
    def write(self, batch): time.sleep(3600)
    def flush(self): pass
    def close(self): pass
"""


@pytest.mark.timing
def test_a_destination_of_a_service_that_hangs_costs_two_seconds_and_is_named(capfd, monkeypatch, tmp_path):
    info = tmp_path / "site/sink-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sink\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[steno.destinations]\nsink = sink_of_a_test:Sink\n")
    (tmp_path / "site/sink_of_a_test.py").write_text(SINK)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PYTHONPATH", under_test.import_path(tmp_path / "site"))
    run = steno.init(name="a", destinations=["sink", "csv"], settings={"linger": 0.5})
    run.log({"x": 1.0})
    began = time.monotonic()
    assert run.finish() is False
    took = time.monotonic() - began
    assert len((run.dir / "metrics.csv").read_text().splitlines()) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert "has ended and not all is done: the destination 'sink' " in line
    assert "csv" not in line
    assert "The collector goes on with it" in line
    assert took < 10


# -- where the process itself is at its end -----------------------------------------------------------------------


@pytest.mark.timing
@pytest.mark.parametrize("sort", ["function", "lambda", "partial", "method", "object"])
def test_in_a_handler_of_sigterm_finish_takes_two_seconds(hung, sort, tmp_path):
    code = hung + (
        """
import functools, signal
run = steno.init(name='a')
run.log({'x': 1.0})
def end(number, frame, more=None):
    began = time.monotonic()
    print(run.finish(), time.monotonic() - began, flush=True)
    os._exit(0)
class Way:
    def method(self, number, frame): end(number, frame)
    def __call__(self, number, frame): self.method(number, frame)
ways = {'function': end, 'lambda': lambda *_: end(*_), 'partial': functools.partial(end, more=1),
    'method': Way().method, 'object': Way()}
signal.signal(signal.SIGTERM, ways[SORT])
print('ready', flush=True)
while True: time.sleep(0.01)
"""
    ).replace("SORT", repr(sort))
    with run_programs.start(code, tmp_path, STENO_COLLECTOR="on") as program:
        assert program.stdout.readline() == "ready\n"
        program.terminate()
        out, err = program.communicate(timeout=60)
    ok, took = out.split()
    assert ok == "False"
    assert 1.5 < float(took) < 3
    assert "has ended and not all is done" in err


@pytest.mark.timing
def test_a_block_that_a_handler_of_sigterm_leaves_takes_two_seconds(hung, tmp_path):
    code = hung + (
        """
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with steno.init(name='a') as run:
    run.log({'x': 1.0})
    print('ready', flush=True)
    while True: time.sleep(0.01)
"""
    )
    with run_programs.start(code, tmp_path, STENO_COLLECTOR="on") as program:
        assert program.stdout.readline() == "ready\n"
        began = time.monotonic()
        program.terminate()
        assert program.wait(60) == 0
        assert time.monotonic() - began < 4


def test_a_thread_that_goes_on_when_the_main_one_has_ended_waits_as_ever(tmp_path):
    late_by = tmp_path / "interpreter"
    late_by.write_text(f'#!/bin/sh\nsleep 3\nexec {sys.executable} "$@"\n')
    late_by.chmod(0o755)
    code = f"""
    import sys, threading, time, steno
    sys.executable = {str(late_by)!r}
    run = steno.init(name="a")
    def train():
        while threading.main_thread().is_alive(): time.sleep(0.01)
        run.log({{"x": 1.0}})
        print(run.finish(), flush=True)
    threading.Thread(target=train).start()
    """
    assert run_programs.run(code, tmp_path, STENO_COLLECTOR="on").stdout == "True\n"


def test_a_handler_that_is_called_as_a_function_is_none():
    said = []

    def handler(number, frame):
        said.append(lifecycle.is_in_term_handler())

    before = signal.signal(signal.SIGTERM, handler)
    try:
        handler(signal.SIGTERM, None)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: len(said) == 2)
        signal.signal(signal.SIGTERM, partial(handler))
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: len(said) == 3)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert said == [False, True, True]
    assert not lifecycle.is_in_term_handler()


@pytest.mark.timing
@pytest.mark.parametrize("way", ["atexit", "del"])
def test_while_the_interpreter_goes_down_finish_takes_two_seconds(hung, way, tmp_path):
    code = hung + (
        """
import atexit
run = steno.init(name='a')
run.log({'x': 1.0})
def end():
    began = time.monotonic()
    print(run.finish(), time.monotonic() - began, flush=True)
class Late:
    def __del__(self): end()
if WAY == 'atexit':
    atexit.register(end)
else:
    late = Late()
    os._late = late
"""
    ).replace("WAY", repr(way))
    began = time.monotonic()
    done = run_programs.run(code, tmp_path, STENO_COLLECTOR="on")
    assert time.monotonic() - began < 8
    if way == "atexit":
        ok, took = done.stdout.split()
        assert ok == "False"
        assert float(took) < 2.7


@pytest.mark.timing
def test_an_exit_takes_two_seconds_in_all_and_its_collectors_do_the_rest(tmp_path):
    """Objects and tasks that hang, in several runs: each run has its share of the time."""
    code = """
    import os, time, steno
    class Gone:
        def open(self, run): pass
        def write(self, batch): time.sleep(3600)
        def flush(self): pass
        def close(self): pass
    class Taker(Gone):
        def write(self, batch): open(self.name, "a").write("x" * len(batch))
    for number in range(3):
        taker = Taker(); taker.name = f"taken{number}"
        logger = steno.RunLogger(f"run{number}", "logs", destinations=[Gone(), taker, "csv"])
        logger.experiment.async_log(lambda: time.sleep(3600))
        logger.log_scalar("x", 1.0)
    writer = steno.SummaryWriter("board")
    writer.add_scalar("x", 1.0, 0)
    print(time.monotonic(), flush=True)
    """
    with run_programs.start(code, tmp_path, STENO_COLLECTOR="on") as program:
        began = float(program.stdout.readline())
        program.communicate(timeout=60)
        assert time.monotonic() - began < 2 + 1.5
    for number in range(3):
        assert (tmp_path / f"taken{number}").read_text() == "x"
        place = tmp_path / f"logs/run{number}"
        wait_for(lambda place=place: (place / "manifest.json").exists(), 60)
        assert steno.open(place).info.state == "finished"
        assert steno.open(place).series("x").value.tolist() == [1.0]
        assert len((place / "metrics.csv").read_text().splitlines()) == 2
    wait_for((tmp_path / "board/manifest.json").exists, 60)
    assert steno.open(tmp_path / "board").series("x").value.tolist() == [1.0]


def test_what_an_exit_leaves_is_posted_although_the_collector_had_died(tmp_path):
    code = """
    import os, signal, time, steno
    run = steno.init(name="a")
    run.log({"x": 1.0}); assert run.flush(30)
    for _ in range(2):
        os.kill(run._started.watchdog.pid, signal.SIGKILL)
        deaths = run._started.watchdog.deaths
        while run._started.watchdog.deaths == deaths or not run._started.watchdog.alive():
            run._started.watchdog.watch(); time.sleep(0.01)
    os.kill(run._started.watchdog.pid, signal.SIGKILL)
    while run._started.watchdog.deaths < 3:
        run._started.watchdog.watch(); time.sleep(0.01)
    run.log({"x": 2.0})
    print("end", flush=True)
    """
    run_programs.run(code, tmp_path, STENO_COLLECTOR="on")
    place = tmp_path / "runs/default/a"
    wait_for((place / "manifest.json").exists, 60)
    assert steno.open(place).series("x").value.tolist() == [1.0, 2.0]
    assert steno.open(place).info.state == "finished"


def test_finish_is_false_where_records_found_no_room_and_says_how_many(capfd):
    run = steno.init(name="a", dir=".", settings=steno.Settings(segment_bytes=64 << 10))
    run.log({"x": 0.0})
    assert run.flush(60)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # no segment can be made
    try:
        while not run.health()["kept_in_memory"]:
            run.log({"x": 1.0})
        assert not run.flush(0)
        assert run.finish(timeout=1) is False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    lost = run.health()["dropped"]
    assert lost
    said = capfd.readouterr().err
    assert f"{lost} records were lost" in said
    assert "has ended and not all is done" in said
    assert "steno sync" not in said
