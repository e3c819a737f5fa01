"""`steno show` and `steno runs` as real processes: the newest, several, all that is known, on a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from cli_process import answer, steno
from store_runs import Writer

import steno as steno_

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """`p/first` with everything that `show` tells of, `p/second` newer and plain."""
    at = tmp_path_factory.mktemp("runs")
    work = tmp_path_factory.mktemp("work")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x"]
    (work / "train.py").write_text("")
    for arguments in (["init", "-q", "-b", "trunk"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], cwd=work, check=True, stdout=subprocess.DEVNULL)
    (work / "model.bin").write_bytes(b"m" * 2048)
    program = (
        "import numpy as np, steno, sys\n"
        "with steno.init(project='p', name='first', dir=sys.argv[1], group='sweep', tags=['a', 'b'], notes='why',\n"
        "                config={'lr': 0.1, 'opt': {'name': 'sgd'}}) as run:\n"
        "    for step in range(5):\n"
        "        run.log({'loss': 1 / (step + 1), 'val/acc': step / 10}, step)\n"
        "        run.log({'image': steno.Image(np.zeros((4, 4, 3), np.uint8))}, step)\n"
        "    run.log_artifact('model.bin', name='model', link='best')\n"
        "    run.summary['best_acc'] = 0.4\n"
        "    assert run.finish(60)\n"
    )
    subprocess.run([sys.executable, "-c", program, at], cwd=work, check=True)
    with steno_.init(project="p", name="second", dir=at, config={"lr": 0.2, "opt": {"name": "sgd"}}) as run:
        for step in range(3):
            run.log({"loss": 2 / (step + 1)}, step)
        assert run.finish(60)
    return at


def test_show_tells_all_that_is_known(place):
    out = steno("show", "first", "--dir", place).stdout
    assert re.search(r"p/first  finished  \d{4}-", out)
    for name, value in (
        ("duration", r"\d+\.\d s"), ("group", "sweep"), ("tags", "a, b"), ("notes", "why"), ("command", ".*-c"),
        ("commit", r"[0-9a-f]{12} \(trunk\)"), ("config", "lr=0.1, opt={'name': 'sgd'}"), ("summary", "best_acc=0.4"),
        ("artifacts", "model  2.0 KiB, also best"),
        ("media", r"image: 5 images, the last at step 4:\s+/.*/media/.*\.png"),
    ):  # fmt: skip
        assert re.search(rf"^ *{name}  {value}", out, re.MULTILINE), (name, out)
    assert "\x1b" not in out


def test_show_json_has_the_same_with_times_in_iso_8601(place):
    found = answer("show", "first", "--dir", place)
    assert [one["name"] for one in found["artifacts"]] == ["model"]
    assert ISO.fullmatch(found["artifacts"][0]["time"])
    assert found["media"]["image"]["path"].endswith(".png")
    assert found["media"]["image"]["step"] == 4
    info = found["info"]
    assert info["duration"] > 0
    assert ISO.fullmatch(info["started"])
    assert ISO.fullmatch(info["ended"])
    assert ISO.fullmatch(info["run"]["created"])
    assert all(ISO.fullmatch(one["started"]) for one in info["attempts"])
    assert all(ISO.fullmatch(time) for time in found["series"]["loss"]["0"]["time"])
    assert (info["archived"], info["colour"], info["git"]["branch"]) == (False, "", "trunk")


def test_every_json_output_has_its_times_in_iso_8601(place):
    lines = steno("tail", "first", "--no-follow", "--json", "--last", "100", "--dir", place).stdout.splitlines()
    assert lines
    assert all(ISO.fullmatch(json.loads(line)["time"]) for line in lines)
    for one in answer("runs", "--dir", place):
        assert ISO.fullmatch(one["started"])
        assert ISO.fullmatch(one["ended"])
    assert ISO.fullmatch(answer("get", "first", "--dir", place)[0]["time"])
    notes = answer("doctor", "first", "--dir", place)["notes"]
    assert all(ISO.fullmatch(one["time"]) for one in notes)


def test_what_nobody_posted_has_its_time_in_iso_8601(tmp_path):
    with steno_.init(project="p", name="late", dir=tmp_path, collector=False) as run:
        run.log({"x": 1.0})
    assert ISO.fullmatch(answer("doctor", run.dir)["unposted"][0]["time"])
    assert ISO.fullmatch(answer("show", run.dir)["info"]["unposted"][0]["time"])


def test_without_a_run_the_newest_is_shown(place, tmp_path):
    assert steno("show", "--dir", place).stdout.startswith("p/second  finished")
    assert answer("show", "--dir", place)["info"]["name"] == "second"
    done = steno("show", "--dir", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "no runs under" in done.stderr


def test_an_archived_run_is_not_the_newest(tmp_path):
    for name in ("one", "two"):
        with Writer(tmp_path / "p" / name) as writer:
            writer.log((0, {"x": 1.0}))
            writer.finish()
    assert answer("show", "--dir", tmp_path)["info"]["name"] == "one"
    steno_.open(tmp_path / "p" / "one").edit(archived=True)
    assert answer("show", "--dir", tmp_path)["info"]["name"] == "two"
    assert "archived" in steno("show", "one", "--dir", tmp_path).stdout


def test_several_runs_are_shown_one_after_another(place):
    out = steno("show", "first", "sec", "--dir", place, "--key", "loss").stdout
    assert out.index("p/first") < out.index("p/second")
    assert out.count("┌") == 2
    assert [one["info"]["name"] for one in answer("show", "first", "second", "--dir", place)] == ["first", "second"]


# -- steno runs -------------------------------------------------------------------------------------------


def test_columns_are_separated_by_commas_or_given_again(place):
    found = answer("runs", "--dir", place, "--columns", "config.lr,loss.min", "-c", "val/acc.max")
    assert [(one["config.lr"], one["loss.min"], one["val/acc.max"]) for one in found] == [
        (0.2, 2 / 3, None),
        (0.1, 0.2, 0.4),
    ]
    out = steno("runs", "--dir", place, "--columns", "config.lr,`loss.min`").stdout
    assert "config.lr" in out
    assert "loss.min" in out
    for wrong in ("config.lr,", "a b", "a,,b", "1"):
        done = steno("runs", "--dir", place, "--columns", wrong)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_wide_list_has_what_differs_and_a_line_for_each_run(place):
    out = steno("runs", "--dir", place, "--wide", COLUMNS="80").stdout
    head, *_ = [line for line in out.splitlines() if "run " in line]
    for column in ("duration", "points", "group", "tags", "notes", "config.lr", "loss", "loss.min", "val/acc.max"):
        assert column in head.split(), head
    assert "config.opt.name" not in head
    assert len([line for line in out.splitlines() if "p/first" in line or "p/second" in line]) == 2
    assert answer("runs", "--dir", place, "--wide")[0]["metrics"]["loss"]["min"] == 2 / 3


def test_a_list_of_ended_runs_loads_nothing_heavy(tmp_path):
    for name in ("one", "two"):
        with Writer(tmp_path / "p" / name, config={"lr": 1}) as writer:
            writer.log((0, {"x": 1.0}))
            writer.finish()
    program = (
        "import sys\nfrom steno.cli import main\n"
        "try: main(['runs', '--last', '5', '--dir', sys.argv[1]])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(*{'numpy', 'duckdb', 'pyarrow', 'pandas', 'plotext', 'fsspec', 'asyncio'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert "p/one" in done.stdout or "tests/one" in done.stdout
    assert done.stderr.split() == []


def test_only_the_file_of_the_command_is_loaded():
    program = (
        "import sys\nfrom steno.cli import main\n"
        "try: main(['runs', '--help'])\nexcept SystemExit: pass\n"
        "print(*sorted(name for name in sys.modules if name.startswith('steno.cli.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"steno.cli.show", "steno.cli.doctor", "steno.cli.demo"}.isdisjoint(done.stderr.split())


def test_help_is_whole_in_eighty_columns():
    """No command's line is cut, and arguments are named without their Python types."""
    out = steno("--help", COLUMNS="80", TERMINAL_WIDTH="80").stdout
    assert "..." not in out.partition("Commands:")[2]
    names = [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines() if line.strip()]
    assert {"runs", "show", "compare", "rm"} <= set(names)
    for name in names:
        usage = steno(name, "--help", COLUMNS="80", TERMINAL_WIDTH="80").stdout
        assert "<list[" not in usage, name
        assert "<str>" not in usage, name
        assert max(map(len, usage.splitlines())) <= 80, name


