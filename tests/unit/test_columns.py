"""Like frames decoded together say what they say one by one, up to the bounds of their types."""

from __future__ import annotations

import crc32c
import msgspec
import pytest
from journal_language import Book, Reading

from steno.journal import format as fmt
from steno.journal.tailer import Tailer

TOP = 2**63
STEPS = {
    "all beyond": [TOP + i for i in range(12)],
    "the last that fits and the first that does not": [TOP - 1, TOP] * 6,
    "one beyond amid those that fit": [*range(2**40, 2**40 + 8), TOP, *range(2**41, 2**41 + 8)],
    "one that fits amid those beyond": [*[2**64 - 1] * 8, 2**33, *[2**64 - 1] * 8],
    "beyond amid small ones": [*range(10), *range(TOP, TOP + 10), *range(10, 20)],
    "in turn with small ones": [step for i in range(10) for step in (i, TOP + i)],
    "the lowest": [-TOP, -TOP + 1, *[-TOP] * 10],
    "of all sizes": [0, 127, 128, 2**16, 2**32, TOP - 1, TOP, 2**64 - 1, -1, -33, -(2**31), -TOP] * 6,
}


@pytest.mark.parametrize(
    "values", [{"a": 1.0}, {"a": 1.0, "b": 2.0}, {"a": 1.0, "n": 3}, {"a": 1.0, "t": "text"}], ids=str
)
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_a_step_beyond_64_bits_is_numbered_automatically_and_said_whatever_is_about_it(tmp_path, steps, values):
    """In a reading with the announcement of the keys, and in one that has like frames alone."""
    book = Book(tmp_path)
    for step in steps:
        book.log(values, step)
    tailer = Tailer(tmp_path / "000000.seg")
    pieces = [tailer.read(live=True)]
    for step in steps:
        book.log(values, step)
    pieces.append(tailer.read(live=True))
    tailer.close()
    book.close()

    whole = Reading(tmp_path / "000000.seg")
    for piece in pieces:
        found = [None if auto else step for step, auto in zip(piece.step.tolist(), piece.auto.tolist(), strict=True)]
        assert found == [step if step < TOP else None for step in steps]
        assert ("step" in {**piece.refused, **dict(book.reports)}) is any(step >= TOP for step in steps)
    assert [step for step, _ in whole.records] == [step if step < TOP else None for step in steps] * 2
    assert all(found == values for _, found in whole.records)
    assert whole.lost == 0


GOOD = {"kind": "image", "meta": {"ext": "png"}, "raw": {"data": b"x"}}
ODD_MEDIA = [
    [], 7, "text", None, {}, {"kind": 3}, {"kind": "image", "meta": [1]}, {**GOOD, "raw": 7}, {**GOOD, "raw": {}},
    {**GOOD, "raw": {"file": "value-00", "at": "0", "size": 3}}, {**GOOD, "raw": {"file": 3, "at": 0, "size": 3}},
    {**GOOD, "attached": [1]}, {**GOOD, "attached": 7}, {**GOOD, "attached": {"mask": []}},
    {**GOOD, "attached": {"mask": {"kind": "image"}}}, {**GOOD, "attached": {3: GOOD}},
    {**GOOD, "meta": {"attached": [1]}}, {**GOOD, "meta": {"attached": {"mask": 7}}}, {**GOOD, "meta": {"raw": "x"}},
    {**GOOD, "meta": {7: 8}}, {"kind": "text"}, {"kind": "text", "meta": {"text": 7}},
]  # fmt: skip


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("media", ODD_MEDIA, ids=str)
def test_a_media_value_of_another_form_costs_no_other_value(tmp_path, media, exact):
    book = Book(tmp_path)
    value = msgspec.msgpack.Ext(fmt.EXT_MEDIA, msgspec.msgpack.encode(media))
    for step in range(3):
        book.log({"a": float(step), **({"m": value, "list": [1.0, value, "t"]} if step == 1 else {})}, step)
    tailer = Tailer(tmp_path / "000000.seg", exact=exact)
    piece = tailer.read()
    tailer.close()
    book.close()
    assert piece.step.tolist() == [0, 1, 2]
    assert {"m", "list/1"} <= set(piece.refused)
    assert piece.lost_bytes == 0
    assert [key for number in piece.set.tolist() for key in piece.sets[number].keys] == [
        "a",
        "a",
        "list/0",
        "list/2",
        "a",
    ]


@pytest.fixture
def like(tmp_path):
    """A segment with one record of floats, and the body of that record."""
    book = Book(tmp_path)
    for step in range(3):
        book.log({"a": 1.0, "b": 2.0}, step)
    start, end = book.frames()[-1]
    yield book.segments[0], bytes(book.bytes_of()[start + fmt.FRAME_BYTES : end])
    book.close()


def framed(segment, body):
    return fmt.FRAME.pack(len(body), crc32c.crc32c(body, segment.nonce)) + body


def shifted(segment, body):
    """A frame, one byte shorter, that looks like one of `body` to who believes that it begins a byte early."""
    for value in range(1 << 16):
        short = body[1:-4] + value.to_bytes(2, "big") + body[-2:]
        made = framed(segment, short)
        if made[fmt.FRAME_BYTES - 1] == body[0]:
            return made
    raise AssertionError


def test_frames_of_other_lengths_are_not_taken_for_like_ones(like):
    """First and last lie as far apart as if all were alike; one between is a byte longer, one a byte shorter."""
    segment, body = like
    tailer = Tailer(segment.path)
    assert len(tailer.read(live=True).mono) == 3
    for made in (framed(segment, body), framed(segment, body + b"\0"), shifted(segment, body), framed(segment, body)):
        segment.write(made)

    piece = tailer.read(live=True)

    assert len(piece.mono) == 2
    assert piece.lost_bytes >= 2 * len(body)
    tailer.close()


def test_frames_that_go_on_behind_their_step_are_no_records(like):
    segment, body = like
    tailer = Tailer(segment.path)
    for made in (b"", framed(segment, body) * 8):
        segment.write(made)
        assert len(tailer.read(live=True).mono) in {3, 8}
    for _ in range(8):
        segment.write(framed(segment, body + b"\0"))

    piece = tailer.read(live=True)

    assert piece is None or len(piece.mono) == 0
    tailer.close()
