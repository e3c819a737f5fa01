"""Fails the test that leaves its process changed: settings, open runs, threads, child processes, open files.

A setting must be what it was. Of what a process holds there must be nothing new, after a grace for what is about to
end, but for what libraries keep (`kept`).
"""

from __future__ import annotations

import contextlib
import contextvars
import gc
import os
import signal
import sys
import threading
import time

import pytest

import kept

GRACE_SECS = 5.0
"""For threads and children that end already, on a machine that is busy with other things."""
OBJECTS = (
    (sys, "stdin"),
    (sys, "stdout"),
    (sys, "stderr"),
    (sys, "excepthook"),
    (sys, "unraisablehook"),
    (threading, "excepthook"),
)
SIGNALS = sorted(set(signal.Signals) - {signal.SIGALRM})
"""Without that of pytest-timeout, which takes its handler away as soon as a test has failed."""


class LeakError(AssertionError):
    """A test has left its process changed."""


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Of all fixtures of a test that end with it, this one is set up first and so ends last."""
    before, held = settings(), holdings()
    yield
    found = [*changed(before), *left(held)]
    if found:
        put_back(before, held)
        raise LeakError("\n  ".join(["this test leaves its process changed:", *found]))


# -- settings: one value each ---------------------------------------------------------------------------------


def settings():
    """Name → value of what a process has one of."""
    found = {
        "working directory": _directory(),
        "umask": _umask(),
        "sys.path": tuple(sys.path),
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "garbage collection": gc.isenabled(),
    }
    for module, name in OBJECTS:
        found[f"{module.__name__}.{name}"] = getattr(module, name)
    for number in SIGNALS:
        handler = signal.getsignal(number)
        own = getattr(handler, "__module__", None) in kept.HANDLERS
        found[f"handler of {number.name}"] = signal.SIG_DFL if own else handler
    for name, value in os.environ.items():
        if name not in kept.IMPORTS and name != "PYTEST_CURRENT_TEST":
            found[f"environment variable {name}"] = value
    for variable, value in contextvars.copy_context().items():
        if variable.name.startswith("steno") and value != _default(variable):
            found[f"context variable {variable.name}"] = value
    return found


def changed(before):
    """A line for each setting that is not what it was."""
    now = settings()
    for name in sorted({*before, *now}):
        was, became = before.get(name, "not set"), now.get(name, "not set")
        if was is not became and was != became:
            yield f"{name} was {_short(was)} and is {_short(became)}"


def put_back(before, held):
    """Spare the next test, or the next attempt at this one, what can be undone; threads, children and files stay."""
    for one in _runs() - held["open run"]:
        with contextlib.suppress(Exception):
            one.run.finish(0)
    now = settings()
    for name in [name for name in {*before, *now} if before.get(name) != now.get(name)]:
        what, _, which = name.rpartition(" ")
        was = before.get(name)
        if what == "environment variable":
            os.environ.pop(which, None)
            os.environ.update({} if was is None else {which: was})
        elif what == "handler of" and was is not None:
            signal.signal(signal.Signals[which], was)
        elif what == "context variable":
            for variable in contextvars.copy_context():
                if variable.name == which:
                    variable.set(_default(variable) if was is None else was)
    for module, name in OBJECTS:
        setattr(module, name, before[f"{module.__name__}.{name}"])
    with contextlib.suppress(OSError):
        os.chdir(before["working directory"])
    os.umask(int(before["umask"], 8))
    sys.path[:] = before["sys.path"]
    signal.pthread_sigmask(signal.SIG_SETMASK, before["blocked signals"])
    if before["garbage collection"]:
        gc.enable()


def _default(variable):
    """The value that it has where nobody has set it."""
    try:
        return contextvars.Context().run(variable.get)
    except LookupError:
        return None


def _directory():
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "a directory that is gone"


def _umask():
    """By the kernel's word: `os.umask` could tell only by changing it, for all threads."""
    with open(f"/proc/self/task/{os.getpid()}/status", "rb", buffering=0) as file:
        return file.read(200).partition(b"Umask:\t")[2][:4].decode()


def _short(value):
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}..."


# -- holdings: any number of each -----------------------------------------------------------------------------


def holdings():
    """Kind → what of it the process holds."""
    return {"open run": _runs(), "thread": _threads(), "child process": _children(), "open file": _files()}


def left(before):
    """A line for each thing that is held now, was not before, and does not go away by itself."""
    lines = _new(before)
    if lines:
        gc.collect()  # else it depends on the tests that ran before when garbage is let go
        until = time.monotonic() + GRACE_SECS
        while (lines := _new(before)) and time.monotonic() < until:
            time.sleep(0.01)
    return lines


def _new(before):
    found = []
    for kind, now in holdings().items():
        new = now - before[kind]
        if new:
            found += [f"{kind}: {_DESCRIBE[kind](one)}" for one in new - _kept(kind, new)]
    return found


def _kept(kind, new):
    if kind == "open file":
        numbers = kept.files({one[0]: _path(one) for one in new})
        return {one for one in new if one[0] in numbers}
    return {"thread": kept.threads, "child process": kept.children}.get(kind, set)()


def _runs():
    registry = sys.modules.get("steno.capture.open_runs")
    return set() if registry is None else set(registry.RUNS.all())


def _threads():
    """Those that run Python. What native code starts on its own belongs to the pools of libraries: they have no end."""
    found = threading.enumerate()
    # A thread of a library's that has called back to Python once stays in the list, as a dummy.
    ours = {one for one in found if not isinstance(one, threading._DummyThread)}
    return ours | (sys._current_frames().keys() - {one.ident for one in found})


def _children():
    """Process numbers, those that nobody has waited for included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return set()
    found = set()
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children") as file:
            found.update(map(int, file.read().split()))
    return found


def _files():
    """(number, device, inode): a number that is another file now is a new file."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            about = os.fstat(int(name))
            found.add((int(name), about.st_dev, about.st_ino))
    return found


# -- in words -------------------------------------------------------------------------------------------------


def _path(file):
    try:
        return os.readlink(f"/proc/self/fd/{file[0]}")
    except OSError:
        return "closed by now"


def _thread(one):
    if isinstance(one, int):
        return f"started by _thread, at {sys._current_frames().get(one)}"
    target = getattr(one, "_target", None)
    return f"{one.name}{', a daemon' if one.daemon else ''}, runs {getattr(target, '__qualname__', type(one))}"


def _child(number):
    try:
        with open(f"/proc/{number}/cmdline") as file:
            words = file.read().replace("\0", " ").strip()
    except OSError:
        return "gone by now"
    return f"{number}, {_short(words) if words else 'ended, and nobody has waited for it'}"


_DESCRIBE = {
    "open run": lambda one: repr(one.run.name),
    "thread": _thread,
    "child process": _child,
    "open file": lambda one: f"{one[0]}, {_path(one)}",
}
