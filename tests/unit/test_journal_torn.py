"""Torn, flipped and forged bytes: what is lost is counted, the rest is read, nothing is invented."""

from __future__ import annotations

import random

import msgspec
import pytest
from journal_language import Book, Reading

from steno.errors import CorruptError
from steno.journal import format as fmt
from steno.journal.tailer import Tailer


@pytest.fixture
def book(tmp_path):
    made = Book(tmp_path, size=8192)
    for step in range(12):
        made.log({"a": step + 0.5, "b": 2.0, "c": "text"} if step % 4 == 3 else {"a": step + 0.5, "b": 2.0}, step)
    yield made
    made.close()


def expected(step):
    row = {"a": step + 0.5, "b": 2.0}
    return row | {"c": "text"} if step % 4 == 3 else row


def check_nothing_invented(reading):
    """Every record read is one that was logged, at most once, in order."""
    steps = [step for step, _ in reading.records]
    assert steps == sorted(set(steps))
    for step, values in reading.records:
        assert values == expected(step)


def test_a_segment_cut_at_every_byte(book, tmp_path):
    """A cut loses the frame it goes through and those behind it, no more."""
    raw, frames = book.bytes_of(), book.frames()
    path = tmp_path / "cut.seg"
    ends = [end for _, end in frames]
    for cut in range(fmt.HEADER_BYTES, frames[-1][1] + 1):
        path.write_bytes(raw[:cut])
        got = Reading(path)
        check_nothing_invented(got)
        whole = sum(end <= cut for end in ends)
        read = len(got.records)
        control = sum(raw[start + 9] in (fmt.SET, fmt.CLOCK) for start, end in frames[:whole])
        assert read == whole - control
        last = max([fmt.HEADER_BYTES, *(end for end in ends if end <= cut)])
        left = bytes(raw[last:cut]).rstrip(b"\0")
        assert got.lost == len(left)


def test_a_cut_header_is_corrupt_not_a_crash(book, tmp_path):
    raw = book.bytes_of()
    path = tmp_path / "cut.seg"
    for cut in range(0, fmt.HEADER_BYTES, 61):
        path.write_bytes(raw[:cut])
        with pytest.raises(CorruptError):
            Tailer(path)


def test_each_flipped_byte_costs_at_most_its_frame(book, tmp_path):
    """Frames behind a damaged one are found again; a damaged announcement costs the records that need it."""
    raw, frames = book.bytes_of(), book.frames()
    path = tmp_path / "flip.seg"
    rng = random.Random(5)
    for at in range(fmt.HEADER_BYTES, frames[-1][1]):
        broken = bytearray(raw)
        broken[at] ^= rng.randrange(1, 256)
        path.write_bytes(broken)
        got = Reading(path)
        check_nothing_invented(got)
        hit = next((start, end) for start, end in frames if start <= at < end)
        kind = raw[hit[0] + 9]
        assert got.lost > 0, at
        if kind == 0xCF:
            assert len(got.records) >= 11, at
        elif kind == fmt.CLOCK:
            assert len(got.records) == 12
        assert got.drained


def test_each_flipped_header_byte_leaves_the_frames_readable(book, tmp_path):
    """The identity is there twice."""
    raw = book.bytes_of()
    path = tmp_path / "flip.seg"
    for at in [*range(64, 400), *range(2080, 2400), *range(8)]:
        broken = bytearray(raw)
        broken[at] ^= 0x55
        path.write_bytes(broken)
        got = Reading(path)
        assert len(got.records) == 12


def test_random_damage_never_crashes_a_reader(book, tmp_path):
    raw, end = book.bytes_of(), book.frames()[-1][1]
    path = tmp_path / "noise.seg"
    rng = random.Random(11)
    for _ in range(300):
        broken = bytearray(raw)
        for _ in range(rng.randrange(1, 30)):
            broken[rng.randrange(fmt.HEADER_BYTES, end)] = rng.randrange(256)
        path.write_bytes(broken)
        check_nothing_invented(Reading(path))


