"""What somebody at a terminal is shown when a run begins and when it has ended."""

from __future__ import annotations

import contextlib
import os
import pty
import shlex
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import run_programs

import under_test
from steno import next_steps


def on_terminal(code: str, cwd: Path, **env: str) -> tuple[int, list[str]]:
    """Run a program whose standard error is a terminal; its exit status and the lines there, without waits."""
    path = cwd / "program.py"
    path.write_text(textwrap.dedent(code))
    ours, theirs = pty.openpty()
    found: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # the terminal's end
            while part := os.read(ours, 65536):
                found.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        done = subprocess.run(
            [sys.executable, str(path)], cwd=cwd, env=run_programs.environment(**env), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=theirs, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(theirs)
        reader.join(10)
        os.close(ours)
    said = b"".join(found).decode().replace("\r\n", "\n")
    return done.returncode, under_test.without_waits(said).splitlines()


@pytest.mark.parametrize("end", ["run.finish(30)", "", "steno.init(name='b', project='p').finish(30)"])
def test_two_lines_at_the_beginning_and_five_at_the_end(end, tmp_path, monkeypatch):
    code = "import steno\nrun = steno.init(project='p', name='a', destinations=['tensorboard'])\n"
    code += f"run.log({{'x': 1.0}})\n{end}\n"
    status, lines = on_terminal(code, tmp_path, STENO_COLLECTOR="on")
    assert status == 0, lines
    monkeypatch.chdir(tmp_path)  # a command may be shown by its path from there
    steno = next_steps.command("steno")
    assert lines[:2] == [
        "steno: the run 'a' of the project 'p' is recorded in runs/p/a",
        f"steno: `{steno} show runs/p/a` shows it, also while it goes on",
    ]
    first = lines.index("  where it is   runs/p/a")
    block = lines[first : first + 5]
    assert block == [
        "  where it is   runs/p/a",
        f"  look again    {steno} show runs/p/a",
        f"  TensorBoard   {next_steps.command('tensorboard')} --logdir runs/p/a/tensorboard",
        f"  take it away  {steno} export runs/p/a --to csv --out a.csv",
        f"  in a browser  {steno} view runs/p",
    ]


def test_the_commands_work_as_they_are_shown(tmp_path):
    """Also where a name has spaces and no event files are there."""
    place = tmp_path / "my runs"
    code = (
        f"import steno\nrun = steno.init(dir={str(place)!r}, name='a')\nrun.log({{'x': 1.0}})\nassert run.finish(30)\n"
    )
    _, lines = on_terminal(code, tmp_path, STENO_COLLECTOR="on")
    block = {line[2:15].strip(): line[16:] for line in lines[-5:]}
    assert shlex.split(block["where it is"]) == ["my runs/default/a"]
    for title in ("look again", "TensorBoard", "take it away"):
        done = subprocess.run(
            block[title], shell=True, cwd=tmp_path, env=run_programs.environment(), capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (title, done)
    assert (tmp_path / "a.csv").exists()
    assert shlex.split(block["in a browser"])[-2:] == ["view", "my runs/default"]
    assert list((place / "default/a/tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("code", "env"),
    [
        ("steno.init(settings={'quiet': True})", {}),
        ("steno.init(quiet=True)", {}),
        ("steno.init()", {"STENO_QUIET": "1"}),
        ("steno.init(mode='off')", {}),
        ("steno.init(settings={'rank': 1, 'world_size': 2})", {}),
        ("steno.SummaryWriter('logs').add_scalar('x', 1.0, 0)", {}),
    ],
)
def test_nothing_is_shown_where_it_is_not_wanted(code, env, tmp_path):
    assert on_terminal(f"import steno\n{code}\n", tmp_path, STENO_COLLECTOR="on", **env) == (0, [])


def test_nothing_is_shown_without_a_terminal(tmp_path):
    done = run_programs.run("import steno\nsteno.init().finish(30)", tmp_path, STENO_COLLECTOR="on")
    assert (done.returncode, done.stdout, under_test.without_waits(done.stderr)) == (0, "", "")


def test_children_that_join_show_nothing(tmp_path):
    code = """
    import multiprocessing, steno

    def work():
        steno.log({"x": 1.0})

    if __name__ == "__main__":
        run = steno.init(name="a")
        for method in ("fork", "spawn"):
            child = multiprocessing.get_context(method).Process(target=work)
            child.start(); child.join()
        run.finish(30)
    """
    _, lines = on_terminal(code, tmp_path, STENO_COLLECTOR="on")
    assert len(lines) == 7, lines


def test_a_path_that_would_steer_the_terminal_is_shown_not_obeyed(tmp_path):
    code = "import steno\nsteno.init(dir='x\\x1b[2Jy').finish(30)\n"
    _, lines = on_terminal(code, tmp_path, STENO_COLLECTOR="on")
    assert "\\x1b[2J" in lines[0]
    assert not any("\x1b" in line for line in lines)
    shutil.rmtree(tmp_path / "x\x1b[2Jy", ignore_errors=True)  # its collector may be at its end still


def test_a_program_whose_directory_is_gone_ends_as_before(tmp_path):
    code = """
    import os, shutil, steno, tempfile
    place = tempfile.mkdtemp(); away = tempfile.mkdtemp()
    os.chdir(away)
    run = steno.init(dir=place)
    shutil.rmtree(away)
    run.finish(30)
    """
    status, lines = on_terminal(code, tmp_path, STENO_COLLECTOR="on")
    assert status == 0, lines
    assert len(lines) == 7, lines
