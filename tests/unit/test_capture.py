"""`init(capture=…)`: what the program prints is recorded, the streams are given back, nobody waits."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time

import pytest

import steno
from steno.capture.output import capture as capture_
from steno.capture.output.capture import Capture
from steno.capture.output.observer import NAME, StreamObserver


class Book:
    """Stands for a recorder: keeps the entries."""

    sealed = False

    def __init__(self):
        self.entries = []

    def entry(self, kind, payload, step=None):
        assert kind == "output"
        self.entries.append(payload)

    @property
    def said(self):
        return [(one["stream"], one["text"]) for one in self.entries if "text" in one]


@pytest.fixture
def streams(monkeypatch):
    """Puts real text streams over real buffers in place; called in the test, since pytest sets its own before it."""
    made = {name: io.TextIOWrapper(io.BufferedWriter(io.FileIO(os.devnull, "w"))) for name in ("stdout", "stderr")}

    def place():
        for name, stream in made.items():
            monkeypatch.setattr(sys, name, stream)
        return made

    yield place
    monkeypatch.undo()
    for stream in made.values():
        stream.close()


def start(which="both", **more):
    book = Book()
    reports = []
    return book, Capture(book, which, lambda *said: reports.append(said), **more), reports


def run_program(place, code, *, check=True):
    environment = {**os.environ, "STENO_DIR": str(place)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=place, capture_output=True, text=True, timeout=60
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def printed(place, name):
    """The lines recorded; all is posted and delivered, however long a busy machine takes."""
    run_dir = place / "default" / name
    assert steno.sync(run_dir, timeout=60).complete
    return [(one.payload["stream"], one.payload.get("text")) for one in steno.open(run_dir).records("output")]


# -- the streams ------------------------------------------------------------------------------------------


def test_text_and_bytes_are_heard_once_and_the_streams_are_given_back(streams):
    made = streams()
    book, capture, _ = start()
    print("one", 2)
    sys.stdout.writelines(["three\n", "fo"])
    sys.stdout.flush()
    sys.stdout.write("ur\n" * 5000)  # more than a buffer: the stream writes it to its buffer by itself
    sys.stdout.buffer.write("fünf\n".encode())
    sys.stdout.buffer.write("sechs é".encode()[:-1])
    sys.stdout.buffer.write("é\n".encode()[1:])
    print("wrong", file=sys.stderr)
    capture.close()
    print("after")

    out = [text for stream, text in book.said if stream == "stdout"]
    assert out == ["one 2", "three", "four", *["ur"] * 4999, "fünf", "sechs é"]
    assert ("stderr", "wrong") in book.said
    for stream in made.values():
        assert not {"write", "flush", NAME} & set(vars(stream))
        assert "write" not in vars(stream.buffer)


def test_only_the_stream_asked_for(streams):
    streams()
    book, capture, _ = start("stderr")
    print("out")
    print("err", file=sys.stderr)
    capture.close()

    assert book.said == [("stderr", "err")]


def test_a_handler_that_has_the_stream_already_is_heard(streams):
    streams()
    held = sys.stderr
    book, capture, _ = start()
    print("by the old name", file=held)
    capture.close()

    assert book.said == [("stderr", "by the old name")]


def test_somebody_else_wraps_or_covers_the_stream_meanwhile(streams):
    made = streams()
    book, capture, _ = start()
    ours = made["stdout"]

    class Wrapped:
        def write(self, text):
            return ours.write(text.upper())

    sys.stdout = Wrapped()
    theirs = made["stderr"].write
    made["stderr"].write = lambda text: theirs(text + "!")
    print("a")
    sys.stderr.write("b")
    capture.close()
    print("later")
    sys.stderr.write("later")

    assert book.said == [("stdout", "A"), ("stderr", "b!")]
    assert "write" not in vars(ours), "the wrapper works on the bare stream again"
    assert "write" in vars(made["stderr"]), "what is not ours stays"
    second, capture, _ = start()
    sys.stderr.write("again\n")
    capture.close()
    assert second.said == [("stderr", "again")]
    assert len(book.said) == 2, "the first one, still covered, hears nothing more"


def test_runs_beside_each_other_hear_the_same_and_leave_in_any_order(streams):
    made = streams()
    first, one, _ = start()
    second, two, _ = start("stdout")
    print("both")
    one.close()
    print("second")
    two.close()
    two.close()
    print("none")

    assert first.said == [("stdout", "both")]
    assert second.said == [("stdout", "both"), ("stdout", "second")]
    assert "write" not in vars(made["stdout"])


def test_one_stream_under_both_names_is_heard_once(streams, monkeypatch):
    streams()
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    book, capture, _ = start()
    print("once", file=sys.stderr)
    capture.close()

    assert book.said == [("stdout", "once")]


def test_two_streams_over_one_buffer_are_not_heard_twice(streams, monkeypatch):
    made = streams()
    above = io.TextIOWrapper(made["stdout"].buffer, write_through=True)
    monkeypatch.setattr(sys, "stderr", above)
    book, capture, _ = start()
    print("err", file=sys.stderr)
    print("out", flush=True)
    capture.close()
    above.detach()

    assert book.said == [("stderr", "err"), ("stdout", "out")]


def test_a_stream_that_cannot_be_observed_is_said_and_works(monkeypatch):
    class Slim:
        __slots__ = ("got",)

        def write(self, text):
            self.got = text

    slim = Slim()
    monkeypatch.setattr(sys, "stdout", slim)
    monkeypatch.setattr(sys, "stderr", None)
    _, capture, reports = start()
    slim.write("x")
    capture.close()

    assert slim.got == "x"
    ((key, said),) = reports
    assert key == "capture stdout"
    assert "is not recorded" in said


def test_the_streams_own_errors_are_the_programs_and_a_failing_ear_is_not(streams):
    made = streams()
    book, capture, _ = start()
    book.entry = None
    assert sys.stdout.write("x\n") == 2
    with pytest.raises(TypeError):
        sys.stdout.write(5)
    made["stderr"].close()
    with pytest.raises(ValueError, match="closed"):
        sys.stderr.write("x\n")
    capture.close()


def test_what_the_recorder_prints_itself_does_not_recurse(streams):
    streams()
    book, capture, _ = start()
    keep = book.entry

    def entry(kind, payload, step=None):
        keep(kind, payload)
        if len(book.entries) < 50:
            print("steno: a report", file=sys.stderr)

    book.entry = entry
    print("hello")
    capture.close()

    assert book.said[:2] == [("stdout", "hello"), ("stderr", "steno: a report")]
    assert len(book.said) == 50


@pytest.mark.timing
def test_nobody_waits_for_a_thread_that_is_recording(streams):
    streams()
    book, capture, _ = start()
    keep, busy, go = book.entry, threading.Event(), threading.Event()

    def entry(kind, payload, step=None):
        if payload["text"] == "slow":
            busy.set()
            go.wait(30)
        keep(kind, payload)

    book.entry = entry
    slow = threading.Thread(target=print, args=("slow",))
    slow.start()
    assert busy.wait(30)
    before = time.monotonic()
    for index in range(100):
        print(index)
    took = time.monotonic() - before
    go.set()
    slow.join()
    capture.close()

    assert took < 5, "the recorder stood still all the while"
    assert sorted(text for _, text in book.said) == sorted(["slow", *map(str, range(100))])


def test_lines_of_many_threads_all_come(streams):
    streams()
    book, capture, _ = start()
    threads = [
        threading.Thread(target=lambda at=at: [sys.stdout.write(f"{at} {index}\n") for index in range(500)])
        for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    capture.close()

    assert sorted(text for _, text in book.said) == sorted(f"{at} {index}" for at in range(4) for index in range(500))


def test_a_flood_is_bounded_and_counted(streams, monkeypatch):
    streams()
    monkeypatch.setattr(capture_, "BURST_LINES", 100)
    now = [0.0]
    book, capture, _ = start(clock=lambda: now[0])
    sys.stdout.write("x\n" * 5000)
    now[0] = 0.1
    sys.stdout.write("y\n" * 50)
    now[0] = 100.0
    print("calm again")
    sys.stdout.write("z\n" * 200)
    capture.close()

    texts = [text for _, text in book.said]
    assert texts == ["x"] * 100 + ["y"] * 20 + ["calm again"] + ["z"] * 99
    assert [one["left_out"] for one in book.entries if "left_out" in one] == [4900, 30, 101]
    assert capture.health() == {"lines": 220, "left_out": 5031}


def test_few_but_huge_lines_are_a_flood_too(streams):
    streams()
    book, capture, _ = start(clock=lambda: 0.0)
    for _ in range(1000):
        sys.stdout.write("x" * 10_000 + "\n")
    capture.close()

    assert len(book.said) == capture_.BURST_BYTES // 10_000
    assert book.entries[-1] == {"stream": "stdout", "left_out": 1000 - len(book.said)}


def test_a_stream_is_left_as_it_was_when_it_cannot_be_covered():
    class Sealed(io.StringIO):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    stream = Sealed()
    with pytest.raises(TypeError, match="cannot be covered"):
        StreamObserver(stream)
    stream.write("works")
    assert stream.getvalue() == "works"


# -- whole programs ---------------------------------------------------------------------------------------


def test_a_program_with_everything(tmp_path):
    done = run_program(
        tmp_path,
        """
