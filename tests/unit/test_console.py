"""The console destination: real terminals by pty, pipes, forks, failures."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from steno.destinations.console import Console
from steno.destinations.screen import PlainScreen, ScreenState, brief
from steno.record import RunInfo
from steno.testing import make_batch

BEGIN = """
import sys, os, time, threading
from pathlib import Path
from steno.destinations.console import Console
from steno.record import RunInfo
from steno.testing import make_batch
def batch(start, stop, **more):
    return make_batch([(i, {"train/loss": 1 / (i + 1), **more}) for i in range(start, stop)], first=start + 1)
console = Console(total=1000)
console.open(RunInfo(Path("."), "id", "bold-name", "digits"))
"""


def in_terminal(script: str, timeout_secs: float = 30) -> tuple[str, int]:
    """Run the script with a pseudo-terminal as stdin, stdout and stderr; what it wrote, and its exit status."""
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + script], stdin=child, stdout=child, stderr=child, env=environment
    )
    os.close(child)
    out = bytearray()
    deadline = time.monotonic() + timeout_secs
    os.set_blocking(parent, False)
    try:
        while True:
            ended = process.poll() is not None
            try:
                piece = os.read(parent, 65536)
            except BlockingIOError:
                piece = b""
            except OSError:  # EIO: the other end is closed
                break
            out += piece
            if ended and not piece:
                break
            assert time.monotonic() < deadline, out.decode(errors="replace")
            if not piece:
                time.sleep(0.01)
    finally:
        process.kill()
        status = process.wait()
        os.close(parent)
    return out.decode(errors="replace"), status


def text_of(out: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out).replace("\r", "")


def test_terminal_shows_latest_values_and_keeps_what_the_program_prints():
    out, status = in_terminal("""
for i in range(12):
    console.write(batch(i * 10, i * 10 + 10, acc=0.5))
    print("printed line", i)
    time.sleep(0.02)
print("warned", file=sys.stderr)
console.close()
assert sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__
print("after")
""")
    assert status == 0, out
    text = text_of(out)
    for line in range(12):
        assert text.count(f"printed line {line}\n") == 1
    assert text.count("warned\n") == 1
    assert "digits/bold-name" in text
    assert f"train/loss  {1 / 120:.4g}" in re.sub(r" {2,}", "  ", text)
    assert text.rstrip().endswith("after")
    last_state = out[out.rindex("digits/bold-name") :]
    assert "step 119" in last_state
    assert "0.008333" in last_state
    assert out.rfind("\x1b[?25l") < out.rfind("\x1b[?25h"), "the cursor stays visible"


def test_terminal_is_drawn_twice_a_second_at_most():
    out, _ = in_terminal("""
start = time.monotonic()
i = 0
while time.monotonic() - start < 1.4:
    console.write(batch(i, i + 1)); i += 1
    time.sleep(0.001)
console.close()
""")
    assert 2 <= out.count("digits/bold-name") <= 6  # a draw each half second, the last one, and rich's final repeat


def test_value_is_drawn_though_nothing_follows_it():
    out, _ = in_terminal("""
console.write(batch(0, 1)); time.sleep(0.1); console.write(batch(1, 2)); time.sleep(1.0)
os._exit(0)
""")
    assert "step 1 " in text_of(out[out.rindex("digits/bold-name") :])


def test_progress_bar_of_the_program_stays_below():
    out, status = in_terminal("""
console.write(batch(0, 5))
time.sleep(0.7)
for i in range(20):
    sys.stderr.write(f"\\r{i}/20 bar"); sys.stderr.flush()
sys.stderr.write("\\n")
print("done")
console.close()
""")
    assert status == 0
    text = text_of(out)
    assert "19/20 bar\n" in text, "the finished bar is kept as a line"
    assert "done\n" in text
    assert text.count("\n") < 30, "no line for each tick"


def test_forked_child_prints_though_the_parent_was_drawing():
    out, status = in_terminal("""
for i in range(30):
    console.write(batch(i, i + 1))
    pid = os.fork()
    if pid == 0:
        assert sys.stdout is sys.__stdout__
        print("child", i, flush=True)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
console.close()
""")
    assert status == 0, out
    assert len(re.findall("(?<!the )child", text_of(out))) == 30


def test_pipe_gets_plain_lines():
    script = BEGIN + 'console.write(batch(0, 5, text="two\\nlines"))\nconsole.close()\nprint("end")'
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "step 4/1000  train/loss 0.2  text two lines\nend\n"
    assert done.stderr == ""


def test_closed_pipe_does_not_hurt():
    script = (
        BEGIN
        + """
import signal; signal.signal(signal.SIGPIPE, signal.SIG_IGN)
sys.stdin.readline()
for i in range(50): console.write(batch(i, i + 1))
console.close(); console.close()
console.write(batch(60, 61))
os.write(2, b"alive")
os._exit(7)
"""
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stderr.read() == b"alive"
        assert process.wait(60) == 7


def test_blocked_terminal_does_not_hold_up_close():
    """Nobody reads the pipe: the drawing thread hangs, the program does not."""
    script = (
        BEGIN
        + """
