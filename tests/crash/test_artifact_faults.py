"""Artifacts under kills, on full disks and on file systems with reflinks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from besieged import disk, kill_collectors, no_collector, ok

import steno


def test_kills_leave_whole_artifacts_and_nothing_else(tmp_path):
    """`scripts/torture` has the full siege."""
    script = Path(__file__).with_name("artifact_siege.py")
    done = subprocess.run(
        [sys.executable, str(script), "--kills", "3", "--seed", "11"],
        cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    calls = int(done.stdout.rsplit(" acknowledged calls", 1)[0].rsplit(" ", 1)[-1].replace(",", ""))
    assert calls > 10, done.stdout


def test_a_full_disk_is_told_on_the_handle_and_training_goes_on(tmp_path):
    code = """
    import os, sys
    import steno
    run = steno.init("p", "a", dir="disk")
    with open("large", "wb") as file:
        file.write(os.urandom(40 << 20))
    with open("small", "wb") as file:
        file.write(b"small")
    os.mkdir("both")
    os.link("large", "both/large"); os.link("small", "both/small")
    for number in range(3):
        handle = run.log_artifact("large", name=f"large{number}", link="latest")
        assert handle.done() and isinstance(handle.error, OSError), handle
        assert isinstance(handle.link.error, OSError)
        run.log({"x": number})
    assert isinstance(run.log_artifact("both").error, OSError)
    try:
        handle.result(1)
    except OSError as error:
        assert error.errno == 28, error
    assert run.log_artifact("small").result(30)
    assert run.health()["artifacts"]["failed"] == 4 + 3, run.health()
    # The name is free again: nothing was kept under it.
    os.truncate("large", 100)
    assert run.log_artifact("large", name="large0").result(30)
    assert run.finish(30)
    """
    with disk(tmp_path / "disk", "32m") as place:
        from besieged import run as run_

        done = run_(code, tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("was not kept: no snapshot could be made") == 1, done.stderr
        no_collector(place)
        book = steno.open(place / "p/a")
        assert sorted(one.name for one in book.artifacts()) == ["large0", "small"]
        assert len(book.series("x").value) == 3
        assert not (place / "p/a/.steno/staging").exists()


@contextlib.contextmanager
def reflinks(tmp_path: Path, kind: str, size: str):
    """A file system with reflinks in a file; skips the test where none can be made or mounted."""
    make = {"xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}[kind]
    if shutil.which(make[0]) is None:
        pytest.skip(f"there is no {make[0]} here")
    image, place = tmp_path / "image", tmp_path / kind
    place.mkdir()
    subprocess.run(["truncate", "-s", size, str(image)], check=True)
    subprocess.run([*make, str(image)], check=True, capture_output=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop", str(image), str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a file system with reflinks needs the right to mount one: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        kill_collectors(place)
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)
        image.unlink()


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_a_reflink_takes_no_room_and_is_a_snapshot(tmp_path, kind):
    size = 64 << 20
    code = f"""
    import hashlib, json, os, sys, time
    import steno
    run = steno.init("p", "a", dir="{kind}")
    source = "{kind}/source"
    with open(source, "wb") as file:
        for _ in range({size} >> 20):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    digest = hashlib.file_digest(open(source, "rb"), "sha256").hexdigest()
    os.sync()  # a btrfs counts what fsync has written when its transaction ends
    before = os.statvfs("{kind}").f_bfree
    handle = run.log_artifact(source, snapshot="reflink")
    with open(source, "r+b") as file:
        file.write(b"rewritten in place")
    assert handle.result(60) == digest
    assert run.finish(30)
    os.sync()
    used = (before - os.statvfs("{kind}").f_bfree) * os.statvfs("{kind}").f_frsize
    print(json.dumps([digest, used]))
    """
    with reflinks(tmp_path, kind, "600M") as place:
        digest, used = json.loads(ok(code, tmp_path))
        no_collector(place)
        book = steno.open(place / "p/a")
        found = book.artifact("source")
        (entry,) = [one for one in book.records("artifact") if one.payload["op"] == "file"]
        assert entry.payload["how"] == "reflink"
        assert found.digest == digest == hashlib.sha256(found.path.read_bytes()).hexdigest()
        assert used < size // 2, used
        assert not (place / "p/a/.steno/staging").exists()