# -- on a terminal ----------------------------------------------------------------------------------------


class Terminal:
    """A command on a pseudo-terminal of 80 columns and 24 rows."""

    def __init__(self, *arguments, **environment):
        import fcntl
        import struct
        import termios

        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.environ.update({"TERM": "xterm-256color", **environment})
            os.environ.pop("COLUMNS", None)
            os.environ.pop("NO_COLOR", None)
            time.sleep(0.2)  # until the size is set
            os.execv(sys.executable, [sys.executable, "-m", "steno", *map(str, arguments)])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.said = b""

    def until(self, wanted: bytes, seconds=60):
        deadline = time.monotonic() + seconds
        while wanted not in self.said:
            assert time.monotonic() < deadline, self.said
            if not self._read():
                break
        assert wanted in self.said, self.said

    def end(self):
        while self._read():
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)

    def _read(self):
        if not select.select([self.fd], [], [], 1)[0]:
            return True
        try:
            piece = os.read(self.fd, 65536)
        except OSError:
            return False
        self.said += piece
        return bool(piece)


ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


def test_watch_draws_a_live_run_until_it_has_ended(tmp_path):
    run = steno_.init(project="p", name="live", dir=tmp_path)
    run.log({"loss": 1.0}, 0)
    assert run.flush(30)
    terminal = Terminal("show", "--watch", "--dir", tmp_path)
    terminal.until(b"running")
    assert ENTER in terminal.said
    assert LEAVE not in terminal.said
    run.log({"loss": 0.125, "late": 3.0}, 1)
    assert run.flush(30)
    terminal.until(b"0.125")
    terminal.until(b"late")
    run.finish(30)
    assert terminal.end() == 0
    after = terminal.said.partition(LEAVE)[2]
    assert b"finished" in after
    assert b"2 records" in after
    rows = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", after).decode().splitlines()
    assert max(map(len, rows)) <= 80
    assert len(rows) <= 25


