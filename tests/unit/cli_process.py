"""The command line as a user has it: a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys


def steno(*arguments, cwd=None, stdin="", **environment) -> subprocess.CompletedProcess[str]:
    """Run `python -m steno` with these arguments."""
    return subprocess.run(
        [sys.executable, "-m", "steno", *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        env={**os.environ, "COLUMNS": "140", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def answer(*arguments, **options):
    """The JSON value that a command prints."""
    done = steno(*arguments, "--json", **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda name: ValueError(f"{name} is not JSON"))


LIVE = """
import steno, sys
run = steno.init(project="p", name="live", dir=sys.argv[1])
run.log({"x": 1.0}); run.flush(30); print("on", flush=True); sys.stdin.read()
"""


@contextlib.contextmanager
def recorded(place):
    """Below the place another process records the run p/live, and has logged once; it ends with the context."""
    with subprocess.Popen(
        [sys.executable, "-c", LIVE, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as recording:
        assert recording.stdout.readline() == "on\n"
        yield
        recording.stdin.close()
        assert recording.wait(60) == 0
