"""Bins of a run: with the points that no bin has they are what numpy says of the exact series, however it was written."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_runs import Writer

import steno
from bins_of_runs import parted, same
from steno import files
from steno.record import Ref
from steno.store.binfiles import Level

STRANGE = [math.nan, math.inf, -math.inf, -0.0, 1e308, "text", 2**70, 2**53 + 1, Ref("image", "x")]


def write(writer: Writer, rng: np.random.Generator, *, rank: int, attempt: int, count: int, strange: float) -> None:
    first = int(rng.integers(0, 3000))
    kind = rng.integers(0, 3)
    steps = np.arange(first, first + count)
    if kind == 1:
        steps = rng.integers(0, max(count // 8, 1), count)  # repeated and falling
    elif kind == 2:
        steps = steps * 7 - 5000
    values: list = (rng.standard_normal(count) + rng.choice([0.0, 1e8])).tolist()
    for at in np.flatnonzero(rng.random(count) < strange).tolist():
        values[at] = STRANGE[int(rng.integers(len(STRANGE)))]
    often = rng.random(count) < 0.9
    writer.log(
        *(
            (step, {"x": value, "y": 1.0} if also else {"x": value})
            for step, value, also in zip(steps.tolist(), values, often.tolist(), strict=True)
        ),
        rank=rank,
        attempt=attempt,
    )


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.0, 0.002, 0.5]), st.sampled_from(["live", "sealed", "finished"]))
def test_bins_and_what_they_leave_out_are_the_points(tmp_path_factory, seed, strange, state):
    path = tmp_path_factory.mktemp("run") / "p" / "r"
    rng = np.random.default_rng(seed)
    attempt = 1
    with Writer(path) as writer:
        writer.attempt(1)
        for _ in range(rng.integers(1, 5)):
            if rng.random() < 0.3:
                attempt += 1
                writer.attempt(attempt, int(rng.integers(0, 3000)))
            ranks = int(rng.choice([1, 1, 3]))
            for rank in range(ranks):
                write(writer, rng, rank=rank, attempt=attempt, count=int(rng.integers(1, 4000)), strange=strange)
            if state != "live" or rng.random() < 0.5:
                writer.seal()
        if state == "finished":
            writer.finish()
        with steno.open(path) as reader:
            choices: list[dict] = [{}, {"attempt": "all"}, {"attempt": attempt}, {"rank": 0}]
            choices += [{"steps": tuple(sorted(rng.integers(-100, 5000, 2).tolist()))}, {"steps": (None, 700)}]
            for chosen in choices:
                for level in (Level(1), Level(2), Level(width=512), Level(width=1), Level(1, is_plain=True)):
                    same(*parted(reader, "x", level, **chosen)[:2])
                    same(*parted(reader, "y", level, **chosen)[:2])
    files.remove_tree(path)


@pytest.fixture
def sealed(tmp_path):
    """A run of 20,000 points in two parts."""
    path = tmp_path / "p" / "r"
    value = np.random.default_rng(7).standard_normal(20_000)
    with Writer(path) as writer:
        for begin in (0, 10_000):
            writer.log(*((step, {"x": float(value[step])}) for step in range(begin, begin + 10_000)))
            writer.seal()
    return path


def test_only_cut_bins_are_read_as_points(sealed):
    with steno.open(sealed) as reader:
        assert parted(reader, "x", Level(1))[2] == 0
        assert parted(reader, "x", Level(1), steps=(1000, 15_000))[2] <= 2 * 256
        assert parted(reader, "x", Level(width=128))[2] == 20_000, "no bin is so narrow"


@pytest.mark.parametrize("damage", ["gone", "torn", "flipped", "version", "empty", "other"])
def test_bins_that_are_damaged_answer_for_nothing_and_are_made_anew(sealed, damage):
    one, two = sorted((sealed / "metrics").glob("*.bins"))
    whole = one.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    damaged = {
        "torn": whole[:-100], "flipped": bytes(flipped), "version": whole[:8] + b"\x7f" + whole[9:], "empty": b"",
        "other": two.read_bytes(),
    }  # fmt: skip
    one.unlink()
    if damage != "gone":
        one.write_bytes(damaged[damage])
    with steno.open(sealed) as reader:
        found, exact, raw = parted(reader, "x", Level(1))
        same(found, exact)
        assert raw == 10_000
    with Writer(sealed) as writer:
        writer.log((20_000, {"x": 1.0}), stream="another")
        writer.seal()
    assert one.read_bytes() == whole
    with steno.open(sealed) as reader:
        assert parted(reader, "x", Level(1))[2] == 1


def test_bins_of_a_part_that_is_known_to_be_damaged_are_not_used(sealed):
    part = min((sealed / "metrics").glob("*.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 0xFF
    part.write_bytes(data)
    with steno.open(sealed) as reader:
        with pytest.warns(RuntimeWarning, match="damaged"):
            reader.verify()
        found, exact, _ = parted(reader, "x", Level(1))
        same(found, exact)


def test_a_part_without_a_long_key_has_no_file_of_bins(tmp_path):
    path = tmp_path / "p" / "r"
    with Writer(path) as writer:
        writer.log(*((step, {f"key-{step % 7}": 1.0}) for step in range(7000)))
        writer.finish()
    assert [one.suffix for one in (path / "metrics").iterdir()] == [".parquet"]
    with steno.open(path) as reader:
        found, exact, raw = parted(reader, "key-3", Level(1))
        same(found, exact)
        assert raw == 1000