filler = b"x" * 65536
os.set_blocking(1, False)
try:
    while True: os.write(1, filler)
except BlockingIOError: pass
os.set_blocking(1, True)
for i in range(10): console.write(batch(i, i + 1))
time.sleep(0.2)
start = time.monotonic(); console.close()
os.write(2, f"{time.monotonic() - start:.2f}".encode())
os._exit(0)
"""
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe) as process:
        assert process.wait(60) == 0
        assert float(process.stderr.read()) < 1.5


def latest(console):
    return {key: value for key, (_, value) in console._latest.items()}


def opened(**options):
    console = Console(**options)
    console._thread = None
    return console


def test_patterns_and_rows_limit_what_is_shown():
    console = opened(keys="train/*", rows=2)
    console.write(make_batch([(0, {"train/a": 1.0, "val/a": 2.0, "train/b": 3.0, "train/c": 4.0})]))
    assert latest(console) == {"train/a": 1.0, "train/b": 3.0}
    assert console._state().left_out == 1


def test_latest_value_wins_across_key_sets():
    console = opened()
    console.write(make_batch([(0, {"a": 1.0}), (1, {"a": 2.0, "b": 5.0}), (2, {"a": 3.0}), (3, {"c": "text"})]))
    assert latest(console) == {"a": 3.0, "b": 5.0, "c": "text"}


def test_speed_follows_the_records_own_times():
    console = opened()
    for at in range(0, 2000, 200):
        console.write(make_batch([(step, {"a": 1.0}) for step in range(at, at + 200)], first=at + 1))
    assert console._state().rate == pytest.approx(1000, rel=0.02)  # hand-made records are a millisecond apart


def test_key_storm_keeps_memory_flat():
    console = opened()
    for at in range(30):
        console.write(make_batch([(step, {f"{at}/{step}": 1.0}) for step in range(500)]))
    assert len(console._shown) <= 10_000
    assert len(console._latest) == 20


def test_large_batch_costs_little():
    console = opened()
    batch = make_batch([(step, {f"k{index}": 1.0 for index in range(20)}) for step in range(20_000)])
    start = time.process_time()
    console.write(batch)
    assert time.process_time() - start < 0.05


def test_plain_screen_survives_a_poor_encoding_and_does_not_repeat():
    raw = io.BytesIO()
    screen = PlainScreen(io.TextIOWrapper(raw, "ascii"))
    state = ScreenState("t", 3, {"λ": (3, float("nan"))})
    screen.draw(state)
    screen.draw(state)
    assert raw.getvalue() == b"step 3  ? nan\n"


def test_brief_is_harmless():
    assert brief("a\x1b[2Jb\nc") == "a\\x1b[2Jb c"
    assert len(brief("x" * 10_000_000)) == 60
    assert brief(2**63) == "9223372036854775808"
    assert brief(float("-inf")) == "-inf"


@pytest.mark.parametrize("options", [{"rows": 0}, {"rows": "2"}, {"total": -1}, {"total": 1.5}, {"keys": [1]}])
def test_wrong_options_are_refused(options):
    with pytest.raises((TypeError, ValueError)):
        Console(**options)


def test_many_opens_leave_no_thread(tmp_path, capsys):
    import threading

    before = threading.active_count()
    for _ in range(5):
        console = Console()
        console.open(RunInfo(tmp_path, "i", "n", "p"))
        console.close()
    assert threading.active_count() == before


def drawn(state, width=80):
    import io

    from rich.console import Console as Rich

    console = Rich(width=width, file=io.StringIO(), force_terminal=False)
    console.print(state.table())
    return console.file.getvalue().splitlines()


def test_the_progress_bar_has_a_line_of_its_own_with_count_and_time_left():
    lines = drawn(ScreenState("p/r", 9, {"loss": (9, 0.5)}, 2.0, 0, 20))
    assert lines[0].startswith("p/r  step 9")
    assert lines[1].startswith("━")
    assert lines[1].split()[-3:] == ["10/20", "0:00:05", "left"]
    assert lines[2].split() == ["loss", "0.5"]


@pytest.mark.parametrize(
    ("step", "rate", "total", "left"),
    [(9, 2.0, 20, "0:00:05 left"), (9, None, 20, ""), (19, 2.0, 20, ""), (50, 1.0, 20, ""), (0, 1e-9, 20, ""), (-5, 1.0, 3605, "1:00:09 left"), (1, float("nan"), 9, "")],
)  # fmt: skip
def test_time_left(step, rate, total, left):
    state = ScreenState("p/r", step, {}, rate, 0, total)
    assert state.time_left() == left
    assert ("left" in state.line()) == bool(left)
