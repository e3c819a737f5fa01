"""The spool: raw values taken over once, encoded behind the postings, through deaths and full disks."""

from __future__ import annotations

import builtins
import errno
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from steno import Histogram, Image, Text, Video
from steno.capture.raws import INLINE_BYTES, LARGE_BYTES, Raws, placed
from steno.journal.flatten import Flattener
from steno.ledger import spool as spool_
from steno.ledger.spool import Spool
from steno.media import files, kinds
from steno.record import RAW, Ref

RNG = np.random.default_rng(7)


def picture(side=100):
    return RNG.integers(0, 255, (side, side, 3), np.uint8)


class Place:
    """A run directory with a stream and a node, and what a collector does with them."""

    def __init__(self, tmp_path):
        self.run_dir = tmp_path
        self.stream = tmp_path / "stream"
        self.stream.mkdir(exist_ok=True)
        self.node = tmp_path / "node-00"
        self.node.mkdir(exist_ok=True)
        self.said = []
        self.raws = Raws(self.stream, lambda: None)
        self.spool = self.begin()

    def begin(self):
        self.spool = Spool(self.run_dir, self.node, lambda key, message: self.said.append(message))
        return self.spool

    def captured(self, value):
        """What the tailer returns for a logged value."""
        flat = Flattener()
        flat.add("key", placed(value.__steno__(), self.raws.put))
        (ref,) = flat.values
        for meta in (ref.meta, *ref.meta.get("attached", {}).values()):
            if "file" in meta.get(RAW, {}):
                meta[RAW]["file"] = str(self.stream / meta[RAW]["file"])
        return ref

    def take(self, value):
        values = {3: self.captured(value)}
        self.spool.take(values)
        return values[3]

    def settle(self, seconds=10):
        deadline = time.monotonic() + seconds
        while self.spool.waiting and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not self.spool.waiting

    def files(self):
        return sorted(str(path.relative_to(self.run_dir)) for path in (self.run_dir / "media").rglob("*.*"))


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.spool.close()
    made.raws.close()


def test_a_value_is_readable_before_and_after_it_is_encoded(place, monkeypatch):
    image = picture()
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "_work", lambda self: None)
        ref = place.take(Image(image))
        assert files.encoded(place.run_dir, ref) is None
        assert np.array_equal(files.value(place.run_dir, ref), image)
        place.spool.close()
    place.begin()
    place.settle()
    path = files.encoded(place.run_dir, ref)
    assert path.suffix == ".png"
    assert place.files() == [ref.file]
    assert np.array_equal(files.value(place.run_dir, ref), image)
    assert os.listdir(place.node / "encode") == []


@pytest.mark.parametrize("side", [10, 100, 1300])
def test_equal_content_is_one_file_wherever_its_bytes_lay(place, side):
    image = picture(side)
    size = Image(image).__steno__().size_bytes
    assert [size <= INLINE_BYTES, size > LARGE_BYTES] == [side == 10, side == 1300]
    refs = [place.take(Image(image, caption)) for caption in ("a", "b")]
    if side == 100:
        assert place.raws.stock()
        refs.append(place.take(Image(image)))
        assert any(name.startswith("raw-") for name in os.listdir(place.stream))
    place.settle()
    assert len({ref.digest for ref in refs}) == 1
    assert [ref.meta["caption"] for ref in refs[:2]] == ["a", "b"]
    assert place.files() == [refs[0].file]
    assert np.array_equal(files.value(place.run_dir, refs[-1]), image)


def test_a_value_too_large_to_hash_shares_its_file_by_a_link(place, monkeypatch):
    monkeypatch.setattr(spool_, "HASHED_BYTES", LARGE_BYTES)
    image = picture(1300)
    one, two = place.take(Image(image)), place.take(Image(image))
    place.settle()
    assert one.digest != two.digest
    first, second = (files.encoded(place.run_dir, ref) for ref in (one, two))
    assert first.stat().st_ino == second.stat().st_ino
    assert np.array_equal(files.value(place.run_dir, two), image)


def test_text_and_small_histograms_have_no_file(place):
    assert place.take(Text("words")) == Ref("", "text", {"text": "words"})
    ref = place.take(Histogram(np.arange(10_000.0)))
    assert ref.digest == ""
    assert sum(files.value(place.run_dir, ref)["counts"]) == 10_000
    assert not (place.run_dir / "media").exists()


def test_a_large_histogram_is_counted_behind_the_scalars(place):
    data = RNG.normal(size=1 << 20)
    ref = place.take(Histogram(data))
    place.settle()
    assert ref.file.endswith(".json")
    assert files.value(place.run_dir, ref)["counts"] == np.histogram(data, 64)[0].tolist()


def test_masks_have_files_of_their_own(place):
    mask = np.zeros((100, 100), np.uint8)
    mask[3] = 2
    ref = place.take(Image(picture(), masks={"m": {"data": mask, "classes": {2: "two"}}}))
    place.settle()
    one = ref.meta["attached"]["m"]
    found = files.value(place.run_dir, Ref(one["digest"], one["kind"], one["meta"]))
    assert np.array_equal(found[..., 0], mask)


def test_taking_again_after_a_failed_posting_changes_nothing(place):
    values = {0: place.captured(Image(picture(), masks={"m": np.zeros((100, 100), int)})), 1: 5, 2: "x"}
    place.spool.take(values)
    before = dict(values)
    place.spool.take(values)
    assert values == before
    assert (values[1], values[2]) == (5, "x")
    assert place.spool.failures() == []


