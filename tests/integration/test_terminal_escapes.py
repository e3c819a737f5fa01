"""Nothing that a run holds steers the terminal in which it is shown: by a real one, command by command."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys

import pytest

import steno
from steno.visible import in_json, on_one_line, visible

STEERS = (
    "\x1b]0;PWNED\x07", "\x1b[2J", "\x1b]8;;http://evil\x1b\\", "\x1bP1$r\x1b\\", "\x9b31m", "\x9d0;PWNED\x9c", "\x08\x08", "\r", "\x7f",
    "\u202epdf.exe", "\u2066x\u2069", "\u200f", "\u2028", "\x00", "\x0c", "\x0e",
)  # fmt: skip
EVIL = "k[link=file:///x]m[/link]:smile:" + "".join(STEERS)
RAW = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\r(?!\r*\n)|\x1b(?!\\[[0-9;]*m)"
)
"""What may not reach a terminal: all but line ends and colours. A terminal makes a line end of two characters."""


def in_a_terminal(*arguments: str, cwd: str) -> str:
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.environ.update(TERM="xterm-256color", COLUMNS="200")
        os.execv(sys.executable, [sys.executable, "-m", "steno", *arguments])
    out = b""
    with contextlib.suppress(OSError):
        while data := os.read(fd, 1 << 16):
            out += data
    os.close(fd)
    os.waitpid(pid, 0)
    return out.decode()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    with steno.init(
        project="p", name="esc", dir=root, notes="notes" + EVIL, tags=["tag" + EVIL], config={"c" + EVIL: "v" + EVIL},
        capture="both", group="g" + EVIL,
    ) as run:  # fmt: skip
        for step in range(3):
            run.log(
                {
                    "loss" + EVIL: float(step),
                    "txt": "text" + EVIL,
                    "acc": 1.0,
                    "t": steno.Text("x" + EVIL),
                },
                step=step,
            )
        run.event("event" + EVIL, payload="p" + EVIL, **{"name" + EVIL: [EVIL]})
        run.summary["best" + EVIL] = "s" + EVIL
        print("printed" + EVIL)
        (root / "a.txt").write_text("x")
        run.log_artifact(root / "a.txt", name="a.txt", metadata={"m": EVIL})
        with contextlib.suppress(RuntimeError):
            run.log({"bad" + EVIL: object()})
        assert run.flush(30)
    about = json.loads((run.dir / "run.json").read_text())
    (run.dir / "run.json").write_text(json.dumps({**about, "name": "name" + EVIL, "project": "project" + EVIL}))
    # What is left by others: logs, notes, a journal, a destination, all with names of theirs.
    machinery = run.dir / ".steno"
    (machinery / "collector.log").write_text(f"log{EVIL}\n", newline="")
    (machinery / "destinations" / "x.json").write_text(json.dumps({"name": "x" + EVIL, "kind": "console"}))
    odd = EVIL.replace("/", "").replace("\x00", "")
    (machinery / "journal" / odd).mkdir(parents=True)
    (machinery / "journal" / f"{odd}.pointer").write_text(json.dumps({"host": "h" + EVIL, "path": EVIL}))
    status = next(machinery.glob("nodes/*/status.json"))
    told = json.loads(status.read_text())
    told["destinations"] = {
        "d" + EVIL: {"lag": 3, "error": "e" + EVIL, "state": "stopped" + EVIL, "left_out": {"l" + EVIL: 1}}
    }
    status.write_text(json.dumps(told))
    return run.dir


COMMANDS = [
    ["show", "RUN"],
    ["show", "RUN", "--key", "*"],
    ["show", "RUN", "--json"],
    ["show", "RUN", "--key", "no\x1b]0;PWNED\x07such"],
    ["tail", "RUN", "--no-follow", "-n", "50"],
    ["tail", "RUN", "--no-follow", "-n", "50", "--json"],
    ["runs", "--dir", "DIR"],
    ["runs", "--dir", "DIR", "--json"],
    ["get", "RUN"],
    ["get", "RUN", "--json"],
    ["get", "RUN", "a.txt", "--to", "-"],
    ["get", "RUN", "nothing\x1b[2J"],
    ["doctor", "RUN"],
    ["doctor", "RUN", "--json"],
    ["sql", "select key, text from metrics", "--run", "RUN"],
    ["sql", 'select text as "\x1b]0;PWNED\x07", * from metrics', "--run", "RUN", "--json"],
    ["sql", "select payload from records", "--run", "RUN"],
    ["sql", 'select "\x1b[2J" from metrics', "--run", "RUN"],
    ["export", "RUN", "--to", "csv", "--out", "x\u202ex.csv"],
    ["show", "no\x1b]0;PWNED\x07run", "--dir", "DIR"],
    ["sync", "RUN", "--timeout", "20"],
]  # fmt: skip


@pytest.mark.parametrize(
    "command", COMMANDS, ids=lambda command: " ".join(command).encode("unicode_escape").decode()[:50]
)
def test_no_command_lets_a_run_steer_the_terminal(run_dir, tmp_path, command):
    arguments = [{"RUN": str(run_dir), "DIR": str(run_dir.parent.parent)}.get(one, one) for one in command]
    shown = in_a_terminal(*arguments, cwd=str(tmp_path))
    assert len(shown) > 10
    assert [shown[max(found.start() - 30, 0) : found.end() + 10] for found in RAW.finditer(shown)] == []
    assert "Traceback" not in shown
    assert "\x1b]8" not in shown


def test_json_is_the_same_to_a_program(run_dir, tmp_path):
    found = json.loads(in_a_terminal("show", str(run_dir), "--json", cwd=str(tmp_path)))
    assert found["info"]["notes"] == "notes" + EVIL
    assert "loss" + EVIL in found["keys"]


def test_what_is_said_on_stderr_and_in_the_log_is_harmless(run_dir):
    program = f"""
import steno
run = steno.init(dir={str(run_dir.parent.parent)!r}, project="other", destinations=["console"])
run.log({{"bad" + {EVIL!r}: object(), {EVIL!r}: 1.0}})
run.finish()
try:
    steno.open({"/no/run" + EVIL.replace(chr(0), "")!r})
except steno.UsageError as error:
    print(error)
raise steno.UsageError("at the end: " + {EVIL!r})
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "bad" in found.stderr
    assert "UsageError: at the end" in found.stderr
    assert not RAW.search(found.stdout + found.stderr)
    for log in (run_dir / ".steno").rglob("nodes/*/collector.log"):
        assert not RAW.search(log.read_text(newline=""))


@pytest.mark.parametrize("one", STEERS)
def test_what_steers_is_shown(one):
    assert not RAW.search(visible(f"a{one}b"))
    assert visible(f"a{one}b").startswith("a\\")
    assert json.loads(in_json(json.dumps(f"a{one}b", ensure_ascii=False))) == f"a{one}b"
    assert not RAW.search(in_json(json.dumps(f"a{one}b", ensure_ascii=False)))


def test_what_does_not_steer_stays():
    for text in ("plain", "näh, 漢字 🙂 ‍👩‍🔬", "two\n\tlines", "", "\\x1b"):
        assert visible(text) == text
    assert on_one_line("a\n\tb") == "a  b"
    assert visible("\ud800") == "\\ud800"
    assert json.loads(in_json('"\U000e0041\ud800"')) == "\U000e0041\ud800"
