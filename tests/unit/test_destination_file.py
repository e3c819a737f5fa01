"""The file tail, on a real full disk and with real short writes."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steno.destinations import registry
from steno.destinations.file import Tail, name_on_node
from steno.record import RunInfo
from steno.testing import make_batch

LINES = [f"line {number} of the file\n".encode() for number in range(30)]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 30),
    st.integers(0, 700),
    st.lists(st.integers(0, 30), max_size=4),
    st.binary(max_size=20),
    st.booleans(),
)
def test_what_is_there_is_kept_and_the_rest_appended(tmp_path_factory, saved, reached, splits, foreign, is_foreign):
    """However far the crashed writer got, and wherever batches are cut now."""
    path = tmp_path_factory.mktemp("tail") / "file"
    whole = b"".join(LINES)
    at = len(b"".join(LINES[:saved]))
    reached = min(max(at, reached), len(whole))
    foreign = b"\x00" + foreign.replace(b"\n", b" ") if is_foreign else b""
    path.write_bytes(whole[:reached] + foreign)
    tail = Tail(path.parent, path.name, at)
    edges = sorted({saved, 30, *(split for split in splits if split > saved)})
    for start, stop in zip(edges, edges[1:], strict=False):
        tail.reopen()
        tail.append(b"".join(LINES[start:stop]))
        tail.commit()
    tail.close()
    got = path.read_bytes()
    if not is_foreign:
        assert got == whole
        assert tail.at == len(whole) or saved == 30
    else:
        assert got.startswith(whole[:reached] + foreign), "nothing is ever taken away"
        wanted = LINES[saved:]
        assert [line for line in got[at:].splitlines(keepends=True) if line in wanted].count(LINES[-1]) == (saved < 30)


def test_retry_without_commit_writes_nothing_twice(tmp_path):
    tail = Tail(tmp_path, "deep/file")
    for _ in range(3):
        tail.reopen()
        tail.append(b"one\n")
    assert tail.at == 0
    tail.commit()
    assert tail.at == 4
    tail.close()
    assert (tmp_path / "deep/file").read_bytes() == b"one\n"


def test_binary_tail_refuses_foreign_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"ours" + b"theirs")
    tail = Tail(tmp_path, "file", 4, lines=False)
    assert tail.reopen()
    assert not tail.append(b"more")
    assert tail.foreign_bytes == 6
    tail.close()
    assert (tmp_path / "file").read_bytes() == b"ourstheirs"


def test_foreign_bytes_are_counted_once(tmp_path):
    (tmp_path / "file").write_bytes(b"a\nforeign")
    tail = Tail(tmp_path, "file", 2)
    for line in (b"b\n", b"c\n"):
        tail.reopen()
        tail.append(line)
        tail.commit()
    tail.close()
    assert tail.foreign_bytes == 7
    assert (tmp_path / "file").read_bytes() == b"a\nforeign\nb\nc\n"


def test_missing_bytes_are_counted_and_writing_goes_on(tmp_path):
    (tmp_path / "file").write_bytes(b"a\nb")
    tail = Tail(tmp_path, "file", 4)
    assert not tail.reopen()
    tail.append(b"c\n")
    tail.commit()
    tail.close()
    assert tail.missing_bytes == 1
    assert (tmp_path / "file").read_bytes() == b"a\nb\nc\n"


def test_file_moved_away_is_begun_again(tmp_path):
    tail = Tail(tmp_path, "file")
    tail.append(b"a\n")
    tail.commit()
    (tmp_path / "file").rename(tmp_path / "old")
    assert not tail.reopen()
    tail.append(b"b\n")
    tail.commit()
    tail.close()
    assert (tmp_path / "file").read_bytes() == b"b\n"
    assert (tmp_path / "old").read_bytes() == b"a\n"


@pytest.mark.parametrize("name", ["csv", "jsonl", "tensorboard"])
def test_full_disk_is_an_error_and_the_retry_completes_it(tmp_path, name):
    """RLIMIT_FSIZE makes write(2) come back short and then fail, as a full disk does."""
    batches = [
        make_batch(
            [(100 * id + at, {"loss": at / 3, "text": "x" * 50}) for at in range(100)], id=id + 1, first=100 * id + 1
        )
        for id in range(3)
    ]
    reference, tried = tmp_path / "reference", tmp_path / "tried"
    for place in (reference, tried):
        place.mkdir()
    whole = registry.create(name)
    whole.open(RunInfo(reference, "i", "n", "p"))
    for batch in batches:
        whole.write(batch)
    whole.close()
    destination = registry.create(name)
    destination.open(RunInfo(tried, "i", "n", "p"))
    destination.write(batches[0])
    before = dict(destination.position)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = max(path.stat().st_size for path in tried.rglob("*") if path.is_file())
    try:
        for room in (1, 700):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, limit[1]))
            with pytest.raises(OSError) as caught:
                destination.write(batches[1])
            assert caught.value.errno == errno.EFBIG
            assert destination.position == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    destination.write(batches[1])
    destination.write(batches[2])
    destination.close()
    files = sorted(path.relative_to(reference) for path in reference.rglob("*") if path.is_file())
    assert files
    for one in files:
        assert (tried / one).read_bytes() == (reference / one).read_bytes()


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    done = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "steno", str(place)], capture_output=True
    )
    if not done or done.returncode:
        pytest.skip("mounting a tmpfs needs rights that this user has not")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("name", ["csv", "jsonl", "tensorboard"])
def test_real_full_disk(small_disk, name):
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 40_000)
    destination = registry.create(name)
    destination.open(RunInfo(small_disk, "i", "n", "p"))
    batch = make_batch([(at, {"loss": at / 3, "text": "x" * 200}) for at in range(150)])
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            destination.write(batch)
        assert caught.value.errno == errno.ENOSPC
    filler.unlink()
    destination.write(batch)
    destination.close()
    fresh = registry.create(name)
    other = small_disk.parent / "other"
    other.mkdir()
    fresh.open(RunInfo(other, "i", "n", "p"))
    fresh.write(batch)
    fresh.close()
    want = {path.relative_to(other): path.read_bytes() for path in other.rglob("*") if path.is_file()}
    assert {path.relative_to(small_disk): path.read_bytes() for path in small_disk.rglob("*") if path.is_file()} == want


def test_no_descriptor_is_left(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for name in ("csv", "jsonl", "tensorboard"):
        for _ in range(5):
            destination = registry.create(name)
            destination.open(RunInfo(tmp_path, "i", "n", "p"))
            destination.write(make_batch([(0, {"a": 1.0}), (1, {"b": 1.0})]))
            destination.open(RunInfo(tmp_path, "i", "n", "p"))
            destination.write(make_batch([(0, {"a": 1.0}), (1, {"b": 1.0})]))
            destination.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_names_on_nodes():
    assert name_on_node("metrics.csv", 0) == "metrics.csv"
    assert name_on_node("metrics.csv", 0, 2) == "metrics-2.csv"
    assert name_on_node("metrics.csv", "3f", 2) == "metrics-node-3f-2.csv"
