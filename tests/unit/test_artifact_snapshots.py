"""Snapshots: exact copies, taken before the call returns, nothing left of those that failed."""

from __future__ import annotations

import errno
import os
import random
import socket
import threading

import pytest

from steno.artifacts.content import Manifest
from steno.capture.artifacts import staging as staging_
from steno.capture.artifacts.staging import NoRoomError, Staging


class Place:
    def __init__(self, tmp_path):
        self.run_dir = tmp_path / "run"
        self.run_dir.mkdir()
        self.said = []
        self.staging = Staging(self.run_dir, "host-1-abc", lambda key, message: self.said.append(message))
        self.source = tmp_path / "source"

    def file(self, how="auto", source=None):
        name, size, done = self.staging.file(self.staging.number(), str(source or self.source), how)
        return self.run_dir / name, size, done

    def tree(self, source, how="auto"):
        name, size, count = self.staging.tree(self.staging.number(), str(source), how)
        path = self.run_dir / name
        return path.parent, Manifest.read(path), size, count

    def left(self):
        return [path for path in self.run_dir.rglob("*") if path.is_file()]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.mark.parametrize("how", ["auto", "reflink", "copy", "link"])
@pytest.mark.parametrize("size", [0, 1, 4096, 3 * (1 << 20) + 17])
def test_a_snapshot_is_the_file_as_it_was(place, how, size):
    data = random.Random(size).randbytes(size)
    place.source.write_bytes(data)
    path, told, done = place.file(how)
    if how != "link":
        place.source.write_bytes(b"something else")
    place.source.unlink()
    assert path.read_bytes() == data
    assert told == size
    assert (done == "link") is (how == "link")


@pytest.mark.parametrize("copy", [staging_._by_kernel, staging_._by_hand])
def test_both_ways_to_copy_are_exact(place, monkeypatch, copy):
    monkeypatch.setattr(staging_, "_PIECE_BYTES", 1000)
    monkeypatch.setattr(staging_, "_by_kernel", copy)
    data = random.Random(1).randbytes(123_457)
    place.source.write_bytes(data)
    assert place.file("copy")[0].read_bytes() == data


def test_where_the_kernel_cannot_copy_it_is_done_by_hand(place, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "no")

    monkeypatch.setattr(staging_, "_by_kernel", refuse)
    place.source.write_bytes(b"x" * 5000)
    assert place.file("copy")[0].read_bytes() == b"x" * 5000


