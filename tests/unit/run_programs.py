"""Runs real programs that use steno, and reads what they left in the journals."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import under_test
from steno import machinery
from steno.capture.start.collector_process import COLLECTORS
from steno.journal.tailer import Tailer


def no_launcher(monkeypatch) -> None:
    """For the rest of a test, nothing in this process's environment comes from a launcher or from steno."""
    for name in list(os.environ):
        if under_test.is_launchers(name):
            monkeypatch.delenv(name)


def environment(**more: str) -> dict[str, str]:
    return under_test.environment(**{"STENO_COLLECTOR": "off", **more})


def processes(module: str, place: Path) -> list[int]:
    """Processes of `python -m module` for runs below a directory."""
    found = []
    wanted = os.fsencode(place) + b"/"
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                command = file.read()
                if module.encode() in command and wanted in command:
                    found.append(int(name))
    return found


def no_further_run() -> None:
    """Let the collector that this process has started leave when its work is done; else it waits ten seconds for a run."""
    COLLECTORS.dismiss()


def start(code: str, cwd: Path, *, before: str = "", **env: str) -> subprocess.Popen[str]:
    path = cwd / f"program{len(list(cwd.glob('program*.py')))}.py"
    path.write_text(before + textwrap.dedent(code))
    return subprocess.Popen(
        [sys.executable, "-X", "dev", str(path)],
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, cwd: Path, *, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    with start(code, cwd, **env) as process:
        out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def ok(code: str, cwd: Path, **env: str) -> str:
    done = run(code, cwd, **env)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done.stdout


@dataclass
class Journal:
    stream: str
    rank: int
    attempt: int
    primary: bool
    entries: list[tuple[str, dict]]
    records: list[dict]
    steps: list[int | None]


def journals(run_dir: Path) -> list[Journal]:
    """What the processes of a run have journalled, in order of their start."""
    found = []
    for place in sorted((run_dir / ".steno" / "journal").iterdir()):
        directory = place
        if place.suffix == ".pointer":
            directory = Path(json.loads(place.read_text())["path"])
        read = None
        for segment in sorted(directory.glob("[0-9]*.seg")):
            tailer = Tailer(segment)
            who = tailer.identity
            if read is None:
                began = who.mono
                read = Journal(who.stream, who.rank, who.attempt, who.primary, [], [], [])
            while (part := tailer.read(live=False)) is not None:
                read.entries += [(entry.kind, entry.payload) for entry in part.entries]
                at = 0
                for row, chosen in enumerate(part.set.tolist()):
                    keys = part.sets[chosen].keys
                    values = [part.special.get(at + i, part.value[at + i].item()) for i in range(len(keys))]
                    read.records.append(dict(zip(keys, values, strict=True)))
                    read.steps.append(None if part.auto[row] else part.step[row].item())
                    at += len(keys)
            tailer.close()
        if read is not None:
            found.append((began, read))
    return [journal for _, journal in sorted(found, key=lambda item: item[0])]


def entries(run_dir: Path, kind: str) -> list[dict]:
    return [payload for journal in journals(run_dir) for what, payload in journal.entries if what == kind]


def wait_for(what, timeout: float = 60.0):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come to pass in time")


def put_away(run_dir: Path) -> None:
    """Wait until the collector has left a run that has ended: nothing of its directory changes any more."""
    wait_for(lambda: not list(run_dir.glob(".steno*")) and machinery.is_retired(run_dir))
