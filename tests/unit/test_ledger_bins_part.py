"""The file of bins of a part: every bin comes back bit by bit, and what is damaged is said to be."""

from __future__ import annotations

import struct
from dataclasses import fields
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steno.errors import CorruptError
from steno.ledger import bins as bins_
from steno.ledger import bins_format
from steno.ledger.bins import BinInput, Bins, Marks
from steno.ledger.bins_part import BIN_POINTS, FEWEST_POINTS, PartBins

OF = bins_format.identity(123_456, 1_000_000, -(2**63) + 5, "123456:0011aabb")


def alike(one: Any, other: Any) -> bool:
    """Whether all columns are the same bit by bit, but for the bits of a NaN that stands for nothing."""
    if isinstance(one, Bins | Marks):
        return all(alike(getattr(one, part.name), getattr(other, part.name)) for part in fields(one))
    return one.dtype == other.dtype and bool(
        np.array_equal(
            np.where(np.isnan(one), 0, one).view(np.int64), np.where(np.isnan(other), 0, other).view(np.int64)
        )
        and np.array_equal(np.isnan(one), np.isnan(other))
        if one.dtype == np.float64
        else np.array_equal(one, other)
    )


@st.composite
def some_parts(draw: st.DrawFn) -> tuple[list[str], BinInput]:
    """A part's points in its order, and its keys."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = sorted(draw(st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=6)))
    sizes = [draw(st.sampled_from([1, 900, 1024, 3000, 9000])) for _ in names]
    count = sum(sizes)
    key = np.repeat(np.arange(len(names)), sizes)
    step = np.concatenate(
        [
            rng.integers(0, draw(st.sampled_from([1, 100, size, 50 * size])), size)
            + draw(st.sampled_from([0, -(2**63), 2**63 - 600_000]))
            for size in sizes
        ]
    )
    ranks = draw(st.sampled_from([1, 2, 100]))
    rank, attempt = rng.integers(0, ranks, count), rng.integers(1, 1 + draw(st.integers(1, 2)), count)
    record = rng.permutation(count) + draw(st.sampled_from([0, 1 << 43]))
    value = rng.standard_normal(count)
    strange = rng.random(count) < draw(st.sampled_from([0.0, 0.01, 0.5]))
    value[strange] = rng.choice([np.nan, np.inf, -np.inf, -0.0, 1e308], int(strange.sum()))
    other = (rng.random(count) < 0.01) if draw(st.booleans()) else None
    if other is not None:
        value[other] = np.nan
    time = (record * 10**8 + rng.integers(0, 10**7, count)) // 1000 * draw(st.sampled_from([1, 1000]))
    points = BinInput(key, rank, attempt, step, time, OF.node, record, value, other, rng.random(count) < 0.01)
    return names, points.take(np.lexsort((record, step, attempt, rank, key)))


def made(names: list[str], points: BinInput, cuts: list[int]) -> PartBins:
    """What row groups that are cut there give."""
    key = np.asarray(points.key)
    bins = PartBins(names, np.bincount(key, minlength=len(names)))
    for begin, end in zip([0, *cuts], [*cuts, len(key)], strict=True):
        bins.add(points.take(np.arange(begin, end)))
    return bins


@settings(max_examples=60, deadline=None)
@given(some_parts(), st.data())
def test_a_file_gives_back_the_bins_of_its_part(part: tuple[list[str], BinInput], data: st.DataObject) -> None:
    names, points = part
    count = len(points.value)
    bins = made(names, points, sorted(data.draw(st.lists(st.integers(0, count), max_size=4))))
    kept, fine, coarse = bins.levels()
    data = bins.encoded(OF)
    assert (data is None) == (not kept)
    if data is None:
        return
    head, level_1, level_2 = bins_format.read_all(data)
    assert head.of == OF
    assert [head.name(at).decode() for at in range(len(head))] == kept
    assert [head.find(name) for name in kept] == list(range(len(kept)))
    assert all(head.find(name) == -1 for name in ["", "?", *names] if name not in kept)
    assert alike(level_1, fine)
    assert alike(level_2, coarse)
    totals = np.bincount(np.asarray(points.key), minlength=len(names))
    assert set(kept) <= {name for name, total in zip(names, totals.tolist(), strict=True) if total >= FEWEST_POINTS}
    for at, name in enumerate(kept):
        mine = points.take(np.flatnonzero(np.asarray(points.key) == names.index(name)))
        for level, found in ((1, fine), (2, coarse)):
            width = head.width(at, level)
            some = found.take(found.key == at)
            exact = bins_.of_points(mine, width)
            assert (some.start.tolist(), some.count.tolist()) == (exact.start.tolist(), exact.count.tolist())
            assert (some.rank.tolist(), some.attempt.tolist()) == (exact.rank.tolist(), exact.attempt.tolist())
            for marked in bins_.MARKED:
                assert alike(getattr(some, marked), getattr(exact, marked))
            assert np.allclose(some.mean, exact.mean, rtol=1e-12, atol=1e-12 * 1e308, equal_nan=True)
        assert int(coarse.count[coarse.key == at].sum()) == len(mine.value)


def plain(count: int = 5000, ranks: int = 1) -> BinInput:
    step = np.repeat(np.arange(count // ranks), ranks)
    at = np.arange(len(step))
    rank = at % ranks
    order = np.lexsort((at, rank))
    value = np.random.default_rng(1).standard_normal(len(at))
    return BinInput(np.zeros(len(at), np.int64), rank, 1, step, at * 10**6, OF.node, at, value).take(order)


def test_bins_hold_as_many_points_as_is_promised() -> None:
    _, fine, coarse = made(["loss"], plain(100_000), []).levels()
    assert (fine.count[:-1] == BIN_POINTS).all()
    assert (coarse.count[:-1] == BIN_POINTS * bins_format.COARSER).all()
    _, fine, _ = made(["loss"], plain(100_000, ranks=8), []).levels()
    assert np.median(fine.count) == BIN_POINTS
    _, fine, _ = made(["loss"], plain(100_000, ranks=500), []).levels()
    assert fine.count.mean() >= BIN_POINTS / 2, "each rank has 200 points"
    assert made(["loss"], plain(100_000, ranks=5000), []).levels()[0] == [], "20 points of a rank are not worth a bin"


def test_any_damage_is_noticed() -> None:
    whole = made(["loss"], plain(20_000), []).encoded(OF)
    assert whole is not None
    for at in [*range(0, len(whole), 37), *range(64)]:
        torn = bytearray(whole)
        torn[at] ^= 0x10
        with pytest.raises(CorruptError):
            bins_format.read_all(bytes(torn))
    for at in range(0, len(whole), 41):
        with pytest.raises(CorruptError):
            bins_format.read_all(whole[:at])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_what_is_no_file_of_bins_is_said_to_be_none(data: bytes, begin: bool) -> None:
    with pytest.raises(CorruptError):
        bins_format.read_all(bins_format.MAGIC + b"\x01\0\0\0" + data if begin else data)


GOLDEN = Path(__file__).parents[1] / "golden" / "part.bins"


def golden() -> PartBins:
    """Two keys, two ranks, NaN, infinities and texts, without anything drawn."""
    at = np.arange(4096)
    key, rank = at // 3000, at % 2
    value = np.sin(at / 50) * (at % 7)
    value[[100, 700, 701, 900]] = np.nan, np.inf, -np.inf, np.nan
    other = at == 900
    time = 1_700_000_000_000_000_000 + at * 100_000_000 + at % 13 * 7000
    points = BinInput(key, rank, 1, at - 200, time, OF.node, at + 7, value, other, at == 2000)
    order = np.lexsort((points.step, rank, key))
    return made(["grad/norm", "loss"], points.take(order), [])


def unpacked(data: bytes) -> list[bytes]:
    """The head and index but for what depends on how zstd packs, and every block unpacked."""
    head = bins_format.read_head(data)
    out = [repr(head.of).encode(), head.names, head.widths.tobytes(), *(ends.tobytes() for ends in head.ends)]
    for level in bins_format.LEVELS:
        for block, known in enumerate(head.blocks[level - 1].tolist()):
            begin, size = head.place(block, level)
            body = pa.decompress(data[begin : begin + size], known[3], "zstd", asbytes=True)
            out += [repr(known[:2]).encode(), body]
    return out


def test_golden_bytes() -> None:
    """What docs/bins-format.md says, byte for byte; how zstd packs it is its own affair."""
    bins = golden()
    data = bins.encoded(OF)
    assert data is not None
    kept = GOLDEN.read_bytes()
    assert unpacked(data) == unpacked(kept)
    head, fine, coarse = bins_format.read_all(kept)
    names, *levels = bins.levels()
    assert [head.name(at).decode() for at in range(len(head))] == names
    assert alike(fine, levels[0])
    assert alike(coarse, levels[1])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_file_that_a_stranger_made_is_read_or_refused(data: st.DataObject) -> None:
    """With checksums that are right; numpy's warnings are errors here, as all are."""
    whole = bytearray(GOLDEN.read_bytes())
    head = bins_format.read_head(bytes(whole))
    level = data.draw(st.sampled_from(bins_format.LEVELS))
    begin, size = head.place(0, level)
    known = head.blocks[level - 1][0]
    body = bytearray(pa.decompress(bytes(whole[begin : begin + size]), int(known["unpacked"]), "zstd", asbytes=True))
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, min(len(body), 300) - 1))] = data.draw(st.integers(0, 255))
    packed = pa.compress(bytes(body), "zstd", asbytes=True)
    index_end = bins_format.head_bytes(bytes(whole[:64]))
    other = bytearray(whole[:index_end])
    for _ in range(data.draw(st.integers(0, 2))):
        other[data.draw(st.integers(16, index_end - 1))] = data.draw(st.integers(0, 255))
    try:
        if bins_format.head_bytes(bytes(other)) == index_end:
            at = index_end - 20 * (len(head.blocks[0]) + len(head.blocks[1]))
            at += 20 * len(head.blocks[1]) if level == 1 else 0
            struct.pack_into("<III", other, at + 8, len(packed), len(body), crc32c.crc32c(packed))
            struct.pack_into("<I", other, 12, crc32c.crc32c(bytes(other[16:])))
        strange = bins_format.read_head(bytes(other))
        found = bins_format.read_block(strange, 0, level, packed)
    except CorruptError:
        return
    assert len(found.first.step) == len(found) <= 1 << 18
    bins_.unite(found, bins_.WIDEST)