import logging, multiprocessing, os, sys, warnings
logging.basicConfig(level=logging.INFO, format="%(message)s")
import steno
run = steno.init(name="all", capture="both", destinations=["text"])
print("before")
run.log({"loss": 0.5}, step=0)
logging.info("by a handler")
print("half a line, ", end="")
child = multiprocessing.get_context("fork").Process(target=print, args=("in a child",))
child.start(); child.join()
print("and the rest")
print("lone \\ud800 surrogate".encode("utf-8", "replace").decode())
assert run.health()["output"] == {"lines": 4, "left_out": 0}, run.health()
print("no end", end="")
run.finish()
print()
print("after the end")
with steno.init(name="next", capture="stdout") as second:
    print("the next run's")
""",
    )
    assert done.stdout.splitlines()[-2:] == ["after the end", "the next run's"]
    found = printed(tmp_path, "all")
    mine = [line for line in found if line[1] != "in a child"]
    assert mine == [
        ("stdout", "before"),
        ("stderr", "by a handler"),
        ("stdout", "half a line, and the rest"),
        ("stdout", "lone ? surrogate"),
        ("stdout", "no end"),
    ]
    assert len(found) == len(mine) + 1, "the child's line, without what its parent had begun"
    assert printed(tmp_path, "next") == [("stdout", "the next run's")]
    text = (tmp_path / "default" / "all" / "logs-rank0.txt").read_text().splitlines()
    assert sorted(text) == sorted(
        ['[BATCH][batch=0]: { "loss": 0.5, }', *(f"[{name}]: {line}" for name, line in found)]
    )


def test_the_traceback_that_ends_a_program_is_recorded(tmp_path):
    done = run_program(
        tmp_path,
        "import steno\nrun = steno.init(name='dies', capture='stderr')\nprint('out')\n1 / 0",
        check=False,
    )
    assert done.returncode == 1
    found = printed(tmp_path, "dies")
    assert found[0] == ("stderr", "Traceback (most recent call last):")
    assert found[-1] == ("stderr", "ZeroDivisionError: division by zero")
    assert steno.open(tmp_path / "default" / "dies").info.state == "failed"


def test_printed_lines_outlive_a_kill(tmp_path):
    done = run_program(
        tmp_path,
        "import os, steno\nrun = steno.init(name='killed', capture='both', collector=False)\n"
        "print('said')\nos.kill(os.getpid(), 9)",
        check=False,
    )
    assert done.returncode == -9
    assert printed(tmp_path, "killed") == [("stdout", "said")]


def test_the_consoles_own_drawing_is_not_recorded(tmp_path):
    run_program(
        tmp_path,
        """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    import time, steno
    run = steno.init(name="drawn", capture="both", destinations=["console"])
    from steno.destinations import screen
    deadline = time.monotonic() + 60
    while "stdout" not in screen._standing and time.monotonic() < deadline:
        run.log({"loss": 0.5}); time.sleep(0.05)
    assert "stdout" in screen._standing
    print("above the table")
    for _ in range(20):
        run.log({"loss": 0.5}); time.sleep(0.05)
    run.finish()
    os._exit(0)
while True:
    try:
        if not os.read(terminal, 65536): break
    except OSError:
        break
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
    )
    assert printed(tmp_path, "drawn") == [("stdout", "above the table")]


def test_off_and_wrong_values(tmp_path):
    with pytest.raises(steno.UsageError, match="capture='all' is not known: use 'both' or 'stdout' or 'stderr'"):
        steno.init(dir=tmp_path, capture="all")
    for off in (None, False):
        with steno.init(dir=tmp_path, capture=off) as run:
            assert run.health()["output"] == {}
