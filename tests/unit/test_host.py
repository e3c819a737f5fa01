"""The machine and its processes, asked for real."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import uuid

import pytest

from steno import host

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
getattr(fcntl, sys.argv[2])(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Starts a process that holds the lock of that kind on a file."""
    held = []

    def hold(kind):
        path = tmp_path / f"{kind}.lock"
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        held.append(process)
        assert process.stdout.readline()
        return path, process

    yield hold
    for process in held:
        process.communicate()


def test_names_of_the_machine():
    assert host.name() == os.uname().nodename
    assert uuid.UUID(host.boot_id())
    assert host.machine_id() == "" or len(bytes.fromhex(host.machine_id())) == 8
    assert host.pid_namespace() == os.stat("/proc/self/ns/pid").st_ino


@pytest.mark.parametrize(
    ("name", "stem"), [("gpu-07.example", "gpu_07.example"), ("", "host"), ("x" * 80, "x" * 64), ("a b/ü", "a_b_ü")]
)
def test_the_name_as_streams_begin_with_it(monkeypatch, name, stem):
    monkeypatch.setattr(host, "name", lambda: name)
    assert host.stem() == stem


@pytest.mark.parametrize(
    ("facts", "own", "is_ours"),
    [
        ({"host": "here", "machine": "m"}, "m", True),
        ({"host": "here", "machine": "other"}, "m", False),
        ({"host": "there", "machine": "m"}, "m", False),
        ({"host": "here"}, "m", True),
        ({"host": "here", "machine": ""}, "m", True),
        ({"host": "here", "machine": "m"}, "", True),
        ({}, "m", False),
    ],
)
def test_a_nodes_file_is_of_this_machine_unless_name_or_id_say_otherwise(monkeypatch, facts, own, is_ours):
    monkeypatch.setattr(host, "name", lambda: "here")
    monkeypatch.setattr(host, "machine_id", lambda: own)
    assert host.is_described(facts) is is_ours


def test_a_process_is_told_by_its_id_and_start():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    parent, start = host.birth(process.pid)
    assert (parent, host.birth(process.pid)) == (os.getpid(), (parent, start))
    assert start >= host.birth(os.getpid())[1]
    assert host.is_running(process.pid)
    process.communicate(b"\n")
    assert host.birth(process.pid) is None
    assert not host.is_running(process.pid)


def test_who_holds_a_posix_lock(other, tmp_path):
    path, process = other("lockf")
    assert (host.holder(path), host.is_locked(path), host.is_listed(path)) == (process.pid, True, True)
    assert host.hold(path) is None
    process.communicate()
    assert (host.holder(path), host.is_locked(path), host.is_listed(path)) == (None, False, False)


def test_a_lock_of_the_other_sort_is_seen_too(other):
    path, process = other("flock")
    assert (host.holder(path), host.is_locked(path), host.is_listed(path, "FLOCK")) == (None, True, True)
    process.communicate()
    assert not host.is_locked(path)


def test_an_unwritable_lock_file_can_be_asked_for(other):
    """A doctor of another user reads, and must not write."""
    path, process = other("lockf")
    path.chmod(0o444)
    assert host.holder(path) == process.pid


def test_what_this_process_holds_is_listed_and_asked_no_other_way(tmp_path):
    path = tmp_path / "own.lock"
    fd = host.hold(path)
    try:
        assert host.is_listed(path)
        asked = f"from steno import host; from pathlib import Path; print(host.holder(Path({str(path)!r})))"
        said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
        assert int(said) == os.getpid()
    finally:
        os.close(fd)
    assert not host.is_listed(path)


def test_a_file_that_is_not_there_is_not_locked(tmp_path):
    path = tmp_path / "gone"
    assert (host.holder(path), host.is_locked(path), host.is_listed(path)) == (None, False, False)
    with pytest.raises(FileNotFoundError):
        host.hold(path / "x")


def test_a_lock_is_let_go_with_its_descriptor(tmp_path):
    fd = host.hold(tmp_path / "a")
    os.close(fd)
    with open(tmp_path / "a", "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
