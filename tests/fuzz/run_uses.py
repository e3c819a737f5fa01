"""Everything that is done with a run that came from somebody else, each in a process that is watched."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

import duckdb  # noqa: F401 - here once, not in each process
import numpy as np  # noqa: F401
import pyarrow.parquet as pq  # noqa: F401
import rich.console  # noqa: F401
import typer.main  # noqa: F401

import steno
import steno.cli.commands
import steno.collector.service
import steno.destinations.csv
import steno.destinations.jsonl
import steno.destinations.tensorboard.destination
import steno.destinations.text
import steno.store.bins.curves
import steno.store.export
import steno.store.reader
from steno.errors import StenoError

SECS = 60.0
GROWN_BYTES = 700 << 20
"""More memory than the process had before is a bomb that went off."""
ALLOWED = (StenoError, FileNotFoundError)
_TOUCH = {
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.mkdir",
    "os.chmod",
    "os.utime",
    "os.truncate",
    "shutil.rmtree",
}


class Touched(BaseException):
    """Something outside of the run was opened, or a place was contacted."""


def watch(run_dir: Path, outside: Path) -> None:
    """Have whoever opens or changes something outside of the run end this process's work."""
    ours = os.path.realpath(run_dir.parents[1])

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" or event in _TOUCH:
            for one in arguments[:2]:
                if not isinstance(one, str | bytes | os.PathLike):
                    continue
                place = os.path.abspath(os.fsdecode(one))
                if place.startswith(str(outside)) and not place.startswith(ours):
                    raise Touched(f"{event} {arguments}")
        elif event in {"socket.connect", "subprocess.Popen", "os.system", "os.exec"} and "steno" not in repr(arguments):
            if event == "subprocess.Popen" and arguments[0] == "git":
                return  # `init` asks for the commit of the program
            if event == "socket.connect" and isinstance(arguments[1], bytes | str):
                return  # the collector's wake-up
            raise Touched(f"{event} {arguments}")

    sys.addaudithook(hook)


def read(run_dir: Path, scratch: Path) -> None:
    """All that a reader has."""
    reader = None
    with tried():
        reader = steno.open(run_dir)
    if reader is None:
        return
    for name in ("keys", "verify", "records", "artifacts"):
        with tried():
            getattr(reader, name)()
    with tried():
        repr(reader.summary)
    with tried():
        reader.stragglers("loss")
    with tried():
        repr(reader.info)
    keys: list[str] = []
    with tried():
        keys = reader.keys()
    for key in keys[:12]:
        with tried():
            reader.series(key)
        with tried():
            reader.series(key, points=100)
        with tried():
            for item in reader.media(key)[:4]:
                repr(item)
                with tried():
                    item.path  # noqa: B018 - a property that reads
                with tried():
                    item.value  # noqa: B018
    with tried():
        for one in reader.artifacts()[:4]:
            with tried():
                one.download(scratch / f"a{time.monotonic_ns()}")
    with tried():
        reader.frame(keys[:3] or None)
    with tried():
        list(reader.tail(last=5, follow=False))
    with tried():
        for _ in reader.batches():
            pass
    with tried():
        reader.sql("select count(*), max(value) from metrics").fetchall()
    with tried():
        reader.sql("select count(*) from records").fetchall()
    with tried():
        reader.export("jsonl", scratch / "out.jsonl")
    with tried():
        reader.export("tensorboard", scratch / "events")
    with tried():
        repr(steno.runs(dir=run_dir.parents[1]))
    with tried():
        steno.bins(run_dir, keys[:2]) if hasattr(steno, "bins") and keys else None
    reader.close()


def commands(run_dir: Path, scratch: Path) -> None:
    """The commands that look at a run."""
    from steno.cli import main

    run, runs = str(run_dir), str(run_dir.parents[1])
    for command in (
        ["show", run], ["doctor", run], ["runs", "--dir", runs], ["tail", run, "--no-follow"], ["get", run], ["show", run, "--json"],
        ["sql", "select key, count(*) from metrics group by key", "--run", run], ["export", run, "--to", "csv", "--out", str(scratch / "x.csv")],
    ):  # fmt: skip
        out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main(command)
                code = 0
            except SystemExit as end:
                code = end.code or 0
        assert code in {0, 1, 2}, (command, code)
        for stream in (out, err):
            stream.flush()
            assert b"\x1b[2J" not in stream.buffer.getvalue(), command


def collect(run_dir: Path, scratch: Path) -> None:
    """What `steno sync` has its collector do."""
    from steno.collector.service import Service

    del scratch
    with tried():
        Service(run_dir, linger_secs=0.5, once=True).run()


def resume(run_dir: Path, scratch: Path) -> None:
    """A program that goes on with the run."""
    del scratch
    with tried():
        run = steno.init(
            project="p",
            name=run_dir.name,
            dir=run_dir.parents[1],
            resume="allow",
            settings={"collector": False, "quiet": True},
        )
        run.log({"loss": 1.0})
        run.finish(0)


USES = (read, commands, collect, resume)


@contextlib.contextmanager
def tried():
    """An error of our own is an answer."""
    with contextlib.suppress(*ALLOWED):
        yield


def trouble(use, run_dir: Path, scratch: Path, outside: Path) -> str:
    """What a use of the run does that it must not; "" for nothing."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        code = 1
        try:
            code = _child(use, run_dir, scratch, outside, writing)
        finally:
            os._exit(code)
    os.close(writing)
    deadline, said = time.monotonic() + SECS, b""
    while time.monotonic() < deadline and select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
        piece = os.read(reading, 1 << 16)
        if not piece:
            break
        said += piece
    else:
        os.kill(pid, signal.SIGUSR1)  # says where it is
        time.sleep(0.5)
        os.set_blocking(reading, False)
        with contextlib.suppress(BlockingIOError):
            said += b"not done in time\n" + (os.read(reading, 1 << 20) or b"")
        os.kill(pid, signal.SIGKILL)
    os.close(reading)
    _, status, _ = os.wait4(pid, 0)
    if not said and os.waitstatus_to_exitcode(status):
        said = f"ended with {os.waitstatus_to_exitcode(status)}".encode()
    return f"{use.__name__}: {said.decode(errors='replace')}" if said else ""


def _child(use, run_dir: Path, scratch: Path, outside: Path, pipe: int) -> int:
    import faulthandler

    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    file = os.fdopen(pipe, "w")
    faulthandler.register(signal.SIGUSR1, file, all_threads=True)
    faulthandler.enable(file)
    resource.setrlimit(resource.RLIMIT_AS, (24 << 30, 24 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    failures: list[str] = []
    threading.excepthook = lambda what: failures.append("".join(traceback.format_exception(what.exc_value)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    warnings.simplefilter("ignore")
    watch(run_dir, outside)
    try:
        use(run_dir, scratch)
    except BaseException:
        failures.append(traceback.format_exc())
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
    if grown > GROWN_BYTES:
        failures.append(f"took {grown >> 20} MiB of memory")
    file.write("\n".join(failures))
    file.flush()
    return 0
