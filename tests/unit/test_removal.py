"""`steno rm`: what is removed, what stays, and what is refused."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_process import answer, recorded, steno
from run_programs import wait_for
from store_runs import Writer

import steno as steno_
from steno import files, runfile
from steno.capture.start import attempt
from steno.capture.start.collector_process import is_running
from steno.errors import UsageError
from steno.store import removal


@pytest.fixture
def run_dir(tmp_path):
    """A whole run with event files, csv, text, an artifact, an image, and an edit."""
    import numpy as np

    model = tmp_path / "model.bin"
    model.write_bytes(b"m" * 1000)
    with steno_.init(
        project="p", name="one", dir=tmp_path / "runs", destinations=["tensorboard", "csv", "jsonl", "text"]
    ) as run:
        run.log({"loss": 0.5, "image": steno_.Image(np.zeros((8, 8, 3), np.uint8))})
        run.log_artifact(model, name="model")
        assert run.finish(60)
    steno_.open(run.dir).edit(notes="x")
    return run.dir


def tree(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def ask(run_dir: Path, reply: str) -> tuple[int, str]:
    """`steno rm` at a terminal of its own."""
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-m", "steno", "rm", str(run_dir)])
    said, deadline = b"", time.monotonic() + 60
    try:
        while b"[y/N]" not in said:
            assert time.monotonic() < deadline, said
            if select.select([terminal], [], [], 1)[0]:
                said += os.read(terminal, 4096)
        os.write(terminal, reply.encode())
        while time.monotonic() < deadline:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            if not piece:
                break
            said += piece
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    return os.waitstatus_to_exitcode(status), said.decode()


def test_all_that_steno_made_is_removed(run_dir):
    done = answer("rm", run_dir, "--yes")
    assert done["left"] == []
    assert done["files"] > 10
    assert not run_dir.exists()
    assert run_dir.parent.exists()


def test_what_steno_did_not_make_stays_and_is_said(run_dir):
    (run_dir / "notes.txt").write_text("mine")
    (run_dir / "checkpoints").mkdir()
    (run_dir / "checkpoints" / "last.pt").write_bytes(b"w")
    done = steno("rm", run_dir, "--yes")
    assert done.returncode == 0
    assert "checkpoints, notes.txt" in done.stdout
    assert tree(run_dir) == {"notes.txt", "checkpoints", "checkpoints/last.pt"}
    assert steno_.runs(run_dir.parents[1]) == []


def test_links_are_removed_and_never_followed(run_dir, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (run_dir / "media" / "link").symlink_to(outside)
    (run_dir / "tensorboard" / "file").symlink_to(outside / "precious")
    (run_dir / "mine").symlink_to(outside)
    assert steno("rm", run_dir, "--yes").returncode == 0
    assert tree(outside) == {"precious"}
    assert tree(run_dir) == {"mine"}


def test_a_link_in_the_machinery_is_refused(tmp_path):
    run_dir = tmp_path / "p" / "one"
    with Writer(run_dir) as writer:
        writer.log((0, {"x": 1.0}))
        writer.finish()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (run_dir / "metrics").rename(tmp_path / "metrics")
    (run_dir / "metrics").symlink_to(outside)
    before = tree(run_dir)
    done = steno("rm", run_dir, "--yes")
    assert done.returncode == 1
    assert "symbolic link" in done.stderr
    assert tree(run_dir) == before
    assert tree(outside) == {"precious"}


def test_a_claim_that_leads_out_of_the_run_removes_nothing_there(kept_ledger, run_dir, tmp_path):
    precious = tmp_path / "runs" / "p" / "precious"
    precious.write_text("x")
    (run_dir / ".steno" / "text").mkdir(exist_ok=True)
    (run_dir / ".steno" / "text" / "..%2Fprecious").touch()
    done = steno("rm", run_dir, "--yes")
    assert done.returncode == 1
    assert precious.exists()


def test_a_run_directory_that_is_a_link_is_refused(run_dir):
    link = run_dir.with_name("two")
    link.symlink_to(run_dir)
    done = steno("rm", link, "--yes")
    assert done.returncode == 2
    assert "is a link" in done.stderr
    assert run_dir.exists()


def test_what_cannot_be_proved_to_be_a_run_is_refused(tmp_path):
    home = tmp_path / "home"
    (home / "metrics").mkdir(parents=True)
    (home / "metrics" / "x-part-1.parquet").write_text("mine")
    for content in (None, "{}", "[]", '{"id": 7}', '{"id": ""}'):
        if content is not None:
            (home / "run.json").write_text(content)
        before = tree(home)
        done = steno("rm", home, "--yes")
        assert (done.returncode, done.stdout) == (2, "")
        assert "is not removed" in done.stderr
        assert tree(home) == before


def test_a_live_run_is_refused(tmp_path):
    with recorded(tmp_path):
        before = tree(tmp_path / "p" / "live" / ".steno" / "journal")
        done = steno("rm", "p/live", "--yes", "--dir", tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is being recorded" in done.stderr
        assert tree(tmp_path / "p" / "live" / ".steno" / "journal") == before
    assert answer("show", "p/live", "--dir", tmp_path)["info"]["points"] == 1
    assert steno("rm", "p/live", "--yes", "--dir", tmp_path).returncode == 0
    assert not (tmp_path / "p" / "live").exists()


def test_a_run_that_another_host_wrote_this_minute_is_refused(tmp_path):
    run_dir = tmp_path / "p" / "one"
    with Writer(run_dir) as writer:
        writer.log((0, {"x": 1.0}))
        writer.finish()
        node = writer.ledger.parent
    (node / "node.json").write_text(json.dumps({"host": "elsewhere", "machine": "m"}))
    (node / "status.json").write_text("{}")
    done = steno("rm", run_dir, "--yes")
    assert done.returncode == 2
    assert "host elsewhere" in done.stderr
    os.utime(node / "status.json", (1, 1))
    assert steno("rm", run_dir, "--yes").returncode == 0


def test_a_journal_outside_the_run_goes_with_it_and_one_of_another_run_stays(tmp_path):
    with steno_.init(
        project="p", name="one", dir=tmp_path / "runs", collector=False, settings={"journal_dir": str(tmp_path / "shm")}
    ) as run:
        run.log({"x": 1.0})
    journals = list((tmp_path / "shm").rglob("*.seg"))
    assert journals
    copy = tmp_path / "runs" / "p" / "copy"
    subprocess.run(["cp", "-r", run.dir, copy], check=True)
    assert steno("rm", copy, "--yes").returncode == 0
    assert all(path.exists() for path in journals)
    assert steno("rm", run.dir, "--yes").returncode == 0
    assert not any(path.exists() for path in journals)


def test_it_asks_at_a_terminal_and_needs_yes_elsewhere(run_dir):
    done = steno("rm", run_dir)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    status, said = ask(run_dir, "\n")
    assert status == 2
    assert "p/one" in said
    assert "nothing was removed" in said
    assert run_dir.exists()
    status, said = ask(run_dir, "y\n")
    assert status == 0, said
    assert not run_dir.exists()


def test_a_part_of_a_name_does_not_do(run_dir):
    done = steno("rm", "on", "--yes", "--dir", run_dir.parents[1])
    assert done.returncode == 2
    assert run_dir.exists()
    assert steno("rm", "one", "--yes", "--dir", run_dir.parents[1]).returncode == 0


@pytest.mark.usefixtures("kept_ledger")
def test_what_is_interrupted_is_removed_by_the_next_call(run_dir, monkeypatch):
    """Each file that cannot be unlinked stops the removal; what is left is still a run."""
    from steno import files

    calls = 0

    class Failing(files.System):
        @staticmethod
        def unlink(path):
            nonlocal calls
            calls += 1
            if calls == stop:
                raise OSError(5, "Input/output error", str(path))
            os.unlink(path)

    for stop in (1, 2, 5, 9):
        calls = 0
        monkeypatch.setattr(files, "system", Failing())
        with pytest.raises(steno_.StenoError, match="in part"):
            removal.remove(run_dir)
        assert (run_dir / "run.json").exists()
    monkeypatch.setattr(files, "system", files.System())
    assert removal.remove(run_dir).left == ()
    assert not run_dir.exists()


class Paused(files.System):
    """Before the first file is removed, has a program begin to record into the run, if it can."""

    def __init__(self, program: subprocess.Popen[str], second: Path) -> None:
        self._program = program
        self._second = second
        self._is_first = True

    def unlink(self, path):
        if self._is_first:
            self._is_first = False
            self._program.stdin.write("go\n")
            self._program.stdin.flush()
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline and not self._second.exists():
                time.sleep(0.01)
        os.unlink(path)


def test_who_resumes_a_run_while_it_is_removed_finds_none_and_records_nowhere(
    kept_ledger, run_dir, tmp_path, monkeypatch
):
    code = f"""
import sys, steno
from steno.errors import RunNotFoundError
print("ready", flush=True)
sys.stdin.readline()
try:
    steno.init(project="p", name="one", dir={str(tmp_path / "runs")!r}, resume=True)
except RunNotFoundError:
    print("there is none")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as program:
        assert program.stdout.readline() == "ready\n"
        with monkeypatch.context() as patched:
            patched.setattr(files, "system", Paused(program, run_dir / ".steno" / "attempts" / "0002.json"))
            removal.remove(run_dir)
        out, _ = program.communicate(timeout=60)
    assert out == "there is none\n"
    assert not run_dir.exists()


def test_while_a_program_begins_to_record_in_its_project_a_run_is_not_removed(run_dir, monkeypatch):
    wait_for(lambda: not is_running(run_dir))
    monkeypatch.setattr(runfile, "_ALONE_SECS", 0.1)
    with attempt.exclusive(run_dir.parent), pytest.raises(UsageError, match="begins to record"):
        removal.remove(run_dir)
    assert (run_dir / "run.json").exists()
    removal.remove(run_dir)
    assert not run_dir.exists()
