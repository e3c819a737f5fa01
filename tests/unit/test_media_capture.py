"""Media at the call: where the bytes go, what a full disk does, and who else may log meanwhile."""

from __future__ import annotations

import errno
import os
import threading

import numpy as np
import pytest

import steno
from steno.capture import raws as raws_
from steno.capture.raws import ARENA_BYTES, INLINE_BYTES, LARGE_BYTES, Raws
from steno.capture.recorder import Recorder
from steno.destinations.jsonl import plain
from steno.errors import RecordError
from steno.journal.tailer import Tailer
from steno.record import RAW, Ref


@pytest.fixture
def raws(tmp_path):
    made = Raws(tmp_path, lambda: None)
    yield made
    made.close()


def there(place, found, size):
    name, at = found
    with open(place / name, "rb") as file:
        file.seek(at)
        return file.read(size)


def test_bytes_lie_where_it_says_on_arena_and_in_files(raws, tmp_path):
    rng = np.random.default_rng(0)
    put = []
    for _ in range(3):
        for size in (1, 4096, 4097, 300_000, LARGE_BYTES, LARGE_BYTES + 1):
            data = rng.bytes(size)
            put.append((raws.put([data[: size // 2], memoryview(data)[size // 2 :]], size), data))
        raws.stock()
    kinds = {name.partition("-")[0] for (name, _), _ in put}
    assert kinds == {"value", "raw"}
    assert all(there(tmp_path, found, len(data)) == data for found, data in put)


def test_no_arena_is_made_before_the_first_value(raws, tmp_path):
    assert not raws.stock()
    assert os.listdir(tmp_path) == []
    raws.put([b"x"], 1)
    assert raws.stock()
    assert not raws.stock()


def test_arenas_follow_each_other_and_lose_nothing(tmp_path):
    wanted = []
    raws = Raws(tmp_path, lambda: wanted.append(1))
    raws.put([b"x"], 1)
    size, put = 1_000_000, []
    for index in range(3 * ARENA_BYTES // size):
        raws.stock()
        put.append((raws.put([bytes([index % 256]) * size], size), index))
    raws.close()
    assert len({name for (name, _), _ in put}) >= 3
    assert wanted
    assert all(there(tmp_path, found, size) == bytes([index % 256]) * size for found, index in put)


def test_what_a_arena_has_left_is_given_back_at_the_end(raws, tmp_path):
    raws.put([b"x"], 1)
    raws.stock()
    name, at = raws.put([b"abc"], 3)
    raws.close()
    assert os.path.getsize(tmp_path / name) == 4096
    assert there(tmp_path, (name, at), 3) == b"abc"
    assert raws.put([b"late"], 4)[0].startswith("value-")


def test_a_forked_child_leaves_its_parents_arenas_alone(raws, tmp_path):
    raws.put([b"x"], 1)
    raws.stock()
    raws.put([b"parent"], 6)
    pid = os.fork()
    if pid == 0:
        raws.abandon()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    name, at = raws.put([b"again"], 5)
    assert (at, there(tmp_path, (name, at), 5)) == (4096, b"again")


def test_eight_threads_put_at_once(raws, tmp_path):
    raws.put([b"x"], 1)
    raws.stock()
    put = []

    def work(mark):
        data = bytes([mark]) * 5000
        put.extend((raws.put([data[:1000], data[1000:]], 5000), data) for _ in range(100))

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({found for found, _ in put}) == 800
    assert all(there(tmp_path, found, 5000) == data for found, data in put)


def test_whoever_meets_the_lock_held_does_not_wait(raws, tmp_path):
    """A signal handler that logs an image while its own thread is logging one."""
    raws.put([b"x"], 1)
    raws.stock()
    with raws._lock:
        found = raws.put([b"abc"], 3)
    assert there(tmp_path, found, 3) == b"abc"


def test_parts_of_another_length_than_said_are_refused(raws, tmp_path):
    with pytest.raises(ValueError, match="captured"):
        raws.put([b"ab"], 3)
    raws.stock()
    for data in (b"ab", b"abcd"):
        with pytest.raises(ValueError, match="captured"):
            raws.put([data], 3)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("value-")]


@pytest.fixture
def recorder(tmp_path):
    told = {}
    made = Recorder(tmp_path, run_id="run", report=told.__setitem__)
    made.told = told
    yield made
    made.close()


def logged(recorder):
    """Key → values, in order, as the tailer gives them."""
    recorder.close()
    out = {}
    for path in sorted(recorder._stream.directory.glob("[0-9]*.seg")):
        tailer = Tailer(path)
        while (piece := tailer.read(live=False)) is not None:
            at = 0
            for row, chosen in enumerate(piece.set.tolist()):
                for key in piece.sets[chosen].keys:
                    out.setdefault(key, []).append(piece.special.get(at, float(piece.value[at])))
                    at += 1
                assert row >= 0
        tailer.close()
    return out


def test_a_record_of_media_scalars_and_lists(recorder):
    image = steno.Image(np.zeros((5, 5), np.uint8))
    big = steno.Image(np.zeros((300, 300), np.uint8), "cap")
    for _ in range(3):
        recorder.log(
            {"loss": 1.5, "picture": image, "big": big, "some": [image, image], "deep": {"text": steno.Text("hi")}}
        )
    found = logged(recorder)
    assert list(found) == ["loss", "picture", "big", "some/0", "some/1", "deep/text"]
    assert found["loss"] == [1.5] * 3
    assert found["deep/text"] == [Ref("", "text", {"text": "hi"})] * 3
    assert len(found["picture"][0].meta[RAW]["data"]) <= INLINE_BYTES
    assert os.path.getsize(found["big"][0].meta[RAW]["file"]) >= 90_000
    assert found["big"][0].meta["caption"] == "cap"
    assert recorder.told == {}


def test_values_no_conversion_takes_may_come_for_ever(recorder):
    """Arrays and media leave the hot path at every record, and nothing must grow by it."""
    for index in range(3000):
        recorder.log({"array": np.arange(20.0), "n": index})
    assert logged(recorder)["n"] == list(range(3000))


def test_a_full_disk_costs_the_value_and_says_so(recorder, monkeypatch):
    def full(self, parts, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(raws_.Raws, "put", full)
    recorder.log({"picture": steno.Image(np.zeros((300, 300), np.uint8)), "loss": 1.0})
    assert logged(recorder) == {"loss": [1.0]}
    assert "could not be written" in recorder.told["picture"]


def test_strict_raises_it(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path, run_id="run", report=lambda *_: None, strict=True)
    monkeypatch.setattr(raws_.Raws, "put", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(RecordError, match="could not be written"):
        recorder.log({"picture": steno.Image(np.zeros((300, 300), np.uint8))})
    recorder.close()


class Celsius:
    def __init__(self, degrees):
        self.degrees = degrees

    def __steno__(self):
        return self.degrees


class Endless:
    def __steno__(self):
        return self


class Failing:
    def __steno__(self):
        raise RuntimeError("not today")


def test_any_object_may_say_what_to_log_in_its_place(recorder):
    recorder.log(
        {"outside": Celsius(21.5), "array": Celsius({"a": 1, "b": [1, 2]}), "endless": Endless(), "no": Failing()}
    )
    assert logged(recorder) == {"outside": [21.5], "array/a": [1.0], "array/b/0": [1.0], "array/b/1": [2.0]}
    assert set(recorder.told) == {"endless", "no"}


def test_text_files_say_what_has_no_file():
    histogram = Ref("", "histogram", {"counts": [1], "edges": [0.0, 1.0], "min": float("nan")})
    assert plain(histogram) == {"kind": "histogram", "counts": [1], "edges": [0.0, 1.0], "min": "NaN"}
    assert plain(Ref("ab", "image", {})) == {"ref": "ab", "kind": "image"}
    assert (str(Ref("", "text", {"text": "hi"})), str(histogram), str(Ref("ab", "image"))) == (
        "hi",
        "histogram",
        "image:ab",
    )