def test_a_collector_that_died_after_taking_takes_again(place):
    value = Image(picture())
    message = place.captured(value)
    one = {0: message}
    place.spool.take(one)
    place.settle()
    place.spool.close()
    place.begin()
    again = {0: message}
    place.spool.take(again)
    place.settle()
    assert again == one
    assert place.files() == [one[0].file]


def test_journal_space_is_given_back_once_the_posting_is_synced(place):
    place.raws.used = True
    assert place.raws.stock()
    warm = place.captured(Image(picture()))  # takes the arena into use
    side = place.captured(Image(picture(1300)))
    arena = place.captured(Image(picture()))
    assert os.path.basename(arena.meta[RAW]["file"]).startswith("raw-")
    values = dict(enumerate([warm, side, arena]))
    place.spool.take(values)
    place.spool.posted(5)
    place.spool.release(4)
    assert os.path.exists(side.meta[RAW]["file"])
    blocks = os.stat(arena.meta[RAW]["file"]).st_blocks
    place.spool.release(5)
    assert not os.path.exists(side.meta[RAW]["file"])
    assert (blocks - os.stat(arena.meta[RAW]["file"]).st_blocks) * 512 >= 2 * 28_000
    place.settle()
    assert files.value(place.run_dir, values[2]).shape == (100, 100, 3)


def test_a_lost_or_torn_side_file_costs_that_value_only(place):
    gone, torn, good = (place.captured(Image(picture(1300))) for _ in range(3))
    os.unlink(gone.meta[RAW]["file"])
    os.truncate(torn.meta[RAW]["file"], 5000)
    values = {0: gone, 1: torn, 2: good}
    place.spool.take(values)
    place.settle()
    assert "lost" in values[0].meta
    assert "lost" in values[1].meta
    assert files.value(place.run_dir, values[2]).shape == (1300, 1300, 3)
    assert len(place.spool.failures()) == 2
    with pytest.raises(ValueError, match="lost"):
        files.value(place.run_dir, values[0])


def test_an_encoder_that_fails_keeps_the_raw_value(place, monkeypatch):
    def fail(raw, path):
        path.write_bytes(b"half")
        raise ValueError("no such luck")

    with monkeypatch.context() as patch:
        patch.setattr(kinds, "encode", fail)
        image = picture()
        ref = place.take(Image(image))
        place.settle()
    assert np.array_equal(files.value(place.run_dir, ref), image)
    assert [name.rpartition(".")[2] for name in place.files()] == ["kept"]
    (failure,) = place.spool.failures()
    assert "no such luck" in failure["reason"]
    assert place.spool.failed == 1


def test_a_missing_package_is_said_with_the_remedy_and_made_good_later(place, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "av":
            raise ModuleNotFoundError("No module named 'av'")
        return real(name, *args, **kwargs)

    video = RNG.integers(0, 255, (3, 40, 40, 3), np.uint8)
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without)
        ref = place.take(Video(video))
        place.settle()
        assert np.array_equal(files.value(place.run_dir, ref), video)
    assert "pip install 'stenolog[media]'" in place.said[0]
    place.spool.close()
    place.begin()
    place.settle()
    assert files.encoded(place.run_dir, ref).suffix == ".mp4"


def test_a_full_disk_is_waited_out(place, monkeypatch):
    monkeypatch.setattr(spool_, "_PAUSE_SECS", 0.01)
    real, left = kinds.encode, [3]

    def full(raw, path):
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        real(raw, path)

    monkeypatch.setattr(kinds, "encode", full)
    ref = place.take(Image(picture()))
    deadline = time.monotonic() + 60
    while files.encoded(place.run_dir, ref) is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert files.encoded(place.run_dir, ref) is not None
    assert place.spool.failed == 0


KILLER = """
import os, sys, time
from pathlib import Path
from steno.ledger.spool import Spool
from steno.media import kinds
kinds.encode = lambda raw, path: os._exit(9)
Spool(Path(sys.argv[1]), Path(sys.argv[2]), lambda key, message: None)
time.sleep(10)
"""


def test_an_encoder_that_kills_the_collector_twice_is_not_tried_again(place, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "_work", lambda self: None)
        image = picture()
        ref = place.take(Image(image))
        place.spool.close()
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLER, str(place.run_dir), str(place.node)], timeout=20)
        assert done.returncode == 9
    place.begin()
    place.settle()
    assert "died twice" in place.said[0]
    assert np.array_equal(files.value(place.run_dir, ref), image)
    assert files.encoded(place.run_dir, ref) is None


def test_a_value_kept_raw_is_not_tried_at_every_log(place, monkeypatch):
    tried = []
    monkeypatch.setattr(kinds, "encode", lambda raw, path: tried.append(path) or 1 / 0)
    image = picture()
    refs = []
    for _ in range(3):
        refs.append(place.take(Image(image)))
        place.settle()
    assert len(tried) == 1
    assert refs[0] == refs[1] == refs[2]
    assert np.array_equal(files.value(place.run_dir, refs[2]), image)


def test_what_a_dead_encoder_left_half_written_is_removed(place):
    ref = place.take(Image(picture()))
    place.settle()
    place.spool.close()
    final = files.place(place.run_dir, ref.digest, "png")
    final.with_name(f".{ref.digest}.node-00-1-abc.part").write_bytes(b"half")
    final.rename(final.with_suffix(".raw"))
    (place.node / "encode" / f"{ref.digest}.png.1").touch()
    place.begin()
    place.settle()
    assert not list(final.parent.glob(".*"))