def test_watch_is_left_by_ctrl_c_and_the_terminal_is_as_it_was(tmp_path):
    with steno_.init(project="p", name="live", dir=tmp_path) as run:
        run.log({"loss": 1.0}, 0)
        assert run.flush(30)
        terminal = Terminal("show", "--watch", run.dir)
        terminal.until(b"running")
        os.kill(terminal.pid, signal.SIGINT)
        assert terminal.end() == 130
    assert terminal.said.count(ENTER) == terminal.said.count(LEAVE) == 1
    assert b"Traceback" not in terminal.said


def test_watch_needs_a_terminal(place):
    for more in ([], ["--json"]):
        done = steno("show", "first", "--watch", "--dir", place, *more)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "tail" in done.stderr


@pytest.mark.parametrize("command", [["show", "first"], ["compare", "first", "second"], ["runs"]])
def test_eighty_columns_are_enough(place, command):
    terminal = Terminal(*command, "--dir", place)
    assert terminal.end() == 0
    text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", terminal.said).decode()
    assert max(len(line) for line in text.splitlines() if "/runs" not in line) <= 80, "paths alone are not broken"


@pytest.mark.parametrize("command", [["show", "first"], ["compare", "first", "second"], ["runs", "--wide"]])
def test_an_ascii_terminal_is_enough(place, command):
    done = subprocess.run(
        [sys.executable, "-m", "steno", *command, "--dir", str(place)],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "COLUMNS": "80"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.isascii()
    assert b"\\u" not in done.stdout
    assert done.stderr == b""


def test_hostile_names_tags_and_notes_steer_no_terminal(tmp_path):
    evil = "\x1b]0;owned\x07\x1b[2J\u202e"
    for name in ("one", "two"):
        with Writer(tmp_path / "p" / name, tags=[evil], notes=evil, group=evil, config={"x": evil + name}) as writer:
            writer.log((0, {f"k{evil}": 1.0, "t": evil}))
            writer.finish()
    for command in (["show", "one"], ["show", "one", "two"], ["compare", "one", "two"], ["runs", "--wide"]):
        for mode in ([], ["--json"]):
            done = steno(*command, *mode, "--dir", tmp_path)
            assert done.returncode == 0, done.stderr
            assert "\x1b" not in done.stdout
            assert "\x07" not in done.stdout
            assert "\u202e" not in done.stdout
    terminal = Terminal("show", "one", "--dir", tmp_path)
    assert terminal.end() == 0
    assert b"\x1b]" not in terminal.said
    assert b"\x1b[2J" not in terminal.said


def test_a_run_of_ten_thousand_keys_is_shown_in_bounds(tmp_path):
    with Writer(tmp_path / "p" / "keys") as writer:
        writer.log((0, {f"key/{number:05d}": float(number) for number in range(10_000)}))
        writer.finish()
    begin = time.monotonic()
    done = steno("show", "keys", "--dir", tmp_path)
    assert done.returncode == 0
    assert "9,996 more keys" in done.stdout.replace("9996", "9,996")
    assert time.monotonic() - begin < 60
    assert np.isfinite(len(done.stdout))