def test_zeroed_pages_in_the_middle_are_loss_not_the_end(tmp_path):
    book = Book(tmp_path, size=64 << 10)
    for step in range(500):
        book.log({"a": step + 0.5, "b": 2.0}, step)
    book.close()
    raw = book.bytes_of()
    raw[8192:12288] = bytes(4096)
    path = tmp_path / "zero.seg"
    path.write_bytes(raw)
    got = Reading(path)
    steps = [step for step, _ in got.records]
    assert steps == sorted(set(steps))
    assert steps[-1] == 499
    assert 390 <= len(steps) < 500
    assert got.lost >= 4096


def test_a_live_head_that_looks_torn_is_waited_for(book):
    """A writer in the middle of a copy: not yet, rather than loss."""
    path = book.directory / "000000.seg"
    raw, (start, end) = book.bytes_of(), book.frames()[-1]
    now = 100.0
    with open(path, "r+b") as file:
        file.seek(end - 3)
        file.write(b"\0\0\0")
    tailer = Tailer(path, clock=lambda: now)
    assert len(tailer.read(live=True).mono) == 11
    assert tailer.read(live=True) is None
    now += 60
    assert tailer.read(live=True) is None
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(raw[start:end])
    part = tailer.read(live=True)
    assert part.step.tolist() == [11]
    assert part.lost_bytes == 0
    tailer.close()


def test_a_live_writer_past_a_damaged_frame_is_followed(book):
    path = book.directory / "000000.seg"
    start, _ = book.frames()[4]
    with open(path, "r+b") as file:
        file.seek(start + 12)
        file.write(b"\xff\xff")
    now = 0.0
    tailer = Tailer(path, clock=lambda: now)
    first = tailer.read()
    assert tailer.read() is None
    now = 10.0
    rest = tailer.read()
    assert rest.lost_bytes > 0
    assert len(first.mono) + len(rest.mono) == 11
    tailer.close()


def test_a_logged_string_that_contains_a_whole_frame_is_not_read_as_one(tmp_path):
    """Not in a good frame, and not when the frame around it is damaged."""
    book = Book(tmp_path, size=64 << 10)
    for step in range(6):
        book.log({"a": float(step), "b": 2.0}, step)
    raw, frames = book.bytes_of(), book.frames()
    stolen = bytes(raw[frames[-1][0] : frames[-1][1]])
    clock = bytes(raw[frames[0][0] : frames[0][1]])
    book.appender.append(
        (10**12, book.appender.stamp()[1], {"s": msgspec.Raw(_binary(stolen * 3 + clock)), "n": 1.0}, 6)
    )
    for step in range(7, 10):
        book.log({"a": float(step), "b": 2.0}, step)
    book.close()
    path = tmp_path / "000000.seg"
    outer = book.frames()[len(frames)]
    steps = [step for step, _ in Reading(path).records]
    assert steps == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    broken = book.bytes_of()
    broken[outer[0] + 10] ^= 0xFF
    path.write_bytes(broken)
    got = Reading(path)
    assert [step for step, _ in got.records] == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert got.lost == outer[1] - outer[0]


def test_a_frame_of_another_segment_is_not_accepted(tmp_path):
    """Its checksum was seeded with another nonce."""
    book = Book(tmp_path, size=8192)
    for step in range(400):
        book.log({"a": float(step), "b": 2.0}, step)
    book.close()
    first, second = book.bytes_of(0), book.bytes_of(1)
    start, _ = book.frames(1)[-1]
    donor_start, donor_end = book.frames(0)[5]
    second[start : start + donor_end - donor_start] = first[donor_start:donor_end]
    path = tmp_path / "mixed.seg"
    path.write_bytes(second)
    got = Reading(path)
    assert float(5 - 2) not in [step for step, _ in got.records]


def _binary(data: bytes) -> bytes:
    return msgspec.msgpack.encode(data)