def test_holes_stay_holes(place):
    size = 1 << 30
    with open(place.source, "wb") as file:
        file.write(b"head")
        file.seek(size // 2)
        file.write(b"middle")
        file.truncate(size)
    path, told, _ = place.file("copy")
    assert told == path.stat().st_size == size
    assert path.stat().st_blocks * 512 < 1 << 20
    with open(path, "rb") as file:
        assert file.read(4) == b"head"
        file.seek(size // 2)
        assert file.read(7) == b"middle\0"


def test_a_file_that_says_nothing_of_its_size_is_read_to_its_end(place):
    path, size, _ = place.file(source="/proc/version")
    with open("/proc/version", "rb") as file:
        assert path.read_bytes() == file.read()
    assert size > 0


def test_what_is_no_file_is_refused_and_nothing_hangs(place, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    for how in ("auto", "link"):
        for name in ("pipe", "socket"):
            with pytest.raises(OSError, match="neither a file nor a directory"):
                place.file(how, tmp_path / name)
        with pytest.raises(FileNotFoundError):
            place.file(how, tmp_path / "missing")
    assert place.left() == []


def test_a_link_follows_symbolic_links_to_the_file(place, tmp_path):
    place.source.write_bytes(b"real")
    (tmp_path / "symbolic").symlink_to(place.source)
    path, _, done = place.file("link", tmp_path / "symbolic")
    assert (done, path.is_symlink()) == ("link", False)
    assert path.samefile(place.source)


def test_another_file_system_costs_a_copy_and_says_so(place, tmp_path):
    other = f"/dev/shm/steno-test-{os.getpid()}"
    try:
        with open(other, "wb") as file:
            file.write(b"memory")
        path, _, done = place.file("link", other)
    finally:
        os.unlink(other)
    assert (path.read_bytes(), done) == (b"memory", "copy")
    assert "cannot be linked" in place.said[0]


def test_a_full_disk_leaves_nothing(place, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(staging_, "_by_kernel", full)
    place.source.write_bytes(b"x" * 5000)
    with pytest.raises(NoRoomError, match="No space"):
        place.file("copy")
    (place.source.parent / "tree").mkdir()
    (place.source.parent / "tree" / "a").write_bytes(b"x" * 5000)
    with pytest.raises(NoRoomError):
        place.tree(place.source.parent / "tree", "copy")
    assert place.left() == []


def test_a_directory_is_kept_with_all_that_belongs_to_it(place, tmp_path):
    top, outside = tmp_path / "top", tmp_path / "outside"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "empty").mkdir()
    outside.mkdir()
    (outside / "file").write_bytes(b"outside")
    (top / "a").write_bytes(b"a")
    (top / "run.sh").write_bytes(b"#!/bin/sh")
    (top / "run.sh").chmod(0o755)
    (top / "sub" / "deep" / "b").write_bytes(b"bb")
    os.symlink("a", top / "inside")
    os.symlink("../../a", top / "sub" / "deep" / "up")
    os.symlink(outside / "file", top / "to-file")
    os.symlink(outside, top / "to-directory")
    os.symlink("nowhere", top / "dangling")
    os.symlink("loop", top / "loop")
    os.symlink(os.fsencode("a"), os.fsencode(top) + b"/\xff")
    os.mkfifo(top / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(top / "s"))
    path, manifest, size, count = place.tree(top)
    listener.close()
    found = {one.name: (path / one.content).read_bytes() for one in manifest.files}
    assert found == {"a": b"a", "run.sh": b"#!/bin/sh", "sub/deep/b": b"bb", "to-file": b"outside"}
    assert {one.name: one.mode for one in manifest.files}["run.sh"] == 0o755
    assert dict(manifest.links) == {"inside": "a", "sub/deep/up": "../../a", "\udcff": "a"}
    assert manifest.dirs == ("empty",)
    assert {name for name, _ in manifest.skipped} == {"to-directory", "dangling", "loop", "pipe", "s"}
    assert (size, count) == (19, 4)
    assert "5 in all" in place.said[0]


def test_the_run_inside_the_directory_is_left_out(place):
    (place.run_dir.parent / "a").write_bytes(b"a")
    _, manifest, _, _ = place.tree(place.run_dir.parent)
    assert [one.name for one in manifest.files] == ["a"]
    assert manifest.skipped == (("run", "it is the run itself"),)


def test_a_file_that_vanishes_meanwhile_is_left_out(place, tmp_path, monkeypatch):
    top = tmp_path / "top"
    top.mkdir()
    for name in "abc":
        (top / name).write_bytes(name.encode())
    take = Staging._take

    def taking(self, source, target, how):
        if source.endswith("/b"):
            os.unlink(source)
        return take(self, source, target, how)

    monkeypatch.setattr(Staging, "_take", taking)
    _, manifest, _, _ = place.tree(top)
    assert [one.name for one in manifest.files] == ["a", "c"]
    assert manifest.skipped == (("b", "No such file or directory"),)


def test_equal_directories_have_equal_manifests():
    from steno.artifacts.content import DirectoryFile

    files = [DirectoryFile(name, name * 3, 1, 0o644) for name in "abc"]
    one = Manifest(tuple(files), (("l", "a"), ("k", "b")), ("y", "x"))
    two = Manifest(tuple(reversed(files)), (("k", "b"), ("l", "a")), ("x", "y"))
    assert one.encode() == two.encode()


def test_threads_get_snapshots_of_their_own(place):
    place.source.write_bytes(b"same")
    found = []

    def work():
        found.extend(place.file()[0] for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 400
    assert all(path.read_bytes() == b"same" for path in found)
