"""Artifacts in object stores: found by name as soon as they are there, read and verified from anywhere."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import pytest

import steno
from object_stores import eventually

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def logged(run, place, name, data, **more):
    path = place / "source.bin"
    path.write_bytes(data)
    return run.log_artifact(path, name, **more)


def found(url, name):
    try:
        return steno.open(url).artifact(name).path.read_bytes()
    except (steno.UsageError, FileNotFoundError):
        return None


@pytest.mark.parametrize("apart", [False, True], ids=["with the run", "in a store of their own"])
def test_artifacts_are_read_from_the_store_live_and_after(place, apart):
    where = {"store": f"file://{place}/store"} | ({"artifacts": f"file://{place}/weights"} if apart else {})
    run = steno.init("p", "r", dir=place / "runs", **where)
    one, two = os.urandom(100_000), os.urandom(100_000)
    logged(run, place, "ckpt/1", one, step=1, link="latest")
    tree = place / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "a.txt").write_text("a")
    (tree / "deep" / "b.txt").write_text("b")
    run.log_artifact(tree, "tree")
    url = f"file://{place}/store/p/r"
    # A checkpoint of a run that goes on is found by its alias, from another machine.
    assert eventually(lambda: found(url, "latest")) == one
    logged(run, place, "ckpt/2", two, step=2, link="latest")
    eventually(lambda: found(url, "latest") == two)
    assert steno.open(url).info.state == "running"
    assert run.finish(timeout=60)

    book = steno.open(url)
    assert book.info.state == "finished"
    assert [(one.name, one.digest) for one in book.artifacts()] == [
        (one.name, one.digest) for one in steno.open(run.dir).artifacts()
    ]
    assert book.artifact("latest").path.read_bytes() == two
    assert book.artifact("ckpt/1").path.read_bytes() == one
    assert pickle.loads(pickle.dumps(book.artifact("ckpt/1"))).path.read_bytes() == one
    copy = book.artifact("tree").download(place / "copy")
    assert (copy / "deep" / "b.txt").read_text() == "b"
    got = subprocess.run(
        [sys.executable, "-m", "steno", "get", url, "latest", "--to", str(place / "got.bin")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert got.returncode == 0, got.stderr
    assert (place / "got.bin").read_bytes() == two

    # Whoever has no steno finds them too.
    root = place / ("weights" if apart else "store") / "p" / "r"
    index = json.loads((root / "artifacts.json").read_bytes())
    assert index["aliases"] == {"latest": "ckpt/2"}
    assert (root / index["names"]["ckpt/2"]["key"]).read_bytes() == two
    assert (place / "store/p/r/artifacts").exists() is not apart
    if apart:
        alone = steno.open(f"file://{place}/weights/p/r")
        assert alone.artifact("latest").path.read_bytes() == two
        assert not (place / "weights/p/r/metrics").exists()


def test_one_store_for_both_is_one_store(place):
    run = steno.init("p", "both", dir=place / "runs", store=f"file://{place}/s", artifacts=f"file://{place}/s/")
    run.log({"a": 1.0}, step=0)
    logged(run, place, "model", b"x")
    assert run.finish(timeout=60)
    book = steno.open(f"file://{place}/s/p/both")
    assert (book.series("a").value.tolist(), book.artifact("model").path.read_bytes()) == ([1.0], b"x")


def test_artifacts_alone_can_have_a_store_and_damage_there_is_told(place):
    run = steno.init("p", "alone", dir=place / "runs", artifacts=f"file://{place}/weights")
    run.log({"a": 1.0}, step=0)
    handle = logged(run, place, "model", b"x" * 1000)
    assert run.finish(timeout=60)
    url = f"file://{place}/weights/p/alone"
    path = place / "weights/p/alone/artifacts" / handle.digest[:2] / handle.digest
    path.write_bytes(b"y" * 1000)
    with pytest.raises(steno.CorruptError, match="digest"):
        _ = steno.open(url).artifact("model").path
    path.unlink()
    with pytest.raises(FileNotFoundError, match="content"):
        _ = steno.open(url).artifact("model").path
    # Here it is whole, and goes up again.
    assert steno.sync(run.dir).complete
    assert steno.open(url).artifact("model").path.read_bytes() == b"x" * 1000
